"""The database's clock decides, and a host's clock that is wrong by hours changes nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from chassis_counter import COMMANDS, SERVICE, STORE, World, settings
from fastapi import Request

from chassis.declare.app import Principal
from chassis.kafka.consumer import Consumer
from chassis.process.app import App
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio
HOURS = 3_600.0


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World(settings("postgresql://nobody@127.0.0.1:1/none"))
    yield world
    await world.close()


NOW = time.time()


def host_is(ahead_seconds: float, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's clock is ahead of the database's, which is at NOW and was read."""
    monkeypatch.setattr(time, "time", lambda: NOW + ahead_seconds)
    now = time.monotonic()
    world.database.clock.read(NOW, now, now, time.time())


@pytest.mark.parametrize("ahead", [-5 * HOURS, 0, 5 * HOURS])
async def test_the_age_of_the_lag_is_by_the_databases_clock(
    ahead: float, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 7: a host that is behind would report no age, one that is ahead hours."""
    host_is(ahead, world, monkeypatch)
    consumer = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics)
    consumer._lag._heads[TopicPartition(COMMANDS, 0)] = (7, NOW - 120)
    await consumer.measure_lag()
    assert world.metrics.lag_age._value.get() == pytest.approx(120, abs=PATIENCE_SECONDS)


async def test_a_request_is_the_same_operation_on_every_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 1: a repetition after a restore reaches a host whose clock is weeks ahead."""
    app, key = App(SERVICE, world.settings, "api"), uuid4()
    app.database.clock = world.database.clock
    scope = {"type": "http", "method": "POST", "path": "/v1/things", "headers": [(b"idempotency-key", b"k1")]}
    who = Principal("till", STORE, frozenset({"*"}))
    operations = set()
    for ahead in (0, -40 * 24 * HOURS, 40 * 24 * HOURS):
        host_is(ahead, world, monkeypatch)
        operations.add(app.operation_id(Request(scope), who, key))
    assert len(operations) == 1
    await app.database.close()
