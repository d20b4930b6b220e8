"""The messages of one order as a forest: each below the message on which it was decided.

The journals of all services are joined by `cause_id`. Two kinds of causes are in no journal that was read: what begins a chain
(a request, a timer, a connector's record), and messages of a service that is silent or has more entries. Each such cause is an
`Origin`, a root. A report of a task (a gateway's answer) is in no journal either; what was decided on it is below the entry that
requested its operation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

TASK: Final = "task:"
"""How the cause of a report of a task begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """An entry of a journal."""

    id: str
    """`ce_id`, if it was published."""
    service: str
    """In whose journal it is."""
    kind: Literal["event", "command"]
    type: str
    at: datetime
    published: bool
    operation_id: str | None
    actor: str
    via: str | None
    cause_type: str
    cause_id: str
    version: int | None
    body: Any
    """None: not shown to a person without `personal.view`, because its type is of another release."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A request of webhooks that carried a message to an endpoint."""

    id: str
    event_id: str
    endpoint_id: str
    host: str
    """That of its URL."""
    number: int
    """1 for the first try."""
    at: datetime
    outcome: str
    answer: str
    """HTTP status, or what prevented one."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """A cause that is in no journal that was read."""

    id: str
    type: str
    actor: str
    via: str | None
    unread: str
    """The service that has it in its journal, if that is silent or has more entries; else empty."""


Item: TypeAlias = Origin | Message | Delivery


class Row(NamedTuple):
    level: int
    """0 for a root."""
    item: Item
    parent: Item | None

    @property
    def kind(self) -> Literal["origin", "message", "delivery"]:
        match self.item:
            case Origin():
                return "origin"
            case Message():
                return "message"
            case Delivery():
                return "delivery"


@dataclass(frozen=True, slots=True)
class Tree:
    rows: Sequence[Row]
    """A cause before its effects, the effects of one cause by time. Every message is in one row."""

    def message(self, message_id: str) -> Message | None:
        return next((message for message in self._messages() if message.id == message_id), None)

    def outcome_of(self, operation_id: str) -> Message | None:
        """Returns the last message of an operation."""
        found = [message for message in self._messages() if message.operation_id == operation_id]
        return max(reversed(found), key=lambda message: message.at, default=None)  # of one time: the effect

    def chain(self, message: Message) -> Sequence[Row]:
        """Returns the causes of a message, the first one first."""
        rows = {row.item: row for row in self.rows}
        found: list[Row] = []
        parent = rows[message].parent
        while parent is not None:
            found.append(rows[parent])
            parent = rows[parent].parent
        return found[::-1]

    def effects(self, message: Message) -> Sequence[Row]:
        """Returns what was decided on a message, and the requests that carried it."""
        return [row for row in self.rows if row.parent is message]

    def _messages(self) -> Iterator[Message]:
        return (row.item for row in self.rows if isinstance(row.item, Message))


def grown(messages: Iterable[Message], deliveries: Iterable[Delivery] = (), unread: Collection[str] = ()) -> Tree:
    """Joins journals.

    messages: each journal in its own order. unread: services that are silent, or have entries that are not among `messages`.
    Causes that lead back to themselves, which no service writes, are cut before the earliest of them.
    """
    found: dict[str, Message] = {}
    for message in messages:
        found.setdefault(message.id, message)
    ordered = sorted(found.values(), key=lambda one: (one.at, one.service))  # stable: a journal keeps its order
    causes = _causes(ordered, found, unread)
    below: dict[Item, list[Item]] = {}
    for message in ordered:
        below.setdefault(causes[message], []).append(message)
    for delivery in sorted(deliveries, key=lambda one: (one.at, one.id)):
        if (carried := found.get(delivery.event_id)) is not None:
            below.setdefault(carried, []).append(delivery)
    rows: list[Row] = []
    seen: set[Item] = set()
    for message in ordered:
        if message not in seen:
            rows += _walked(_root(message, causes), below, seen)
    return Tree(rows)


def _causes(ordered: Sequence[Message], found: Mapping[str, Message], unread: Collection[str]) -> dict[Message, Item]:
    origins: dict[str, Origin] = {}
    requested: dict[tuple[str, str | None], Message] = {}
    """(service, operation) -> the entry that requested it of a task."""
    causes: dict[Message, Item] = {}
    for message in ordered:
        cause: Item | None = found.get(message.cause_id)
        operation = (message.service, message.operation_id)
        if message.cause_type.startswith(TASK):
            cause = cause or requested.get(operation)
        elif message.operation_id is not None:
            requested[operation] = message
        causes[message] = cause or origins.setdefault(message.cause_id, _origin(message, unread))
    return causes


def _origin(message: Message, unread: Collection[str]) -> Origin:
    sender = message.actor if message.actor in unread else ""
    return Origin(message.cause_id, message.cause_type, message.actor, message.via, sender)


def _root(message: Message, causes: Mapping[Message, Item]) -> Item:
    """Returns the first cause of a message; of a circle the earliest message."""
    path: dict[Item, None] = {}
    item: Item = message
    while item not in path:
        path[item] = None
        if not isinstance(item, Message):
            return item
        item = causes[item]
    passed = list(path)
    circle = [one for one in passed[passed.index(item) :] if isinstance(one, Message)]
    return min(circle, key=lambda one: (one.at, one.id))


def _walked(root: Item, below: Mapping[Item, Sequence[Item]], seen: set[Item]) -> Iterator[Row]:
    """Yields a root and all below it. Without recursion: a chain may be as long as a page."""
    left = [Row(0, root, None)]
    while left:
        row = left.pop()
        if row.item in seen:
            continue
        seen.add(row.item)
        yield row
        left += [Row(row.level + 1, effect, row.item) for effect in reversed(below.get(row.item, ()))]
