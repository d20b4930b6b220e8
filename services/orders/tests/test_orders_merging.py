"""The three-way merge of orders: what the marketplace has changed is taken, what people have changed stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from orders_play import content, line

from contracts.orders import EditChanges, LineEdit
from contracts.snapshot import Address, Cancellation, Line, OrderContent, Quantities
from orders.domain.content.agreement import alike, reworded
from orders.domain.content.amounts import payable
from orders.domain.content.edits import applied
from orders.domain.content.merging import merged
from orders.domain.processes import differences

CODES = ("address_changed", "snapshot_changed", "line_cancelled")
BASE = content(line("1", 10_00, quantity=3), line("2", 5_00), line("3", 2_00), shipping=1_00)


def all_fields(rule: str) -> bool:
    return True


@st.composite
def changed(draw: st.DrawFn, lines: tuple[str, ...] = ("1", "2", "3", "4")) -> OrderContent:
    """`BASE` with other pieces, prices or states of some of these lines, and perhaps another address."""
    told: list[Line] = []
    for one in BASE.lines:
        if one.external_line_id not in lines:
            told.append(one)
        elif not draw(st.booleans()) or draw(st.booleans()):
            pieces = Quantities(ordered=one.quantity.ordered, cancelled=draw(st.integers(0, one.quantity.ordered)))
            gone = Cancellation(executed=draw(st.booleans()))
            price = draw(st.sampled_from([one.line_total_minor, 1, 9_99]))
            told.append(one.model_copy(update={"quantity": pieces, "cancellation": gone, "line_total_minor": price}))
    if "4" in lines and draw(st.booleans()):
        told.append(line("4", draw(st.integers(0, 99))))
    streets = st.sampled_from(["1 Way", "2 Way"])
    return content(*told, shipping=1_00, ship_to=Address(name="Ann", line1=draw(streets), city="Paris", country="FR"))


@given(told=changed())
def test_without_changes_of_our_own_the_order_becomes_what_is_stated(told: OrderContent) -> None:
    assert merged(BASE, BASE, told, all_fields) == told


@given(ours=changed())
def test_a_statement_that_has_not_changed_changes_nothing(ours: OrderContent) -> None:
    assert merged(ours, BASE, BASE, all_fields) == ours


@given(ours=changed(lines=("1",)), told=changed(lines=("2", "3", "4")))
def test_changes_of_different_lines_are_both_taken(ours: OrderContent, told: OrderContent) -> None:
    """Amounts aside, whose totals belong to one side."""
    takes = differences.takes(("line_cancelled",))
    after = {one.external_line_id: one for one in merged(ours, BASE, told, takes).lines}
    stated = {one.external_line_id: one for one in told.lines}
    for one in ours.lines:
        name = one.external_line_id
        if name == "1" or name not in stated:
            assert after[name] == one
        else:
            assert (after[name].quantity, after[name].cancellation.executed) == (
                stated[name].quantity,
                stated[name].cancellation.executed,
            )


@given(told=changed())
def test_the_codes_share_the_changes_among_them(told: OrderContent) -> None:
    """One after the other they make what all of them make at once, unless the amounts of a part do not add up."""
    at_once = merged(BASE, BASE, told, differences.takes(CODES))
    assert at_once == told
    parts = BASE
    for code in CODES:
        parts = merged(parts, BASE, told, differences.takes((code,)))
    assert parts == at_once


# -- the same in other words ------------------------------------------------------------------------------------------


def edited(name: str, pieces: int, price: int | None = None) -> OrderContent:
    """`BASE` after an edit here."""
    found = applied(BASE, EditChanges(lines=(LineEdit(line_id=name, quantity=pieces, unit_price_minor=price),)))
    assert not found.reasons
    return found.content


def as_sold(ours: OrderContent) -> OrderContent:
    """The same order as a marketplace states it that leaves cancelled pieces out."""
    counts = {one.line_id: (one.quantity, one.amount_minor) for one in payable(ours)}
    lines = (
        line(one.external_line_id, minor, quantity=pieces)
        for one in BASE.lines
        for pieces, minor in [counts.get(one.external_line_id, (0, 0))]
        if pieces
    )
    return content(*lines, shipping=1_00)


EDITS = st.one_of(
    st.builds(edited, st.just("1"), st.integers(0, 2)),
    st.builds(edited, st.sampled_from(["1", "2"]), st.integers(2, 5), st.integers(1, 500)),
)


@given(ours=EDITS)
def test_an_order_in_other_words_becomes_as_it_is_stated_and_sells_the_same(ours: OrderContent) -> None:
    told = as_sold(ours)
    again = reworded(ours, told)
    assert [one.model_copy(update={"unit_price_minor": None}) for one in again.lines] == [*told.lines]
    assert again.totals == told.totals
    assert payable(again) == payable(ours)
    assert reworded(again, told) == again


@given(ours=EDITS, told=EDITS)
def test_only_what_sells_the_same_is_put_in_other_words(ours: OrderContent, told: OrderContent) -> None:
    stated = as_sold(told)
    same = payable(ours) == payable(stated)
    assert (reworded(ours, stated).totals == stated.totals) >= same
    if not same:
        assert reworded(ours, stated) is ours


@given(ours=EDITS, told=EDITS)
def test_a_merge_of_two_changes_of_pieces_sells_what_one_of_both_sells_or_is_refused(
    ours: OrderContent, told: OrderContent
) -> None:
    """No line is lost or doubled between `ordered`, which one side makes smaller, and `cancelled`, which the other one counts up."""
    stated = as_sold(told)
    takes = differences.takes(CODES)
    try:
        after = merged(ours, BASE, stated, takes, alike(ours, stated))
    except ValueError:
        return
    pieces = [{one.line_id: one.quantity for one in payable(content)} for content in (ours, stated, BASE)]
    for one in payable(after):
        assert one.quantity in {found.get(one.line_id) for found in pieces}
    assert {one.line_id for one in payable(ours)} & {one.line_id for one in payable(stated)} <= {
        one.line_id for one in payable(after)
    }
