"""Reads the journal: by key, by operation, by position. All queries on the journal of a running service are in this module.

`journal` has a partition per day, and a query reads only the partitions that it needs:

- by key: an aggregate's row has the first and the last day on which something was journaled under its key
  (`journal_from`, `journal_to`)
- by position: (day, id) is the primary key; the outbox points with it
- after a restore: `unfolded` lists the days of the adopted events

The days reach a query of a generic plan as parameters of a nested loop, so each subquery is `lateral`, with `limit` or
`offset 0`: PostgreSQL would turn it into a join that may read every partition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text, TextClause, Uuid, bindparam, text

from contracts.base import Event, PrivateEvent
from contracts.registry import MESSAGES

if TYPE_CHECKING:
    from asyncpg import Connection
    from sqlalchemy.engine import RowMapping
    from sqlalchemy.sql import Executable

    from chassis.declare.service import Service


class Entry(NamedTuple):
    """An event of an aggregate, or a command that it sent."""

    id: int
    """Rises in the order of the decisions on a key."""
    day: date
    at: datetime
    revision: int | None
    """Null: a command."""
    version: int | None
    """Null: a command or a private event."""
    type: str
    message_id: UUID
    operation_id: UUID | None
    topic: str | None
    """Null: private."""
    actor: str
    via: str | None
    """The actor of the API key that acted for the person in `actor`."""
    cause_type: str
    cause_id: str
    """`ce_id` of the message on which it was decided; the id of a request, a timer or a report, which no journal has."""
    correlation_id: str
    payload: str
    """JSON."""


# -- by key and by operation ------------------------------------------------------------------------------------------


def by_key(
    table: str, store_id: str, key: UUID, *, after: int = 0, before: int | None = None, latest: bool = False,
    limit: int | None = None, operation_id: UUID | None = None, without: Sequence[str] = (), only: Sequence[str] | None = None,
) -> TextClause:  # fmt: skip
    """The query of `entries`."""
    return text(f"""
select j.* from (select key, journal_from, journal_to from {table} where key = :key and store_id = :store_id limit 1) a
cross join lateral (
  select {", ".join(Entry._fields)} from journal
  where key = a.key and aggregate = '{table}' and day between a.journal_from and a.journal_to and id > :after
    and (:before is null or id < :before) and (:operation_id is null or operation_id = :operation_id) and not type = any(:without)
    and (:only is null or type = any(:only))
  order by id {"desc" if latest else ""} limit :limit) j
order by j.id""").bindparams(
        bindparam("key", key, Uuid), bindparam("store_id", store_id, Text), bindparam("after", after, BigInteger),
        bindparam("before", before, BigInteger), bindparam("limit", limit, BigInteger),
        bindparam("operation_id", operation_id, Uuid), bindparam("without", list(without), ARRAY(Text)),
        bindparam("only", list(only) if only is not None else None, ARRAY(Text)),
    )  # fmt: skip


async def entries(
    read: Callable[[Executable], Awaitable[Sequence[RowMapping]]], table: str, store_id: str, key: UUID, *,
    after: int = 0, before: int | None = None, latest: bool = False, limit: int | None = None,
    operation_id: UUID | None = None, without: Sequence[str] = (), only: Sequence[str] | None = None,
) -> list[Entry]:  # fmt: skip
    """Returns what is journaled under the key of a store's aggregate, newest last.

    read: `App.read`. table: the aggregate's. after, before: only entries with higher, lower ids. latest: whether a `limit`
    cuts off the oldest entries, else it cuts off the newest. without: types that are left out. only: the types that are
    read; null: all.
    """
    asked = by_key(table, store_id, key, after=after, before=before, latest=latest, limit=limit,
                   operation_id=operation_id, without=without, only=only)  # fmt: skip
    return [Entry(**row) for row in await read(asked)]


@cache
def answers_again(table: str) -> str:
    """SQL that publishes answers again: $1 keys and $2 revisions of events that are journaled."""
    return f"""
insert into outbox (day, journal_id)
select j.day, j.id from unnest($1::uuid[], $2::int[]) with ordinality as u(key, revision, n)
cross join lateral (select key, journal_from, journal_to from {table} where key = u.key limit 1) a
cross join lateral (
  select day, id from journal
  where key = a.key and aggregate = '{table}' and day between a.journal_from and a.journal_to and revision = u.revision
  limit 1) j
order by u.n"""


# -- by position ------------------------------------------------------------------------------------------------------

POINTED: Final = "cross join lateral (select * from journal where day = o.day and id = o.journal_id limit 1) j"
"""Joins the journal row `j` to the row `o` of the outbox."""
OUTBOX_AGE: Final = f"""
select coalesce((select extract(epoch from clock_timestamp() - j.at)
  from (select day, journal_id from outbox order by id limit 1) o {POINTED}), 0)::float8"""
"""Seconds since the oldest row of the outbox was journaled; 0 for an empty outbox."""


# -- after a restore --------------------------------------------------------------------------------------------------

ADOPTED: Final = """
select j.type, j.payload from unfolded u
cross join lateral (
  select id, type, payload from journal where day = u.day and id > u.after_id and actor = 'recovery' offset 0) j
order by j.id"""


async def adopted(tx: Connection) -> AsyncIterator[Event]:
    """Yields the adopted events that shared rows lack, in the order of their adoption."""
    async for row in tx.cursor(ADOPTED):
        event = MESSAGES[row["type"]].model_validate_json(row["payload"])
        assert isinstance(event, Event)
        yield event


# -- the types that a journal holds -----------------------------------------------------------------------------------


def models(service: Service) -> dict[str, type[Any]]:
    """Returns the model of each type that the service journals: its events, private ones too, and every command."""
    private = {model.TYPE: model for model in _subclasses(PrivateEvent) if model.owner() == service.name}
    return {**MESSAGES, **private}


def _subclasses(base: type[PrivateEvent]) -> Iterable[type[PrivateEvent]]:
    for model in base.__subclasses__():
        yield model
        yield from _subclasses(model)


# -- the invariant of the days ----------------------------------------------------------------------------------------


MISSED: Final = """
select count(*), count(*) filter (where a.key is null or j.day not between a.journal_from and a.journal_to)
from journal j left join {table} a on a.key = j.key where j.aggregate = '{table}'"""


async def check(tx: Connection, service: Service) -> list[tuple[str, int, int]]:
    """Returns (name, comparisons made, violations): each entry is in the days that the row of its aggregate names."""
    if not service.aggregates:
        return []
    counted = await tx.fetch(" union all ".join(MISSED.format(table=one.table) for one in service.aggregates))
    checked, missed = map(sum, zip(*counted, strict=True))
    return [(f"{service.name}.journal_is_found_by_key", checked, missed)]
