"""Databases of SQL tests (see tests/run.py): migrated once per pytest process, emptied before a test."""

from __future__ import annotations

from collections.abc import Iterable

from asyncpg import Connection

from chassis.declare.migrations import upgrade
from chassis.declare.service import Service

_migrated: set[str] = set()


async def migrated(service: Service, url: str) -> None:
    """Brings the database of `url` to the newest schema, at the first call of this process."""
    if url not in _migrated:
        await upgrade(service, url)
        _migrated.add(url)


async def empty(connection: Connection, tables: Iterable[str]) -> None:
    """Deletes all rows. TRUNCATE replaces the files of each table and of its indexes: fifty times as slow for a few rows."""
    await connection.execute("; ".join(f"delete from {table}" for table in tables))
