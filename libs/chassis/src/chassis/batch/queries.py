"""Reads for people: lists, searches and single rows over HTTP, gauges. They have an engine of their own.

The batch path pins its plans (see `chassis.batch.database`). A query with filters needs plans for its values, and may scan
a table. Its connections are read-only, few, and cancel a query that takes too long, so that no list delays a batch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from asyncpg import Connection
from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection, RowMapping
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.sql import Executable

from chassis.batch.errors import QueryTimedOut
from chassis.settings import ServiceSettings


class Queries:
    def __init__(
        self, settings: ServiceSettings, application: str, compare: Callable[[AdaptedConnection, object], None]
    ) -> None:
        """compare: called with each new connection; raises if the database has lost data."""
        self._seconds_max = settings.database_read_seconds_max
        server = {
            "application_name": f"{application}-reads",
            "statement_timeout": str(int(self._seconds_max * 1000)),
            "default_transaction_read_only": "on",
            "jit": "off",
            "timezone": "UTC",
        }
        self.engine = create_async_engine(
            url_of(settings),
            pool_size=settings.database_read_connections_max,
            max_overflow=0,
            pool_timeout=10,
            pool_recycle=1800,
            isolation_level="AUTOCOMMIT",
            connect_args={"server_settings": server, "timeout": 5},
        )
        event.listen(self.engine.sync_engine, "connect", compare)

    async def read(self, statement: Executable) -> Sequence[RowMapping]:
        """Returns all rows of a query. Raises QueryTimedOut."""
        with self._limited():
            async with self.engine.connect() as connection:
                return (await connection.execute(statement)).mappings().all()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A raw asyncpg connection, outside a transaction. Raises QueryTimedOut."""
        with self._limited():
            async with self.engine.connect() as pooled:
                raw: Any = (await pooled.get_raw_connection()).driver_connection
                yield raw

    @contextmanager
    def _limited(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, asyncpg.QueryCanceledError) as error:
            if getattr(getattr(error, "orig", error), "sqlstate", None) == asyncpg.QueryCanceledError.sqlstate:
                raise QueryTimedOut(f"a query was cancelled after {self._seconds_max:g} s") from error
            raise

    async def close(self) -> None:
        await self.engine.dispose()


def url_of(settings: ServiceSettings) -> str:
    """Returns the URL of the database with the driver that SQLAlchemy shall use."""
    return settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
