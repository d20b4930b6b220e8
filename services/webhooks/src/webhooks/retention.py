"""Makes partitions of the feed and of the attempts ahead of time, and drops those that are too old: of the feed after
`feed_days`, of the attempts after ATTEMPT_DAYS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, cast

import structlog
from asyncpg import Connection

from chassis.batch.errors import is_transient
from chassis.declare.app import App
from webhooks.settings import Settings
from webhooks.tables import PARTITION_ROWS

log = structlog.get_logger("webhooks.retention")

AHEAD: Final = 2
"""Partitions that exist beyond that of the head."""
PAUSE_SECONDS: Final = 60.0
PARTITIONS: Final = """
select substr(relname, 6)::bigint as number from pg_class where relname ~ '^feed_[0-9]+$' and relkind = 'r' order by 1"""
STRAYED: Final = "select exists (select 1 from feed_default where position >= $1 and position < $1 + $2)"
ATTEMPT_DAYS: Final = 90
DAYS_AHEAD: Final = 3
ATTEMPT_PARTITIONS: Final = (
    "select relname from pg_class where relname ~ '^attempts_[0-9]{8}$' and relkind = 'r' order by 1"
)
ATTEMPTS_STRAYED: Final = "select exists (select 1 from attempts_default where at >= $1 and at < $2)"
LOCK: Final = "select pg_advisory_xact_lock(6021980)"


def partition(number: int) -> str:
    """The statement that creates the partition of the positions from `number` * PARTITION_ROWS on."""
    first = number * PARTITION_ROWS
    return f"create table feed_{number} partition of feed for values from ({first}) to ({first + PARTITION_ROWS})"


async def create_ahead(tx: Connection) -> None:
    """Create what is missing. AHEAD partitions take far longer to fill than PAUSE_SECONDS; if they ever are full, events go to
    the default partition, and the partition of their positions is never made."""
    await tx.execute(LOCK)
    head = await tx.fetchval("select position from feed_head")
    existing = {row["number"] for row in await tx.fetch(PARTITIONS)}
    for number in range(head // PARTITION_ROWS, head // PARTITION_ROWS + AHEAD + 1):
        if number not in existing and not await tx.fetchval(STRAYED, number * PARTITION_ROWS, PARTITION_ROWS):
            await tx.execute(partition(number))


async def drop_old(tx: Connection, days: int) -> list[int]:
    """Drop the partitions whose newest event is older than `days`; returns their numbers."""
    await tx.execute(LOCK)
    head = await tx.fetchval("select position from feed_head")
    dropped = []
    for number in [row["number"] for row in await tx.fetch(PARTITIONS)]:
        last = (number + 1) * PARTITION_ROWS - 1
        if last >= head:
            break
        age = await tx.fetchval("select clock_timestamp() - at from feed where position = $1", last)
        if age is not None and age <= timedelta(days=days):
            break
        await tx.execute(f"drop table feed_{number}")
        dropped.append(number)
    return dropped


async def create_attempt_days(tx: Connection) -> None:
    """Create the partitions of today and the next days, except for days with rows in the default partition."""
    await tx.execute(LOCK)
    existing = {row["relname"] for row in await tx.fetch(ATTEMPT_PARTITIONS)}
    today: datetime = await tx.fetchval("select date_trunc('day', clock_timestamp(), 'UTC')")
    for day in (today + timedelta(days=number) for number in range(DAYS_AHEAD + 1)):
        name, until = f"attempts_{day:%Y%m%d}", day + timedelta(days=1)
        if name not in existing and not await tx.fetchval(ATTEMPTS_STRAYED, day, until):
            await tx.execute(f"create table {name} partition of attempts for values from ('{day}') to ('{until}')")


async def drop_old_attempts(tx: Connection, days: int) -> list[str]:
    """Drop the partitions of days that ended more than `days` ago; returns their names."""
    await tx.execute(LOCK)
    now: datetime = await tx.fetchval("select clock_timestamp()")
    limit = f"attempts_{now - timedelta(days=days + 1):%Y%m%d}"
    old = [row["relname"] for row in await tx.fetch(ATTEMPT_PARTITIONS) if row["relname"] < limit]
    for name in old:
        await tx.execute(f"drop table {name}")
    return old


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    settings = cast(Settings, app.settings)

    async def keep() -> None:
        while True:
            try:
                await app.write(create_ahead)
                if dropped := await app.write(lambda tx: drop_old(tx, settings.feed_days)):
                    log.info("feed_partitions_dropped", partitions=dropped)
                await app.write(create_attempt_days)
                if old := await app.write(lambda tx: drop_old_attempts(tx, ATTEMPT_DAYS)):
                    log.info("attempt_days_dropped", partitions=old)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(5)

    return {"retention": keep}
