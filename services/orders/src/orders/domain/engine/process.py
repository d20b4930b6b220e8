"""What a process kind declares: its data, its steps with the undo of each, what its end means, and which kinds it stops.

The engine (`story`) runs any kind that is declared this way. The kinds are in `processes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from contracts.base import Command, Event
from orders.domain.state.run import Run, RunData, Waits

if TYPE_CHECKING:
    from orders.domain.engine.story import Story


@dataclass(frozen=True)
class Past:
    """The answer that a paused process received, when it is resumed. Its facts are in `Story.facts`."""

    operation_id: UUID
    code: str
    reason: str = ""


def _nothing(story: Story, run: Run, event: Any = None) -> None:
    pass


def _never(story: Story, run: Run) -> datetime | None:
    return None


@dataclass(frozen=True)
class Step:
    """A row of a process: `ask` sends a command, `yes` ends the step, `no` maps each refusal to what it causes."""

    name: str
    ask: Callable[[Story, Run, UUID], Command] | None
    yes: type[Event] | None
    no: Mapping[type[Event], Callable[[Story, Run, Any], None]] = field(default_factory=dict)
    skip: Callable[[Story, Run], bool] = lambda story, run: False
    """Leaves the step out."""
    waits: Waits = "answer"
    """What a step without a command waits for; for the others, what they wait for once the command is accepted."""
    then: Callable[[Story, Run, Any], None] = _nothing
    """What its end means for the order. Receives the event that ended it, or `Past`; null if no event did: it was left out,
    or a person ended it."""
    until: Callable[[Story, Run], datetime | None] = _never
    """When the timer of a step without a command fires; null: it has none."""
    expired: Callable[[Story, Run], None] = _nothing
    """What the timer does: it ends the step, or gives it a later `due_at`."""
    undo: Undo | None = None


@dataclass(frozen=True, kw_only=True)
class Undo(Step):
    """The undo of a step, itself a step: a goal that is reached when nothing is `left`."""

    left: Callable[[Story], int]
    """How much is left to undo: minor units, or 1 for something that has no amount."""
    decides: bool = False
    """The point of no return: its `no` refuses the whole undo, so it is asked first, and nothing is undone before its `yes`.
    Both also answer the step that it undoes: that is not asked again meanwhile."""


class Closed(NamedTuple):
    """What stays of a process that leaves the order's document."""

    request_id: UUID | None = None
    """The request that began it, by which it is found in the journal; null: no request names it."""
    outcome: str = ""
    unstated_minor: int | None = None
    """The amount of a refund that the marketplace may still state, minor units."""


@dataclass(frozen=True)
class Process:
    kind: str
    data: type[RunData]
    steps: tuple[Step, ...]
    ended: Callable[[Story, Run], None] = _nothing
    """What its end means for the order."""
    undone: Callable[[Story, Run], None] = _nothing
    """What it means for the order that an undo ends it."""
    onward: Callable[[Story], None] | None = None
    """Chooses the next step, where it is not simply the one behind."""
    again: Callable[[Story, Run], bool] = lambda story, run: False
    """Whether it begins anew with its first step, for the next of its parts, instead of ending."""
    patience: bool = True
    """Whether the market's patience ends it (`give_up_after_seconds`)."""
    delays_completion: bool = True
    """Whether the order is completed only after it has ended."""
    leaves: Callable[[Story, Run], Closed | None] | None = None
    """What stays of an ended process that is not among the latest; null: all of it. For kinds of which an order may have many."""

    def __post_init__(self) -> None:
        if self.data.model_fields["kind"].default != self.kind:
            raise TypeError(f"{self.kind}: {self.data.__name__} is the data of another kind")
        for step in self.steps:
            if (step.ask is None) != (step.yes is None):
                raise TypeError(f"{self.kind}.{step.name}: a step that asks has a yes, and no other step has one")
            if step.ask is None and step.waits in ("", "answer"):
                raise TypeError(f"{self.kind}.{step.name} sends no command: it must declare what it waits for")
        if len(self._by_name) < len(self.steps):
            raise TypeError(f"{self.kind} has two steps of one name")

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


Precedence = Literal["excludes", "pauses", "suspends", "beside"]
"""What happens to a running process, and to the one that begins.

- `excludes`: it may not begin.
- `pauses`: the running one is paused, and goes on if the other is refused.
- `suspends`: while the other is open, the running one takes no next step and asks nothing new, nor does one that begins
  meanwhile. What it has asked is awaited, and asked again as the same operation. It goes on when the other has ended.
- `beside`: both run.

Paused or suspended, a process records the answer that it receives, and goes on from it.
"""


class Processes(dict[str, Process]):
    """The declared kinds by name, and their precedence: (running, beginning) -> what happens.

    Raises TypeError unless every ordered pair of kinds is decided.
    """

    def __init__(self, declared: Sequence[Process], precedence: Mapping[tuple[str, str], Precedence]) -> None:
        super().__init__({process.kind: process for process in declared})
        pairs = set(product(self, self))
        if pairs != set(precedence):
            raise TypeError(f"precedence: undecided {pairs - set(precedence)}, undeclared {set(precedence) - pairs}")
        self.precedence = precedence
        self._suspending = {
            kind: frozenset(other for other in self if precedence[kind, other] == "suspends") for kind in self
        }

    def excluded(self, beginning: str, runs: Mapping[str, Run]) -> bool:
        """Whether a process of this kind may not begin now."""
        return any(not run.end and self.precedence[run.kind, beginning] == "excludes" for run in runs.values())

    def paused(self, run: Run, runs: Mapping[str, Run]) -> bool:
        """Whether a process pauses this one, or has ended it (a refused one does neither), or suspends it."""
        return any(o.end != "refused" and self.pauses(run, o) for o in runs.values()) or self.suspended(run, runs)

    def pauses(self, run: Run, other: Run) -> bool:
        return self.precedence[run.kind, other.kind] == "pauses"

    def suspended(self, run: Run, runs: Mapping[str, Run]) -> bool:
        """Whether a process suspends this one now."""
        suspending = self._suspending[run.kind]
        return any(not o.end and o.kind in suspending for o in runs.values())

    def suspends(self, run: Run, other: Run) -> bool:
        return other.kind in self._suspending[run.kind]

    def step_of(self, run: Run) -> Step:
        return self[run.kind].step(run.step)
