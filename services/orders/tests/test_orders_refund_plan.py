"""Which amounts of which captures a refund means: golden figures, limits, and sums that hold for any sequence of refunds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders_play import uid

from contracts.deciding import Refusal
from contracts.invoicing import InvoiceLine
from contracts.money import EXPONENTS
from contracts.payments import MoneyLine
from contracts.vat import NOTHING, credited
from orders.domain.content.facts import CapturedLine, CaptureFact
from orders.domain.content.refunds import Part, Taken, Wanted, left_minor, plan

LINES = ("1", "2", "3")


def capture(name: str, *lines: tuple[str, int, int]) -> CaptureFact:
    """Lines as (id, pieces, minor units)."""
    captured = (CapturedLine(line_id=one, quantity=pieces, amount_minor=minor) for one, pieces, minor in lines)
    return CaptureFact(capture_id=uid(name), lines=tuple(captured))


def refund(captures: Sequence[CaptureFact], *wanted: Wanted, goodwill: int = 0) -> tuple[Part, ...]:
    parts = plan(captures, {}, LINES, wanted, goodwill)
    assert not isinstance(parts, Refusal), parts
    return parts


def refusal(captures: Sequence[CaptureFact], *wanted: Wanted, goodwill: int = 0, taken: Taken | None = None) -> Refusal:
    refused = plan(captures, taken or {}, LINES, wanted, goodwill)
    assert isinstance(refused, Refusal)
    return refused


def after(captures: Sequence[CaptureFact], parts: Sequence[Part]) -> list[CaptureFact]:
    gone = {part.capture_id: part.lines for part in parts}
    return [one.refunded(gone[one.capture_id]) if one.capture_id in gone else one for one in captures]


def moved(parts: Sequence[Part]) -> list[tuple[UUID, list[tuple[str, int, int]]]]:
    return [(part.capture_id, [(one.line_id, one.quantity, one.amount_minor) for one in part.lines]) for part in parts]


def test_three_pieces_for_a_hundred_go_back_in_thirds_that_add_up() -> None:
    """Case A05: 3 pieces for 100.00 gross at 23 %, VAT 18.70."""
    whole = InvoiceLine(
        line_id="1", title="", quantity=3, rate="23", net_minor=8130, vat_minor=1870, gross_minor=10_000
    )
    captures, before = [capture("c", ("1", 3, 10_000))], NOTHING
    refunds, vats = [], []
    for _ in range(3):
        (part,) = refund(captures, Wanted("1", quantity=1))
        note = credited(whole, before, part.lines[0].quantity, part.amount_minor)
        refunds.append(part.amount_minor)
        vats.append(note.vat_minor)
        captures, before = after(captures, [part]), before.plus(note)
    assert refunds == [3333, 3334, 3333]
    assert vats == [623, 624, 623]
    more = refusal(captures, Wanted("1", amount_minor=1))
    assert more.code == "refund_exceeds" and more.more == {"line": "1", "of": "amount_minor", "allowed": 0, "asked": 1}


def test_goodwill_over_two_equal_lines_is_split_by_largest_remainder() -> None:
    """Case A05: 1.03 over lines of 1.00 and 1.00."""
    parts = refund([capture("c", ("1", 1, 100), ("2", 1, 100))], goodwill=103)
    assert moved(parts) == [(uid("c"), [("1", 0, 52), ("2", 0, 51)])]


def test_a_line_goes_back_from_its_newest_capture_first() -> None:
    captures = [capture("old", ("1", 2, 2000), ("2", 1, 500)), capture("new", ("1", 1, 1001))]
    assert moved(refund(captures, Wanted("1", quantity=2))) == [
        (uid("new"), [("1", 1, 1001)]),
        (uid("old"), [("1", 1, 1000)]),
    ]
    assert moved(refund(captures, Wanted("1", amount_minor=1500), Wanted("2", amount_minor=1))) == [
        (uid("new"), [("1", 0, 1001)]),
        (uid("old"), [("1", 0, 499), ("2", 0, 1)]),
    ]


def test_goodwill_takes_the_newest_capture_first_and_what_the_lines_of_the_same_refund_leave() -> None:
    captures = [capture("old", ("1", 1, 300), ("shipping", 0, 100)), capture("new", ("2", 1, 500))]
    assert moved(
        refund(captures, Wanted("2", amount_minor=450), Wanted("shipping", amount_minor=100), goodwill=90)
    ) == [
        (uid("new"), [("2", 0, 500)]),
        (uid("old"), [("1", 0, 40), ("shipping", 0, 100)]),
    ]


def test_pieces_cost_less_after_a_part_of_their_price_went_back() -> None:
    captures = after(
        [capture("c", ("1", 3, 10_000))], [Part(uid("c"), (MoneyLine(line_id="1", quantity=0, amount_minor=1000),))]
    )
    assert [part.amount_minor for part in refund(captures, Wanted("1", quantity=1))] == [2333]
    assert [part.amount_minor for part in refund(captures, Wanted("1", quantity=3))] == [9000]


@pytest.mark.parametrize(
    ("wanted", "goodwill", "more"),
    [
        ([Wanted("1", quantity=3)], 0, {"line": "1", "of": "quantity", "allowed": 2, "asked": 3}),
        ([Wanted("1", amount_minor=2001)], 0, {"line": "1", "of": "amount_minor", "allowed": 2000, "asked": 2001}),
        ([Wanted("3", amount_minor=1)], 0, {"line": "3", "of": "amount_minor", "allowed": 0, "asked": 1}),
        ([Wanted("shipping", amount_minor=1)], 0, {"line": "shipping", "of": "amount_minor", "allowed": 0, "asked": 1}),
        ([Wanted("1", quantity=2)], 501, {"line": None, "of": "amount_minor", "allowed": 500, "asked": 501}),
    ],
)
def test_what_exceeds_is_refused_with_the_line_and_what_is_allowed(
    wanted: list[Wanted], goodwill: int, more: dict[str, object]
) -> None:
    refused = refusal([capture("c", ("1", 2, 2000), ("2", 1, 500))], *wanted, goodwill=goodwill)
    assert (refused.code, refused.more) == ("refund_exceeds", more)


def test_what_open_refunds_take_is_not_allowed_again() -> None:
    captures, taken = [capture("c", ("1", 2, 2000))], {(uid("c"), "1"): (1, 1000)}
    assert left_minor(captures, taken) == 1000
    assert refusal(captures, Wanted("1", quantity=2), taken=taken).more["allowed"] == 1
    assert refusal(captures, goodwill=1001, taken=taken).more["allowed"] == 1000


def test_a_line_that_the_order_does_not_have_and_a_refund_of_nothing_are_refused() -> None:
    captures = [capture("c", ("1", 1, 0), ("2", 1, 500))]
    assert refusal(captures, Wanted("9", quantity=1)).code == "line_unknown"
    assert refusal(captures, Wanted("1", quantity=1)).code == "refund_empty"
    assert refusal(captures).code == "refund_empty"


class Step(NamedTuple):
    """One refund: each number is a share of what is left, so that it is allowed."""

    line: int
    by_pieces: bool
    share: float
    goodwill: float


# One piece costs up to 1,000.00 euro, 100,000 yen or 100.000 dinar.
PRICES = {code: st.integers(0, 1000 * 10 ** EXPONENTS[code]) for code in ("EUR", "JPY", "KWD")}
STEPS = st.lists(
    st.builds(Step, st.integers(0, 2), st.booleans(), st.floats(0, 1), st.floats(0, 1) | st.just(0.0)), max_size=8
)


@pytest.mark.parametrize("currency", PRICES)
@settings(deadline=None)
@given(data=st.data())
def test_no_sequence_of_refunds_exceeds_a_captured_line_and_all_pieces_are_all_the_money(
    currency: str, data: Any
) -> None:
    """Promise 3: per line and capture, after every refund by pieces, by amount or as goodwill."""
    price = PRICES[currency]
    captures = [
        capture(f"c{n}", *((line, data.draw(st.integers(1, 5)), data.draw(price)) for line in LINES), ("shipping", 0, data.draw(price)))
        for n in range(data.draw(st.integers(1, 3)))
    ]  # fmt: skip
    for step in data.draw(STEPS):
        line = LINES[step.line]
        own = [one for fact in captures for one in fact.lines if one.line_id == line]
        pieces = round(step.share * sum(one.to_refund.quantity for one in own))
        minor = round(step.share * sum(one.to_refund.amount_minor for one in own))
        wanted = Wanted(line, quantity=pieces) if step.by_pieces else Wanted(line, amount_minor=minor)
        left = left_minor(captures, {})
        alone = plan(captures, {}, LINES, [wanted])
        taken = 0 if isinstance(alone, Refusal) else sum(part.amount_minor for part in alone)
        goodwill = round(step.goodwill * (left - taken))
        parts = plan(captures, {}, LINES, [wanted], goodwill)
        if isinstance(parts, Refusal):
            assert parts.code == "refund_empty" and not taken + goodwill
            continue
        assert sum(part.amount_minor for part in parts) == taken + goodwill
        captures = after(captures, parts)
        for one in (one for fact in captures for one in fact.lines):
            assert 0 <= one.refunded_minor <= one.amount_minor and one.refunded_quantity <= one.quantity
    rest = [Wanted(line, quantity=sum(one.to_refund.quantity for fact in captures for one in fact.lines if one.line_id == line))
            for line in LINES]  # fmt: skip
    parts = plan(captures, {}, LINES, [one for one in rest if one.quantity])
    captures = after(captures, () if isinstance(parts, Refusal) else parts)
    for one in (one for fact in captures for one in fact.lines if one.line_id != "shipping"):
        assert one.refunded_minor == one.amount_minor
        assert one.refunded_quantity == one.quantity or isinstance(parts, Refusal)


@given(pieces=st.integers(1, 12), amount=st.integers(0, 10**5), cuts=st.lists(st.integers(1, 12), max_size=12))
def test_pieces_refunded_one_after_the_other_are_within_one_minor_unit_of_their_share(
    pieces: int, amount: int, cuts: list[int]
) -> None:
    captures, left = [capture("c", ("1", pieces, amount))], pieces
    for cut in cuts:
        now = min(cut, left)
        parts = plan(captures, {}, LINES, [Wanted("1", quantity=now)]) if now else ()
        if isinstance(parts, Refusal):
            return
        back = sum(part.amount_minor for part in parts)
        assert abs(back * pieces - amount * now) <= pieces
        captures, left = after(captures, parts), left - now
