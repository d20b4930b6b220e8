"""What a success moves: the sums of the order, of its lines, of its authorizations and captures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from contracts.gift_cards import GIFT_CARD
from contracts.payments import (
    Authorized,
    Captured,
    GatewayName,
    MoneyLine,
    Refunded,
    Voided,
)
from payments.domain import prepayment_folds, reversals, session_folds
from payments.domain.gateway import Kind
from payments.domain.ledger import Authorization, Capturing, Ledger, Line
from payments.domain.operation import Operation, by_cards, card_operation_id, rest_of
from payments.domain.operation_folds import operations_with, with_operation
from payments.domain.tender_folds import card_operation, granted, of_card, returned, taken


def authorized(ledger: Ledger, event: Authorized) -> Ledger:
    assert event.authorization_id not in ledger.authorizations, "authorized twice"
    cards = [card_operation_id(event.authorization_id, part.gift_card_id) for part in event.gift_cards]
    operation = _succeeded(ledger, event.operation_id, event, "authorize", event.gateway, None)
    ledger = prepayment_folds.taken(session_folds.ended(ledger, event.operation_id, "completed"), event)
    operations = operations_with(ledger, event.operation_id, operation)
    authorizations = {
        **ledger.authorizations,
        event.authorization_id: Authorization(
            gateway=event.gateway,
            account=event.account,
            gateway_reference=event.gateway_reference,
            lines=granted(rest_of(event.lines, event.gift_cards)),
            cards=tuple(cards),
            held_until=event.held_until,
            session_id=event.session_id,
        ),
    }
    for card, part in zip(cards, event.gift_cards, strict=True):
        authorizations[card] = Authorization(
            gateway=GIFT_CARD, lines=granted(part.lines), gift_card_id=part.gift_card_id
        )
        done = card_operation("authorize", "succeeded", part, event.currency, None)
        operations[card] = done.model_copy(update={"with_capture": event.capture_id is not None})
    after = ledger.model_copy(
        update={
            "operations": operations,
            "currency": event.currency,
            "gateway": ledger.gateway or event.gateway,
            "authorized_minor": ledger.authorized_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "authorized_minor"),
            "authorizations": authorizations,
        }
    )
    after = prepayment_folds.not_needed(after, event)
    if event.capture_id is not None:
        return _with_capture(after, event.capture_id, event.capture_id, event)
    return _to_capture(after, ledger.operations.get(event.authorization_id), event)


def _to_capture(ledger: Ledger, before: Operation | None, event: Authorized) -> Ledger:
    """The difference of a reversal is captured next, if its gateway has not done both. before: the operation as it was open."""
    if before is None or before.follows is None or not event.amount_minor:
        return ledger
    operation = Operation(
        kind="capture",
        state="asked",
        amount_minor=event.amount_minor,
        currency=event.currency,
        refers_to=event.authorization_id,
        gateway=event.gateway,
        lines=event.lines,
        follows=before.follows,
    )
    return with_operation(ledger, reversals.capture_id_of_charge(event.authorization_id), operation)


def captured(ledger: Ledger, event: Captured) -> Ledger:
    return _with_capture(ledger, event.capture_id, event.operation_id, event)


def _with_capture(ledger: Ledger, capture_id: UUID, operation_id: UUID | None, event: Authorized | Captured) -> Ledger:
    """After a capture of the event's lines; one that came with its authorization is an operation of its own."""
    assert capture_id not in ledger.captures, "captured twice"
    lines = rest_of(event.lines, event.gift_cards)
    authorizations = {
        **ledger.authorizations,
        event.authorization_id: _drawn(ledger, event.authorization_id, lines, "captured_minor"),
    }
    drawn = authorizations[event.authorization_id]
    operation = _succeeded(ledger, operation_id, event, "capture", drawn.gateway, event.authorization_id)
    operations = operations_with(ledger, operation_id, operation)
    cards = tuple(card_operation_id(capture_id, part.gift_card_id) for part in event.gift_cards)
    captures = {
        **ledger.captures,
        capture_id: Capturing(
            authorization_id=event.authorization_id,
            gateway=drawn.gateway,
            account=drawn.account,
            gateway_reference=event.gateway_reference,
            lines=taken(lines),
            cards=cards,
        ),
    }
    for card, part in zip(cards, event.gift_cards, strict=True):
        card_id = card_operation_id(event.authorization_id, part.gift_card_id)
        authorizations[card_id] = _drawn(ledger, card_id, part.lines, "captured_minor")
        captures[card] = Capturing(
            authorization_id=card_id, gateway=GIFT_CARD, lines=taken(part.lines), gift_card_id=part.gift_card_id
        )
        operations[card] = card_operation("capture", "succeeded", part, event.currency, card_id)
    return ledger.model_copy(
        update={
            "operations": operations,
            "captured_minor": ledger.captured_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "captured_minor"),
            "authorizations": authorizations,
            "captures": captures,
        }
    )


def voided(ledger: Ledger, event: Voided) -> Ledger:
    authorizations, gateway = dict(ledger.authorizations), ledger.gateway
    if event.authorization_id in authorizations:  # else it was declined: nothing is left of it
        lines = rest_of(event.lines, event.gift_cards)
        authorization = _drawn(ledger, event.authorization_id, lines, "voided_minor")
        authorizations[event.authorization_id] = authorization
        gateway = authorization.gateway
    operation = _succeeded(ledger, event.operation_id, event, "void", gateway, event.authorization_id)
    operations = operations_with(ledger, event.operation_id, operation)
    for part in event.gift_cards:
        card_id = card_operation_id(event.authorization_id, part.gift_card_id)
        authorizations[card_id] = _drawn(ledger, card_id, part.lines, "voided_minor")
        operations[of_card(event.operation_id, part)] = card_operation(
            "void", "succeeded", part, event.currency, card_id
        )
    return ledger.model_copy(
        update={
            "operations": operations,
            "voided_minor": ledger.voided_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "voided_minor"),
            "authorizations": authorizations,
        }
    )


def refunded(ledger: Ledger, event: Refunded) -> Ledger:
    captures = dict(ledger.captures)
    captures[event.capture_id] = returned(ledger, event.capture_id, rest_of(event.lines, event.gift_cards))
    gateway = captures[event.capture_id].gateway
    operation = _succeeded(ledger, event.operation_id, event, "refund", gateway, event.capture_id)
    operations = operations_with(ledger, event.operation_id, operation)
    for part in event.gift_cards:
        card_id = card_operation_id(event.capture_id, part.gift_card_id)
        captures[card_id] = returned(ledger, card_id, part.lines)
        operations[of_card(event.operation_id, part)] = card_operation(
            "refund", "succeeded", part, event.currency, card_id
        )
    return ledger.model_copy(
        update={
            "operations": operations,
            "refunded_minor": ledger.refunded_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "refunded_minor"),
            "captures": captures,
        }
    )


def _succeeded(
    ledger: Ledger,
    operation_id: UUID | None,
    event: Authorized | Captured | Voided | Refunded,
    kind: Kind,
    gateway: GatewayName | None,
    refers_to: UUID | None,
) -> Operation:
    known = ledger.operations.get(operation_id) if operation_id else None
    return Operation(
        kind=kind,
        state="succeeded",
        amount_minor=event.amount_minor - by_cards(event.gift_cards),
        currency=event.currency,
        refers_to=refers_to,
        gateway=gateway,
        account=event.account if isinstance(event, Authorized) and kind == "authorize" else None,
        gateway_reference=event.gateway_reference,
        recorded=((known.recorded if known else None) or "stated") if event.recorded else None,
        payment=event.payment,
        lines=event.lines if event.payment is not None else (),
        with_capture=kind == "authorize" and isinstance(event, Authorized) and event.capture_id is not None,
    )


Drawn = Literal["captured_minor", "voided_minor"]


def _drawn(ledger: Ledger, authorization_id: UUID, drawn: tuple[MoneyLine, ...], what: Drawn) -> Authorization:
    """The authorization after so much was captured or voided of it."""
    authorization = ledger.authorizations[authorization_id]
    lines = dict(authorization.lines)
    for line in drawn:
        before = lines[line.line_id]
        update = {what: getattr(before, what) + line.amount_minor, "pieces": max(before.pieces - line.quantity, 0)}
        after = before.model_copy(update=update)
        assert after.left_minor >= 0, f"line {line.line_id} of authorization {authorization_id}: {after}"
        lines[line.line_id] = after
    return authorization.model_copy(update={"lines": lines})


def _lines_with(lines: Mapping[str, Line], more: tuple[MoneyLine, ...], what: str) -> dict[str, Line]:
    """The order's lines with so much more of one amount; untouched lines stay the same objects."""
    changed = dict(lines)
    for line in more:
        before = changed.get(line.line_id) or Line()
        after = before.model_copy(update={what: getattr(before, what) + line.amount_minor})
        # The table has the same checks: asserted twice, on both sides of the write.
        assert after.refunded_minor + after.reversed_minor <= after.captured_minor, f"line {line.line_id}: {after}"
        assert after.direction == 1, f"line {line.line_id} is a reversal"
        assert after.captured_minor + after.voided_minor <= after.authorized_minor, f"line {line.line_id}: {after}"
        changed[line.line_id] = after
    return changed
