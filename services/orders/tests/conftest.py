"""Fixtures of the orders tests; `orders_play` has the words of their stories."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.process.app import App
from tests.databases import empty
from tests.running_services import running

sys.path.insert(0, str(Path(__file__).parent))

from orders_database import TABLES
from orders_play import Play


@pytest.fixture
def play() -> Play:
    return Play()


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    """The service without its background, on emptied tables."""
    async with running("orders") as app:
        async with app.database.transaction() as tx:
            await empty(tx, TABLES)
        yield app
