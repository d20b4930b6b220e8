"""Stripe's balance transactions as a list of captures and refunds: amounts before exchange, names, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from payments.gateways.http import Answer
from payments.gateways.port import Unclear
from payments.gateways.stripe.listing import page_of


def transaction(**more: Any) -> dict[str, Any]:
    charge = {"object": "charge", "id": "ch_1", "amount": 10_00, "amount_captured": 10_00, "currency": "eur", "status": "succeeded",
              "payment_intent": "pi_1", "balance_transaction": "txn_1", "metadata": {"operation_id": "not of the capture"}}  # fmt: skip
    source = charge | more.pop("source", {}) if isinstance(more.get("source", {}), dict) else more.pop("source")
    return {"id": "txn_1", "amount": 10_00, "created": 1_790_000_000, "exchange_rate": None, "reporting_category": "charge",
            "source": source} | more  # fmt: skip


def refund(**source: Any) -> dict[str, Any]:
    one = {"object": "refund", "id": "re_1", "amount": 4_00, "currency": "eur", "status": "succeeded", "charge": "ch_1",
           "payment_intent": "pi_1", "metadata": {"operation_id": "8f7dc3a7-73ea-469b-8d97-b172c6e284c4"}}  # fmt: skip
    return {
        "id": "txn_2",
        "amount": -4_00,
        "created": 1_790_000_000,
        "reporting_category": "refund",
        "source": one | source,
    }


def page(*items: Any, has_more: bool = False) -> Any:
    return page_of(Answer(200, {"object": "list", "data": list(items), "has_more": has_more}))


def test_a_charge_and_a_refund_are_listed_under_their_names() -> None:
    found = page(transaction(), refund(), has_more=True)
    assert [(one.kind, one.reference, one.names, one.currency, one.amount_minor) for one in found.rows] == [
        ("capture", "ch_1", ("pi_1",), "EUR", 10_00),
        ("refund", "re_1", ("8f7dc3a7-73ea-469b-8d97-b172c6e284c4", "ch_1", "pi_1"), "EUR", 4_00),
    ]
    assert found.cursor == "txn_2" and page(transaction()).cursor is None


def test_a_further_part_of_a_charge_has_its_own_name_and_amount() -> None:
    parts = (
        transaction(amount=3_00, source={"amount_captured": 7_00}),
        transaction(id="txn_3", amount=4_00, source={"amount_captured": 7_00}),
    )
    assert [(one.reference, one.names, one.amount_minor) for one in page(*parts).rows] == [
        ("ch_1", ("pi_1",), 3_00), ("txn_3", ("ch_1", "pi_1"), 4_00)]  # fmt: skip


def test_a_charge_that_was_captured_in_part_or_exchanged_is_what_the_buyer_paid() -> None:
    partly = transaction(source={"amount_captured": 6_00})
    exchanged = transaction(amount=11_23, exchange_rate=1.123)
    assert [one.amount_minor for one in page(partly, exchanged).rows] == [6_00, 10_00]


@pytest.mark.parametrize(
    ("amount", "currency", "minor"), [(500, "isk", 5), (5, "mga", 500), (500, "jpy", 500), (500, "xxx", 500)]
)
def test_amounts_are_minor_units_of_iso_4217(amount: int, currency: str, minor: int) -> None:
    [one] = page(
        transaction(amount=amount, source={"amount": amount, "amount_captured": amount, "currency": currency})
    ).rows
    assert (one.amount_minor, one.currency) == (minor, currency.upper())


def test_fees_payouts_and_what_has_failed_are_no_movements() -> None:
    others = [
        transaction(reporting_category=category)
        for category in ("fee", "payout", "dispute", "partial_capture_reversal")
    ]
    assert page(*others, refund(status="failed"), transaction(source={"status": "pending"})).rows == []


@pytest.mark.parametrize(
    "body",
    [
        {"data": [transaction(source="ch_1")]}, {"data": [{"id": "txn_1"}]}, {"data": "x"}, None,
        {"data": [transaction(amount=550, source={"currency": "isk", "amount": 550, "amount_captured": 550})]},
    ],
)  # fmt: skip
def test_a_list_that_does_not_read_is_asked_for_again_rather_than_shown_with_gaps(body: Any) -> None:
    with pytest.raises(Unclear):
        page_of(Answer(200, body))
