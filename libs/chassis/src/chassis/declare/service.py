"""What a service declares: its aggregates and their handlers, shared rows, tasks, routes. No I/O in here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from chassis.declare.app import App, Members, Problems, Requests
from chassis.declare.sql import Rows
from contracts.base import Addressed, Document, Event, Frozen, Message
from contracts.deciding import Context, Decision, Reported, Task, Wake
from contracts.registry import MESSAGES, topic_of

if TYPE_CHECKING:
    from asyncpg import Connection
    from fastapi import APIRouter
    from sqlalchemy import MetaData

    from chassis.settings import ServiceSettings
    from contracts.envelope import Received

S = TypeVar("S", bound=Document)
M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Handler:
    message: type[Any]
    decide: Callable[[Any, Any, Context], Decision]


def on(message: type[M], decide: Callable[[Any, M, Context], Decision]) -> Handler:
    """`decide` handles `message`. A function under the wrong message is a type error."""
    return Handler(message, decide)


@dataclass(frozen=True, slots=True)
class Change(Generic[S]):
    """One aggregate before and after a batch. `events` are those of the batch, in order, with their versions.

    `at` are their times in the journal; an event that a restored database adopts has the time of its first publication.
    """

    key: UUID
    store_id: str
    before: S
    after: S
    events: tuple[Event, ...]
    at: tuple[datetime, ...] = ()


@dataclass(frozen=True, eq=False)
class Aggregate(Generic[S]):
    """One row per key in `table`: the chassis' columns, the declared ones, and the state as one JSON document.

    The chassis' columns: key uuid primary key, store_id text, revision int, version int, doc text, answered text,
    armed_at timestamptz (see `chassis.declare.tables.aggregate_columns`).
    """

    table: str
    key: str
    """The field that names this aggregate in messages (`Addressed.KEY`), e.g. `order_id`; one aggregate of a service has it."""
    state: type[S]
    initial: Callable[[UUID, str], S]
    """(key, store_id) -> the state before the first event."""
    evolve: Callable[[S, Any], S]
    handlers: tuple[Handler, ...]
    columns: Mapping[str, tuple[str, Callable[[S], Any]]] = field(default_factory=dict)
    """Columns to search or to constrain: name -> (PostgreSQL type, value of a state). An array is given as its literal."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """Columns of times -> SQL, a condition on the new row `u`: a change of the row that fulfills it sets the column to the time
    of its transaction."""
    parts: tuple[str, ...] = ()
    """Large fields of the state that rarely change: each has a column of text, written only when it changes."""
    shows_revision: bool = False
    """Whether HTTP shows and compares its `revision` as its version: private events of it are changes that a client sees."""
    wake_at: Callable[[S], datetime | None] = lambda state: None
    """When this state needs a `Wake`; null: never."""
    resume: Callable[[UUID, str, S], Iterable[Task]] | None = None
    """(key, store_id, state) -> the tasks that the state waits for: a restored backup may lack them."""
    rows: Callable[[Sequence[Change[S]]], Sequence[Rows]] | None = None
    """Rows that a batch writes into tables of the service's own (ledger lines, documents). Without changes: all its pieces, for
    the page of the batch's SQL. Rare rows are left out of other batches: an expression costs time without rows, too."""
    compact: Callable[[S], S] | None = None
    """Returns the state to write, without data that the tables of `rows` retain for ever: the document stays bounded."""


@dataclass(frozen=True)
class Listener(Generic[R]):
    """Rows that a service makes of all events of some topics, also of types of a newer release.

    It decides nothing: no aggregate, no journal, no outbox. It receives each event once, those of one key in their order.
    """

    topics: frozenset[str]
    """Topics of events."""
    fold: Callable[[Received], R]
    """Pure: the rows of one event. An event for which it raises is parked, and later ones of its key wait behind it."""
    write: Callable[[Sequence[Any]], Sequence[Rows]]
    """The rows to write of what was folded of a batch, in its order, or of what `combine` made of it: the last statement of the batch's transaction. Without
    any: all its pieces, for the page of the batch's SQL."""
    combine: Callable[[Connection, Sequence[R]], Awaitable[Sequence[Any]]] | None = None
    """Turns what was folded of a batch into what is to be written, for rows that many events change: it locks them in the order
    of their keys, and reads them. Null: what was folded is written."""
    begin: Callable[[Connection, str], Awaitable[None]] | None = None
    """Called in a transaction before topics are read, with the certificate of the data (`History.certificate`). The certificate
    changes when the database may have lost rows: then lost events are received again, perhaps in another order of keys."""


@dataclass(frozen=True)
class Share:
    """Rows that aggregates share: locked in key order, passed to decide, changed by `evolve`."""

    name: str
    needs: Callable[[Any, Any], Iterable[Any]]
    """Pure (state, message) -> the keys that the decision may read or change. Keys are hashable and sortable."""
    load: Callable[[Connection, Sequence[Any]], Awaitable[Mapping[Any, Any]]]
    """Lock and read, keys given sorted; a key without a row may be left out."""
    touched: Callable[[Event], Iterable[Any]]
    """The keys that an event changes; a subset of what `needs` named for its message."""
    evolve: Callable[[Any, Any, Event], Any]
    """(state or None, key, event) -> state."""
    rows: Callable[[Mapping[Any, Any]], Rows] | None = None
    """Writes the changed ones, given by key, in order. Null: they are read and never changed."""
    adopt: Callable[[Any, Any, Sequence[Event]], Any] | None = None
    """(state or None, key, events) -> state, for events that a restored database has lost: events of several orders, in any
    order. Null: `evolve` one by one does it."""


class TryAgain(Exception):
    """Raised by a task's runner while the outcome is open: the task is rescheduled."""

    def __init__(self, reason: str, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.after_seconds = reason, after_seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to run a task."""

    task_id: UUID
    key: UUID
    number: int
    """1 on the first try."""
    first_tried_at: datetime
    now: datetime


@dataclass(frozen=True)
class TaskKind:
    """I/O outside the transaction. `run(body, attempt)` returns the outcome or raises TryAgain; it may be called again."""

    kind: str
    body: type[Frozen]
    outcome: type[Frozen]
    run: Callable[[Any, Attempt], Awaitable[Frozen]]
    lease_seconds: float = 30
    """Longer than a call can last. Too short: called twice. Too long: delayed after a crash."""
    backoff_seconds_max: float = 300
    close: Callable[[], Awaitable[None]] | None = None
    """Called once at the end of the process."""


@dataclass(frozen=True)
class Service:
    """A whole service. folder = package = process = consumer group = database = topic prefix = `name`."""

    name: str
    aggregates: tuple[Aggregate[Any], ...]
    settings: type[ServiceSettings]
    metadata: MetaData
    migrations: Path
    listener: Listener[Any] | None = None
    shares: tuple[Share, ...] = ()
    tasks: Callable[[App], tuple[TaskKind, ...]] = lambda app: ()
    routes: Callable[[App], APIRouter] | None = None
    forms: bool = False
    """Whether its routes also read the bodies of HTML forms."""
    young_objects: int = 200_000
    """Number of new objects after which the unused ones among them are collected. The process serves nothing meanwhile: for half a
    second, after 200,000. Batches leave few unused objects, and collections in a batch cost throughput; pages leave many."""
    problems: Problems = field(default_factory=dict)
    """The kinds of problem that its routes answer, in addition to those of the chassis."""
    problem_members: Members | None = None
    """Returns further members of every problem that it answers, those of the chassis included; null: none."""
    requests: Callable[[], Requests] | None = None
    """The requests that it sends to others, for `webhooks` of its OpenAPI document."""
    apply: Callable[[Connection, Mapping[str, Any]], Awaitable[Sequence[str]]] | None = None
    """`python -m <service> apply file.yaml`: write the small tables of a file; returns a line per row written."""
    intake: frozenset[str] = frozenset()
    """Topics that are paused while the service has enough to do. Never replies or commands."""
    in_flight: str | None = None
    """SQL that returns how much of the limit $1 the running processes use; the intake pauses when it reaches $1."""
    processes: str | None = None
    """SQL for the metrics of what is under way: rows of (step, waiting, count, age of the oldest in seconds)."""
    adopts: bool = True
    """Whether its published events rebuild its rows, so that a restored database catches up from its own topic."""
    loops: Callable[[App], Mapping[str, Callable[[], Awaitable[None]]]] = lambda app: {}
    """What runs beside the consumer until the process ends, by name. A loop that raises ends the process."""
    check: Callable[[Connection], Awaitable[Iterable[tuple[str, int, int]]]] | None = None
    """The invariants of its tables: (name, comparisons made, comparisons violated)."""

    def __post_init__(self) -> None:
        if len({aggregate.key for aggregate in self.aggregates}) < len(self.aggregates):
            raise ValueError(f"{self.name}: two aggregates have the same key field")
        for topic in sorted({topic_of(message) for message in self.handles() if self.listens_to(topic_of(message))}):
            raise ValueError(f"{self.name}: the messages of {topic} are for its handlers or for its listener")
        for aggregate in self.aggregates:
            for message in (handler.message for handler in aggregate.handlers):
                if issubclass(message, Addressed) and aggregate.key != message.KEY:
                    raise ValueError(
                        f"{message.TYPE} is about a {message.KEY}, {aggregate.table} are keyed by {aggregate.key}"
                    )

    def aggregate_of(self, message: Addressed) -> Aggregate[Any]:
        """Returns the aggregate that a message of this service is about. Raises LookupError if there is none."""
        for aggregate in self.aggregates:
            if aggregate.key == message.KEY:
                return aggregate
        raise LookupError(f"{self.name} has no aggregate with the key {message.KEY}")

    def handler_of(self, inbound_type: type[Any], aggregate: str | None) -> tuple[Aggregate[Any], Handler] | None:
        """Returns the handler of a message type; `aggregate`: the table, for timers and reports, which any aggregate may have."""
        return self._handlers.get((inbound_type, aggregate))

    def listens_to(self, topic: str) -> bool:
        """Returns whether the events of a topic are for its listener."""
        return self.listener is not None and topic in self.listener.topics

    def handles(self) -> tuple[type[Message], ...]:
        """Returns the message types that the service reads from topics."""
        return tuple(model for model, _ in self._handlers if issubclass(model, Message) and model.TYPE in MESSAGES)

    @cached_property
    def _handlers(self) -> dict[tuple[type[Any], str | None], tuple[Aggregate[Any], Handler]]:
        return {
            (handler.message, aggregate.table if handler.message in (Wake, Reported) else None): (aggregate, handler)
            for aggregate in self.aggregates
            for handler in aggregate.handlers
        }
