"""A database restored to ten seconds ago catches up from the topics: rows, money and invoices agree with them again."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from tests.integration import rebuilding, restoring
from tests.integration.shop import AMPLE, AT_REST, SKUS, Options, Shop

SHOP = Options(gateway=("--latency-ms", "5"), static_members=True, markets={"slow": {"approval": "manual"}})


SERVICES = ("payments", "fulfillment", "invoicing")


async def settled(shop: Shop, orders: list[str]) -> None:
    """Waits until these orders wait only for a person or the warehouse; others may be running."""
    wanted = [UUID(order) for order in orders]

    async def at_rest() -> bool:
        (row,) = await shop.rows("orders", AT_REST, wanted, "")
        return not row["still"] and row["found"] == len(set(wanted))

    await shop.until(at_rest, f"{len(orders)} orders settled", 90)


async def some_of_everything(shop: Shop) -> list[str]:
    """Orders that end in every way: shipped, cancelled before and after their invoice, short, waiting for approval."""
    orders = [*await shop.place_many(4), *await shop.send_snapshots(4), *await shop.place_many(4, account="gateway")]
    waiting = await shop.place_many(2, account="slow")
    short = [await shop.place([("NEVER-COUNTED", 1, 500)])]
    await settled(shop, [*orders, *waiting, *short])
    await asyncio.gather(*(shop.cancel(order) for order in [*orders[:2], *orders[-1:], *waiting[:1]]))
    await shop.ship_all(orders[2:-2])
    return [*orders, *waiting, *short]


async def test_replaying_a_journal_through_evolve_gives_the_rows_and_the_shared_rows_again(shop: Shop) -> None:
    """The journal of each service rebuilds its rows, after orders with every outcome and counts of stock in between."""
    orders = await some_of_everything(shop)
    await shop.set_stock(dict.fromkeys(SKUS[:10], AMPLE + 7))
    await shop.set_stock({"LAST": 1})
    orders += [await shop.place([("LAST", 1, 700), (SKUS[0], 2, 900)]) for _ in range(3)]
    await shop.until_at_rest(orders)
    await shop.ship_all(orders[8:12])
    await shop.until_at_rest(orders)
    annotated = f"/v1/orders/{orders[0]}"
    for path, body in (("notes", {"text": "called"}), ("attachments", {"name": "slip", "url": "https://example.com/slip"}),
                       ("tags", {"add": ["vip"]}), ("archive", None)):  # fmt: skip
        status, answer = await shop.call("orders", "POST", f"{annotated}/{path}", body)
        assert status < 300, answer
    for service in ("orders", *SERVICES):
        there, rebuilt = await rebuilding.as_it_is_and_rebuilt(shop, service)
        for table, rows in there.items():
            assert rows, f"{service}.{table} was not touched: nothing would be proved"
            assert rebuilt[table] == rows, f"{service}.{table} is not what the journal gives"
    await shop.assert_promises()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_restored_database_catches_up_from_the_topics(shop: Shop, service: str) -> None:
    """Promises 1 to 5, when a database loses its changes since the backup."""
    async with shop.load(5) as around:
        before = await some_of_everything(shop)
        await restoring.backup(shop, service)
        after = await some_of_everything(shop)
    await shop.until_at_rest([*before, *after, *around])
    knew = await restoring.known(shop, service)

    await restoring.restore(shop, service)
    await shop.until_at_rest([*before, *after, *around])
    knows = await restoring.known(shop, service)
    for table, rows in knew.items():
        assert knows[table] == rows, f"{service}.{table} is not what it was before the restore"

    more = await some_of_everything(shop)
    await shop.until_at_rest(more)
    await shop.assert_promises()


@pytest.mark.chaos(minutes=1)
async def test_databases_may_be_restored_while_orders_go_on(shop: Shop) -> None:
    orders: list[str] = []
    for service in SERVICES:
        await restoring.backup(shop, service)
    async with shop.load(5) as around:
        for service in SERVICES:
            orders += await some_of_everything(shop)
            await restoring.restore(shop, service)
        orders += await some_of_everything(shop)
    orders += around
    await shop.until_at_rest(orders)
    await shop.ship_all(orders)
    await shop.until_at_rest(orders)
    await shop.assert_promises()
