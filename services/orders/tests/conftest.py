"""Fixtures of the orders tests; `orders_play` has the words of their stories."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.process.app import App
from orders.handlers import SERVICE
from orders.settings import Settings
from tests.databases import empty, migrated

sys.path.insert(0, str(Path(__file__).parent))

from orders_database import TABLES, URL
from orders_play import Play


@pytest.fixture
def play() -> Play:
    return Play()


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
