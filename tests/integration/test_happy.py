"""The whole system, nothing in its way."""

from __future__ import annotations

from tests.integration.shop import Options, Shop

SHOP = Options(gateway=("--latency-ms", "5"), static_members=True)


async def test_orders_over_http_and_kafka_are_completed_once_shipped(shop: Shop) -> None:
    orders = [*await shop.place_many(10), *await shop.send_snapshots(10), *await shop.place_many(10, account="gateway")]
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/in_progress": 30}
    told = 'tradewind_processes{service="orders",step="place.fulfill",waiting="warehouse"} 30.0'
    await shop.until(lambda: shop.metric_says("orders", told), f"the metric {told}", 30)
    assert await shop.ship_all(orders) == 30
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/fulfilled": 30}
    for order in orders:
        assert (await shop.order(order))["completed_at"]
    await shop.assert_promises()
