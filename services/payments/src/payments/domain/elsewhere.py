"""Refunds that a person makes at the gateway itself. Its event is only a hint: the gateway is asked for all refunds of the payment,
and those that the ledger does not have are recorded.

The gateway's own name identifies a refund, its operation one of ours. So it is booked once, whoever reports it first: our call, its event, or a reconciliation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from contracts.deciding import Context, Effect, Reported, Task, effects_of
from contracts.differences import TheirSide
from contracts.ids import derived
from contracts.payments import CheckRefunds, PaymentName, PrepaymentReturned, RecordRefused, Refunded
from payments.domain import applying, recording
from payments.domain.folds import evolve
from payments.domain.gateway import REFUNDS_KIND, Refunds, RefundsCall, operations_named
from payments.domain.ledger import Ledger

GIVES_BACK: Final = ("refund", "return")
"""A return of what was paid in a session is a refund at its gateway, if that has captured it at once."""
WAITS: Final = ("held", "retained")


def check(ledger: Ledger, command: CheckRefunds, context: Context) -> list[Effect]:
    if ledger.paid_in(command.payment) is None:
        return []
    call = RefundsCall(
        order_id=context.key, store_id=context.store_id, gateway=command.gateway, account=command.account,
        payment=command.payment,
    )  # fmt: skip
    return [Task(task_id=command.operation_id, kind=REFUNDS_KIND, body=call, beside=True)]


def reported(ledger: Ledger, report: Reported, context: Context) -> list[Effect]:
    """Records what is new. What does not fit the ledger is not booked: record_refused states why, for a person."""
    call, stated = report.asked, report.outcome
    assert isinstance(call, RefundsCall) and isinstance(stated, Refunds), "the tasks of refunds"
    given = {"order_id": context.key, "store_id": context.store_id, "actor": f"system:{call.gateway}"}
    effects: list[Effect] = []
    unknown = [one for one in stated.made if not _is_known(ledger, call.gateway, one, context)]
    if (session_id := _held_in(ledger, call)) is not None:
        return _given_back(ledger, session_id, unknown, call, context)
    for theirs in unknown:
        name = derived(report.task_id, theirs.reference)
        try:
            command = applying.booked(ledger, call.gateway, theirs, name, given)
        except applying.Unappliable:  # nothing is captured of it here: a reconciliation finds the captures first
            continue
        for effect in effects_of(recording.record(ledger, command, context)):
            if isinstance(effect, Refunded | RecordRefused):
                effects.append(effect)
                ledger = evolve(ledger, effect)
    return effects


def _held_in(ledger: Ledger, call: RefundsCall) -> UUID | None:
    """The session whose payment still waits for the order, or which its gateway has refused to give back."""
    for session_id, session in ledger.sessions.items():
        paid = session.prepayment
        if paid is not None and paid.state in WAITS and paid.gateway_reference == call.payment:
            return session_id
    return None


def _given_back(
    ledger: Ledger, session_id: UUID, made: Sequence[TheirSide], call: RefundsCall, context: Context
) -> list[Effect]:
    """What a person has refunded of a payment that waits for its order: all of it is no longer there. A part cannot be booked before
    an authorization has taken the payment over: it is stated for a person."""
    session = ledger.sessions[session_id]
    assert session.prepayment is not None, "it was paid"
    refunded = sum(one.amount_minor for one in made)
    if not refunded:
        return []
    last = made[-1]
    given: dict[str, Any] = {"order_id": context.key, "store_id": context.store_id, "totals": ledger.totals()}
    if refunded == session.prepayment.amount_minor and all(one.currency == session.currency for one in made):
        return [
            PrepaymentReturned(
                **given, operation_id=derived(session_id, f"refunded {last.reference}"), session_id=session_id, currency=session.currency,
                gateway=call.gateway, amount_minor=refunded, captured=session.prepayment.captured, gateway_reference=last.reference, recorded=True,
            )
        ]  # fmt: skip
    return [
        RecordRefused(
            **given, operation_id=context.new_id(f"refunded {last.reference}"), code="capture_unknown", command="refund", system=call.gateway,
            payment_id=last.reference, currency=session.currency, allowed_minor=session.prepayment.amount_minor,
            reason=f"{refunded} of what session {session_id} has paid was refunded; it waits for its order",
        )
    ]  # fmt: skip


def _is_known(ledger: Ledger, gateway: str, theirs: TheirSide, context: Context) -> bool:
    """Whether the ledger has asked for it, or was informed of it: also if that was refused here, it is not another refund."""
    name = PaymentName(system=gateway, payment_id=theirs.reference)
    named = (ledger.operation(operation_id, context) for operation_id in operations_named(theirs))
    return any(operation is not None and operation.kind in GIVES_BACK for operation in named) or any(
        operation.kind in GIVES_BACK and (operation.gateway_reference == theirs.reference or operation.payment == name)
        for operation in ledger.operations.values()
    )
