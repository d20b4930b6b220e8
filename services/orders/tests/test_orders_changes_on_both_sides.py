"""A person and the marketplace change the same order: what is the same is no difference, and neither overwrites the other."""

from __future__ import annotations

import pytest
from orders_changed import ASKED, BOWL, CUP, MUG, NO_BOWL, SOLD, THERE, but, codes, completes, paid, plays, why_not
from orders_play import Play, content, costs, line

from contracts.fulfillment import Start
from contracts.orders import ExceptionRaised, LineEdit
from contracts.snapshot import Address, OrderContent

ONE_MUG: dict[str, OrderContent] = {
    "cancelled": content(but(MUG, cancelled=1), BOWL, CUP),
    "as sold": content(line("1", 5_00, quantity=1), BOWL, CUP),
    "with its amount": content(but(MUG, cancelled=1, cancelled_minor=5_00), BOWL, CUP),
}
NO_BOWL_STATED: dict[str, OrderContent] = {"cancelled": NO_BOWL, "left out": content(MUG, CUP)}
DEARER: dict[str, OrderContent] = {
    "as sold": content(but(MUG, line_total_minor=12_00), BOWL, CUP),
    "with a discount": content(but(MUG, line_total_minor=14_00, discount_minor=2_00), BOWL, CUP, discount=2_00),
}
SAME = [
    *((LineEdit(line_id="1", quantity=1), told, f"one mug, {name}") for name, told in ONE_MUG.items()),
    *((LineEdit(line_id="2", quantity=0), told, f"no bowl, {name}") for name, told in NO_BOWL_STATED.items()),
    *((LineEdit(line_id="1", unit_price_minor=6_00), told, f"dearer, {name}") for name, told in DEARER.items()),
    (LineEdit(line_id="1", quantity=3), content(line("1", 15_00, quantity=3), BOWL, CUP), "three mugs"),
    (LineEdit(line_id="1", quantity=1, unit_price_minor=4_00), content(line("1", 4_00, quantity=1), BOWL, CUP), "one, cheaper"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), [one[:2] for one in SAME], ids=[one[2] for one in SAME])
@pytest.mark.parametrize("rule", ["apply", "ask"])
def test_what_was_edited_here_and_the_marketplace_then_states_is_no_difference(
    play: Play, change: LineEdit, told: OrderContent, rule: str
) -> None:
    play.in_the_warehouse(SOLD, on_change=rule).captured().issued()
    plays(play.opens_an_edit(change).confirms())
    sold, price = costs(play.sold), play.order.grand_minor
    play.receives(told, seconds=1).nothing()
    assert not codes(play) and play.order.stated is None and play.order.base is None
    assert (costs(play.sold), play.order.grand_minor) == (sold, price)
    completes(play)


@pytest.mark.parametrize(("change", "told"), [one[:2] for one in SAME], ids=[one[2] for one in SAME])
def test_the_same_change_beside_another_one_leaves_only_the_other(
    play: Play, change: LineEdit, told: OrderContent
) -> None:
    paid(play)
    plays(play.opens_an_edit(change).confirms())
    before = play.order.grand_minor
    both = [one if one.external_line_id != "3" else but(one, line_total_minor=3_00) for one in told.lines]
    more = content(*both, discount=told.totals.discount_minor)
    plays(play.receives(more, seconds=1))
    assert not codes(play) and play.order.grand_minor == (before or 0) + 1_00
    assert costs(play.sold) == costs(more)
    completes(play)


@pytest.mark.parametrize(("change", "told"), [one[:2] for one in SAME], ids=[one[2] for one in SAME])
def test_an_edit_of_a_difference_that_a_person_was_shown_ends_it(
    play: Play, change: LineEdit, told: OrderContent
) -> None:
    play.in_the_warehouse(SOLD).captured().issued().receives(told, seconds=1)
    assert codes(play)
    plays(play.opens_an_edit(change).confirms())
    assert not codes(play) and play.order.stated is None
    play.receives(told, seconds=2, digest="again").nothing()


def test_pieces_that_both_sides_have_changed_otherwise_are_for_a_person(play: Play) -> None:
    """One of two mugs was cancelled here. The marketplace states five, none of them cancelled."""
    paid(play)
    plays(play.opens_an_edit(LineEdit(line_id="1", quantity=1)).confirms())
    play.receives(content(line("1", 25_00, quantity=5), BOWL, CUP), seconds=1).then(ExceptionRaised)
    assert why_not(play) == {"snapshot_changed": "total_differs"}
    assert "pieces of a line" in play.order.exceptions["snapshot_changed"].detail
    assert play.order.grand_minor == 12_00


def test_a_request_to_cancel_that_comes_with_the_same_change_is_not_lost(play: Play) -> None:
    play.in_the_warehouse(SOLD).captured().issued()
    plays(play.opens_an_edit(LineEdit(line_id="1", quantity=1)).confirms())
    play.receives(content(line("1", 5_00, quantity=1, cancellation=ASKED), BOWL, CUP), seconds=1)
    assert codes(play) == ["cancel_requested"]


# -- an address during an edit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("rule", ["apply", "ask"])
def test_an_address_that_comes_during_an_edit_is_not_overwritten_by_it(play: Play, confirmed: bool, rule: str) -> None:
    play.in_the_warehouse(SOLD, on_change=rule).captured().issued().opens_an_edit(LineEdit(line_id="1", quantity=1))
    if confirmed:
        play.confirms()
        suspending = play.sent
    play.receives(content(MUG, BOWL, CUP, ship_to=THERE), seconds=1)
    assert codes(play) == ["address_changed"]
    play.resolves("address_changed", "accept")
    assert play.refusal and play.refusal.code == "edit_open"
    if confirmed:
        play.sent = suspending
        plays(play)
    else:
        plays(play.confirms(op="now"))
    if rule == "ask":
        plays(play.resolves("address_changed", "accept", op="after it"))
    assert play.order.content is not None and play.order.content.ship_to == THERE
    assert costs(play.sold)["1"] == (1, 5_00) and play.last(Start).ship_to == THERE
    completes(play)


def test_an_address_that_a_person_has_set_stays_until_the_marketplace_changes_its_own(play: Play) -> None:
    paid(play)
    plays(play.opens_an_edit(ship_to=THERE, bill_to=THERE).confirms())
    plays(play.receives(SOLD.model_copy(update={"external_number": "7"}), seconds=1))
    assert play.order.content is not None and play.order.content.ship_to == THERE
    assert play.order.content.bill_to == THERE and play.order.content.external_number == "7"
    elsewhere = Address(name="Cy", line1="3 Way", city="Nice", country="FR")
    plays(play.receives(content(MUG, BOWL, CUP, ship_to=elsewhere, bill_to=elsewhere), seconds=2))
    assert (play.order.content.ship_to, play.order.content.bill_to) == (elsewhere, elsewhere)
