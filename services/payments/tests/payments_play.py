"""A play: given events, when a message comes, then exactly these effects. And the words of payments' stories.

Ids are made of names: `uid("a1")`. Lines are written as {"1": 50_00}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from contracts.base import Event
from contracts.deciding import Context, Decision, Effect, Folded, Reported, Task, Wake, effects_of
from contracts.payments import (
    Authorize,
    Authorized,
    CancelSession,
    Capture,
    Captured,
    CheckDispute,
    CheckRefunds,
    Declined,
    Failed,
    Force,
    Forced,
    ForceRefused,
    MoneyLine,
    MoneyTotals,
    OpenSession,
    PaymentName,
    Pending,
    Record,
    RecordRefused,
    Refund,
    Refunded,
    ReplacingLine,
    ReturnPrepayment,
    Reverse,
    ReversedLine,
    Void,
    Voided,
)
from payments.domain import (
    answers,
    books,
    commands,
    compaction,
    disputes,
    elsewhere,
    forcing,
    prepaying,
    recording,
    reversing,
    sessions,
    waking,
)
from payments.domain.books import Posting
from payments.domain.folds import evolve
from payments.domain.forcing import Asking
from payments.domain.gateway import GatewayCall, GatewayOutcome, follow_up, task
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import Asked, VoidPostponed
from payments.domain.operation import Operation, capture_id_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDER = UUID("00000032-0000-4000-8000-000000000001")
STORE = "st_1"
DECIDE: Mapping[type, Callable[..., Decision]] = {
    Authorize: sessions.authorize,
    Capture: commands.capture,
    Void: commands.void,
    Refund: commands.refund,
    Force: forcing.force,
    Record: recording.record,
    OpenSession: sessions.open_session,
    CancelSession: sessions.cancel_session,
    ReturnPrepayment: prepaying.give_back,
    CheckDispute: disputes.check,
    CheckRefunds: elsewhere.check,
    Reverse: reversing.reverse,
    Reported: answers.reported,
    Wake: waking.wake,
}


class Play:
    def __init__(self) -> None:
        self.ledger = Ledger()
        self.operations: dict[UUID, Operation] = {}
        """The table: every operation that the ledger ever had."""
        self.asking: dict[UUID, Asking] = {}
        """How often the gateways of open operations were asked."""
        self.effects: list[Effect] = []
        self.now = NOW
        self.posted: list[Posting] = []
        """What the messages have booked."""

    def given(self, *events: Event) -> None:
        for event in events:
            self.ledger = evolve(self.ledger, event)  # type: ignore[arg-type]

    def when(self, message: object, id: str = "m1") -> list[Effect]:
        earlier = {key: self.row(key.operation_id) for key in compaction.earlier(self.ledger, message)}
        asking = {key: self.asking.get(key.operation_id) for key in forcing.asking(self.ledger, message)}
        recorded = {key: self.recorded_as(key) for key in recording.recorded(self.ledger, message)}
        shares = {**earlier, **asking, **recorded}
        context = Context(now=self.now, key=ORDER, store_id=STORE, message_id=uid(id), shares=shares)
        before, decision = self.ledger, DECIDE[type(message)](self.ledger, message, context)
        self.effects = [*effects_of(decision)]
        events = [effect for effect in self.effects if isinstance(effect, Event)]
        self.given(*events)
        self.posted += books.postings(before, self.ledger, events)
        assert not isinstance(decision, Folded) or decision.state == self.ledger
        self.operations |= self.ledger.operations
        self.ledger = compaction.compact(self.ledger)
        # A stored state equals the state before: one that does not survive its row would differ after the next load.
        assert Ledger.model_validate_json(self.ledger.model_dump_json()) == self.ledger
        return self.effects

    def row(self, operation_id: UUID) -> Operation | None:
        """The operation as its row has it: without lines."""
        operation = self.operations.get(operation_id)
        return operation and operation.model_copy(update={"lines": ()})

    def recorded_as(self, key: recording.PaymentKey) -> recording.Known | None:
        """As `store.load_recorded` finds it."""
        name = PaymentName(system=key.system, payment_id=key.payment_id)
        for operation in self.operations.values():
            if operation.payment == name and operation.kind == key.kind:
                return recording.Known(ORDER, operation.model_copy(update={"lines": (), "payment": None}))
        return None

    def wakes(self, after_seconds: float) -> list[Effect]:
        """So many seconds after the first message, the timer is due."""
        self.now = NOW + timedelta(seconds=after_seconds)
        return self.when(Wake(self.now), id=f"timer {after_seconds}")

    def then(self, *expected: Effect) -> None:
        assert bare(self.effects) == list(expected)

    def left(self) -> tuple[int, int, int, int]:
        one = self.ledger
        return one.authorized_minor, one.captured_minor, one.voided_minor, one.refunded_minor


def uid(name: str | UUID) -> UUID:
    return name if isinstance(name, UUID) else uuid5(NAMESPACE_OID, name)


def lines(amounts: Mapping[str, int] | int) -> tuple[MoneyLine, ...]:
    amounts = {"1": amounts} if isinstance(amounts, int) else amounts
    return tuple(MoneyLine(line_id=line_id, quantity=1, amount_minor=amount) for line_id, amount in amounts.items())


def total(amounts: Mapping[str, int] | int) -> int:
    return amounts if isinstance(amounts, int) else sum(amounts.values())


def totals(a: int = 0, c: int = 0, v: int = 0, r: int = 0) -> MoneyTotals:
    return MoneyTotals(authorized_minor=a, captured_minor=c, voided_minor=v, refunded_minor=r)


_TO: dict[str, Any] = {"order_id": ORDER, "store_id": STORE}
Amounts = Mapping[str, int] | int

# ---------------------------------------------------------------------------------------------------------- commands


def authorize(
    op: str, amounts: Amounts, gateway: str = "marketplace", currency: str = "EUR", capture: bool = False
) -> Authorize:
    return Authorize(
        **_TO,
        operation_id=uid(op),
        actor="orders",
        gateway=gateway,
        currency=currency,
        lines=lines(amounts),
        reference="A-1",
        capture=capture,
    )


def capture(op: str, of: str, amounts: Amounts, currency: str = "EUR") -> Capture:
    return Capture(
        **_TO, operation_id=uid(op), actor="orders", authorization_id=uid(of), currency=currency, lines=lines(amounts)
    )


def void(op: str, of: str, amounts: Amounts | None = None) -> Void:
    named = lines(amounts) if amounts is not None else ()
    return Void(**_TO, operation_id=uid(op), actor="orders", authorization_id=uid(of), lines=named)


def refund(op: str, of: str | UUID, amounts: Amounts, currency: str = "EUR", **more: Any) -> Refund:
    return Refund(
        **_TO, operation_id=uid(op), actor="orders", capture_id=uid(of), currency=currency, lines=lines(amounts), **more
    )


Taken = Mapping[str, tuple[str, int, int]]
"""Reversal -> the line that it reverses, pieces, amount."""


def replacing(amounts: Amounts) -> tuple[ReplacingLine, ...]:
    return tuple(ReplacingLine(**dict(line)) for line in lines(amounts))


def reverse(op: str, taken: Taken, amounts: Amounts | None = None, rest: str | None = None, **more: Any) -> Reverse:
    """rest: the line of what is refunded."""
    return Reverse(
        **_TO,
        operation_id=uid(op),
        actor="api-key:books",
        currency=more.pop("currency", "EUR"),
        reversals=tuple(
            ReversedLine(line_id=line_id, reverses=origin, quantity=pieces, amount_minor=amount)
            for line_id, (origin, pieces, amount) in taken.items()
        ),
        lines=replacing(amounts) if amounts is not None else (),
        refund_line_id=rest,
        **more,
    )


def record(
    kind: Any, payment_id: str, amounts: Amounts, op: str = "op", of: str | UUID | None = None, **more: Any
) -> Record:
    return Record(
        **_TO,
        operation_id=uid(op),
        actor="api-key:books",
        kind=kind,
        system=more.pop("system", "psp"),
        payment_id=payment_id,
        currency=more.pop("currency", "EUR"),
        lines=lines(amounts),
        refers_to=uid(of) if of else None,
        **more,
    )


def force(op: str, target: str, outcome: Any, reference: str | None = None) -> Force:
    return Force(
        **_TO,
        operation_id=uid(op),
        actor="api-key:desk",
        target_operation_id=uid(target),
        outcome=outcome,
        reference=reference,
        reason="seen in the gateway's list",
    )


# ------------------------------------------------------------------------------------------------------------ events


def authorized(
    op: str | UUID,
    amounts: Amounts,
    after: MoneyTotals,
    gateway: str = "marketplace",
    reference: str | None = None,
    captured: bool = False,
    recorded: bool = False,
) -> Authorized:
    return Authorized(
        **_TO,
        operation_id=uid(op),
        authorization_id=uid(op),
        currency="EUR",
        capture_id=capture_id_of(uid(op)) if captured else None,
        gateway=gateway,
        lines=lines(amounts),
        amount_minor=total(amounts),
        totals=after,
        gateway_reference=reference or ("A-1" if gateway == "marketplace" else None),
        recorded=recorded,
    )


def captured(op: str, of: str, amounts: Amounts, after: MoneyTotals, reference: str | None = None) -> Captured:
    return Captured(
        **_TO,
        operation_id=uid(op),
        capture_id=uid(op),
        authorization_id=uid(of),
        currency="EUR",
        lines=lines(amounts),
        amount_minor=total(amounts),
        totals=after,
        gateway_reference=reference,
    )


def voided(
    op: str, of: str, amounts: Amounts, after: MoneyTotals, reference: str | None = None, pieces: int = 1
) -> Voided:
    released = tuple(line.model_copy(update={"quantity": pieces}) for line in lines(amounts))
    return Voided(
        **_TO,
        operation_id=uid(op),
        authorization_id=uid(of),
        currency="EUR",
        lines=released,
        amount_minor=total(amounts),
        totals=after,
        gateway_reference=reference,
    )


def refunded(op: str, of: str | UUID, amounts: Amounts, after: MoneyTotals, reference: str | None = None) -> Refunded:
    return Refunded(
        **_TO,
        operation_id=uid(op),
        refund_id=uid(op),
        capture_id=uid(of),
        currency="EUR",
        lines=lines(amounts),
        amount_minor=total(amounts),
        totals=after,
        gateway_reference=reference,
    )


def declined(op: str, amount: int, code: str, reason: str, after: MoneyTotals, currency: str = "EUR") -> Declined:
    return Declined(
        **_TO, operation_id=uid(op), currency=currency, totals=after, amount_minor=amount, code=code, reason=reason
    )


def failed(op: str, command: str, code: Any, after: MoneyTotals, of: str, **more: Any) -> Failed:
    return Failed(
        **_TO, operation_id=uid(op), command=command, code=code, totals=after, refers_to=uid(of),
        **{"currency": "EUR"} | more,
    )  # fmt: skip


def force_refused(op: str, target: str, code: Any, after: MoneyTotals, **more: Any) -> ForceRefused:
    return ForceRefused(
        **_TO, operation_id=uid(op), refers_to=uid(target), code=code, totals=after, **{"currency": "EUR"} | more
    )


def pending(
    op: str, command: str, amounts: Amounts, after: MoneyTotals, of: str | None = None, reference: str | None = "tg_1"
) -> Pending:
    return Pending(
        **_TO,
        operation_id=uid(op),
        command=command,
        currency="EUR",
        totals=after,
        since=NOW,
        refers_to=uid(of) if of else None,
        gateway="test",
        lines=lines(amounts),
        amount_minor=total(amounts),
        gateway_reference=reference,
    )


def asked(op: str, kind: Any, amounts: Amounts, of: str | None = None, pieces: int = 1) -> Asked:
    held = tuple(line.model_copy(update={"quantity": pieces}) for line in lines(amounts))
    return Asked(
        **_TO,
        operation_id=uid(op),
        kind=kind,
        gateway="test",
        currency="EUR",
        refers_to=uid(of) if of else None,
        lines=held,
        amount_minor=total(amounts),
    )


def postponed(op: str, of: str, amounts: Amounts | None = None) -> VoidPostponed:
    named = lines(amounts) if amounts is not None else ()
    return VoidPostponed(**_TO, operation_id=uid(op), authorization_id=uid(of), lines=named)


def forced(op: str, target: str, outcome: Any, before: MoneyTotals, reference: str | None = None) -> Forced:
    return Forced(
        **_TO,
        operation_id=uid(op),
        currency="EUR",
        totals=before,
        target_operation_id=uid(target),
        outcome=outcome,
        reference=reference,
        reason="seen in the gateway's list",
        actor="api-key:desk",
    )


def record_refused(
    kind: Any, payment_id: str, code: Any, reason: str, after: MoneyTotals, op: str = "op", **more: Any
) -> RecordRefused:
    return RecordRefused(
        **_TO, operation_id=uid(op), command=kind, system="psp", payment_id=payment_id, code=code, reason=reason, totals=after,
        **{"currency": "EUR"} | more,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- tasks and reports


def call(
    op: str, kind: Any, amount: int, of: str | UUID | None = None, ask_only: bool = False, capture: bool = False
) -> GatewayCall:
    return GatewayCall(
        **_TO,
        operation_id=uid(op),
        gateway="test",
        kind=kind,
        currency="EUR",
        amount_minor=amount,
        refers_to=uid(of) if of else None,
        reference="A-1" if kind == "authorize" else None,
        ask_only=ask_only,
        capture=capture,
    )


def calls(op: str, kind: Any, amount: int, of: str | None = None) -> Task:
    return task(call(op, kind, amount, of))


def goes_on_asking(op: str, kind: Any, amount: int, of: str | None = None) -> Task:
    return follow_up(call(op, kind, amount, of))


def report(asked_for: GatewayCall, state: Any, reference: str | None = "tg_1", **more: Any) -> Reported:
    outcome = GatewayOutcome(state=state, gateway_reference=reference, **more)
    return Reported(task_id=asked_for.operation_id, kind="gateway", asked=asked_for, outcome=outcome)


def bare(effects: Iterable[Effect]) -> list[Effect]:
    """Calls without what the ledger adds from other operations: test_payments_calls.py is about that."""
    added = {"source": None, "left_minor": None, "reported_as": None}
    return [
        replace(effect, body=effect.body.model_copy(update=added))
        if isinstance(effect, Task) and isinstance(effect.body, GatewayCall)
        else effect
        for effect in effects
    ]


def tasks_of(effects: Iterable[Effect]) -> list[Task]:
    return [effect for effect in effects if isinstance(effect, Task)]
