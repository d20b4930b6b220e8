"""The published events of an operation, with the totals after them: it succeeded, is pending, was declined, has failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from contracts.deciding import Context
from contracts.limits import MINOR_MAX
from contracts.money import Currency
from contracts.payments import (
    Authorized,
    Captured,
    Declined,
    Failed,
    FailureCode,
    GiftCardPart,
    GiftCardsRedeemed,
    Pending,
    Refunded,
    Voided,
)
from payments.domain.ledger import Ledger
from payments.domain.operation import Operation, capture_id_of

Fact = Authorized | Captured | Voided | Refunded


def succeeded(
    ledger: Ledger,
    operation_id: UUID,
    operation: Operation,
    context: Context,
    gateway_reference: str | None = None,
    recorded: bool = False,
    held_until: datetime | None = None,
) -> Fact:
    """What was asked has happened, in full. recorded: it was stated, not reported. held_until: of an authorization."""
    amount = operation.total_minor
    common: dict[str, Any] = {
        "order_id": context.key,
        "store_id": context.store_id,
        "operation_id": operation_id,
        "currency": _currency(operation),
        "lines": operation.lines,
        "amount_minor": amount,
        "gateway_reference": gateway_reference,
        "recorded": recorded,
        "payment": operation.payment,
        "gift_cards": operation.gift_cards,
    }
    match operation.kind:
        case "authorize":
            assert operation.gateway is not None, "an authorization names its gateway"
            return Authorized(
                **common,
                totals=ledger.totals(authorized=amount, captured=amount if operation.with_capture else 0),
                authorization_id=operation_id,
                capture_id=capture_id_of(operation_id) if operation.with_capture else None,
                gateway=operation.gateway,
                account=operation.account,
                held_until=held_until,
                session_id=operation.session_id,
            )
        case "capture":
            drawn_on, totals = _refers_to(operation), ledger.totals(captured=amount)
            return Captured(**common, totals=totals, capture_id=operation_id, authorization_id=drawn_on)
        case "void":
            return Voided(**common, totals=ledger.totals(voided=amount), authorization_id=_refers_to(operation))
        case "refund":
            drawn_on, totals = _refers_to(operation), ledger.totals(refunded=amount)
            return Refunded(**common, totals=totals, refund_id=operation_id, capture_id=drawn_on)
        case "reverse" | "prepay" | "return":
            raise AssertionError(f"a {operation.kind} states its own event")
        case _:
            assert_never(operation.kind)


def redeemed(
    ledger: Ledger, operation_id: UUID, operation: Operation, parts: tuple[GiftCardPart, ...], context: Context
) -> GiftCardsRedeemed:
    return GiftCardsRedeemed(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=operation_id,
        currency=_currency(operation),
        totals=ledger.totals(),
        gift_cards=parts,
    )


def pending(
    ledger: Ledger,
    operation_id: UUID,
    operation: Operation,
    context: Context,
    gateway_reference: str | None = None,
    expires_at: datetime | None = None,
) -> Pending:
    return Pending(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=operation_id,
        currency=_currency(operation),
        totals=ledger.totals(),
        command=operation.kind,
        since=context.now,
        refers_to=operation.refers_to,
        gateway=operation.gateway,
        account=operation.account,
        lines=operation.lines,
        amount_minor=operation.total_minor,
        capture=operation.with_capture,
        gift_cards=operation.gift_cards,
        gateway_reference=gateway_reference,
        expires_at=expires_at,
        session_id=operation.session_id,
    )


def declined(
    ledger: Ledger,
    operation_id: UUID,
    operation: Operation,
    context: Context,
    code: str,
    reason: str,
    recorded: bool = False,
) -> Declined:
    return Declined(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=operation_id,
        currency=_currency(operation),
        totals=ledger.totals(),
        amount_minor=min(operation.total_minor, MINOR_MAX),
        code=code,
        reason=reason,
        recorded=recorded,
        payment=operation.payment,
        gift_cards=operation.gift_cards,
        session_id=operation.session_id or ledger.session_for(operation_id),
    )


def failed(
    ledger: Ledger,
    operation_id: UUID,
    operation: Operation,
    context: Context,
    code: FailureCode,
    reason: str = "",
    allowed_minor: int | None = None,
    recorded: bool = False,
    later: bool = False,
) -> Failed:
    return Failed(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=operation_id,
        currency=operation.currency,
        totals=ledger.totals(),
        command=operation.kind,
        refers_to=operation.refers_to,
        code=code,
        reason=reason,
        later=later,
        amount_minor=min(operation.total_minor, MINOR_MAX),
        allowed_minor=allowed_minor,
        recorded=recorded,
        payment=operation.payment,
    )


def _currency(operation: Operation) -> Currency:
    assert operation.currency is not None, "money has a currency"
    return operation.currency


def _refers_to(operation: Operation) -> UUID:
    assert operation.refers_to is not None, f"a {operation.kind} draws on an earlier operation"
    return operation.refers_to
