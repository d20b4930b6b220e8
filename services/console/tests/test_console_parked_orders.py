"""Orders of which orders has a parked message, in the lists; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from console_owners import REAL, Owner, page, serving
from console_world import NOW, STORE, Browser, Life, Publisher, emptied

from chassis.process.app import App
from console import parked_orders, projection
from console.domain.operations import Report
from console.owners import Owners
from console.parked_orders import ParkedOrders
from console.settings import Settings
from contracts import orders

pytestmark = REAL
TABLES = ("order_rows", "stores", "people", "freshness", "inbox", "parked", "parked_keys")
SINCE = NOW - timedelta(hours=2)


@pytest_asyncio.fixture
async def owner() -> AsyncIterator[Owner]:
    async with serving(Owner()) as owner:
        yield owner


@pytest_asyncio.fixture
async def app(owner: Owner) -> AsyncIterator[App]:
    async with emptied(TABLES, orders_url=owner.url, orders_api_key="tw_1_secret") as app:
        yield app


def parks(owner: Owner, *keys: UUID) -> None:
    items = [{"key": str(key), "since": SINCE.isoformat()} for key in keys]
    owner.answers["GET", "/v1/parked-keys"] = page(*items)


def report(keys: int, oldest_since: datetime | None = SINCE) -> Report:
    """What orders reports."""
    since = oldest_since.isoformat() if keys and oldest_since else None
    at = datetime.now(UTC)
    return Report(
        "orders", "127.0.0.1:1", at, at, "", {"parked": {"waiting": keys, "keys": keys, "oldest_since": since}}
    )


async def rounds(app: App, *reports: Report) -> None:
    owners = Owners(cast(Settings, app.settings))
    async with owners.running():
        work = ParkedOrders(app, owners)
        for one in reports:
            await work.round([one], NOW)


async def waits(app: App) -> dict[str, tuple[str, Any]]:
    rows = await app.fetch("select number, waiting, since from order_rows where ordered_at is not null order by number")
    return {row["number"]: (row["waiting"], row["since"]) for row in rows}


async def test_an_order_with_a_parked_message_needs_a_person_until_it_is_replayed(app: App, owner: Owner) -> None:
    lives, publisher, browser = [Life(number=number) for number in ("A-1", "B-2")], Publisher(app), Browser(app)
    await publisher.publish(*(life.received() for life in lives))
    before = await waits(app)
    parks(owner, lives[0].order_id, uuid4())
    await rounds(app, report(2))
    assert await waits(app) == {**before, "A-1": ("parked", SINCE)}
    await browser.sign_in()
    attention = (await browser.get(f"/orders?store={STORE}&view=attention")).text
    assert "A-1" in attention and "B-2" not in attention
    await publisher.publish(lives[0].next(orders.Archived, archived_at=NOW, actor="x"))
    assert (await waits(app))["A-1"] == ("parked", SINCE), "an event does not end it"
    parks(owner)
    await rounds(app, report(0))
    assert await waits(app) == {**before, "A-1": (before["A-1"][0], NOW)}


async def test_orders_is_asked_when_its_count_changes_and_when_it_is_old(
    app: App, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, other = Life(number="A-1"), Life(number="B-2")
    await Publisher(app).publish(life.received(), other.received())
    parks(owner, life.order_id)
    await rounds(app, report(0), report(1), report(1), report(1))
    assert len(owner.requests) == 2 and {one.headers["x-act-as"] for one in owner.requests} == {"console-poller"}
    monkeypatch.setattr(parked_orders, "ASK_AGAIN_SECONDS", 0.0)
    await rounds(app, report(1), report(1))
    assert len(owner.requests) == 4


async def test_if_orders_does_not_answer_what_was_parked_stays_so(app: App, owner: Owner) -> None:
    life = Life(number="A-1")
    await Publisher(app).publish(life.received())
    owners = Owners(cast(Settings, app.settings))
    async with owners.running():
        work = ParkedOrders(app, owners)
        parks(owner, life.order_id)
        await work.round([report(1)], NOW)
        owner.answers.clear()
        owner.default = (503, {})
        await work.round([report(0)], NOW)
        await work.round([], NOW)
        assert (await waits(app))["A-1"][0] == "parked"
        owner.answers["GET", "/v1/parked-keys"] = page()
        await work.round([report(0)], NOW)
    assert (await waits(app))["A-1"][0] == "answer"


async def test_an_order_that_comes_into_the_lists_later_is_found_and_one_that_never_does_is_not_looked_up_in_every_round(
    app: App, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looked_up, locked = 0.0, list[UUID](), projection.locked
    monkeypatch.setattr(parked_orders, "time", SimpleNamespace(monotonic=lambda: clock))

    async def recorded(tx: Any, keys: Any) -> Any:
        looked_up.extend(keys)
        return await locked(tx, keys)

    monkeypatch.setattr(projection, "locked", recorded)
    life, never = Life(number="A-1"), uuid4()
    parks(owner, life.order_id, never)
    owners = Owners(cast(Settings, app.settings))
    async with owners.running():
        work = ParkedOrders(app, owners)
        for clock in (0.0, 2.0, 4.0):
            await work.round([report(2)], NOW)
        await Publisher(app).publish(life.received())
        looked_up.clear()
        for n in range(3, 60):  # orders is asked again, too
            clock = 2.0 * n
            await work.round([report(2)], NOW)
    assert (await waits(app))["A-1"] == ("parked", SINCE)
    assert looked_up.count(life.order_id) == 1 and looked_up.count(never) == 4


async def test_of_thousands_of_parked_orders_the_keys_are_not_read_in_every_round(
    app: App, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(parked_orders, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(parked_orders, "PAGE_KEYS", 2)
    parks(owner, *(uuid4() for _ in range(10)))
    owners = Owners(cast(Settings, app.settings))
    async with owners.running():
        work = ParkedOrders(app, owners)
        for n in range(10):
            clock = 2.0 * n
            await work.round([report(10 + n)], NOW)
    assert len(owner.requests) == 4, "at 0, 6, 12 and 18 seconds"


async def test_every_page_of_keys_is_read_and_its_orders_are_marked_some_at_a_time(
    app: App, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_orders, "MARKED_AT_ONCE", 2)
    lives = [Life(number=f"A-{n}") for n in range(3)]
    await Publisher(app).publish(*(life.received() for life in lives))

    def pages(request: Any) -> Any:
        start = int(request.query.get("cursor", 0))
        items = [{"key": str(life.order_id), "since": SINCE.isoformat()} for life in lives[start : start + 1]]
        return page(*items, next_cursor=str(start + 1) if start < 2 else None)

    owner.answers["GET", "/v1/parked-keys"] = pages
    await rounds(app, report(3))
    assert {waiting for waiting, _ in (await waits(app)).values()} == {"parked"}
