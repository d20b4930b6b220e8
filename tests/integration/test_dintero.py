"""A client of Dintero's order management works on the running system: from the draft to the refund, and what it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.integration.dintero_client import OTHER_AID, Client, pointed_at
from tests.integration.shop import Shop

MUGS: dict[str, Any] = {
    "id": "S001", "line_id": 1, "quantity": 2, "gross_amount": 39800, "tax_lines": [{"amount": 7960, "percentage": 25}],
    "description": "Stablestol for utendørsbruk", "description_alias": "Stablestol",
}  # fmt: skip
POT: dict[str, Any] = {
    "id": "S002", "line_id": 2, "quantity": 1, "gross_amount": 20000, "tax_lines": [{"amount": 4000, "percentage": 25}],
}  # fmt: skip
CUSTOMER = {"first_name": "John", "last_name": "Doe", "email": "john@example.com"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(shop: Shop) -> AsyncIterator[Client]:
    async with pointed_at(shop) as client:
        yield client


async def test_a_draft_becomes_an_order_that_is_authorized_captured_shipped_and_refunded(
    shop: Shop, client: Client
) -> None:
    order = await client.completed([MUGS, POT], customer=CUSTOMER)
    number = order["order_id"]
    assert len(number) == 9 and number.isalnum() and number.upper() == number
    assert (order["gross_amount"], order["net_amount"], order["status"], order["payment_status"]) == (
        59800, 47840, "open", "pending",
    )  # fmt: skip
    assert order["items"][0]["description_alias"] == "Stablestol" and order["customer"] == CUSTOMER
    granted = await client.paid(number, "authorizations", "PID_123", 39800, 20000)
    assert granted["amount"] == 59800
    again = await client.paid(number, "authorizations", "PID_123", 39800, 20000)
    assert again["id"] == granted["id"]

    async def approved() -> bool:
        return bool((await shop.order(order["id"]))["status"] == "approved")

    await shop.until(approved, "an order that is approved", 30)
    assert await shop.ship_all([order["id"]]) == 1
    await client.paid(number, "captures", "PID_124", 39800, 20000)
    await client.paid(number, "refunds", "PID_125", 19900)
    await shop.until_at_rest([order["id"]])
    now = await client.done("GET", f"/orders/{number}")
    assert now["payment_status"] == "partially_refunded"
    assert [(one["amount"], one["success"]) for one in now["refunds"]] == [(19900, True)]
    assert now["captures"][0]["items"] == [{"line_id": 1, "amount": 39800}, {"line_id": 2, "amount": 20000}]
    assert now["authorizations"][0]["id"] == granted["id"] == now["captures"][0]["authorization_id"]
    assert (await client.done("GET", f"/orders/{order['id']}")) == now
    [invoice] = (await shop.order(order["id"]))["invoices"]
    assert invoice["credited_minor"] == 19900


async def test_money_beyond_what_is_there_is_refused_with_409_and_a_repetition_changes_nothing(client: Client) -> None:
    number = (await client.completed([MUGS, POT]))["order_id"]
    status, problem = await client.pay(number, "captures", "C", 100)
    assert (status, problem["cause"]) == (409, "authorization_unknown")
    await client.paid(number, "authorizations", "A", 39800, 20000)
    status, problem = await client.pay(number, "captures", "C", 39801)
    assert (status, problem["cause"], problem["allowed_minor"]) == (409, "exceeds_capturable", 39800)
    assert problem["error"]["code"] == "exceeds_capturable"
    status, problem = await client.pay(number, "captures", "C", 0, 0, 1)
    assert (status, problem["type"]) == (409, "/problems/line_unknown")
    first = await client.paid(number, "captures", "C1", 19900)
    assert (await client.paid(number, "captures", "C1", 19900))["id"] == first["id"]
    status, problem = await client.pay(number, "captures", "C1", 100)
    assert (status, problem["cause"]) == (409, "payment_differs")
    await client.paid(number, "cancellations", "V", 0, 20000)
    await client.paid(number, "captures", "C2", 19900)
    failed = await client.paid(number, "refunds", "R0", 100, success=False)
    assert failed["success"] is False
    await client.paid(number, "refunds", "R1", 19900)
    await client.paid(number, "refunds", "R2", 100)
    status, problem = await client.pay(number, "refunds", "R3", 19900)
    assert (status, problem["type"]) == (409, "/problems/refund_divided")
    found = await client.done("GET", f"/orders/{number}")
    assert [one["amount"] for one in found["refunds"] if one["success"]] == [19900, 100]
    assert [one["items"] for one in found["cancellations"]] == [[{"line_id": 2, "amount": 20000}]]
    assert found["payment_status"] == "partially_refunded"
    listed = (await client.done("GET", f"/orders/{number}/captures"))["captures"]
    assert listed == found["captures"] and len(listed) == 2
    assert await client.done("GET", f"/orders/{number}/captures/{first['id']}") == listed[0]


async def test_drafts_change_while_they_are_open_and_have_their_number_reserved_stated_or_none(client: Client) -> None:
    body = {"options": {"generate_order_id": "ALPHANUMERIC_9_RESERVE"}, "order": {"currency": "GBP", "items": []}}
    draft = await client.done("POST", "/draft_orders", body, idempotency_key="draft-1")
    assert await client.done("POST", "/draft_orders", body, idempotency_key="draft-1") == draft
    number, path = draft["order"]["order_id"], f"/draft_orders/{draft['id']}"
    status, problem = await client.call("PUT", f"{path}/complete")
    assert (status, problem["type"]) == (409, "/problems/draft_empty")
    unnumbered = {name: value for name, value in MUGS.items() if name != "line_id"}
    assert (await client.done("POST", f"{path}/items", unnumbered))["order"]["items"][0]["line_id"] == 1
    await client.done("POST", f"{path}/items", POT)
    changed = await client.done("PUT", f"{path}/items/2", {"gross_amount": 10000, "tax_lines": []})
    assert changed["order"]["gross_amount"] == 49800
    await client.done("PUT", path, {"order": {"customer": CUSTOMER}})
    [order] = (await client.done("PUT", f"{path}/complete"))["orders"]
    assert order["order_id"] == number and order["gross_amount"] == 49800
    [again] = (await client.done("PUT", f"{path}/complete"))["orders"]
    assert again["id"] == order["id"]
    settled = await client.done("GET", path)
    assert settled["status"] == "completed" and "customer" not in settled["order"]
    status, problem = await client.call("POST", f"{path}/items", POT)
    assert (status, problem["type"]) == (409, "/problems/draft_settled")
    stated = {"order": {"currency": "GBP", "order_id": "MINE-1", "items": [MUGS]}}
    own = await client.done("POST", "/draft_orders", stated)
    status, problem = await client.call("POST", "/draft_orders", stated)
    assert (status, problem["type"]) == (409, "/problems/number_taken")
    assert (await client.done("PUT", f"/draft_orders/{own['id']}/complete"))["orders"][0]["order_id"] == "MINE-1"
    plain = await client.done("POST", "/draft_orders", {"order": {"currency": "GBP", "items": [MUGS]}})
    assert (await client.done("PUT", f"/draft_orders/{plain['id']}/complete"))["orders"][0]["order_id"] == plain["id"]
    assert (await client.done("DELETE", f"/draft_orders/{await _open(client)}"))["status"] == "deleted"
    deleted = (await client.done("GET", "/draft_orders?status=deleted"))["draft_orders"]
    assert [one["order"]["items"] for one in deleted] == [[]]
    status, problem = await client.call("GET", f"/draft_orders/{deleted[0]['id']}")
    assert (status, problem["type"]) == (404, "/problems/draft_unknown")


async def _open(client: Client) -> str:
    body = {
        "order": {"currency": "GBP", "order_id": "MINE-2", "items": [MUGS], "shipping_address": {"country": "Norway"}}
    }
    draft: str = (await client.done("POST", "/draft_orders", body))["id"]
    return draft


async def test_a_completion_that_is_refused_leaves_the_draft_open_and_one_without_an_answer_is_repeated(
    shop: Shop, client: Client
) -> None:
    path = f"/draft_orders/{await _open(client)}"
    status, problem = await client.call("PUT", f"{path}/complete")
    assert (status, problem["type"]) == (422, "/problems/request_invalid")
    await client.done("PUT", path, {"order": {"shipping_address": {"country": "NO"}}})
    [orders] = shop.system.of("orders")
    await asyncio.to_thread(shop.system.kill, orders)
    status, problem = await client.call("PUT", f"{path}/complete")
    assert (status, problem["type"]) == (503, "/problems/owner_silent")
    status, problem = await client.call("POST", f"{path}/items", POT)
    assert (status, problem["type"]) == (409, "/problems/draft_settled"), "the order may exist already"
    shop.system.restart(orders)
    await asyncio.to_thread(shop.system.wait_ready, [orders])
    [first], [second] = [(await client.done("PUT", f"{path}/complete"))["orders"] for _ in range(2)]
    assert first["id"] == second["id"] and first["order_id"] == "MINE-2"
    assert first["shipping_address"] == {"country": "NO"}


async def test_what_is_not_covered_is_501_and_what_is_of_another_store_404(client: Client) -> None:
    status, problem = await client.call("POST", "/orders/X/sessions", {})
    assert status == 501 and "PUT /v1/accounts/{aid}/shopping/draft_orders/{draft_id}/complete" in problem["covered"]
    reversal = {"options": {"order_id": "X"}, "order": {"currency": "GBP", "items": [MUGS | {"gross_amount": -39800}]}}
    status, problem = await client.call("POST", "/draft_orders", reversal)
    assert (status, problem["type"]) == (501, "/problems/option_uncovered") and "options.order_id" in problem["detail"]
    status, problem = await client.call("GET", "/orders/X", aid=OTHER_AID)
    assert (status, problem["type"]) == (404, "/problems/account_unknown")
    status, problem = await client.call("GET", "/orders/X")
    assert (status, problem["type"]) == (404, "/problems/order_unknown")


async def test_orders_are_listed_by_place_and_filters_cancelled_closed_commented_and_have_events(
    shop: Shop, client: Client
) -> None:
    made = [await client.completed([MUGS]) for _ in range(3)]
    seen: list[str] = []
    query = "limit=2&created_at.gte=" + made[0]["created_at"].replace("+", "%2B")
    after = ""
    while True:
        page = await client.done("GET", f"/orders?{query}{after}")
        seen += [order["id"] for order in page["orders"]]
        if (last := page.get("last_evaluated_key")) is None:
            break
        after = f"&starting_after_id={last['id']}&starting_after_date=" + last["created_at"].replace("+", "%2B")
    assert seen == [order["id"] for order in reversed(made)]
    first, second, third = (order["order_id"] for order in made)
    await client.paid(first, "authorizations", "L-1", 39800)
    cancelled = await client.done("POST", f"/orders/{first}/cancel", {"cancelled_reason": "customer"})
    assert (cancelled["status"], cancelled["cancelled_reason"]) == ("cancelled", "customer")
    status, problem = await client.call("POST", f"/orders/{first}/close")
    assert (status, problem["type"]) == (409, "/problems/order_ended")
    closed = await client.done("POST", f"/orders/{second}/close")
    assert closed["status"] == "closed" and closed["closed_at"] and closed["closed_by"]
    for word, expected in (("cancelled", made[0]), ("closed", made[1]), ("open", made[2])):
        page = await client.done("GET", f"/orders?status={word}&{query}")
        assert [order["id"] for order in page["orders"]] == [expected["id"]], word
    page = await client.done("GET", f"/orders?payment_status=paid&currency=GBP&{query}")
    assert page == {"orders": []}
    assert (await client.done("POST", f"/orders/{second}/open"))["status"] == "open"
    updated = await client.done("PUT", f"/orders/{third}", {"courier_id": "c-1", "pickup_at": "2026-11-30T10:00:00Z"})
    assert updated["courier_id"] == "c-1" and updated["pickup_at"].startswith("2026-11-30T10:00:00")
    assert "courier_id" not in await client.done("PUT", f"/orders/{third}", {"courier_id": None})
    status, problem = await client.call("PUT", f"/orders/{third}", {"shipping_address": {}})
    assert (status, problem["type"]) == (501, "/problems/option_uncovered")
    comment = await client.done("POST", f"/orders/{third}/comments", {"comment": "Call first."})
    ready = {"state": "success", "service": "courier", "service_status": "ready_for_pickup", "metadata": {"shelf": 3}}
    event = await client.done("POST", f"/orders/{third}/events", ready, idempotency_key="e-1")
    assert await client.done("POST", f"/orders/{third}/events", ready, idempotency_key="e-1") == event
    found = await client.done("GET", f"/orders/{third}?include_events=true")
    assert [one["comment"] for one in found["comments"]] == ["Call first."] and found["comments"][0]["id"] == comment[
        "id"
    ]
    requests = [one["request"]["path"].rpartition("/")[2] for one in found["events"] if "request" in one]
    assert requests == ["complete", third, third, "comments"]
    statuses = [one["service_status"] for one in found["events"] if "service_status" in one]
    assert statuses[0] == "received" and statuses.count("ready_for_pickup") == 1 and found["state"] == "success"
    only = await client.done("GET", f"/orders/{third}?include_events=api-event")
    assert all("request" in one for one in only["events"]) and len(only["events"]) == 4
    assert "events" not in await client.done("GET", f"/orders/{third}")
    assert (await client.done("GET", f"/orders/{third}/events"))["state"] == "success"
    status, problem = await client.call("DELETE", f"/orders/{third}/comments/{comment['id']}")
    assert (status, problem["type"]) == (501, "/problems/comment_permanent")
    drafts = await client.done("GET", f"/draft_orders?status=completed&{query}")
    assert {draft["order"]["order_id"] for draft in drafts["draft_orders"]} <= {first, second, third}


async def test_a_client_asks_for_its_token_first(client: Client) -> None:
    token = await client.token()
    assert token["token_type"] == "Bearer"
    assert (await client.token(secret="tw_aaaaaaaaaaaa_wrong"))["type"] == "/problems/api_key_unknown"


HOSTILE: list[Any] = [
    None, "", "x", "a\0b", -1, 2**63, 1.5, [], {}, "9" * 4_000, "x" * 3_000, {"deep": {"\0": [{}] * 3}},
    "9999-12-31T23:59:59.999999Z",
]  # fmt: skip


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": [value]}
    return value


async def test_no_hostile_value_of_a_body_or_a_query_makes_the_service_fail(client: Client) -> None:
    """Each field in turn, and fields that have no meaning here: everything has an answer below 500, but 501 for what is not covered."""
    order = (await client.completed([MUGS]))["order_id"]
    draft = f"/draft_orders/{(await client.done('POST', '/draft_orders', {'order': {'currency': 'GBP'}}))['id']}"
    payment = {"items": [{"line_id": 1, "amount": 1}], "payment_details": {"payment_id": "H"}, "authorization_id": "x"}
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/draft_orders", {"options": {"split_draft": True}, "order": {"currency": "GBP", "items": [MUGS], "customer": {}}}),
        ("PUT", draft, {"options": {}, "order": {"items": [MUGS], "billing_address": {}}}),
        ("POST", f"{draft}/items", MUGS),
        ("PUT", f"{draft}/items/1", MUGS),
        ("POST", f"/orders/{order}/captures", payment),
        ("POST", f"/orders/{order}/events", {"service": "x", "service_status": "y", "state": "pending", "metadata": {}}),
        ("POST", f"/orders/{order}/comments", {"comment": "x"}),
    ]  # fmt: skip
    untaxed = (await client.completed([{"id": "S001", "line_id": 1, "gross_amount": 100}]))["order_id"]
    early = asyncio.create_task(client.pay(untaxed, "authorizations", "E", 100))  # it waits for a person first
    asked, failed = 0, []
    for method, path, body in bodies:
        for name in (*body, "request", "unknown"):
            for value in (*HOSTILE, _nested(8), _nested(200)):
                status, answer = await client.call(method, path, {**body, name: value})
                asked += 1
                if status >= 500 and status != 501:
                    failed.append((method, path, name, str(value)[:60], status, answer))
    for name in (
        "created_at.gte",
        "created_at.lte",
        "starting_after_date",
        "limit",
        "status",
        "currency",
        "starting_after_id",
    ):
        for value in ("%00", "x", "-1", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", str(2**63)):
            also = f"&starting_after_id={'f' * 32}" if name == "starting_after_date" else ""
            status, answer = await client.call("GET", f"/orders?{name}={value}{also}")
            asked += 1
            if status >= 500:
                failed.append(("GET", "/orders", name, value, status, answer))
    assert asked > 300 and not failed, failed[:10]
    status, granted = await early
    assert status == 200, granted
    assert [one["id"] for one in (await client.done("GET", f"/orders/{untaxed}"))["authorizations"]] == [granted["id"]]
    shown = await client.done("GET", f"/orders/{order}?include_events=service-event")
    assert not any("request" in event for event in shown["events"]), "a client states no request"
