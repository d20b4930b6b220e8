"""The types of a decision: `decide(state, message, context) -> Decision`, `evolve(state, event) -> state`.

An effect is one of: an event of the own service, a command to another service, a task (I/O outside the transaction) or the
end of one, or a refusal that only the sender receives. Timers are not effects: the chassis reads the next due time from the state
(`Aggregate.wake_at`) and then sends a `Wake`. Everything that varies is in `context`; a decision reads no clock and makes
no random id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from contracts.base import Command, Event, Frozen
from contracts.ids import decided


class Context(NamedTuple):
    now: datetime
    """The database's clock at the start of the transaction, UTC."""
    key: UUID
    """The key of the aggregate, e.g. the order id."""
    store_id: str
    message_id: UUID
    """The id of the message that is decided on. Every id that the decision makes is derived from it."""
    actor: str = ""
    message_type: str = ""
    shares: Mapping[Any, Any] = MappingProxyType({})
    """Share key -> state, for exactly the keys that `needs` named; rows are locked."""

    def new_id(self, name: str) -> UUID:
        """Returns an id that is a function of store, key, message and name: deciding the message again gives the same id,
        and no other order or store has it."""
        return decided(self.store_id, self.key, self.message_id, name)


@dataclass(frozen=True, slots=True)
class Task:
    """I/O outside any transaction, e.g. a gateway call. The tasks of a key run one at a time, in order, until each reports
    or is withdrawn.

    `task_id` is the operation's id: at most one task per operation ever exists. `body` is what the runner needs.
    """

    task_id: UUID
    kind: str
    body: Frozen
    after_seconds: float = 0
    """Delay before the task runs. A decision on `Reported` may emit the same task again: it is then rescheduled."""
    beside: bool = False
    """Whether it runs beside the other tasks of its key: it does not wait for them, nor they for it."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A task is not run any more, because its outcome came another way. A runner that is at it reports all the same."""

    task_id: UUID


@dataclass(frozen=True, slots=True)
class Reported:
    """The outcome of a task, decided on like any message. `outcome` is what the runner returned."""

    task_id: UUID
    kind: str
    asked: Any
    outcome: Any


@dataclass(frozen=True, slots=True)
class Wake:
    """The timer of an aggregate is due."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refuses a request: nothing is journaled, only the sender receives it (over HTTP as a problem). `code` is a closed word."""

    code: str
    detail: str
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the problem, as JSON has them: what is refused, and what is possible instead."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """The message answers an operation that this database has not requested: after a restore, answers are read before the
    requests are repeated.

    Its facts are applied at once. The inbox does not claim it, so a later redelivery of the answer is processed.
    """


Effect = Event | Command | Task | Withdrawn | Refusal | Unasked


@dataclass(frozen=True, slots=True)
class Folded:
    """A decision that has folded its own events, because it needed the state after them. They are not folded again."""

    effects: Sequence[Effect]
    state: Any
    """The state after all events among `effects`. It does not depend on the versions that the events get later."""


Decision = Sequence[Effect] | Folded


def effects_of(decision: Decision) -> Sequence[Effect]:
    return decision.effects if isinstance(decision, Folded) else decision
