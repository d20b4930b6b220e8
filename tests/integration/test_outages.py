"""The broker or the database is away for a while, under load: intake goes on, and nothing is lost or given up."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from tests.integration.shop import Options, Shop

SHOP = Options(gateway=("--latency-ms", "2"))
BACKLOG = 500
"""Orders of an outage, beside its load; `make chaos` has 20,000."""


async def test_orders_are_accepted_over_http_while_the_broker_is_down_and_all_come_to_rest(shop: Shop) -> None:
    """Promises 1 and 7. Stopped for ten seconds under load, with hundreds of orders more: none is lost, and none is cancelled,
    since silence is not a refusal."""
    async with shop.load(10, http_only=True) as orders:
        await asyncio.to_thread(shop.kafka.stop)
        before, stopped_at = len(orders), time.monotonic()
        backlog = await shop.place_many(BACKLOG, at_once=64)
        await shop.until(partial(_reached, orders, before + 31), "orders accepted without a broker")
        await shop.until(partial(_after, stopped_at + 10), "ten seconds without a broker")
        await asyncio.to_thread(shop.kafka.start)
    await shop.until_at_rest([*orders, *backlog])
    assert await shop.ends([*orders, *backlog]) == {"approved/paid/in_progress": len(orders) + BACKLOG}
    await shop.assert_promises()


async def test_a_database_that_crashes_under_load_loses_no_accepted_order(shop: Shop) -> None:
    """Promise 1. `restart -m immediate`, three times: recovery from the write-ahead log each time."""
    async with shop.load(20, account="gateway") as orders:
        for _ in range(3):
            await shop.until(partial(_reached, orders, len(orders) + 20), "20 more orders")
            await asyncio.to_thread(shop.postgres.restart, "immediate")
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/in_progress": len(orders)}
    moved = [(entry["order_id"], entry["kind"]) for entry in shop.charges()]
    assert len(moved) == len(set(moved)), "something was charged twice"
    await shop.assert_promises()


@pytest.mark.chaos(minutes=7)
@pytest.mark.timeout(1_200)
async def test_a_backlog_of_twenty_thousand_orders_after_two_minutes_cancels_none(shop: Shop) -> None:
    """Promise 7: silence is not a refusal. Two minutes: every order has asked more than once without an answer."""
    count, seconds = 20_000, 120
    await asyncio.to_thread(shop.kafka.stop)
    stopped_at = time.monotonic()
    try:
        orders = await shop.place_many(count, at_once=64)
        accepted = time.monotonic() - stopped_at
        await shop.until(partial(_after, stopped_at + seconds), f"{seconds} s without a broker", seconds + 60)
    finally:
        await asyncio.to_thread(shop.kafka.start)
    started_at = time.monotonic()
    await shop.until_at_rest(orders)
    print(
        f"{count} orders accepted in {accepted:.0f} s, settled {time.monotonic() - started_at:.0f} s after the broker came"
    )
    assert await shop.ends(orders) == {"approved/paid/in_progress": count}
    await shop.assert_promises()


async def _after(moment: float) -> bool:
    return time.monotonic() >= moment


async def _reached(orders: list[str], count: int) -> bool:
    return len(orders) >= count
