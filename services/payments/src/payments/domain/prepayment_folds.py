"""How events change what was paid in sessions before their orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from contracts.ids import derived
from contracts.payments import (
    Authorized,
    MoneyLine,
    Pending,
    PrepaymentReceived,
    PrepaymentRetained,
    PrepaymentReturnAsked,
    PrepaymentReturned,
)
from payments.domain.gateway import INFORMED
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import PrepaymentDeclined, PrepaymentPending
from payments.domain.operation import Operation, by_cards, total
from payments.domain.session_state import Prepayment, Session

AT_ONCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Until when what was paid waits for an order that does not need it: the timer is due."""


def return_id_of(session_id: UUID) -> UUID:
    """The operation that gives back what no order has taken over."""
    return derived(session_id, "given back")


def part_id(authorization_id: UUID, session_id: UUID) -> UUID:
    """The authorization of what was paid in a session, if that is less than what the order asks for."""
    return derived(authorization_id, f"paid in session {session_id}")


def without(lines: Iterable[MoneyLine], paid: Mapping[str, int]) -> tuple[MoneyLine, ...]:
    """What is left of lines. paid: line id -> minor units. The pieces of a line are where its money begins."""
    return tuple(
        line.model_copy(
            update={
                "amount_minor": line.amount_minor - paid.get(line.line_id, 0),
                "quantity": 0 if line.line_id in paid else line.quantity,
            }
        )
        for line in lines
        if line.amount_minor > paid.get(line.line_id, 0) or line.line_id not in paid
    )


def received(ledger: Ledger, event: PrepaymentReceived) -> Ledger:
    session, asked = ledger.sessions[event.session_id], ledger.operations[event.session_id]
    done = asked.model_copy(
        update={
            "state": "succeeded",
            "with_capture": event.captured,
            "gateway_reference": event.gateway_reference,
            "abandoned": False,
        }
    )
    prepayment = Prepayment(
        state="held",
        amount_minor=event.amount_minor,
        captured=event.captured,
        gateway_reference=event.gateway_reference,
        held_until=event.held_until,
        waits_until=event.waits_until,
    )
    state = "completed" if session.state == "open" else session.state
    paid = session.model_copy(update={"state": state, "prepayment": prepayment})
    after = _changed(ledger, event.session_id, paid, {event.session_id: done})
    return after if event.waits_until is not None else _returning(after, event.session_id, paid)


def waits(ledger: Ledger, event: Pending) -> Ledger:
    """After an authorization was asked for whose buyer is paying in a session."""
    if event.session_id is None or event.operation_id is None:
        return ledger
    session = ledger.sessions[event.session_id].model_copy(update={"authorization_id": event.operation_id})
    waiting = ledger.operations[event.operation_id].model_copy(update={"session_id": event.session_id})
    return _changed(ledger, event.session_id, session, {event.operation_id: waiting})


def taken(ledger: Ledger, event: Authorized) -> Ledger:
    """After an authorization has taken over what was paid, or a part of it: the rest is given back."""
    if event.session_id is None:
        return ledger
    session = ledger.sessions[event.session_id]
    assert session.prepayment is not None, "what is taken over was paid"
    rest = session.prepayment.amount_minor - event.amount_minor + by_cards(event.gift_cards)
    assert rest >= 0, f"authorization {event.authorization_id} takes more than was paid in {event.session_id}"
    waiting_id = session.authorization_id
    asked = _asked_for_rest(ledger, waiting_id, event) if waiting_id is not None else {}
    left = session.prepayment.model_copy(update={"state": "taken", "amount_minor": rest})
    session = session.model_copy(update={"authorization_id": event.authorization_id, "prepayment": left})
    after = _changed(ledger, event.session_id, session, asked)
    return _returning(after, event.session_id, session) if rest else after


def _asked_for_rest(ledger: Ledger, waiting_id: UUID, part: Authorized) -> dict[UUID, Operation]:
    """An authorization has waited for a session in which less was paid: its gateway is asked for the rest."""
    assert part.session_id is not None, "the part was paid in a session"
    waiting = ledger.operations.get(waiting_id)
    if waiting is None or part.authorization_id != part_id(waiting_id, part.session_id):
        return {}
    lines = without(waiting.lines, {line.line_id: line.amount_minor for line in part.lines})
    amount = total(lines) - by_cards(waiting.gift_cards)
    update = {"state": "asked", "session_id": None, "lines": lines, "amount_minor": amount}
    return {waiting_id: waiting.model_copy(update=update)}


def not_needed(ledger: Ledger, event: Authorized) -> Ledger:
    """After the order was authorized elsewhere, or gift cards have paid all of it: what was paid in a session does not wait for it
    any longer, and the time of a session in which the buyer is still paying is over. A payment that is only recorded may be one of
    several."""
    if event.session_id is not None or event.payment is not None or event.gateway in INFORMED:
        return ledger
    needs_nothing = event.amount_minor == by_cards(event.gift_cards)
    for session_id, session in ledger.sessions.items():
        paid = session.prepayment
        if session.gateway is None or not (needs_nothing or session.is_elsewhere(event.gateway, event.account)):
            continue
        if session.state == "open" and session.authorization_id is None:
            ledger = _changed(ledger, session_id, session.model_copy(update={"needless": True}), {})
        elif paid is not None and paid.state == "held":
            due = session.model_copy(update={"prepayment": paid.model_copy(update={"waits_until": AT_ONCE})})
            ledger = _changed(ledger, session_id, due, {})
    return ledger


def asked_back(ledger: Ledger, event: PrepaymentReturnAsked) -> Ledger:
    return _returning(ledger, event.session_id, ledger.sessions[event.session_id], event.operation_id)


def returned(ledger: Ledger, event: PrepaymentReturned) -> Ledger:
    recorded = "stated" if event.recorded else None
    back = _return(ledger, event, gateway_reference=event.gateway_reference, state="succeeded", recorded=recorded)
    return _left(ledger, event, back, state="returned", amount_minor=0)


def retained(ledger: Ledger, event: PrepaymentRetained) -> Ledger:
    back = _return(ledger, event, code=event.code, reason=event.reason, state="failed")
    return _left(ledger, event, back, state="retained")


def accepted(ledger: Ledger, event: PrepaymentPending) -> Ledger:
    assert event.operation_id is not None, "it names an operation"
    update = {"state": "pending", "gateway_reference": event.gateway_reference}
    waiting = ledger.operations[event.operation_id].model_copy(update=update)
    return ledger.model_copy(update={"operations": {**ledger.operations, event.operation_id: waiting}})


def declined(ledger: Ledger, event: PrepaymentDeclined) -> Ledger:
    update = {"state": "declined", "code": event.code, "abandoned": False}
    over = ledger.operations[event.session_id].model_copy(update=update)
    return ledger.model_copy(update={"operations": {**ledger.operations, event.session_id: over}})


def _returning(ledger: Ledger, session_id: UUID, session: Session, return_id: UUID | None = None) -> Ledger:
    """Opens the operation that gives back what is left. Folded from published events, so a backup does not lose it."""
    assert session.prepayment is not None, "what is given back was paid"
    back = Operation(
        kind="return",
        state="asked",
        amount_minor=session.prepayment.amount_minor,
        currency=session.currency,
        refers_to=session_id,
        gateway=session.gateway,
        account=session.account,
        with_capture=session.prepayment.captured,
    )
    left = session.prepayment.model_copy(update={"state": "returning", "waits_until": None})
    returning = session.model_copy(update={"prepayment": left})
    return _changed(ledger, session_id, returning, {return_id or return_id_of(session_id): back})


def _return(ledger: Ledger, event: PrepaymentReturned | PrepaymentRetained, **update: str | None) -> Operation:
    """The operation after its end; a restored ledger may not have it."""
    assert event.operation_id is not None, "it ends an operation"
    known = ledger.operations.get(event.operation_id) or Operation(
        kind="return",
        state="asked",
        amount_minor=event.amount_minor,
        currency=event.currency,
        refers_to=event.session_id,
        gateway=event.gateway,
        account=ledger.sessions[event.session_id].account,
        with_capture=isinstance(event, PrepaymentReturned) and event.captured,
    )
    return known.model_copy(update=update)


def _left(
    ledger: Ledger, event: PrepaymentReturned | PrepaymentRetained, back: Operation, **update: str | int
) -> Ledger:
    session = ledger.sessions[event.session_id]
    assert session.prepayment is not None and event.operation_id is not None, "what is given back was paid"
    left = session.prepayment.model_copy(update={"waits_until": None} | update)
    return _changed(
        ledger, event.session_id, session.model_copy(update={"prepayment": left}), {event.operation_id: back}
    )


def _changed(ledger: Ledger, session_id: UUID, session: Session, operations: dict[UUID, Operation]) -> Ledger:
    return ledger.model_copy(
        update={
            "sessions": {**ledger.sessions, session_id: session},
            "operations": {**ledger.operations, **operations},
        }
    )
