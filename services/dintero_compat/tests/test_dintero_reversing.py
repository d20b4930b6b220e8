"""Lines that a draft reverses and replaces: what payments books of them, and what of a client's statements is booked already."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dintero_compat.domain import paying, reversing
from dintero_compat.domain.shapes import Draft, Item

REVERSED: dict[str, Any] = {
    "id": "175938", "line_id": 2, "quantity": 2, "gross_amount": -39800, "tax_lines": [{"amount": -7960, "percentage": 25}],
    "reversed_reason": "Replace item", "related_item": {"line_id": 1, "type": "reversed"},
}  # fmt: skip


def line(number: int, gross: int, reverses: int | None = None) -> Item:
    related = {"related_item": {"line_id": reverses}} if reverses else {}
    return Item.model_validate({"id": f"S{number}", "line_id": number, "gross_amount": gross, **related})


def draft(*items: dict[str, Any], order_id: str | None = "A") -> Draft:
    return Draft.model_validate({"options": {"order_id": order_id}, "order": {"currency": "NOK", "items": items}})


def test_the_worked_example_of_the_documentation_is_one_request_of_payments() -> None:
    [old, new, rest] = draft(REVERSED, {"id": "003929", "line_id": 3, "gross_amount": 29800, "description": "Chair", "tax_lines": [{"amount": 5960, "percentage": 25.5}]}, {"id": "R", "line_id": 4, "gross_amount": 10000}).order.items  # fmt: skip
    assert reversing.body([old, new, rest], {1: "1"}, "NOK", None, in_pieces=True) == {
        "currency": "NOK", "capture_id": None,
        "reversals": [{"line_id": "2", "reverses": "1", "quantity": 2, "amount_minor": 39800}],
        "lines": [
            {"line_id": "3", "quantity": 1, "amount_minor": 29800, "sku": "003929", "title": "Chair", "rate": "25.5"},
            {"line_id": "4", "quantity": 1, "amount_minor": 10000, "sku": "R"},
        ],
    }  # fmt: skip


def test_what_is_dearer_is_left_to_be_authorized_and_what_is_cheaper_needs_a_line_for_the_rest() -> None:
    dearer = [line(2, -398, 1), line(3, 300), line(4, 198), line(5, 10), line(6, 0)]
    assert reversing.paid(dearer) == {2: -398, 3: 300, 4: 98, 5: 0, 6: 0}
    assert [one["line_id"] for one in reversing.body(dearer, {1: "1"}, "NOK", None, in_pieces=False)["lines"]] == ["3", "4", "6"]  # fmt: skip
    with pytest.raises(reversing.Unbalanced, match="100 minor units"):
        reversing.paid([line(2, -398, 1), line(3, 298)])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: draft(REVERSED, order_id=None),
        lambda: draft(REVERSED | {"gross_amount": 1}),
        lambda: draft(REVERSED | {"related_item": None}),
        lambda: draft(REVERSED | {"tax_lines": [{"amount": 1, "percentage": 25}]}),
        lambda: draft(REVERSED | {"line_id": None}),
        lambda: Draft.model_validate({"options": {"order_id": "A"}, "order": {"currency": "NOK", "order_id": "B"}}),
    ],
)
def test_a_reversal_that_contradicts_itself_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        wrong()


@given(
    st.dictionaries(st.integers(2, 5), st.integers(-500, 500), min_size=1),
    st.data(),
)
def test_however_a_client_splits_its_statements_each_amount_is_booked_once(
    gross: dict[int, int], data: st.DataObject
) -> None:
    """What reversals have booked is covered, and exactly the rest is news for payments."""
    booked = {n: amount if amount < 0 else data.draw(st.integers(0, amount)) for n, amount in gross.items()}
    left, before, news = dict(gross), dict.fromkeys(gross, 0), dict.fromkeys(gross, 0)
    while any(left.values()):
        stated = {}
        for n, amount in left.items():
            part = data.draw(st.integers(min(amount, 0), max(amount, 0)))
            if part:
                stated[n] = part
        stated = stated or {n: amount for n, amount in left.items() if amount}
        covered = reversing.covered(stated, booked, before)
        for n, amount in stated.items():
            left[n] -= amount
            before[n] += covered[n]
            news[n] += amount - covered[n]
    assert before == booked
    assert news == {n: gross[n] - booked[n] for n in gross}


@given(st.integers(-500, 0), st.integers(-500, -1))
def test_no_more_of_a_line_is_stated_negative_than_was_reversed(booked: int, stated: int) -> None:
    if stated < booked:
        with pytest.raises(reversing.Exceeded) as error:
            reversing.covered({2: stated}, {2: booked}, {})
        assert error.value.allowed_minor == -booked
    else:
        assert reversing.covered({2: stated}, {2: booked}, {}) == {2: stated}


def test_a_refund_of_a_line_that_replaces_another_draws_on_the_capture_that_pays_it() -> None:
    first, second, reversal = (str(uuid4()) for _ in range(3))
    granted = str(uuid4())

    def done(name: str, kind: str, of: str) -> dict[str, Any]:
        return {"operation_id": name, "kind": kind, "state": "succeeded", "refers_to": of}

    ledger = {
        "operations": [done(first, "capture", granted), done(second, "capture", granted), done(reversal, "reverse", second)],
        "lines": [{"line_id": "1", "direction": 1, "reverses": None}, {"line_id": "2", "direction": -1, "reverses": "1"}],
    }  # fmt: skip
    items = {first: {"1": 100}, second: {"1": 400}, reversal: {"2": -400, "3": 300, "4": 100}}

    def capture(line_id: str, amount: int, authorization: str | None = None) -> UUID | None:
        return paying.capture_for([{"line_id": line_id, "amount_minor": amount}], ledger, items, authorization)

    assert capture("4", 100) == UUID(second) == capture("4", 100, reversal)
    assert capture("4", 101) is None
    assert capture("1", 100) == UUID(first)
    assert capture("1", 101) is None, "line 1 of the second capture is reversed"
    assert paying.reversal_of("4", ledger, items) == reversal and paying.reversal_of("1", ledger, items) is None
    assert paying.several_captures(ledger)
