"""Creates day partitions of inbox and journal ahead of time, and drops those of the inbox past its horizon."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import structlog
from asyncpg import Connection

from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.settings import ServiceSettings

log = structlog.get_logger("chassis.work.partitions")

DAYS_AHEAD = 3


def inbox_bound(day: date) -> UUID:
    """The smallest inbox id of a day: its first millisecond in the upper 48 bits."""
    milliseconds = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    return UUID(int=milliseconds << 80)


async def ensure(tx: Connection, first: date, last: date) -> None:
    """Create the partitions from `first` to `last`, except for days with rows in the default partition."""
    await tx.execute("select pg_advisory_xact_lock(6021978)")
    day = first
    while day <= last:
        until = day + timedelta(days=1)
        for table, low, high in (
            ("inbox", inbox_bound(day), inbox_bound(until)),
            ("journal", day, until),
        ):
            name = f"{table}_{day:%Y%m%d}"
            if await tx.fetchval("select to_regclass($1)", name) is not None:
                continue
            # `create table ... partition of` takes this lock anyway; taken now, no row slips into the default one meanwhile.
            await tx.execute(f"lock table {table} in access exclusive mode")
            column = "id" if table == "inbox" else "day"
            if await tx.fetchval(
                f"select exists (select 1 from {table}_default where {column} >= $1 and {column} < $2)", low, high
            ):
                continue  # its rows stay in the default partition
            await tx.execute(f"create table {name} partition of {table} for values from ('{low}') to ('{high}')")
        day = until


async def drop_old_inbox(tx: Connection, before: date) -> list[str]:
    """Drop inbox days past the horizon. The journal's stay: it is the history (see operations.md on when to drop them)."""
    rows = await tx.fetch("select relname from pg_class where relname ~ '^inbox_[0-9]{8}$' and relkind = 'r'")
    old = sorted(row["relname"] for row in rows if row["relname"] < f"inbox_{before:%Y%m%d}")
    for name in old:
        await tx.execute(f"drop table {name}")
    return old


async def drop_old_answers(tx: Connection, days: int) -> None:
    """Delete the answers of requests past the retention of their Idempotency-Keys."""
    await tx.execute("delete from idempotency where created_at < now() - make_interval(days => $1)", days)


async def keep(database: Database, settings: ServiceSettings) -> None:
    """Maintain the partitions once an hour, until cancelled."""
    while True:
        try:
            async with database.transaction() as tx:
                today = (await tx.fetchval("select clock_timestamp()")).date()
                await ensure(tx, today, today + timedelta(days=DAYS_AHEAD))
            async with database.transaction() as tx:
                horizon = timedelta(seconds=settings.inbox_horizon_seconds, days=1)
                if dropped := await drop_old_inbox(tx, today - horizon):
                    log.info("inbox_days_dropped", partitions=dropped)
                await drop_old_answers(tx, settings.idempotency_retention_days)
            await asyncio.sleep(3600)
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(5)
