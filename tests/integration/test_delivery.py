"""Every message delivered one to three times, and orders in another order: the end is the same (promise 1)."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from contracts.ids import order_id
from contracts.registry import SNAPSHOTS
from tests.integration.canonical import canonical, difference, digest
from tests.integration.echo import echoing
from tests.integration.shop import Options, Shop, SnapshotRecord

SHOP = Options(gateway=("--latency-ms", "2"))
ORDERS = 60
TROUBLE = {"declined": "authorize", "late": "capture", "broken": "capture"}
"""Trouble of the gateway, and when it strikes."""


async def a_day(shop: Shop, *, times: int, seed: int) -> None:
    """Orders with every outcome; each snapshot and request is sent up to `times` times, shuffled."""
    dice = random.Random(seed)
    await shop.set_stock({"NONE": 0})
    records: list[SnapshotRecord] = []
    for n in range(ORDERS):
        account = "gateway" if n % 2 else "main"
        lines = [("NONE", 1, 500)] if n % 15 == 7 else shop.some_lines()
        content = {"number": f"D{n:03}", "account": account}
        records.append(shop.snapshot(lines, **content))
        if n % 15 in (1, 3, 5):
            await trouble(shop, records[-1].order_id, ["declined", "late", "broken"][n % 15 // 2])
    deliveries = [record for record in records for _ in range(dice.randint(1, times))]
    if times > 1:
        dice.shuffle(deliveries)
    await shop.send(deliveries)
    orders = [record.order_id for record in records]
    await shop.until_at_rest(orders)
    cancelled, kept = orders[20:30], orders[:20] + orders[30:]
    await asyncio.gather(*(shop.cancel(order) for order in cancelled for _ in range(dice.randint(1, times))))
    await shop.until_at_rest(orders)
    await shop.ship_all(kept)
    await shop.until_at_rest(orders)


async def trouble(shop: Shop, order: str, name: str) -> None:
    assert shop.gateway is not None
    async with aiohttp.ClientSession() as http:
        told = {TROUBLE[name]: name}
        async with http.put(f"{shop.gateway.url}/trouble/{order}", json=told) as answer:
            assert answer.status == 200, await answer.text()


async def test_messages_delivered_up_to_three_times_and_shuffled_leave_the_state_that_once_leaves(shop: Shop) -> None:
    """Promise 1. All four databases equal those of a run without repetition, by a hash without generated values."""
    await a_day(shop, times=1, seed=1)
    twice = await shop.another_store("twice")
    async with echoing(shop.kafka.bootstrap_servers) as echo:
        await a_day(twice, times=3, seed=2)
        await shop.until(echo.silent, "the echo has repeated everything")
        await shop.until_at_rest()
    assert echo.sent > ORDERS, "hardly anything was repeated"
    once, again = await canonical(shop), await canonical(twice)
    assert len(once) == ORDERS + 2
    assert digest(once) == digest(again), difference(once, again)
    fates = {order["cancel_cause"] for number, order in once.items() if number.startswith("D")}
    assert fates == {None, "customer", "declined", "out_of_stock"}
    await shop.assert_promises()


async def test_with_scarce_stock_repetition_neither_oversells_nor_strands_anything(shop: Shop) -> None:
    """Promises 1 and 4. Who gets the last pieces may differ; that they are given once may not."""
    scarce = await shop.another_store("scarce")
    await scarce.set_stock(dict.fromkeys(("R1", "R2", "R3"), 25))
    dice = random.Random(3)
    records = [scarce.snapshot([(sku, dice.randint(1, 3), 900) for sku in dice.sample(("R1", "R2", "R3"), 2)])
               for _ in range(ORDERS)]  # fmt: skip
    deliveries = [record for record in records for _ in range(dice.randint(1, 3))]
    dice.shuffle(deliveries)
    async with echoing(shop.kafka.bootstrap_servers) as echo:
        await scarce.send(deliveries)
        await shop.until(echo.silent, "the echo has repeated everything")
        await shop.until_at_rest({record.order_id for record in records})
    shelves = [await scarce.stock(sku) for sku in ("R1", "R2", "R3")]
    assert all(shelf["reserved"] <= shelf["on_hand"] == 25 for shelf in shelves)
    assert min(shelf["available"] for shelf in shelves) < 3, "nothing was scarce"
    fates = await scarce.ends([record.order_id for record in records])
    assert set(fates) == {"approved/paid/in_progress", "cancelled/unpaid/unfulfilled"}
    await shop.assert_promises()


async def test_a_snapshot_of_an_aborted_transaction_never_happened(shop: Shop) -> None:
    """Promise 1, of a connector that writes in transactions. Both are in one partition, the aborted one first."""
    aborted, committed = shop.snapshot(), shop.snapshot()
    async with AIOKafkaProducer(
        bootstrap_servers=shop.kafka.bootstrap_servers, transactional_id=f"connector-{aborted.order_id}"
    ) as producer:
        for record, end in ((aborted, producer.abort_transaction), (committed, producer.commit_transaction)):
            await producer.begin_transaction()
            key, written = record.order_id.encode(), list(record.headers)
            await producer.send_and_wait(SNAPSHOTS, record.value, key=key, headers=written, partition=0)
            await end()
    await shop.until_at_rest([committed.order_id])
    assert not await shop.rows("orders", "select 1 from orders where key = $1", UUID(aborted.order_id))


@pytest.mark.parametrize("account", ["main", "gateway"])
async def test_one_request_sent_ten_times_at_once_is_one_order(account: str, shop: Shop) -> None:
    """Promise 1, over HTTP: the same Idempotency-Key gives the same bytes, and one order."""
    number = shop.number()
    content = shop.content([("S001", 1, 700)], number=number, account=account)
    answers = await asyncio.gather(
        *(shop.call("orders", "POST", "/v1/orders", content, key=f"once-{account}") for _ in range(10))
    )
    assert {status for status, _ in answers} == {201}
    assert all(answer == answers[0][1] for _, answer in answers)
    order = str(order_id(shop.store, "api", account, number))
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"approved/paid/in_progress": 1}
