"""Streams of the console on a real PostgreSQL: rows that change while they are watched; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from console_world import NOW, STORE, Browser, Life, Publisher, emptied

from chassis.process.app import App
from console import sessions
from console.api import live
from console.handlers import SERVICE
from console.live import rows
from contracts import orders
from tests.waiting import patience

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    async with emptied(TABLES) as app:
        yield app


@pytest.fixture
def publisher(app: App) -> Publisher:
    return Publisher(app)


@pytest.fixture
def browser(app: App) -> Browser:
    return Browser(app)


def placed(life: Life) -> Any:
    return life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)


async def now(app: App) -> str:
    return f"rows={await rows.position(app)}"


def is_of(channel: str) -> Any:
    return lambda body: body["channel"] == channel


async def test_a_watched_row_is_sent_with_its_cells_and_its_list_with_how_many_changed(
    app: App, publisher: Publisher, browser: Browser
) -> None:
    shown, other = Life(), Life(number="A-2")
    await publisher.publish(shown.received(), other.received())
    await browser.sign_in("viewer")
    channel = f"order:{shown.order_id}"
    async with browser.stream(channel, f"list:{STORE}", after=await now(app)) as stream:
        assert stream.status == 200
        await publisher.publish(placed(shown), placed(other))
        row = await stream.until(is_of(channel))
        assert "approval" in row["cells"]["waiting"] and "20.00" in row["cells"]["amount"]
        assert (await stream.until(is_of(f"list:{STORE}")))["changed"] == 2


async def test_nothing_is_lost_between_page_and_stream_nor_by_a_reconnect(
    app: App, publisher: Publisher, browser: Browser
) -> None:
    life = Life()
    await publisher.publish(life.received())
    await browser.sign_in("viewer")
    channel = f"order:{life.order_id}"
    page = await now(app)
    await publisher.publish(placed(life))
    async with browser.stream(channel, after=page) as stream:
        assert "approval" in (await stream.until(is_of(channel)))["cells"]["waiting"]
        while "rows" not in stream.event_id or stream.event_id == page:
            await stream.read()
    await publisher.publish(life.next(orders.Approved, status="approved", approved_at=NOW, actor="x"))
    other_process = Browser(App(SERVICE, app.settings, "api"))
    other_process.cookies = browser.cookies
    try:
        async with other_process.stream(channel, after=stream.event_id) as stream:
            assert "approval" not in (await stream.until(is_of(channel)))["cells"]["waiting"]
    finally:
        await other_process.app.database.close()


async def test_a_page_that_joins_a_stream_is_sent_what_came_since_its_own_position(
    app: App, publisher: Publisher, browser: Browser
) -> None:
    """What the stream of another page has already passed; a position that no channel needs is dropped."""
    life, other = Life(), Life(number="A-2")
    await publisher.publish(life.received(), other.received())
    await browser.sign_in("viewer")
    channel, page = f"order:{life.order_id}", await now(app)
    await publisher.publish(placed(life))
    stream_of_others = await now(app)
    async with browser.stream(channel, after=f"{stream_of_others}&tail=old&{page}") as stream:
        assert "approval" in (await stream.until(is_of(channel)))["cells"]["waiting"]
        assert "tail" not in stream.event_id and stream.event_id.count("rows=") == 1


async def test_a_transaction_that_commits_after_a_later_one_is_not_passed_over(app: App, publisher: Publisher) -> None:
    first, second = Life(), Life(number="A-2")
    await publisher.publish(first.received(), second.received())
    since = await rows.position(app)
    touch = "update order_rows set written_by = pg_current_xact_id()::text::bigint where order_id = $1"

    async def changed() -> set[Any]:
        nonlocal since
        found = await app.fetch(rows.CHANGED, since, [STORE], [])
        since = found[0]["position"]
        return {row["order_id"] for row in found}

    async with app.database.transaction() as slow:
        await slow.execute(touch, first.order_id)
        await app.fetch(touch, second.order_id)
        assert await changed() == {second.order_id}
        assert await changed() == {None}
    assert await changed() == {first.order_id}
    assert await changed() == {None}


@pytest.mark.parametrize("after", ["rows=9000000000000:9000000000000:", "rows=nonsense", "rows=1:2:7"])
async def test_after_a_restore_or_with_a_position_that_is_none_pages_load_again(
    publisher: Publisher, browser: Browser, after: str
) -> None:
    life = Life()
    await publisher.publish(life.received())
    await browser.sign_in("viewer")
    async with browser.stream(f"list:{STORE}", after=after) as stream:
        assert (await stream.until(is_of(f"list:{STORE}")))["refresh"] is True


async def test_a_channel_of_another_store_is_not_watched(app: App, publisher: Publisher, browser: Browser) -> None:
    life, foreign = Life(), Life(store_id="st_2", number="B-1")
    await publisher.publish(life.received(), foreign.received())
    await browser.sign_in("viewer", stores=[STORE])
    for unknown in (f"order:{foreign.order_id}", "list:st_2", "order:x", "nonsense:", "nonsense"):
        assert (await browser.get("/live", channel=unknown)).status == 404
    async with browser.stream(f"order:{foreign.order_id}", f"order:{life.order_id}", after=await now(app)) as stream:
        await publisher.publish(placed(foreign), placed(life))
        assert (await stream.until(lambda body: "cells" in body))["channel"] == f"order:{life.order_id}"


async def test_a_stream_ends_with_its_session_and_does_not_keep_it_alive(
    monkeypatch: pytest.MonkeyPatch, app: App, browser: Browser
) -> None:
    assert (await browser.get("/live", channel=f"list:{STORE}")).status == 401
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.01)
    await browser.sign_in("viewer")
    await app.fetch("update sessions set seen_at = now() - interval '20 minutes'")
    async with browser.stream(f"list:{STORE}") as stream:
        await stream.until(lambda body: body.get("beat") is True)
        [row] = await app.fetch("select now() - seen_at > interval '19 minutes' as idle from sessions")
        assert row["idle"]
        await sessions.end(app, browser.cookies["__Host-session"], datetime.now(UTC))
        assert (await stream.until(lambda body: "signed_out" in body))["signed_out"] is True


async def test_streams_end_when_the_process_is_asked_to_end(app: App, browser: Browser) -> None:
    await browser.sign_in("viewer")
    async with browser.stream(f"list:{STORE}") as stream:
        await stream.read()
        app.end_soon()
        async with patience():
            while await stream.read() or not stream.is_over:
                pass
