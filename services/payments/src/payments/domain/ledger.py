"""The money of one order, in minor units of its currency: the present amounts, and how an event changes them.

Per line refunded <= captured <= authorized and captured + voided <= authorized, for the order and for each authorization.
A gateway is asked in one decision and answers in another: until then the operation is open and holds its amounts, so two
captures in flight cannot spend the same euro. Amounts are never negative; `direction` will mark reversals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, assert_never
from uuid import UUID

from pydantic import Field

from contracts.base import Document, OrderKeyed, PrivateEvent, Text
from contracts.deciding import Context, Reported
from contracts.limits import MINOR_MAX
from contracts.payments import (
    Authorized,
    Captured,
    Contradicted,
    Declined,
    Failed,
    Force,
    Forced,
    ForceRefused,
    GatewayName,
    MoneyLine,
    MoneyTotals,
    Pending,
    Refunded,
    Void,
    Voided,
)
from payments.domain.gateway import GatewayCall, Kind

# ---------------------------------------------------------------------------------------------------- private events


class Asked(OrderKeyed, PrivateEvent, type="payments.asked"):
    """A gateway is being asked; the lines' amounts are held until it answers."""

    kind: Kind
    gateway: GatewayName
    currency: str
    refers_to: UUID | None = None
    lines: tuple[MoneyLine, ...]
    amount_minor: int


class VoidPostponed(OrderKeyed, PrivateEvent, type="payments.void_postponed"):
    """A void waits for what is in flight on its authorization; until then nothing new is taken from it."""

    authorization_id: UUID
    lines: tuple[MoneyLine, ...] = ()
    """The amounts to release; empty: all that is left."""


class Confirmed(OrderKeyed, PrivateEvent, type="payments.confirmed"):
    """The gateway reports the outcome that a person stated before."""

    target_operation_id: UUID
    gateway_reference: Text | None = None


LedgerEvent = (
    Authorized
    | Captured
    | Voided
    | Refunded
    | Declined
    | Failed
    | Pending
    | Asked
    | VoidPostponed
    | Forced
    | Confirmed
    | Contradicted
    | ForceRefused
)

# ------------------------------------------------------------------------------------------------------------- state


class Line(Document):
    """One line of the order, over all its authorizations."""

    direction: Literal[1, -1] = 1
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0


class AuthorizedLine(Document):
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    pieces: int = 0
    """Not yet captured or voided."""

    @property
    def left_minor(self) -> int:
        return self.authorized_minor - self.captured_minor - self.voided_minor


class CapturedLine(Document):
    captured_minor: int = 0
    refunded_minor: int = 0

    @property
    def left_minor(self) -> int:
        return self.captured_minor - self.refunded_minor


class Authorization(Document):
    gateway: GatewayName
    lines: dict[str, AuthorizedLine] = Field(default_factory=dict)


class Capturing(Document):
    """What one capture took."""

    authorization_id: UUID
    gateway: GatewayName
    lines: dict[str, CapturedLine] = Field(default_factory=dict)


Recorded = Literal["stated", "unconfirmed", "confirmed", "contradicted"]
"""The state of an outcome that was stated, not reported: no gateway is asked about it; its gateway is still asked what it has; the
gateway has reported the same; the gateway has reported another one."""


class Operation(Document):
    """What was asked under one id, and its outcome. An id has its effect once, for ever."""

    kind: Kind
    state: Literal["asked", "pending", "succeeded", "declined", "failed"]
    amount_minor: int = 0
    currency: str | None = None
    refers_to: UUID | None = None
    gateway: GatewayName | None = None
    lines: tuple[MoneyLine, ...] = ()
    """Held while open. After a gateway's refusal: what was asked of it. Empty after a success."""
    postponed: bool = False
    """A void that waits: no gateway is asked yet, and it holds no lines."""
    gateway_reference: str | None = None
    code: str = ""
    reason: str = ""
    recorded: Recorded | None = None
    """Null: the outcome is the ledger's own or its gateway's."""

    @property
    def is_open(self) -> bool:
        return self.state in ("asked", "pending")

    @property
    def outcome(self) -> Literal["", "succeeded", "failed"]:
        """Empty while it is open."""
        return "" if self.is_open else "succeeded" if self.state == "succeeded" else "failed"

    def call(self, order_id: UUID, store_id: str, operation_id: UUID, reference: str | None = None) -> GatewayCall:
        """What its gateway is asked to do."""
        assert self.gateway is not None and self.currency is not None, "a call names its gateway and its currency"
        return GatewayCall(
            operation_id=operation_id,
            gateway=self.gateway,
            kind=self.kind,
            order_id=order_id,
            store_id=store_id,
            currency=self.currency,
            amount_minor=self.amount_minor,
            refers_to=self.refers_to,
            reference=reference,
        )


CLOSED_MAX: Final = 8
"""Closed operations that a ledger has in its document. Few orders have more."""


class EarlierKey(NamedTuple):
    """A closed operation that the ledger of an order may no longer have."""

    order_id: UUID
    operation_id: UUID


class Ledger(Document):
    schema_version: int = 1
    currency: str | None = None
    """ISO 4217, of the first authorization that was asked for; every later one has the same."""
    gateway: GatewayName | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    lines: dict[str, Line] = Field(default_factory=dict)
    authorizations: dict[UUID, Authorization] = Field(default_factory=dict)
    """By the operation that authorized."""
    captures: dict[UUID, Capturing] = Field(default_factory=dict)
    """By the operation that captured."""
    operations: dict[UUID, Operation] = Field(default_factory=dict)
    """Those that are open, and the latest of the closed ones; all are in the table `operations`."""

    def operation(self, operation_id: UUID, context: Context) -> Operation | None:
        """Also a closed one that the ledger no longer has, if `earlier` has named it."""
        return self.operations.get(operation_id) or context.shares.get(EarlierKey(context.key, operation_id))

    def totals(self, **more: int) -> MoneyTotals:
        """The totals with so much `authorized`, `captured`, `voided`, `refunded` more."""
        return MoneyTotals(
            authorized_minor=self.authorized_minor + more.get("authorized", 0),
            captured_minor=self.captured_minor + more.get("captured", 0),
            voided_minor=self.voided_minor + more.get("voided", 0),
            refunded_minor=self.refunded_minor + more.get("refunded", 0),
        )

    @property
    def authorizable_minor(self) -> int:
        """What may still be authorized: an order holds at most `MINOR_MAX`, and what is asked for is held."""
        asked = sum(o.amount_minor for o in self.operations.values() if o.kind == "authorize" and o.is_open)
        return MINOR_MAX - self.authorized_minor - asked

    def in_flight(self, authorization_id: UUID) -> bool:
        """A gateway is being asked about this authorization (itself, a capture or a void)."""
        return any(
            operation.is_open and not operation.postponed and authorization_id in (operation_id, operation.refers_to)
            for operation_id, operation in self.operations.items()
        )

    def void_waits(self, authorization_id: UUID) -> bool:
        return any(o.postponed and o.refers_to == authorization_id for o in self.operations.values())

    def capturable(self, authorization_id: UUID) -> dict[str, int]:
        """Line -> what may still be captured or voided: neither yet, and not held. A waiting void has claimed it all."""
        if self.void_waits(authorization_id):
            return dict.fromkeys(self.authorizations[authorization_id].lines, 0)
        return self.free(authorization_id)

    def free(self, authorization_id: UUID) -> dict[str, int]:
        """Line -> what is neither captured nor voided nor held by what a gateway is being asked."""
        lines = self.authorizations[authorization_id].lines
        return self._less_held(authorization_id, {line_id: line.left_minor for line_id, line in lines.items()})

    def refundable(self, capture_id: UUID) -> dict[str, int]:
        """Line -> what of this capture may still be refunded."""
        lines = self.captures[capture_id].lines
        return self._less_held(capture_id, {line_id: line.left_minor for line_id, line in lines.items()})

    def _less_held(self, refers_to: UUID, left: dict[str, int]) -> dict[str, int]:
        for operation in self.operations.values():
            if operation.is_open and not operation.postponed and operation.refers_to == refers_to:
                for line in operation.lines:
                    left[line.line_id] -= line.amount_minor
        return left


def compact(ledger: Ledger) -> Ledger:
    """Without the oldest closed operations: the document does not grow with each."""
    if len(ledger.operations) <= CLOSED_MAX:
        return ledger
    closed = [
        operation_id
        for operation_id, operation in ledger.operations.items()
        if not operation.is_open and operation.recorded != "unconfirmed"
    ]
    oldest = {*closed[:-CLOSED_MAX]}
    stay = {
        operation_id: operation for operation_id, operation in ledger.operations.items() if operation_id not in oldest
    }
    return ledger.model_copy(update={"operations": stay})


def earlier(ledger: Ledger, message: Any) -> Iterable[EarlierKey]:
    """The closed operation that deciding needs and the ledger no longer has: what a gateway reports on, what is voided, forced."""
    match message:
        case Reported(asked=GatewayCall(order_id=order_id, operation_id=named)):
            pass
        case Void(order_id=order_id, authorization_id=named):
            pass
        case Force(order_id=order_id, target_operation_id=named):
            pass
        case _:
            return
    if named not in ledger.operations and len(ledger.operations) >= CLOSED_MAX:
        yield EarlierKey(order_id, named)


def total(lines: Iterable[MoneyLine]) -> int:
    return sum(line.amount_minor for line in lines)


# ------------------------------------------------------------------------------------------------------------ evolve


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
        case Declined():
            after = _closed(ledger, event.operation_id, "authorize", "declined", event)
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
        case _:
            assert_never(event)  # an event without a case does not type-check
    return after


def _authorized(ledger: Ledger, event: Authorized) -> Ledger:
    assert event.authorization_id not in ledger.authorizations, "authorized twice"
    granted = {
        line.line_id: AuthorizedLine(authorized_minor=line.amount_minor, pieces=line.quantity) for line in event.lines
    }
    authorization = Authorization(gateway=event.gateway, lines=granted)
    return ledger.model_copy(
        update={
            "currency": event.currency,
            "gateway": ledger.gateway or event.gateway,
            "authorized_minor": ledger.authorized_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "authorized_minor"),
            "authorizations": {**ledger.authorizations, event.authorization_id: authorization},
            "operations": _operations_with(ledger, event, "authorize", event.gateway, None),
        }
    )


def _captured(ledger: Ledger, event: Captured) -> Ledger:
    assert event.capture_id not in ledger.captures, "captured twice"
    authorization = _drawn(ledger, event.authorization_id, event.lines, "captured_minor")
    taken = {line.line_id: CapturedLine(captured_minor=line.amount_minor) for line in event.lines}
    capture = Capturing(authorization_id=event.authorization_id, gateway=authorization.gateway, lines=taken)
    return ledger.model_copy(
        update={
            "captured_minor": ledger.captured_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "captured_minor"),
            "authorizations": {**ledger.authorizations, event.authorization_id: authorization},
            "captures": {**ledger.captures, event.capture_id: capture},
            "operations": _operations_with(ledger, event, "capture", authorization.gateway, event.authorization_id),
        }
    )


def _voided(ledger: Ledger, event: Voided) -> Ledger:
    authorizations, gateway = ledger.authorizations, ledger.gateway
    if event.authorization_id in authorizations:  # else it was declined: nothing is left of it
        authorization = _drawn(ledger, event.authorization_id, event.lines, "voided_minor")
        authorizations = {**authorizations, event.authorization_id: authorization}
        gateway = authorization.gateway
    return ledger.model_copy(
        update={
            "voided_minor": ledger.voided_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "voided_minor"),
            "authorizations": authorizations,
            "operations": _operations_with(ledger, event, "void", gateway, event.authorization_id),
        }
    )


def _refunded(ledger: Ledger, event: Refunded) -> Ledger:
    capture = ledger.captures[event.capture_id]
    lines = dict(capture.lines)
    for line in event.lines:
        before = lines[line.line_id]
        after = before.model_copy(update={"refunded_minor": before.refunded_minor + line.amount_minor})
        assert after.left_minor >= 0, f"line {line.line_id} of capture {event.capture_id}: {after}"
        lines[line.line_id] = after
    return ledger.model_copy(
        update={
            "refunded_minor": ledger.refunded_minor + event.amount_minor,
            "lines": _lines_with(ledger.lines, event.lines, "refunded_minor"),
            "captures": {**ledger.captures, event.capture_id: capture.model_copy(update={"lines": lines})},
            "operations": _operations_with(ledger, event, "refund", capture.gateway, event.capture_id),
        }
    )


def _asked(ledger: Ledger, event: Asked) -> Ledger:
    operation = Operation(
        kind=event.kind,
        state="asked",
        amount_minor=event.amount_minor,
        currency=event.currency,
        refers_to=event.refers_to,
        gateway=event.gateway,
        lines=event.lines,
    )
    after = _with_operation(ledger, event.operation_id, operation)
    return after.model_copy(
        update={"currency": ledger.currency or event.currency, "gateway": ledger.gateway or event.gateway}
    )


def _pending(ledger: Ledger, event: Pending) -> Ledger:
    known = ledger.operations.get(event.operation_id) if event.operation_id else None
    waiting = known or Operation(
        kind=_kind(event.command),
        state="asked",
        amount_minor=event.amount_minor,
        currency=event.currency,
        refers_to=event.refers_to,
        gateway=event.gateway,
        lines=event.lines,
    )
    after = _with_operation(ledger, event.operation_id, waiting.model_copy(update={"state": "pending"}))
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
    closed = before.model_copy(
        update={
            "state": state,
            "amount_minor": event.amount_minor,
            "lines": () if before.postponed else before.lines,
            "postponed": False,
            "code": event.code,
            "reason": event.reason,
            "recorded": before.recorded or ("stated" if event.recorded else None),
        }
    )
    return _with_operation(ledger, operation_id, closed)


# ----------------------------------------------------------------------------------------------------------- helpers


def _kind(command: str) -> Kind:
    match command:
        case "authorize" | "capture" | "void" | "refund":
            return command
        case _:
            raise ValueError(f"{command!r} is no command of payments")


def _with_operation(ledger: Ledger, operation_id: UUID | None, operation: Operation) -> Ledger:
    assert operation_id is not None, "every event of a ledger belongs to an operation"
    return ledger.model_copy(update={"operations": {**ledger.operations, operation_id: operation}})


def _stated(ledger: Ledger, event: Forced) -> Ledger:
    """A repeated statement changes nothing, nor does one about an operation that a restored ledger does not have."""
    operation = ledger.operations.get(event.target_operation_id)
    if operation is None or (operation.recorded is not None and operation.outcome == event.outcome):
        return ledger
    is_asked = operation.is_open or operation.recorded == "unconfirmed"
    return _changed(ledger, event.target_operation_id, recorded="unconfirmed" if is_asked else "stated")


def _changed(ledger: Ledger, operation_id: UUID, *, recorded: Recorded, reference: str | None = None) -> Ledger:
    """What became of a stated outcome. An operation that the ledger no longer has stays as its row is."""
    known = ledger.operations.get(operation_id)
    if known is None:
        return ledger
    update = {"recorded": recorded, "gateway_reference": reference or known.gateway_reference}
    return _with_operation(ledger, operation_id, known.model_copy(update=update))


def _operations_with(
    ledger: Ledger,
    event: Authorized | Captured | Voided | Refunded,
    kind: Kind,
    gateway: GatewayName | None,
    refers_to: UUID | None,
) -> dict[UUID, Operation]:
    assert event.operation_id is not None, "every event of a ledger belongs to an operation"
    known = ledger.operations.get(event.operation_id)
    succeeded = Operation(
        kind=kind,
        state="succeeded",
        amount_minor=event.amount_minor,
        currency=event.currency,
        refers_to=refers_to,
        gateway=gateway,
        gateway_reference=event.gateway_reference,
        recorded=((known.recorded if known else None) or "stated") if event.recorded else None,
    )
    return {**ledger.operations, event.operation_id: succeeded}


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
        assert after.refunded_minor <= after.captured_minor, f"line {line.line_id}: {after}"
        assert after.captured_minor + after.voided_minor <= after.authorized_minor, f"line {line.line_id}: {after}"
        changed[line.line_id] = after
    return changed
