"""Orders over HTTP and Kafka come to their end; a request with an Idempotency-Key has its effect once and gets one answer,
through crashes, races and repetitions (promise 1)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import pytest

from system.processes import SAGA
from tests.integration.shop import Options, Shop, order_content
from tests.waiting import PATIENCE_SECONDS

SHOP = Options(gateway=("--latency-ms", "5"), static_members=True)


async def test_orders_over_http_and_kafka_are_completed_once_shipped(shop: Shop) -> None:
    orders = [*await shop.place_many(10), *await shop.send_snapshots(10), *await shop.place_many(10, account="gateway")]
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/in_progress": 30}
    told = 'tradewind_processes{service="orders",step="place.fulfill",waiting="warehouse"} 30.0'
    await shop.until(lambda: shop.metric_says("orders", told), f"the metric {told}")
    assert await shop.ship_all(orders) == 30
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/fulfilled": 30}
    for order in orders:
        assert (await shop.order(order))["completed_at"]
    by_post, by_snapshot = await journaled(shop, orders[0]), await journaled(shop, orders[10])
    told = ["invoicing.issued", "invoicing.issue", "payments.authorized", "payments.authorize", "fulfillment.reserved",
            "fulfillment.reserve"]  # fmt: skip
    assert causes(by_post, "invoicing.issued") == [*told, "orders.place"]
    assert causes(by_snapshot, "invoicing.issued") == [*told, "marketplace.snapshot"]
    by_task = {entry["type"]: entry for entry in await journaled(shop, orders[20])}
    asked, captured = by_task["payments.capture"], by_task["payments.captured"]
    assert captured["operation_id"] == asked["operation_id"] and captured["cause_type"].startswith("task:")
    await shop.assert_promises()


async def journaled(shop: Shop, order: str) -> list[dict[str, Any]]:
    """What every service has journaled of an order."""
    entries: list[dict[str, Any]] = []
    for service in SAGA:
        status, page = await shop.call(service, "GET", f"/v1/journal?order_id={order}&limit=500")
        assert (status, page["next_cursor"]) == (200, None)
        entries += page["items"]
    return entries


def causes(entries: Sequence[Mapping[str, Any]], type_: str) -> list[str]:
    """The one entry of a type, what caused it, and so on, over all services: up to a cause that no journal has."""
    by_id = {entry["message_id"]: entry for entry in entries}
    found: Mapping[str, Any] | None = next(entry for entry in entries if entry["type"] == type_)
    line = []
    while found is not None:
        line.append(found["type"])
        before, found = found, by_id.get(found["cause_id"])
    return [*line, before["cause_type"]]


async def post(shop: Shop, body: object, key: str) -> tuple[int, bytes]:
    """One attempt, as it is; the bytes of the answer. Raises when none comes."""
    headers = {"authorization": f"Bearer {shop.keys['orders']}", "idempotency-key": key}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as http:
        async with http.post(f"{shop.system.url('orders')}/v1/orders", json=body) as answer:
            return answer.status, await answer.read()


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_an_order_whose_answer_was_lost_in_a_crash_is_placed_once(shop: Shop, point: str) -> None:
    """Promise 1: the repetition gets the bytes of the first answer, whether the crash came before or after the commit."""
    members = shop.system.of("orders")
    key, number = uuid.uuid4().hex, shop.number()
    body = order_content(number, shop.some_lines())
    await shop.until_at_rest()
    await shop.arm(members, point)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(shop, body, key)
    await shop.until_dead_and_restarted(members, point)
    first = await post(shop, body, key)
    again = await post(shop, body, key)
    assert first[0] == 201 and again == first
    assert len(await shop.rows("orders", "select 1 from orders where external_order_id = $1", number)) == 1
    await shop.until_at_rest()
    await shop.assert_promises()


async def test_the_same_key_at_the_same_time_gets_the_same_bytes_and_one_order(shop: Shop) -> None:
    key, number = uuid.uuid4().hex, shop.number()
    body = order_content(number, shop.some_lines())
    answers = await asyncio.gather(*(post(shop, body, key) for _ in range(20)))
    assert len(set(answers)) == 1 and answers[0][0] == 201
    received = "select 1 from journal where type = 'orders.received' and payload::json->>'number' = $1"
    assert len(await shop.rows("orders", received, number)) == 1


async def test_the_same_key_with_another_body_is_refused_and_changes_nothing(shop: Shop) -> None:
    key, number = uuid.uuid4().hex, shop.number()
    assert (await post(shop, order_content(number, [("S001", 1, 500)]), key))[0] == 201
    other = shop.number()
    status, answer = await post(shop, order_content(other, [("S001", 2, 900)]), key)
    assert (status, b"idempotency_key_reused" in answer) == (409, True), answer
    assert not await shop.rows("orders", "select 1 from orders where external_order_id = $1", other)
    status, answer = await post(shop, order_content(number, [("S001", 9, 100)]), uuid.uuid4().hex)
    assert (status, b"order_exists" in answer) == (409, True), answer
    await shop.until_at_rest()
    await shop.assert_promises()


async def test_the_next_order_under_an_expired_key_shares_nothing_with_the_first(shop: Shop) -> None:
    """Promise 1: once its row is deleted a key is a new request's, whose cancel moves no goods and no money of the first."""
    key = uuid.uuid4().hex
    placed: list[str] = []
    for _ in range(2):
        status, answer = await shop.call("orders", "POST", "/v1/orders", shop.content(), key=key)
        assert status == 201, answer
        placed.append(answer["order_id"])
        await shop.until_at_rest(placed)
        await shop.rows("orders", "delete from idempotency returning 1")
    first, second = placed
    assert await shop.ends(placed) == {"approved/paid/in_progress": 2}
    shipments = [one["shipment_id"] for one in await shop.shipments() if one["order_id"] in placed]
    assert len(set(shipments)) == 2
    assert (await shop.cancel(second))[0] == 202
    await shop.until_at_rest(placed)
    assert await shop.ends([second]) == {"cancelled/refunded/unfulfilled": 1}
    assert await shop.ship_all([first]) == 1
    await shop.until_at_rest([first])
    assert (await shop.order(first))["completed_at"]
    shared = "select message_id from journal where topic is not null group by 1 having count(distinct key) > 1"
    for service in ("orders", "payments", "fulfillment", "invoicing"):
        assert not await shop.rows(service, shared), service
    await shop.assert_promises()


async def test_an_order_is_charged_and_invoiced_what_still_counts_with_its_stated_taxes(shop: Shop) -> None:
    """Promise 3. Cancelled pieces cost nothing; stated taxes reach the invoice as they are."""

    def line(
        number: str, total: int, tax: list[dict[str, object]], cancelled: int = 0, ordered: int = 1
    ) -> dict[str, object]:
        return {"external_line_id": number, "sku": "S001", "title": "Thing", "line_total_minor": total, "tax": tax,
                "quantity": {"ordered": ordered, "cancelled": cancelled}}  # fmt: skip

    async def place(**content: object) -> str:
        status, answer = await shop.call("orders", "POST", "/v1/orders", order_content(shop.number(), []) | content)
        assert status == 201, answer
        return str(answer["order_id"])

    rate, derived = [{"rate": "20.00"}], [{"amount_minor": 1900}]
    two = [{"rate": "6", "amount_minor": 600}, {"rate": "2.25", "amount_minor": 225}]
    cancelled = [
        line("1", 9600, rate, 1, 2) | {"discount_minor": 1920},
        line("2", 2500, rate, 1),
        line("3", 0, rate, 0, 0),
    ]
    one = {"lines": [line("1", 1000, [])], "totals": {"grand_minor": 1000}}
    orders = {
        "cancelled": await place(
            lines=cancelled, totals={"discount_minor": 1920, "shipping_minor": 300, "grand_minor": 10480}
        ),
        "derived": await place(lines=[line("1", 11900, derived)], totals={"grand_minor": 11900}),
        "several": await place(
            price_basis="net",
            lines=[line("1", 10000, two), line("2", 5000, [{"rate": "6", "amount_minor": 0}])],
            totals={"tax_minor": 825, "grand_minor": 15825},
        ),
        "deemed": await place(**one, tax_collection={"deemed_supplier": True}),
    }
    waiting = {
        "exception": await place(**one),
        "payment": await place(**one, payment_state="chargeback"),
        "": await place(**one, test=True),
    }
    await shop.until_at_rest([*orders.values(), *waiting.values()])
    await shop.ship_all(orders.values())
    await shop.until_at_rest(orders.values())
    documents = {}
    for name, order in orders.items():
        shown = await shop.order(order)
        assert (shown["completed_at"] is not None, shown["payment_status"]) == (True, "paid"), (name, shown)
        bodies = [json.loads(row[0]) for row in await shop.rows(
            "invoicing", "select body::text from documents where order_id = $1", uuid.UUID(order))]  # fmt: skip
        documents[name] = [
            (body["total_minor"], body["vat_minor"], [(one["line_id"], one["gross_minor"]) for one in body["lines"]],
             [(one["rate"], one["vat_minor"]) for one in body["vat"]])
            for body in bodies
        ]  # fmt: skip
        assert shown["money"]["captured_minor"] == shown["grand_minor"]
    assert documents == {
        "cancelled": [(4140, 690, [("1", 3840), ("shipping", 300)], [("20", 690)])],
        "derived": [(11900, 1900, [("1", 11900)], [("19", 1900)])],
        "several": [(15825, 825, [("1", 10825), ("2", 5000)], [("6", 600), ("2.25", 225)])],
        "deemed": [],
    }
    for word, order in waiting.items():
        shown = await shop.order(order)
        assert (shown["status"], shown["waiting"], shown["payment_status"]) == ("pending", word, "unpaid")
    status, listed = await shop.call("orders", "GET", "/v1/orders?limit=500")
    assert status == 200 and [one["order_id"] for one in listed["items"] if one["test"]] == [waiting[""]]
    await shop.assert_promises()


async def test_a_capture_in_flight_when_its_order_is_cancelled_is_credited_or_never_invoiced(shop: Shop) -> None:
    terms = {"code": "manual", "gateway": "test", "seller": "shop"}
    market = {"channel": "api", "account": "manual", "terms": terms}
    assert (await shop.call("orders", "PUT", "/v1/markets/manual", market))[0] == 200
    orders = [await shop.place(account="manual") for _ in range(8)]
    await shop.until_at_rest(orders)
    await asyncio.gather(*(call(order) for order in orders for call in (shop.approve, shop.cancel)))
    await shop.until_at_rest(orders)
    assert set(await shop.ends(orders)) <= {"cancelled/refunded/unfulfilled", "cancelled/voided/unfulfilled"}
    await shop.assert_promises()
