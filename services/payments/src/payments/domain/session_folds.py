"""How events change the payment sessions of a ledger."""

from __future__ import annotations

from uuid import UUID

from contracts.payments import SessionClosed, SessionOpened
from payments.domain.gateway import NO_BUYER
from payments.domain.ledger import Ledger
from payments.domain.operation import Operation
from payments.domain.session_state import Session, SessionState


def opened(ledger: Ledger, event: SessionOpened) -> Ledger:
    session = Session(
        state="open",
        currency=event.currency,
        amount_minor=event.amount_minor,
        authorization_id=event.authorization_id,
        return_url=event.return_url,
        cancel_url=event.cancel_url,
        expires_at=event.expires_at,
        gateway=event.gateway,
        account=event.account,
        order_within_seconds=event.order_within_seconds,
    )
    if event.gateway is not None:  # an operation of its own, which must not be lost with a backup
        prepay = Operation(
            kind="prepay",
            state="asked",
            amount_minor=event.amount_minor,
            currency=event.currency,
            gateway=event.gateway,
            account=event.account,
        )
        ledger = ledger.model_copy(update={"operations": {**ledger.operations, event.session_id: prepay}})
    return _with(ledger, event.session_id, session)


def closed(ledger: Ledger, event: SessionClosed) -> Ledger:
    """A restored ledger may have lost the session, and that its authorization was abandoned."""
    session = ledger.sessions.get(event.session_id)
    if session is None:
        return ledger
    state: SessionState = "expired" if event.state == "expired" else "cancelled"
    ledger = _with(ledger, event.session_id, session.model_copy(update={"state": state, "code": event.code}))
    operation_id = event.session_id if session.gateway is not None else event.authorization_id
    asked = ledger.operations.get(operation_id) if operation_id else None
    if operation_id is None or asked is None or not asked.is_open:
        return ledger
    update = {"state": "declined", "code": event.code} if event.code else {"abandoned": True}
    return ledger.model_copy(
        update={"operations": {**ledger.operations, operation_id: asked.model_copy(update=update)}}
    )


def attached(ledger: Ledger, operation_id: UUID | None) -> Ledger:
    """After an authorization was asked for: the session that waits for one of its amount is its session."""
    operation = ledger.operations.get(operation_id) if operation_id else None
    if operation is None or ledger.session_of(operation_id):  # type: ignore[arg-type]
        return ledger
    session_id = waiting_for(ledger, operation)
    if session_id is None:
        return ledger
    session = ledger.sessions[session_id].model_copy(update={"authorization_id": operation_id})
    return _with(ledger, session_id, session)


def waiting_for(ledger: Ledger, operation: Operation) -> UUID | None:
    """The session that was opened before its authorization was asked for, if `operation` can be that."""
    return next(
        (
            session_id
            for session_id, session in ledger.sessions.items()
            if session.state == "open"
            and session.gateway is None
            and session.authorization_id is None
            and is_for(session, operation)
        ),
        None,
    )


def is_for(session: Session, operation: Operation) -> bool:
    """Whether a session of this amount can be that of an operation. What is abandoned is over: the session is for the next one."""
    wanted = (operation.currency, operation.amount_minor)
    return can_have_one(operation) and not operation.abandoned and (session.currency, session.amount_minor) == wanted


def can_have_one(operation: Operation) -> bool:
    """Not one that waits for a session in which its buyer pays before it is asked for: that session ends it."""
    is_asked = operation.kind == "authorize" and operation.is_open and operation.session_id is None
    return is_asked and operation.gateway not in NO_BUYER


def ended(ledger: Ledger, authorization_id: UUID | None, state: SessionState, code: str = "") -> Ledger:
    """After the end of an authorization: its session has ended with it."""
    session_id = ledger.session_of(authorization_id) if authorization_id else None
    if session_id is None:
        return ledger
    return _with(ledger, session_id, ledger.sessions[session_id].model_copy(update={"state": state, "code": code}))


def _with(ledger: Ledger, session_id: UUID, session: Session) -> Ledger:
    return ledger.model_copy(update={"sessions": {**ledger.sessions, session_id: session}})
