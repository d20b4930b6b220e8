"""Transfers pay the orders that they name, in parts; nothing is lost or invented."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.domain.statements import Row
from payments.domain.transfers import Allotted, Expected, allotted

DAY = date(2026, 11, 28)


def transfer(number: int, amount: int, *texts: str, kind: Any = "transfer") -> Row:
    return Row(number, kind, "", texts, amount, 0, amount, DAY)


def expected(
    number: int,
    amount: int,
    reference: str,
    moved: int = 0,
    order: int = 0,
    kind: Literal["authorize", "refund"] = "authorize",
) -> Expected:
    return Expected(UUID(int=number), UUID(int=order or 100 + number), kind, reference, amount, moved)


def paid(rows: list[Row], waiting: list[Expected]) -> list[tuple[str, list[tuple[int, int]]]]:
    return [(one.state, [(part.int, amount) for part, amount in one.parts]) for one in allotted(rows, waiting)]


@pytest.mark.parametrize("text", ["A-1", "a-1", "Order A-1, thank you", "ORDER: A-1;", "(a-1)"])
def test_a_payer_writes_the_reference_in_any_way(text: str) -> None:
    assert paid([transfer(1, 500, text)], [expected(1, 500, "A-1"), expected(2, 500, "A-12")]) == [
        ("matched", [(1, 500)])
    ]


def test_an_order_is_paid_in_parts_and_what_is_too_much_waits_for_a_person() -> None:
    rows = [transfer(1, 11_999, "A-1"), transfer(2, 2, "A-1"), transfer(3, 5, "A-1")]
    assert paid(rows, [expected(1, 12_000, "A-1")]) == [
        ("matched", [(1, 11_999)]), ("overpaid", [(1, 1)]), ("unmatched", [])]  # fmt: skip


def test_the_oldest_operation_of_an_order_is_paid_first() -> None:
    waiting = [expected(1, 100, "A-1", moved=40, order=7), expected(2, 50, "A-1", order=7)]
    assert paid([transfer(1, 100, "A-1")], waiting) == [("matched", [(1, 60), (2, 40)])]


def test_money_that_goes_out_pays_refunds_alone() -> None:
    waiting = [expected(1, 100, "A-1", order=7), expected(2, 30, "A-1", order=7, kind="refund")]
    rows = [transfer(1, -30, "A-1"), transfer(2, -1, "A-1"), transfer(3, 5, "A-1", kind="fee")]
    assert paid(rows, waiting) == [("matched", [(2, 30)]), ("unmatched", []), ("unmatched", [])]


def test_a_transfer_that_names_two_orders_is_for_a_person() -> None:
    waiting = [expected(1, 100, "A-1"), expected(2, 100, "A-2")]
    assert paid([transfer(1, 200, "A-1 A-2")], waiting) == [("reference_ambiguous", [])]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-300, 300)), max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 300), st.booleans()), max_size=8),
)
def test_no_more_is_allotted_than_a_transfer_has_and_an_operation_waits_for(
    sent: list[tuple[str, int]], waits: list[tuple[str, int, bool]]
) -> None:
    rows = [transfer(n, amount, name * 3) for n, (name, amount) in enumerate(sent, 1)]
    waiting = [
        expected(n, amount, name * 3, order=ord(name), kind="refund" if back else "authorize")
        for n, (name, amount, back) in enumerate(waits, 1)
    ]
    result: list[Allotted] = allotted(rows, waiting)
    got: Counter[UUID] = Counter()
    for row, one in zip(rows, result, strict=True):
        assert 0 <= one.amount_minor <= abs(row.gross_minor)
        assert (one.state == "matched") == (0 < one.amount_minor == abs(row.gross_minor))
        got.update(dict(one.parts))
    assert all(got[one.operation_id] <= one.amount_minor for one in waiting)
    for name in "abc":  # what is left over and what still waits are never both there
        for back in (False, True):
            left = sum(abs(r.gross_minor) - a.amount_minor for r, a in zip(rows, result, strict=True)
                       if r.references[0][0] == name and (r.gross_minor < 0) == back)  # fmt: skip
            waits_for = sum(one.amount_minor - got[one.operation_id] for one in waiting
                            if one.reference[0] == name and (one.kind == "refund") == back)  # fmt: skip
            assert not (left and waits_for)
