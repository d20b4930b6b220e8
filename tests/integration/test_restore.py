"""A database restored to ten seconds ago catches up from the topics: rows, money and invoices agree with them again."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from tests.future_orders import FutureOrder, future_order
from tests.integration import rebuilding, restoring
from tests.integration.reconciled import made, reconcile
from tests.integration.shop import AMPLE, AT_REST, SKUS, STOREFRONT, Options, Shop

SHOP = Options(gateway=("--latency-ms", "5"), static_members=True, markets={"slow": {"approval": "manual"}})


SERVICES = ("payments", "fulfillment", "invoicing")
UNTOUCHED = frozenset({"disputes"})
"""Tables without rows here: the test gateway has no disputes. The tests of payments have them."""


async def settled(shop: Shop, orders: list[str]) -> None:
    """Waits until these orders wait only for a person or the warehouse; others may be running."""
    wanted = [UUID(order) for order in orders]

    async def at_rest() -> bool:
        (row,) = await shop.rows("orders", AT_REST, wanted, "")
        return not row["still"] and row["found"] == len(set(wanted))

    await shop.until(at_rest, f"{len(orders)} orders settled")


async def some_of_everything(shop: Shop) -> list[str]:
    """Orders that end in every way: shipped, cancelled before and after their invoice, reversed, short, waiting for approval."""
    orders = [*await shop.place_many(4), *await shop.send_snapshots(4), *await shop.place_many(4, account="gateway")]
    *prepaid, _ = await asyncio.gather(
        *(paid_before(shop, minor) for minor in (30_00, 40_00, 55_00)), paid_without_order(shop)
    )
    changed = [await shop.place([(SKUS[0], 2, 40_00)], account="gateway") for _ in range(2)]
    waiting = await shop.place_many(2, account="slow")
    short = [await shop.place([("NEVER-COUNTED", 1, 500)])]
    await settled(shop, [*orders, *prepaid, *changed, *waiting, *short])
    await asyncio.gather(
        *(reversed_for(shop, order, minor) for order, minor in zip(changed, (30_00, 45_00), strict=True))
    )
    await settled(shop, changed)
    await asyncio.gather(*(shop.cancel(order) for order in [*orders[:2], *orders[-1:], *waiting[:1]]))
    await shop.ship_all(orders[2:-2])
    return [*orders, *prepaid, *changed, *waiting, *short]


async def paid(shop: Shop, order: FutureOrder, minor: int) -> str:
    """A buyer pays for an order that payments does not have yet. Returns the session."""
    body = {
        "order_id": str(order.id),
        "origin": order.origin,
        "currency": "GBP",
        "amount_minor": minor,
        "return_url": f"{STOREFRONT}/",
        "gateway": "test",
    }
    status, session = await shop.call("payments", "POST", "/v1/payment-sessions", body)
    assert status == 201, session

    async def is_held() -> bool:
        sql = "select prepayment from payment_sessions where session_id = $1"
        return [one["prepayment"] for one in await shop.rows("payments", sql, session["session_id"])] == ["held"]

    await shop.until(is_held, "what the buyer has paid")
    found: str = session["session_id"]
    return found


async def paid_before(shop: Shop, minor: int) -> str:
    """An order over 40.00 whose buyer has paid `minor` in a session before it came."""
    number = shop.number()
    order = future_order(shop.store, number, account="gateway")
    await paid(shop, order, minor)
    assert await shop.place([(SKUS[0], 1, 40_00)], number=number, account="gateway") == str(order.id)
    return str(order.id)


async def paid_without_order(shop: Shop) -> None:
    """A buyer pays for two orders that do not come: of one a person gives the money back."""
    await paid(shop, future_order(shop.store), 9_00)
    session = await paid(shop, future_order(shop.store), 8_00)
    status, answer = await shop.call("payments", "POST", f"/v1/payment-sessions/{session}/return", {})
    assert status == 200 and answer["prepayment"] in ("returning", "returned"), answer


async def reversed_for(shop: Shop, order: str, minor: int) -> None:
    """The captured line of an order is replaced by one that costs `minor`."""
    body = {
        "currency": "GBP", "refund_line_id": "4",
        "reversals": [{"line_id": "2", "reverses": "1", "quantity": 2, "amount_minor": 40_00}],
        "lines": [{"line_id": "3", "quantity": 1, "amount_minor": minor, "title": "Another", "rate": "20.00"}],
    }  # fmt: skip
    status, answer = await shop.call("payments", "POST", f"/v1/orders/{order}/reversals", body)
    assert status == 200 and (answer["refund_minor"], answer["charge_minor"]) != (0, 0), answer


async def paid_with_a_card(shop: Shop) -> str:
    """An order that a gift card pays in part, and the gateway otherwise."""
    issued = {"currency": "GBP", "amount_minor": 20_00, "activate": True}
    status, card = await shop.call("payments", "POST", "/v1/gift-cards", issued)
    assert status == 201, card
    path = f"/v1/gift-cards/{card['gift_card_id']}/adjust"
    status, answer = await shop.call("payments", "POST", path, {"amount_minor": 5_00, "reason": "a present"})
    assert status == 200, answer
    cards = [{"gift_card_id": card["gift_card_id"], "amount_minor": 15_00}]
    return await shop.place([(SKUS[0], 1, 40_00)], account="gateway", gift_cards=cards)


async def some_differences(shop: Shop, order: str) -> None:
    """Two of no order, of which a person leaves one, and one of an order."""
    for _ in range(2):
        stranger = str(uuid4())
        paid = await made(shop, "authorize", stranger, 7_00)
        await made(shop, "capture", stranger, 7_00, paid)
    [capture] = await shop.rows(
        "payments", "select operation_id from operations where order_id = $1 and kind = 'capture'", order
    )
    await made(shop, "refund", order, 1, str(capture["operation_id"]))
    found = await reconcile(shop)
    assert sorted(one["kind"] for one in found) == ["not_booked", "payment_unknown", "payment_unknown"], found
    unknown = next(one for one in found if one["kind"] == "payment_unknown")
    path = f"/v1/differences/{unknown['difference_id']}/dismiss"
    status, answer = await shop.call("payments", "POST", path, {"reason": "of another shop"})
    assert status == 200, answer

    async def is_raised() -> bool:
        return any(one["code"] == "books_differ" for one in (await shop.order(order))["exceptions"])

    await shop.until(is_raised, "the difference at its order")


async def test_replaying_a_journal_through_evolve_gives_the_rows_and_the_shared_rows_again(shop: Shop) -> None:
    """The journal of each service rebuilds its rows, after orders with every outcome and counts of stock in between."""
    orders = await some_of_everything(shop)
    await shop.set_stock(dict.fromkeys(SKUS[:10], AMPLE + 7))
    await shop.set_stock({"LAST": 1})
    orders += [await shop.place([("LAST", 1, 700), (SKUS[0], 2, 900)]) for _ in range(3)]
    orders.append(await paid_with_a_card(shop))
    await shop.until_at_rest(orders)
    await shop.ship_all(orders[8:12])
    await shop.until_at_rest(orders)
    annotated = f"/v1/orders/{orders[0]}"
    for path, body in (("notes", {"text": "called"}), ("attachments", {"name": "slip", "url": "https://example.com/slip"}),
                       ("tags", {"add": ["vip"]}), ("archive", None)):  # fmt: skip
        status, answer = await shop.call("orders", "POST", f"{annotated}/{path}", body)
        assert status < 300, answer
    await some_differences(shop, orders[8])
    for service in ("orders", *SERVICES):
        there, rebuilt = await rebuilding.as_it_is_and_rebuilt(shop, service)
        for table, rows in there.items():
            assert rows or table in UNTOUCHED, f"{service}.{table} was not touched: nothing would be proved"
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
