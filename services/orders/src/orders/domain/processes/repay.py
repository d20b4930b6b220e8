"""How money goes back that no other process gives back: what was captured after the cancel, and what a gateway would not release.

One process for each capture or authorization of that kind: refund it, or void it. A refusal is shown to a person as an
exception. Where the gateway may do it later, it is asked again by itself, after pauses that grow; the exception ends with the money.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from contracts import payments
from contracts.payments import RECORDED
from orders.domain.content.facts import AuthorizationFact, CaptureFact
from orders.domain.engine.process import Closed, Past, Process, Step
from orders.domain.engine.story import Story
from orders.domain.processes import settle, undo
from orders.domain.state.run import Run, RunData

KIND: Final = "repay"
LATE: Final = "captured_after_cancel"
HELD: Final = "void_refused"
AGAIN_SECONDS_MIN, AGAIN_SECONDS_MAX = 60, 86_400


class RepayData(RunData):
    kind: Literal["repay"] = "repay"
    authorization_id: UUID | None = None
    """What is voided: all that is left of it."""
    capture_id: UUID | None = None
    """What is refunded: all that is left of it."""
    reason: str = ""
    """Why it was refused last."""


# -- the steps --------------------------------------------------------------------------------------------------------


def void(story: Story, run: Run, operation: UUID) -> payments.Void:
    authorization_id = data_of(run).authorization_id
    assert authorization_id is not None
    return payments.Void(**story.addressed(operation), authorization_id=authorization_id)


def nothing_to_void(story: Story, run: Run) -> bool:
    return not _held_minor(story, data_of(run))


def refund(story: Story, run: Run, operation: UUID) -> payments.Refund:
    capture_id = data_of(run).capture_id
    assert capture_id is not None
    return settle.refund_of(story, story.facts.captures[str(capture_id)], operation)


def nothing_to_refund(story: Story, run: Run) -> bool:
    return not _late_minor(story, data_of(run))


def refused(story: Story, run: Run, event: payments.Failed | Past) -> None:
    """Less may be left by now than was asked for: then that is asked for at once."""
    due_at = None
    if isinstance(event, payments.Failed) and event.later:
        lasted = (story.context.now - run.since).total_seconds()
        pause = min(max(lasted, AGAIN_SECONDS_MIN), AGAIN_SECONDS_MAX)
        due_at = story.context.now + timedelta(seconds=pause)
    run = story.set_data(run, reason=f"{event.code}: {event.reason}")
    story.set(run, waits="person", operation_id=None, due_at=due_at, detail=event.code)
    _state(story, _code(data_of(run)))


def ended(story: Story, run: Run) -> None:
    _state(story, _code(data_of(run)))


def leaves(story: Story, run: Run) -> Closed:
    return Closed()


# fmt: off
REPAY = Process(KIND, RepayData, (
    #    step      command     yes                    no -> what it causes           left out when
    Step("void",   ask=void,   yes=payments.Voided,   no={payments.Failed: refused}, skip=nothing_to_void),
    Step("refund", ask=refund, yes=payments.Refunded, no={payments.Failed: refused}, skip=nothing_to_refund),
), ended=ended, leaves=leaves, patience=False, delays_completion=False)
# fmt: on


# -- begin ------------------------------------------------------------------------------------------------------------


def find_late(story: Story) -> None:
    """Money of an order that is cancelled, and that no undo gives back any more, is the buyer's. What moves elsewhere is refunded by
    who moved it, so that a person is shown it at once."""
    if not undo.has_ended(story):
        return
    under_way = {data_of(run).capture_id for run in _open(story)}
    for capture in settle.unrefunded_captures(story):
        if capture.capture_id not in under_way:
            _begin(story, RepayData(capture_id=capture.capture_id))
    if story.order.market is not None and story.order.market.gateway == RECORDED:
        _state(story, LATE)


def find_held(story: Story, authorization_id: UUID) -> None:
    """What was authorized elsewhere after the order's undo has ended is voided: no other process does it."""
    fact = story.facts.authorizations.get(str(authorization_id))
    if undo.has_ended(story) and fact is not None and fact.left_minor:
        _begin(story, RepayData(authorization_id=authorization_id))


def void_refused(story: Story, event: payments.Failed) -> None:
    """A void that no process has asked for: payments asks for one by itself when a buyer has paid after the time for it was over,
    `rebill` when a difference is authorized anew."""
    fact = story.facts.authorizations.get(str(event.refers_to))
    if str(event.operation_id) in story.asks or fact is None or not fact.left_minor:
        return
    if fact.authorization_id not in {data_of(run).authorization_id for run in _open(story)}:
        _begin(story, RepayData(authorization_id=fact.authorization_id))


def _begin(story: Story, data: RepayData) -> None:
    story.begin(Run(id=story.next_id(KIND), data=data, since=story.context.now))


# -- go on ------------------------------------------------------------------------------------------------------------


def proceed(story: Story) -> None:
    """After an answer: what was refused may have gone back by another way."""
    for run in _open(story):
        data = data_of(run)
        if run.waits == "person" and not story.is_paused(run) and not _minor(story, data):
            story.enter_anew(run)


def again(story: Story, code: str, answers: UUID) -> None:
    """A person has it asked for again. The exception is open, as another one, until it is done."""
    for run in _open(story):
        if _code(data_of(run)) == code and run.waits == "person":
            story.retry(run, answers)
    if minor := sum(_minor(story, data_of(run)) for run in _open(story) if _code(data_of(run)) == code):
        story.raise_exception(code, f"{minor} minor units are asked for, and not given back yet")


def leave(story: Story, code: str) -> None:
    """A person leaves it to the gateway."""
    for run in _open(story):
        if _code(data_of(run)) == code:
            story.end(run)


def _state(story: Story, code: str) -> None:
    """The exception states all that waits for a person; without that, it ends."""
    runs = [run for run in _open(story) if _code(data_of(run)) == code]
    if code == LATE and story.order.market is not None and story.order.market.gateway == RECORDED:
        shown: Iterable[Run] = runs
    else:
        shown = [run for run in runs if run.waits == "person"]
    minor = sum(_minor(story, data_of(run)) for run in shown)
    reasons = "; ".join(dict.fromkeys(one.reason for run in shown if (one := data_of(run)).reason))
    what = "were captured after the cancel" if code == LATE else "are held"
    detail = f"{minor} minor units {what}" + (f" and not given back, {reasons}" if reasons else "")
    known = story.order.exceptions.get(code)
    if known is not None and (not minor or known.detail != detail[:500]):
        story.resolve_exception(code)
    if minor:
        story.raise_exception(code, detail)


def _open(story: Story) -> list[Run]:
    return [run for run in story.runs.values() if isinstance(run.data, RepayData) and not run.end]


def _code(data: RepayData) -> str:
    return HELD if data.authorization_id is not None else LATE


def _minor(story: Story, data: RepayData) -> int:
    return _held_minor(story, data) + _late_minor(story, data)


def _held_minor(story: Story, data: RepayData) -> int:
    fact: AuthorizationFact | None = story.facts.authorizations.get(str(data.authorization_id))
    return fact.left_minor if fact is not None else 0


def _late_minor(story: Story, data: RepayData) -> int:
    fact: CaptureFact | None = story.facts.captures.get(str(data.capture_id))
    return fact.unrefunded_minor if fact is not None else 0


def data_of(run: Run) -> RepayData:
    assert isinstance(run.data, RepayData)
    return run.data
