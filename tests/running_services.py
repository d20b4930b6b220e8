"""Services that run in the process of a test, each on the database of its own that `ORDERS_TEST_DATABASE_URL` and so on name."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final
from uuid import UUID

import aiohttp
import uvicorn

from chassis.http.auth import ACT_AS
from chassis.http.server import listen
from chassis.process.app import App
from dintero_compat import drafts
from dintero_compat.accounts import Account
from dintero_compat.domain.placing import CHANNEL
from dintero_compat.handlers import SERVICE as COMPAT
from tests.databases import migrated

AID: Final = "T12345678"
NUMBER: Final = "20"
"""The `order_id` of an order of that account."""


@asynccontextmanager
async def running(name: str, **settings: Any) -> AsyncIterator[App]:
    """A service that answers requests. It has no consumer: no message reaches it."""
    app = await made(name, **settings)
    shell = asyncio.create_task(app.shell.run())
    try:
        yield app
    finally:
        shell.cancel()
        await asyncio.gather(shell, return_exceptions=True)
        await app.database.close()


async def made(name: str, **settings: Any) -> App:
    """A service that is not started yet."""
    service = import_module(f"{name}.handlers").SERVICE
    url = os.environ[f"{name.upper()}_TEST_DATABASE_URL"]
    await migrated(service, url)
    return App(service, service.settings(database_url=url, **settings), "api")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # those of the test run stay as they are


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[str]:
    """Returns the address at which the service answers."""
    server = _Server(uvicorn.Config(app.asgi(), lifespan="off", log_config=None, access_log=False))
    socket = listen("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve(sockets=[socket]))
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def compat_with_its_owners(store_id: str) -> AsyncIterator[App]:
    """The service `dintero_compat`, to be started by its lifespan, with orders and payments. The account AID is of the store, and has
    an order of the number NUMBER and an open draft of the id 0."""
    async with contextlib.AsyncExitStack() as stack:
        asked: dict[str, str] = {}
        for name in ("orders", "payments"):
            owner = await stack.enter_async_context(running(name))
            asked[f"{name}_url"] = await stack.enter_async_context(listening(owner))
            asked[f"{name}_api_key"] = await owner.keys.create(None, "dintero", ["*", ACT_AS])
        await _place(asked["orders_url"], asked["orders_api_key"], store_id)
        app = await made(COMPAT.name, **asked)
        await _fill(app, store_id)
        yield app


async def _place(url: str, key: str, store_id: str) -> None:
    line = {"external_line_id": "1", "sku": "MUG", "quantity": {"ordered": 1}, "line_total_minor": 20}
    order = {
        "channel": CHANNEL, "account": AID, "external_order_id": NUMBER, "placed_at": "2026-11-21T10:00:00Z", "currency": "EUR",
        "lines": [line], "totals": {"grand_minor": 20},
    }  # fmt: skip
    headers = {"authorization": f"Bearer {key}", "x-store-id": store_id}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/orders", json=order, headers=headers) as answer,
    ):
        assert answer.status == 201, await answer.text()


async def _fill(app: App, store_id: str) -> None:
    item = {"id": "MUG", "line_id": 1, "quantity": 1, "gross_amount": 20}
    doc = {"options": {}, "order": {"currency": "EUR", "items": [item]}}
    async with app.database.transaction() as tx:
        assert COMPAT.apply is not None
        await COMPAT.apply(tx, {"accounts": [{"aid": AID, "store": store_id}]})
        await drafts.create(tx, Account(AID, store_id, True), UUID(int=0), doc, None, reserve=False, by="a test")
