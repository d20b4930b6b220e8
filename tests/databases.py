"""Databases of SQL tests (see tests/run.py): migrated once per pytest process, emptied before a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from asyncpg import Connection
from sqlalchemy import Connection as Bound
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.declare.migrations import upgrade
from chassis.declare.service import Service
from chassis.declare.tables import chassis_tables

_migrated: set[str] = set()


async def migrated(service: Service, url: str) -> None:
    """Brings the database of `url` to the newest schema, at the first call of this process."""
    if url not in _migrated:
        await upgrade(service, url)
        _migrated.add(url)


async def empty(connection: Connection, tables: Iterable[str]) -> None:
    """Deletes all rows. TRUNCATE replaces the files of each table and of its indexes: fifty times as slow for a few rows."""
    await connection.execute("; ".join(f"delete from {table}" for table in tables))


async def undeclared(engine: AsyncEngine, declared: MetaData) -> list[Any]:
    """Returns how a service's own tables differ from those that its `tables.py` declares, as Alembic states it."""
    own = declared.tables.keys() - chassis_tables(MetaData()).keys()
    options = {"include_object": lambda it, name, kind, reflected, other: kind != "table" or name in own}

    def differences(connection: Bound) -> list[Any]:
        return compare_metadata(MigrationContext.configure(connection, opts=options), declared)

    async with engine.connect() as connection:
        return await connection.run_sync(differences)
