"""A buyer pays in a session before the order asks for it: what its gateway reports, and what is given back.

The session asks its gateway in an operation `prepay` of its own id, without lines. What was paid waits for the authorization of the
order (prepaid.py). It is given back if that does not come in time, and at once if it was paid after the session's end: by an
operation `return`, a void, or a refund of what the gateway has captured.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from contracts.deciding import Context, Decision, Effect, Folded, Refusal, Withdrawn
from contracts.payments import (
    PAYMENT_ABANDONED,
    OpenSession,
    PrepaymentReceived,
    PrepaymentRetained,
    PrepaymentReturnAsked,
    PrepaymentReturned,
    ReturnPrepayment,
    SessionClosed,
    SessionOpened,
)
from payments.domain import facts
from payments.domain.commands import execute, resumed_voids
from payments.domain.folds import evolve
from payments.domain.gateway import (
    NO_BUYER,
    Contradiction,
    GatewayCall,
    GatewayOutcome,
    abandoning,
    follow_up,
    follow_up_id,
    task,
)
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import Asked, PrepaymentDeclined, PrepaymentPending
from payments.domain.operation import Operation
from payments.domain.prepaid import taken_over
from payments.domain.prepayment_folds import return_id_of

NOT_PAID: Final = "the buyer has not paid in the session that the authorization has waited for"


def no_to(ledger: Ledger, command: OpenSession) -> Refusal | None:
    """Why the buyer cannot pay now."""
    if command.gateway in NO_BUYER:
        return Refusal("gateway_unknown", f"no buyer pays in a session of {command.gateway}")
    for session_id, one in ledger.sessions.items():
        if one.prepayment is not None and one.prepayment.state == "held":
            detail = f"session {session_id} is paid, and waits for the order to ask for its authorization"
            return Refusal("session_paid", detail, {"session_id": str(session_id)})
    return None


def asks(ledger: Ledger, opened: SessionOpened, context: Context) -> Folded:
    """The session asks its gateway at once."""
    after = evolve(ledger, opened)
    call = after.call(context.key, context.store_id, opened.session_id, after.operations[opened.session_id])
    return Folded([opened, task(call)], after)


def abandoned(folded: Folded, session_id: UUID, context: Context) -> Folded:
    """The session is closed: nothing is to be paid any more. If its gateway has not answered yet, its answer is awaited."""
    ledger: Ledger = folded.state
    asked = ledger.operations.get(session_id)
    if asked is None or asked.state != "pending":
        return folded
    call = ledger.call(context.key, context.store_id, session_id, asked)
    return Folded([*folded.effects, Withdrawn(follow_up_id(session_id)), abandoning(call)], ledger)


# ---------------------------------------------------------------------------------------------- what its gateway reports


def reported(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> Decision:
    if operation.is_open and operation.abandoned and call.ask_only and not call.abandon:
        return []  # of a worker that asked before
    if outcome.state == "pending":
        return _still_pending(ledger, call, operation, outcome, context) if operation.is_open else []
    if not operation.is_open:
        if _says_the_same(operation, call, outcome):
            return []
        raise Contradiction(
            f"{call.gateway} reports {outcome.state} ({outcome.gateway_reference}) on {operation.kind} {call.operation_id},"
            f" which is {operation.state} ({operation.gateway_reference})"
        )
    if operation.kind == "return":
        return [_returned(ledger, call, operation, outcome, context)]
    if outcome.state == "succeeded":
        return _received(ledger, call, operation, outcome, context)
    return _not_paid(ledger, call.operation_id, operation, outcome, context)


def _still_pending(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> list[Effect]:
    asking = (abandoning if operation.abandoned else follow_up)(call, outcome.gateway_reference)
    if operation.state == "pending":
        return [asking]
    event = PrepaymentPending(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=call.operation_id,
        gateway_reference=outcome.gateway_reference,
    )
    return [event, asking]


def _says_the_same(operation: Operation, call: GatewayCall, outcome: GatewayOutcome) -> bool:
    if operation.code == PAYMENT_ABANDONED and not call.abandon:
        return True  # of a worker that asked before the gateway has cancelled it
    if (operation.state == "succeeded") != (outcome.state == "succeeded"):
        return False
    return operation.kind == "return" or not outcome.captured or operation.with_capture


def _received(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> Folded:
    session_id, session = call.operation_id, ledger.sessions[call.operation_id]
    is_late = operation.abandoned
    event = PrepaymentReceived(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=session_id,
        currency=call.currency,
        totals=ledger.totals(),
        session_id=session_id,
        gateway=call.gateway,
        account=call.account,
        amount_minor=operation.amount_minor,
        gateway_reference=outcome.gateway_reference,
        captured=outcome.captured,
        held_until=outcome.held_until,
        waits_until=None if is_late else context.now + timedelta(seconds=session.order_within_seconds or 0),
    )
    ledger, waiting = evolve(ledger, event), session.authorization_id
    if not is_late:
        folded = Folded([event], ledger)
        return folded if waiting is None else _answered(folded, waiting, context)
    back = return_id_of(session_id)
    given_back = task(ledger.call(context.key, context.store_id, back, ledger.operations[back]))
    return _declined(Folded([event, given_back], ledger), waiting, PAYMENT_ABANDONED, context)


def _not_paid(
    ledger: Ledger, session_id: UUID, operation: Operation, outcome: GatewayOutcome, context: Context
) -> Folded:
    session = ledger.sessions[session_id]
    code = PAYMENT_ABANDONED if operation.abandoned else outcome.code or "gateway_refused"
    event: SessionClosed | PrepaymentDeclined
    if session.state == "open":
        event = SessionClosed(
            order_id=context.key,
            store_id=context.store_id,
            session_id=session_id,
            authorization_id=session.authorization_id,
            state="cancelled",
            code=code,
        )
    else:
        event = PrepaymentDeclined(
            order_id=context.key, store_id=context.store_id, operation_id=session_id, session_id=session_id, code=code
        )
    return _declined(Folded([event], evolve(ledger, event)), session.authorization_id, code, context)


# ------------------------------------------------------------------------------- the authorization that waits for it


def _answered(folded: Folded, authorization_id: UUID, context: Context) -> Folded:
    """The authorization that has waited takes over what was paid."""
    ledger: Ledger = folded.state
    waiting = ledger.operations[authorization_id].model_copy(update={"session_id": None})
    taken = taken_over(ledger, authorization_id, waiting, context)
    rest: Operation | None = waiting  # all of it, if too little was paid for what takes over all or nothing
    effects = [*folded.effects]
    if taken is not None:
        effects, ledger, rest = effects + taken.effects, taken.ledger, taken.rest
    if rest is None:
        ended = resumed_voids(ledger, effects, authorization_id, waiting, context)
        return Folded(ended.effects, ended.state)
    asked = execute(ledger, authorization_id, rest, context)
    for effect in asked:
        if isinstance(effect, Asked):
            ledger = evolve(ledger, effect)
    return Folded([*effects, *asked], ledger)


def _declined(folded: Folded, authorization_id: UUID | None, code: str, context: Context) -> Folded:
    """The authorization that has waited is declined with the session's end: of the order itself nothing was asked. code: why the
    buyer has not paid."""
    ledger: Ledger = folded.state
    waiting = ledger.operations.get(authorization_id) if authorization_id is not None else None
    if authorization_id is None or waiting is None or not waiting.is_open or waiting.session_id is None:
        return folded
    reason = NOT_PAID if code == PAYMENT_ABANDONED else f"{NOT_PAID}: {code}"
    event = facts.declined(ledger, authorization_id, waiting, context, PAYMENT_ABANDONED, reason)
    ended = resumed_voids(evolve(ledger, event), [event], authorization_id, waiting, context)
    return Folded([*folded.effects, *ended.effects], ended.state)


# --------------------------------------------------------------------------------------------------------- given back


def due(ledger: Ledger) -> Iterable[tuple[datetime, UUID]]:
    """When what was paid in which session has waited for its order long enough."""
    for session_id, session in ledger.sessions.items():
        paid = session.prepayment
        if paid is not None and paid.state == "held" and paid.waits_until is not None:
            yield paid.waits_until, session_id


def give_back(ledger: Ledger, command: ReturnPrepayment, context: Context) -> Decision:
    if command.operation_id in ledger.operations:
        return []
    session = ledger.sessions.get(command.session_id)
    paid = session.prepayment if session is not None else None
    if session is None or paid is None or paid.state not in ("held", "retained"):
        state = f"what was paid is {paid.state}" if paid is not None else "nothing of it is here"
        return [Refusal("prepayment_closed", f"session {command.session_id}: {state}")]
    assert command.operation_id is not None, "a command names its operation"
    if not command.recorded:
        return gives_back(Folded([], ledger), command.session_id, command.operation_id, context)
    assert session.gateway is not None, "a session that was paid has asked a gateway"
    return [
        PrepaymentReturned(
            order_id=context.key,
            store_id=context.store_id,
            operation_id=command.operation_id,
            currency=session.currency,
            totals=ledger.totals(),
            session_id=command.session_id,
            gateway=session.gateway,
            amount_minor=paid.amount_minor,
            captured=paid.captured,
            gateway_reference=command.reference,
            recorded=True,
        )
    ]


def gives_back(folded: Folded, session_id: UUID, return_id: UUID, context: Context) -> Folded:
    ledger: Ledger = folded.state
    session = ledger.sessions[session_id]
    assert session.gateway is not None and session.prepayment is not None, "what is given back was paid"
    event = PrepaymentReturnAsked(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=return_id,
        currency=session.currency,
        totals=ledger.totals(),
        session_id=session_id,
        gateway=session.gateway,
        amount_minor=session.prepayment.amount_minor,
    )
    ledger = evolve(ledger, event)
    call = ledger.call(context.key, context.store_id, return_id, ledger.operations[return_id])
    return Folded([*folded.effects, event, task(call)], ledger)


def expired(folded: Folded, context: Context) -> Folded:
    """Gives back what has waited for its order long enough."""
    for at, session_id in [*due(folded.state)]:
        if at <= context.now:
            folded = gives_back(folded, session_id, return_id_of(session_id), context)
    return folded


def _returned(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> PrepaymentReturned | PrepaymentRetained:
    assert operation.refers_to is not None, "what is given back was paid in a session"
    if outcome.state == "succeeded":
        return PrepaymentReturned(
            order_id=context.key,
            store_id=context.store_id,
            operation_id=call.operation_id,
            currency=call.currency,
            totals=ledger.totals(),
            session_id=operation.refers_to,
            gateway=call.gateway,
            amount_minor=operation.amount_minor,
            captured=operation.with_capture,
            gateway_reference=outcome.gateway_reference,
        )
    return PrepaymentRetained(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=call.operation_id,
        currency=call.currency,
        totals=ledger.totals(),
        session_id=operation.refers_to,
        gateway=call.gateway,
        amount_minor=operation.amount_minor,
        code=outcome.code or "gateway_refused",
        reason=outcome.reason,
    )
