"""One PostgreSQL, and one Kafka where it is asked for, for the whole run of a worker; each test gets the counter's database with empty tables."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
from chassis_client import Client, routes
from chassis_counter import MODELS, SERVICE, TOPICS, World, settings

from chassis.declare.app import About
from chassis.declare.migrations import upgrade
from chassis.process.app import App
from contracts import registry
from devservices import KafkaServer, PostgresServer
from devservices.instance import Instance
from devservices.services import choose_kafka, choose_postgres, external_kafka, external_postgres

ROOT = Path(__file__).parents[3]
Server = TypeVar("Server", KafkaServer, PostgresServer)


@pytest.fixture(autouse=True)
def counted_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the counter's messages beside those of the contracts, for one test."""
    for name, model in MODELS.items():
        monkeypatch.setitem(registry.MESSAGES, name, model)
    for name, topic in TOPICS.items():
        monkeypatch.setitem(registry.TOPICS, name, topic)


@contextmanager
def started(name: str, choose: Callable[[Instance], Server]) -> Iterator[Server]:
    """A server of this worker's own, empty."""
    instance = Instance(ROOT, f"docs-{name}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    with instance.locked():
        server = choose(instance)
        try:
            server.start()
            yield server
        finally:
            server.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with started("pg", lambda instance: external_postgres() or choose_postgres(instance, None, reset=True)) as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    with started("kafka", lambda instance: external_kafka() or choose_kafka(instance, None, reset=True)) as server:
        yield server


@pytest.fixture(scope="session")
def database_url(postgres: PostgresServer) -> str:
    name = f"chassis_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    postgres.drop_database(name)
    postgres.create_database(name)
    url = postgres.dsn(name)
    asyncio.run(upgrade(SERVICE, url))
    return url


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    world = World(settings(database_url))
    await world.empty()
    yield world
    await world.close()


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[Client]:
    no = About(422, "It was refused", "The test requests a refusal.", "Request something else.")
    app = App(dataclasses.replace(SERVICE, routes=routes, problems={"no": no}), world.settings, "api")
    loop = asyncio.create_task(app.shell.run())
    yield Client(app)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await app.database.close()
