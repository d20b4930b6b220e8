"""Operations on money: what a client states becomes a record of payments, and the books become collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dintero_compat.domain import paying
from dintero_compat.domain.shapes import Payment

NUMBERS = {"1": 1, "x-9": 2, "shipping": 3}


def stated(items: list[dict[str, Any]], **more: Any) -> Payment:
    return Payment.model_validate({"items": items, **more})


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(0, 10**9)), min_size=1, max_size=9))
def test_amounts_per_line_survive(items: list[tuple[int, int]]) -> None:
    body = paying.record(stated([{"line_id": n, "amount": amount} for n, amount in items]), "P", "EUR", NUMBERS)
    assert sum(line["amount_minor"] for line in body["lines"]) == sum(amount for _, amount in items)
    for number in {number for number, _ in items}:
        [line] = [line for line in body["lines"] if NUMBERS[line["line_id"]] == number]
        assert line["amount_minor"] == sum(amount for n, amount in items if n == number)


def test_a_line_that_the_order_does_not_have_is_named() -> None:
    with pytest.raises(paying.LineUnknown, match="no line 4"):
        paying.record(stated([{"line_id": 4, "amount": 1}]), "P", "EUR", NUMBERS)


@pytest.mark.parametrize(
    ("psp", "name"), [("", "dintero"), ("Bambora", "bambora"), ("Dintero PSP!", "dintero-psp"), ("42", "dintero"), ("x" * 40, "dintero")]
)  # fmt: skip
def test_the_name_of_a_payment_system_is_one_of_ours(psp: str, name: str) -> None:
    assert paying.psp(stated([{"line_id": 1, "amount": 1}], payment_details={"psp": psp})) == name


class Books:
    """The ledger of an order, as payments answers it."""

    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []

    def book(
        self,
        kind: str,
        debit: str,
        credit: str,
        lines: Mapping[str, int],
        refers_to: str | None = None,
        state: str = "succeeded",
    ) -> str:
        one = str(uuid4())
        self.operations.append(
            {"operation_id": one, "kind": kind, "state": state, "amount_minor": sum(lines.values()), "refers_to": refers_to,
             "gateway_reference": f"P-{len(self.operations)}", "at": "2026-11-21T10:00:00Z"}
        )  # fmt: skip
        self.post(one, debit, credit, lines if state == "succeeded" else {})
        return one

    def post(self, operation_id: str, debit: str, credit: str, lines: Mapping[str, int]) -> None:
        for line_id, amount in lines.items():
            for account, direction in ((debit, 1), (credit, -1)):
                self.entries.append(
                    {"operation_id": operation_id, "line_id": line_id, "account": account, "direction": direction,
                     "amount_minor": amount}
                )  # fmt: skip

    @property
    def ledger(self) -> dict[str, Any]:
        return {"operations": self.operations, "lines": []}


def test_the_books_are_collections_with_their_items() -> None:
    books = Books()
    granted = books.book("authorize", "authorized", "customer", {"1": 100, "x-9": 50})
    captured = books.book("capture", "gateway_clearing", "authorized", {"1": 100}, granted)
    books.book("void", "customer", "authorized", {"x-9": 50}, granted)
    refund = books.book("refund", "customer", "refunds_payable", {"1": 30}, captured)
    books.post(refund, "refunds_payable", "gateway_clearing", {"1": 30})  # the gateway made it later
    books.book("refund", "customer", "gateway_clearing", {"1": 5}, captured, state="failed")
    books.book("capture", "gateway_clearing", "authorized", {"1": 5}, granted, state="pending")
    found = paying.operations(books.ledger, books.entries, NUMBERS, {})
    assert {name: [(one["amount"], one["items"], one["success"]) for one in some] for name, some in found.items()} == {
        "authorizations": [(150, [{"line_id": 1, "amount": 100}, {"line_id": 2, "amount": 50}], True)],
        "captures": [(100, [{"line_id": 1, "amount": 100}], True)],
        "refunds": [(30, [{"line_id": 1, "amount": 30}], True), (5, [], False)],
        "cancellations": [(50, [{"line_id": 2, "amount": 50}], True)],
    }
    assert [one["authorization_id"] for one in found["refunds"]] == [granted, granted]
    assert found["captures"][0]["payment_details"] == {"payment_id": "P-1"}


def test_the_amounts_of_a_reversed_line_are_negative() -> None:
    books = Books()
    granted = books.book("authorize", "authorized", "customer", {"1": 100})
    books.post(granted, "customer", "authorized", {"2": 100})
    captured = books.book("capture", "gateway_clearing", "authorized", {"1": 100}, granted)
    books.post(captured, "authorized", "gateway_clearing", {"2": 100})
    items = paying.items_of(books.ledger, books.entries)
    assert items == {granted: {"1": 100, "2": -100}, captured: {"1": 100, "2": -100}}


def test_a_reversal_is_an_authorization_and_a_capture_of_a_negative_and_a_positive_line() -> None:
    books = Books()
    granted = books.book("authorize", "authorized", "customer", {"1": 39800})
    captured = books.book("capture", "gateway_clearing", "authorized", {"1": 39800}, granted)
    reversal = books.book("reverse", "customer", "authorized", {"1": 39800}, captured)
    books.post(reversal, "authorized", "customer", {"x-9": 29800})
    books.book("transfer", "fees", "customer", {"1": 1})  # a kind of a newer release
    found = paying.operations(books.ledger, books.entries, NUMBERS, {})
    assert [one["id"] for one in found["authorizations"]] == [granted, reversal]
    assert found["captures"][1] == found["authorizations"][1]
    assert found["captures"][1]["items"] == [{"line_id": 1, "amount": -39800}, {"line_id": 2, "amount": 29800}]
    assert found["captures"][1]["amount"] == -10000


def test_a_refund_draws_on_the_oldest_capture_that_has_all_its_amounts_left() -> None:
    books = Books()
    granted = books.book("authorize", "authorized", "customer", {"1": 100})
    other = books.book("authorize", "authorized", "customer", {"1": 100})
    first = books.book("capture", "gateway_clearing", "authorized", {"1": 40}, granted)
    second = books.book("capture", "gateway_clearing", "authorized", {"1": 60}, other)
    books.book("refund", "customer", "gateway_clearing", {"1": 30}, first)

    def capture(amount: int, authorization: str | None = None) -> UUID | None:
        items = paying.items_of(books.ledger, books.entries)
        return paying.capture_for([{"line_id": "1", "amount_minor": amount}], books.ledger, items, authorization)

    assert capture(10) == UUID(first)
    assert capture(11) == UUID(second)
    assert capture(10, other) == UUID(second)
    assert capture(61) is None


@pytest.mark.parametrize(
    ("amounts", "beyond"),
    [({"1": 70}, None), ({"1": 71}, ("1", 71, 70)), ({"1": 1, "2": 6}, ("2", 6, 5)), ({"3": 1}, ("3", 1, 0))],
)
def test_a_refund_states_at_most_what_all_captures_of_a_line_have_left(
    amounts: dict[str, int], beyond: tuple[str, int, int] | None
) -> None:
    ledger = {"lines": [{"line_id": "1", "refundable_minor": 70}, {"line_id": "2", "refundable_minor": 5}]}
    lines = [{"line_id": line_id, "amount_minor": amount} for line_id, amount in amounts.items()]
    assert paying.exceeded(lines, ledger) == beyond
