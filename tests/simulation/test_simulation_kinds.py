"""The simulation proves any declared kind: a toy that only this file declares is run, paused, undone and held to all invariants.
It also suspends the real kinds.

The toy sits beside the real kinds. Its steps ask invoicing to credit an invoice that does not exist, so its `yes` is the
refusal: it moves neither goods nor money, and every other invariant stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random
from typing import Any, Literal
from uuid import UUID

import pytest
import saga_checks
import saga_play
import test_simulation_saga as simulation

from contracts import invoicing
from contracts.ids import derived
from orders.domain.decisions import answers, forcing, requests
from orders.domain.decisions.guards import waits
from orders.domain.engine.process import Process, Processes, Step, Undo
from orders.domain.engine.story import Story
from orders.domain.processes import kinds, undo
from orders.domain.processes.edit import EDIT
from orders.domain.processes.holds import HOLD
from orders.domain.processes.kinds import PROCESSES
from orders.domain.processes.place import GIVE_BACK, PLACE, placed
from orders.domain.processes.rebill import REBILL
from orders.domain.processes.refund import REFUND
from orders.domain.processes.repay import REPAY
from orders.domain.processes.settle import SETTLE
from orders.domain.shown import views
from orders.domain.state.order import Progressed
from orders.domain.state.run import Run, RunData


class ToyData(RunData):
    kind: Literal["toy"] = "toy"
    built: bool = False


def ask(story: Story, run: Run, operation: UUID) -> invoicing.Credit:
    return invoicing.Credit(**story.addressed(operation), invoice_id=derived(operation, "none"))


def built(story: Story, run: Run, event: object) -> None:
    story.set_data(run, built=True)


def toys_built(story: Story) -> int:
    return sum(isinstance(run.data, ToyData) and run.data.built for run in story.runs.values())


def taken_apart(story: Story, run: Run, event: object) -> None:
    for toy in [one for one in story.runs.values() if isinstance(one.data, ToyData)]:
        story.set_data(toy, built=False)


TAKE_APART = Undo("take_apart", ask=ask, yes=invoicing.Failed, left=toys_built, then=taken_apart)
TOY = Process("toy", ToyData, (
    Step("build", ask=ask, yes=invoicing.Failed, then=built, undo=TAKE_APART),
    Step("paint", ask=ask, yes=invoicing.Failed),
))  # fmt: skip


def placed_with_a_toy(story: Story, run: Run, event: Any) -> None:
    placed(story, run, event)
    story.begin(Run(id="toy", data=ToyData(), since=story.context.now))


def begun_by(place: Process, toy: Process, monkeypatch: pytest.MonkeyPatch, suspends: tuple[str, ...] = ()) -> None:
    """Declares `toy` beside the real kinds, in the services and in the simulation. `suspends`: the kinds that
    it suspends; it runs beside the others."""
    beside = dict.fromkeys(product(("toy", *PROCESSES), repeat=2), "beside")
    of_toy = {("toy", "place"): "excludes", ("toy", "undo"): "pauses"}
    suspended = {(kind, "toy"): "suspends" for kind in suspends}
    precedence: Any = {**beside, **PROCESSES.precedence, **of_toy, **suspended}
    declared = (place, SETTLE, REFUND, REBILL, REPAY, HOLD, EDIT, toy)
    known = Processes((*declared, undo.derived(*declared, last=GIVE_BACK)), precedence)
    for module in (waits, answers, forcing, requests, kinds, views, saga_checks, saga_play, simulation):
        monkeypatch.setattr(module, "PROCESSES", known)


WITH_TOY = replace(
    PLACE,
    steps=tuple(replace(step, then=placed_with_a_toy) if step.then is placed else step for step in PLACE.steps),
)


def progress_of(seed: int) -> list[Progressed]:
    """What the processes did in one schedule. Raises AssertionError unless it ends well."""
    rng, saga = Random(seed), saga_play.Saga()
    saga.opens(rng)
    for act in ["an_order_comes_in", *rng.choices(list(saga.ACTS), list(saga.ACTS.values()), k=120)]:
        getattr(saga, act)(rng)
    saga.ends()
    return [event for event in saga.world.orders.journal if isinstance(event, Progressed)]


def steps_reached(seed: int) -> set[tuple[str, str]]:
    """(kind, step) of one schedule."""
    return {(run.kind, run.step) for event in progress_of(seed) for run in event.runs}


def test_a_kind_that_is_declared_is_simulated_with_its_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    begun_by(WITH_TOY, TOY, monkeypatch)
    reached = {step for seed in range(10) for step in steps_reached(seed)}
    assert {("toy", "build"), ("toy", "paint"), ("undo", "take_apart")} <= reached


def test_a_kind_that_no_schedule_reaches_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    begun_by(PLACE, TOY, monkeypatch)
    monkeypatch.setattr(simulation, "SEEDS_TO_REACH", 3)
    with pytest.raises(AssertionError, match=r"no schedule reaches .*'toy', 'build'"):
        simulation.test_the_schedules_reach_every_step_of_every_declared_process()


def test_a_kind_whose_undo_leaves_something_fails_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    build, paint = TOY.steps
    without_effect = replace(build, undo=replace(TAKE_APART, then=lambda story, run, event: None))
    begun_by(WITH_TOY, replace(TOY, steps=(without_effect, paint)), monkeypatch)
    with pytest.raises(AssertionError):
        [steps_reached(seed) for seed in range(10)]


def suspended_with_a_toy(story: Story, run: Run, event: Any) -> None:
    """The toy is open before a capture begins."""
    story.begin(Run(id="toy", data=ToyData(), since=story.context.now))
    placed(story, run, event)


SUSPENDED = replace(
    PLACE,
    steps=tuple(replace(step, then=suspended_with_a_toy) if step.then is placed else step for step in PLACE.steps),
)


def test_a_suspended_kind_asks_nothing_new_until_the_other_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ends()` of each schedule proves that it goes on afterwards."""
    begun_by(SUSPENDED, TOY, monkeypatch, suspends=("place", "settle"))
    waited = 0
    for seed in range(30):
        open_toys: set[UUID] = set()
        for event in progress_of(seed):
            toy = next((run for run in event.runs if run.kind == "toy"), None)
            if toy is not None:
                (open_toys.discard if toy.end else open_toys.add)(event.order_id)
            if event.order_id in open_toys:
                asked = {ask.step for ask in event.asks if not ask.answer and ask.run.startswith(("place", "settle"))}
                assert not asked, f"seed {seed}: {asked}"
            waited += any(run.kind == "settle" and not run.waits and not run.end for run in event.runs)
    assert waited > 3, "no settle began while it was suspended"


def test_a_kind_that_does_not_go_on_after_a_suspension_fails_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    begun_by(SUSPENDED, TOY, monkeypatch, suspends=("place", "settle"))
    monkeypatch.setattr(Story, "resume", lambda story, ended: None)
    with pytest.raises(AssertionError):
        [progress_of(seed) for seed in range(10)]
