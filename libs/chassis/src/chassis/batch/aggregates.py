"""Loads and saves aggregates: rows are locked in key order and written by compare-and-swap.

A row stores the state as one JSON document, in a column of text: no query searches inside, and for `json` or `jsonb`
PostgreSQL would parse each document that was just written. Fields that rarely change (`Aggregate.parts`) have columns of
their own, which are written only when they change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg import Connection
from pydantic import TypeAdapter

from chassis.batch.errors import Conflict
from chassis.declare.service import Aggregate, Change
from chassis.declare.sql import Piece, Rows, columns
from chassis.declare.tables import TODAY, TODAY_LATEST
from contracts.base import Document, Event, in_json
from contracts.ids import in_order

ANSWERED_MAX: Final = 8
"""Operations whose answers are found in an aggregate's row. Few orders have more, in any service."""


@dataclass(slots=True)
class Slot:
    """An aggregate while a batch works on it."""

    aggregate: Aggregate[Any]
    key: UUID
    store_id: str
    before: Document
    state: Document
    revision_before: int
    revision: int
    version: int
    answered: dict[str, int]
    """operation id -> revision of the last published event that answered it: of the latest operations, see `bound`."""
    armed_at: datetime | None
    woken: bool = False
    touched: bool = False
    events: list[Event] = field(default_factory=list)
    at: list[datetime] = field(default_factory=list)
    """The times of `events` in the journal."""

    def belongs_to(self, store_id: str) -> None:
        """Change the store of an aggregate that does not exist: the message before, of another store, had no effect."""
        self.store_id = store_id
        self.before = self.state = self.aggregate.initial(self.key, store_id)

    @property
    def may_have_closed(self) -> bool:
        """Whether operations may have been moved from `answered` to `closed_operations`."""
        return len(self.answered) >= ANSWERED_MAX

    def bound(self) -> list[tuple[str, UUID, UUID, int]]:
        """Bounds the row, however many operations the aggregate has had: compacts the state and removes the oldest entries
        of `answered`. Returns their rows of `closed_operations`."""
        if self.aggregate.compact is not None:
            self.state = self.aggregate.compact(self.state)
        if len(self.answered) <= ANSWERED_MAX:
            return []
        oldest = [*self.answered][:-ANSWERED_MAX]
        return [(self.aggregate.table, self.key, UUID(one), self.answered.pop(one)) for one in oldest]

    @property
    def shown_version(self) -> int:
        """The version that HTTP shows and compares."""
        return self.revision if self.aggregate.shows_revision else self.version

    @property
    def change(self) -> Change[Any]:
        return Change(self.key, self.store_id, self.before, self.state, tuple(self.events), tuple(self.at))


class StateCache:
    """States that this process committed: a locked row with the cached revision is neither read nor parsed again.

    The revision is read under the row's lock, so a state that another process has changed is never used. Cleared on any
    error of the database: a restored one may assign the same revisions again.
    """

    def __init__(self, at_most: int = 1_200) -> None:
        self._at_most = at_most
        self._states: OrderedDict[tuple[str, UUID], tuple[int, int, Document, dict[str, int]]] = OrderedDict()

    def get(self, table: str, key: UUID, revision: int) -> tuple[int, Document, dict[str, int]] | None:
        """Returns (version, state, answered) if that revision is cached."""
        found = self._states.get((table, key))
        return found[1:] if found is not None and found[0] == revision else None

    def store(self, slots: Iterable[Slot]) -> None:
        """Cache the changed states; called after the commit."""
        for slot in slots:
            if slot.touched:
                name = (slot.aggregate.table, slot.key)
                self._states[name] = (slot.revision, slot.version, slot.state, slot.answered)
                self._states.move_to_end(name)
        while len(self._states) > self._at_most:
            self._states.popitem(last=False)

    def clear(self) -> None:
        self._states.clear()


# -- load -------------------------------------------------------------------------------------------------------------


class Locked(NamedTuple):
    """The columns that are read when a row is locked."""

    key: UUID
    store_id: str
    revision: int
    version: int
    armed_at: datetime | None


LOCK = (
    "select key, store_id, revision, version, armed_at from {table}{after} where key = any({keys}::uuid[])"
    " order by key for update of {table}"
)


@cache
def documents_of(aggregate: Aggregate[Any]) -> str:
    """Returns the statement that reads the states of locked rows."""
    fields = ", ".join(("key", "doc", "answered", *aggregate.parts))
    return f"select {fields} from {aggregate.table} where key = any($1::uuid[])"


def lock_of(aggregate: Aggregate[Any]) -> str:
    """Returns the statement that locks rows of one table, for a batch of messages for several tables."""
    return LOCK.format(table=aggregate.table, after="", keys="$1")


async def lock(tx: Connection, aggregate: Aggregate[Any], keys: Iterable[UUID]) -> list[Locked]:
    rows = await tx.fetch(lock_of(aggregate), in_order(keys))
    return [Locked(*row) for row in rows]


async def load(
    tx: Connection,
    aggregate: Aggregate[Any],
    keys: Mapping[UUID, str],
    locked: Iterable[Locked],
    cache: StateCache | None,
) -> dict[UUID, Slot]:
    """Read the states of `keys` (key -> store_id of the message). locked: the rows that exist, which the transaction has locked."""
    slots: dict[UUID, Slot] = {}
    unread: list[Locked] = []
    for row in locked:
        if row.key not in keys:
            continue
        found = cache.get(aggregate.table, row.key, row.revision) if cache is not None else None
        if found is None:
            unread.append(row)
        else:
            slots[row.key] = _slot(aggregate, row, found[1], dict(found[2]))
    if unread:
        documents = await tx.fetch(documents_of(aggregate), [row.key for row in unread])
        read = {document["key"]: document for document in documents}
        for row in unread:
            document = read[row.key]
            state = aggregate.state.model_validate_json(whole(document, aggregate.parts))
            slots[row.key] = _slot(aggregate, row, state, orjson.loads(document["answered"]))
    for key, store_id in keys.items():
        if key not in slots:
            state = aggregate.initial(key, store_id)
            slots[key] = Slot(aggregate, key, store_id, state, state, 0, 0, 0, {}, None)
    return slots


def _slot(aggregate: Aggregate[Any], row: Locked, state: Document, answered: dict[str, int]) -> Slot:
    return Slot(
        aggregate, row.key, row.store_id, state, state, row.revision, row.revision, row.version, answered, row.armed_at
    )


def whole(row: Any, parts: Collection[str]) -> str:
    """Returns the state of a row as one JSON document: `doc` with the parts added."""
    text: str = row["doc"]
    for part in parts:
        if row[part] is not None:
            text = f'{text.rstrip()[:-1]}{"," if text.strip() != "{}" else ""}"{part}":{row[part]}}}'
    return text


# -- save -------------------------------------------------------------------------------------------------------------

_FIXED = (("key", "uuid"), ("store_id", "text"), ("revision", "int"), ("version", "int"), ("doc", "text"),
          ("answered", "text"), ("armed_at", "timestamptz"))  # fmt: skip


def rows(aggregate: Aggregate[Any], slots: Iterable[Slot]) -> Rows:
    """Returns the rows of changed aggregates of one table, given in key order. Aggregates without events are skipped.

    Writing raises Conflict if a row has changed since it was read.
    """
    values: list[Callable[[Any], Any]] = [value for _, value in aggregate.columns.values()]
    given = [
        (
            slot.key, slot.store_id, slot.revision, slot.version,
            _doc(slot.state, aggregate.parts), orjson.dumps(slot.answered).decode(),
            slot.armed_at, *(_part(slot, part) for part in aggregate.parts), *(value(slot.state) for value in values),
            slot.revision_before,
        )
        for slot in slots
        if slot.revision
    ]  # fmt: skip
    piece = _saved(aggregate)
    return Rows(
        piece, columns(given, piece.parameters), f"{aggregate.table}_saved",
        lambda: Conflict(f"{aggregate.table}: another transaction wrote a row"),
    )  # fmt: skip


@cache
def _saved(aggregate: Aggregate[Any]) -> Piece:
    """Inserts new rows and updates the others, unless another transaction has written them."""
    table = aggregate.table
    kinds = [
        *_FIXED,
        *((part, "text") for part in aggregate.parts),
        *((name, kind) for name, (kind, _) in aggregate.columns.items()),
    ]
    names = ", ".join(name for name, _ in kinds)
    # `unnest` takes an array of arrays apart: an array is given as its literal and cast where it is written.
    cast = {name: f"::{kind}" if kind.endswith("[]") else "" for name, kind in kinds}
    arrays = ", ".join(f"{{{n}}}::{'text' if cast[name] else kind}[]" for n, (name, kind) in enumerate(kinds))
    read = ", ".join(f"{name}{cast[name]}" for name, _ in kinds)
    # A part that did not change is sent as null, and its column is not written.
    sets = ", ".join(
        f"{name} = coalesce(u.{name}, t.{name})" if name in aggregate.parts else f"{name} = u.{name}{cast[name]}"
        for name, _ in kinds
        if name not in ("key", "store_id")
    )
    # The days only widen: after a failover the clock may be behind.
    sets += f", journal_from = least(t.journal_from, {TODAY}), journal_to = greatest(t.journal_to, {TODAY_LATEST})"
    stamps = {name: f"case when {condition} then now()" for name, condition in aggregate.stamps.items()}
    sets += "".join(f", {name} = {stamp} else t.{name} end" for name, stamp in stamps.items())
    made = "".join(f", {name}" for name in stamps)
    stamped = "".join(f", {stamp} end" for stamp in stamps.values())
    return Piece(
        f"{table}_given as (select * from unnest({arrays}, {{{len(kinds)}}}::int[]) as u({names}, previous)),"
        f" {table}_made as (insert into {table} ({names}{made}) select {read}{stamped} from {table}_given u where previous = 0"
        " on conflict (key) do nothing returning 1),"
        f" {table}_moved as (update {table} t set {sets} from {table}_given u where u.previous > 0 and t.key = u.key"
        " and t.store_id = u.store_id and t.revision = u.previous returning 1),"
        f" {table}_saved as (select from {table}_made union all select from {table}_moved)",
        len(kinds) + 1,
    )


def _doc(state: Document, parts: Collection[str]) -> str:
    """Returns the state without its parts. orjson refuses some keys, such as the driver's UUIDs; pydantic is slower and takes them."""
    fields = {**in_json(state)}
    for part in parts:
        del fields[part]
    try:
        return orjson.dumps(fields, default=in_json, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return state.__pydantic_serializer__.to_json(state, exclude=set(parts)).decode()


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def _part(slot: Slot, part: str) -> str | None:
    """Returns the part as JSON, or None if it did not change."""
    value = getattr(slot.state, part)
    if value is None or (slot.revision_before and value is getattr(slot.before, part)):
        return None
    return _ANY.dump_json(value, exclude_defaults=True).decode()
