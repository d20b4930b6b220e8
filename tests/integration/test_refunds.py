"""Refunds on the running system: over HTTP to the credit note, with a gateway that refuses, and with services that die."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from chassis.crash import OF_MESSAGES
from system.processes import SAGA
from tests.integration.shop import Options, Shop
from tests.integration.test_crash import ONLY_PAYMENTS
from tests.integration.test_crash import SHOP as CRASHING

SHOP = Options(static_members=True, gateway=("--latency-ms", "2"), settings=CRASHING.settings)
OF_REFUNDS = ("after_commit", "mid_batch", "before_gateway_call", "after_gateway_call", "before_report")
"""Points where what dies has decided on a refund, or sends it. The others are the same code for every message: test_crash."""
THIRDS = [("S001", 3, 10_000)]


async def shipped(shop: Shop, count: int = 1) -> list[str]:
    """Orders of three pieces for 100.00, paid through the gateway, invoiced and shipped."""
    orders = [await shop.place(THIRDS, account="gateway") for _ in range(count)]
    await shop.until_at_rest(orders)
    await shop.ship_all(orders)
    await shop.until_at_rest(orders)
    return orders


async def post(shop: Shop, path: str, body: Any = None) -> Any:
    status, answer = await shop.call("orders", "POST", path, body)
    assert status < 300, answer
    return answer


async def trouble(shop: Shop, order: str, kind: str | None) -> None:
    """What the gateway does with a refund of the order; null: it carries it out."""
    assert shop.gateway is not None
    async with aiohttp.ClientSession() as http:
        async with http.put(f"{shop.gateway.url}/trouble/{order}", json={"refund": kind}) as answer:
            assert answer.status == 200, await answer.text()


async def until_state(shop: Shop, path: str, state: str) -> Any:
    async def reached() -> Any:
        _, one = await shop.call("orders", "GET", path)
        return one if one["state"] == state else None

    return await shop.until(reached, f"a refund that is {state}")


async def test_a_refund_is_previewed_refused_once_retried_and_credited_by_exactly_that(shop: Shop) -> None:
    """Promise 3. Case A05 over HTTP: 33.33, 33.34, 33.33, each with its credit note; the last cancels the order."""
    (order,) = await shipped(shop)
    wanted = {"lines": [{"line_id": "1", "quantity": 1}], "reason": "damaged", "restock": True}
    stock = await shop.stock("S001")
    preview = await post(shop, f"/v1/orders/{order}/refunds", wanted | {"dry_run": True})
    assert (preview["amount_minor"], preview["cancels_order"]) == (3333, False)
    credit = preview["parts"][0]["credit"]
    assert (credit["total_minor"], credit["vat_minor"]) == (3333, 556)  # 20 % of 100.00 gross is 16.67
    assert (await shop.call("orders", "GET", f"/v1/orders/{order}/refunds"))[1]["items"] == []

    await trouble(shop, order, "declined")
    opened = await post(shop, f"/v1/orders/{order}/refunds", wanted)
    path = f"/v1/orders/{order}/refunds/{opened['refund_id']}"
    refused = await until_state(shop, path, "refused")
    assert (refused["detail"], refused["refunded_minor"]) == ("gateway_refused", 0)
    await shop.until_at_rest([order])
    shown = await shop.order(order)
    assert (shown["waiting"], shown["money"]["refunded_minor"], shown["invoices"][0]["credited_minor"]) == (
        "exception",
        0,
        0,
    )

    await trouble(shop, order, None)
    await post(shop, f"{path}/retry")
    await until_state(shop, path, "settled")
    for _ in range(2):
        one = await post(shop, f"/v1/orders/{order}/refunds", wanted)
        await until_state(shop, f"/v1/orders/{order}/refunds/{one['refund_id']}", "settled")
    await shop.until_at_rest([order])
    sql = "select total_minor, vat_minor from documents where order_id = $1 and kind = 'credit' order by sequence"
    assert [tuple(row) for row in await shop.rows("invoicing", sql, order)] == [(3333, 556), (3334, 555), (3333, 556)]
    assert await shop.ends([order]) == {"cancelled/refunded/fulfilled": 1}
    assert (await shop.stock("S001"))["on_hand"] == stock["on_hand"] + 3
    status, problem = await shop.call("orders", "POST", f"/v1/orders/{order}/refunds", {"goodwill_minor": 1})
    assert (status, problem["type"]) == (409, "/problems/order_cancelled")
    await shop.assert_promises()


async def test_a_refund_that_exceeds_names_the_line_and_what_is_allowed(shop: Shop) -> None:
    (order,) = await shipped(shop)
    wanted = {"lines": [{"line_id": "1", "amount_minor": 10_001}]}
    for body in (wanted, wanted | {"dry_run": True}):
        status, problem = await shop.call("orders", "POST", f"/v1/orders/{order}/refunds", body)
        assert (status, problem["type"]) == (409, "/problems/refund_exceeds")
        assert {name: problem[name] for name in ("line", "of", "allowed", "asked")} == {
            "line": "1", "of": "amount_minor", "allowed": 10_000, "asked": 10_001,
        }  # fmt: skip


async def test_a_refund_that_is_given_up_leaves_its_money_to_refund(shop: Shop) -> None:
    """It is shown by the journal once five others have ended after it."""
    (order,) = await shipped(shop)
    await trouble(shop, order, "declined")
    opened = await post(shop, f"/v1/orders/{order}/refunds", {"goodwill_minor": 5})
    path = f"/v1/orders/{order}/refunds/{opened['refund_id']}"
    await until_state(shop, path, "refused")
    assert (await post(shop, f"{path}/give_up", {"reason": "paid by hand"}))["state"] == "given_up"
    _, given_up = await shop.call("orders", "GET", path)
    await trouble(shop, order, None)
    for _ in range(6):
        one = await post(shop, f"/v1/orders/{order}/refunds", {"goodwill_minor": 1})
        await until_state(shop, f"/v1/orders/{order}/refunds/{one['refund_id']}", "settled")
    assert "refund:1" not in [run["id"] for run in (await shop.order(order))["processes"]]
    assert (await shop.call("orders", "GET", path))[1] == given_up
    assert await post(shop, f"{path}/give_up") == given_up
    listed = (await shop.call("orders", "GET", f"/v1/orders/{order}/refunds"))[1]["items"]
    assert [(run["number"], run["state"]) for run in listed] == [
        (1, "given_up"),
        *((n, "settled") for n in range(2, 8)),
    ]
    await post(shop, f"/v1/orders/{order}/refunds", {"goodwill_minor": 9_994})
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"cancelled/refunded/fulfilled": 1}
    await shop.assert_promises()


async def reverse(shop: Shop, order: str, cost: int) -> Any:
    """Two of the three pieces are replaced by a line of this cost."""
    body = {
        "currency": (await shop.order(order))["currency"],
        "reversals": [{"line_id": "2", "reverses": "1", "quantity": 2, "amount_minor": 6667}],
        "lines": [{"line_id": "3", "quantity": 1, "amount_minor": cost, "title": "What replaces them"}],
        "refund_line_id": "4",
    }
    status, answer = await shop.call("payments", "POST", f"/v1/orders/{order}/reversals", body)
    assert status == 200, answer
    return answer


DOCUMENTS = "select kind, total_minor, vat_minor from documents where order_id = $1 order by kind, total_minor"
RATES = "select distinct line->>'rate' from documents, jsonb_array_elements(body->'lines') as line where order_id = $1"


async def test_reversed_pieces_are_credited_and_what_replaces_them_is_invoiced_at_their_rate(shop: Shop) -> None:
    """Equal, cheaper and dearer, on orders that are completed: to the minor unit, tax included."""
    orders = dict(zip((6667, 5000, 8000), await shipped(shop, 3), strict=True))
    for cost, order in orders.items():
        answer = await reverse(shop, order, cost)
        assert (answer["refund_minor"], answer["charge_minor"]) == (max(6667 - cost, 0), max(cost - 6667, 0))
    credited, invoiced = ("credit", 6667, 1111), ("invoice", 10_000, 1667)
    wanted = {
        6667: [credited, ("invoice", 6667, 1111), invoiced],
        5000: [credited, ("invoice", 5000, 833), invoiced],
        8000: [credited, ("invoice", 1333, 222), ("invoice", 6667, 1111), invoiced],
    }
    for cost, order in orders.items():

        async def issued(order: str = order, count: int = len(wanted[cost])) -> Any:
            rows = [tuple(row) for row in await shop.rows("invoicing", DOCUMENTS, order)]
            return rows if len(rows) >= count else None

        assert await shop.until(issued, "the documents of a reversal") == wanted[cost]
        assert len(await shop.rows("invoicing", RATES, order)) == 1
    await shop.until_at_rest([*orders.values()])
    assert await shop.ends([*orders.values()]) == {
        "approved/paid/fulfilled": 2,
        "approved/partially_refunded/fulfilled": 1,
    }
    await shop.assert_promises()


@pytest.mark.parametrize(
    "point",
    [
        *OF_REFUNDS,
        *(pytest.param(one, marks=pytest.mark.chaos(minutes=1)) for one in OF_MESSAGES if one not in OF_REFUNDS),
    ],
)
async def test_a_refund_goes_back_and_is_credited_once_when_services_die(point: str, shop: Shop) -> None:
    """Promise 1. Every service that a refund passes dies at the point and restarts. So does a reversal, whose difference is
    refunded."""
    orders = await shipped(shop, 3)
    (changed,) = await shipped(shop)
    names = ["payments"] if point in ONLY_PAYMENTS else SAGA
    members = [member for name in names for member in shop.system.of(name)]
    await shop.arm(members, point)
    wanted = {"lines": [{"line_id": "1", "quantity": 1}], "restock": True}

    opening = asyncio.gather(
        reverse(shop, changed, 5000), *(post(shop, f"/v1/orders/{order}/refunds", wanted) for order in orders)
    )
    await shop.until_dead_and_restarted(members, point)
    await opening
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/partially_refunded/fulfilled": len(orders)}

    async def refunded() -> Any:
        found = [one["amount_minor"] for one in shop.charges() if (one["order_id"], one["kind"]) == (changed, "refund")]
        return found if (await shop.order(changed))["money"]["refunded_minor"] else None

    assert await shop.until(refunded, "the refund of a reversal") == [1667]
    await shop.rows("orders", "delete from timers where key = any($1::uuid[])", orders)
    back = [entry for entry in shop.charges() if entry["order_id"] in orders and entry["kind"] == "refund"]
    assert Counter((one["order_id"], one["amount_minor"]) for one in back) == {(order, 3333): 1 for order in orders}


async def test_after_all_these_crashes_every_promise_holds(shop: Shop) -> None:
    """Promises 1 to 5."""
    await shop.until_at_rest()
    await shop.assert_promises()
