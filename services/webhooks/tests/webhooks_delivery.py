"""Receivers on real sockets, and endpoints of theirs, for tests of deliveries."""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from chassis.declare.app import Principal
from chassis.process.app import App
from tests.databases import empty, migrated
from tests.waiting import patience
from webhooks import invariants
from webhooks.delivery.dispatcher import Dispatcher
from webhooks.domain.config import Auth, Config
from webhooks.domain.endpoint import Create, NewSecret, Verified
from webhooks.domain.signing import new_secret
from webhooks.handlers import SERVICE
from webhooks.settings import Settings
from webhooks.vault import Vault

KEYS = "a-key-of-thirty-two-characters-or-more"
STORE = "st_1"
TABLES = (
    "feed", "feed_epochs", "order_facts", "inbox", "parked", "parked_keys", "endpoints", "cursors", "waiting", "attempts",
    "shards", "dispatchers", "replays", "journal", "outbox", "idempotency",
)  # fmt: skip
UNSETTLED = """
select 1 from cursors, feed_head where endpoint_id = $1 and (cursors.position < feed_head.position or open <> '{}')
union all select 1 from waiting where endpoint_id = $1 and not exhausted"""
WHO = Principal("test", STORE, frozenset({"*"}))
A, B = UUID(int=1), UUID(int=2)
"""Two orders."""
URL = os.environ.get("WEBHOOKS_TEST_DATABASE_URL", "")
REAL = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="WEBHOOKS_TEST_DATABASE_URL is not set")]
"""Marks of tests that need a database."""


@dataclass
class Got:
    """A request as the receiver got it."""

    id: str
    body: bytes
    headers: dict[str, str]
    status: int

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def cloud_events(self) -> list[BaseCloudEvent]:
        """The events, as the reference implementation of CloudEvents reads them; it has no reader of batches."""
        if self.headers["Content-Type"] == "application/cloudevents-batch+json":
            return [JSONFormat().read(CloudEvent, json.dumps(one)) for one in json.loads(self.body)]
        return [from_structured(HTTPMessage(self.headers, self.body), JSONFormat(), CloudEvent)]

    @property
    def events(self) -> list[Any]:
        """Those of a batch, or the only one."""
        return self.event if isinstance(self.event, list) else [self.event]


def refusing(times: int, wanted: Callable[[Any], bool] = lambda event: True) -> Callable[[Any], int]:
    """Returns an `answer` that is 500 for the first events that are wanted, so many times, then 200."""
    left = times

    def answer(event: Any) -> int:
        nonlocal left
        if not left or not wanted(event):
            return 200
        left -= 1
        return 500

    return answer


@dataclass
class Receiver:
    """Records what comes; `answer` states the status for each event, 200 unless it is set. A batch gets the highest."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answer: Callable[[Any], int] = lambda event: 200
    holds: Callable[[Any], Awaitable[Any] | None] = lambda event: None
    """What the answer to an event waits for."""
    more: dict[str, str] = field(default_factory=dict)
    """Headers of its answers."""
    delay_seconds: float = 0
    in_flight: int = 0
    in_flight_max: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def accepted(self) -> list[Any]:
        """The events that it answered with 200, in their order."""
        return [event for one in self.got if one.status == 200 for event in one.events]

    async def serve(self, request: web.Request) -> web.Response:
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            body = await request.read()
            await asyncio.sleep(self.delay_seconds)
            got = Got(request.headers["webhook-id"], body, dict(request.headers), 0)
            for event in got.events:
                if (held := self.holds(event)) is not None:
                    await held
            status = got.status = max(self.answer(event) for event in got.events)
            self.got.append(got)
            return web.Response(status=status, text="noted", headers=self.more)
        finally:
            self.in_flight -= 1
            self._came.set()

    async def until(self, fulfilled: Callable[[], bool]) -> None:
        """Wait until what came fulfills a condition."""
        async with patience():
            while not fulfilled():
                self._came.clear()
                await self._came.wait()


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.Response]], tls: SSLContext | None = None
) -> AsyncIterator[str]:
    """A server on a port of its own of 127.0.0.1; yields its URL."""
    app = web.Application()
    app.router.add_post("/hook", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)  # 0 would wait for a handler without limit
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def receiving(*receivers: Receiver) -> AsyncIterator[None]:
    """Each on a port of its own, so that each is a host of its own."""
    async with AsyncExitStack() as servers:
        for receiver in receivers:
            receiver.url = await servers.enter_async_context(serving(receiver.serve))
        yield


@dataclass
class Made:
    """An endpoint that was created and verified."""

    id: UUID
    secret: str


async def endpoint(
    app: App, url: str, store_id: str = STORE, auth: Callable[[Callable[[str], str]], Auth] | None = None, **config: Any
) -> Made:
    """auth: given what seals a value for the endpoint."""
    made = Made(uuid4(), new_secret())
    seal = functools.partial(Vault([KEYS]).seal, made.id)
    if auth is not None:
        config["auth"] = auth(seal)
    about = {"endpoint_id": made.id, "store_id": store_id, "actor": "test"}
    who = Principal("test", store_id, frozenset({"*"}))
    created = Create(
        **about, operation_id=uuid4(), config=Config(url=url, **config), secret=NewSecret(sealed=seal(made.secret))
    )
    for command in (created, Verified(**about, operation_id=uuid4(), url=url)):
        outcome = await app.submit(who, command)
        assert outcome.status == "done" and outcome.refusal is None, outcome
    return made


@asynccontextmanager
async def dispatching(app: App, count: int = 1) -> AsyncIterator[list[Dispatcher]]:
    """Dispatchers as they run in processes of the service."""
    dispatchers = [Dispatcher(app) for _ in range(count)]
    running = [asyncio.create_task(one.run()) for one in dispatchers]
    try:
        yield dispatchers
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


@asynccontextmanager
async def delivering(url: str) -> AsyncIterator[App]:
    """The service with empty tables. url: of its database. Afterwards its invariants hold."""
    await migrated(SERVICE, url)
    app = App(SERVICE, Settings(database_url=url, secret_keys=KEYS, allowed_networks="127.0.0.0/8"), "api")
    async with app.database.connection() as connection:
        await empty(connection, TABLES)
        await connection.execute("update feed_head set epoch = 0, position = 0, certificate = ''")
    shell = asyncio.create_task(app.shell.run())
    app.shell.ready.set()
    yield app
    async with app.database.connection() as connection:
        assert [name for name, _, violated in await invariants.check(connection) if violated] == []
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()


async def stored(app: App, statement: str, *arguments: Any) -> list[Any]:
    return [tuple(row) for row in await app.fetch(statement, *arguments)]


async def settled(app: App, made: UUID) -> None:
    """Wait until the cursor is at the head and nothing waits."""
    async with patience():
        while await stored(app, UNSETTLED, made):
            await asyncio.sleep(0.05)


def now() -> datetime:
    return datetime.now(UTC)


def versions(receiver: Receiver, order: UUID) -> list[int]:
    return [event["version"] for event in receiver.accepted if event["subject"] == str(order)]


def is_first_of_a(event: Any) -> bool:
    return (event["subject"], event["version"]) == (str(A), 1)


async def followed(app: App, dispatcher: Dispatcher, made: UUID) -> None:
    """Wait until the endpoint is delivered to as it is stored now."""
    [(revision,)] = await stored(app, "select revision from endpoints where key = $1", made)
    async with patience():
        while (line := dispatcher._lines.get(made)) is None or line.place.revision < revision:
            await asyncio.sleep(0.05)
