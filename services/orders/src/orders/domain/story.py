"""One message's decision in the making: what is decided so far, and the engine that moves processes from step to step.

A process kind is declared on one screen (`place`, `settle`, `undo`). A `Step` says what we ask, which answer moves on, what
a no leads to, and when the step is left out. Silence is not a no: the same operation is asked again, with growing pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

from contracts.base import Command, Event
from contracts.deciding import Context, Effect
from contracts.orders import (
    CHANGES_MAX,
    Change,
    Completed,
    Edited,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    FulfillmentStatus,
    Held,
    MarketTerms,
    Noted,
    OrderEvent,
    PaymentChanged,
    Reinstated,
    Resolve,
    Resumed,
    Status,
)
from contracts.snapshot import OrderContent, Source
from orders.domain.order import (
    Ask,
    Facts,
    MarketKey,
    Merged,
    Order,
    Progressed,
    Run,
    Stated,
    Waits,
    evolve,
    has_shipped,
    is_invoiced,
    learnt,
    payment_status,
    sold,
)

E = TypeVar("E", bound=OrderEvent)

ASK_AGAIN_FIRST_SECONDS = 30
ASK_AGAIN_MAX_SECONDS = 900
NO_ANSWER_AFTER_ASKS = 5
"""Asked so often without an answer, an order is shown as waiting for `no_answer`; it goes on asking."""
STOCK_AGAIN_MAX_SECONDS = 900


@dataclass(frozen=True)
class Past:
    """Stands for an answer that came while a cancel was open, when it is taken up after the cancel was refused."""

    code: str
    reason: str = ""


@dataclass(frozen=True)
class Step:
    """A row of a process: we ask, `yes` moves on, `no` leads to, `skip` leaves it out, `waits` is shown meanwhile."""

    name: str
    ask: Callable[[Story, Run, UUID], Command] | None
    yes: type[Event] | None
    no: Mapping[type[Event], Callable[[Story, Run, Any], None]] = field(default_factory=dict)
    skip: Callable[[Story, Run], bool] = lambda story, run: False
    waits: Waits = "answer"
    then: Callable[[Story, Run], None] = lambda story, run: None
    """What the step's end means for the order as a whole."""


@dataclass(frozen=True)
class Process:
    kind: str
    steps: tuple[Step, ...]
    onward: Callable[[Story], None] | None = None
    """What follows a yes, where it is not simply the next step."""

    def __post_init__(self) -> None:
        for step in self.steps:
            if (step.ask is None) != (step.yes is None):
                raise TypeError(f"{self.kind}.{step.name}: who asks waits for a yes, and nobody else does")
            if step.ask is None and step.waits in ("", "answer"):
                raise TypeError(f"{self.kind}.{step.name} asks nobody: it must say what it waits for")

    @cached_property
    def _by_name(self) -> Mapping[str, Step]:
        return {step.name: step for step in self.steps}

    @cached_property
    def _after(self) -> Mapping[str, tuple[Step, ...]]:
        names = ["", *self._by_name]
        return {name: self.steps[n:] for n, name in enumerate(names)}

    def step(self, name: str) -> Step:
        return self._by_name[name]

    def after(self, name: str) -> tuple[Step, ...]:
        """The steps behind `name`; all of them for ''."""
        return self._after[name]


class Story:
    """An order and what a message does to it. Changes are gathered; `effects` closes the story."""

    def __init__(self, order: Order, context: Context, kinds: Mapping[str, Process]) -> None:
        self.order, self.context, self.kinds = order, context, kinds
        self.runs: dict[str, Run] = dict(order.runs)
        self.asks: dict[str, Ask] = dict(order.asks)
        self.facts: Facts = order.facts
        self.source: Source | None = None
        self._effects: list[Effect] = []
        self._commands: list[Command] = []
        self._asked = 0
        self.approving: UUID | None = None
        """The operation of the approve that is obeyed."""

    # -- what a decision may do ---------------------------------------------------------------------------------------

    def state(self, model: type[E], *, status: Status | None = None, fulfillment: FulfillmentStatus | None = None,
              answers: UUID | None = None, **body: Any) -> None:  # fmt: skip
        """State a public event; statuses that are not given stay."""
        event = model(
            order_id=self.context.key,
            store_id=self.order.store_id,
            operation_id=answers,
            status=status or self.order.status,
            payment_status=payment_status(self.order, self.facts.money),
            fulfillment_status=fulfillment or self.order.fulfillment_status,
            **body,
        )
        self._effects.append(event)
        self.order = evolve(self.order, event)

    def send(self, command: Command) -> None:
        self._commands.append(command)

    def note(self, **facts: Any) -> None:
        self.facts = self.facts.model_copy(update=facts)

    def set(self, run: Run, **change: Any) -> Run:
        run = run.model_copy(update=change)
        self.runs[run.id] = run
        return run

    def raise_exception(self, code: str, detail: str, difference: Sequence[Change] = ()) -> None:
        """Raises it once per code until it is resolved."""
        if code not in self.order.exceptions:
            self.state(
                ExceptionRaised, exception_id=self.context.new_id(f"exception {code}"), code=code, detail=detail[:500],
                since=self.context.now, difference=tuple(difference[:CHANGES_MAX]),
                changes_more=max(len(difference) - CHANGES_MAX, 0),
            )  # fmt: skip

    def resolve_exception(self, code: str, by: Resolve | None = None) -> None:
        """`by`: the request of the person who decided; without it, the cause is gone."""
        if (known := self.order.exceptions.get(code)) is None:
            return
        if by is None:
            self.state(ExceptionResolved, exception_id=known.exception_id, code=code)
            return
        self.state(
            ExceptionResolved, answers=by.operation_id, exception_id=known.exception_id, code=code,
            resolution=by.resolution, actor=by.actor, reason=by.reason,
        )  # fmt: skip

    def add_note(self, code: str, detail: str) -> None:
        if code not in self.order.notes:
            self.state(Noted, code=code, detail=detail[:500])

    def take_over(self, content: OrderContent) -> None:
        """Content that changes neither goods nor money; nothing is published."""
        if content != self.order.content:
            self._fold(Merged(**self._private(), order=content))

    def record_stated(self, content: OrderContent | None) -> None:
        """What the marketplace states and the order does not take over; null: there is no such difference."""
        if content != self.order.stated:
            self._fold(Stated(**self._private(), order=content))

    def _private(self) -> dict[str, Any]:
        source = self.source or self.order.source
        return {"order_id": self.context.key, "store_id": self.order.store_id, "source": source}

    def _fold(self, event: Merged | Stated) -> None:
        self._effects.append(event)
        self.order = evolve(self.order, event)
        self.source = None

    def edit(self, content: OrderContent, market: MarketTerms, *, status: Status, fulfillment: FulfillmentStatus,
             answers: UUID | None = None) -> None:  # fmt: skip
        """What was sold, and the terms, before the order was placed."""
        self.order = self.order.model_copy(update=sold(content))  # a free order is free at once
        terms = None if market == self.order.market else market
        source = self.source or self.order.source
        self.state(
            Edited, status=status, fulfillment=fulfillment, answers=answers, source=source, order=content, market=terms
        )
        self.source = None

    def reinstate(self, content: OrderContent, *, status: Status, fulfillment: FulfillmentStatus) -> None:
        """Places a cancelled order anew. The undo has ended."""
        facts = self.facts.model_copy(update={"undone": self.facts.money})
        self.order = self.order.model_copy(update={"facts": facts, **sold(content)})
        self.state(
            Reinstated, status=status, fulfillment=fulfillment, source=self.source or self.order.source, order=content
        )
        self.runs, self.asks, self.facts = {}, {}, self.order.facts

    def payment_changed(self) -> None:
        if self.facts.money != self.order.facts.money:
            assert self.order.content is not None
            self.state(PaymentChanged, currency=self.order.content.currency, totals=self.facts.money)

    def fulfillment_changed(self, status: FulfillmentStatus) -> None:
        shipments = self.facts.shipments.values()
        self.state(
            FulfillmentChanged,
            fulfillment=status,
            shipments_open=sum(shipment.status == "picking" for shipment in shipments),
            shipments_shipped=sum(shipment.status in ("shipped", "delivered") for shipment in shipments),
        )

    @property
    def terms(self) -> MarketTerms:
        """The present terms of the order's market, where they were loaded; else those that the order has."""
        order = self.order
        assert order.source is not None and order.market is not None
        key = MarketKey(order.store_id, order.source.channel, order.source.account)
        return self.context.shares.get(key) or order.market

    # -- the engine ---------------------------------------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """While an undo runs nothing else moves on; what is open is waited for."""
        undo = self.runs.get("undo")
        return undo is not None and undo.end != "refused"

    def begin(self, run: Run) -> None:
        self.runs[run.id] = run
        self.advance(run.id)

    def advance(self, run_id: str) -> None:
        """Enter the next step that is not left out; end the process after the last."""
        run = self.runs[run_id]
        process = self.kinds[run.kind]
        for step in process.after(run.step):
            run = self.set(
                run, step=step.name, since=self.context.now, operation_id=None, asks=0, interim=False, due_at=None,
                waits="", detail="",
            )  # fmt: skip
            if step.skip(self, run):
                step.then(self, run)
                run = self.runs[run_id]
                continue
            if step.ask is not None:
                self.ask(run, step)
            else:
                self.set(run, waits=step.waits)
            return
        self.set(run, end="done", waits="", operation_id=None, due_at=None)

    def ask(self, run: Run, step: Step) -> Run:
        """Ask as a new operation."""
        assert step.ask is not None
        self._asked += 1
        operation = self.context.new_id(f"{run.id} {step.name} {self._asked}")
        self.asks[str(operation)] = Ask(operation_id=operation, run=run.id, step=step.name, asked_at=self.context.now)
        run = self.set(
            run, operation_id=operation, asks=1, interim=False, due_at=self.due(run, ASK_AGAIN_FIRST_SECONDS),
            waits="answer",
        )  # fmt: skip
        self.send(step.ask(self, run, operation))
        return run

    def ask_again(self, run: Run) -> None:
        """The same operation once more: no answer is lag, a parked message or an outage, never a no."""
        step = self.kinds[run.kind].step(run.step)
        assert step.ask is not None and run.operation_id is not None
        pause = min(ASK_AGAIN_FIRST_SECONDS * 2 ** min(run.asks, 10), ASK_AGAIN_MAX_SECONDS)
        run = self.set(run, asks=run.asks + 1, due_at=self.due(run, pause))
        assert run.operation_id is not None
        self.send(step.ask(self, run, run.operation_id))

    def due(self, run: Run, pause_seconds: int) -> datetime:
        """After the pause, or when the market's patience ends if that comes first."""
        after_pause = self.context.now + timedelta(seconds=pause_seconds)
        ends = self.patience_ends(run)
        return after_pause if ends is None else max(min(after_pause, ends), self.context.now + timedelta(seconds=1))

    def patience_ends(self, run: Run) -> datetime | None:
        """When the market gives up on this step. An undo is never given up, nor what has shipped, nor an order twice."""
        patience = self.order.market.give_up_after_seconds if self.order.market else None
        if patience is None or "undo" in self.runs or self.has_shipped:
            return None
        return run.since + timedelta(seconds=patience)

    @property
    def has_shipped(self) -> bool:
        return has_shipped(self.order, self.facts)

    def answered(self, event: Event, *, code: str = "") -> None:
        """An answer finds its process by its operation; the first final one counts."""
        ask = self.asks.get(str(event.operation_id))
        if ask is None or ask.answer:
            return
        run = self.runs[ask.run]
        step = self.kinds[run.kind].step(ask.step)
        if step.yes is not type(event) and type(event) not in step.no:
            return
        self.asks[str(ask.operation_id)] = ask.model_copy(update={"answer": event.TYPE, "code": code})
        if run.operation_id != ask.operation_id:
            return
        run = self.set(run, due_at=None, waits="")
        if self.halted and run.kind != "undo":
            return  # the fact is noted; the undo decides what it means
        self._move(run, step, type(event), event)

    def _move(self, run: Run, step: Step, answer: type[Event], event: Event | Past) -> None:
        if answer is step.yes:
            step.then(self, run)
            onward = self.kinds[run.kind].onward
            onward(self) if onward else self.advance(run.id)
        else:
            step.no[answer](self, run, event)

    def go_on(self) -> None:
        """After a refused cancel: what was answered meanwhile moves on now."""
        for run in [run for run in self.runs.values() if not run.end and run.kind != "undo"]:
            ask = self.asks.get(str(run.operation_id))
            if ask is None or not ask.answer:
                continue
            step = self.kinds[run.kind].step(run.step)
            answers = [step.yes, *step.no] if step.yes is not None else []
            answer = next(model for model in answers if ask.answer == model.TYPE)
            self._move(run, step, answer, Past(ask.code))

    def hold(self, run: Run, code: str, reason: str) -> None:
        """A refusal that a person has to look at: resume (a new operation) or cancel."""
        run = self.set(run, waits="person", operation_id=None, due_at=None, detail=code)
        self.state(Held, process=run.id, step=run.step, code=code[:500], reason=reason[:500])

    def resume(self, run: Run, answers: UUID) -> None:
        self.state(Resumed, process=run.id, step=run.step, answers=answers)
        run = self.set(run, since=self.context.now, detail="")
        self.ask(run, self.kinds[run.kind].step(run.step))

    # -- the end of the story -----------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """Everything decided, in order: public events, where the processes stand, commands."""
        self._complete()
        before = self.order
        runs = tuple(run for run in self.runs.values() if before.runs.get(run.id) != run)
        asks = tuple(ask for name, ask in self.asks.items() if before.asks.get(name) != ask)
        facts = learnt(before.facts, self.facts) if self.facts is not before.facts else None
        if runs or asks or facts is not None or self.source is not None:
            self._effects.append(
                Progressed(
                    order_id=self.context.key,
                    store_id=before.store_id,
                    runs=runs,
                    asks=asks,
                    learnt=facts,
                    source=self.source,
                )
            )
        return [*self._effects, *self._commands]

    def _complete(self) -> None:
        """Approved, paid or free, fulfilled or nothing to ship, and invoiced where something was captured."""
        order = self.order
        if order.status != "approved" or order.completed_at is not None or self.halted or order.content is None:
            return
        if "place" not in self.runs:
            return  # the marketplace carried it through without us
        if order.fulfillment_status not in ("fulfilled", "not_required"):
            return
        if payment_status(order, self.facts.money) not in ("paid", "free") or any(
            not run.end for run in self.runs.values()
        ):
            return
        if not is_invoiced(order) or all(
            one.invoice_id or one.refunded_minor >= one.amount_minor for one in self.facts.captures.values()
        ):
            self.state(
                Completed,
                completed_at=self.context.now,
                grand_minor=order.grand_minor or 0,
                currency=order.content.currency,
            )
