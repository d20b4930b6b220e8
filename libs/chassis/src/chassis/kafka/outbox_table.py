"""The SQL of the relay: its lease, the next rows of the outbox, and rows set aside.

Neither a lease nor a deletion has to survive the machine: if one is lost, rows are published again, and consumers remove the
duplicates. So their commits wait for no disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from asyncpg import Connection

from chassis.batch.database import Database
from chassis.batch.outbox import OutboxRow
from chassis.journal import POINTED

LEASE: Final = """
with unsynced as (select set_config('synchronous_commit', 'off', true))
insert into leases (name, holder, until)
select 'relay', $1, clock_timestamp() + make_interval(secs => $2) from unsynced
on conflict (name) do update set holder = excluded.holder, until = excluded.until
where leases.holder = excluded.holder or leases.until < clock_timestamp()
returning holder"""

# One statement deletes the rows that are published and reads the next ones without those that it deletes.
# The columns of `state` are in every row; if there is no row to read, they are in the only one.
# Lateral with its limit: always a look-up by key. On a journal that grew since it was last analyzed, a plain join scans it.
NEXT: Final = f"""
with unsynced as (select set_config('synchronous_commit', 'off', true)),
  gone as (delete from outbox using unsynced where id = any($3::bigint[])),
  positioned as (
    insert into relay_positions (topic, partition, next_offset)
    select u.* from unsynced, unnest($4::text[], $5::int[], $6::bigint[]) as u
    on conflict (topic, partition) do update set next_offset = greatest(relay_positions.next_offset, excluded.next_offset)),
  state as materialized (
    select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as ended_before,
      case when $7::bool then pg_current_xact_id()::text::bigint end as own,
      exists (select from outbox_set_aside) as aside)
select r.*, state.*
from state left join (
  select o.id, o.day, o.journal_id, j.key, j.store_id, j.type, j.message_id::text, j.topic, j.at, j.cause_id, j.correlation_id,
    j.traceparent, j.payload, exists (select from outbox_set_aside s where s.key = j.key) as late
  from (select id, day, journal_id from outbox where id > $1 order by id limit $2 + cardinality($3::bigint[])) o
  {POINTED}
  where o.id not in (select unnest($3::bigint[]))) r on true
order by r.id"""

BEHIND: Final = "an earlier row of its order is set aside"
"""The cause of a row that is set aside for another row of its key."""


class NextRows(NamedTuple):
    rows: list[OutboxRow]
    """To publish now, in the order of their ids."""
    late: list[OutboxRow]
    """Rows whose key has a row that is set aside: they have to be set aside, too."""
    ended_before: int
    """Every transaction with a lower id has ended (`pg_snapshot_xmin`)."""
    own: int | None
    """The id of the query's own transaction, if requested."""
    aside: bool
    """Whether any row is set aside."""


async def lease(connection: Connection, holder: str, seconds: float) -> bool:
    """Take or renew the relay's lease; whether `holder` has it."""
    return await connection.fetchval(LEASE, holder, seconds) is not None


async def next_rows(
    connection: Connection, *, above: int, rows_max: int, published: Sequence[int],
    positions: Mapping[tuple[str, int], int], with_own: bool,
) -> NextRows:  # fmt: skip
    """Delete the rows `published`, store the offsets behind our last records, and return the next rows.

    above: the highest id at or below which no row can be left.
    """
    ordered = sorted(positions.items())
    found = await connection.fetch(
        NEXT, above, rows_max, published,
        [topic for (topic, _), _ in ordered],
        [partition for (_, partition), _ in ordered],
        [offset for _, offset in ordered],
        with_own,
    )  # fmt: skip
    state = found[0]
    rows: list[OutboxRow] = []
    late: list[OutboxRow] = []
    for one in found if state["id"] is not None else ():
        (late if one["late"] else rows).append(OutboxRow(*one[: len(OutboxRow._fields)]))
    return NextRows(rows, late, state["ended_before"], state["own"], state["aside"])


async def move_aside(tx: Connection, rows: Sequence[OutboxRow], cause: str) -> None:
    await tx.execute(
        "insert into outbox_set_aside (id, key, day, journal_id, cause)"
        " select id, key, day, journal_id, $5 from unnest($1::bigint[], $2::uuid[], $3::date[], $4::bigint[])"
        " as u(id, key, day, journal_id) on conflict do nothing",
        [row.id for row in rows],
        [row.key for row in rows],
        [row.day for row in rows],
        [row.journal_id for row in rows],
        cause,
    )
    await tx.execute("delete from outbox where id = any($1::bigint[])", [row.id for row in rows])


async def put_back(database: Database) -> int:
    """Move the rows that are set aside back to the outbox, in their order; how many. To call once their cause is fixed."""
    async with database.transaction() as tx:
        done: str = await tx.execute(
            "with back as (delete from outbox_set_aside returning id, day, journal_id)"
            " insert into outbox (day, journal_id) select day, journal_id from back order by id"
        )
    return int(done.rpartition(" ")[2])
