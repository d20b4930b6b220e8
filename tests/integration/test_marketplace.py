"""What a marketplace states after an order was placed or cancelled reaches the services, or a person (promise 7)."""

from __future__ import annotations

from typing import Any

from tests.integration.shop import Options, Shop

SHOP = Options(static_members=True, gateway=("--latency-ms", "5"))
LINES = [("S001", 2, 50_00)]
OLD = {"name": "Ann", "line1": "12 Rue A", "line2": "Apt 4B", "city": "Paris", "country": "FR"}
NEW = {"name": "Ann", "line1": "5 Chemin B", "city": "Lyon", "country": "FR"}


async def raised(shop: Shop, order: str, code: str) -> dict[str, Any]:
    """The open exception of that code."""

    async def found() -> Any:
        return [one for one in (await shop.order(order))["exceptions"] if one["code"] == code]

    (one,) = await shop.until(found, f"{code} on {order}")
    return dict(one)


async def resolve(shop: Shop, order: str, one: dict[str, Any], resolution: str) -> tuple[int, Any]:
    path = f"/v1/orders/{order}/exceptions/{one['exception_id']}/resolve"
    return await shop.call("orders", "POST", path, {"resolution": resolution, "reason": "seen"})


async def test_a_paid_order_that_was_cancelled_is_reinstated_and_completed_as_it_is_stated_now(shop: Shop) -> None:
    number = shop.number()
    (order,) = await shop.send([shop.snapshot(LINES, number=number)])
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"approved/paid/in_progress": 1}
    await shop.send([shop.snapshot(LINES, number=number, lifecycle="cancelled")])
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"cancelled/refunded/unfulfilled": 1}
    await shop.send([shop.snapshot([("S001", 3, 75_00)], number=number)])
    one = await raised(shop, order, "order_reinstated")
    assert {"path": "lifecycle", "change": "changed", "before": "cancelled", "after": "ready_to_fulfill"} in one[
        "difference"
    ]
    assert (await resolve(shop, order, one, "accept"))[0] == 200
    await shop.until_at_rest([order])
    assert await shop.ship_all([order]) == 1
    await shop.until_at_rest([order])
    shown = await shop.order(order)
    assert (shown["status"], shown["payment_status"], shown["fulfillment_status"]) == ("approved", "paid", "fulfilled")
    assert shown["completed_at"] and shown["exceptions"] == [] and len(shown["invoices"]) == 2
    await shop.assert_promises()


async def test_an_accepted_address_reaches_the_warehouse(shop: Shop) -> None:
    number = shop.number()
    (order,) = await shop.send([shop.snapshot(LINES, number=number, ship_to=OLD)])
    await shop.until_at_rest([order])
    await shop.send([shop.snapshot(LINES, number=number, ship_to=NEW)])
    one = await raised(shop, order, "address_changed")
    assert (await resolve(shop, order, one, "accept"))[0] == 200
    await shop.until_at_rest([order])
    (parcel,) = [one for one in await shop.shipments() if one["order_id"] == order]
    assert {name: value for name, value in parcel["ship_to"].items() if value} == NEW
    await shop.ship_all([order])
    await shop.until_at_rest([order])
    assert (await shop.order(order))["completed_at"]
    await shop.assert_promises()


async def test_a_corrected_market_frees_the_orders_that_wait_for_it(shop: Shop) -> None:
    terms = {"code": "wrong", "approval": "automatic", "seller": "shop", "currency": "EUR"}
    market = {"channel": "api", "account": "abroad", "terms": terms}
    assert (await shop.call("orders", "PUT", "/v1/markets/wrong", market))[0] == 200
    orders = await shop.place_many(5, account="abroad")
    await raised(shop, orders[0], "currency_differs")
    corrected = market | {"terms": terms | {"currency": "GBP"}}
    assert (await shop.call("orders", "PUT", "/v1/markets/wrong", corrected))[0] == 200

    async def started() -> bool:
        return await shop.ends(orders) == {"approved/paid/in_progress": 5}

    await shop.until(started, "the orders to start")
    await shop.until_at_rest(orders)
    await shop.assert_promises()


async def test_a_cancel_that_comes_too_late_is_kept_and_a_refund_after_it_is_booked_and_credited(shop: Shop) -> None:
    number = shop.number()
    (order,) = await shop.send([shop.snapshot(LINES, number=number)])
    await shop.until_at_rest([order])
    await shop.ship_all([order])
    await shop.until_at_rest([order])
    await shop.send([shop.snapshot(LINES, number=number, lifecycle="cancelled")])
    one = await raised(shop, order, "cancelled_too_late")
    assert [(change["path"], change["after"]) for change in one["difference"]] == [("lifecycle", "cancelled")]
    assert (await resolve(shop, order, one, "keep"))[0] == 200
    refund = {"external_refund_id": "R1", "amount_minor": 20_00}
    await shop.send([shop.snapshot(LINES, number=number, lifecycle="cancelled", refunds=[refund]) for _ in range(2)])

    async def credited() -> Any:
        shown = await shop.order(order)
        return shown if shown["invoices"][0]["credited_minor"] else None

    shown = await shop.until(credited, "the credit note of the refund")
    assert (shown["exceptions"], shown["status"], shown["completed_at"] is not None) == ([], "approved", True)
    assert (shown["payment_status"], shown["invoices"][0]["credited_minor"]) == ("partially_refunded", 20_00)
    assert [one["external_refund_id"] for one in shown["order"]["refunds"]] == ["R1"]
    await shop.until_at_rest([order])
    await shop.assert_promises()
