"""The marketplace changes a placed order: an edit takes it over by the market's rule or when a person accepts, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from orders_changed import (
    ASKED,
    ASKED_BOWL,
    BOWL,
    CUP,
    GONE,
    MUG,
    NO_BOWL,
    SOLD,
    THERE,
    applying,
    but,
    codes,
    completes,
    made,
    paid,
    plays,
    refunding,
    why_not,
)
from orders_play import Play, content, costs, line, market
from test_orders_edit import amounts, open_processes, rows, the_edit

from contracts.fulfillment import CancelShipments, Reduce, Reserve, Start, Suspend
from contracts.invoicing import Credit
from contracts.orders import (
    Cancelled,
    DetailsChanged,
    EditConfirmed,
    EditDiscarded,
    Edited,
    EditOpened,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    LineEdit,
    PaymentChanged,
    Placed,
    RefundOpened,
    RefundSettled,
    WaitingChanged,
)
from contracts.payments import Authorize, Capture, Refund, Void
from contracts.snapshot import OrderContent, TaxCollection
from orders.domain.processes import changes

# -- apply ------------------------------------------------------------------------------------------------------------


def test_a_cancelled_line_is_never_shipped_and_its_money_and_invoice_go_back(play: Play) -> None:
    paid(play)
    play.receives(NO_BOWL, seconds=1).then(EditOpened, EditConfirmed, asks=[Suspend])
    opened = play.event(EditOpened)
    assert (opened.cause, opened.actor) == ("marketplace", changes.RULE) and not codes(play)
    play.suspended().then(Edited, asks=[Reduce])
    assert amounts_of(play.last(Reduce).lines) == [("2", 1)]
    play.partly_reduced().resumed().then(RefundOpened, asks=[Refund])
    assert amounts(play.last(Refund).lines) == [("2", 1, 5_00)]
    assert play.last(Refund).recorded, "the marketplace has given it back: no gateway is asked"
    play.refunded().then(PaymentChanged, asks=[Credit])
    play.credited().then(RefundSettled)
    assert costs(play.sold) == {"1": (2, 10_00), "3": (1, 2_00)}
    assert play.order.stated is None and play.order.base is None and play.order.carried is None
    assert [row[2] for row in rows(play)] == ["original", "reversal", "refund"]
    play.receives(NO_BOWL, seconds=2, digest="again").nothing()
    completes(play)


def amounts_of(lines: Any) -> list[tuple[str, int]]:
    return [(one.line_id, one.quantity) for one in lines]


@pytest.mark.parametrize(
    "told",
    [
        content(but(MUG, cancelled=1), BOWL, CUP),
        content(line("1", 15_00, quantity=3), BOWL, CUP),
        content(MUG, but(BOWL, line_total_minor=4_00), CUP),
        content(MUG, BOWL, CUP, line("4", 7_00)),
        content(MUG, BOWL),
        content(MUG, BOWL, CUP, shipping=3_00),
        content(MUG, BOWL, CUP, ship_to=THERE),
        content(but(MUG, cancelled=1), line("4", 7_00), discount=1_00, ship_to=THERE),
        content(MUG, but(BOWL, cancellation=ASKED), CUP),
    ],
    ids=["pieces", "more", "price", "added", "removed", "shipping", "address", "all", "request"],
)  # fmt: skip
@pytest.mark.parametrize("capture", ["on_approval", "per_shipment"])
def test_whatever_the_marketplace_changes_becomes_the_order(play: Play, told: OrderContent, capture: str) -> None:
    paid(play) if capture == "on_approval" else applying(play, capture=capture)
    plays(play.receives(told, seconds=1))
    assert not codes(play) and play.order.stated is None and play.order.status == "approved"
    if not any(one.cancellation.requested for one in told.lines):
        assert costs(play.sold) == costs(told)
    else:
        assert "2" not in costs(play.sold)
    assert play.order.content is not None and play.order.content.ship_to == told.ship_to
    if told.ship_to == THERE:
        assert play.last(Start).ship_to == THERE
    play.receives(told, seconds=2, digest="again").nothing()
    play.shipped()
    plays(play)
    play.fulfilled()
    assert play.order.completed_at is not None and not open_processes(play)
    assert play.money["captured"] - play.money["refunded"] == play.order.grand_minor


def test_what_is_cancelled_while_the_order_is_placed_is_never_captured(play: Play) -> None:
    play.receives(SOLD, market(on_change="apply", capture="on_placement")).reserved()
    play.receives(NO_BOWL, seconds=1).then(ExceptionRaised)
    assert why_not(play) == {"line_cancelled": "order_not_placed"}
    play.authorized().then(PaymentChanged, Placed, ExceptionResolved, EditOpened, EditConfirmed, Edited, asks=[Reduce])
    plays(play, until=Start)
    assert amounts(play.last(Capture).lines) == [
        ("1", 2, 10_00),
        ("3", 1, 2_00),
    ]
    play.captured()
    assert play.money == {"authorized": 17_00, "captured": 12_00, "voided": 5_00, "refunded": 0}
    assert play.order.status == "approved" and not codes(play)


def test_an_order_that_waits_for_stock_waits_no_longer_for_a_cancelled_line(play: Play) -> None:
    play.receives(SOLD, market(on_change="apply", on_short="wait")).short()
    play.receives(NO_BOWL, seconds=1).then(Edited, WaitingChanged, asks=[Reserve])
    assert amounts_of(play.last(Reserve).lines) == [("1", 2), ("3", 1)] and not codes(play)
    play.reserved()
    assert amounts(play.last(Authorize).lines) == [("1", 2, 10_00), ("3", 1, 2_00)]


def test_a_change_that_came_before_the_stock_ran_out_is_taken_over_then(play: Play) -> None:
    play.receives(SOLD, market(on_change="apply", on_short="wait")).receives(NO_BOWL, seconds=1)
    assert why_not(play) == {"line_cancelled": "order_not_placed"}
    play.short().then(ExceptionResolved, Edited, asks=[Reserve])


def test_the_last_line_cancels_the_order(play: Play) -> None:
    """One of two lines was removed here; the marketplace cancels the other."""
    applying(play, content(BOWL, CUP))
    plays(play.opens_an_edit(LineEdit(line_id="3", quantity=0)).confirms().captured())
    play.receives(content(but(BOWL, cancellation=GONE), CUP), seconds=1).then(asks=[CancelShipments])
    play.shipments_cancelled().then(FulfillmentChanged, Cancelled, asks=[Credit])
    assert play.order.cancel_cause == "marketplace"


def test_a_last_line_that_has_shipped_meanwhile_is_raised_again(play: Play) -> None:
    applying(play, content(BOWL, CUP))
    plays(play.opens_an_edit(LineEdit(line_id="3", quantity=0)).confirms().captured())
    play.receives(content(but(BOWL, cancellation=GONE), CUP), seconds=1).shipped().too_late()
    assert why_not(play) == {"line_cancelled": "order_shipped"} and play.order.status == "approved"


@pytest.mark.parametrize("placed", [False, True])
def test_a_request_of_the_buyer_is_carried_out(play: Play, placed: bool) -> None:
    terms = market(on_change="apply", approval="manual")
    if placed:
        play.receives(SOLD, terms).reserved().authorized()
        plays(play.receives(ASKED_BOWL, seconds=1))
    else:
        play.receives(ASKED_BOWL, terms).reserved().authorized()
    assert play.order.status == "placed" and play.order.grand_minor == 12_00 and not codes(play)
    play.receives(ASKED_BOWL, seconds=2, digest="again").nothing()
    play.receives(NO_BOWL, seconds=3).nothing()
    assert not codes(play) and play.order.stated is None


@pytest.mark.parametrize("placed", [False, True])
def test_a_request_of_every_line_cancels_the_order(play: Play, placed: bool) -> None:
    every = content(*(but(one, cancellation=ASKED) for one in SOLD.lines))
    if placed:
        play.receives(SOLD, market(on_change="apply", approval="manual")).reserved().authorized()
        play.receives(every, seconds=1).then(Cancelled, asks=[Void])
    else:
        play.receives(every, market(on_change="apply"))
    assert play.order.status == "cancelled" and not codes(play)


# -- what cannot be taken over is not lost ----------------------------------------------------------------------------


def test_a_line_that_has_shipped_stays_an_exception_with_the_reason(play: Play) -> None:
    paid(play).shipped()
    play.receives(NO_BOWL, seconds=1).then(ExceptionRaised)
    assert why_not(play) == {"line_cancelled": "order_shipped"}
    assert "pieces of line 2" in play.order.exceptions["line_cancelled"].detail
    play.resolves("line_cancelled", "accept")
    assert play.refusal and play.refusal.code == "order_shipped" and "line 2" in play.refusal.detail
    play.resolves("line_cancelled", "keep", op="keep").then(ExceptionResolved)
    play.receives(NO_BOWL, seconds=2, digest="again").nothing()


def test_a_completed_order_is_not_edited(play: Play) -> None:
    paid(play).shipped().fulfilled()
    play.receives(content(MUG, BOWL, CUP, line("4", 1_00)), seconds=1)
    assert why_not(play) == {"snapshot_changed": "order_completed"}


@pytest.mark.parametrize(
    ("fail", "why"), [("out_of_stock", "out_of_stock"), ("declined", "payment_declined"), ("shipped", "order_shipped")]
)
@pytest.mark.parametrize("by", ["rule", "person"])
def test_a_refusal_raises_the_difference_again_with_the_reason(play: Play, fail: str, why: str, by: str) -> None:
    paid(play) if by == "rule" else play.in_the_warehouse(SOLD).captured().issued()
    told = content(MUG, but(BOWL, cancellation=GONE), CUP, line("4", 7_00))
    play.receives(told, seconds=1)
    if by == "person":
        play.resolves("line_cancelled", "accept") if fail == "shipped" else play.resolves("snapshot_changed", "accept")
    if fail == "shipped":
        play.shipped().suspended()
    elif fail == "out_of_stock":
        play.suspended().out_of_stock()
    else:
        play.suspended().extended().declined()
    assert isinstance(play.event(EditDiscarded), EditDiscarded)
    assert why in why_not(play).values() and {*codes(play)} == {"line_cancelled", "snapshot_changed"}
    plays(play)
    assert play.order.status == "approved" and open_processes(play) == ["place"]
    play.receives(told, seconds=2, digest="again").nothing()
    third = content(MUG, but(BOWL, cancellation=GONE), CUP)
    play.receives(third, seconds=3)  # the line that could not be had is withdrawn
    assert "snapshot_changed" not in codes(play)


def test_what_comes_during_a_persons_edit_is_taken_over_when_it_ends(play: Play) -> None:
    """What the person has edited stays: the changes of the marketplace are merged into it."""
    for end in ("confirms", "discards"):
        play = Play()
        paid(play).opens_an_edit(LineEdit(line_id="1", quantity=1))
        play.receives(NO_BOWL, seconds=1).then(ExceptionRaised)
        assert why_not(play) == {"line_cancelled": "edit_open"} and play.order.status == "editing"
        play.resolves("line_cancelled", "accept")
        assert play.refusal and play.refusal.code == "edit_open"
        plays(getattr(play, end)())
        mugs = (1, 5_00) if end == "confirms" else (2, 10_00)
        assert costs(play.sold) == {"1": mugs, "3": (1, 2_00)}
        assert not codes(play) and the_edit(play.order).cause == "marketplace"
        play.receives(NO_BOWL, seconds=2, digest="again").nothing()
        completes(play)


@pytest.mark.parametrize("rule", ["apply", "ask"])
def test_what_is_taken_back_while_it_is_taken_over_is_taken_back_after_it(play: Play, rule: str) -> None:
    told = content(MUG, but(BOWL, line_total_minor=4_00), CUP)
    play.in_the_warehouse(SOLD, on_change=rule).captured().issued().receives(told, seconds=1)
    if rule == "ask":
        play.resolves("snapshot_changed", "accept")
    suspending = play.sent
    play.receives(SOLD, seconds=2).nothing()
    play.sent = suspending
    plays(play)
    if rule == "ask":
        assert why_not(play) == {"snapshot_changed": None} and costs(play.sold)["2"] == (1, 4_00)
        plays(play.resolves("snapshot_changed", "accept", op="back"))
    assert not codes(play) and costs(play.sold) == costs(SOLD) and play.order.stated is None
    completes(play)


def test_a_further_change_while_one_is_taken_over_is_taken_over_after_it(play: Play) -> None:
    paid(play).receives(NO_BOWL, seconds=1)
    play.receives(content(MUG, but(BOWL, cancellation=GONE), but(CUP, cancellation=GONE)), seconds=2).then(
        ExceptionRaised
    )
    assert why_not(play) == {"line_cancelled": "edit_open"}
    plays(play.suspended())
    assert costs(play.sold) == {"1": (2, 10_00)} and not codes(play)
    completes(play)


def test_amounts_that_do_not_add_up_with_an_edit_made_here_are_for_a_person(play: Play) -> None:
    """The totals are of lines that were changed on both sides."""
    paid(play)
    plays(play.opens_an_edit(LineEdit(line_id="1", unit_price_minor=3_00)).confirms())
    play.receives(content(MUG, but(BOWL, line_total_minor=4_00), CUP), seconds=1).then(ExceptionRaised)
    assert why_not(play) == {"snapshot_changed": "total_differs"}
    play.resolves("snapshot_changed", "accept")
    assert play.refusal and play.refusal.code == "total_differs"
    play.resolves("snapshot_changed", "keep", op="keep")
    assert not codes(play)


# -- ask --------------------------------------------------------------------------------------------------------------


def test_an_accepted_cancel_runs_the_edit_and_one_that_is_refused_is_not_raised_again(play: Play) -> None:
    play.in_the_warehouse(SOLD).captured().issued()
    play.receives(NO_BOWL, seconds=1).then(ExceptionRaised)
    play.resolves("line_cancelled", "keep").then(ExceptionResolved)
    play.receives(NO_BOWL, seconds=2, digest="again").nothing()
    both = content(MUG, but(BOWL, cancellation=GONE), but(CUP, cancellation=GONE))
    play.receives(both, seconds=3).then(ExceptionRaised)
    play.resolves("line_cancelled", "accept", op="both").then(
        ExceptionResolved, EditOpened, EditConfirmed, asks=[Suspend]
    )
    assert play.event(EditOpened).actor == "person:ann"
    plays(play)
    assert costs(play.sold) == {"1": (2, 10_00), "2": (1, 5_00)}, "what a person decided to leave stays"
    play.receives(both, seconds=4, digest="again").nothing()
    completes(play)


def test_a_person_accepts_one_difference_of_two(play: Play) -> None:
    play.in_the_warehouse(SOLD).captured().issued()
    play.receives(content(MUG, but(BOWL, cancellation=GONE), CUP, ship_to=THERE), seconds=1)
    assert codes(play) == ["address_changed", "line_cancelled"]
    plays(play.resolves("line_cancelled", "accept"))
    assert codes(play) == ["address_changed"] and play.order.content and play.order.content.ship_to == SOLD.ship_to
    plays(play.resolves("address_changed", "accept", op="address"))
    assert not codes(play) and play.last(Start).ship_to == THERE and play.order.stated is None
    completes(play)


def test_what_a_person_has_edited_ends_the_exception_of_the_same_change(play: Play) -> None:
    play.in_the_warehouse(SOLD).captured().issued().receives(NO_BOWL, seconds=1)
    play.opens_an_edit(LineEdit(line_id="2", quantity=0)).confirms().suspended()
    assert not codes(play) and play.order.stated is None


def test_what_informs_or_is_refunded_during_an_edit_is_not_undone_by_it(play: Play) -> None:
    play.in_the_warehouse(SOLD).captured().issued().opens_an_edit(LineEdit(line_id="1", quantity=1)).confirms()
    told = refunding(SOLD.model_copy(update={"external_number": "7"}), made(minor=1_00))
    play.receives(told, seconds=1).then(RefundOpened, DetailsChanged, asks=[Refund])
    play.refunded().credited().suspended()
    assert play.order.content and play.order.content.external_number == "7"
    assert [one.external_refund_id for one in play.order.content.refunds] == ["R1"]
    play.receives(told, seconds=2, digest="again").nothing()


# -- who supplies -----------------------------------------------------------------------------------------------------

MARKETPLACE_SUPPLIES = TaxCollection(deemed_supplier=True)


def test_who_supplies_is_not_changed_of_an_order_that_has_started_and_stays_a_difference(play: Play) -> None:
    """It decides who invoices: an invoice may exist, or a capture may have been left without one."""
    paid(play)
    play.receives(SOLD.model_copy(update={"tax_collection": MARKETPLACE_SUPPLIES}), seconds=1)
    assert why_not(play) == {"snapshot_changed": "edit_empty"}
    assert play.order.content is not None and not play.order.content.tax_collection.deemed_supplier
    completes(play)


def test_what_changes_beside_who_supplies_is_taken_over_and_what_was_invoiced_is_credited(play: Play) -> None:
    paid(play)
    cheaper = content(MUG, but(BOWL, line_total_minor=4_00), CUP)
    stated = cheaper.model_copy(update={"tax_collection": MARKETPLACE_SUPPLIES})
    plays(play.receives(stated, seconds=1))
    assert play.order.content is not None and not play.order.content.tax_collection.deemed_supplier
    assert play.order.grand_minor == cheaper.totals.grand_minor
    assert [command for command in play.commands if isinstance(command, Credit)]
    left = play.order.exceptions["snapshot_changed"]
    assert left.why_not == "edit_empty" and [one.path for one in left.difference] == ["tax_collection.deemed_supplier"]
    play.receives(stated, seconds=2, digest="again").nothing()
    play.resolves("snapshot_changed", "keep").then(ExceptionResolved)
    play.receives(stated, seconds=3, digest="and again").nothing()
    completes(play)


def test_what_a_person_accepts_beside_who_supplies_leaves_that_as_an_exception(play: Play) -> None:
    play.in_the_warehouse(SOLD).captured().issued()
    cheaper = content(MUG, but(BOWL, line_total_minor=4_00), CUP, tax_collection=MARKETPLACE_SUPPLIES)
    plays(play.receives(cheaper, seconds=1).resolves("snapshot_changed", "accept"))
    assert play.order.grand_minor == 16_00
    assert why_not(play) == {"snapshot_changed": "edit_empty"}
    more = content(MUG, but(BOWL, line_total_minor=3_00), CUP, tax_collection=MARKETPLACE_SUPPLIES)
    plays(play.receives(more, seconds=2).resolves("snapshot_changed", "accept", op="more"))
    assert play.order.grand_minor == 15_00 and why_not(play) == {"snapshot_changed": "edit_empty"}
