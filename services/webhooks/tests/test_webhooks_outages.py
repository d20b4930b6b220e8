"""Receivers that are down, busy or gone: what waits, what is probed, and what others get meanwhile.

On a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from webhooks_delivery import (
    REAL,
    STORE,
    A,
    B,
    Receiver,
    dispatching,
    endpoint,
    receiving,
    settled,
    stored,
    versions,
)
from webhooks_feed import Client, Publisher, noted

from chassis.process.app import App
from tests.waiting import patience, until
from webhooks.domain import attempts, lanes
from webhooks.domain.breaker import PROBE_SECONDS_FIRST

pytestmark = REAL
AT_HEAD = "select count(*) from cursors, feed_head where endpoint_id = $1 and cursors.position = feed_head.position"
BEHIND = "select count(*) from cursors, feed_head where endpoint_id = $1 and cursors.position = feed_head.position - 1"


async def counted(app: App, statement: str, expected: int, *arguments: Any) -> bool:
    return await stored(app, statement, *arguments) == [(expected,)]


async def test_a_dead_endpoint_delays_no_other_and_costs_no_rows(app: App, publisher: Publisher) -> None:
    dead, good = Receiver(holds=lambda event: asyncio.Event().wait()), Receiver()
    async with receiving(dead, good):
        failing, made = await endpoint(app, dead.url), await endpoint(app, good.url)
        async with dispatching(app):
            await publisher.publish(*(noted(STORE) for _ in range(300)))
            await good.until(lambda: len(good.got) == 300)
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
            await receiver.until(lambda: len(receiver.got) >= 5)
            failed_at, line = time.monotonic(), dispatcher._lines[made.id]
            await until(lambda: line.breaker.is_open, "the breaker, open")
            await until(lambda: counted(app, "select count(*) from waiting", 5), "five that wait")
            probes = (time.monotonic() - failed_at) // PROBE_SECONDS_FIRST
            assert len(receiver.got) <= 5 + probes
            up = True
            await receiver.until(lambda: len(receiver.accepted) == 100)
            await settled(app, made.id)
    assert len({event["id"] for event in receiver.accepted}) == 100 == len(receiver.accepted)


async def test_too_many_events_that_wait_open_the_breaker_and_fewer_close_it(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WAITING_MAX", 2)
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (3_600,))
    refused = [uuid4() for _ in range(3)]
    up = False
    receiver = Receiver(answer=lambda event: 200 if up or UUID(event["subject"]) not in refused else 500)
    other = Receiver()
    client = Client(app, await app.keys.create(STORE, "viewer", ["webhooks.view"]))

    async def breaker() -> Any:
        return (await client.get(f"/v1/endpoints/{made.id}"))[1]["breaker"]

    async with receiving(receiver, other):
        made, _ = await endpoint(app, receiver.url), await endpoint(app, other.url)
        async with dispatching(app):
            assert await breaker() is None
            await publisher.publish(
                *(noted(STORE, order_id=order) for order in (*refused, A, *(uuid4() for _ in refused)))
            )
            await receiver.until(lambda: len(receiver.got) == 7)
            async with patience():
                while (found := await breaker()) is None:
                    await asyncio.sleep(0.05)
            assert found["because"] == "waiting"
            await until(lambda: counted(app, AT_HEAD, 1, made.id), "the cursor behind what was sent")
            await publisher.publish(noted(STORE, order_id=B))
            await other.until(lambda: versions(other, B) == [1])
            assert versions(receiver, B) == [] and await counted(app, BEHIND, 1, made.id)
        up = True
        await app.fetch("update waiting set next_at = clock_timestamp()")
        async with dispatching(app):
            await receiver.until(lambda: versions(receiver, B) == [1])
            await settled(app, made.id)
            assert await breaker() is None


async def test_a_receiver_that_asks_for_a_pause_gets_it(app: App, publisher: Publisher) -> None:
    asked = list[float]()

    def busy_once(event: Any) -> int:
        asked.append(time.monotonic())
        return 429 if len(asked) == 1 else 200

    receiver = Receiver(answer=busy_once, more={"retry-after": "1"})
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app):
            await publisher.publish(*(noted(STORE) for _ in range(3)))
            await receiver.until(lambda: len(receiver.accepted) == 3)
            await settled(app, made.id)
    assert asked[1] - asked[0] >= 1
    assert await stored(app, "select outcome, count(*) from attempts group by 1 order by 1") == [
        ("delivered", 3), ("returned", 1),
    ]  # fmt: skip


async def test_an_endpoint_that_answers_gone_is_disabled_and_keeps_its_place(app: App, publisher: Publisher) -> None:
    receiver, other = Receiver(answer=lambda event: 410), Receiver()
    async with receiving(receiver, other):
        made, _ = await endpoint(app, receiver.url), await endpoint(app, other.url)
        async with dispatching(app):
            await publisher.publish(noted(STORE))
            async with patience():
                while not await stored(app, "select 1 from endpoints where key = $1 and status = 'disabled'", made.id):
                    await asyncio.sleep(0.05)
            await publisher.publish(noted(STORE))
            await other.until(lambda: len(other.got) == 2)
    assert len(receiver.got) == 1
    assert await stored(app, "select position from cursors where endpoint_id = $1", made.id) == [(0,)]
