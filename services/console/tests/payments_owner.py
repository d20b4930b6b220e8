"""Payments as the console asks it, for tests: answers of its own models, and requests that its OpenAPI document describes."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID, uuid4

from console_owners import Owner, page
from console_world import NOW
from fastapi import FastAPI

from chassis.process.app import App
from payments.api.differences import DifferenceShown
from payments.api.disputes import DisputeShown
from payments.api.sessions import SessionListed
from payments.api.settlements import RowShown, SettlementWhole
from payments.domain.books import ACCOUNTS
from payments.handlers import SERVICE
from payments.responses import Books, GiftCardMovement, GiftCardShown, LedgerShown, TrialBalance
from payments.settings import Settings

SETTLEMENT = UUID("0197a000-0000-7000-8000-0000000000aa")
CARD = UUID("0197a000-0000-7000-8000-0000000000cc")
DIFFERENCE = UUID("0197a000-0000-7000-8000-0000000000bb")


@cache
def document() -> dict[str, Any]:
    app: FastAPI = App(SERVICE, Settings(database_url="postgresql://127.0.0.1:1/none"), "api").asgi()
    return app.openapi()


def balance(currency: str = "EUR", amount_minor: int = 1_234_56) -> dict[str, Any]:
    """A trial balance in which everything was authorized, captured and settled."""
    moved = {
        "customer": (0, amount_minor),
        "authorized": (amount_minor, amount_minor),
        "gateway_clearing": (amount_minor, 0),
    }
    accounts = [
        {"account": name, "opening_minor": 0, "debit_minor": debit, "credit_minor": credit, "closing_minor": debit - credit}
        for name in ACCOUNTS for debit, credit in [moved.get(name, (0, 0))]
    ]  # fmt: skip
    sums = {"debit_minor": 2 * amount_minor, "credit_minor": 2 * amount_minor}
    values = {
        "from": "1970-01-01",
        "to": "2026-11-21",
        "currencies": [{"currency": currency, "accounts": accounts, **sums}],
    }
    return TrialBalance.model_validate(values).model_dump(mode="json", by_alias=True)


def settlement(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "settlement_id": SETTLEMENT, "gateway": "stripe", "account": "acct_1", "statement_id": "po_1", "format": "stripe", "currency": "EUR",
        "begins_on": "2026-11-01", "ends_on": "2026-11-20", "opening_minor": 0, "closing_minor": 0, "stated_minor": 97_30, "actor": "person:ann",
        "imported_at": NOW, "states": {"matched": 1, "unmatched": 1},
    }  # fmt: skip
    return SettlementWhole.model_validate(values | changed).model_dump(mode="json")


def row(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "settlement_id": SETTLEMENT, "place": 1, "number": 1, "kind": "adjustment", "row_id": "txn_1", "names": ["re_1"], "currency": "EUR",
        "gross_minor": 10_00, "fee_minor": 30, "net_minor": 9_70, "booked_on": "2026-11-20", "exchanged_currency": None,
        "exchanged_minor": None, "exchange_rate": None, "state": "unmatched", "operation_id": None, "order_id": None, "payout": None,
        "allotted_minor": 0, "open": True, "text": "", "problem": "", "resolution": None, "reason": "", "resolved_by": None, "resolved_at": None,
    }  # fmt: skip
    return RowShown.model_validate(values | changed).model_dump(mode="json")


def operation(**changed: Any) -> dict[str, Any]:
    return {
        "operation_id": str(uuid4()), "kind": "capture", "state": "succeeded", "amount_minor": 20_00, "currency": "EUR", "refers_to": None,
        "gateway": "stripe", "account": "acct_1", "gateway_reference": "ch_1", "code": "", "reason": "", "recorded": None, "with_capture": False, "at": NOW.isoformat(),
    } | changed  # fmt: skip


TOTALS = {"authorized_minor": 20_00, "captured_minor": 20_00, "voided_minor": 0, "refunded_minor": 0}


def ledger(order_id: Any, *operations: dict[str, Any]) -> dict[str, Any]:
    lines = [{"line_id": "1", "direction": 1, "reverses": None, "reversed_minor": 0, **TOTALS}]
    values = {
        "order_id": order_id, "currency": "EUR", "gateway": "stripe", "totals": TOTALS, "version": 3, "created_at": NOW, "lines": lines,
        "operations": operations,
    }  # fmt: skip
    return LedgerShown.model_validate(values).model_dump(mode="json")


def books(order_id: Any, *operations: dict[str, Any]) -> dict[str, Any]:
    entries = [
        {"operation_id": one["operation_id"], "version": 1, "line_id": "1", "account": account, "direction": direction,
         "amount_minor": one["amount_minor"], "currency": "EUR", "at": NOW}
        for one in operations for account, direction in (("gateway_clearing", 1), ("authorized", -1))
    ]  # fmt: skip
    values: dict[str, Any] = ledger(order_id, *operations) | {
        "payment_status": "paid", "dintero_payment_status": "paid", "dintero_transaction_status": "CAPTURED", "entries": entries,
        "entries_cursor": None, "lines": [{"line_id": "1", "direction": 1, "reverses": None, "reversed_minor": 0, **TOTALS, "capturable_minor": 0, "refundable_minor": 20_00}],
    }  # fmt: skip
    return Books.model_validate(values).model_dump(mode="json")


def difference(**changed: Any) -> dict[str, Any]:
    side = {"kind": "capture", "reference": "ch_1", "names": [], "currency": "EUR", "amount_minor": 20_00, "at": NOW}
    values: dict[str, Any] = {
        "difference_id": DIFFERENCE, "version": 2, "status": "open", "gateway": "stripe", "account": "acct_1", "kind": "not_booked",
        "proposal": "book", "order_id": None, "ours": None, "theirs": side, "at": NOW, "found_at": NOW,
        "reconciliation_id": uuid4(), "closed_at": None, "actor": "", "reason": "", "refused": "",
    }  # fmt: skip
    return DifferenceShown.model_validate(values | changed).model_dump(mode="json")


def dispute(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "dispute_id": uuid4(), "order_id": uuid4(), "gateway": "stripe", "account": "acct_1", "reference": "dp_1", "state": "open",
        "currency": "EUR", "amount_minor": 20_00, "withheld_minor": 20_00, "reason": "product_not_received", "due_at": NOW, "opened_at": NOW,
        "at": NOW,
    }  # fmt: skip
    return DisputeShown.model_validate(values | changed).model_dump(mode="json")


def payment_session(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "session_id": uuid4(), "order_id": uuid4(), "state": "open", "currency": "EUR", "amount_minor": 20_00, "authorization_id": None,
        "code": "", "return_url": "https://shop.example/thanks", "cancel_url": None, "expires_at": NOW, "created_at": NOW,
        "gateway": None, "account": None, "prepayment": None, "held_minor": 0,
    }  # fmt: skip
    return SessionListed.model_validate(values | changed).model_dump(mode="json")


def card(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "gift_card_id": CARD, "state": "active", "currency": "EUR", "initial_minor": 50_00, "expires_at": None, "single_use": False,
        "rechargeable": True, "code_end": "W2KP", "version": 3, "status": "active", "balance_minor": 30_00, "created_at": NOW,
    }  # fmt: skip
    return GiftCardShown.model_validate(values | changed).model_dump(mode="json")


def movement(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "number": 2, "kind": "redeemed", "amount_minor": -20_00, "balance_minor": 30_00, "order_id": None, "operation_id": uuid4(), "at": NOW,
    }  # fmt: skip
    return GiftCardMovement.model_validate(values | changed).model_dump(mode="json")


def payments() -> Owner:
    """Payments with one statement, one row to explain and one difference."""
    own = f"/v1/settlements/{SETTLEMENT}"
    paths = document()["paths"]
    return Owner({
        ("GET", "/openapi.json"): (200, {"paths": paths}), ("GET", "/v1/accounts"): (200, balance()), ("GET", "/v1/settlements"): page(settlement()),
        ("GET", own): (200, settlement()), ("GET", f"{own}/rows"): page(row(state="matched", open=False), row(place=2)),
        ("GET", "/v1/gift-cards"): page(card()), ("GET", f"/v1/gift-cards/{CARD}"): (200, card() | {"movements": [movement()]}),
        ("GET", "/v1/settlement-rows"): page(row(place=2)), ("GET", "/v1/differences"): page(difference()), ("GET", "/v1/disputes"): page(dispute()), ("GET", "/v1/parked"): page(),
        ("GET", "/v1/payment-sessions"): page(payment_session()),
    })  # fmt: skip
