"""Orders on a real PostgreSQL: `ORDERS_TEST_DATABASE_URL` names an empty database. `app` of `conftest.py` runs there."""

from __future__ import annotations

import os
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from orders_play import content, line, market

from chassis.batch.inbound import Inbound
from chassis.process.app import App
from contracts.ids import order_id
from contracts.orders import Place
from contracts.snapshot import OrderContent
from orders import store
from tests.asgi import asgi_of, asked

URL = os.environ.get("ORDERS_TEST_DATABASE_URL", "")
REAL: Final = [pytest.mark.real, pytest.mark.skipif(not URL, reason="ORDERS_TEST_DATABASE_URL is not set")]
TABLES: Final = (
    "orders", "order_search", "order_marks", "notes", "attachments", "markets", "journal", "outbox", "timers", "inbox",
    "idempotency",
)  # fmt: skip


def digital(number: str, **more: Any) -> OrderContent:
    return content(line(requires_shipping=False), external_order_id=number, **more)


async def handle(app: App, *inbounds: Inbound) -> None:
    for start in range(0, len(inbounds), 100):
        outcomes = await app.shell.handle(inbounds[start : start + 100])
        assert {outcome.status for outcome in outcomes} == {"done"}, outcomes


def inbound(body: Any, key: UUID, store_id: str) -> Inbound:
    message_id = uuid4()
    return Inbound("http", key, store_id, message_id, body.TYPE, body, str(message_id), actor="test")


async def place(app: App, count: int, store_id: str, **more: Any) -> list[UUID]:
    keys, inbounds = [], []
    for n in range(count):
        told = digital(f"{store_id}-{n}", **more)
        key = order_id(store_id, "api", "default", told.external_order_id)
        message = Place(order_id=key, store_id=store_id, operation_id=uuid4(), actor="test", channel="api",
                        account="default", order=told)  # fmt: skip
        keys.append(key)
        inbounds.append(inbound(message, key, store_id))
    await handle(app, *inbounds)
    return keys


async def execute(app: App, sql: str, *values: Any) -> None:
    async with app.database.transaction() as tx:
        await tx.execute(sql, *values)


async def put_market(app: App, store_id: str, **terms: Any) -> None:
    async with app.database.transaction() as tx:
        await store.put_market(tx, store.Market(store=store_id, terms=market(**terms)))


class Client:
    """Speaks ASGI to the service with a key of one store."""

    def __init__(self, app: App, key: str) -> None:
        self.asgi, self.key = asgi_of(app), key

    async def __call__(self, method: str, path: str, body: Any = None, query: str = "", **more: str) -> tuple[int, Any]:
        named = {"authorization": f"Bearer {self.key}", "content_type": "application/json", **more}
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
        return await asked(self.asgi, method, path, headers, body, query)
