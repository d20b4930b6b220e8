"""An order over HTTP, on a real PostgreSQL: its exceptions, its timeline, what it waits for, its errors, its payment methods."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from orders_database import REAL, TABLES, Client, digital, execute, handle, inbound, place

from chassis.process.app import App
from contracts.snapshot import Address, Snapshot, Source

pytestmark = REAL


async def test_an_exception_is_shown_with_its_difference_and_ended_once(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    moved = digital("a-0", ship_to=Address(name="Ann", line1="2 Way", city="Lyon", country="FR"))
    source = Source(channel="api", account="default", updated_at="2099-01-01T00:00:00Z", content_hash="x")
    await handle(app, inbound(Snapshot(source=source, order=moved), key, "a"))
    _, shown = await call("GET", f"/v1/orders/{key}")
    (one,) = shown["exceptions"]
    assert (one["code"], one["resolutions"]) == ("address_changed", ["accept", "keep"]) and one["since"]
    assert {"path": "ship_to.line1", "change": "changed", "before": None, "after": None} in one["difference"]
    assert [one["code"] for one in shown["remarks"]] == ["updated_at_ahead"] and {
        "action": "resolve",
        "allowed": True,
        "why_not": None,
        "detail": None,
    } in shown["legal_actions"]
    path = f"/v1/orders/{key}/exceptions/{one['exception_id']}/resolve"
    assert (await call("POST", path, {"resolution": "maybe"}))[0] == 422
    status, shown = await call("POST", path, {"resolution": "accept", "reason": "moved"})
    assert (status, shown["exceptions"], shown["order"]["ship_to"]["line1"]) == (200, [], "2 Way")
    status, problem = await call("POST", path, {"resolution": "accept"})
    assert (status, problem["type"]) == (404, "/problems/exception_unknown")
    _, shown = await call("GET", f"/v1/orders/{key}")
    (resolved,) = [entry for entry in shown["timeline"] if entry["type"] == "orders.exception_resolved"]
    assert (resolved["code"], resolved["resolution"], resolved["reason"]) == ("address_changed", "accept", "moved")


async def test_an_order_is_shown_with_its_latest_steps_and_the_timeline_has_all_of_them(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    there = Address(name="Ann", line1="2 Way", city="Lyon", country="FR")
    for n in range(60):  # an exception is raised, and disappears with its cause
        moved = digital("a-0", ship_to=there) if n % 2 == 0 else digital("a-0")
        at = f"2099-01-01T00:{n:02}:00Z"
        source = Source(channel="api", account="default", updated_at=at, content_hash=str(n))
        await handle(app, inbound(Snapshot(source=source, order=moved), key, "a"))
    _, shown = await call("GET", f"/v1/orders/{key}")
    versions = [step["version"] for step in shown["timeline"] if step["version"]]
    assert len(shown["timeline"]) == 50 and versions == sorted(versions) and versions[-1] == shown["version"]
    steps, cursor = [], ""
    while cursor is not None:
        path = f"/v1/orders/{key}/timeline"
        _, page = await call("GET", path, query=f"limit=20{cursor}")
        steps += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert steps[:50] == shown["timeline"][::-1] and len(steps) > 50
    assert steps[-1]["type"] == "orders.received" and len({step["message_id"] for step in steps}) == len(steps)
    _, page = await call("GET", path, query=f"limit=500&cursor={shown['timeline_next_cursor']}")
    assert page["items"] == steps[50:]


async def test_what_several_orders_wait_for_is_read_at_once_in_the_order_of_the_request(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    first, second = await place(app, 2, "a")
    (foreign,) = await place(app, 1, "b")
    await execute(app, "insert into parked_keys (key) values ($1)", second)
    query = "&".join(f"order_id={key}" for key in (second, foreign, uuid4(), first, second))
    status, found = await call("GET", "/v1/processes", query=query)
    assert status == 200 and [one["order_id"] for one in found["items"]] == [str(second), str(first)]
    assert [one["waiting"] for one in found["items"]] == ["parked", "answer"]
    _, shown = await call("GET", f"/v1/orders/{first}")
    assert {name: shown[name] for name in ("order_id", "version", "waiting", "processes", "legal_actions")} == found[
        "items"
    ][1]
    asked = shown["processes"][0]["operation_id"]
    status, after = await call("POST", f"/v1/orders/{first}/ask", idempotency_key="1")
    assert (status, after["version"], after["processes"][0]["operation_id"]) == (202, shown["version"], asked)
    status, after = await call("POST", f"/v1/orders/{first}/give_up", {"reason": "in vain"}, idempotency_key="2")
    assert (status, after["status"], after["cancel_cause"]) == (202, "cancelled", "gave_up")
    assert (await call("GET", "/v1/processes"))[0] == 422


async def test_another_store_ends_no_exception(app: App) -> None:
    (key,) = await place(app, 1, "a", lifecycle="partially_shipped")
    mine, theirs = [Client(app, await app.keys.create(name, "desk", ["*"])) for name in ("a", "b")]
    _, shown = await mine("GET", f"/v1/orders/{key}")
    path = f"/v1/orders/{key}/exceptions/{shown['exceptions'][0]['exception_id']}/resolve"
    assert (await theirs("POST", path, {"resolution": "accept"}))[0] == 404


# -- which error comes first ------------------------------------------------------------------------------------------


async def test_a_request_that_is_wrong_in_every_way_is_answered_in_the_documented_order(app: App) -> None:
    """docs/errors.md: each step corrects what the answer before named."""
    (key,) = await place(app, 1, "a")
    good = await app.keys.create("a", "desk", ["*"])
    viewer = await app.keys.create("a", "viewer", ["orders.view"])
    admin = await app.keys.create(None, "admin", ["*"])
    ten = [f"t{n}" for n in range(10)]
    assert (await Client(app, good)("POST", f"/v1/orders/{key}/tags", {"add": ten}, idempotency_key="used"))[0] == 200
    bad = {"idempotency_key": "\x7f", "if_match": "7"}
    more, unknown = {"add": ["more"]}, uuid4()
    steps: list[tuple[str, str, Any, str, str, dict[str, str]]] = [
        # expected, key, body, query, order, headers
        ("media_type_unsupported", "", {"add": [7]}, "wrong=1", "x", {**bad, "content_type": "text/plain"}),
        ("query_parameter_unknown", "", {"add": [7]}, "wrong=1", "x", bad),
        ("api_key_missing", "", {"add": [7]}, "", "x", bad),
        ("api_key_unknown", "tw_a_b", {"add": [7]}, "", "x", bad),
        ("scope_missing", viewer, {"add": [7]}, "", "x", bad),
        ("store_invalid", admin, {"add": [7]}, "", "x", {**bad, "x_store_id": "?"}),
        ("store_missing", admin, {"add": [7]}, "", "x", bad),
        ("request_invalid", good, {"add": [7]}, "wait=x", "x", bad),
        ("idempotency_key_invalid", good, more, "", str(unknown), bad),
        ("if_match_invalid", good, more, "", str(key), {**bad, "idempotency_key": "used"}),
        ("idempotency_key_reused", good, more, "", str(key), {"if_match": '"99"', "idempotency_key": "used"}),
        ("order_unknown", good, more, "", str(unknown), {"if_match": '"99"', "idempotency_key": "new"}),
        ("version_outdated", good, more, "", str(key), {"if_match": '"99"', "idempotency_key": "newer"}),
        ("tags_exceeded", good, more, "", str(key), {"if_match": "*", "idempotency_key": "newest"}),
    ]
    for expected, api_key, body, query, order, headers in steps:
        status, problem = await Client(app, api_key)("POST", f"/v1/orders/{order}/tags", body, query, **headers)
        assert status >= 400 and problem["type"] == f"/problems/{expected}", (expected, problem)
    _, problem = await Client(app, good)("POST", "/v1/orders/x/tags", {"add": ["ok", 7, "NO"]}, "wait=x")
    assert {(one["where"], one["pointer"]) for one in problem["errors"]} == {
        ("path", "/order_id"), ("query", "/wait"), ("body", "/add/1"), ("body", "/add/2"),
    }  # fmt: skip


# -- payment methods --------------------------------------------------------------------------------------------------


async def test_a_storefront_reads_what_a_method_costs_and_a_card_number_is_stored_nowhere(app: App) -> None:
    call = Client(app, await app.keys.create("a", "till", ["*"]))
    methods = [
        {"code": "card", "gateway": "stripe", "account": "second", "countries": ["DE"]},
        {"code": "invoice", "gateway": "manual", "surcharge_percent": "1.5",
         "currencies": [{"currency": "EUR", "max_minor": 200_00, "surcharge_minor": 2_00}]},
    ]  # fmt: skip
    terms = {"code": "shop", "payment_methods": methods}
    assert (await call("PUT", "/v1/markets/shop", {"terms": terms}))[0] == 200
    assert (await call("GET", "/v1/markets/shop"))[1]["terms"]["payment_methods"] == methods
    wanted = "currency=EUR&amount_minor=1000&country=FR"
    status, found = await call("GET", "/v1/markets/shop/payment-methods", query=wanted)
    assert status == 200 and [(one["code"], one["fits"], one["total_minor"]) for one in found["items"]] == [
        ("card", False, 10_00), ("invoice", True, 12_15),
    ]  # fmt: skip
    assert (await call("GET", "/v1/markets/other/payment-methods", query=wanted))[0] == 404
    told = json.loads(digital("A-1").model_dump_json(exclude_none=True))
    refused = {**told, "payment_token": "4242-4242-4242-4242"}
    status, problem = await call("POST", "/v1/orders", refused, idempotency_key="k1")
    assert (status, problem["type"]) == (422, "/problems/payment_token_refused") and "4242" not in json.dumps(problem)
    status, shown = await call("POST", "/v1/orders", {**told, "payment_token": "pm_1"}, idempotency_key="k2")
    assert (status, shown["grand_minor"]) == (201, 12_15)
    assert (shown["market"]["payment_method"], shown["market"]["gateway"]) == ("invoice", "manual")
    status, again = await call("POST", "/v1/orders", {**told, "payment_token": "pm_1"}, idempotency_key="k3")
    assert (status, again["order_id"], again["version"]) == (201, shown["order_id"], shown["version"])
    async with app.database.connection() as connection:
        for table in TABLES:
            rows = await connection.fetchval(f"select count(*) from {table} t where t::text like '%4242%'")
            assert rows == 0, table
        asked = await connection.fetchval(
            "select count(*) from journal t where t::text like '%\"payment_token\"%pm_1%'"
        )
    assert asked, "the token is passed on with the authorization"
