"""The engine: it moves the processes of an order from step to step, for one message. `statements` is what it may state.

The engine runs every kind that is declared (`process`, `processes`); it has no rule of one kind. Silence is not a no: the same
operation is asked again, with growing pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from contracts.base import Event
from contracts.deciding import Context, Decision, Effect, Folded
from contracts.orders import (
    Completed,
    Retried,
    StepFailed,
    WaitingChanged,
)
from orders.domain.content.facts import learnt
from orders.domain.engine.process import Past, Processes, Step
from orders.domain.engine.statements import Statements
from orders.domain.state.order import (
    Order,
    ProcessClosed,
    Progressed,
    has_shipped,
    is_fully_paid,
    is_invoiced,
)
from orders.domain.state.run import Ask, Run, last_number

ASK_AGAIN_FIRST_SECONDS = 30
ASK_AGAIN_MAX_SECONDS = 900
NO_ANSWER_AFTER_ASKS = 5
"""Asked so often without an answer, an order is shown as waiting for `no_answer`; it goes on asking."""
STOCK_AGAIN_MAX_SECONDS = 900
SHORT: Final = "out_of_stock"
"""The detail of a process that waits for stock, also while it asks again."""
ENDED_KEPT = 5
"""Processes of a kind that have ended and stay in the order's document, where its kind lets the others leave."""


def waits_for(run: Run) -> str:
    """One word: what a process waits for; `no_answer` when it has asked in vain for long."""
    if run.end:
        return ""
    if run.waits == "answer" and run.asks >= NO_ANSWER_AFTER_ASKS:
        return "no_answer"
    return run.waits


def stuck(run: Run | None) -> Literal["stock", "no_answer"] | None:
    """What a process waits for that only `WaitingChanged` states; null: nothing of the kind. It waits for stock until the answer
    to the next attempt: an attempt that is refused again changes nothing for a reader."""
    match waits_for(run) if run is not None else "":
        case "stock" | "no_answer" as word:
            return word
        case "answer" if run is not None and run.detail == SHORT:
            return "stock"
        case _:
            return None


class Story(Statements):
    """An order and what a message does to it: the engine moves its processes. `decision` closes the story."""

    def __init__(self, order: Order, context: Context, kinds: Processes) -> None:
        super().__init__(order, context)
        self.kinds = kinds
        self._asked = 0
        self.approving: UUID | None = None
        """The operation of the approve that is handled."""

    # -- the engine ---------------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """Begins a process. Those that it pauses or suspends are asked on only until the outcome of what they asked is
        recorded."""
        if self.kinds.excluded(run.kind, self.runs):
            raise RuntimeError(f"{run.id} may not begin beside {', '.join(self.runs)}")
        for other in list(self.runs.values()):
            if not other.end and other.due_at is not None and self.kinds.pauses(other, run):
                undo = self.kinds.step_of(other).undo
                if undo is not None and undo.decides:
                    self._accept(other)
        self._let_go(run.kind)
        self.runs[run.id] = run
        self._move_on(run)

    def next_id(self, kind: str) -> str:
        """The id of the next process of a kind of which an order may have many."""
        return f"{kind}:{last_number(self.runs.values(), kind) + 1}"

    def _let_go(self, kind: str) -> None:
        """The ended processes of a kind leave the order's document, but for the latest: it does not grow with each."""
        leaves = self.kinds[kind].leaves
        if leaves is None:
            return
        ended = [run for run in self.runs.values() if run.end and run.kind == kind]
        for run in ended[: max(len(ended) - ENDED_KEPT, 0)]:
            if any(ask.run == run.id and not ask.answer for ask in self.asks.values()):
                continue
            if (stays := leaves(self, run)) is None:
                continue
            self.record(
                ProcessClosed(
                    order_id=self.context.key, store_id=self.order.store_id, operation_id=stays.request_id, run=run,
                    outcome=stays.outcome, unstated_minor=stays.unstated_minor,
                )
            )  # fmt: skip
            del self.runs[run.id]
            self.asks = {name: ask for name, ask in self.asks.items() if ask.run != run.id}

    def is_paused(self, run: Run) -> bool:
        """Whether it is paused or suspended."""
        return self.kinds.paused(run, self.runs)

    def resume(self, ended: Run) -> None:
        """A process that paused others was refused, or one that suspended them has ended: they go on."""
        for name in list(self.runs):
            if (run := self.runs.get(name)) is None:
                continue  # what has gone on before it let it leave
            suspended = self.kinds.suspends(run, ended)
            if run.end or not (suspended or self.kinds.pauses(run, ended)) or self.is_paused(run):
                continue
            if suspended:
                run = self._timed_anew(run)
            self._go_on(run)

    def _timed_anew(self, run: Run) -> Run:
        """After a suspension the market's patience begins anew, and a timer that would have fired meanwhile fires soon."""
        now = self.context.now
        if run.waits in ("answer", "stock"):
            run = self.set(run, since=now)
        if run.due_at is None:
            return run
        soon, ends = now + timedelta(seconds=1), self.patience_ends(run)
        due_at = max(run.due_at, soon)
        return self.set(run, due_at=due_at if ends is None else max(min(due_at, ends), soon))

    def _go_on(self, run: Run) -> None:
        """What it was answered meanwhile moves it on now; a step that it has reached meanwhile is asked."""
        ask = self.asks.get(str(run.operation_id))
        if ask is not None and ask.answer:
            step = self.kinds[run.kind].step(run.step)
            answers = [step.yes, *step.no] if step.yes is not None else []
            answer = next(model for model in answers if ask.answer == model.TYPE)
            self._answer(run, step, answer, Past(ask.operation_id, ask.code))
        elif run.operation_id is None and (not run.waits or self._has_come(run)):
            self.enter_anew(run)

    def _has_come(self, run: Run) -> bool:
        """Whether that is there which its step waits for and which comes by itself. What a person decides is left to them."""
        return run.waits in ("outcomes", "invoice") and self.kinds.step_of(run).skip(self, run)

    def _move_on(self, run: Run) -> None:
        onward = self.kinds[run.kind].onward
        onward(self) if onward else self.advance(run.id)

    def pass_step(self, run: Run) -> None:
        """A person ends a step that sends no command."""
        self.kinds.step_of(run).then(self, run, None)
        self._move_on(run)

    def end(self, run: Run) -> None:
        run = self.set(run, end="done", waits="", operation_id=None, due_at=None)
        self.kinds[run.kind].ended(self, run)
        self.resume(run)

    def advance(self, run_id: str) -> None:
        """Enter the next step that is not left out; end the process after the last."""
        run = self.runs[run_id]
        self._enter(run, self.kinds[run.kind].after(run.step))

    def _enter(self, run: Run, steps: Sequence[Step]) -> None:
        """Enter the first of these steps that is not left out. A suspended process waits at the first, and asks nothing."""
        for step in steps:
            run = self.set(
                run, step=step.name, since=self.context.now, operation_id=None, asks=0, interim=False, due_at=None,
                waits="", detail="",
            )  # fmt: skip
            if self.kinds.suspended(run, self.runs):
                return
            if step.skip(self, run):
                step.then(self, run, None)
                run = self.runs[run.id]
                continue
            if step.ask is not None:
                self.ask(run, step)
            else:
                self.set(run, waits=step.waits, due_at=step.until(self, run))
            return
        process = self.kinds[run.kind]
        if process.again(self, run):
            self._enter(self.runs[run.id], process.steps)
        else:
            self.end(run)

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

    def ask_anew(self, run: Run) -> None:
        """Ask its step as a new operation; a suspended process does so when it goes on."""
        if self.kinds.suspended(run, self.runs):
            self.set(run, operation_id=None, due_at=None, waits="")
        else:
            self.ask(run, self.kinds.step_of(run))

    def enter_anew(self, run: Run) -> None:
        """Enter its step once more: by what is sold now it may be left out."""
        self._enter(run, (self.kinds.step_of(run), *self.kinds[run.kind].after(run.step)))

    def enter_first(self, run: Run) -> None:
        """Enter its first step that is not left out, once more."""
        self._enter(run, self.kinds[run.kind].steps)

    def ask_again(self, run: Run) -> None:
        """The same operation once more: no answer is lag, a parked message or an outage, never a no."""
        pause = min(ASK_AGAIN_FIRST_SECONDS * 2 ** min(run.asks, 10), ASK_AGAIN_MAX_SECONDS)
        self.repeat(self.set(run, asks=run.asks + 1, due_at=self.due(run, pause)))

    def repeat(self, run: Run) -> None:
        """Sends what it asked last once more, as the same operation."""
        step = self.kinds.step_of(run)
        assert step.ask is not None and run.operation_id is not None
        self.send(step.ask(self, run, run.operation_id))

    def due(self, run: Run, pause_seconds: int) -> datetime:
        """After the pause, or when the market's patience ends if that comes first."""
        after_pause = self.context.now + timedelta(seconds=pause_seconds)
        ends = self.patience_ends(run)
        return after_pause if ends is None else max(min(after_pause, ends), self.context.now + timedelta(seconds=1))

    def patience_ends(self, run: Run) -> datetime | None:
        """When the market gives up on this step. Never if something has shipped, nor while it is suspended, nor after one undo
        was begun."""
        patience = self.order.market.give_up_after_seconds if self.order.market else None
        if patience is None or not self.kinds[run.kind].patience or self.has_shipped:
            return None
        if any(self.kinds.pauses(run, other) for other in self.runs.values()) or self.is_paused(run):
            return None
        return run.since + timedelta(seconds=patience)

    @property
    def has_shipped(self) -> bool:
        return has_shipped(self.order, self.facts)

    def answered(self, event: Event, *, code: str = "") -> None:
        """An answer finds its process by its operation; the first final one counts."""
        operation = str(event.operation_id)
        ask = self.asks.get(operation)
        if ask is None or ask.answer:
            return
        run = self.runs[ask.run]
        step = self.kinds[run.kind].step(ask.step)
        if step.yes is not type(event) and type(event) not in step.no:
            return
        self.asks[operation] = ask.model_copy(update={"answer": event.TYPE, "code": code})
        if run.operation_id != ask.operation_id:
            return
        run = self.set(run, due_at=None, waits="")
        if self.is_paused(run):
            return  # the fact is recorded: the process that pauses it decides what it means, or it goes on later
        self._answer(run, step, type(event), event)

    def _answer(self, run: Run, step: Step, answer: type[Event], event: Event | Past) -> None:
        if answer is step.yes:
            step.then(self, run, event)
            self._move_on(self.runs[run.id])
        else:
            step.no[answer](self, run, event)

    def accepted(self, event: Event) -> None:
        """Whoever was asked has accepted it and answers when it is done: it is not asked again."""
        ask = self.asks.get(str(event.operation_id))
        if ask is not None and not ask.answer and (run := self.runs[ask.run]).operation_id == ask.operation_id:
            self._accept(run)

    def _accept(self, run: Run) -> None:
        self.set(run, waits=self.kinds.step_of(run).waits, due_at=None)

    def step_failed(self, run: Run, code: str, reason: str) -> None:
        """A refusal that a person resolves: retry (a new operation) or cancel."""
        run = self.set(run, waits="person", operation_id=None, due_at=None, detail=code)
        self.state(StepFailed, process=run.id, step=run.step, code=code[:500], reason=reason[:500])

    def retry(self, run: Run, answers: UUID) -> None:
        """Asks its step anew; one that has nothing left to ask for by now is left out."""
        self.state(Retried, process=run.id, step=run.step, answers=answers)
        run = self.set(run, since=self.context.now, detail="")
        if self.kinds.step_of(run).skip(self, run):
            self.enter_anew(run)
        else:
            self.ask_anew(run)

    # -- the end of the story -----------------------------------------------------------------------------------------

    def decision(self, *more: Effect) -> Decision:
        """Everything decided, in order: public events, how far the processes are, commands, `more`; and the order after it."""
        self._complete()
        before = self.order
        runs = tuple(run for run in self.runs.values() if before.runs.get(run.id) != run)
        for run in runs:
            if (word := stuck(run)) != stuck(before.runs.get(run.id)):
                self.state(WaitingChanged, process=run.id, step=run.step, waiting=word, since=run.since)
        asks = tuple(ask for name, ask in self.asks.items() if before.asks.get(name) != ask)
        facts = learnt(before.facts, self.facts) if self.facts is not before.facts else None
        if runs or asks or facts is not None or self.source is not None:
            self.record(
                Progressed(
                    order_id=self.context.key,
                    store_id=before.store_id,
                    runs=runs,
                    asks=asks,
                    learnt=facts,
                    source=self.source,
                )
            )
        effects = [*self._effects, *self._commands, *more]
        return Folded(effects, self.order) if effects else []

    def _complete(self) -> None:
        """Approved, paid or free, fulfilled or nothing to ship, and invoiced where something was captured."""
        order = self.order
        if order.status != "approved" or order.completed_at is not None or order.content is None:
            return
        if "place" not in self.runs:
            return  # the marketplace carried it through without us
        if order.fulfillment_status not in ("fulfilled", "not_required"):
            return
        if not is_fully_paid(order, self.facts.money):
            return
        if any(not run.end and self.kinds[run.kind].delays_completion for run in self.runs.values()):
            return
        if not is_invoiced(order) or all(
            one.invoice_id or not one.to_invoice_minor for one in self.facts.captures.values()
        ):
            self.state(
                Completed,
                completed_at=self.context.now,
                grand_minor=order.grand_minor or 0,
                currency=order.content.currency,
            )
