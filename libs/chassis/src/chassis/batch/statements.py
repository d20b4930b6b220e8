"""The SQL of a batch's transaction: one statement opens it, another one writes everything that every batch writes.

Each takes arrays, one per column, for any batch size. Common table expressions combine several writes in one statement,
because a round trip costs more than most of them. `services/<name>/sql/batch.sql` has the statements of each service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from asyncpg import Connection

from chassis.batch import aggregates
from chassis.batch.aggregates import LOCK, Locked, Slot
from chassis.batch.inbound import Inbound
from chassis.declare.sql import Piece, Rows, columns
from chassis.journal import answers_again
from contracts.deciding import Task

Timer = tuple[str, UUID, datetime | None]
"""Table and key of an aggregate, and the time of its timer; null: no timer."""
Offsets = Mapping[tuple[str, int], int]
"""(topic, partition) -> the offset after the last record."""
NOTHING_READ: Final[Offsets] = MappingProxyType({})
LockedRows = Mapping[str, Sequence[Locked]]
"""Table -> its rows that this transaction has locked."""
NOTHING_LOCKED: Final[LockedRows] = MappingProxyType({})


class JournalRow(NamedTuple):
    """In the order of the columns that `JOURNALED` names."""

    key: UUID
    store_id: str
    aggregate: str
    revision: int | None
    version: int | None
    type: str
    message_id: str
    operation_id: UUID | None
    topic: str | None
    actor: str
    cause_type: str
    cause_id: str
    correlation_id: str
    traceparent: str | None
    payload: str
    via: str | None


@cache
def statement(select: str, *pieces: Piece) -> str:
    """Returns a statement of all pieces, their parameters numbered one after another, and `select`."""
    texts, first = [], 1
    for piece in pieces:
        texts.append(piece.text.format(*(f"${first + n}" for n in range(piece.parameters))))
        first += piece.parameters
    return f"with {', '.join(texts)} {select}"


# -- what opens a transaction -----------------------------------------------------------------------------------------

CLAIMED = Piece(
    """
claimed as (insert into inbox (id) select unnest({0}::uuid[]) on conflict do nothing returning id),
held as materialized (select key from parked_keys where key = any({1}::uuid[]) order by key for update)""",
    2,
)
OPENED = "array(select id from claimed) as fresh, array(select key from held) as parked"
LOCKED = ", ".join(f"array(select {field} from locked) as {field}" for field in Locked._fields)


@cache
def _locking(table: str) -> Piece:
    """Locks the rows of an aggregate, after the parked keys."""
    lock = LOCK.format(table=table, after=", (select count(*) from held) as first", keys="{0}")
    return Piece(f"locked as materialized ({lock})", 1)


class Opened(NamedTuple):
    now: datetime
    """The database's clock, once everything is locked."""
    fresh: Sequence[UUID]
    """The claims that did not exist before."""
    parked: Sequence[UUID]
    """The keys that are parked; their rows are locked."""
    locked: LockedRows


@cache
def opening(table: str | None) -> str:
    """Returns the statement that opens a transaction; it locks rows of `table` if one is given."""
    if table is None:
        return statement(f"select {OPENED}, clock_timestamp() as now", CLAIMED)
    return statement(f"select {OPENED}, {LOCKED}, clock_timestamp() as now", CLAIMED, _locking(table))


async def begin(tx: Connection, claims: Sequence[UUID], keys: Sequence[UUID], tables: set[str]) -> Opened:
    """Claim messages in the inbox, lock the parked keys, then the rows of `keys` if they can only be of one table."""
    if len(tables) != 1:
        row = await tx.fetchrow(opening(None), claims, keys)
        assert row is not None
        return Opened(row["now"], row["fresh"], row["parked"], NOTHING_LOCKED)
    (table,) = tables
    row = await tx.fetchrow(opening(table), claims, keys, keys)
    assert row is not None
    locked = [Locked(*values) for values in zip(*(row[field] for field in Locked._fields), strict=True)]
    return Opened(row["now"], row["fresh"], row["parked"], {table: locked})


# -- what every batch writes ------------------------------------------------------------------------------------------

# Unnested in the select list, which returns the rows one by one in the order of the arrays. `unnest` in a `from` would first
# materialize all rows, payloads included, and an `order by` a second time. A test checks the order of the journal.
JOURNALED = Piece(
    """
written as (
  insert into journal (key, store_id, aggregate, revision, version, type, message_id, operation_id, topic, actor,
    cause_type, cause_id, correlation_id, traceparent, payload, via, day, at)
  select unnest({0}::uuid[]), unnest({1}::text[]), unnest({2}::text[]), unnest({3}::int[]), unnest({4}::int[]),
    unnest({5}::text[]), unnest({6}::uuid[]), unnest({7}::uuid[]), unnest({8}::text[]), unnest({9}::text[]),
    unnest({10}::text[]), unnest({11}::text[]), unnest({12}::text[]), unnest({13}::text[]), unnest({14}::text[]),
    unnest({15}::text[]), ({16}::timestamptz at time zone 'UTC')::date, {16}::timestamptz
  returning day, id, topic),
pointed as (
  insert into outbox (day, journal_id) select day, id from written where topic is not null order by id
  returning id, journal_id)""",
    17,
)

# Offsets of duplicates before the batch that ended the process do not reset its count of crashes.
CLOSED = Piece(
    """
gone as (delete from timers using unnest({0}::text[], {1}::uuid[]) as u(a, k) where aggregate = u.a and key = u.k),
armed as (
  insert into timers (aggregate, key, due_at) select * from unnest({2}::text[], {3}::uuid[], {4}::timestamptz[])
  on conflict (aggregate, key) do update set due_at = excluded.due_at),
read as (
  insert into consumer_offsets (topic, partition, next_offset) select * from unnest({5}::text[], {6}::int[], {7}::bigint[])
  on conflict (topic, partition) do update set next_offset = excluded.next_offset,
    crashes = case when excluded.next_offset > consumer_offsets.tried_offset then 0 else consumer_offsets.crashes end),
held as (select key from parked_keys where key = any({8}::uuid[]))""",
    9,
)
WRITTEN = ", ".join((
    "array(select key from held)",
    "array(select id from pointed order by id)",
    "array(select journal_id from pointed order by id)",
))  # fmt: skip


class Written(NamedTuple):
    parked: Set[UUID] = frozenset()
    """The keys that are parked now."""
    outbox: Sequence[tuple[int, int]] = ()
    """(outbox id, journal id) of each published journal row, in their order."""


async def write(
    tx: Connection, changed: Sequence[Sequence[Slot]], own: Sequence[Rows], journal: Sequence[JournalRow], now: datetime,
    timers: Sequence[Timer], offsets: Offsets, keys: Sequence[UUID],
) -> Written:  # fmt: skip
    """Aggregates, rows of the service's own, journal, outbox, timers and offsets.

    `changed` are the slots of each table, in the order of their keys. Raises Conflict, or what one of `own` raises.
    """
    if not (changed or journal or timers or offsets or keys):
        return Written()
    saved = [aggregates.rows(slots[0].aggregate, slots) for slots in changed]
    always = [
        Rows(JOURNALED, [*columns(journal, len(JournalRow._fields)), now]),
        Rows(CLOSED, _closed(timers, offsets, keys)),
    ]
    parked, ids, journal_ids = await write_rows(tx, [*saved, *own, *always], WRITTEN)
    return Written(set(parked), list(zip(ids, journal_ids, strict=True)))


def writing(rows: Sequence[Rows], select: str) -> str:
    """Returns the statement that writes all of them; it selects `select`, then how many rows each counted one has written."""
    counts = ", ".join(f"(select count(*) from {one.written})" for one in rows if one.written)
    return statement(f"select {select}, array[{counts}]::bigint[]", *(one.piece for one in rows))


async def write_rows(tx: Connection, rows: Sequence[Rows], select: str = "null") -> Sequence[Any]:
    """Write all rows in one statement; returns the columns of `select`. Raises the error of the first that is not written whole."""
    counted = [one for one in rows if one.written]
    row = await tx.fetchrow(writing(rows, select), *(argument for one in rows for argument in one.arguments))
    assert row is not None
    *answer, written = row
    for one, count in zip(counted, written, strict=True):
        if count != len(one.arguments[0]):
            raise one.otherwise()
    return answer


STORED_OFFSETS: Final = statement("select", CLOSED)


async def store_offsets(connection: Connection, offsets: Offsets) -> None:
    """Store how far the topics were read."""
    await connection.execute(STORED_OFFSETS, *_closed((), offsets, ()))


def _closed(timers: Sequence[Timer], offsets: Offsets, keys: Sequence[UUID]) -> list[Any]:
    """The arguments of `CLOSED`."""
    gone = [(table, key) for table, key, due in timers if due is None]
    armed = [timer for timer in timers if timer[2] is not None]
    read = sorted(offsets.items())
    return [
        [table for table, _ in gone], [key for _, key in gone],
        [table for table, _, _ in armed], [key for _, key, _ in armed], [due for _, _, due in armed],
        [topic for (topic, _), _ in read], [part for (_, part), _ in read], [offset for _, offset in read], keys,
    ]  # fmt: skip


# -- what some batches write ------------------------------------------------------------------------------------------

CLOSED_OPERATIONS = Piece(
    """
closed_operations_written as (
  insert into closed_operations (aggregate, key, operation_id, revision)
  select * from unnest({0}::text[], {1}::uuid[], {2}::uuid[], {3}::int[])
  on conflict (aggregate, key, operation_id) do update set revision = excluded.revision)""",
    4,
)

ANSWERED_BEFORE = """
select aggregate, key, operation_id, revision
from closed_operations join unnest($1::text[], $2::uuid[], $3::uuid[]) as u(a, k, o)
  on aggregate = a and key = k and operation_id = o"""

# A repeated task is the same task. One of another order under its id is refused: it would never run.
TASKS = """
with given as (
  select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
    $9::boolean[], $10::float8[]) as u(task_id, key, store_id, aggregate, kind, body, correlation_id, traceparent, beside, after)),
made as (
insert into tasks (task_id, key, store_id, aggregate, kind, body, correlation_id, traceparent, beside, run_at)
select task_id, key, store_id, aggregate, kind, body, correlation_id, traceparent, beside,
  $11::timestamptz + make_interval(secs => after)
from given
on conflict (task_id) do update set task_id = excluded.task_id
where tasks.key = excluded.key and tasks.store_id = excluded.store_id
returning task_id)
select task_id from given except select task_id from made"""

ADOPTED = """
insert into journal (day, key, store_id, aggregate, revision, version, type, message_id, operation_id, topic,
  actor, cause_type, cause_id, correlation_id, traceparent, payload, via, at)
select (u.at at time zone 'UTC')::date, u.* from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[],
  $7::uuid[], $8::uuid[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
  $16::text[], $17::timestamptz[]) as u(key, store_id, aggregate, revision, version, type, message_id, operation_id, topic,
    actor, cause_type, cause_id, correlation_id, traceparent, payload, via, at)"""

WIDENED = """
update {table} t set journal_from = least(t.journal_from, u.first), journal_to = greatest(t.journal_to, u.last)
from (select key, min(day) as first, max(day) as last from unnest($1::uuid[], $2::date[]) as d(key, day) group by key) u
where t.key = u.key"""


ENDED = "delete from tasks where task_id = any($1::uuid[])"


class TaskTaken(Exception):
    """Another order has a task of this id. Not transient: the message is parked."""


async def answered_before(
    tx: Connection, operations: Sequence[tuple[str, UUID, UUID]]
) -> dict[tuple[str, UUID, UUID], int]:
    """(table, key, operation id) -> revision of the answer, of those among `operations` that are closed."""
    rows = await tx.fetch(ANSWERED_BEFORE, *columns(operations, 3))
    return {(row["aggregate"], row["key"], row["operation_id"]): row["revision"] for row in rows}


async def publish_again(tx: Connection, answers: Sequence[tuple[str, UUID, int]]) -> None:
    """Publish earlier answers again, given as (table, key, revision), because their commands were repeated."""
    for table in sorted({table for table, _, _ in answers}):
        of_table = [answer[1:] for answer in answers if answer[0] == table]
        await tx.execute(answers_again(table), *columns(of_table, 2))


async def save_tasks(tx: Connection, tasks: Sequence[tuple[Inbound, str, Task]], now: datetime) -> None:
    """Store tasks, each with its message and the table of its aggregate. Raises TaskTaken."""
    rows: dict[UUID, tuple[Any, ...]] = {}
    for inbound, table, task in tasks:
        row = (task.task_id, inbound.key, inbound.store_id, table, task.kind, task.body.model_dump_json(),
               inbound.correlation_id, inbound.traceparent, task.beside, task.after_seconds)  # fmt: skip
        if rows.setdefault(task.task_id, row)[1:3] != row[1:3]:
            raise TaskTaken(f"{task.task_id}: two orders of one batch ask for a task of this id")
    if taken := await tx.fetch(TASKS, *columns(list(rows.values()), 10), now):
        raise TaskTaken(f"{taken[0]['task_id']}: an open task of another order has this id")


async def journal_adopted(tx: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write journal rows, each followed by its time, that are not published again."""
    await tx.execute(ADOPTED, *columns(rows, len(JournalRow._fields) + 1))
    for table in sorted({row[2] for row in rows}):
        days = [(row[0], row[-1].astimezone(UTC).date()) for row in rows if row[2] == table]
        await tx.execute(WIDENED.format(table=table), *columns(days, 2))
