"""One installation made ready: databases, schemas, topics, the small tables, keys, stock, and every service running.

An operator would type `python -m <service> migrate`, `provision`, `apply` and `api-key create`; each costs a second of
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

from demo.command import STORE
from devservices.errors import DevservicesError
from devservices.processes import last_line
from system.processes import SERVICES, Member, System

if TYPE_CHECKING:
    from chassis.service import Service
    from chassis.settings import ServiceSettings

LOCATION = "main"
GATEWAY = "testgateway"
READY_TIMEOUT_SECONDS = 600.0
"""On a machine with much else to do. A process that ends is noticed at once."""
PAUSE_SECONDS = 0.05

MARKETS = [
    {
        "store": STORE,
        "terms": {
            "code": "default",
            "gateway": "test",
            "capture": "on_approval",
            "on_short": "cancel",
            "auto_approve": True,
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
"""What `python -m <service> apply` would read from a file."""

PIECES_MAX = 10**9
"""On a shelf, as fulfillment takes it."""
SETTINGS: Mapping[str, str] = {
    # Nobody watches a demo for the minutes after which a parked order waits for a person.
    **{f"{name.upper()}_PARK_RETRY_SECONDS": "1" for name in SERVICES},
    # Fewer orders on the way at a time, so that each waits for an answer a few seconds at most, however many follow:
    # past 30 s it would ask again, and twenty thousand that ask again are a load of their own.
    "ORDERS_INTAKE_IN_FLIGHT_MAX": "300",
    # A call that times out holds its place so long; with the default of 8 s, 4 % of them would fill all places.
    "PAYMENTS_GATEWAY_TIMEOUT_SECONDS": "2",
    "PAYMENTS_GATEWAY_POLL_SECONDS": "0.5",
    "PAYMENTS_TASK_CONCURRENCY": "96",  # below the 100 connections that an aiohttp client opens at most
}


@dataclass
class Installation:
    """The running system, and what is needed to talk to it."""

    system: System
    keys: dict[str, str] = field(default_factory=dict)
    """API key by service."""

    def url(self, service: str) -> str:
        return self.system.url(service)

    def dsn(self, service: str) -> str:
        return self.system.postgres.dsn(self.system.database(service))

    @property
    def services(self) -> list[Member]:
        return [member for member in self.system.members if member.name in self.system.names]

    @contextlib.asynccontextmanager
    async def client(self, service: str, connections: int = 32) -> AsyncIterator[aiohttp.ClientSession]:
        """An HTTP client of one service, with its key. It is never in a hurry: a busy machine answers late."""
        async with aiohttp.ClientSession(
            self.url(service),
            headers={"authorization": f"Bearer {self.keys[service]}"},
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=120),
        ) as session:
            yield session

    def fallen(self) -> str | None:
        """A sentence on the first process that ended though nobody asked it to."""
        for member in self.system.members:
            if not member.running:
                told = f"{member.name} ended with status {member.exit_status()}: {last_line(member.log)}"
                return f"{told} (all of it: {member.log})"
        return None


def import_services() -> None:
    """The slow part of the set-up that needs no server: done while Kafka and PostgreSQL start."""
    for name in SERVICES:
        importlib.import_module(f"{name}.handlers")
    for name in ("chassis.app", "alembic.operations", "asyncpg", "aiokafka"):
        importlib.import_module(name)


async def install(
    installation: Installation, *, tables: Mapping[str, Mapping[str, Any]] = TABLES, fresh: bool = True
) -> None:
    """Databases, schemas, topics, services, small tables and keys: what does not depend on each other side by side.

    fresh: databases are empty afterwards and topics must be new, whoever owns the servers.
    """
    system = installation.system
    definitions = {name: importlib.import_module(f"{name}.handlers").SERVICE for name in system.names}
    settings = {name: _settings(system, definition) for name, definition in definitions.items()}
    await asyncio.gather(*(asyncio.to_thread(_database, system, name, fresh) for name in system.names))
    topics = asyncio.create_task(_topics(settings[system.names[0]], fresh))
    try:
        for name, definition in definitions.items():  # one after the other: alembic keeps its context in globals
            await _migrate(definition, settings[name])
            system.add(name)
        for name, definition in definitions.items():
            if key := await _tables_and_key(
                definition, settings[name], tables.get(name), name not in installation.keys
            ):
                installation.keys[name] = key
        await topics
        await _until_ready(installation)
    finally:
        topics.cancel()
        await asyncio.gather(topics, return_exceptions=True)


async def join(installation: Installation, elsewhere: Mapping[str, str]) -> None:
    """Services that somebody else runs: only the small tables and keys are added. Their databases must hold no orders."""
    system = installation.system
    for name, url in elsewhere.items():
        system.attach(name, url)
    await _until_ready(installation)
    for name in system.names:
        definition = importlib.import_module(f"{name}.handlers").SERVICE
        settings = _settings(system, definition)
        if await _holds_orders(definition, settings):
            raise DevservicesError(
                f"The database of {name} holds orders already, and the demo counts what it finds: empty it first (with "
                "compose: docker compose --profile demo down --volumes)."
            )
        key = await _tables_and_key(definition, settings, TABLES.get(name), key_wanted=True)
        assert key is not None
        installation.keys[name] = key


def start_gateway(system: System, ledger: Path, *options: str) -> None:
    """The payment gateway, a process of its own; its address becomes a setting of payments."""
    command = [sys.executable, "-m", "payments.testgateway", "--port", "{port}", "--ledger", str(ledger), *options]
    gateway = system.add(GATEWAY, command=command)
    system.settings = {**system.settings, **SETTINGS, "PAYMENTS_TEST_GATEWAY_URL": gateway.url}


async def put_stock(installation: Installation, pieces: Mapping[str, int]) -> None:
    """Count every SKU on the shelf, a thousand at a time."""
    items = [{"location": LOCATION, "sku": sku, "on_hand": min(n, PIECES_MAX)} for sku, n in pieces.items()]
    async with installation.client("fulfillment") as client:
        for start in range(0, len(items), 1000):
            async with client.put("/v1/stock", json={"items": items[start : start + 1000]}) as response:
                answer = await response.json()
                if response.status != 200 or answer["refused"]:
                    raise DevservicesError(f"fulfillment did not take the stock: {str(answer)[:500]}")


# -- the steps --------------------------------------------------------------------------------------------------------


def _settings(system: System, definition: Service) -> ServiceSettings:
    return definition.settings(
        database_url=system.postgres.dsn(system.database(definition.name)),
        kafka_bootstrap_servers=system.kafka.bootstrap_servers,
    )


def _database(system: System, name: str, fresh: bool) -> None:
    if fresh:
        system.postgres.drop_database(system.database(name))
    system.postgres.create_database(system.database(name))


async def _topics(settings: ServiceSettings, fresh: bool) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    from chassis import kafka
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
                f"The broker at {settings.kafka_bootstrap_servers} has {', '.join(there)} already, and a demo begins "
                "with topics of its own: unset KAFKA_BOOTSTRAP_SERVERS, or name an empty broker."
            )
    await kafka.provision(settings)


async def _migrate(definition: Service, settings: ServiceSettings) -> None:
    from chassis import migrations

    await migrations.upgrade(definition, settings.database_url)


async def _holds_orders(definition: Service, settings: ServiceSettings) -> bool:
    from chassis.database import Database

    database = Database(settings, "tradewind-set-up")
    try:
        async with database.connection() as connection:
            return bool(await connection.fetchval(f"select exists (select from {definition.aggregates[0].table})"))
    finally:
        await database.close()


async def _tables_and_key(
    definition: Service, settings: ServiceSettings, tables: Mapping[str, Any] | None, key_wanted: bool
) -> str | None:
    from chassis.database import Database
    from chassis.http import Keys

    database = Database(settings, "tradewind-set-up")
    try:
        if tables and definition.apply is not None:
            async with database.transaction() as tx:
                await definition.apply(tx, tables)
        return await Keys(database).create(STORE, "demo", ["*"]) if key_wanted else None
    finally:
        await database.close()


async def _until_ready(installation: Installation) -> None:
    """Until each service answers and has joined its consumer group, and the gateway answers."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as client:
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                await asyncio.gather(*(_ready(client, installation, m) for m in installation.system.members))
        except TimeoutError:
            raise DevservicesError(
                f"The services were not ready within {READY_TIMEOUT_SECONDS:.0f} s: see {installation.system.logs}"
            ) from None


async def _ready(client: aiohttp.ClientSession, installation: Installation, member: Member) -> None:
    is_service = member.name in installation.system.names
    path = "/health/ready" if is_service else "/health"
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
            async with client.get(f"{member.url}{path}") as response:
                if response.status == 200 and (not is_service or (await response.json()).get("consuming")):
                    return
        if fallen := installation.fallen():
            raise DevservicesError(fallen)
        await asyncio.sleep(PAUSE_SECONDS)
