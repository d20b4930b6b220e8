"""Events go from the feed to receivers, on a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from standardwebhooks import Webhook
from webhooks_delivery import KEYS, STORE, Receiver, dispatching, endpoint, receiving
from webhooks_feed import Publisher, noted

from chassis.declare.migrations import upgrade
from chassis.process.app import App
from webhooks import invariants
from webhooks.domain import attempts
from webhooks.handlers import SERVICE
from webhooks.settings import Settings

URL = os.environ.get("WEBHOOKS_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="WEBHOOKS_TEST_DATABASE_URL is not set")]
TABLES = "feed, feed_epochs, order_facts, inbox, parked, parked_keys, endpoints, cursors, waiting, attempts, shards, dispatchers"
A, B = UUID(int=1), UUID(int=2)


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    await upgrade(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL, secret_keys=KEYS, allowed_networks="127.0.0.0/8"), "api")
    async with app.database.connection() as connection:
        await connection.execute(f"truncate {TABLES}, journal, outbox, idempotency")
        await connection.execute("update feed_head set epoch = 0, position = 0, certificate = ''")
    shell = asyncio.create_task(app.shell.run())
    app.shell.ready.set()
    yield app
    async with app.database.connection() as connection:
        assert [name for name, _, violated in await invariants.check(connection) if violated] == []
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()


@pytest_asyncio.fixture
async def publisher(app: App) -> Publisher:
    publisher = Publisher(app)
    await publisher.begin("first")
    return publisher


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries within a test's patience."""
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (0.05,) * 4)


def versions(receiver: Receiver, order: UUID) -> list[int]:
    return [event["version"] for event in receiver.accepted if event["subject"] == str(order)]


async def stored(app: App, statement: str, *arguments: Any) -> list[Any]:
    return [tuple(row) for row in await app.fetch(statement, *arguments)]


async def settled(app: App, made: UUID) -> None:
    """Wait until the cursor is at the head and nothing waits."""
    async with asyncio.timeout(15):
        while await stored(
            app,
            "select 1 from cursors, feed_head where endpoint_id = $1 and (cursors.position < feed_head.position or open <> '{}')"
            " union all select 1 from waiting where endpoint_id = $1 and not exhausted",
            made,
        ):
            await asyncio.sleep(0.05)


async def test_an_event_arrives_signed_and_is_recorded(app: App, publisher: Publisher) -> None:
    receiver, before = Receiver(), noted(STORE)
    await publisher.publish(before)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            event, other = noted(STORE, "call her", 3), noted("st_2")
            await publisher.publish(event, other)
            await receiver.until(lambda: len(receiver.got) == 1)
    [got] = receiver.got
    assert Webhook(made.secret).verify(got.body, got.headers) == got.event
    assert {name: got.event[name] for name in ("specversion", "type", "subject", "storeid", "version")} == {
        "specversion": "1.0", "type": "orders.note_added", "subject": str(event.order_id), "storeid": STORE, "version": 3,
    }  # fmt: skip
    assert got.event["data"]["text"] == "***"
    assert got.headers["Content-Type"] == "application/cloudevents+json"
    [attempt] = await stored(
        app,
        "select endpoint_id, position, event_id, type, key, delivery_id, number, outcome, http_status, response from attempts",
    )
    assert attempt == (
        made.id, 2, got.event["id"], "orders.note_added", event.order_id, got.id, 1, "delivered", 200, "noted",
    )  # fmt: skip
    assert await stored(app, "select position, open, failing_since from cursors") == [(3, [], None)]


@pytest.mark.usefixtures("_quick")
async def test_a_failed_event_holds_its_order_alone_and_is_sent_again_in_the_same_bytes(
    app: App, publisher: Publisher
) -> None:
    failures = 3

    def answer(event: Any) -> int:
        nonlocal failures
        if (event["subject"], event["version"]) == (str(A), 1) and failures:
            failures -= 1
            return 500
        return 200

    receiver = Receiver(answer=answer)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            await publisher.publish(
                *(noted(STORE, "😀 é", version, A) for version in (1, 2, 3)), noted(STORE, order_id=B)
            )
            await receiver.until(lambda: len(receiver.got) == 7)
            await settled(app, made.id)
    tries = [got for got in receiver.got if (got.event["subject"], got.event["version"]) == (str(A), 1)]
    assert len({(got.id, got.body) for got in tries}) == 1 and len(tries) == 4
    assert versions(receiver, A) == [1, 2, 3] and versions(receiver, B) == [1]
    assert len({got.id for got in receiver.got}) == 4
    for got in receiver.got:
        Webhook(made.secret).verify(got.body, got.headers)
    assert await stored(app, "select number, outcome from attempts where key = $1 and position = 1 order by at", A) == [
        (1, "failed"), (2, "failed"), (3, "failed"), (4, "delivered"),
    ]  # fmt: skip


@pytest.mark.usefixtures("_quick")
async def test_an_exhausted_event_is_skipped_and_reported_once(app: App, publisher: Publisher) -> None:
    receiver = Receiver(answer=lambda event: 500 if event["version"] == 1 else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            for version in (2, 3, 4):  # others succeed, so that the breaker stays closed
                await publisher.publish(noted(STORE, version=version, order_id=B))
            await publisher.publish(noted(STORE, version=1, order_id=A), noted(STORE, version=2, order_id=A))
            await receiver.until(lambda: versions(receiver, A) == [2])
            await settled(app, made.id)
    assert await stored(app, "select position, lane, tries, exhausted, last from waiting") == [
        (4, None, 5, True, "500")
    ]
    assert await stored(app, "select count(*) from journal where type = 'webhooks.delivery_exhausted'") == [(1,)]


async def test_a_dead_endpoint_delays_no_other_and_costs_no_rows(app: App, publisher: Publisher) -> None:
    dead, good = Receiver(delay_seconds=30), Receiver()
    async with receiving(dead, good):
        failing, made = await endpoint(app, dead.url), await endpoint(app, good.url)
        async with dispatching(app):
            await publisher.publish(*(noted(STORE) for _ in range(300)))
            await good.until(lambda: len(good.got) == 300, 10)
            await settled(app, made.id)
            assert await stored(app, "select count(*) from waiting") == [(0,)]
    assert (await stored(app, "select position from cursors where endpoint_id = $1", failing.id)) == [(0,)]
    assert dead.in_flight_max <= 8


async def test_an_endpoint_that_fails_is_probed_and_gets_everything_when_it_is_back(
    app: App, publisher: Publisher
) -> None:
    up = False
    receiver = Receiver(answer=lambda event: 200 if up else 503)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app) as [dispatcher]:
            await publisher.publish(*(noted(STORE) for _ in range(100)))
            await receiver.until(lambda: len(receiver.got) == 5)
            line = dispatcher._lines[made.id]
            async with asyncio.timeout(5):
                while not line.breaker.is_open:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            assert len(receiver.got) == 5 and (await stored(app, "select count(*) from waiting")) == [(5,)]
            up = True
            await receiver.until(lambda: len(receiver.accepted) == 100, 15)
            await settled(app, made.id)
    assert len({event["id"] for event in receiver.accepted}) == 100 == len(receiver.accepted)


async def test_a_receiver_that_asks_for_a_pause_gets_it(app: App, publisher: Publisher) -> None:
    busy = True
    receiver = Receiver(answer=lambda event: 429 if busy else 200, more={"retry-after": "1"})
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app):
            await publisher.publish(*(noted(STORE) for _ in range(3)))
            await receiver.until(lambda: len(receiver.got) == 1)
            await asyncio.sleep(0.5)
            assert len(receiver.got) == 1
            busy = False
            await receiver.until(lambda: len(receiver.accepted) == 3)
            await settled(app, made.id)
    assert await stored(app, "select outcome, count(*) from attempts group by 1 order by 1") == [
        ("delivered", 3), ("returned", 1),
    ]  # fmt: skip


async def test_an_endpoint_that_answers_gone_is_disabled_and_keeps_its_place(app: App, publisher: Publisher) -> None:
    receiver = Receiver(answer=lambda event: 410)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            await publisher.publish(noted(STORE))
            async with asyncio.timeout(10):
                while await stored(app, "select 1 from endpoints where status = 'enabled'"):
                    await asyncio.sleep(0.05)
            await publisher.publish(noted(STORE))
            await asyncio.sleep(1.5)
    assert len(receiver.got) == 1
    assert await stored(app, "select position from cursors where endpoint_id = $1", made.id) == [(0,)]


@pytest.mark.usefixtures("_quick")
async def test_two_processes_share_the_endpoints_and_none_is_delivered_to_twice(app: App, publisher: Publisher) -> None:
    receivers = [Receiver() for _ in range(16)]
    async with receiving(*receivers):
        for receiver in receivers:
            await endpoint(app, receiver.url)
        async with dispatching(app, 2) as dispatchers:
            async with asyncio.timeout(10):
                while not all(len(one._loaded) == 8 for one in dispatchers):
                    await asyncio.sleep(0.05)
            orders = [uuid4() for _ in range(10)]
            for version in range(1, 6):
                await publisher.publish(*(noted(STORE, version=version, order_id=order) for order in orders))
            for receiver in receivers:
                await receiver.until(lambda receiver=receiver: len(receiver.got) == 50)  # type: ignore[misc]
    for receiver in receivers:
        assert len({got.id for got in receiver.got}) == 50 == len(receiver.got)
        assert all(versions(receiver, order) == [1, 2, 3, 4, 5] for order in orders)


async def test_an_endpoint_far_behind_catches_up_in_order(app: App, publisher: Publisher) -> None:
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, types=("orders.note_added",))
        for version in range(1, 6):
            await publisher.publish(*(noted(STORE, version=version, order_id=UUID(int=n)) for n in range(1, 101)))
        async with dispatching(app):
            await receiver.until(lambda: len(receiver.got) == 500)
            await settled(app, made.id)
    assert all(versions(receiver, UUID(int=n)) == [1, 2, 3, 4, 5] for n in range(1, 101))
