"""The database of the payments tests, without rows at the beginning of a test: invariants are about all rows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import MetaData

from chassis.batch.database import Database
from chassis.declare.tables import chassis_tables
from payments.handlers import SERVICE
from payments.settings import Settings
from tests.databases import empty, migrated

URL: Final = os.environ.get("PAYMENTS_TEST_DATABASE_URL", "")


@asynccontextmanager
async def emptied() -> AsyncIterator[Database]:
    await migrated(SERVICE, URL)
    database = Database(Settings(database_url=URL), "payments-tests")
    async with database.transaction() as tx:
        await tx.execute("alter table entries disable trigger entries_never_change")
        await empty(tx, own_tables())
        await tx.execute("alter table entries enable trigger entries_never_change")
    yield database
    await database.close()


def own_tables() -> list[str]:
    """The tables that payments does not share with other services."""
    shared = MetaData()
    chassis_tables(shared)
    return [table.name for table in reversed(SERVICE.metadata.sorted_tables) if table.name not in shared.tables]
