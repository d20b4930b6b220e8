"""Processes that deliver: they share the endpoints, die, are stopped, and show what they do.

On a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from webhooks_delivery import (
    REAL,
    STORE,
    A,
    Receiver,
    dispatching,
    endpoint,
    receiving,
    settled,
    stored,
    versions,
)
from webhooks_feed import Publisher, noted

from chassis.process.app import App
from tests.waiting import patience, until
from webhooks.delivery import dispatcher as dispatcher_module
from webhooks.delivery.dispatcher import Dispatcher
from webhooks.delivery.log import Batch
from webhooks.domain import breaker
from webhooks.domain import config as domain
from webhooks.domain.breaker import PROBE_SECONDS_MAX

pytestmark = REAL


@pytest.mark.usefixtures("_quick")
async def test_two_processes_share_the_endpoints_and_none_is_delivered_to_twice(app: App, publisher: Publisher) -> None:
    receivers = [Receiver() for _ in range(16)]
    async with receiving(*receivers):
        for receiver in receivers:
            await endpoint(app, receiver.url)
        async with dispatching(app, 2) as dispatchers:
            async with patience():
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


@pytest.mark.parametrize("batch", [domain.Batch(), domain.Batch(max=2, wait_ms=100)])
async def test_a_crash_repeats_what_was_not_written_with_the_same_ids(
    app: App, publisher: Publisher, batch: domain.Batch
) -> None:
    """As kill -9 after the requests and before the flush: the next process finds no attempt."""
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=batch)
        dead = Dispatcher(app)
        unwritten, write = asyncio.Event(), dead._writing._write

        async def killed(batch: Batch) -> None:
            if not receiver.got:
                return await write(batch)
            unwritten.set()
            await asyncio.Event().wait()

        dead._writing._write = killed  # type: ignore[method-assign]
        running = asyncio.create_task(dead.run())
        await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in (1, 2, 3)))
        first = (
            3 if batch.max == 1 else 1
        )  # the second batch begins when the first has ended, and is not written before
        await receiver.until(lambda: len(receiver.got) == first)
        async with patience():
            await unwritten.wait()
        assert await stored(app, "select from attempts") == []
        dead._end = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await app.fetch("update shards set until = clock_timestamp()")  # the lease is over
        await app.fetch("delete from dispatchers")
        async with dispatching(app):
            await receiver.until(lambda: versions(receiver, A)[-1] == 3 and len(receiver.got) >= 2 * first)
            await settled(app, made.id)
    sent = [(got.id, got.body) for got in receiver.got]
    assert sent[:first] == sent[first : 2 * first]
    assert len({id for id, _ in sent}) == (3 if batch.max == 1 else 2)


async def none() -> None:
    pass


async def test_a_process_that_was_stopped_writes_and_sends_nothing_any_more(app: App, publisher: Publisher) -> None:
    """As SIGSTOP for longer than the lease: another one has delivered meanwhile."""
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app) as [stopped]:
            async with patience():
                while made.id not in stopped._lines:
                    await asyncio.sleep(0.05)
            renew, stopped._shards.renew = stopped._shards.renew, none  # type: ignore[method-assign]
            await app.fetch("update shards set holder = gen_random_uuid(), term = term + 1")
            await publisher.publish(noted(STORE))
            await receiver.until(lambda: len(receiver.got) == 1)  # by its own clock it still holds the lease
            async with patience():
                while stopped._lines:
                    await asyncio.sleep(0.05)
            await publisher.publish(noted(STORE))
            await asyncio.sleep(0.5)
            assert len(receiver.got) == 1 and await stored(app, "select position from cursors") == [(0,)]
            await app.fetch("update shards set until = clock_timestamp()")  # the other process has ended
            stopped._shards.renew = renew  # type: ignore[method-assign]
            await receiver.until(lambda: len(receiver.got) == 3)
            await settled(app, made.id)
    assert len({got.id for got in receiver.got}) == 2


async def test_a_process_whose_lease_was_over_for_a_while_goes_on_if_no_other_process_has_taken_it(
    app: App, publisher: Publisher
) -> None:
    """As all processes are stopped for longer than the lease: the first that is renewed is the same one, in the same term."""
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app) as [stopped]:
            await until(lambda: made.id in stopped._lines, "the endpoint in memory")
            renew, stopped._shards.renew = stopped._shards.renew, none  # type: ignore[method-assign]
            await app.fetch("update shards set until = clock_timestamp()")
            await publisher.publish(noted(STORE))
            await receiver.until(lambda: len(receiver.got) == 1)  # by its own clock it still holds the lease
            await until(lambda: not stopped._lines, "a flush that finds the lease over")
            stopped._shards.renew = renew  # type: ignore[method-assign]
            await receiver.until(lambda: len(receiver.got) == 2)
            await settled(app, made.id)
    assert len({got.id for got in receiver.got}) == 1, "it was not written, so it is repeated under its id"


class Series:
    """What /metrics shows of deliveries."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, name: str, **labels: str) -> float:
        value = self._app.registry.get_sample_value(f"tradewind_{name}", {"service": "webhooks", **labels})
        assert value is not None, name
        return value

    async def until(self, expected: float, name: str, **labels: str) -> None:
        async with patience():
            while self(name, **labels) != expected:
                await asyncio.sleep(0.01)


async def test_the_series_show_what_deliveries_do_and_the_age_of_a_dispatcher_that_cannot_work(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "PROBE_SECONDS_FIRST", PROBE_SECONDS_MAX)  # a probe is one more attempt that fails
    for name in ("OBSERVE_SECONDS", "RENEW_SECONDS"):
        monkeypatch.setattr(dispatcher_module, name, 0.02)

    async def fails(self: App, *_: Any) -> Any:
        raise OSError("the database is away")

    down, up = Receiver(answer=lambda event: 503), Receiver()
    async with receiving(down, up):
        for receiver in (down, up):
            await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app):
            shown = Series(app)
            await shown.until(16, "shards_held")
            await publisher.publish(*(noted(STORE) for _ in range(20)))
            await shown.until(20, "delivery_attempts_total", outcome="delivered")
            await shown.until(5, "deliveries_waiting")
            await shown.until(1, "breakers_open")
            await shown.until(15, "delivery_lag", breaker="open")
            await shown.until(0, "delivery_lag", breaker="closed")
            assert shown("delivery_attempts_total", outcome="failed") == 5
            assert (shown("delivery_attempt_seconds_count"), shown("deliveries_in_flight")) == (25, 0)
            with monkeypatch.context() as patched:
                patched.setattr(App, "fetch", fails)
                async with patience():
                    while shown("dispatcher_age_seconds") < 1:
                        await asyncio.sleep(0.02)
            async with patience():
                while shown("dispatcher_age_seconds") > 0.5:
                    await asyncio.sleep(0.02)
