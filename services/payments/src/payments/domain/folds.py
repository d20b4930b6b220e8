"""How events change the ledger of an order. The private events are declared beside their folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, assert_never
from uuid import UUID

from contracts.base import UNLESS_EMPTY, Flag, OrderKeyed, PrivateEvent, Text
from contracts.differences import DifferencesChanged
from contracts.gift_cards import GIFT_CARD
from contracts.payments import (
    AccountName,
    Authorized,
    Captured,
    Contradicted,
    Declined,
    DisputeClosed,
    DisputeOpened,
    ExpiryAnnounced,
    Failed,
    Forced,
    ForceRefused,
    GatewayName,
    GiftCardPart,
    GiftCardsRedeemed,
    MoneyLine,
    Pending,
    RecordRefused,
    Refunded,
    ReversalRefused,
    Reversed,
    SessionClosed,
    SessionOpened,
    Voided,
)
from payments.domain import disputes, expiring, noting, reversals, session_folds
from payments.domain.gateway import INFORMED, Kind
from payments.domain.ledger import (
    Authorization,
    Capturing,
    Ledger,
    Line,
    Operation,
    Recorded,
    by_cards,
    card_operation_id,
    rest_of,
)
from payments.domain.tender_folds import card_operation, given_back, granted, of_card, redeemed, returned, taken


class Asked(OrderKeyed, PrivateEvent, type="payments.asked"):
    """A gateway is being asked; the lines' amounts are held until it answers."""

    kind: Kind
    gateway: GatewayName
    account: AccountName | None = None
    currency: str
    refers_to: UUID | None = None
    lines: tuple[MoneyLine, ...]
    amount_minor: int
    with_capture: Flag = False
    gift_cards: Annotated[tuple[GiftCardPart, ...], UNLESS_EMPTY] = ()
    """What of the lines gift cards move if the gateway agrees."""


class VoidPostponed(OrderKeyed, PrivateEvent, type="payments.void_postponed"):
    """A void waits for what is in flight on its authorization; until then nothing new is taken from it."""

    authorization_id: UUID
    lines: tuple[MoneyLine, ...] = ()
    """The amounts to release; empty: all that is left."""


class Abandoned(OrderKeyed, PrivateEvent, type="payments.abandoned"):
    """The time of an open authorization is over: nothing more is to be paid on it."""

    authorization_id: UUID


class Confirmed(OrderKeyed, PrivateEvent, type="payments.confirmed"):
    """The gateway reports the outcome that a person stated before."""

    target_operation_id: UUID
    gateway_reference: Text | None = None


LedgerEvent = (
    Authorized
    | ExpiryAnnounced
    | Captured
    | Voided
    | Refunded
    | Declined
    | Failed
    | GiftCardsRedeemed
    | Pending
    | Asked
    | VoidPostponed
    | Forced
    | Confirmed
    | Contradicted
    | ForceRefused
    | RecordRefused
    | Abandoned
    | SessionOpened
    | SessionClosed
    | DisputeOpened
    | DisputeClosed
    | DifferencesChanged
    | Reversed
    | ReversalRefused
)


def evolve(ledger: Ledger, event: LedgerEvent) -> Ledger:
    """Fold one event. A published event is enough by itself: the private ones before it may be lost with a backup."""
    match event:
        case Authorized():
            after = _authorized(ledger, event)
        case Captured():
            after = _captured(ledger, event)
        case Voided():
            after = _voided(ledger, event)
        case Refunded():
            after = _refunded(ledger, event)
        case GiftCardsRedeemed():
            after = redeemed(ledger, event)
        case Declined():
            after = given_back(_closed(ledger, event.operation_id, "authorize", "declined", event), event)
            after = session_folds.ended(after, event.operation_id, "cancelled", event.code)
        case Failed():
            after = _closed(ledger, event.operation_id, _kind(event.command), "failed", event)
        case Pending():
            after = _pending(ledger, event)
        case Asked():
            after = _asked(ledger, event)
        case VoidPostponed():
            waiting = Operation(
                kind="void",
                state="asked",
                currency=ledger.currency,
                refers_to=event.authorization_id,
                gateway=ledger.gateway,
                lines=event.lines,
                postponed=True,
            )
            after = _with_operation(ledger, event.operation_id, waiting)
        case Forced():
            after = _stated(ledger, event)
        case Confirmed():
            after = _changed(ledger, event.target_operation_id, recorded="confirmed", reference=event.gateway_reference)
        case Contradicted():
            after = _changed(ledger, event.target_operation_id, recorded="contradicted")
        case ForceRefused():
            after = ledger
        case RecordRefused():
            after = ledger
        case ExpiryAnnounced():
            after = expiring.folded(ledger, event)
        case Abandoned():
            after = _abandoned(ledger, event)
        case SessionOpened():
            after = session_folds.opened(ledger, event)
        case SessionClosed():
            after = session_folds.closed(ledger, event)
        case DisputeOpened():
            after = disputes.folded(ledger, event)
        case DisputeClosed():
            after = disputes.folded(ledger, event)
        case DifferencesChanged():
            after = noting.folded(ledger, event)
        case Reversed():
            after = reversals.applied(ledger, event)
        case ReversalRefused():
            after = ledger
        case _:
            assert_never(event)  # an event without a case does not type-check
    return after


def _authorized(ledger: Ledger, event: Authorized) -> Ledger:
    assert event.authorization_id not in ledger.authorizations, "authorized twice"
    cards = [card_operation_id(event.authorization_id, part.gift_card_id) for part in event.gift_cards]
    operation = _succeeded(ledger, event.operation_id, event, "authorize", event.gateway, None)
    ledger = session_folds.ended(ledger, event.operation_id, "completed")
    operations = _operations_with(ledger, event.operation_id, operation)
    authorizations = {
        **ledger.authorizations,
        event.authorization_id: Authorization(
            gateway=event.gateway,
            account=event.account,
            gateway_reference=event.gateway_reference,
            lines=granted(rest_of(event.lines, event.gift_cards)),
            cards=tuple(cards),
            held_until=event.held_until,
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
    return _with_operation(ledger, reversals.capture_id_of_charge(event.authorization_id), operation)


def _captured(ledger: Ledger, event: Captured) -> Ledger:
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
    operations = _operations_with(ledger, operation_id, operation)
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


def _voided(ledger: Ledger, event: Voided) -> Ledger:
    authorizations, gateway = dict(ledger.authorizations), ledger.gateway
    if event.authorization_id in authorizations:  # else it was declined: nothing is left of it
        lines = rest_of(event.lines, event.gift_cards)
        authorization = _drawn(ledger, event.authorization_id, lines, "voided_minor")
        authorizations[event.authorization_id] = authorization
        gateway = authorization.gateway
    operation = _succeeded(ledger, event.operation_id, event, "void", gateway, event.authorization_id)
    operations = _operations_with(ledger, event.operation_id, operation)
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


def _refunded(ledger: Ledger, event: Refunded) -> Ledger:
    captures = dict(ledger.captures)
    captures[event.capture_id] = returned(ledger, event.capture_id, rest_of(event.lines, event.gift_cards))
    gateway = captures[event.capture_id].gateway
    operation = _succeeded(ledger, event.operation_id, event, "refund", gateway, event.capture_id)
    operations = _operations_with(ledger, event.operation_id, operation)
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


def _asked(ledger: Ledger, event: Asked) -> Ledger:
    known = ledger.operations.get(event.operation_id) if event.operation_id else None
    operation = Operation(
        kind=event.kind,
        state="asked",
        amount_minor=event.amount_minor,
        currency=event.currency,
        refers_to=event.refers_to,
        gateway=event.gateway,
        account=event.account,
        lines=event.lines,
        with_capture=event.with_capture,
        gift_cards=event.gift_cards,
        follows=known.follows if known else None,
    )
    after = _with_operation(ledger, event.operation_id, operation)
    after = session_folds.attached(after, event.operation_id)
    return after.model_copy(
        update={"currency": ledger.currency or event.currency, "gateway": ledger.gateway or event.gateway}
    )


def _pending(ledger: Ledger, event: Pending) -> Ledger:
    waiting = ledger.operations.get(event.operation_id) if event.operation_id else None
    if waiting is None or waiting.postponed:  # what is not asked first: a void that waited, of the gateway `recorded`
        waiting = Operation(
            kind=_kind(event.command),
            state="asked",
            amount_minor=event.amount_minor - by_cards(event.gift_cards),
            currency=event.currency,
            refers_to=event.refers_to,
            gateway=event.gateway,
            account=event.account,
            lines=event.lines,
            with_capture=event.capture,
            gift_cards=event.gift_cards,
        )
    known = {"gateway_reference": event.gateway_reference, "expires_at": event.expires_at}
    now = waiting.model_copy(update={"state": "pending"} | known)
    after = session_folds.attached(_with_operation(ledger, event.operation_id, now), event.operation_id)
    return after.model_copy(update={"currency": ledger.currency or event.currency})


def _closed(
    ledger: Ledger,
    operation_id: UUID | None,
    kind: Kind,
    state: Literal["declined", "failed"],
    event: Declined | Failed,
) -> Ledger:
    known = ledger.operations.get(operation_id) if operation_id else None
    refers_to = event.refers_to if isinstance(event, Failed) else None
    before = known or Operation(kind=kind, state=state, currency=event.currency, refers_to=refers_to)
    parts = event.gift_cards if isinstance(event, Declined) else before.gift_cards
    closed = before.model_copy(
        update={
            "state": state,
            "amount_minor": event.amount_minor - by_cards(parts),
            "lines": () if before.postponed else before.lines,
            "postponed": False,
            "expires_at": None,
            "abandoned": False,
            "code": event.code,
            "reason": event.reason,
            "recorded": before.recorded or ("stated" if event.recorded else None),
            "payment": event.payment,
        }
    )
    return _with_operation(ledger, operation_id, closed)


def _abandoned(ledger: Ledger, event: Abandoned) -> Ledger:
    operation = ledger.operations[event.authorization_id]
    return _with_operation(ledger, event.authorization_id, operation.model_copy(update={"abandoned": True}))


# ----------------------------------------------------------------------------------------------------------- helpers


def _kind(command: str) -> Kind:
    match command:
        case "authorize" | "capture" | "void" | "refund":
            return command
        case _:
            raise ValueError(f"{command!r} is no command of payments")


def _with_operation(ledger: Ledger, operation_id: UUID | None, operation: Operation) -> Ledger:
    return ledger.model_copy(update={"operations": _operations_with(ledger, operation_id, operation)})


def _operations_with(ledger: Ledger, operation_id: UUID | None, operation: Operation) -> dict[UUID, Operation]:
    assert operation_id is not None, "every event of a ledger belongs to an operation"
    return {**ledger.operations, operation_id: operation}


def _stated(ledger: Ledger, event: Forced) -> Ledger:
    """A repeated statement changes nothing, nor does one about an operation that a restored ledger does not have."""
    operation = ledger.operations.get(event.target_operation_id)
    if operation is None or (operation.recorded is not None and operation.outcome == event.outcome):
        return ledger
    is_asked = (operation.is_open or operation.recorded == "unconfirmed") and operation.gateway not in INFORMED
    return _changed(ledger, event.target_operation_id, recorded="unconfirmed" if is_asked else "stated")


def _changed(ledger: Ledger, operation_id: UUID, *, recorded: Recorded, reference: str | None = None) -> Ledger:
    """What became of a stated outcome. An operation that the ledger no longer has stays as its row is."""
    known = ledger.operations.get(operation_id)
    if known is None:
        return ledger
    update = {"recorded": recorded, "gateway_reference": reference or known.gateway_reference}
    return _with_operation(ledger, operation_id, known.model_copy(update=update))


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
