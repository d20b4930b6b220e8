"""A client of Dintero's order management works on the running system: from the draft to the refund, and what it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.integration.dintero_client import OTHER_AID, Client, pointed_at
from tests.integration.shop import Shop
from tests.waiting import PATIENCE_SECONDS

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
    await shop.until_at_rest([order["id"]])
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
    status, problem = await client.pay(number, "refunds", "R3", 20000)
    assert (status, problem["type"]) == (409, "/problems/refund_divided")
    await client.paid(number, "refunds", "R1", 19900)
    await client.paid(number, "refunds", "R2", 100)
    status, problem = await client.pay(number, "refunds", "R3", 19900)
    assert (status, problem["error"]["code"]) == (409, "exceeds_refundable"), "no division of the refund would help"
    assert (problem["line"], problem["allowed_minor"]) == ("1", 19800)
    found = await client.done("GET", f"/orders/{number}")
    await _unnamed_payments_are_recognised_by_their_key(client)
    assert [one["amount"] for one in found["refunds"] if one["success"]] == [19900, 100]
    assert [one["items"] for one in found["cancellations"]] == [[{"line_id": 2, "amount": 20000}]]
    assert found["payment_status"] == "partially_refunded"
    listed = (await client.done("GET", f"/orders/{number}/captures"))["captures"]
    assert listed == found["captures"] and len(listed) == 2
    assert await client.done("GET", f"/orders/{number}/captures/{first['id']}") == listed[0]


async def _unnamed_payments_are_recognised_by_their_key(client: Client) -> None:
    number = (await client.completed([MUGS]))["order_id"]
    for collection, amount in (("authorizations", 39800), ("captures", 900), ("refunds", 100), ("cancellations", 50)):
        path, body = f"/orders/{number}/{collection}", {"items": [{"line_id": 1, "amount": amount}]}
        first = await client.done("POST", path, body, idempotency_key="k-1")
        again = await client.done("POST", path, body, idempotency_key="k-1")
        assert again["id"] == first["id"], collection
        assert again["payment_details"] == first["payment_details"]
        other = {"items": [{"line_id": 1, "amount": amount - 1}]}
        status, problem = await client.call("POST", path, other, idempotency_key="k-1")
        assert (status, problem["cause"]) == (409, "idempotency_key_reused"), collection
        assert [one["amount"] for one in (await client.done("GET", path))[collection]] == [amount]


async def test_an_order_without_a_draft_is_created_once_and_what_is_refused_leaves_nothing_behind(
    client: Client,
) -> None:
    body = {"currency": "GBP", "order_id": "DIRECT-1", "items": [MUGS], "customer": CUSTOMER}
    once = {"idempotency_key": "direct-1"}
    wrong = body | {"shipping_address": {"country": "Nowhere"}}
    for _ in range(2):
        status, problem = await client.call("POST", "/orders", wrong, **once)
        assert status == 422, problem
    assert (await client.call("POST", "/orders", body | {"items": []}))[1]["type"] == "/problems/draft_empty"
    answers = await asyncio.gather(
        *(client.call("POST", "/orders", body, idempotency_key="direct-2") for _ in range(5))
    )
    assert {status for status, _ in answers} == {200} and len({order["id"] for _, order in answers}) == 1
    [order] = [order for _, order in answers[:1]]
    assert (order["order_id"], order["gross_amount"], order["customer"]) == ("DIRECT-1", 39800, CUSTOMER)
    assert (await client.call("POST", "/orders", wrong, idempotency_key="direct-2"))[0] == 409
    status, problem = await client.call("POST", "/orders", body)
    assert (status, problem["type"]) == (409, "/problems/number_taken")
    opened = await client.done("GET", "/draft_orders?status=open&limit=1000")
    assert not [one for one in opened["draft_orders"] if one["order"].get("order_id") == "DIRECT-1"]
    await client.paid("DIRECT-1", "authorizations", "PID_direct", 39800)


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
    await client.done("POST", f"{path}/items", POT | {"line_id": 9})
    assert len((await client.done("DELETE", f"{path}/items/9"))["order"]["items"]) == 2
    status, problem = await client.call("DELETE", f"{path}/items/9")
    assert (status, problem["type"]) == (404, "/problems/item_unknown")
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
    await asyncio.to_thread(shop.system.wait_ready, [orders], PATIENCE_SECONDS)
    [first], [second] = [(await client.done("PUT", f"{path}/complete"))["orders"] for _ in range(2)]
    assert first["id"] == second["id"] and first["order_id"] == "MINE-2"
    assert first["shipping_address"] == {"country": "NO"}


async def test_what_is_not_covered_is_501_and_what_is_of_another_store_404(client: Client) -> None:
    status, problem = await client.call("POST", "/orders/X/sessions", {})
    assert status == 501 and "PUT /v1/accounts/{aid}/shopping/draft_orders/{draft_id}/complete" in problem["covered"]
    split = {"options": {"split_draft": True}, "order": {"currency": "GBP", "items": [MUGS]}}
    status, problem = await client.call("POST", "/draft_orders", split)
    assert (status, problem["type"]) == (501, "/problems/option_uncovered") and "split_draft" in problem["detail"]
    status, problem = await client.call("GET", "/orders/X", aid=OTHER_AID)
    assert (status, problem["type"]) == (404, "/problems/account_unknown")
    status, problem = await client.call("GET", "/orders/X")
    assert (status, problem["type"]) == (404, "/problems/order_unknown")


async def test_every_problem_has_the_shape_of_an_error_that_clients_of_dintero_read(client: Client) -> None:
    for method, path, body, status, code in (
        ("GET", "/orders/X", None, 404, "order_unknown"),
        ("POST", "/draft_orders", {}, 422, "request_invalid"),
        ("GET", "/orders?limit=0", None, 422, "request_invalid"),
        ("GET", "/orders?nothing=1", None, 400, "query_parameter_unknown"),
        ("PATCH", "/orders", {}, 501, "operation_uncovered"),
    ):
        found, problem = await client.call(method, path, body)
        assert (found, problem["error"]["code"]) == (status, code), (method, path, problem)
        assert problem["error"]["message"] == problem["detail"]
    assert (await client.token(secret="tw_aaaaaaaaaaaa_wrong"))["error"]["code"] == "api_key_unknown"


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
    for another in (ready | {"state": "failure"}, ready | {"more": 1}):
        status, problem = await client.call("POST", f"/orders/{third}/events", another, idempotency_key="e-1")
        assert (status, problem["error"]["code"]) == (409, "idempotency_key_reused")
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
    gone = f"/orders/{third}/comments/{comment['id']}"
    assert (await client.done("DELETE", gone))["comment"] == "Call first."
    assert (await client.call("DELETE", gone))[1]["type"] == "/problems/comment_unknown"
    assert (await client.done("GET", f"/orders/{third}"))["comments"] == []
    drafts = await client.done("GET", f"/draft_orders?status=completed&{query}")
    assert {draft["order"]["order_id"] for draft in drafts["draft_orders"]} <= {first, second, third}


async def test_a_client_asks_for_its_token_first(client: Client) -> None:
    token = await client.token()
    assert token["token_type"] == "Bearer"
    assert (await client.token(secret="tw_aaaaaaaaaaaa_wrong"))["type"] == "/problems/api_key_unknown"


async def test_a_session_of_a_client_from_a_reserved_number_to_what_is_left_of_the_order(client: Client) -> None:
    """The calls of docs.dintero.com/docs/order-management in their sequence, with nothing of ours in them."""
    body = {
        "options": {"generate_order_id": "ALPHANUMERIC_9_RESERVE"},
        "order": {"currency": "GBP", "items": [MUGS, POT]},
    }
    draft = await client.done("POST", "/draft_orders", body)
    number = draft["order"]["order_id"]
    [order] = (await client.done("PUT", f"/draft_orders/{draft['id']}/complete"))["orders"]
    assert order["order_id"] == number and order["payment_status"] == "pending"
    granted = await client.paid(number, "authorizations", "S-A", 39800, 20000)
    card = {
        "psp": "Bambora",
        "payment_id": "S-C",
        "payment_product": "bambora",
        "card": {"brand": "Visa", "masked_pan": "4444 **** **** 4448"},
    }
    how = {
        "payment_details": card,
        "processed_at": "2026-11-29T10:00:00Z",
        "processed_by": "till-1",
        "metadata": {"shelf": 3},
    }
    captured = await client.paid(number, "captures", "S-C", 39800, **how)
    assert captured["payment_details"] == card and captured["processed_by"] == "till-1"
    assert (await client.done("GET", f"/orders/{number}"))["payment_status"] == "partially_paid"
    stored = await client.done("GET", f"/orders/{number}/captures/{captured['id']}")
    assert {name: stored[name] for name in how} == how and stored["created_by"] and stored["amount"] == 39800
    await client.paid(number, "refunds", "S-R", 19900)
    await client.paid(number, "cancellations", "S-V", 0, 20000)
    comment = await client.done("POST", f"/orders/{number}/comments", {"comment": "One was broken."})
    ready = {"state": "success", "service": "store", "service_status": "ready_for_pickup"}
    await client.done("POST", f"/orders/{number}/events", ready)
    page = await client.done("GET", "/orders?limit=1&include_events=true&status=open")
    [found] = page["orders"]
    assert found["order_id"] == number and found["payment_status"] == "partially_refunded"
    assert [[one["amount"] for one in found[name]] for name in ("authorizations", "captures", "refunds", "cancellations")] == [
        [59800], [39800], [19900], [20000],
    ]  # fmt: skip
    assert {found[name][0]["authorization_id"] for name in ("captures", "refunds", "cancellations")} == {granted["id"]}
    assert [one["id"] for one in found["comments"]] == [comment["id"]]
    paths = [one["request"]["path"].rpartition("/")[2] for one in found["events"] if "request" in one]
    assert paths == ["complete", "authorizations", "captures", "refunds", "cancellations", "comments"]
    assert (await client.done("GET", f"/orders/{number}/events"))["events"] == found["events"]


async def _captured(client: Client, name: str) -> dict[str, Any]:
    order = await client.completed([MUGS])
    await client.paid(order["order_id"], "authorizations", f"{name}-A", 39800)
    await client.paid(order["order_id"], "captures", f"{name}-C", 39800)
    return order


def _change(number: str, *amounts: int) -> dict[str, Any]:
    """A draft that reverses line 1; amounts: of the lines 3, 4, ..."""
    old = MUGS | {
        "line_id": 2, "gross_amount": -39800, "tax_lines": [{"amount": -7960, "percentage": 25}], "reversed_reason": "Replace item",
        "related_item": {"line_id": 1, "type": "reversed"},
    }  # fmt: skip
    new = [{"id": f"N{n}", "line_id": n, "quantity": 1, "gross_amount": amount} for n, amount in enumerate(amounts, 3)]
    return {"options": {"order_id": number}, "order": {"currency": "GBP", "items": [old, *new]}}


async def test_a_line_is_reversed_and_a_cheaper_one_replaces_it_as_the_documentation_shows(client: Client) -> None:
    """docs.dintero.com/docs/order-management/order-update-refund: the new lines, then money of each, then the refund of the rest."""
    order = await _captured(client, "W")
    number = order["order_id"]
    draft = await client.done("POST", "/draft_orders", _change(number, 29800))
    path = f"/draft_orders/{draft['id']}"
    status, problem = await client.call("PUT", f"{path}/complete")
    assert (status, problem["type"]) == (409, "/problems/draft_unbalanced")
    await client.done("POST", f"{path}/items", {"id": "REFUND", "line_id": 4, "gross_amount": 10000})
    [changed], [again] = [(await client.done("PUT", f"{path}/complete"))["orders"] for _ in range(2)]
    assert changed["id"] == order["id"] and changed["items"] == again["items"]
    assert [(one["line_id"], one["gross_amount"]) for one in changed["items"]] == [(1, 39800), (2, -39800), (3, 29800), (4, 10000)]  # fmt: skip
    assert changed["items"][1]["related_item"] == {"line_id": 1, "type": "reversed"}
    assert (changed["gross_amount"], changed["payment_status"]) == (39800, "paid")
    for collection in ("authorizations", "captures"):
        for name, items in (("old", {2: -39800}), ("new", {3: 29800, 4: 10000})):
            stated = [{"line_id": line, "amount": amount} for line, amount in items.items()]
            one = await client.paid(number, collection, f"W-{collection}-{name}", items=stated)
            assert one["amount"] == sum(items.values()) and one["id"]
        status, problem = await client.pay(number, collection, "W-more", 0, -1)
        assert (status, problem["type"], problem["allowed_minor"]) == (409, "/problems/reversal_exceeded", 0)
    await client.paid(number, "refunds", "W-R", 0, 0, 0, 10000)
    found = await client.done("GET", f"/orders/{number}")
    assert found["payment_status"] == "partially_refunded"
    for collection in ("authorizations", "captures"):
        sums = {2: 0, 3: 0, 4: 0}
        for one in found[collection]:
            sums |= {item["line_id"]: item["amount"] for item in one["items"]}
        assert sums == {1: 39800, 2: -39800, 3: 29800, 4: 10000}, collection
    assert [(one["amount"], one["items"]) for one in found["refunds"]] == [(10000, [{"line_id": 4, "amount": 10000}])]
    twice = _change(number, 39800)
    twice["order"]["items"][0] |= {"line_id": 5, "related_item": {"line_id": 2}}
    twice["order"]["items"][1]["line_id"] = 6
    refused = await client.done("POST", "/draft_orders", twice)
    status, problem = await client.call("PUT", f"/draft_orders/{refused['id']}/complete")
    assert (status, problem["cause"]) == (409, "reversal_final")
    assert (await client.done("GET", f"/draft_orders/{refused['id']}"))["status"] == "open"


async def test_what_a_dearer_line_costs_more_is_authorized_and_captured_besides(client: Client) -> None:
    order = await _captured(client, "D")
    number = order["order_id"]
    draft = await client.done("POST", "/draft_orders", _change(number, 49800))
    await client.done("PUT", f"/draft_orders/{draft['id']}/complete")

    async def stated(collection: str, name: str, amounts: dict[int, int], **more: Any) -> Any:
        items = [{"line_id": line, "amount": amount} for line, amount in amounts.items()]
        return await client.paid(number, collection, f"D-{name}", items=items, **more)

    assert (await client.done("GET", f"/orders/{number}"))["gross_amount"] == 49800
    for collection in ("authorizations", "captures"):
        await stated(collection, "swap", {2: -39800, 3: 39800})
    more = await stated("authorizations", "more", {3: 10000})
    assert (await stated("authorizations", "more", {3: 10000}))["id"] == more["id"]
    status, problem = await client.pay(number, "captures", "D-unnamed", items=[{"line_id": 3, "amount": 10000}])
    assert (status, problem["cause"]) == (409, "reference_ambiguous")
    await stated("captures", "unnamed", {3: 10000}, authorization_id=more["id"])
    found = await client.done("GET", f"/orders/{number}")
    assert found["payment_status"] == "paid"
    assert [sum(one["amount"] for one in found[name]) for name in ("authorizations", "captures")] == [49800, 49800]


async def test_a_repetition_that_is_refused_takes_back_nothing_of_what_was_stated(client: Client) -> None:
    """Else its part that the reversal has booked could be stated again, and another capture of these lines would book nothing."""
    order = await _captured(client, "T")
    draft = await client.done("POST", "/draft_orders", _change(order["order_id"], 49800))
    await client.done("PUT", f"/draft_orders/{draft['id']}/complete")

    async def stated(payment_id: str, amounts: dict[int, int], key: str, **more: Any) -> tuple[int, Any]:
        items = [{"line_id": line, "amount": amount} for line, amount in amounts.items()]
        body = {"items": items, "payment_details": {"payment_id": payment_id}} | more
        return await client.call("POST", f"/orders/{order['order_id']}/captures", body, idempotency_key=key)

    more = await client.paid(order["order_id"], "authorizations", "T-more", items=[
        {"line_id": 2, "amount": -39800}, {"line_id": 3, "amount": 49800},
    ])  # fmt: skip
    whole = {2: -39800, 3: 49800}
    assert (await stated("T-swap", whole, "once", authorization_id=more["id"]))[0] == 200
    status, problem = await stated("T-swap", whole, "once")
    assert problem["cause"] == "idempotency_key_reused", (status, problem)
    status, problem = await stated("T-again", {2: -39800}, "again")
    assert (status, problem["type"]) == (409, "/problems/reversal_exceeded")


async def test_what_is_not_captured_is_not_reversed_and_only_orders_of_the_account_are(client: Client) -> None:
    number = (await client.completed([MUGS]))["order_id"]
    for name, status_expected, code in ((number, 409, "request_refused"), ("NOBODYS", 404, "order_unknown")):
        draft = await client.done("POST", "/draft_orders", _change(name, 39800))
        status, problem = await client.call("PUT", f"/draft_orders/{draft['id']}/complete")
        assert (status, problem["type"]) == (status_expected, f"/problems/{code}"), problem
        assert (await client.done("GET", f"/draft_orders/{draft['id']}"))["status"] == "open"


async def test_an_authorization_that_is_recorded_while_the_order_asks_leaves_nothing_pending(
    shop: Shop, client: Client
) -> None:
    """The client's record and the request of orders meet at payments in any sequence."""
    orders = [(await client.completed([MUGS])) for _ in range(5)]
    await asyncio.gather(
        *(client.paid(one["order_id"], "authorizations", f"E{n}", 39800) for n, one in enumerate(orders))
    )
    keys = [one["id"] for one in orders]

    async def approved() -> bool:
        return {(await shop.order(key))["status"] for key in keys} == {"approved"}

    await shop.until(approved, "orders that are approved")
    for key in keys:
        status, ledger = await shop.call("payments", "GET", f"/v1/orders/{key}/ledger")
        assert status == 200
        assert [(one["kind"], one["state"]) for one in ledger["operations"]] == [("authorize", "succeeded")]
