"""Refunds that a person makes at the gateway itself. Its event is only a hint: the gateway is asked for all refunds of the payment,
and those that the ledger does not have are recorded.

The gateway's own name identifies a refund, its operation one of ours. So it is booked once, whoever reports it first: our call, its event, or a reconciliation.
"""

from __future__ import annotations

from typing import Final

from contracts.deciding import Context, Effect, Reported, Task, effects_of
from contracts.differences import TheirSide
from contracts.ids import derived
from contracts.payments import CheckRefunds, PaymentName, RecordRefused, Refunded
from payments.domain import applying, recording
from payments.domain.folds import evolve
from payments.domain.gateway import REFUNDS_KIND, Refunds, RefundsCall, operations_named
from payments.domain.ledger import Ledger

GIVES_BACK: Final = ("refund", "return")
"""A return of what was paid in a session is a refund at its gateway, if that has captured it at once."""


def check(ledger: Ledger, command: CheckRefunds, context: Context) -> list[Effect]:
    if command.payment not in {one.gateway_reference for one in ledger.authorizations.values()}:
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
    for theirs in stated.made:
        if _is_known(ledger, call.gateway, theirs, context):
            continue
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


def _is_known(ledger: Ledger, gateway: str, theirs: TheirSide, context: Context) -> bool:
    """Whether the ledger has asked for it, or was informed of it: also if that was refused here, it is not another refund."""
    name = PaymentName(system=gateway, payment_id=theirs.reference)
    named = (ledger.operation(operation_id, context) for operation_id in operations_named(theirs))
    return any(operation is not None and operation.kind in GIVES_BACK for operation in named) or any(
        operation.kind in GIVES_BACK and (operation.gateway_reference == theirs.reference or operation.payment == name)
        for operation in ledger.operations.values()
    )
