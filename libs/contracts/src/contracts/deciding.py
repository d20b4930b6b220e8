"""The words of a decision: `decide(state, message, context) -> Decision`, `evolve(state, event) -> state`.

An effect is one of: an event of the own service, a command to another, a task (the only I/O outside), or a refusal
that only the asker hears. Timers are not effects: a state says when it next wants to be woken (`Aggregate.wake_at` of the chassis) and is then handed a `Wake`.
Everything that varies comes in `context`; a decision reads no clock and makes no random id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Of the message that is decided on: the root of every id that the decision makes."""
    actor: str = ""
    message_type: str = ""
    shares: Mapping[Any, Any] = MappingProxyType({})
    """Share key -> state, for exactly the keys that `needs` named; rows are locked."""

    def new_id(self, name: str) -> UUID:
        """An id for what this decision makes: a function of store, key, message and name, so it is the same again when
        the message is decided again, and never the id of something of another order or store."""
        return decided(self.store_id, self.key, self.message_id, name)


@dataclass(frozen=True, slots=True)
class Task:
    """I/O outside any transaction, e.g. a gateway call. Run one at a time per key, in order, until it reports.

    `task_id` is the operation's id: at most one task per operation ever exists. `body` is what the runner needs.
    """

    task_id: UUID
    kind: str
    body: Frozen
    after_seconds: float = 0
    """Not before. A decision on `Reported` may emit the same task again: it is then run on."""


@dataclass(frozen=True, slots=True)
class Reported:
    """The outcome of a task, handed to decide like any message. `body` is what the runner returned."""

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
    """A no to a person's request: nothing is journaled, the asker hears it (over HTTP as a problem). `code` is a closed word."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unasked:
    """The message answers an operation that was not asked here, or not yet: a restored database reads answers before it asks again.

    Its facts count at once. The inbox does not claim it, so the same answer counts when it is published again.
    """


Effect = Event | Command | Task | Refusal | Unasked


@dataclass(frozen=True, slots=True)
class Folded:
    """A decision that needed the state after its own events, and has folded them: they are not folded a second time."""

    effects: Sequence[Effect]
    state: Any
    """After all events among `effects`, as `evolve` makes it. Independent of the versions that the events get later."""


Decision = Sequence[Effect] | Folded


def effects_of(decision: Decision) -> Sequence[Effect]:
    return decision.effects if isinstance(decision, Folded) else decision
