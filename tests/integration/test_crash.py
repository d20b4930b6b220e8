"""A process dies at every labelled point and is started again: nothing is lost, nothing happens twice (promise 1)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from chassis.crash import OF_MESSAGES
from gatewayservers.plain import NEEDS_BUYER
from system.processes import SAGA
from tests.future_orders import future_order
from tests.integration.reconciled import made, reconcile
from tests.integration.shop import SKUS, STOREFRONT, Options, Shop

SHOP = Options(
    static_members=True,
    gateway=("--latency-ms", "2"),
    # The lease of an orphaned call is short, so that the test does not wait for it.
    settings={
        "PAYMENTS_GATEWAY_LEASE_SECONDS": "4",
        "PAYMENTS_GATEWAY_TIMEOUT_SECONDS": "1",
        "PAYMENTS_RELAY_LEASE_SECONDS": "1",
        "ORDERS_RELAY_LEASE_SECONDS": "1",
        "FULFILLMENT_RELAY_LEASE_SECONDS": "1",
        "INVOICING_RELAY_LEASE_SECONDS": "1",
    },
)
ONLY_PAYMENTS = {"before_gateway_call", "after_gateway_call", "before_report"}
"""Only payments makes external calls."""
ORDERS = 20


@pytest.mark.parametrize("point", OF_MESSAGES)
async def test_services_that_die_at_a_point_lose_nothing_and_repeat_nothing(point: str, shop: Shop) -> None:
    """Promise 1. Each service dies at the point with status 137 and restarts: every order settles and is charged once."""
    names = ["payments"] if point in ONLY_PAYMENTS else SAGA
    members = [member for name in names for member in shop.system.of(name)]
    await shop.arm(members, point)
    placing = asyncio.gather(
        shop.place_many(ORDERS // 2, account="gateway"),
        shop.send_snapshots(ORDERS // 2, account="gateway"),
    )

    await shop.until_dead_and_restarted(members, point)
    orders = [order for some in await placing for order in some]
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/in_progress": ORDERS}
    # Settled orders have no timer; one that fired in the next round would kill the service before its orders came.
    await shop.rows("orders", "delete from timers where key = any($1::uuid[])", orders)
    moved = Counter((entry["order_id"], entry["kind"]) for entry in shop.charges() if entry["order_id"] in orders)
    assert moved == {(order, kind): 1 for order in orders for kind in ("authorize", "capture")}


@pytest.mark.parametrize(
    "point",
    [
        "after_gateway_call",
        *(pytest.param(one, marks=pytest.mark.chaos(minutes=1)) for one in ("before_gateway_call", "before_report")),
    ],
)
async def test_what_a_buyer_has_left_is_cancelled_once_when_payments_dies(point: str, shop: Shop) -> None:
    """Promise 1, where the call is the cancel of what waits for a buyer: its order, which was cancelled before, ends with it, and
    nothing is charged."""
    order = await shop.place([(SKUS[0], 1, 12_00)], account="gateway", payment_token=NEEDS_BUYER)
    operations = "select state from operations where order_id = $1 and kind = 'authorize'"

    async def waits_for_its_buyer() -> bool:
        return [one["state"] for one in await shop.rows("payments", operations, order)] == ["pending"]

    await shop.until(waits_for_its_buyer, "the buyer's turn")
    body = {"order_id": order, "currency": "GBP", "amount_minor": 12_00, "return_url": f"{STOREFRONT}/thanks"}
    status, session = await shop.call("payments", "POST", "/v1/payment-sessions", body)
    assert status == 201, session
    assert (await shop.cancel(order))[0] == 202  # else it would ask anew: the buyer could come back
    members = shop.system.of("payments")
    await shop.arm(members, point)
    leaving = shop.call("payments", "POST", f"/v1/payment-sessions/{session['session_id']}/cancel")
    left = asyncio.create_task(leaving)
    await shop.until_dead_and_restarted(members, point)
    assert (await left)[0] == 200
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"cancelled/unpaid/unfulfilled": 1}
    book = [json.loads(line) for line in shop.ledger.read_text().splitlines()]
    assert [entry["state"] for entry in book if entry["order_id"] == order] == ["waiting", "refused"]


@pytest.mark.parametrize(
    ("paying", "ordering"),
    [
        (None, "after_commit"),
        *(
            pytest.param(*points, marks=pytest.mark.chaos(minutes=1))
            for points in (
                ("before_gateway_call", "before_commit"),
                ("after_gateway_call", "after_gateway_call"),
                ("before_report", "before_report"),
                ("after_commit", "before_gateway_call"),
            )
        ),
    ],
)
async def test_what_is_paid_before_the_order_is_charged_once_when_payments_dies(
    paying: str | None, ordering: str, shop: Shop
) -> None:
    """Promise 1, where a session asks the gateway, and the order takes over a part of what it has paid: the rest is given back once.

    paying, ordering: where payments dies while the session asks, and while the order takes over and the rest is given back.
    """
    members, number = shop.system.of("payments"), shop.number()
    future = future_order(shop.store, number, account="gateway")
    order = str(future.id)
    if paying is not None:
        await shop.arm(members, paying)
    body = {
        "order_id": order,
        "origin": future.origin,
        "currency": "GBP",
        "amount_minor": 15_00,
        "return_url": f"{STOREFRONT}/",
        "gateway": "test",
    }
    opening = asyncio.create_task(shop.call("payments", "POST", "/v1/payment-sessions", body))
    if paying is not None:
        await shop.until_dead_and_restarted(members, paying)
    status, session = await opening
    assert status == 201, session

    async def prepayment(state: str) -> bool:
        sql = "select prepayment, held_minor from payment_sessions where order_id = $1"
        return [one["prepayment"] for one in await shop.rows("payments", sql, order)] == [state]

    await shop.until(lambda: prepayment("held"), "the buyer's payment")
    await shop.arm(members, ordering)
    placing = asyncio.create_task(shop.place([(SKUS[0], 1, 12_00)], number=number, account="gateway"))
    await shop.until_dead_and_restarted(members, ordering)
    assert await placing == order
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"approved/paid/in_progress": 1} and await prepayment("returned")
    moved = [(entry["kind"], entry["amount_minor"]) for entry in shop.charges() if entry["order_id"] == order]
    assert sorted(moved) == [("authorize", 15_00), ("capture", 12_00), ("void", 3_00)]


async def test_a_difference_is_applied_once_when_payments_dies_before_it_is_closed(shop: Shop) -> None:
    """Promise 1. The refund of a dashboard is booked, payments dies with the difference still open, and a repetition of the
    request finds it done. The order lists the difference as long as it is open."""
    [order] = await shop.place_many(1, account="gateway")
    await shop.until_at_rest([order])
    operations = (
        "select operation_id, kind, amount_minor from operations where order_id = $1 and kind in ('capture', 'refund')"
    )
    [capture] = await shop.rows("payments", operations, order)
    await made(shop, "refund", order, 25, str(capture["operation_id"]))
    [found] = await reconcile(shop)
    assert (found["kind"], found["proposal"], found["order_id"]) == ("not_booked", "book", order)

    async def listed() -> bool:
        return any(one["code"] == "books_differ" for one in (await shop.order(order))["exceptions"])

    async def listed_no_more() -> bool:
        return not await listed()

    await shop.until(listed, "the difference at its order")
    members = shop.system.of("payments")
    await shop.arm(members, "after_correction")
    path = f"/v1/differences/{found['difference_id']}/apply"
    applying = asyncio.create_task(shop.call("payments", "POST", path, {"reason": "seen"}))
    await shop.until_dead_and_restarted(members, "after_correction")
    status, answer = await applying
    assert (status, answer["status"], answer["reason"]) == (200, "applied", "seen"), answer
    moved = [(row["kind"], row["amount_minor"]) for row in await shop.rows("payments", operations, order)]
    assert sorted(moved) == [("capture", capture["amount_minor"]), ("refund", 25)]
    await shop.until(listed_no_more, "the order without its difference")


async def test_after_all_these_crashes_every_promise_holds(shop: Shop) -> None:
    """Promises 1 to 5, over the databases and the topics that the crashes above have left behind."""
    await shop.ship_all()
    await shop.until_at_rest()
    await shop.assert_promises()
