"""One PostgreSQL database of one service: raw asyncpg transactions for the batch path, SQLAlchemy Core for reads.

Both come from SQLAlchemy's pool, so a process has one bound on its connections.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple

import asyncpg
import asyncpg.protocol.protocol
from asyncpg import Connection
from asyncpg.pgproto.pgproto import UUID as QuickUUID
from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection, RowMapping
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.sql import Executable

from chassis.batch import history
from chassis.batch.clock import Clock
from chassis.batch.history import History
from chassis.process.settings import ServiceSettings

__all__ = ["CatchingUp", "Conflict", "Database", "OutcomeUnknown", "Piece", "QuickUUID", "Rows", "TooSlow", "columns",
           "is_transient", "overtaxes", "statement"]  # fmt: skip
# `QuickUUID` is what asyncpg reads UUIDs as: equal to the standard one, made and written in a tenth of its time.


# asyncpg asks of every element of an array whether it is an array itself: by two abstract classes, in Python. What we give it
# are lists and tuples; asked for those, an array is written in two thirds of the time. Tests hold it to that.
for _abstract in ("IterableABC", "SizedABC"):
    setattr(asyncpg.protocol.protocol, _abstract, (list, tuple))


class Piece(NamedTuple):
    """Common table expressions that others stand beside in one statement: a round trip costs more than most of them."""

    text: str
    """Its parameters are {0}, {1} and so on."""
    parameters: int


@cache
def statement(select: str, *pieces: Piece) -> str:
    """`with` all pieces, in which their parameters follow one another, `select`."""
    texts, first = [], 1
    for piece in pieces:
        texts.append(piece.text.format(*(f"${first + n}" for n in range(piece.parameters))))
        first += piece.parameters
    return f"with {', '.join(texts)} {select}"


class Rows(NamedTuple):
    """What a batch writes into a table of the service's own: it stands in the statement that writes everything else."""

    piece: Piece
    """One expression that writes; its parameters are `arguments`."""
    arguments: Sequence[Any]
    """Mostly arrays of one length: a column each. Of empty ones nothing is written."""
    written: str = ""
    """The name that the piece gives to what it has written, if that must be as many rows as the first array has."""
    otherwise: Callable[[], Exception] = Exception
    """What is raised if it has not."""


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Rows of `width` values as the arrays that `unnest` takes."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


class Conflict(Exception):
    """Somebody else wrote the row between our read and our write: transient, the batch is taken again."""


class CatchingUp(TimeoutError):
    """A restored database reads again what it lost, and whoever asked has waited long enough."""


class OutcomeUnknown(ConnectionError):
    """The commit was sent and not acknowledged: the transaction may have been committed or rolled back."""


class TooSlow(TimeoutError):
    """The transaction was cancelled because it exceeded its time limit."""


TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58")
"""SQLSTATE classes: connection, rollback (deadlock), resources, object state (lock timeout), operator, system."""


def is_transient(error: BaseException) -> bool:
    """Whether the same batch may succeed when it is simply taken again."""
    if isinstance(error, (Conflict, OSError, TimeoutError, PoolTimeout)):  # PoolTimeout: every connection is busy
        return True
    if isinstance(error, asyncpg.PostgresError):
        return (getattr(error, "sqlstate", None) or "")[:2] in TRANSIENT_CLASSES or (
            getattr(error, "sqlstate", None) == "25P03"  # idle_in_transaction_session_timeout: we were stopped
        )
    if isinstance(error, asyncpg.InterfaceError):
        return True  # the connection is gone, or was taken from under us
    original = getattr(error, "orig", None) or error.__cause__
    return original is not None and original is not error and is_transient(original)


# query_canceled (statement timeout), lock_not_available, out_of_memory, configuration_limit_exceeded (temporary files)
OVERTAXING = ("57014", "55P03", "53200", "53400")


def overtaxes(error: BaseException) -> bool:
    """Whether the transaction exceeded a limit of time or memory: by itself, or because the database is slow for all."""
    return isinstance(error, TooSlow) or getattr(error, "sqlstate", None) in OVERTAXING


# admin_shutdown, crash_shutdown: a commit that waits for a standby is interrupted after it was written here.
SHUTDOWN = ("57P01", "57P02")


def _leaves_open(error: BaseException) -> bool:
    """Whether a commit that failed so may have been carried out. Another error of the server means that it was not."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        return sqlstate.startswith("08") or sqlstate in SHUTDOWN
    return isinstance(error, (OSError, TimeoutError, asyncpg.InterfaceError))


class Database:
    def __init__(self, settings: ServiceSettings, application: str) -> None:
        server = {
            "application_name": application,
            "statement_timeout": "30000",
            "lock_timeout": "10000",
            "idle_in_transaction_session_timeout": str(int(settings.idle_in_transaction_seconds * 1000)),
            "jit": "off",
            # The batch path sends the same array statements for ever: planning them each time costs more than a generic plan.
            "plan_cache_mode": "force_generic_plan",
            # A plan knows a table as it was when it was last analyzed, or the connection was young. Made for a small one it
            # would read all of what has grown since.
            "enable_seqscan": "off",
            "timezone": "UTC",
        }
        self.clock = Clock()
        self._transaction_seconds_max = settings.transaction_seconds_max
        self._at_hand: list[tuple[AsyncConnection, Connection]] = []
        """Checked out and idle. Consumer, relay and timers take one many times a second, and a checkout costs more than
        most statements; never more than half, the other half is for reads."""
        self._at_hand_max = settings.database_connections_max // 2
        self._engine = create_async_engine(
            settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=settings.database_connections_max,
            max_overflow=0,
            pool_timeout=10,
            pool_recycle=1800,
            connect_args={"server_settings": server, "timeout": 5},
        )
        self.history: History | None = None
        """Of the data that this process works on; None before the first connection."""
        self.moved = asyncio.Event()
        """Set when a new connection found other data: no connection is made until `accept`."""
        event.listen(self._engine.sync_engine, "connect", self._compare)

    def _compare(self, connection: AdaptedConnection, _: object) -> None:
        """Raises CatchingUp if the data are not those that this process works on."""
        try:
            found = History(*connection.run_async(lambda raw: raw.fetchrow(history.READ)))
            if self.moved.is_set() or (self.history is not None and not found.continues(self.history)):
                self.moved.set()
                raise CatchingUp(f"the database was {self.history} and is {found}")
        except BaseException:
            connection.driver_connection.terminate()
            raise
        self.history = found

    async def accept(self) -> None:
        """Close all connections and work on the data that the next one finds."""
        while self._at_hand:
            await _give_back(*self._at_hand.pop())
        await self._engine.dispose()
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
            sent_at = time.monotonic()
            row = await raw.fetchrow(
                "select clock_timestamp() as now, (pg_current_wal_flush_lsn() - '0/0')::bigint as position"
            )
            assert row is not None and self.history is not None
            self.clock.read(row["now"].timestamp(), sent_at, time.monotonic(), time.time())
            self.history = self.history._replace(position=row["position"])
        return self.clock

    async def read(self, statement: Executable) -> Sequence[RowMapping]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement)).mappings().all()

    @asynccontextmanager
    async def core(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        while self._at_hand:
            await _give_back(*self._at_hand.pop())
        await self._engine.dispose()


async def _give_back(pooled: AsyncConnection, raw: Connection) -> None:
    if raw.is_closed():
        await pooled.invalidate()
    await pooled.close()
