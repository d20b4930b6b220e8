"""Two workers per service, members of one group: killed, frozen, and at each other's stock (promises 1, 2 and 4)."""

from __future__ import annotations

import asyncio
import random
import signal
import time

import pytest

from system.processes import SAGA, Member
from tests.integration import desk, hostile
from tests.integration.shop import Options, Shop
from tests.waiting import PATIENCE_SECONDS, patience

SESSION_SECONDS = 6
"""The least that brokers admit by default."""
LEASE_SECONDS = 4
"""How long a worker may hold the call of a gateway."""
SHOP = Options(
    workers=2,
    gateway=("--latency-ms", "5"),
    markets={"window": desk.WINDOW},
    settings={
        f"{name.upper()}_{knob}": value
        for name in SAGA
        for knob, value in (("SESSION_TIMEOUT_SECONDS", str(SESSION_SECONDS)), ("IDLE_IN_TRANSACTION_SECONDS", "3"))
    }
    | {"PAYMENTS_GATEWAY_LEASE_SECONDS": str(LEASE_SECONDS), "PAYMENTS_GATEWAY_TIMEOUT_SECONDS": "1"},
)


async def test_five_pieces_and_two_hundred_orders_for_one_are_five_reservations(shop: Shop) -> None:
    """Promise 4. Two workers reserve concurrently; every other order is cancelled as out of stock."""
    await shop.set_stock({"LAST": 5})
    orders = await asyncio.gather(*(shop.place([("LAST", 1, 1_000)]) for _ in range(200)))
    await shop.until_at_rest(orders)
    assert (await shop.stock("LAST"))["reserved"] == 5
    assert await shop.ends(orders) == {"approved/paid/in_progress": 5, "cancelled/unpaid/unfulfilled": 195}
    await shop.assert_promises()


async def test_orders_that_want_the_same_shelves_in_opposite_order_neither_oversell_nor_deadlock(shop: Shop) -> None:
    """Promise 4. Shelves are locked sorted: a hundred want left and right, a hundred right and left."""
    await shop.set_stock({"LEFT": 5, "RIGHT": 5})
    pairs = [[("LEFT", 1, 500), ("RIGHT", 1, 700)], [("RIGHT", 1, 700), ("LEFT", 1, 500)]]
    orders = await shop.send([shop.snapshot(pairs[n % 2]) for n in range(200)])
    await shop.until_at_rest(orders)
    assert [(await shop.stock(sku))["reserved"] for sku in ("LEFT", "RIGHT")] == [5, 5]
    assert await shop.ends(orders) == {"approved/paid/in_progress": 5, "cancelled/unpaid/unfulfilled": 195}
    (deadlocks,) = await shop.rows(
        "fulfillment", "select deadlocks from pg_stat_database where datname = current_database()"
    )
    assert deadlocks[0] == 0
    await shop.assert_promises()


async def kill_at_random(shop: Shop, seconds: float, seed: int) -> list[str]:
    """SIGKILL one worker after the other and start it again, under load; the orders that were placed meanwhile."""
    dice, ends_at, killed = random.Random(seed), time.monotonic() + seconds, 0
    async with shop.load(10, account="gateway") as orders:
        while time.monotonic() < ends_at:
            members = [member for name in SAGA for member in shop.system.of(name)]
            if dice.random() < 0.75:  # else the kill may hit a process that is still starting
                up = await asyncio.gather(*(asyncio.to_thread(shop.system.is_ready, member) for member in members))
                members = [member for member, ready in zip(members, up, strict=True) if ready] or members
            await shop.restart(dice.choice(members), wait=False)
            killed += 1
            await asyncio.sleep(dice.uniform(1, 3))
    print(f"{killed} killed, {len(orders)} orders")
    return orders


async def test_workers_killed_at_random_under_load_lose_nothing_and_repeat_nothing(shop: Shop) -> None:
    """Promise 1, for 20 seconds."""
    orders = await kill_at_random(shop, 20, seed=5)
    await all_went_well(shop, orders)


async def test_a_worker_frozen_past_its_session_wakes_as_a_zombie_that_changes_nothing(shop: Shop) -> None:
    """Promise 1. Its partitions and its relay were taken over while it slept; what it still holds in hand is refused."""
    frozen = [shop.system.of("orders")[0], shop.system.of("payments")[1], shop.system.of("fulfillment")[0]]
    async with shop.load(10, account="gateway", http_only=False) as orders:
        for member in frozen[1:]:
            member.send(signal.SIGSTOP)
        await asyncio.sleep(SESSION_SECONDS + 2)  # longer than the session: that is the subject
        for member in frozen[1:]:
            member.send(signal.SIGCONT)
        frozen[0].send(signal.SIGSTOP)
        await asyncio.sleep(SESSION_SECONDS + 2)
        frozen[0].send(signal.SIGCONT)
    await all_went_well(shop, orders)


@pytest.mark.chaos(minutes=1)
async def test_a_worker_frozen_past_the_lease_of_its_calls_moves_no_money_twice(shop: Shop) -> None:
    """Promise 1. It sleeps with calls in hand; the other worker leases the same tasks and ends them; then it reports its own."""
    frozen = shop.system.of("payments")[0]
    held = "select task_id from tasks where leased_by like $1 and lease_until > clock_timestamp() and kind = 'gateway'"
    async with shop.load(20, account="gateway") as orders:
        for _ in range(3):
            asleep: list[str] = []
            async with patience():
                while not asleep:  # a moment at which it has calls under way
                    frozen.send(signal.SIGSTOP)
                    asleep = [row["task_id"] for row in await shop.rows("payments", held, f"%:{frozen.pid}")]
                    if not asleep:
                        frozen.send(signal.SIGCONT)
                        await asyncio.sleep(0.05)
            try:

                async def taken_over(tasks: list[str] = asleep) -> bool:
                    left = "select 1 from tasks where task_id = any($1::uuid[]) and leased_by like $2"
                    return not await shop.rows("payments", left, tasks, f"%:{frozen.pid}")

                await shop.until(taken_over, f"{len(asleep)} calls of a frozen worker taken over")
            finally:
                frozen.send(signal.SIGCONT)
    await all_went_well(shop, orders)


async def all_went_well(shop: Shop, orders: list[str], *, parked: bool = False) -> None:
    await asyncio.to_thread(shop.system.wait_ready, None, PATIENCE_SECONDS)
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/in_progress": len(orders)}
    once = {(order, kind) for order in orders for kind in ("authorize", "capture")}
    moved = [(entry["order_id"], entry["kind"]) for entry in shop.charges() if entry["order_id"] in set(orders)]
    assert len(moved) == len(once)
    assert set(moved) == once
    await shop.assert_promises(parked=parked)


async def holder(shop: Shop, service: str) -> Member:
    """The process id of the holder of the relay's lease."""

    async def held() -> Member | None:
        rows = await shop.rows(service, "select holder from leases where name = 'relay' and until > clock_timestamp()")
        pids = [int(row["holder"].split(":")[1]) for row in rows]
        return next((member for member in shop.system.of(service) if member.pid in pids), None)

    found: Member = await shop.until(held, f"a relay of {service} that holds the lease")
    return found


async def test_a_frozen_relay_is_overtaken_and_does_no_harm_when_it_wakes(shop: Shop) -> None:
    """First occurrences of each order's events stay in order; nothing is lost; nothing hangs meanwhile."""
    orders = await shop.place_many(5)
    async with shop.load(20) as around:
        for service in ("payments", "orders"):
            frozen = await holder(shop, service)
            frozen.send(signal.SIGSTOP)
            try:
                taken: Member = frozen
                async with patience():
                    while taken is frozen:
                        taken = await holder(shop, service)
                orders += await shop.send_snapshots(20)
            finally:
                frozen.send(signal.SIGCONT)
            orders += await shop.send_snapshots(20)
    await shop.until_at_rest([*orders, *around])
    await shop.assert_promises()


# The last of this file: what its poison left parked waits for a person, and the other tests allow nothing parked.
@pytest.mark.chaos(minutes=4)
@pytest.mark.timeout(1_200)
async def test_workers_killed_at_random_for_two_minutes_lose_nothing_and_repeat_nothing(shop: Shop) -> None:
    """Promises 1 and 6, for 2 minutes, with unreadable batches, poison, a flood and endless requests in the traffic, and people
    who edit, refund, hold and release orders."""
    async with hostile.mixed_in(shop, seed=6) as flooded, desk.at_work(shop) as changed:
        orders = await kill_at_random(shop, 120, seed=6)
    await shop.until_at_rest(changed.ends)
    print(f"{len(changed.ends)} orders changed: {dict(changed.done)}")
    await changed.assert_all_ended()
    await all_went_well(shop, [*orders, *flooded], parked=True)
    for name in SAGA:
        causes = {row[0] for row in await shop.rows(name, "select distinct cause from parked where state = 'waiting'")}
        assert causes <= hostile.CAUSES, (name, causes)
