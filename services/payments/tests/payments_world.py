"""The service with its HTTP, its tasks and its timers over a real PostgreSQL, beside a gateway in Stripe's shapes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from payments_database import URL
from payments_gateways import API_KEY, QUICK, SECRET, STORE, Shape, shaped

from chassis.batch.database import Database
from chassis.declare.app import Principal
from chassis.process.app import App
from contracts.payments import Authorize, MoneyLine
from gatewayservers.serving import listening
from gatewayservers.stripe import signature
from payments import invariants
from payments.gateways import accounts
from payments.handlers import SERVICE
from payments.settings import Settings
from tests.databases import empty
from tests.waiting import until

ADDRESS = "/v1/gateways/stripe/main/events"
WHO = Principal("tests", STORE, frozenset({"*"}))
HOUR = 3600


@dataclass
class World:
    app: App
    key: str
    url: str
    """Where the service listens."""
    shape: Shape

    async def post(self, body: bytes, header: str | None = None, address: str = ADDRESS) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "Stripe-Signature": header or signature(body, SECRET)}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + address, data=body, headers=headers) as got,
        ):
            return got.status, await got.json(content_type=None)

    async def send(self, path: str, body: Any = None, idempotency_key: str | None = None) -> tuple[int, dict[str, Any]]:
        """POST as the storefront."""
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": idempotency_key or str(uuid4())}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(self.url + path, json=body if body is not None else {}) as got,
        ):
            return got.status, await got.json(content_type=None)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(self.url + path) as got:
            return got.status, await got.json(content_type=None)

    async def events(self, query: str = "") -> list[dict[str, Any]]:
        status, page = await self.get(f"/v1/gateway-events{query}")
        assert status == 200, page
        items: list[dict[str, Any]] = page["items"]
        return items

    async def authorize(self, order_id: UUID, token: str | None = "pm_card_visa") -> UUID:
        operation_id = uuid4()
        await self.app.submit(
            WHO,
            Authorize(
                order_id=order_id, store_id=STORE, operation_id=operation_id, actor="tests", gateway="stripe", currency="EUR",
                reference="A-1", lines=(MoneyLine(line_id="1", quantity=1, amount_minor=10_00),), payment_token=token,
            ),
        )  # fmt: skip
        return operation_id

    async def checked(self) -> list[tuple[str, int, int]]:
        """The invariants of the tables: (name, comparisons made, comparisons violated)."""
        async with self.app.database.transaction() as tx:
            return [*await invariants.check(tx)]

    async def until(self, operation_id: UUID, state: str) -> None:
        async def reached() -> bool:
            rows = await self.app.fetch("select state from operations where operation_id = $1", operation_id)
            return bool(rows) and rows[0]["state"] == state

        await until(reached, f"{operation_id} {state}")


def server_of(asgi: Any) -> web.Application:
    """Serves an ASGI application over real HTTP in this loop."""

    async def handle(request: web.Request) -> web.Response:
        body, sent = await request.read(), list[Any]()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method, "scheme": "http",
            "path": request.path, "raw_path": request.rel_url.raw_path.encode(), "root_path": "",
            "query_string": request.rel_url.raw_query_string.encode(), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await asgi(scope, receive, send)
        return web.Response(status=sent[0]["status"], body=b"".join(one.get("body", b"") for one in sent[1:]))

    app = web.Application(client_max_size=2 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


@pytest_asyncio.fixture
async def world(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, database: Database
) -> AsyncIterator[World]:
    """Polls an hour apart: only an event can be why something is recorded at once. A parameter states other settings."""
    monkeypatch.setenv("PAYMENTS_TEST_KEY", API_KEY)
    monkeypatch.setenv("PAYMENTS_TEST_SECRET", SECRET)
    more: dict[str, Any] = getattr(request, "param", {})
    settings = Settings(
        database_url=URL,
        **{"gateway_poll_seconds": HOUR, "gateway_backoff_seconds_max": HOUR} | more,
    )
    async with shaped("stripe", QUICK) as shape:
        app = App(SERVICE, settings, "all")
        async with app.database.transaction() as tx:
            await empty(tx, ("tasks", "inbox", "timers"))
            row = {
                "store": STORE, "gateway": "stripe", "account": "main", "url": shape.url,
                "credentials": {"api_key": "env:PAYMENTS_TEST_KEY"}, "webhook_secret": "env:PAYMENTS_TEST_SECRET",
            }  # fmt: skip
            storefront = {"store": STORE, "origins": ["https://shop.example"]}
            await accounts.apply(tx, {"gateway_accounts": [row], "storefronts": [storefront]})
        key = await app.keys.create(STORE, "tests", ["*"])
        app.shell.ready.set()
        parts = [
            asyncio.create_task(app.shell.run()),
            asyncio.create_task(app.tasks.run()),
            asyncio.create_task(app.timers.run()),
        ]
        async with listening(server_of(app.asgi())) as url:
            shape.server.webhooks.url = url + ADDRESS
            yield World(app, key, url, shape)
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await app.tasks.close()
        await app.database.close()
