"""Makes partitions of the feed ahead of its head, and drops those whose events are all older than `feed_days`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
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


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    settings = cast(Settings, app.settings)

    async def keep() -> None:
        while True:
            try:
                await app.write(create_ahead)
                if dropped := await app.write(lambda tx: drop_old(tx, settings.feed_days)):
                    log.info("feed_partitions_dropped", partitions=dropped)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(5)

    return {"retention": keep}
