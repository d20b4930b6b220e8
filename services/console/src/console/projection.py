"""Writes the rows of the lists from the events of all services, in the transaction that claims the events.

The events of an order can come through two processes at once, by the topics of two services: rows are made first, without a
content, and then locked in the order of their keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from chassis.declare.service import Listener
from chassis.declare.sql import Piece, Rows, columns
from console.domain import words
from console.domain.fold import Stated, fold
from console.domain.row import Memory, OrderRow, Words
from contracts.base import Event, OrderKeyed
from contracts.envelope import Received, Unknown
from contracts.ids import in_order
from contracts.registry import TOPICS

EVENTS: Final = frozenset(topic.name for topic in TOPICS.values() if not topic.addressed)
VERSION_MAX: Final = 2**31 - 1
PLAIN: Final = OrderRow._fields[:-3]
"""The fields that are columns as they are; the others, `versions`, `memory` and `words`, are written as JSON."""
TYPES: Final[Mapping[str, str]] = {
    "order_id": "uuid", "grand_minor": "bigint", "test": "boolean", "tags": "text",
    **dict.fromkeys(("ordered_at", "received_at", "invoiced_at", "placed_at", "completed_at"), "timestamptz"),
    **dict.fromkeys(("archived_at", "since", "changed_at"), "timestamptz"),
    **dict.fromkeys(("authorized_minor", "captured_minor", "voided_minor", "refunded_minor"), "bigint"),
    **dict.fromkeys(("invoiced_minor", "credited_minor"), "bigint"), **dict.fromkeys(("reserved", "shipped"), "int"),
}  # fmt: skip
"""Column -> its type where it is sent; text if it is not listed."""
CAST: Final[Mapping[str, str]] = {
    "tags": "text[]", "versions": "jsonb", "memory": "jsonb", "words_by_kind": "jsonb", "words": "tsvector",
}  # fmt: skip
"""Columns that are sent as text."""
WRITTEN: Final = (*PLAIN, "versions", "memory", "words_by_kind", "words", "number_folded")

LOCK: Final = f"""
select {", ".join(PLAIN)}, versions::text, memory::text, words_by_kind::text from order_rows
where order_id = any($1::uuid[]) order by order_id for update"""
MAKE: Final = """
insert into order_rows (order_id, store_id, number, channel, account, market, test, status, payment_status, fulfillment_status,
  tags, waiting, step, authorized_minor, captured_minor, voided_minor, refunded_minor, reserved, shipped, invoiced_minor,
  credited_minor, changed_at, versions, memory, words_by_kind, words, number_folded, written_by)
select u.order_id, u.store_id, '', '', '', '', false, '', '', '', '{}', '', '', 0, 0, 0, 0, 0, 0, 0, 0, u.at, '{}', '{}', '{}', '', '',
  pg_current_xact_id()::text::bigint
from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as u(order_id, store_id, at) order by 1
on conflict (order_id) do nothing"""


def _cast(column: str) -> str:
    return f"{column}::{CAST[column]}" if column in CAST else column


SAVED: Final = Piece(
    f"""
saved as (
  update order_rows as r set {", ".join(f"{name} = u.{_cast(name)}" for name in WRITTEN if name not in ("order_id", "store_id"))},
    written_by = pg_current_xact_id()::text::bigint
  from unnest({", ".join(f"{{{n}}}::{TYPES.get(name, 'text')}[]" for n, name in enumerate(WRITTEN))})
    as u({", ".join(WRITTEN)})
  where r.order_id = u.order_id and r.store_id = u.store_id
  returning 1)""",
    len(WRITTEN),
)
REMEMBER: Final = """
update order_rows as r set waiting = u.waiting, step = u.step, since = u.since, memory = u.memory::jsonb,
  written_by = pg_current_xact_id()::text::bigint
from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]) as u(order_id, waiting, step, since, memory)
where r.order_id = u.order_id"""
DELETE: Final = "delete from {schema}.order_rows where order_id = any($1::uuid[])"
INSERT: Final = f"""
insert into {{schema}}.order_rows ({", ".join(WRITTEN)}, written_by)
select {", ".join(_cast(name) for name in WRITTEN)}, pg_current_xact_id()::text::bigint
from unnest({", ".join(f"${n}::{TYPES.get(name, 'text')}[]" for n, name in enumerate(WRITTEN, 1))}) as u({", ".join(WRITTEN)})"""
STORES: Final = Piece(
    """
stored as (insert into stores (store_id) select distinct * from unnest({0}::text[]) on conflict do nothing)""",
    1,
)


class RowOfAnotherStore(Exception):
    """The row of an order belongs to another store. Not transient: the event that brought it is parked."""


def state(event: Received) -> Stated | None:
    """Returns what an event states of an order; None for one about something else, like an endpoint."""
    body = event.body
    service = event.type.partition(".")[0]
    if isinstance(body, Event):
        if not isinstance(body, OrderKeyed):
            return None
        return Stated(event.key, event.store_id, service, body.version, event.time, body)
    assert isinstance(body, Unknown), "a topic of events has no other messages"
    version = body.fields.get("version")
    if type(version) is not int or not 0 < version <= VERSION_MAX or body.fields.get("order_id") != str(event.key):
        return None
    return Stated(event.key, event.store_id, service, version, event.time, body.fields)


async def combine(tx: Connection, events: Sequence[Stated | None]) -> Sequence[OrderRow]:
    """Returns the rows of a batch after its events. Raises RowOfAnotherStore."""
    stated = [event for event in events if event is not None]
    before = await _locked(tx, stated)
    after = dict(before)
    for event in stated:
        row = after[event.order_id]
        if row.store_id != event.store_id:
            raise RowOfAnotherStore(f"order {event.order_id} belongs to another store than {event.store_id}")
        after[event.order_id] = fold(row, event)
    return [row for key, row in after.items() if row is not before[key]]


async def _locked(tx: Connection, events: Sequence[Stated]) -> dict[UUID, OrderRow]:
    firsts = {event.order_id: event for event in reversed(events)}
    keys = in_order(firsts)
    found = {row.order_id: row for row in await locked(tx, keys)}
    if missing := [firsts[key] for key in keys if key not in found]:
        stores, times = [one.store_id for one in missing], [one.at for one in missing]
        await tx.execute(MAKE, [one.order_id for one in missing], stores, times)
        found |= {row.order_id: row for row in await locked(tx, [one.order_id for one in missing])}
    return found


async def locked(tx: Connection, keys: Sequence[UUID]) -> Sequence[OrderRow]:
    """Returns the rows of some orders, locked in the order of their keys."""
    return [read(record) for record in await tx.fetch(LOCK, keys)]


def read(record: Record) -> OrderRow:
    *plain, versions, memory, found = record
    plain[_TAGS] = tuple(plain[_TAGS])
    return OrderRow._make((*plain, orjson.loads(versions), Memory(**_tuples(memory)), Words(**_tuples(found))))


def _tuples(text: str) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in orjson.loads(text).items()}


def write(rows: Sequence[OrderRow]) -> Sequence[Rows]:
    return [
        Rows(SAVED, columns([_written(row) for row in rows], len(WRITTEN)), "saved", RowOfAnotherStore),
        Rows(STORES, [sorted({row.store_id for row in rows})]),
    ]


async def remember(tx: Connection, rows: Sequence[OrderRow]) -> None:
    """Writes what rows that are locked wait for, and their memory."""
    found = [(row.order_id, row.waiting, row.step, row.since, _json(_stated(row.memory))) for row in rows]
    await tx.execute(REMEMBER, *columns(found, 5))


async def put(tx: Connection, rows: Sequence[OrderRow], schema: str) -> None:
    """Writes rows whole, also new ones, into the table of a schema."""
    await tx.execute(DELETE.format(schema=schema), [row.order_id for row in rows])
    await tx.execute(INSERT.format(schema=schema), *columns([_written(row) for row in rows], len(WRITTEN)))
    await tx.execute(
        "insert into stores (store_id) select distinct * from unnest($1::text[]) on conflict do nothing",
        sorted({row.store_id for row in rows}),
    )


def _written(row: OrderRow) -> tuple[Any, ...]:
    *plain, versions, memory, found = row
    plain[_TAGS] = "{" + ",".join(f'"{tag}"' for tag in row.tags) + "}"
    return (
        *plain, _json(versions), _json(_stated(memory)), _json(_stated(found)), words.vector(found), words.folded(row.number),
    )  # fmt: skip


_TAGS: Final = PLAIN.index("tags")
_DEFAULTS: Final = {Memory: Memory(), Words: Words()}


def _stated(value: Memory | Words) -> dict[str, Any]:
    """Returns the fields that differ from their defaults."""
    fields = zip(value._fields, value, _DEFAULTS[type(value)], strict=True)
    return {name: one for name, one, default in fields if one != default}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


PROJECTION: Final = Listener(topics=EVENTS, fold=state, write=write, combine=combine)
