"""Money that moved elsewhere, and an attempt that was refused there: payments is informed, books it, and asks no gateway.

An operation is the one that its payment system calls so: a repetition changes nothing, and one with other amounts is
refused, as is what the ledger has no room for. A refusal burns no id: what came too early may be stated again. Gift cards
are ours, so what is stated is never about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from contracts.deciding import Context, Decision, Refusal, Reported
from contracts.ids import recorded_id
from contracts.limits import MINOR_MAX
from contracts.payments import RECORDED, Declined, Failed, PaymentName, Record, RecordCode, RecordRefused
from payments.domain import facts
from payments.domain.commands import merged, resumed_voids, reversal_among
from payments.domain.folds import evolve
from payments.domain.gateway import INFORMED, Refunds, RefundsCall
from payments.domain.ledger import Ledger
from payments.domain.operation import Operation, total


class PaymentKey(NamedTuple):
    """Names an operation of a payment system; unique in a store."""

    store_id: str
    system: str
    kind: str
    payment_id: str


class Known(NamedTuple):
    """What it was recorded as."""

    order_id: UUID
    operation: Operation


def recorded(ledger: Ledger, message: Any) -> Iterable[PaymentKey]:
    match message:
        case Record():
            yield _key(message)
        case Reported(asked=RefundsCall() as call, outcome=Refunds() as refunds):
            for theirs in refunds.made:
                yield PaymentKey(call.store_id, call.gateway, "refund", theirs.reference)


def _key(command: Record) -> PaymentKey:
    return PaymentKey(command.store_id, command.system, command.kind, command.payment_id)


class _Unfit(Exception):
    """Why it cannot be booked."""

    def __init__(
        self, code: RecordCode, reason: str, line: str | None = None, allowed_minor: int | None = None
    ) -> None:
        super().__init__(reason)
        self.code, self.line, self.allowed_minor = code, line, allowed_minor

    @property
    def members(self) -> dict[str, Any]:
        """Members of the problem that a request is answered with."""
        members = {"line": self.line, "allowed_minor": self.allowed_minor}
        return {name: value for name, value in members.items() if value is not None}


def record(ledger: Ledger, command: Record, context: Context) -> Decision:
    try:
        if _is_repeated(ledger, command, context):
            return []
        operation_id, operation = _awaited(ledger, command) or (recorded_id(*_key(command)), _new(ledger, command))
    except _Unfit as unfit:
        return [_refused(ledger, command, context, unfit), Refusal(unfit.code, str(unfit), unfit.members)]
    operation = operation.model_copy(update={"payment": _name(command)})
    event = _event(ledger, command, operation_id, operation, context)
    return resumed_voids(evolve(ledger, event), [event], operation_id, operation, context)


def _name(command: Record) -> PaymentName:
    return PaymentName(system=command.system, payment_id=command.payment_id)


def _is_repeated(ledger: Ledger, command: Record, context: Context) -> bool:
    known = context.shares.get(_key(command))
    if known is not None and known.order_id != context.key:
        raise _Unfit("payment_taken", f"{command.payment_id} of {command.system} is recorded on order {known.order_id}")
    name = recorded_as(ledger, command)  # what the same batch has recorded is in no row yet
    operation = ledger.operations[name] if name is not None else known.operation if known is not None else None
    if operation is None:
        return False
    stated = (total(command.lines), command.currency, command.outcome)
    if stated != (operation.amount_minor, operation.currency, operation.outcome):
        before = f"{operation.outcome} with {operation.amount_minor} {operation.currency}"
        raise _Unfit("payment_differs", f"{command.payment_id} of {command.system} was recorded as {before}")
    _check_repeated_lines(command, {line.line_id: line.amount_minor for line in operation.lines})
    return True


def _check_repeated_lines(command: Record, before: Mapping[str, int]) -> None:
    """before: the amounts that were recorded; empty: of an attempt that was refused, which the books do not have."""
    again = {line_id: minor for line_id, minor in _amounts(command).items() if minor}
    for line_id in [*again, *before] if before else []:
        was, now = before.get(line_id, 0), again.get(line_id, 0)
        if was != now:
            reason = f"{command.payment_id} of {command.system} was recorded with {was} of line {line_id}"
            raise _Unfit("payment_differs", reason, line_id)


def recorded_as(ledger: Ledger, command: Record) -> UUID | None:
    """Returns the operation that it was recorded as; None if the ledger's document does not have it."""
    name = _name(command)
    for operation_id, operation in ledger.operations.items():
        if operation.payment == name and operation.kind == command.kind:
            return operation_id
    return None


def _awaited(ledger: Ledger, command: Record) -> tuple[UUID, Operation] | None:
    """The operation that the ledger waits to be informed of: the same amounts of the same lines."""
    stated = _amounts(command)
    for operation_id, operation in ledger.operations.items():
        if operation.state != "pending" or operation.gateway not in INFORMED or operation.kind != command.kind:
            continue
        if operation.currency != command.currency or command.refers_to not in (None, operation.refers_to):
            continue
        if {line.line_id: line.amount_minor for line in operation.gateway_lines} == stated:
            return operation_id, operation.model_copy(update={"with_capture": command.capture})
    return None


def _amounts(command: Record) -> dict[str, int]:
    return {line.line_id: line.amount_minor for line in merged(command.lines)}


def _new(ledger: Ledger, command: Record) -> Operation:
    """An operation that no command has asked for. Raises _Unfit."""
    if ledger.currency is not None and command.currency != ledger.currency:
        raise _Unfit("currency_differs", f"the order is paid in {ledger.currency}")
    happened = command.outcome == "succeeded"
    refers_to, gateway = command.refers_to, command.gateway or RECORDED
    if command.kind == "authorize":
        if happened and (line := reversal_among(ledger, command.lines)) is not None:
            raise _Unfit("line_taken", f"line {line} is a reversal", line)
        if happened and total(command.lines) > ledger.authorizable_minor:
            reason = f"an order holds at most {MINOR_MAX} minor units"
            raise _Unfit("exceeds_authorizable", reason, allowed_minor=max(ledger.authorizable_minor, 0))
    elif command.kind == "refund":
        refers_to = _the_one(_of_gateways(ledger.captures), command.refers_to, "capture_unknown", happened)
        if refers_to in ledger.captures:
            gateway = ledger.captures[refers_to].gateway
            left = ledger.left_by_tender(ledger.captures, refers_to)[None]
            _check_lines(command, left, "exceeds_refundable", happened)
    else:
        refers_to = _the_one(_of_gateways(ledger.authorizations), command.refers_to, "authorization_unknown", happened)
        if refers_to in ledger.authorizations:
            gateway = ledger.authorizations[refers_to].gateway
            left = ledger.left_by_tender(ledger.authorizations, refers_to)[None]
            _check_lines(command, left, "exceeds_capturable", happened)
    return Operation(
        kind=command.kind,
        state="asked",
        amount_minor=total(command.lines),
        currency=command.currency,
        refers_to=refers_to,
        gateway=gateway,
        account=command.account,
        lines=merged(command.lines),
        with_capture=command.kind == "authorize" and command.capture,
    )


def _of_gateways(those: Mapping[UUID, Any]) -> Mapping[UUID, Any]:
    return {name: one for name, one in those.items() if one.gift_card_id is None}


def _the_one(those: Mapping[UUID, Any], named: UUID | None, unknown: RecordCode, happened: bool) -> UUID | None:
    """What it draws on: the one that it names, else the only one. A refused attempt may draw on nothing."""
    if named in those:
        return named
    what = unknown.removesuffix("_unknown")
    if named is not None:
        raise _Unfit(unknown, f"the order has no {what} {named}")
    if len(those) == 1:
        return next(iter(those))
    if happened and those:
        raise _Unfit("reference_ambiguous", f"the order has {len(those)} {what}s: name one as {what}_id")
    if happened:
        raise _Unfit(unknown, f"the order has no {what} yet")
    return None


def _check_lines(command: Record, left: Mapping[str, int], exceeds: RecordCode, happened: bool) -> None:
    if not happened:
        return
    for line_id, amount in _amounts(command).items():
        if line_id not in left:
            raise _Unfit("line_unknown", f"what it draws on has no line {line_id}", line_id)
        if amount > left[line_id]:
            asked = f"{amount} of line {line_id} are stated, {left[line_id]} are left"
            raise _Unfit(exceeds, asked, line_id, left[line_id])


def _event(
    ledger: Ledger, command: Record, operation_id: UUID, operation: Operation, context: Context
) -> facts.Fact | Declined | Failed:
    if command.outcome == "succeeded":
        return facts.succeeded(ledger, operation_id, operation, context, command.payment_id, recorded=True)
    code, reason = command.code or "gateway_refused", command.reason
    if command.kind == "authorize":
        return facts.declined(ledger, operation_id, operation, context, code, reason, recorded=True)
    reason = ": ".join(filter(None, (command.code, reason)))[:500]
    return facts.failed(ledger, operation_id, operation, context, "gateway_refused", reason, recorded=True)


def _refused(ledger: Ledger, command: Record, context: Context, unfit: _Unfit) -> RecordRefused:
    return RecordRefused(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        code=unfit.code,
        command=command.kind,
        system=command.system,
        payment_id=command.payment_id,
        refers_to=command.refers_to,
        currency=ledger.currency,
        totals=ledger.totals(),
        line=unfit.line,
        allowed_minor=unfit.allowed_minor,
        reason=str(unfit)[:500],
    )
