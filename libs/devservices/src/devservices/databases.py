"""Statements over a connection of their own. All but `fetch` may be called with or without a running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from devservices.errors import DevservicesError

CONNECT_TIMEOUT_SECONDS = 10.0


def execute(dsn: str, statement: str, *, ignore: type[BaseException] | None = None) -> None:
    """Executes one statement, outside a transaction. Raises DevservicesError for any error but `ignore`."""

    async def once() -> None:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    try:
        _in_a_loop_of_its_own(once())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        if ignore is None or not isinstance(error, ignore):
            where = without_password(dsn)
            raise DevservicesError(
                f"PostgreSQL at {where} did not accept '{statement}': {error or 'no answer'}"
            ) from error


async def fetch(dsn: str, statement: str, *values: Any) -> list[asyncpg.Record]:
    """The rows of one query."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_SECONDS)
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


def create_database(dsn: str, name: str) -> None:
    execute(dsn, f"create database {_quoted(name)}", ignore=asyncpg.DuplicateDatabaseError)


def drop_database(dsn: str, name: str) -> None:
    execute(dsn, f"drop database if exists {_quoted(name)} with (force)")


def check(dsn: str) -> None:
    """Raises DevservicesError unless the server at `dsn` executes a statement."""
    execute(dsn, "select 1")


def with_database(dsn: str, database: str) -> str:
    """The same server, user and options, another database.

    >>> with_database("postgresql://me:pw@db:5432/postgres?sslmode=require", "orders")
    'postgresql://me:pw@db:5432/orders?sslmode=require'
    """
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def without_password(dsn: str) -> str:
    parts = urlsplit(dsn)
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _in_a_loop_of_its_own(work: Coroutine[Any, Any, None]) -> None:
    # asyncio.run raises inside a running loop, and the caller may be in one; a new thread has none.
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(asyncio.run, work).result()
