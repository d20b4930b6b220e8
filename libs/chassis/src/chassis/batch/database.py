"""Connections and transactions of the one PostgreSQL database of a service, as the batch path uses them.

The batch path sends a few array statements again and again, in raw asyncpg transactions. Its connections come from
SQLAlchemy's pool, which bounds them. Lists and searches use `chassis.batch.queries`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import asyncpg
from asyncpg import Connection
from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from chassis.batch import history
from chassis.batch.clock import Clock
from chassis.batch.driver import quicken_arrays
from chassis.batch.errors import CatchingUp, OutcomeUnknown, TooSlow
from chassis.batch.history import History
from chassis.batch.queries import Queries, url_of
from chassis.settings import ServiceSettings

# admin_shutdown, crash_shutdown: a commit that waits for a standby is interrupted after it was written here.
SHUTDOWN = ("57P01", "57P02")


class PoolUse(NamedTuple):
    """The connections of a pool."""

    name: Literal["batch", "reads"]
    connections_max: int
    connections: int
    """Those that are open."""
    in_use: int


class Database:
    def __init__(self, settings: ServiceSettings, application: str) -> None:
        quicken_arrays()
        server = {
            "application_name": application,
            "statement_timeout": "30000",
            "lock_timeout": "10000",
            "idle_in_transaction_session_timeout": str(int(settings.idle_in_transaction_seconds * 1000)),
            "jit": "off",
            # Planning the array statements of a batch each time costs more than a generic plan.
            "plan_cache_mode": "force_generic_plan",
            # A generic plan is made once per connection. Made while a table was small, it would scan it for ever.
            "enable_seqscan": "off",
            "timezone": "UTC",
        }
        self.clock = Clock()
        self._transaction_seconds_max = settings.transaction_seconds_max
        self._at_hand: list[tuple[AsyncConnection, Connection]] = []
        """Checked out and idle, at most half of all: consumer, relay and timers take one many times a second, and a checkout
        costs more than most statements."""
        self._at_hand_max = settings.database_connections_max // 2
        self._engine = create_async_engine(
            url_of(settings),
            pool_size=settings.database_connections_max,
            max_overflow=0,
            pool_timeout=10,
            pool_recycle=1800,
            connect_args={"server_settings": server, "timeout": 5},
        )
        self.history: History | None = None
        """The history of the data that this process works on; None before the first connection."""
        self.moved = asyncio.Event()
        """Set when a new connection found other data: no connection is made until `accept`."""
        event.listen(self._engine.sync_engine, "connect", self._compare)
        self.queries = Queries(settings, application, self._compare)

    def _compare(self, connection: AdaptedConnection, _: object) -> None:
        """Raises CatchingUp if the connection finds other data than those that this process works on."""
        # What had been read when the question was sent: meanwhile others read a later position, which is no loss.
        known = self.history
        try:
            found = History(*connection.run_async(lambda raw: raw.fetchrow(history.READ)))
            if self.moved.is_set() or (self.history and known and not found.continues(known)):
                self.moved.set()
                raise CatchingUp(f"the database was {known} and is {found}")
        except BaseException:
            connection.driver_connection.terminate()
            raise
        if self.history is None or found.continues(self.history):
            self.history = found

    async def accept(self) -> None:
        """Close all connections and work on the data that the next one finds."""
        while self._at_hand:
            await _give_back(*self._at_hand.pop())
        await self._engine.dispose()
        await self.queries.close()
        self.history = None
        self.moved.clear()

    @asynccontextmanager
    async def transaction(self, seconds_max: float | None = None) -> AsyncIterator[Connection]:
        """A raw asyncpg connection inside a READ COMMITTED transaction, capped in time (default: the setting).

        Raises TooSlow when the time is over, OutcomeUnknown when the commit was not acknowledged.
        """
        committing = False
        async with self.connection() as raw:
            try:
                async with asyncio.timeout(seconds_max or self._transaction_seconds_max) as cap, raw.transaction():
                    yield raw
                    committing = True
            except Exception as error:
                if committing and _leaves_open(error):
                    raise OutcomeUnknown("the commit was not acknowledged") from error
                if isinstance(error, TimeoutError) and cap.expired():
                    raise TooSlow("the transaction exceeded its time limit") from error
                raise

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A raw asyncpg connection; each statement commits by itself."""
        pooled, raw = await self._taken()
        try:
            yield raw
        except BaseException:
            await _give_back(pooled, raw)
            raise
        if len(self._at_hand) < self._at_hand_max and not raw.is_closed():
            self._at_hand.append((pooled, raw))
        else:
            await _give_back(pooled, raw)

    async def _taken(self) -> tuple[AsyncConnection, Connection]:
        while self._at_hand:
            pooled, raw = self._at_hand.pop()
            if not raw.is_closed():
                return pooled, raw
            await _give_back(pooled, raw)
        pooled = await self._engine.connect()
        try:
            fresh: Connection | None = (await pooled.get_raw_connection()).driver_connection
            assert fresh is not None
        except BaseException:
            await pooled.close()
            raise
        return pooled, fresh

    async def read_clock(self) -> Clock:
        """Read the clock, and how far the write-ahead log is on disk."""
        async with self.connection() as raw:
            known, sent_at = self.history, time.monotonic()
            row = await raw.fetchrow(
                "select clock_timestamp() as now, (pg_current_wal_flush_lsn() - '0/0')::bigint as position"
            )
            assert row is not None
            self.clock.read(row["now"].timestamp(), sent_at, time.monotonic(), time.time())
            now = self.history
            if known and now and now.certificate == known.certificate:  # else other data were accepted meanwhile
                self.history = now._replace(position=max(row["position"], now.position))
        return self.clock

    def pools(self) -> list[PoolUse]:
        """Returns how many connections there are, and how many work."""
        return [_use("batch", self._engine, len(self._at_hand)), _use("reads", self.queries.engine, 0)]

    async def close(self) -> None:
        while self._at_hand:
            await _give_back(*self._at_hand.pop())
        await self._engine.dispose()
        await self.queries.close()


def _use(name: Literal["batch", "reads"], engine: AsyncEngine, idle: int) -> PoolUse:
    """idle: how many connections are checked out and do not work."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    out = pool.checkedout()
    return PoolUse(name, pool.size(), pool.checkedin() + out, out - idle)


async def _give_back(pooled: AsyncConnection, raw: Connection) -> None:
    if raw.is_closed():
        await pooled.invalidate()
    await pooled.close()


def _leaves_open(error: BaseException) -> bool:
    """Whether a commit that failed so may have been carried out. Another error of the server means that it was not."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        return sqlstate.startswith("08") or sqlstate in SHUTDOWN
    return isinstance(error, (OSError, TimeoutError, asyncpg.InterfaceError))
