"""Payment sessions over HTTP, on a real PostgreSQL and a gateway in Stripe's shapes: paid, cancelled, abandoned."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from payments_database import URL
from payments_gateways import STORE
from payments_settled import violated
from payments_world import HOUR, World, world

from payments import store
from payments.gateways import accounts
from tests.future_orders import FutureOrder, future_order
from tests.waiting import patience

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]
__all__ = ["world"]

SESSIONS = "/v1/payment-sessions"


def wanted(order: FutureOrder, **more: Any) -> dict[str, Any]:
    return {
        "order_id": str(order.id),
        "origin": order.origin,
        "amount_minor": 10_00,
        "currency": "EUR",
        "return_url": "https://shop.example/thanks",
    } | more


async def until(world: World, session_id: str, state: str) -> dict[str, Any]:
    async with patience():
        while True:
            status, session = await world.get(f"{SESSIONS}/{session_id}")
            assert status == 200, session
            if session["state"] == state:
                return session
            await asyncio.sleep(0.02)


async def test_a_storefront_opens_a_session_the_order_asks_and_the_buyer_pays(world: World) -> None:
    order = future_order(STORE)
    status, opened = await world.send(SESSIONS, wanted(order), "cart-1")
    assert (status, opened["state"], opened["authorization_id"], opened["action"]) == (201, "open", None, None)
    operation_id = await world.authorize(order.id, None)
    await world.until(operation_id, "pending")
    status, again = await world.send(SESSIONS, wanted(order), "cart-1")
    assert (status, again["session_id"], again["authorization_id"]) == (201, opened["session_id"], str(operation_id))
    assert again["action"]["kind"] == "pay" and again["action"]["client_secret"].startswith("pi_")
    stored = await world.app.fetch("select convert_from(body, 'utf8') as body from idempotency")
    assert stored and not any("secret" in row["body"] for row in stored), "the buyer's secret is stored nowhere"
    [intent] = world.shape.server.books.intents
    await world.shape.post(f"/buyers/{intent}/confirm")
    done = await until(world, opened["session_id"], "completed")
    assert done["action"] is None and await world.shape.moved(order.id) == [("authorize", 10_00)]
    status, problem = await world.send(f"{SESSIONS}/{opened['session_id']}/cancel")
    assert (status, problem["type"]) == (409, "/problems/session_closed")
    assert await violated(world.app.database) == {}


async def test_a_buyer_who_gives_up_cancels_what_waits_at_the_gateway(world: World) -> None:
    order = future_order(STORE)
    operation_id = await world.authorize(order.id, None)
    await world.until(operation_id, "pending")
    _, opened = await world.send(SESSIONS, wanted(order))
    status, problem = await world.send(SESSIONS, wanted(order))
    assert (status, problem["type"], problem["session_id"]) == (409, "/problems/session_open", opened["session_id"])
    status, cancelled = await world.send(f"{SESSIONS}/{opened['session_id']}/cancel")
    assert (status, cancelled["state"], cancelled["action"]) == (200, "cancelled", None)
    await world.until(operation_id, "declined")
    [row] = await world.app.fetch("select code from operations where operation_id = $1", operation_id)
    assert row["code"] == "payment_abandoned"
    _, second = await world.send(SESSIONS, wanted(order))
    _, page = await world.get(f"{SESSIONS}?order_id={order.id}&limit=1")
    [newest] = page["items"]
    assert (newest["session_id"], newest["state"], "action" in newest) == (second["session_id"], "open", False)
    _, page = await world.get(f"{SESSIONS}?order_id={order.id}&limit=1&cursor={page['next_cursor']}")
    assert ([one["session_id"] for one in page["items"]], page["next_cursor"]) == ([opened["session_id"]], None)
    assert (await world.get(f"{SESSIONS}?state=completed&order_id={order.id}"))[1]["items"] == []
    [intent] = world.shape.server.books.intents.values()
    assert (intent.status, intent.cancellation_reason, await world.shape.moved(order.id)) == (
        "canceled",
        "abandoned",
        [],
    )
    assert await violated(world.app.database) == {}


async def test_a_buyer_pays_before_the_order_comes_or_gets_it_back_if_it_does_not(world: World) -> None:
    """Five carts are paid before payments has their orders: for as much as the order asks for, for more, and three without an order, of
    which one may come yet, and the gateway refuses to give one back."""
    carts = {name: future_order(STORE) for name in ("equal", "more", "later", "never", "refused")}
    await world.shape.trouble(carts["refused"].id, void="declined")
    paid: dict[str, str] = {}
    for name, order in carts.items():
        waits_seconds = 1 if name in ("never", "refused") else HOUR
        world.app.settings = world.app.settings.model_copy(update={"session_order_seconds_max": waits_seconds})
        amount = 12_00 if name == "more" else 10_00
        body = wanted(order, amount_minor=amount, gateway="stripe")
        status, opened = await world.send(SESSIONS, body, f"cart {name}")
        assert (status, opened["gateway"], opened["prepayment"]) == (201, "stripe", None)
        await world.until(UUID(opened["session_id"]), "pending")
        _, again = await world.send(SESSIONS, body, f"cart {name}")
        assert again["session_id"] == opened["session_id"] and again["action"]["client_secret"].startswith("pi_")
        [intent] = [one for one in world.shape.server.books.intents if one not in paid.values()]
        await world.shape.post(f"/buyers/{intent}/confirm")
        done = await until(world, opened["session_id"], "completed")
        assert done["action"] is None
        if waits_seconds == HOUR:
            assert (done["prepayment"], done["held_minor"]) == ("held", amount)
        paid[opened["session_id"]] = intent
        if name in ("equal", "more"):
            operation_id = await world.authorize(order.id, None)
            await world.until(operation_id, "succeeded")
            done = await until(world, opened["session_id"], "completed")
            assert done["authorization_id"] == str(operation_id)
    status, problem = await world.send(f"{SESSIONS}/{next(iter(paid))}/return", {})
    assert (status, problem["type"]) == (409, "/problems/prepayment_closed")
    status, problem = await world.send(SESSIONS, wanted(carts["later"], gateway="stripe"))
    assert (status, problem["type"], problem["session_id"]) == (409, "/problems/session_paid", [*paid][2])
    assert (await world.send(f"{SESSIONS}/{[*paid][2]}/return"))[0] == 200
    found = {name: await settled(world, session_id) for name, session_id in zip(carts, paid, strict=True)}
    returned = dict.fromkeys(("more", "later", "never"), "returned")
    assert found == {"equal": "taken", "refused": "retained"} | returned
    await a_person_settles(world, [*paid][4])
    intents = world.shape.server.books.intents
    assert len(intents) == 5, "no authorization has asked the gateway again"
    assert [intents[one].status for one in paid.values()] == [
        "requires_capture",
        "requires_capture",
        "canceled",
        "canceled",
        "requires_capture",
    ]
    _, books = await world.get(f"/v1/orders/{carts['more'].id}/ledger")
    assert books["totals"]["authorized_minor"] == 10_00 and books["payment_status"] == "authorized"
    _, trial = await world.get("/v1/accounts?currency=EUR")
    closing = {one["account"]: one["closing_minor"] for one in trial["currencies"][0]["accounts"]}
    assert closing["prepayments"] == 0 and await violated(world.app.database) == {}


async def a_person_settles(world: World, session_id: str) -> None:
    """What a gateway refuses to give back is listed and counted until it is booked."""
    _, page = await world.get(f"{SESSIONS}?prepayment=retained")
    assert [one["session_id"] for one in page["items"]] == [session_id]
    assert ("return", "person", 1) in [tuple(row)[:3] for row in await world.app.fetch(store.PROCESSES)]
    assert await violated(world.app.database) == {}
    status, problem = await world.send(f"{SESSIONS}/{session_id}/return", {"reference": "transfer 17"})
    assert (status, problem["type"]) == (422, "/problems/request_invalid"), "it does not ask the gateway once more"
    once_more = await world.send(f"{SESSIONS}/{session_id}/return", {}, "once more")
    assert once_more[0] == 200 and await settled(world, session_id) == "retained"
    booked = {"recorded": True, "reference": "transfer 17"}
    status, session = await world.send(f"{SESSIONS}/{session_id}/return", booked, "booked")
    assert (status, session["prepayment"], session["held_minor"]) == (200, "returned", 0)
    assert (await world.send(f"{SESSIONS}/{session_id}/return", booked, "booked"))[0] == 200, "a repeated request"
    assert "person" not in [row["waiting"] for row in await world.app.fetch(store.PROCESSES)]


async def settled(world: World, session_id: str) -> str:
    """What has become of what was paid, once nothing of it waits for its order."""
    async with patience():
        while True:
            _, session = await world.get(f"{SESSIONS}/{session_id}")
            if session["prepayment"] not in ("held", "returning"):
                assert session["held_minor"] == (10_00 if session["prepayment"] == "retained" else 0)
                return str(session["prepayment"])
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("world", [{"buyer_seconds_max": 1}], indirect=True)
async def test_an_authorization_that_its_buyer_leaves_is_declined(world: World) -> None:
    operation_id = await world.authorize(order_id := uuid4(), None)
    await world.until(operation_id, "declined")
    [intent] = world.shape.server.books.intents.values()
    assert intent.status == "canceled" and await world.shape.moved(order_id) == []
    assert await world.app.fetch("select from tasks") == [] and await violated(world.app.database) == {}


async def test_a_repeated_request_is_answered_with_its_session_after_the_configuration_has_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = future_order(STORE)
    body = wanted(order, gateway="stripe")
    status, opened = await world.send(SESSIONS, body, "changed-1")
    assert status == 201
    await world.until(UUID(opened["session_id"]), "pending")
    [intent] = world.shape.server.books.intents
    await world.shape.post(f"/buyers/{intent}/confirm")
    await until(world, opened["session_id"], "completed")
    async with world.app.database.transaction() as tx:
        await tx.execute("delete from storefronts where store_id = $1", STORE)
        await tx.execute("delete from gateway_accounts where store_id = $1", STORE)
    monkeypatch.setattr(accounts, "FRESH_SECONDS", 0)
    status, again = await world.send(SESSIONS, body, "changed-1")
    assert (status, again["session_id"], again["state"]) == (201, opened["session_id"], "completed")
    got, problem = await world.send(SESSIONS, body | {"amount_minor": 1}, "changed-1")
    assert (got, problem["type"]) == (409, "/problems/idempotency_key_reused")
    got, problem = await world.send(SESSIONS, wanted(future_order(STORE), gateway="stripe"), "changed-2")
    assert (got, problem["type"]) == (422, "/problems/return_url_invalid")


async def test_a_key_opens_no_ledger_of_another_stores_future_order(world: World) -> None:
    """The store whose order it will be opens its session afterwards: nothing of it was claimed."""
    order, name = future_order(STORE), f"st_{uuid4().hex[:8]}"
    other = replace(world, key=await world.app.keys.create(name, "tests", ["*"]))
    async with world.app.database.transaction() as tx:
        await accounts.apply(tx, {"storefronts": [{"store": name, "origins": ["https://shop.example"]}]})
    recorded = {"gateway": "psp", "payment_id": "1", "currency": "EUR", "lines": [{"line_id": "1", "amount_minor": 1}]}
    reversed_ = {"currency": "EUR", "reversals": [{"line_id": "2", "reverses": "1", "quantity": 1, "amount_minor": 1}]}
    collections = ("authorizations", "captures", "refunds", "cancellations")
    for origin, refusal in (
        (order.origin, (404, "/problems/resource_unknown")),
        (future_order(name).origin, (404, "/problems/resource_unknown")),
        (None, (422, "/problems/order_origin_missing")),
    ):
        got, problem = await other.send(SESSIONS, wanted(order, origin=origin))
        assert (got, problem["type"]) == refusal
        for what in collections:
            path = f"/v1/orders/{order.id}/payments/{what}"
            got, problem = await other.send(path, recorded | {"origin": origin})
            assert (got, problem["type"]) == refusal, what
    got, problem = await other.send(f"/v1/orders/{order.id}/reversals", reversed_)
    assert (got, problem["type"]) == (404, "/problems/order_unknown")
    assert await world.app.fetch("select from ledgers where key = $1", order.id) == []
    status, opened = await world.send(SESSIONS, wanted(order))
    assert (status, opened["order_id"]) == (201, str(order.id))
    path = f"/v1/orders/{order.id}/payments/authorizations"
    assert (await world.send(path, recorded | {"payment_id": str(uuid4())}))[0] == 200, "payments has the order now"


async def test_what_a_storefront_may_not_ask_for(world: World) -> None:
    order = future_order(STORE)
    for wrong, status, code in (
        ({"return_url": "https://evil.example/"}, 422, "return_url_invalid"),
        ({"cancel_url": "https://shop.example:8443/"}, 422, "return_url_invalid"),
        ({"cancel_url": "http://shop.example/"}, 422, "request_invalid"),
        ({"expires_in_seconds": 5}, 422, "request_invalid"),
        ({"amount_minor": 0}, 422, "request_invalid"),
        ({"gateway": "dintero"}, 404, "gateway_unknown"),
        ({"gateway": "stripe", "account": "other"}, 404, "gateway_unknown"),
        ({"gateway": "manual"}, 404, "gateway_unknown"),
    ):
        got, problem = await world.send(SESSIONS, wanted(order, **wrong))
        assert (got, problem["type"]) == (status, f"/problems/{code}")
    _, theirs = await world.send(SESSIONS, wanted(order))
    store = f"st_{uuid4().hex[:8]}"
    other = replace(world, key=await world.app.keys.create(store, "tests", ["*"]))
    async with world.app.database.transaction() as tx:
        await accounts.apply(tx, {"storefronts": [{"store": store, "origins": ["https://shop.example"]}]})
    for origin, status, code in (
        (order.origin, 404, "resource_unknown"),
        (None, 422, "order_origin_missing"),
    ):
        got, problem = await other.send(SESSIONS, wanted(order, origin=origin))
        assert (got, problem["type"]) == (status, f"/problems/{code}"), "the order is another store's"
    for session_id, who in ((uuid4(), world), (theirs["session_id"], other)):
        for got, problem in (
            await who.get(f"{SESSIONS}/{session_id}"),
            await who.send(f"{SESSIONS}/{session_id}/cancel"),
            await who.send(f"{SESSIONS}/{session_id}/return"),
        ):
            assert (got, problem["type"]) == (404, "/problems/session_unknown")
    assert (await other.get(f"{SESSIONS}?order_id={order.id}"))[1]["items"] == []
    got, problem = await world.send(f"{SESSIONS}/{theirs['session_id']}/return")
    assert (got, problem["type"]) == (409, "/problems/prepayment_closed")
