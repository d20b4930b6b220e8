"""The rebuild of the lists beside a running projection; needs `CONSOLE_TEST_DATABASE_URL`. That its rows are those of the events
is `tests/simulation/test_simulation_console.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka import ConsumerRecord, TopicPartition
from console_world import NOW, STORE, Life, Publisher, content

from chassis.kafka.inspection import Chunk
from chassis.process.app import App
from console import rebuild
from console.handlers import SERVICE
from console.settings import Settings
from console.tables import metadata
from contracts import orders
from contracts.orders import MarketTerms
from tests.databases import empty, migrated, undeclared

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "jobs", "inbox", "parked", "parked_keys")
INDEXES = "select indexdef from pg_indexes where schemaname = 'public' and tablename = 'order_rows' order by indexname"
OPEN = {"holds": [], "exceptions": [], "refused": [], "stuck": {}, "refunds": [], "edit": ""}


@dataclass
class Lists:
    """The lists of all owners, two items a page."""

    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    silent_after: int = 10**9
    """Pages."""
    url: str = ""
    between: Any = None
    """Called before each page."""

    async def read(self, request: web.Request) -> web.Response:
        self.silent_after -= 1
        if self.silent_after < 0:
            return web.json_response({}, status=503)
        if self.between is not None:
            await self.between()
        start = int(request.query.get("cursor", 0))
        items = self.items.get(request.path, [])
        more = str(start + 2) if len(items) > start + 2 else None
        return web.json_response({"items": items[start : start + 2], "next_cursor": more})


@dataclass
class Topics:
    """The topics as `Inspector` reads them: all records are of one partition."""

    records_of: list[ConsumerRecord] = field(default_factory=list)
    part = TopicPartition("orders.events.v1", 0)

    async def ends(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {part: len(self.records_of) if part == self.part else 0 for part in parts}

    async def records(
        self, positions: Mapping[TopicPartition, int], *, share_bytes: int, records_max: int
    ) -> dict[TopicPartition, Chunk]:
        start = positions[self.part]
        found = self.records_of[start : start + 2]
        return {self.part: Chunk(list(found), start + len(found))}  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def lists() -> AsyncIterator[Lists]:
    lists = Lists()
    server = web.Application()
    server.router.add_get("/{path:.*}", lists.read)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    lists.url = site.name
    yield lists
    await runner.cleanup()


@pytest_asyncio.fixture
async def app(lists: Lists) -> AsyncIterator[App]:
    await migrated(SERVICE, URL)
    asked = {f"{name}_{what}": value for name in ("orders", "payments", "fulfillment", "invoicing")
             for what, value in (("url", lists.url), ("api_key", "tw_1_secret"))}  # fmt: skip
    app = App(SERVICE, Settings(database_url=URL, **asked), "api")  # type: ignore[arg-type]
    async with app.database.connection() as connection:
        await empty(connection, TABLES)
        await connection.execute(f"drop schema if exists {rebuild.SCHEMA} cascade")
    yield app
    await app.database.close()


def listed(life: Life, **more: Any) -> dict[str, Any]:
    """An item of the list of orders."""
    sold = content(life.number)
    return {
        "order_id": str(life.order_id), "version": life.versions["orders"], "number": life.number, "channel": "amazon",
        "account": "eu", **life.statuses, "cancel_cause": None, "grand_minor": 2000, "placed_at": None, "completed_at": None,
        "archived_at": None, "reference": None, "tags": [], "updated_at": NOW.isoformat(), "since": None, "open": OPEN,
        "order": sold.model_dump(mode="json"), "market": MarketTerms(code="de", capture="on_approval").model_dump(mode="json"),
        **more,
    }  # fmt: skip


async def rows(app: App) -> dict[UUID, Any]:
    found = await app.fetch(
        "select order_id, number, status, waiting, versions::text, captured_minor, words::text from order_rows"
    )
    return {UUID(int=row["order_id"].int): row for row in found}


async def test_what_the_lists_have_replaces_what_the_table_had(app: App, lists: Lists) -> None:
    lives = [Life(number=f"A-{n}") for n in range(5)]
    await Publisher(app).publish(*(life.received() for life in lives))
    indexes = await app.fetch(INDEXES)
    before = await rows(app)
    await app.fetch("update order_rows set number = 'wrong', words = '', status = 'approved'")
    lists.items["/v1/orders"] = [listed(life) for life in lives]
    totals = {"authorized_minor": 2000, "captured_minor": 1500, "voided_minor": 0, "refunded_minor": 0}
    lists.items["/v1/payments"] = [{"order_id": str(lives[0].order_id), "version": 3, "totals": totals}]
    first, _ = await rebuild.rebuild(app, Topics(), [])  # type: ignore[arg-type]
    after = await rows(app)
    assert first.startswith("5 orders of st_1 in ")
    assert {key: row["number"] for key, row in after.items()} == {key: row["number"] for key, row in before.items()}
    assert {row["words"] for row in after.values()} == {row["words"] for row in before.values()}
    assert after[lives[0].order_id]["captured_minor"] == 1500
    assert after[lives[0].order_id]["versions"] == '{"orders": 1, "payments": 3}'
    assert await app.fetch(INDEXES) == indexes, "the new table has the indexes of the old one, by their names"
    assert await undeclared(cast(Any, app).database.queries.engine, metadata) == []


async def test_events_that_come_meanwhile_are_neither_lost_nor_counted_twice(app: App, lists: Lists) -> None:
    """The projection folds them into the old table while the lists are read; afterwards it receives one of them again."""
    topics, publisher = Topics(), Publisher(app)
    lives = [Life(number=f"A-{n}") for n in range(3)]
    await publisher.publish(*(life.received() for life in lives))
    lists.items["/v1/orders"] = [listed(life) for life in lives]
    late = Life(number="LATE")
    coming = [
        lives[0].next(orders.Placed, status="placed", placed_at=NOW), late.received(), late.next(orders.Placed, status="placed", placed_at=NOW)
    ]  # fmt: skip

    async def event_comes() -> None:
        if coming:
            record = publisher.record(coming.pop(0))
            topics.records_of.append(record)
            await publisher.take(record)

    lists.between = event_comes
    await rebuild.rebuild(app, topics, [])  # type: ignore[arg-type]
    assert not coming, "all came while lists were read"
    after = await rows(app)
    assert {row["number"]: row["status"] for row in after.values()} == {
        "A-0": "placed", "A-1": "placing", "A-2": "placing", "LATE": "placed",
    }  # fmt: skip
    await publisher.take(topics.records_of[0])
    cancelled = lives[1].next(orders.Cancelled, status="cancelled", cancelled_at=NOW, cause="customer")
    await publisher.publish(cancelled)
    after = await rows(app)
    assert after[lives[0].order_id]["versions"] == '{"orders": 2}'
    assert after[lives[1].order_id]["status"] == "cancelled", "the projection goes on in the new table"


async def test_an_owner_that_is_silent_leaves_the_lists_as_they_are_and_the_next_rebuild_begins_anew(
    app: App, lists: Lists
) -> None:
    lives = [Life(number=f"A-{n}") for n in range(4)]
    await Publisher(app).publish(*(life.received() for life in lives))
    before = await rows(app)
    lists.items["/v1/orders"] = [listed(life, number="new") for life in lives]
    lists.silent_after = 5  # four lists, and one page of orders
    with pytest.raises(rebuild.Silent, match="orders: it answered 503; the lists are as before"):
        await rebuild.rebuild(app, Topics(), [])  # type: ignore[arg-type]
    assert await rows(app) == before
    lists.silent_after = 10**9
    await rebuild.rebuild(app, Topics(), [])  # type: ignore[arg-type]
    assert {row["number"] for row in (await rows(app)).values()} == {"new"}


async def test_one_rebuild_runs_at_a_time_and_it_needs_a_store(app: App, lists: Lists) -> None:
    with pytest.raises(ValueError, match="--store"):
        await rebuild.rebuild(app, Topics(), [])  # type: ignore[arg-type]
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        waits.set()
        await goes_on.wait()

    lists.between = wait
    first = asyncio.create_task(rebuild.rebuild(app, Topics(), [STORE]))  # type: ignore[arg-type]
    await waits.wait()
    with pytest.raises(ValueError, match="another rebuild"):
        await rebuild.rebuild(app, Topics(), [STORE])  # type: ignore[arg-type]
    goes_on.set()
    assert (await first)[0].startswith("0 orders of st_1")
