"""What the batch path relies on in the driver and the planner, on a real PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from asyncpg.pgproto.pgproto import UUID as DriverUUID
from chassis_counter import settings
from sqlalchemy import text

from chassis.batch.database import Database
from chassis.batch.errors import QueryTimedOut

pytestmark = pytest.mark.real


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(settings(database_url), "test")
    yield database
    await database.close()


SHOWN = ("enable_seqscan", "plan_cache_mode", "default_transaction_read_only", "statement_timeout")


async def shown(connection: Any) -> list[str]:
    return [await connection.fetchval(f"show {name}") for name in SHOWN]


async def test_plans_are_pinned_for_batches_and_free_for_reads(database: Database) -> None:
    async with database.connection() as connection:
        assert await shown(connection) == ["off", "force_generic_plan", "off", "30s"]
    async with database.transaction() as connection:
        assert (await shown(connection))[:2] == ["off", "force_generic_plan"]
    async with database.queries.connection() as connection:
        assert await shown(connection) == ["on", "auto", "on", "10s"]
    [row] = await database.queries.read(text("select current_setting('enable_seqscan') as it"))
    assert row["it"] == "on"


async def test_a_read_over_its_time_limit_is_cancelled_and_the_next_one_is_served(database_url: str) -> None:
    database = Database(settings(database_url, database_read_seconds_max=0.1, database_read_connections_max=1), "test")
    for _ in range(2):
        with pytest.raises(QueryTimedOut, match="after 0.1 s"):
            await database.queries.read(text("select pg_sleep(60)"))
        with pytest.raises(QueryTimedOut):
            async with database.queries.connection() as connection:
                await connection.execute("select pg_sleep(60)")
    [row] = await database.queries.read(text("select 1 as it"))
    assert row["it"] == 1
    async with database.connection() as connection:
        assert await connection.fetchval("select true from pg_sleep(0.3)"), "a batch has another limit"
    await database.close()


async def test_a_read_writes_nothing(database: Database) -> None:
    async with database.queries.connection() as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("delete from inbox")


async def test_a_table_that_was_never_analyzed_is_looked_up_by_its_index(database: Database) -> None:
    """The planner would take half of the rows for open, and read the table from its beginning to find the last few."""
    read = "select coalesce(seq_tup_read, 0) from pg_stat_user_tables where relname = 'grown'"
    async with database.connection() as connection:
        await connection.execute("drop table if exists grown")
        await connection.execute("create table grown (id int, open boolean) with (autovacuum_enabled = off)")
        await connection.execute("create index on grown (open) where open")
        await connection.execute("insert into grown select n, n > 4990 from generate_series(1, 5000) n")
        await connection.execute("select pg_stat_force_next_flush()")
        before = await connection.fetchval(read)
        found = await connection.fetchval("select count(*) from (select from grown where open limit $1) as g", 500)
        await connection.execute("select pg_stat_force_next_flush()")
        assert found == 10
        assert await connection.fetchval(read) == before
        await connection.execute("drop table grown")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["", "a", None, 'quote " and \\ and ,', "é"]),
        ("uuid", [UUID(int=1), DriverUUID(bytes(16)), None]),
        ("bigint", (1, -(2**63), None)),
        ("text", []),
        ("bytea", [b"\0", None]),
        ("bigint", [[1, 2], [3, 4]]),
    ],
    ids=["text", "uuid", "bigint", "empty", "bytea", "nested"],
)
async def test_arrays_arrive_as_they_were_given(database: Database, kind: str, values: Any) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval(f"select $1::{kind}[]", values) == list(values)


async def test_no_element_of_an_array_is_asked_in_python_what_it_is(database: Database) -> None:
    asked: list[str] = []

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == "__instancecheck__":
            asked.append(frame.f_code.co_filename)

    async with database.connection() as connection:
        await connection.fetchval("select $1::text[]", ["warm"])
        sys.setprofile(watch)
        try:
            await connection.fetchval("select $1::text[]", ["a"] * 1000)
        finally:
            sys.setprofile(None)
    assert len(asked) < 100
