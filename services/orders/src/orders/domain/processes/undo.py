"""How an order is undone. The steps are those that the other processes declare as the undo of their own, in reverse.

First comes the undo that decides, the point of no return: shipping, which only fulfillment can decide once a start is asked.
Its refusal refuses the cancel and the order goes on; money moves only after `cancelled`. Then the outcomes of everything that
was asked are awaited. Then each undo is asked, one at a time, until nothing of it is left.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from contracts.base import Open
from contracts.orders import CancelCause, Cancelled, CancelRefused, Retried
from orders.domain.content.snapshots import wholly_cancelled
from orders.domain.engine.process import Process, Undo
from orders.domain.engine.story import Story
from orders.domain.processes import differences, holds
from orders.domain.state.run import Run, RunData

KIND: Final = "undo"
OUTLIVES: Final = frozenset(
    {"books_differ", "captured_after_cancel", "order_reinstated", "outcome_contradicted", "payment_disputed"}
)
"""Exceptions that a cancel does not end: the order may be placed anew, and money may have moved that no undo has returned."""


class UndoData(RunData):
    kind: Literal["undo"] = "undo"
    cause: Annotated[CancelCause, Open()]
    cancel_operation_id: UUID | None = None
    """The request that it answers; null if no request caused it."""
    certain: bool = False
    """It cannot be refused, even if something has shipped: all the money has come back."""
    accepted: tuple[str, ...] = ()
    """The exceptions whose difference it carries out."""
    left: int = 0
    """How much was left to undo when the present step was asked: an answer that leaves as much needs a person."""


def derived(*processes: Process, last: Undo) -> Process:
    """The process that undoes these. last: the undo of no single step, which comes after all others."""
    undos = [step.undo for process in processes for step in process.steps if step.undo is not None]
    deciding = [undo for undo in undos if undo.decides]
    rest = [undo for undo in reversed(undos) if not undo.decides]
    return Process(KIND, UndoData, (*deciding, OUTCOMES, *rest, last), ended=_ended, onward=proceed, patience=False)


def _open(story: Story) -> int:
    """Operations of paused processes that are not answered. The undo that decides also answers the step that it undoes."""
    return sum(not ask.answer and _awaited(story, story.runs[ask.run], ask.step) for ask in story.asks.values())


def _awaited(story: Story, run: Run, name: str) -> bool:
    undo = story.kinds[run.kind].step(name).undo
    return run.kind != KIND and not (undo is not None and undo.decides)


OUTCOMES: Final = Undo("outcomes", ask=None, yes=None, waits="outcomes", left=_open)


def is_running(story: Story) -> bool:
    """An undo runs, or has undone the order."""
    run = story.runs.get(KIND)
    return run is not None and run.end != "refused"


def has_ended(story: Story) -> bool:
    """An undo has undone the order: it gives nothing back that comes after it."""
    run = story.runs.get(KIND)
    return run is not None and run.end == "done"


def begin(
    story: Story, cause: CancelCause, operation: UUID | None = None, *, certain: bool = False, accepted: tuple[str, ...] = ()
) -> None:  # fmt: skip
    """Accepts a cancel. The order is cancelled at once if there is nothing that could refuse it."""
    data = UndoData(cause=cause, cancel_operation_id=operation, certain=certain, accepted=accepted)
    if not any(undo.left(story) for undo in _steps(story) if undo.decides):
        _cancel(story, data)
    story.begin(Run(id=KIND, data=data, since=story.context.now))


def decided(story: Story, run: Run) -> None:
    """The undo can no longer be refused."""
    _cancel(story, data_of(run))


def refuse(story: Story, run: Run) -> None:
    """Ends the undo; what it paused goes on."""
    data = data_of(run)
    run = story.set(run, end="refused", waits="", operation_id=None, due_at=None)
    story.state(CancelRefused, answers=data.cancel_operation_id)
    stated, reinstated = story.order.stated, "order_reinstated" in story.order.exceptions
    story.resolve_exception("order_reinstated")  # it was never cancelled
    if stated is not None and wholly_cancelled(stated):
        differences.compare_late_cancel(story, stated, before={})
    elif stated is not None and reinstated:
        differences.compare_anew(story, stated)
    else:
        differences.raise_refused(story, data.accepted, "order_shipped", "something has shipped")
    story.resume(run)


def step_refused(story: Story, run: Run, event: Any) -> None:
    """A final refusal of an undo: it waits for a person, who retries when the cause is fixed."""
    story.step_failed(run, getattr(event, "code", "refused"), getattr(event, "reason", ""))


def proceed(story: Story) -> None:
    """Asks for the first undo of which something is left; ends when nothing is. Called after every message of an undo."""
    run = story.runs.get(KIND)
    if run is None or run.end or _is_asked(story, run) or _waits_for_a_person(story, run):
        return
    for step in _steps(story):
        left = step.left(story)
        if not left:
            continue
        if step.ask is None:
            if run.step != step.name:
                run = _resumed(story, run)
                story.set(
                    run, step=step.name, waits=step.waits, since=story.context.now, operation_id=None, due_at=None
                )
        elif step.name == run.step and left >= data_of(run).left:  # to ask again would change nothing
            story.step_failed(run, "still_left", f"{step.name} was answered, and yet something is left")
        else:
            run = story.set(_resumed(story, run), step=step.name, since=story.context.now, detail="")
            story.ask(story.set_data(run, left=left), step)
        return
    story.end(story.set(run, step=""))


def _waits_for_a_person(story: Story, run: Run) -> bool:
    """A refused step; not if less is left than was asked for: a refund or a credit of someone else has come between."""
    step = story.kinds.step_of(run) if run.waits == "person" else None
    return isinstance(step, Undo) and step.left(story) >= data_of(run).left


def _resumed(story: Story, run: Run) -> Run:
    """A step that waited for a person goes on by itself, because less is left of it than was refused."""
    if run.waits == "person":
        story.state(Retried, process=run.id, step=run.step)
    return run


def _is_asked(story: Story, run: Run) -> bool:
    return run.operation_id is not None and not story.asks[str(run.operation_id)].answer


def _ended(story: Story, run: Run) -> None:
    for other in [one for one in story.runs.values() if not one.end]:
        story.set(other, end="undone", waits="", operation_id=None, due_at=None)
        story.kinds[other.kind].undone(story, story.runs[other.id])
    holds.release_cancelled(story)
    for code in story.order.exceptions:
        if code not in OUTLIVES:  # every other one is about an order of which nothing is left
            story.resolve_exception(code)


def _cancel(story: Story, data: UndoData) -> None:
    if story.order.status != "cancelled":
        story.state(
            Cancelled,
            status="cancelled",
            cause=data.cause,
            cancelled_at=story.context.now,
            answers=data.cancel_operation_id,
        )


def _steps(story: Story) -> list[Undo]:
    return [step for step in story.kinds[KIND].steps if isinstance(step, Undo)]


def data_of(run: Run) -> UndoData:
    assert isinstance(run.data, UndoData)
    return run.data
