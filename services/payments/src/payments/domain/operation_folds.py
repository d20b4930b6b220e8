"""What becomes of an operation that moves nothing: asked for, pending, closed without success, stated by a person."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from contracts.payments import Declined, Failed, Forced, Pending
from payments.domain import prepayment_folds, session_folds
from payments.domain.gateway import INFORMED, Kind
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import Abandoned, Asked, VoidPostponed
from payments.domain.operation import Operation, Recorded, by_cards


def asked(ledger: Ledger, event: Asked) -> Ledger:
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
    after = with_operation(ledger, event.operation_id, operation)
    after = session_folds.attached(after, event.operation_id)
    return after.model_copy(
        update={"currency": ledger.currency or event.currency, "gateway": ledger.gateway or event.gateway}
    )


def pending(ledger: Ledger, event: Pending) -> Ledger:
    waiting = ledger.operations.get(event.operation_id) if event.operation_id else None
    if waiting is None or waiting.postponed:  # what is not asked first: a void that waited, of the gateway `recorded`
        waiting = Operation(
            kind=kind_of(event.command),
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
    after = session_folds.attached(with_operation(ledger, event.operation_id, now), event.operation_id)
    after = prepayment_folds.waits(after, event)
    return after.model_copy(update={"currency": ledger.currency or event.currency})


def postponed(ledger: Ledger, event: VoidPostponed) -> Ledger:
    waiting = Operation(
        kind="void",
        state="asked",
        currency=ledger.currency,
        refers_to=event.authorization_id,
        gateway=ledger.gateway,
        lines=event.lines,
        postponed=True,
    )
    return with_operation(ledger, event.operation_id, waiting)


def closed(
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
    after = before.model_copy(
        update={
            "state": state,
            "amount_minor": event.amount_minor - by_cards(parts),
            "lines": () if before.postponed else before.lines,
            "postponed": False,
            "expires_at": None,
            "abandoned": False,
            "session_id": None,
            "code": event.code,
            "reason": event.reason,
            "recorded": before.recorded or ("stated" if event.recorded else None),
            "payment": event.payment,
        }
    )
    return with_operation(ledger, operation_id, after)


def abandoned(ledger: Ledger, event: Abandoned) -> Ledger:
    operation = ledger.operations[event.authorization_id]
    return with_operation(ledger, event.authorization_id, operation.model_copy(update={"abandoned": True}))


def stated(ledger: Ledger, event: Forced) -> Ledger:
    """A repeated statement changes nothing, nor does one about an operation that a restored ledger does not have."""
    operation = ledger.operations.get(event.target_operation_id)
    if operation is None or (operation.recorded is not None and operation.outcome == event.outcome):
        return ledger
    is_asked = (operation.is_open or operation.recorded == "unconfirmed") and operation.gateway not in INFORMED
    return changed(ledger, event.target_operation_id, recorded="unconfirmed" if is_asked else "stated")


def changed(ledger: Ledger, operation_id: UUID, *, recorded: Recorded, reference: str | None = None) -> Ledger:
    """What became of a stated outcome. An operation that the ledger no longer has stays as its row is."""
    known = ledger.operations.get(operation_id)
    if known is None:
        return ledger
    update = {"recorded": recorded, "gateway_reference": reference or known.gateway_reference}
    return with_operation(ledger, operation_id, known.model_copy(update=update))


def kind_of(command: str) -> Kind:
    match command:
        case "authorize" | "capture" | "void" | "refund":
            return command
        case _:
            raise ValueError(f"{command!r} is no command of payments")


def with_operation(ledger: Ledger, operation_id: UUID | None, operation: Operation) -> Ledger:
    return ledger.model_copy(update={"operations": operations_with(ledger, operation_id, operation)})


def operations_with(ledger: Ledger, operation_id: UUID | None, operation: Operation) -> dict[UUID, Operation]:
    assert operation_id is not None, "every event of a ledger belongs to an operation"
    return {**ledger.operations, operation_id: operation}
