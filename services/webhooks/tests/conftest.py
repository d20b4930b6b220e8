"""Fixtures of tests that deliver: the service on an empty database, what publishes to it, retries without patience."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from webhooks_delivery import URL, delivering
from webhooks_feed import Publisher

from chassis.process.app import App
from tests.waiting import PATIENCE_SECONDS
from webhooks.delivery import dispatcher, shards
from webhooks.delivery.sender import Sender
from webhooks.domain import attempts


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    async with delivering(URL) as app:
        yield app


@pytest_asyncio.fixture
async def publisher(app: App) -> Publisher:
    publisher = Publisher(app)
    await publisher.begin("first")
    return publisher


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lease is lost, and no receiver given up, because the machine is busy: tests end a lease by writing its time."""
    monkeypatch.setattr(shards, "LEASE_SECONDS", 10 * PATIENCE_SECONDS)
    patient = functools.partial(Sender, connect_seconds_max=PATIENCE_SECONDS, total_seconds_max=PATIENCE_SECONDS)
    monkeypatch.setattr(dispatcher, "Sender", patient)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries within a test's patience."""
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (0.05,) * 4)
