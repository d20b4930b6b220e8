"""Outbox -> topic. One relay per service publishes at a time, under a lease; no other part of a process publishes.

The order of a key's messages holds because a transaction that journals under a key has locked that key's row, so the outbox
ids of a key rise in commit order; and because one batch per partition is in flight at a time. Rows that this process has
just committed are published from memory as long as no row before them can be missing (`fresh.py`). Everything else is found
by querying the outbox. After a crash between acknowledgement and deletion rows are published again, and consumers remove the
duplicates by (source, id). No transaction is open while records are sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
from asyncpg import Connection

from chassis import crash
from chassis.batch.database import Database
from chassis.batch.outbox import OutboxRow
from chassis.declare.service import Service
from chassis.kafka import outbox_table
from chassis.kafka.fresh import Fresh, Queried
from chassis.kafka.outbox_table import BEHIND, NextRows
from chassis.kafka.publisher import Partition, Publisher
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics

log = structlog.get_logger("chassis.kafka.relay")

QUERY_SECONDS: Final = 1.0
"""Maximum time between two queries of the outbox while rows are published from memory: a query deletes published rows."""
OTHERS_POLL_MS: Final = 20
"""Between two queries while other processes of the service add rows to the outbox."""
OTHERS_SECONDS: Final = 1.0
"""After a row of another process, more are expected for this time."""
POSITIONS_SECONDS: Final = 1.0
"""Between two writes of `relay_positions`."""
FLOOR_SECONDS: Final = 120
"""No row can be left at or below the highest id that was published this long ago: a transaction lives half as long at most."""
RETRY_SECONDS: Final = 0.5


class LeaseLost(Exception):
    """Another relay took the lease after this one had not renewed it."""


class Relay:
    def __init__(self, service: Service, settings: ServiceSettings, database: Database, metrics: Metrics) -> None:
        self.settings, self.database, self.metrics = settings, database, metrics
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.stopping = False
        self.flushed_at = time.monotonic()
        self._publisher = Publisher(service.name, settings, self._renew, self._set_aside)
        self._wake = asyncio.Event()
        self._renew_at = 0.0
        """Until then the lease is ours; 0: it is not."""
        self._fresh = Fresh()
        self._aside = True
        """Whether rows may be set aside, behind which later rows of their keys have to wait. Each query returns it; between two
        queries only the holder of the lease sets rows aside."""
        self._queried_at = 0.0
        self._strange: set[int] = set()
        """Ids of the last query that no commit of this process has offered: rows of another process, or offered later."""
        self._others_until = 0.0
        """Until then other processes of the service are expected to add rows to the outbox."""
        self._floor = 0
        self._published: deque[tuple[float, int]] = deque()
        """(monotonic time, highest id) of each flush since FLOOR_SECONDS."""
        self._acked: list[int] = []
        """Ids of published rows that are still in the outbox; the next query deletes them."""
        self._positions: dict[Partition, int] = {}
        """The offset after our last record in each partition where it is not stored yet."""
        self._positioned_at = 0.0

    def wake(self) -> None:
        """There may be new rows in the outbox."""
        self._wake.set()

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """There are new rows in the outbox; `rows` of them are from a transaction of this process, now committed."""
        self._fresh.offer(rows)
        self._strange.difference_update(row.id for row in rows)
        self._wake.set()

    async def run(self) -> None:
        """Publish until `stopping` and the outbox is empty. After an error: a new producer and the same rows.

        Commits of this process wake it. Rows of other processes are found by queries, which are frequent only while there are
        such rows.
        """
        while True:
            self._wake.clear()
            try:
                count = await self.flush()
            except Exception as error:
                log.warning("relay_again", error=repr(error))
                self._reset()
                await self.close()
                if self.stopping:
                    return
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if count >= self.settings.relay_rows_max or (count and (self.stopping or self._fresh.waiting)):
                continue
            if self.stopping:
                await self.close()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pause_ms / 1000):
                    await self._wake.wait()

    @property
    def pause_ms(self) -> int:
        """Maximum time until the next query."""
        return OTHERS_POLL_MS if time.monotonic() < self._others_until else self.settings.relay_poll_ms_max

    async def flush(self) -> int:
        """Publish the rows that may go from memory, else those of one query; how many. 0 also without the lease."""
        rows = self._fresh.take(self.settings.relay_rows_max) if self._query_is_not_due() else []
        rows = rows or await self._query()
        if not rows:
            self.flushed_at = time.monotonic()
            return 0
        crash.point("before_produce")
        published = await self._publisher.publish(rows)
        crash.point("after_produce_before_delete")
        self._positions |= published.offsets
        self._acked += published.acked
        self.metrics.relayed.inc(len(published.acked))
        self.flushed_at = time.monotonic()
        self._raise_floor(max(row.id for row in rows))
        return len(rows)

    async def close(self) -> None:
        """Records that were given to the client are sent, or given up after a while."""
        await self._publisher.close()

    async def put_back(self) -> int:
        """Publish the rows that are set aside, in their order; how many. To call once their cause is fixed."""
        count = await outbox_table.put_back(self.database)
        self.wake()
        return count

    # -- queries ------------------------------------------------------------------------------------------------------

    def _query_is_not_due(self) -> bool:
        return (
            not self._aside
            and len(self._acked) < self.settings.relay_rows_max
            and time.monotonic() < min(self._queried_at + QUERY_SECONDS, self._renew_at)
        )

    async def _query(self) -> list[OutboxRow]:
        """The next rows of the outbox. Rows that have to wait behind one that is set aside are set aside, too."""
        async with self.database.connection() as connection:
            if not await self._holds(connection):
                self._reset()
                return []
            found = await self._next(connection)
            if found.late:
                async with connection.transaction():
                    await outbox_table.move_aside(connection, found.late, BEHIND)
        return found.rows

    async def _next(self, connection: Connection) -> NextRows:
        """The next rows. Deletes published rows, and now and then stores how far our topics are published.

        If that is stored too late, a restored database reads again a little of what it has.
        """
        due = self.stopping or time.monotonic() > self._positioned_at + POSITIONS_SECONDS
        rows_max = self.settings.relay_rows_max
        found = await outbox_table.next_rows(
            connection, above=self._floor, rows_max=rows_max, published=self._acked,
            positions=self._positions if due else {}, with_own=self._fresh.asks_own,
        )  # fmt: skip
        self._acked.clear()
        if due:
            self._positions.clear()
            self._positioned_at = time.monotonic()
        ids = [row.id for row in (*found.rows, *found.late)]
        if self._strange:
            self._others_until = time.monotonic() + OTHERS_SECONDS
        self._strange = {number for number in ids if number not in self._fresh}
        self._fresh.queried(Queried(ids, len(ids) < rows_max, found.ended_before, found.own))
        self._aside, self._queried_at = found.aside, time.monotonic()
        return found

    def _reset(self) -> None:
        """Drop every id: an id is valid in one database only, and another may have taken its place."""
        self._fresh.reset()
        self._strange.clear()
        self._floor = 0
        self._published.clear()
        self._acked.clear()
        self._positions.clear()

    def _raise_floor(self, highest: int) -> None:
        now = time.monotonic()
        self._published.append((now, highest))
        while self._published and now - self._published[0][0] > FLOOR_SECONDS:
            self._floor = max(self._floor, self._published.popleft()[1])

    # -- the lease ----------------------------------------------------------------------------------------------------

    async def _holds(self, connection: Connection) -> bool:
        """Whether the lease is ours. It is renewed after a fifth of its time; a process that was stopped finds it expired."""
        seconds = self.settings.relay_lease_seconds
        if time.monotonic() < self._renew_at:
            return True
        requested_at = time.monotonic()
        held = await outbox_table.lease(connection, self.holder, seconds)
        self._renew_at = requested_at + seconds / 5 if held else 0.0
        return held

    async def _renew(self) -> None:
        async with self.database.connection() as connection:
            if not await self._holds(connection):
                raise LeaseLost(self.holder)

    async def _set_aside(self, row: OutboxRow, late: Sequence[OutboxRow], cause: str) -> None:
        log.error("row_set_aside", outbox_id=row.id, type=row.type, key=str(row.key), cause=cause)
        async with self.database.transaction() as tx:
            await outbox_table.move_aside(tx, [row], cause)
            await outbox_table.move_aside(tx, late, BEHIND)
        self._aside = True
