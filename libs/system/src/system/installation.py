"""An installation from nothing: databases, schemas, topics, configuration tables, API keys, stock, and every service running.

An operator would run `python -m <service> migrate`, `provision`, `apply`, `api-key create` and `check`; each costs a second of
imports. Here one process does the same work for all services, with the same functions, while the services start.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from devservices.errors import DevservicesError
from system.processes import CONSOLE, SERVICES, System

if TYPE_CHECKING:
    from chassis.declare.service import Service
    from chassis.settings import ServiceSettings

STORE = "demo"
"""The store of all orders, keys and tables of the installation."""
LOCATION = "main"
GATEWAY = "testgateway"
READY_TIMEOUT_SECONDS = 600.0
"""Enough for a busy machine. A process that ends is reported at once."""

MARKETS = [
    {
        "store": STORE,
        "terms": {
            "code": "default",
            "gateway": "test",
            "capture": "on_approval",
            "on_short": "cancel",
            "approval": "automatic",
            "seller": "shop",
            "locations": [LOCATION],
        },
    }
]
SELLERS = [
    {
        "store": STORE,
        "code": "shop",
        "name": "Online Retail Ltd",
        "address": {"line1": "1 High Street", "city": "London", "postcode": "E1 6AN", "country": "GB"},
        "vat_number": "GB123456789",
        "time_zone": "Europe/London",
    }
]
TABLES: Mapping[str, Mapping[str, Any]] = {"orders": {"markets": MARKETS}, "invoicing": {"sellers": SELLERS}}
"""service -> the content of the file that `python -m <service> apply` would read."""

PIECES_MAX = 10**9
"""Fulfillment's limit for one stock record."""
SETTINGS: Mapping[str, str] = {
    # The default lets a parked message retry for minutes before its order waits for a person: too long for a demo.
    **{f"{name.upper()}_PARK_RETRY_SECONDS": "1" for name in SERVICES},
    # With fewer orders in flight each step is answered within seconds. A step asks again after 30 s, and twenty thousand
    # repeated commands would be a load of their own.
    "ORDERS_INTAKE_IN_FLIGHT_MAX": "300",
    # A call that times out holds its slot for this long; with the default of 8 s, 4 % of them would fill all slots.
    "PAYMENTS_GATEWAY_TIMEOUT_SECONDS": "2",
    "PAYMENTS_GATEWAY_POLL_SECONDS": "0.5",
    "PAYMENTS_TASK_CONCURRENCY": "96",  # below the 100 connections that an aiohttp client opens at most
}


@dataclass
class Installation:
    """The running system and the API keys of its services."""

    system: System
    keys: dict[str, str] = field(default_factory=dict)
    """API key by service."""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: TABLES)
    """service -> its configuration tables."""

    @contextlib.asynccontextmanager
    async def client(self, service: str, connections: int = 32) -> AsyncIterator[aiohttp.ClientSession]:
        """An HTTP client of one service, with its key. Its timeout of 120 s suits a busy machine."""
        async with aiohttp.ClientSession(
            self.system.url(service),
            headers={"authorization": f"Bearer {self.keys[service]}"},
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=120),
        ) as session:
            yield session


def import_services() -> None:
    """Imports what `install` needs. It takes seconds and needs no server, so it can run while Kafka and PostgreSQL start."""
    for name in SERVICES:
        importlib.import_module(f"{name}.handlers")
    for name in ("chassis.process.app", "alembic.operations", "asyncpg", "aiokafka"):
        importlib.import_module(name)


async def install(installation: Installation, *, fresh: bool = True) -> None:
    """Creates databases, schemas, topics, configuration tables and missing keys, and starts the services.

    fresh: existing databases are dropped first. Raises DevservicesError if a topic exists already.
    """
    system = installation.system
    definitions = {name: importlib.import_module(f"{name}.handlers").SERVICE for name in system.names}
    settings = {name: _settings(system, definition) for name, definition in definitions.items()}
    await asyncio.gather(*(asyncio.to_thread(_database, system, name, fresh) for name in system.names))
    topics = asyncio.create_task(_topics(settings[system.names[0]], fresh))
    try:
        for name, definition in definitions.items():  # one after the other: alembic keeps its context in globals
            await _migrate(definition, settings[name])
            if name != CONSOLE:
                system.add(name)
        for name, definition in definitions.items():
            key_wanted = name not in installation.keys
            if key := await _tables_and_key(definition, settings[name], installation.tables.get(name), key_wanted):
                installation.keys[name] = key
        if CONSOLE in definitions:
            system.add(CONSOLE, **await asked_by_console(system, settings))
        await topics
        await system.until_ready(READY_TIMEOUT_SECONDS)
    finally:
        topics.cancel()
        await asyncio.gather(topics, return_exceptions=True)


async def asked_by_console(system: System, settings: Mapping[str, ServiceSettings]) -> dict[str, str]:
    """Returns the settings by which the console reaches the other services: an address, and a new key that acts for persons."""
    found: dict[str, str] = {}
    for name in (name for name in system.names if name != CONSOLE):
        found[f"CONSOLE_{name.upper()}_URL"] = system.url(name)
        found[f"CONSOLE_{name.upper()}_API_KEY"] = await _key_of_console(settings[name])
    return found


async def _key_of_console(settings: ServiceSettings) -> str:
    """Makes a key and revokes the one of an earlier start."""
    from chassis.batch.database import Database
    from chassis.http.auth import ACT_AS, Keys

    database = Database(settings, "tradewind-set-up")
    try:
        keys = Keys(database)
        for key in await keys.all():
            if key["name"] == CONSOLE and not key["revoked"]:
                await keys.revoke(key["id"])
        return await keys.create(None, CONSOLE, ["*", ACT_AS])
    finally:
        await database.close()


async def join(installation: Installation, elsewhere: Mapping[str, str]) -> None:
    """Attaches services that already run and writes the configuration tables and keys. elsewhere: service -> URL.

    Raises DevservicesError if one of their databases holds orders.
    """
    system = installation.system
    for name, url in elsewhere.items():
        system.attach(name, url)
    await system.until_ready(READY_TIMEOUT_SECONDS)
    for name in system.names:
        definition = importlib.import_module(f"{name}.handlers").SERVICE
        settings = _settings(system, definition)
        if await _holds_orders(definition, settings):
            raise DevservicesError(
                f"The database of {name} holds orders already, and they would be counted with the new ones: empty it "
                "first (with compose: docker compose --profile demo down --volumes)."
            )
        key = await _tables_and_key(definition, settings, installation.tables.get(name), key_wanted=True)
        assert key is not None
        installation.keys[name] = key


async def apply(installation: Installation, service: str, tables: Mapping[str, Any]) -> None:
    """Writes configuration tables of a service, as `python -m <service> apply` does. tables: the content of its file."""
    definition = importlib.import_module(f"{service}.handlers").SERVICE
    await _tables_and_key(definition, _settings(installation.system, definition), tables, key_wanted=False)


async def own_invariants(system: System, service: str) -> list[tuple[str, int, int]]:
    """What `python -m <service> check` finds, for `system.checker.check`: name, rows checked, rows that violate it."""
    from chassis.batch.database import Database
    from chassis.process.cli import invariants

    definition = importlib.import_module(f"{service}.handlers").SERVICE
    database = Database(_settings(system, definition), "tradewind-check")
    try:
        return await invariants(definition, database)
    finally:
        await database.close()


def start_gateway(system: System, ledger: Path, *options: str) -> None:
    """Starts the test gateway and puts its address into payments' settings. options: of `gatewayservers.plain`."""
    command = [sys.executable, "-m", "gatewayservers.plain", "--port", "{port}", "--ledger", str(ledger), *options]
    gateway = system.add(GATEWAY, command=command)
    system.settings = {**system.settings, **SETTINGS, "PAYMENTS_TEST_GATEWAY_URL": gateway.url}


async def put_stock(installation: Installation, pieces: Mapping[str, int]) -> None:
    """Sets the stock of every SKU, a thousand per request. pieces: SKU -> pieces on hand."""
    items = [{"location": LOCATION, "sku": sku, "on_hand": min(n, PIECES_MAX)} for sku, n in pieces.items()]
    async with installation.client("fulfillment") as client:
        for start in range(0, len(items), 1000):
            async with client.put("/v1/stock", json={"items": items[start : start + 1000]}) as response:
                answer = await response.json()
                if response.status != 200 or answer["refused"]:
                    raise DevservicesError(f"fulfillment refused the stock: {str(answer)[:500]}")


# -- the steps --------------------------------------------------------------------------------------------------------


def _settings(system: System, definition: Service) -> ServiceSettings:
    return definition.settings(
        database_url=system.dsn(definition.name),
        kafka_bootstrap_servers=system.kafka.bootstrap_servers,
    )


def _database(system: System, name: str, fresh: bool) -> None:
    if fresh:
        system.postgres.drop_database(system.database(name))
    system.postgres.create_database(system.database(name))


async def _topics(settings: ServiceSettings, fresh: bool) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    from chassis.kafka import topics as kafka
    from contracts.registry import TOPICS

    if fresh:
        admin = AIOKafkaAdminClient(**kafka.client_arguments(settings))
        try:
            await admin.start()
            there = sorted(set(await admin.list_topics()) & set(TOPICS))
        finally:
            await admin.close()
        if there:
            raise DevservicesError(
                f"The broker at {settings.kafka_bootstrap_servers} has {', '.join(there)} already, and a new "
                "installation needs topics of its own: unset KAFKA_BOOTSTRAP_SERVERS, or name an empty broker."
            )
    await kafka.provision(settings)


async def _migrate(definition: Service, settings: ServiceSettings) -> None:
    from chassis.declare import migrations

    await migrations.upgrade(definition, settings.database_url)


async def _holds_orders(definition: Service, settings: ServiceSettings) -> bool:
    from chassis.batch.database import Database

    database = Database(settings, "tradewind-set-up")
    try:
        async with database.connection() as connection:
            tables = [aggregate.table for aggregate in definition.aggregates if aggregate.key == "order_id"] or [
                "inbox"
            ]
            return any([await connection.fetchval(f"select exists (select from {table})") for table in tables])
    finally:
        await database.close()


async def _tables_and_key(
    definition: Service, settings: ServiceSettings, tables: Mapping[str, Any] | None, key_wanted: bool
) -> str | None:
    from chassis.batch.database import Database
    from chassis.http.auth import Keys

    database = Database(settings, "tradewind-set-up")
    try:
        if tables and definition.apply is not None:
            async with database.transaction() as tx:
                await definition.apply(tx, tables)
        return await Keys(database).create(STORE, "demo", ["*"]) if key_wanted else None
    finally:
        await database.close()
