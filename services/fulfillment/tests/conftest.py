"""Fixtures of fulfillment's plays, and of its tests on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fulfillment_database import TABLES
from fulfillment_play import House

from chassis.process.app import App
from tests.databases import empty
from tests.running_services import running


@pytest.fixture
def house() -> House:
    """A service without a request so far."""
    return House()


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    """The service without its background, on emptied tables."""
    async with running("fulfillment") as app:
        async with app.database.transaction() as tx:
            await empty(tx, TABLES)
        yield app
