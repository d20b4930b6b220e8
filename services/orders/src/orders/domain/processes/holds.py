"""How an order is held: it is asked nothing further, ships nothing and captures nothing until every hold is released.

The holds are data of the order, several at once. While there is one, a run of the kind `hold` is open: it suspends `place`
and `settle`, and the shipping of what the warehouse has started. A cancel goes its way, and ends the holds.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from contracts import fulfillment
from contracts.orders import WINDOW, Held, Released
from orders.domain.engine.process import Past, Process, Step
from orders.domain.engine.story import Story
from orders.domain.state.run import Run, RunData

KIND = "hold"


class HoldData(RunData):
    kind: Literal["hold"] = "hold"
    suspension_id: UUID | None = None
    """What the warehouse has to resume; null: nothing."""


def place(story: Story, reason: str, by: str, *, note: str = "", until: datetime | None = None,
          answers: UUID | None = None) -> None:  # fmt: skip
    """`answers`: the request for it; null if a rule places it."""
    story.state(
        Held, answers=answers, hold_id=story.context.new_id(f"hold {reason}"), reason=reason, note=note, placed_by=by,
        since=story.context.now, until=until,
    )  # fmt: skip
    run = story.runs.get(KIND)
    if run is None or run.end:
        story.begin(Run(id=KIND, data=HoldData(), since=story.context.now))
    else:
        _proceed(story)


def place_window(story: Story) -> None:
    """Holds an order that was just placed, if its market gives the buyer time to cancel."""
    assert story.order.market is not None
    if seconds := story.order.market.hold_window_seconds:
        place(story, WINDOW, "rule:window", until=story.context.now + timedelta(seconds=seconds))


def release(story: Story, hold_id: UUID, by: str, answers: UUID | None = None) -> None:
    _state_released(story, hold_id, by, answers)
    _proceed(story)


def release_due(story: Story) -> None:
    """Releases the holds whose time is over."""
    for hold in list(story.order.holds.values()):
        if hold.until is not None and hold.until <= story.context.now:
            _state_released(story, hold.hold_id, "timer")
    _proceed(story)


def release_cancelled(story: Story) -> None:
    """Nothing is left of the order that could be held; its processes have ended."""
    for hold in list(story.order.holds.values()):
        _state_released(story, hold.hold_id, "rule:cancelled")


def _state_released(story: Story, hold_id: UUID, by: str, answers: UUID | None = None) -> None:
    story.state(Released, answers=answers, hold_id=hold_id, reason=story.order.holds[str(hold_id)].reason, actor=by)


def _proceed(story: Story) -> None:
    """Ends the wait for releases, or sets its timer anew. While a cancel is tried, the timer ends it afterwards."""
    run = story.runs.get(KIND)
    if run is None or run.waits != "hold":
        return
    if story.order.holds:
        story.set(run, due_at=_earliest_end(story, run))
    elif story.is_paused(run):
        story.set(run, due_at=story.context.now)
    else:
        story.pass_step(run)


# -- the process ------------------------------------------------------------------------------------------------------


def suspend(story: Story, run: Run, operation: UUID) -> fulfillment.Suspend:
    return fulfillment.Suspend(**story.addressed(operation))


def resume(story: Story, run: Run, operation: UUID) -> fulfillment.Resume:
    suspension_id = _data(run).suspension_id
    assert suspension_id is not None
    return fulfillment.Resume(**story.addressed(operation), suspension_id=suspension_id)


def nothing_to_suspend(story: Story, run: Run) -> bool:
    return not story.facts.start_asked or story.order.fulfillment_status == "fulfilled"


def nothing_held(story: Story, run: Run) -> bool:
    return not story.order.holds


def not_suspended(story: Story, run: Run) -> bool:
    return _data(run).suspension_id is None


def suspended(story: Story, run: Run, event: fulfillment.Suspended | Past | None) -> None:
    if event is not None:
        story.set_data(run, suspension_id=event.operation_id)


def resumed(story: Story, run: Run, event: fulfillment.Resumed | Past | None) -> None:
    """A hold that was placed meanwhile suspends the warehouse again."""
    run = story.set_data(run, suspension_id=None)
    if story.order.holds:
        story.set(run, step="")


def look_again(story: Story, run: Run, event: Any = None) -> None:
    release_due(story)


def _earliest_end(story: Story, run: Run) -> datetime | None:
    return min((hold.until for hold in story.order.holds.values() if hold.until is not None), default=None)


def _data(run: Run) -> HoldData:
    assert isinstance(run.data, HoldData)
    return run.data


# fmt: off
HOLD = Process("hold", HoldData, (
    #    step       command      yes                        left out when            waits for       its timer                                    its end
    Step("suspend", ask=suspend, yes=fulfillment.Suspended, skip=nothing_to_suspend,                                                              then=suspended),
    Step("release", ask=None,    yes=None,                  skip=nothing_held,       waits="hold",   until=_earliest_end, expired=look_again),
    Step("resume",  ask=resume,  yes=fulfillment.Resumed,   skip=not_suspended,                                                                   then=resumed),
), patience=False)
# fmt: on
