"""Store and HTTP of orders on a real PostgreSQL: `ORDERS_TEST_DATABASE_URL` names an empty database."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from orders_play import NOW, content, line, market

from chassis.batch.inbound import Inbound
from chassis.declare.migrations import upgrade
from chassis.process.app import App
from contracts import payments
from contracts.ids import order_id
from contracts.orders import Place
from contracts.payments import MoneyTotals
from contracts.snapshot import Address, OrderContent, Snapshot, Source
from orders import store
from orders.handlers import SERVICE
from orders.settings import Settings

URL = os.environ.get("ORDERS_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="ORDERS_TEST_DATABASE_URL is not set")]
LIMIT = 300


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    """The service without its background, on emptied tables."""
    await upgrade(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL), "api")
    async with app.database.transaction() as tx:
        await tx.execute("truncate orders, markets, journal, outbox, timers, inbox, idempotency")
    shell = asyncio.create_task(app.shell.run())
    yield app
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()


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


async def used(app: App) -> int:
    async with app.database.connection() as connection:
        count: int = await connection.fetchval(store.IN_FLIGHT, LIMIT)
        return count


async def execute(app: App, sql: str, *values: Any) -> None:
    async with app.database.transaction() as tx:
        await tx.execute(sql, *values)


async def put_market(app: App, store_id: str, **terms: Any) -> None:
    async with app.database.transaction() as tx:
        await store.put_market(tx, store.Market(store=store_id, terms=market(**terms)))


async def woken(app: App) -> list[float]:
    """Seconds until each timer that is armed."""
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            "select extract(epoch from due_at - clock_timestamp())::float8 from timers order by 1"
        )
    return [row[0] for row in rows]


# -- intake -----------------------------------------------------------------------------------------------------------


async def test_commands_that_were_just_asked_count_in_full(app: App) -> None:
    await place(app, 200, "a")
    await place(app, 50, "b")
    assert await used(app) == 250


async def test_one_store_with_a_slow_gateway_uses_a_quarter_of_the_limit_and_nothing_after_five_minutes(
    app: App,
) -> None:
    await place(app, LIMIT + 50, "a")
    await execute(app, "update orders set waiting_since = now() - interval '6 seconds'")
    assert await used(app) == LIMIT // 4
    await place(app, 10, "b")
    assert await used(app) == LIMIT // 4 + 10
    await execute(app, "update orders set waiting_since = now() - interval '301 seconds'")
    assert await used(app) == 0


async def test_bank_transfers_that_are_pending_at_a_gateway_use_nothing_of_the_limit(app: App) -> None:
    await put_market(app, "a", gateway="test")
    keys = await place(app, LIMIT + 10, "a")
    async with app.database.connection() as connection:
        asked = await connection.fetch("select key, operation_id from journal where type = 'payments.authorize'")
    operations = {row["key"]: row["operation_id"] for row in asked}
    assert len(operations) == len(keys)
    await handle(app, *(
        inbound(payments.Pending(
            order_id=key, store_id="a", version=1, operation_id=operations[key], currency="EUR", totals=MoneyTotals(),
            command="authorize", since=NOW,
        ), key, "a")
        for key in keys
    ))  # fmt: skip
    assert await used(app) == 0


# -- corrected terms --------------------------------------------------------------------------------------------------


async def test_a_corrected_market_wakes_the_orders_that_wait_a_hundred_a_second_and_no_other(app: App) -> None:
    await put_market(app, "a", currency="GBP")
    waiting = await place(app, 250, "a")
    await put_market(app, "a", currency="GBP")  # the same again
    await place(app, 3, "b", lifecycle="awaiting_payment")
    assert await woken(app) == []
    await put_market(app, "a", currency="EUR")
    due = await woken(app)
    assert len(due) == len(waiting) and [sum(n - 1 < one <= n for one in due) for n in range(3)] == [100, 100, 50]


async def test_a_corrected_market_wakes_a_rejected_invoice_and_no_other_exception_of_what_is_placed(app: App) -> None:
    await put_market(app, "a", seller="wrong")
    keys = await place(app, 2, "a")
    await execute(app, "update orders set status = 'approved', waiting = 'exception', waiting_step = 'place.fulfill'")
    await execute(app, "update orders set waiting_step = 'settle.invoice' where key = $1", keys[0])
    await execute(app, "delete from timers")
    await put_market(app, "a", seller="acme")
    async with app.database.connection() as connection:
        assert [row["key"] for row in await connection.fetch("select key from timers")] == [keys[0]]


async def test_a_woken_order_starts_with_the_corrected_terms(app: App) -> None:
    await put_market(app, "a", currency="GBP")
    (key,) = await place(app, 1, "a")
    await put_market(app, "a", currency="EUR")
    assert await app.timers.fire() == 1
    async with app.database.connection() as connection:
        row = await connection.fetchrow("select status, waiting, market from orders where key = $1", key)
    assert row is not None and (row["status"], row["waiting"]) == ("placing", "answer") and '"EUR"' in row["market"]


# -- exceptions over HTTP ---------------------------------------------------------------------------------------------


class Client:
    """Speaks ASGI to the service with a key of one store."""

    def __init__(self, app: App, key: str) -> None:
        self.asgi, self.key = app.asgi(), key

    async def __call__(self, method: str, path: str, body: Any = None, query: str = "") -> tuple[int, Any]:
        sent: list[Any] = []
        headers = [(b"authorization", f"Bearer {self.key}".encode()), (b"content-type", b"application/json")]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": quote(path).encode(), "query_string": query.encode(), "root_path": "", "headers": headers,
            "server": ("test", 80), "client": ("test", 1),
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": json.dumps(body).encode() if body is not None else b""}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.asgi(scope, receive, send)
        return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


async def test_an_exception_is_shown_with_its_difference_and_ended_once(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    moved = digital("a-0", ship_to=Address(name="Ann", line1="2 Way", city="Lyon", country="FR"))
    source = Source(channel="api", account="default", updated_at="2099-01-01T00:00:00Z", content_hash="x")
    await handle(app, inbound(Snapshot(source=source, order=moved), key, "a"))
    _, shown = await call("GET", f"/v1/orders/{key}")
    (one,) = shown["exceptions"]
    assert (one["code"], one["resolutions"]) == ("address_changed", ["accept", "keep"]) and one["since"]
    assert {"path": "ship_to.line1", "change": "changed", "before": None, "after": None} in one["difference"]
    assert [one["code"] for one in shown["remarks"]] == ["updated_at_ahead"] and {
        "action": "resolve",
        "allowed": True,
        "why_not": None,
    } in shown["legal_actions"]
    path = f"/v1/orders/{key}/exceptions/{one['exception_id']}/resolve"
    assert (await call("POST", path, {"resolution": "maybe"}))[0] == 422
    status, shown = await call("POST", path, {"resolution": "accept", "reason": "moved"})
    assert (status, shown["exceptions"], shown["order"]["ship_to"]["line1"]) == (200, [], "2 Way")
    status, problem = await call("POST", path, {"resolution": "accept"})
    assert (status, problem["type"]) == (404, "/problems/exception_unknown")
    _, shown = await call("GET", f"/v1/orders/{key}")
    (resolved,) = [entry for entry in shown["timeline"] if entry["type"] == "orders.exception_resolved"]
    assert (resolved["code"], resolved["resolution"], resolved["reason"]) == ("address_changed", "accept", "moved")


async def test_an_order_is_shown_with_its_latest_steps_and_the_timeline_has_all_of_them(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    there = Address(name="Ann", line1="2 Way", city="Lyon", country="FR")
    for n in range(60):  # an exception is raised, and disappears with its cause
        moved = digital("a-0", ship_to=there) if n % 2 == 0 else digital("a-0")
        at = f"2099-01-01T00:{n:02}:00Z"
        source = Source(channel="api", account="default", updated_at=at, content_hash=str(n))
        await handle(app, inbound(Snapshot(source=source, order=moved), key, "a"))
    _, shown = await call("GET", f"/v1/orders/{key}")
    versions = [step["version"] for step in shown["timeline"] if step["version"]]
    assert len(shown["timeline"]) == 50 and versions == sorted(versions) and versions[-1] == shown["version"]
    steps, cursor = [], ""
    while cursor is not None:
        path = f"/v1/orders/{key}/timeline"
        _, page = await call("GET", path, query=f"limit=20{cursor}")
        steps += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert steps[:50] == shown["timeline"][::-1] and len(steps) > 50
    assert steps[-1]["type"] == "orders.received" and len({step["message_id"] for step in steps}) == len(steps)
    _, page = await call("GET", path, query=f"limit=500&cursor={shown['timeline_next_cursor']}")
    assert page["items"] == steps[50:]


async def test_another_store_ends_no_exception(app: App) -> None:
    (key,) = await place(app, 1, "a", lifecycle="partially_shipped")
    mine, theirs = [Client(app, await app.keys.create(name, "desk", ["*"])) for name in ("a", "b")]
    _, shown = await mine("GET", f"/v1/orders/{key}")
    path = f"/v1/orders/{key}/exceptions/{shown['exceptions'][0]['exception_id']}/resolve"
    assert (await theirs("POST", path, {"resolution": "accept"}))[0] == 404
