"""Fixtures of fulfillment's plays, and of its tests on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fulfillment_database import TABLES, URL
from fulfillment_play import House

from chassis.process.app import App
from fulfillment.handlers import SERVICE
from fulfillment.settings import Settings
from tests.databases import empty, migrated


@pytest.fixture
def house() -> House:
    """A service without a request so far."""
    return House()


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    """The service without its background, on emptied tables."""
    await migrated(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL), "api")
    async with app.database.transaction() as tx:
        await empty(tx, TABLES)
    shell = asyncio.create_task(app.shell.run())
    yield app
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()
