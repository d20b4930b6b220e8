"""What a gateway's report means. The first final report of an operation counts; the lease of a task fences who may call,
not who may report, so another may come: an equal one changes nothing, a differing one is parked for a person. Where a
person stated the outcome before, a differing one is an event."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from contracts.deciding import Context, Decision, Reported, Task
from contracts.payments import PAYMENT_ABANDONED, Declined, Failed, FailureCode
from payments.domain import disputes, elsewhere, facts, forcing, prepaying, sessions
from payments.domain.commands import resumed_voids
from payments.domain.folds import evolve
from payments.domain.gateway import (
    INFORMED,
    REFUNDS_KIND,
    Contradiction,
    GatewayCall,
    GatewayOutcome,
    abandoning,
    check,
    follow_up,
    task,
)
from payments.domain.ledger import Ledger
from payments.domain.operation import Operation
from payments.domain.prepayment_folds import part_id

EXPIRED: Final = "authorization_expired"
NOT_CHARGEABLE: Final = "amount_not_chargeable"
"""The gateway has no such amounts, and was not asked."""
"""The gateway's word for a capture of what its issuer no longer holds."""


def reported(ledger: Ledger, report: Reported, context: Context) -> Decision:
    if report.kind == disputes.DISPUTE_KIND:
        return disputes.reported(ledger, report, context)
    if report.kind == REFUNDS_KIND:
        return elsewhere.reported(ledger, report, context)
    if report.kind == disputes.DIFFERS_KIND:
        return []  # the difference is there
    call, outcome = report.asked, report.outcome
    assert isinstance(call, GatewayCall) and isinstance(outcome, GatewayOutcome), "the tasks that move money"
    operation = ledger.operation(call.operation_id, context)
    if operation is None or operation.postponed:
        raise Contradiction(f"{call.gateway} reports {outcome.state} on {call.operation_id}, which it was not asked")
    if operation.recorded is not None:
        return forcing.reported(ledger, call, operation, outcome, context)
    if outcome.amount_minor not in (None, operation.amount_minor):
        raise Contradiction(
            f"{call.gateway} moved {outcome.amount_minor} for {call.kind} {call.operation_id} of {operation.amount_minor}"
        )
    if operation.kind in ("prepay", "return"):
        return prepaying.reported(ledger, call, operation, outcome, context)
    if operation.is_open and operation.abandoned:
        return sessions.reported(ledger, call, operation, outcome, context)
    if outcome.state == "pending":
        return _still_pending(ledger, call, operation, outcome, context)
    if not operation.is_open:
        if _says_the_same(operation, outcome):
            return []
        if operation.code == PAYMENT_ABANDONED and not call.abandon:
            return []  # of a worker that asked before the gateway has cancelled it
        raise Contradiction(
            f"{call.gateway} reports {outcome.state} ({outcome.gateway_reference}) on {call.kind} {call.operation_id},"
            f" which is {operation.state} ({operation.gateway_reference})"
        )
    event = _answer(ledger, call, operation, outcome, context)
    ended = resumed_voids(evolve(ledger, event), [event], call.operation_id, operation, context)
    return sessions.then_declined(ended, call.operation_id, context)


def _still_pending(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> Decision:
    """Published once; then the task goes on asking, whichever worker reported."""
    if not operation.is_open:
        return []  # older than the answer that we have
    asking = follow_up(call, outcome.gateway_reference)
    if operation.state == "pending":
        return [asking]
    waits_for = outcome.expires_in_seconds
    expires_at = context.now + timedelta(seconds=waits_for) if waits_for is not None else None
    return [facts.pending(ledger, call.operation_id, operation, context, outcome.gateway_reference, expires_at), asking]


def resumed(order_id: UUID, store_id: str, ledger: Ledger) -> list[Task]:
    """What became of it is asked of every operation that a gateway answers later or has not confirmed, also by a ledger that
    was restored."""
    tasks = []
    for operation_id, operation in ledger.operations.items():
        if operation.gateway is None or operation.gateway in INFORMED or operation.currency is None:
            continue
        if operation.state == "pending" and operation.session_id is None:
            call = ledger.call(order_id, store_id, operation_id, operation)
            tasks.append(abandoning(call) if operation.abandoned else follow_up(call))
        elif operation.state == "asked" and (_is_our_own(operation) or _is_rest(ledger, operation_id)):
            tasks.append(task(ledger.call(order_id, store_id, operation_id, operation)))
        elif operation.recorded == "unconfirmed":
            tasks.append(check(ledger.call(order_id, store_id, operation_id, operation)))
    return [*tasks, *disputes.resumed(order_id, store_id, ledger)]


def _is_our_own(operation: Operation) -> bool:
    """Whether no other service asks for it again."""
    return operation.follows is not None or operation.kind in ("prepay", "return")


def _is_rest(ledger: Ledger, operation_id: UUID) -> bool:
    """Whether a session has paid a part of it. If it has waited for that, no other service asks for the rest."""
    granted = ledger.authorizations.items()
    return any(one.session_id and part == part_id(operation_id, one.session_id) for part, one in granted)


def _answer(
    ledger: Ledger, call: GatewayCall, operation: Operation, outcome: GatewayOutcome, context: Context
) -> facts.Fact | Declined | Failed:
    if outcome.state == "succeeded":
        done = operation.model_copy(update={"with_capture": outcome.captured})
        return facts.succeeded(
            ledger, call.operation_id, done, context, outcome.gateway_reference, held_until=outcome.held_until
        )
    if operation.kind == "authorize":
        code = outcome.code or "gateway_refused"
        return facts.declined(ledger, call.operation_id, operation, context, code, outcome.reason)
    if outcome.state == "not_set_up":
        missing: FailureCode = "credentials_missing" if outcome.code == "credentials_missing" else "gateway_unknown"
        return facts.failed(ledger, call.operation_id, operation, context, missing, outcome.reason, later=True)
    if outcome.code == EXPIRED and operation.kind == "capture":
        return facts.failed(ledger, call.operation_id, operation, context, EXPIRED, outcome.reason)
    if outcome.code == NOT_CHARGEABLE:
        return facts.failed(ledger, call.operation_id, operation, context, NOT_CHARGEABLE, outcome.reason)
    reason = ": ".join(filter(None, (outcome.code, outcome.reason)))[:500]
    return facts.failed(ledger, call.operation_id, operation, context, "gateway_refused", reason, later=outcome.later)


def _says_the_same(operation: Operation, outcome: GatewayOutcome) -> bool:
    if (operation.state == "succeeded") != (outcome.state == "succeeded"):
        return False
    if operation.state == "succeeded" and outcome.captured and not operation.with_capture:
        return False  # money was taken that the ledger does not have
    references = {operation.gateway_reference, outcome.gateway_reference} - {None}
    return operation.state != "succeeded" or len(references) <= 1
