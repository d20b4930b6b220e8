"""Payment sessions, and authorizations that their buyers have abandoned.

A session states how long the buyer has. After that, or after a cancel, the authorization is abandoned: a task cancels it at the
gateway and is its owner until the gateway has stated how it ended. Only then is it declined, so a success can no longer come.
What was paid before the cancel arrived is booked as an operation of its own and voided, or refunded if it is captured; the
authorization is declined after that. So the order's process, which the decline reaches, has nothing to give back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from contracts.deciding import Context, Decision, Effect, Folded, Refusal, Task, Withdrawn
from contracts.ids import derived
from contracts.payments import (
    PAYMENT_ABANDONED,
    Authorize,
    CancelSession,
    Declined,
    Failed,
    OpenSession,
    Pending,
    Refund,
    Refunded,
    SessionClosed,
    SessionOpened,
    Void,
    Voided,
)
from payments.domain import commands, facts, prepaying, session_folds
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayCall, GatewayOutcome, abandoning, follow_up_id
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import Abandoned, Asked
from payments.domain.operation import Operation, capture_id_of
from payments.domain.prepayment_folds import AT_ONCE

NOT_PAID: Final = "the buyer has not paid in time, or has cancelled"


def open_session(ledger: Ledger, command: OpenSession, context: Context) -> Decision:
    if command.operation_id in ledger.sessions:
        return []
    of_amount = {name: one for name, one in _waiting(ledger).items() if one.amount_minor == command.amount_minor}
    waits = next((name for name, one in of_amount.items() if not one.abandoned), None)
    asks_itself = command.gateway is not None and waits is None and command.amount_minor > 0
    no = _no_to(ledger, command, of_amount) or (prepaying.no_to(ledger, command) if asks_itself else None)
    if no is not None:
        return [no]
    opened = SessionOpened(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        session_id=command.operation_id,
        authorization_id=waits,
        currency=command.currency,
        amount_minor=command.amount_minor,
        return_url=command.return_url,
        cancel_url=command.cancel_url,
        expires_at=context.now + timedelta(seconds=command.expires_in_seconds),
        gateway=command.gateway if asks_itself else None,
        account=command.account if asks_itself else None,
        order_within_seconds=command.order_within_seconds if asks_itself else None,
    )
    return prepaying.asks(ledger, opened, context) if asks_itself else [opened]


def _waiting(ledger: Ledger) -> dict[UUID, Operation]:
    return {name: one for name, one in ledger.operations.items() if session_folds.can_have_one(one)}


def _no_to(ledger: Ledger, command: OpenSession, of_amount: Mapping[UUID, Operation]) -> Refusal | None:
    """of_amount: the authorizations that wait for the buyer to pay the session's amount. One that is abandoned is no obstacle: the
    session is that of the order's next one."""
    for session_id, one in ledger.sessions.items():
        if one.state == "open":
            return Refusal(
                "session_open", f"session {session_id} of the order is open", {"session_id": str(session_id)}
            )
    if ledger.currency not in (None, command.currency):
        return Refusal("currency_differs", f"the order is paid in {ledger.currency}")
    if not of_amount and (operation := next(iter(_waiting(ledger).values()), None)) is not None:
        detail = f"the order waits for {operation.amount_minor} {operation.currency}"
        more = {"amount_minor": operation.amount_minor, "currency": operation.currency}
        return Refusal("session_differs", detail, more)
    return None


def cancel_session(ledger: Ledger, command: CancelSession, context: Context) -> Decision:
    session = ledger.sessions.get(command.session_id)
    if session is None or session.state not in ("open", "cancelled"):
        state = session.state if session else "closed"
        return [Refusal("session_closed", f"session {command.session_id} is {state}")]
    if session.state == "cancelled":
        return []
    return _close(ledger, [(command.session_id, "cancelled")], context, command.operation_id)


def expired(ledger: Ledger, context: Context) -> Folded:
    """Closes sessions and abandons authorizations whose time is over."""
    over = [name for at, name in due(ledger) if at <= context.now]
    sessions = [(name, ledger.sessions[name]) for name in over if name in ledger.sessions]
    closed = _close(ledger, [(name, "cancelled" if one.needless else "expired") for name, one in sessions], context)
    return _abandon(closed, [name for name in over if name in ledger.operations], context)


def due(ledger: Ledger) -> Iterable[tuple[datetime, UUID]]:
    """When the time of which session or authorization is over. An authorization with a session has the session's."""
    for session_id, session in ledger.sessions.items():
        if session.state == "open":
            yield AT_ONCE if session.needless else session.expires_at, session_id
    for operation_id, one in ledger.operations.items():
        if one.state == "pending" and one.expires_at and not one.abandoned and not ledger.session_of(operation_id):
            yield one.expires_at, operation_id


def _close(
    ledger: Ledger, ending: list[tuple[UUID, str]], context: Context, operation_id: UUID | None = None
) -> Folded:
    folded = Folded([], ledger)
    for session_id, state in ending:
        session = ledger.sessions[session_id]
        event = SessionClosed(
            order_id=context.key,
            store_id=context.store_id,
            operation_id=operation_id,
            session_id=session_id,
            authorization_id=session.authorization_id,
            state=state,  # type: ignore[arg-type]
        )
        ended = Folded([], folded.state)
        if session.gateway is None and session.authorization_id is not None:
            ended = _abandon(ended, [session.authorization_id], context)
        folded = Folded([*folded.effects, event, *ended.effects], evolve(ended.state, event))
        if session.gateway is not None:
            folded = prepaying.abandoned(folded, session_id, context)
    return folded


def _abandon(folded: Folded, authorization_ids: Iterable[UUID], context: Context) -> Folded:
    """Where the gateway has not answered yet, its answer is awaited: only then is there something to cancel."""
    effects, ledger = [*folded.effects], folded.state
    for authorization_id in authorization_ids:
        operation = ledger.operations[authorization_id]
        if not operation.is_open or operation.abandoned:
            continue
        event = Abandoned(order_id=context.key, store_id=context.store_id, authorization_id=authorization_id)
        effects.append(event)
        if operation.state == "pending":
            call = ledger.call(context.key, context.store_id, authorization_id, operation)
            effects += [Withdrawn(follow_up_id(authorization_id)), abandoning(call)]
        ledger = evolve(ledger, event)
    return Folded(effects, ledger)


# ----------------------------------------------------------------------------------- what the gateway states about it


def late_id(authorization_id: UUID) -> UUID:
    """The operation of what was paid on an authorization after its time."""
    return derived(authorization_id, "paid late")


def given_back_id(authorization_id: UUID) -> UUID:
    return derived(authorization_id, "given back")


def reported(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> Decision:
    """A report on an abandoned authorization that is open. Where a task cancels it, that one alone states how it ended."""
    authorization_id = call.operation_id
    if call.ask_only and not call.abandon:
        return []  # of a worker that asked before
    if outcome.state == "pending":
        task = abandoning(call, outcome.gateway_reference)
        if operation.state == "pending":
            return [task]
        # Its time is over: a restored ledger, which has not abandoned it, does so at once.
        pending = facts.pending(ledger, authorization_id, operation, context, outcome.gateway_reference, context.now)
        return [pending, task]
    if outcome.state == "succeeded":
        return _give_back(ledger, authorization_id, operation, outcome, context)
    if late_id(authorization_id) in ledger.authorizations:
        return []  # it was paid, and is being given back
    return _decline(Folded([], ledger), authorization_id, context)


def authorize(ledger: Ledger, command: Authorize, context: Context) -> Decision:
    """A restored ledger may have lost that the authorization was abandoned, and what gives back what was paid late: it is asked for
    again, and the gateway is asked for nothing else."""
    effects = commands.authorize(ledger, command, context)
    asked = next((one for one in effects if isinstance(one, Asked)), None)
    authorization_id = command.operation_id
    if asked is None or late_id(authorization_id) not in ledger.authorizations:
        return effects
    event = Abandoned(order_id=context.key, store_id=context.store_id, authorization_id=authorization_id)
    after = evolve(evolve(ledger, asked), event)
    others = [one for one in effects if not isinstance(one, Task) or one.task_id != authorization_id]
    return _asks_back(Folded([*others, event], after), authorization_id, after.operations[authorization_id], context)


def _give_back(
    ledger: Ledger, authorization_id: UUID, operation: Operation, outcome: GatewayOutcome, context: Context
) -> Decision:
    late = late_id(authorization_id)
    effects: list[Effect] = []
    if late not in ledger.authorizations:
        paid = operation.of_gateway.model_copy(
            update={"with_capture": outcome.captured}
        )  # cards get theirs with the decline
        event = facts.succeeded(ledger, late, paid, context, outcome.gateway_reference)
        effects, ledger = [event], evolve(ledger, event)
    return _asks_back(Folded(effects, ledger), authorization_id, operation, context)


def _asks_back(folded: Folded, authorization_id: UUID, operation: Operation, context: Context) -> Folded:
    """Asks the gateway to give back what was paid late; declines the abandoned authorization if that has ended."""
    ledger: Ledger = folded.state
    late, back = late_id(authorization_id), given_back_id(authorization_id)
    to: dict[str, Any] = {
        "order_id": context.key,
        "store_id": context.store_id,
        "operation_id": back,
        "actor": "payments",
    }
    assert operation.currency is not None, "an authorization that was asked for has a currency"
    if (capture_id := capture_id_of(late)) in ledger.captures:
        captured = Refund(**to, capture_id=capture_id, currency=operation.currency, lines=operation.gateway_lines)
        asking = commands.refund(ledger, captured, context)
    else:
        asking = commands.void(ledger, Void(**to, authorization_id=late), context)
    for effect in asking:
        if isinstance(effect, (Asked, Pending, Voided, Refunded, Failed)):  # every event that it can make
            ledger = evolve(ledger, effect)
    return then_declined(Folded([*folded.effects, *asking], ledger), back, context)


def then_declined(folded: Folded, ended_id: UUID, context: Context) -> Folded:
    """After the end of an operation: if it gave back what was paid late, the abandoned authorization is declined now. What a
    gateway refused to give back is left to who asked for the authorization: the ledger has it as captured."""
    ended = folded.state.operations.get(ended_id)
    if ended is None or ended.is_open or ended.kind not in ("void", "refund"):
        return folded
    for authorization_id, one in folded.state.operations.items():
        if one.abandoned and one.is_open and given_back_id(authorization_id) == ended_id:
            return _decline(folded, authorization_id, context)
    return folded


def _decline(folded: Folded, authorization_id: UUID, context: Context) -> Folded:
    ledger = folded.state
    operation = ledger.operations[authorization_id]
    event: Declined = facts.declined(ledger, authorization_id, operation, context, PAYMENT_ABANDONED, NOT_PAID)
    ended = commands.resumed_voids(evolve(ledger, event), [event], authorization_id, operation, context)
    return Folded([*folded.effects, *ended.effects], ended.state)
