"""Events of gateways on a real PostgreSQL: the whole way from a signed request to the ledger, which only polls change."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from payments_database import URL
from payments_gateways import API_KEY, SECRET, STORE
from payments_world import WHO, World, world

from contracts.payments import Capture, MoneyLine, Refund
from gatewayservers import stripe
from gatewayservers.stripe import signature
from payments import asking
from payments.gateways import accounts
from payments.gateways.inbound import EVENT_BYTES_MAX
from payments.gateways.port import Unclear
from payments.gateways.stripe.gateway import Stripe
from tests.future_orders import future_order
from tests.waiting import patience

__all__ = ["world"]

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]

# ------------------------------------------------------------------------------------------------ what an event brings


@pytest.mark.parametrize("webhook", [None, "early", "twice"])
async def test_a_buyer_who_confirmed_is_authorized_at_once(world: World, webhook: str | None) -> None:
    order_id = uuid4()
    await world.shape.trouble(order_id, webhook=webhook)
    operation_id = await world.authorize(order_id, stripe.NEEDS_BUYER)
    await world.until(operation_id, "pending")
    status, action = await world.get(f"/v1/payments/{order_id}/operations/{operation_id}/action")
    assert (status, action["kind"]) == (200, "confirm") and action["client_secret"].startswith("pi_")
    [payment] = world.shape.server.payments
    await world.shape.post(f"/buyers/{payment}/confirm")
    await world.until(operation_id, "succeeded")
    assert await world.shape.moved(order_id) == [("authorize", 10_00)]
    sent = world.shape.server.event_ids
    async with patience():
        while {event["event_id"] for event in await world.events()} != sent:
            await asyncio.sleep(0.02)
    assert len(await world.events()) == len(sent), "a repeated event is stored once"
    assert {event["order_id"] for event in await world.events("?matched=true")} == {str(order_id)}
    assert await world.events("?matched=false") == []
    status, problem = await world.get(f"/v1/payments/{order_id}/operations/{operation_id}/action")
    assert (status, problem["type"]) == (409, "/problems/operation_closed")


async def test_what_a_buyer_has_to_do_is_not_answered_without_the_gateway(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = uuid4()
    operation_id = await world.authorize(order_id, stripe.NEEDS_BUYER)
    await world.until(operation_id, "pending")

    async def silent(*_: Any) -> None:
        raise Unclear("no answer within 8 seconds")

    monkeypatch.setattr(Stripe, "action", silent)
    status, problem = await world.get(f"/v1/payments/{order_id}/operations/{operation_id}/action")
    assert (status, problem["type"], problem["detail"]) == (
        503,
        "/problems/gateway_unavailable",
        "no answer within 8 seconds",
    )


@pytest.mark.parametrize("world", [{"gateway_poll_seconds": 0.1}], indirect=True)
@pytest.mark.parametrize("webhook", ["lost", "reordered"])
async def test_an_event_that_is_lost_or_late_is_not_missed(world: World, webhook: str) -> None:
    order_id = uuid4()
    await world.shape.trouble(order_id, webhook=webhook)
    operation_id = await world.authorize(order_id, stripe.NEEDS_BUYER)
    await world.until(operation_id, "pending")
    [payment] = world.shape.server.payments
    await world.shape.post(f"/buyers/{payment}/confirm")
    await world.until(operation_id, "succeeded")
    assert await world.shape.moved(order_id) == [("authorize", 10_00)]


async def test_an_event_of_a_payment_that_is_not_recorded_yet_is_kept_and_matched_later(world: World) -> None:
    order_id, operation_id = uuid4(), uuid4()
    subject = {"id": "pi_early", "metadata": {"operation_id": str(operation_id)}}
    body = json.dumps(
        {"id": "evt_1", "type": "payment_intent.created", "created": 1, "data": {"object": subject}}
    ).encode()
    assert await world.post(body) == (200, {"is_new": True})
    [event] = await world.events("?matched=false")
    assert (event["event_id"], event["order_id"]) == ("evt_1", None)
    async with world.app.database.transaction() as tx:
        await tx.execute(
            "insert into operations (operation_id, order_id, store_id, kind, state, amount_minor, currency, gateway)"
            " values ($1, $2, $3, 'authorize', 'pending', 1, 'EUR', 'stripe')", operation_id, order_id, STORE,
        )  # fmt: skip
    [event] = await world.events("?matched=true")
    assert event["order_id"] == str(order_id)


async def test_a_dispute_is_listed_and_booked_with_the_order_that_it_is_about(world: World) -> None:
    order_id = uuid4()
    await world.shape.trouble(order_id, webhook="twice")
    authorization_id = await world.authorize(order_id)
    await world.until(authorization_id, "succeeded")
    capture_id = uuid4()
    lines = (MoneyLine(line_id="1", quantity=1, amount_minor=10_00),)
    await world.app.submit(
        WHO,
        Capture(
            order_id=order_id, store_id=STORE, operation_id=capture_id, actor="tests", authorization_id=authorization_id,
            currency="EUR", lines=lines,
        ),
    )  # fmt: skip
    await world.until(capture_id, "succeeded")
    [row] = await world.app.fetch("select gateway_reference from operations where operation_id = $1", capture_id)
    dispute = await world.shape.post(f"/disputes/{row['gateway_reference']}?end=open")
    assert (await disputed(world, "open"))["withheld_minor"] == 10_00
    await world.shape.post(f"/disputes/{dispute['id']}/lost")
    lost = await disputed(world, "lost")
    assert (lost["order_id"], lost["reference"], lost["withheld_minor"]) == (str(order_id), dispute["id"], 0)
    found = [one for one in await world.events() if "dispute" in one["type"]]
    assert {one["order_id"] for one in found} == {str(order_id)} and len(found) == 2
    booked = await world.app.fetch(
        "select account, sum(direction * amount_minor)::int as minor from entries group by 1 having sum(direction * amount_minor) <> 0"
    )
    assert {one["account"]: one["minor"] for one in booked} == {"customer": -10_00, "chargebacks": 10_00}
    assert {name: wrong for name, _, wrong in await world.checked() if wrong} == {}


async def test_an_event_that_names_only_its_payment_finds_the_session_in_which_that_was_made(world: World) -> None:
    """No order has asked for it yet."""
    order = future_order(STORE)
    body = {"order_id": str(order.id), "origin": order.origin, "amount_minor": 10_00, "currency": "EUR", "gateway": "stripe",
            "return_url": "https://shop.example/thanks"}  # fmt: skip
    status, session = await world.send("/v1/payment-sessions", body)
    assert status == 201, session
    await world.until(UUID(session["session_id"]), "pending")
    [intent] = world.shape.server.books.intents
    await world.shape.post(f"/buyers/{intent}/confirm")
    await world.until(UUID(session["session_id"]), "succeeded")
    dispute = await world.shape.post(f"/disputes/{world.shape.server.books.intents[intent].charge.id}?end=open")
    opened = await disputed(world, "open")
    assert (opened["order_id"], opened["reference"]) == (str(order.id), dispute["id"])
    assert {event["order_id"] for event in await world.events()} == {str(order.id)}
    assert {name: wrong for name, _, wrong in await world.checked() if wrong} == {}


async def test_a_dispute_of_a_payment_that_comes_later_is_taken_up_then(world: World) -> None:
    """Its event was stored before the operation was: once it is there, the gateway is asked, once per event. Until then its
    payment is queried after pauses that grow with its age, and no longer after 60 days."""
    order_id = uuid4()
    authorization_id = await world.authorize(order_id)
    await world.until(authorization_id, "succeeded")
    hidden = "update operations set gateway_reference = null where operation_id = $1 returning (select gateway_reference from operations where operation_id = $1)"
    [row] = await world.app.fetch(hidden, authorization_id)
    subject = {"id": "dp_early", "object": "dispute", "payment_intent": row["gateway_reference"], "charge": "ch_early"}
    body = json.dumps(
        {"id": "evt_d", "type": "charge.dispute.created", "created": 1, "data": {"object": subject}}
    ).encode()
    assert await world.post(body) == (200, {"is_new": True})
    assert await asking.ask_due(world.app) == 0, "its payment is not there: it was queried when the event came"
    pauses = [await pause_after(world, waited) for waited in (0, 600, 7_200, 36_000, 59 * 86_400)]
    assert pauses == pytest.approx([5, 60, 720, 3_600, 3_600], abs=3)
    assert await pause_after(world, 61 * 86_400) is None and await asking.ask_due(world.app) == 0
    await world.app.fetch("update gateway_events set ask_at = now() where event_id = 'evt_d'")
    await world.app.fetch(
        "update operations set gateway_reference = $2 where operation_id = $1",
        authorization_id,
        row["gateway_reference"],
    )
    assert [await asking.ask_due(world.app) for _ in range(2)] == [1, 0]
    asked = await world.app.fetch("select count(*) as n from tasks where key = $1 and kind = 'dispute'", order_id)
    assert asked[0]["n"] == 1
    assert await world.post(body) == (200, {"is_new": False}) and await asking.ask_due(world.app) == 0


async def pause_after(world: World, waited_seconds: int) -> float | None:
    """Seconds until the payment of `evt_d` is queried again after this time since its arrival; None: never again."""
    await world.app.fetch(
        "update gateway_events set ask_at = now(), received_at = now() - make_interval(secs => $1) where event_id = 'evt_d'",
        waited_seconds,
    )
    assert await asking.ask_due(world.app) == 1
    [row] = await world.app.fetch(
        "select extract(epoch from ask_at - now())::float8 as seconds from gateway_events where event_id = 'evt_d'"
    )
    seconds: float | None = row["seconds"]
    return seconds


async def test_an_event_whose_gateway_cannot_be_asked_is_listed_and_hinders_no_other(world: World) -> None:
    """Its dispute has a name that no command takes. A loop that raises for it would end the process, at each start again."""
    order_id = uuid4()
    authorization_id = await world.authorize(order_id)
    await world.until(authorization_id, "succeeded")
    [row] = await world.app.fetch("select gateway_reference from operations where operation_id = $1", authorization_id)
    for event_id, name in (("evt_long", "dp_" + "x" * 300), ("evt_next", "dp_next")):
        subject = {"id": name, "object": "dispute", "payment_intent": row["gateway_reference"], "charge": "ch_1"}
        event = {"id": event_id, "type": "charge.dispute.created", "created": 1, "data": {"object": subject}}
        assert await world.post(json.dumps(event).encode()) == (200, {"is_new": True})
    assert await asking.ask_due(world.app) == 0
    [unreadable] = await world.events("?matched=false")
    assert unreadable["event_id"] == "evt_long" and "cannot be asked" in unreadable["unreadable"]
    asked = await world.app.fetch("select body->>'reference' as name from tasks where kind = 'dispute'")
    assert [one["name"] for one in asked] == ["dp_next"]


async def test_a_refund_made_at_the_gateway_is_booked_once_beside_ours(world: World) -> None:
    """One refund is ours, and its event comes before its answer; another is made in the dashboard. Every event comes twice."""
    order_id = uuid4()
    await world.shape.trouble(order_id, webhook="early")
    authorization_id = await world.authorize(order_id)
    await world.until(authorization_id, "succeeded")
    capture_id, refund_id = uuid4(), uuid4()
    given = {"order_id": order_id, "store_id": STORE, "actor": "tests", "currency": "EUR"}
    lines = (MoneyLine(line_id="1", quantity=1, amount_minor=10_00),)
    capture = Capture(**given, operation_id=capture_id, authorization_id=authorization_id, lines=lines)
    await world.app.submit(WHO, capture)
    await world.until(capture_id, "succeeded")
    part = (MoneyLine(line_id="1", quantity=0, amount_minor=98),)
    await world.app.submit(WHO, Refund(**given, operation_id=refund_id, capture_id=capture_id, lines=part))
    await world.until(refund_id, "succeeded")
    await world.shape.trouble(order_id, webhook="twice")
    [row] = await world.app.fetch("select gateway_reference from operations where operation_id = $1", capture_id)
    made = (await world.shape.post(f"/dashboard/refunds/{row['gateway_reference']}?amount=700"))["id"]
    waiting = "select count(*) as n from gateway_events where asks <> '' and asked_at is null"
    asking_still = "select count(*) as n from tasks where key = $1 and kind = 'refunds'"
    async with patience():
        while len(await refunds(world, order_id)) < 2:
            await asyncio.sleep(0.02)
        while (await world.app.fetch(waiting))[0]["n"] or (await world.app.fetch(asking_still, order_id))[0]["n"]:
            await asyncio.sleep(0.02)
    assert await refunds(world, order_id) == [("", 98, "succeeded"), (made, 7_00, "succeeded")]
    assert [one["type"] for one in await world.events()].count("charge.refunded") == 2
    assert {name: wrong for name, _, wrong in await world.checked() if wrong} == {}


async def refunds(world: World, order_id: UUID) -> list[tuple[str, int, str]]:
    """(the gateway's name of a refund that was made there, minor units, state)."""
    found = await world.app.fetch(
        "select coalesce(payment_id, '') as made, amount_minor, state from operations"
        " where order_id = $1 and kind = 'refund' order by amount_minor", order_id,
    )  # fmt: skip
    return [(row["made"], row["amount_minor"], row["state"]) for row in found]


async def disputed(world: World, state: str) -> dict[str, Any]:
    async with patience():
        while True:
            status, page = await world.get("/v1/disputes")
            assert status == 200, page
            if page["items"] and page["items"][0]["state"] == state:
                [one] = page["items"]
                return dict(one)
            await asyncio.sleep(0.02)


# -------------------------------------------------------------------------------------------- what is refused, or stored


async def test_only_the_gateway_can_send_an_event(world: World) -> None:
    body = b'{"id": "evt_1"}'
    for header in (signature(body, "whsec_other"), signature(body, SECRET, time.time() - 600), "t=1,v1=00"):
        status, problem = await world.post(body, header)
        assert (status, problem["type"]) == (401, "/problems/signature_invalid")
    for address in ("/v1/gateways/stripe/other/events", "/v1/gateways/nowhere/main/events"):
        status, problem = await world.post(body, address=address)
        assert (status, problem["type"]) == (404, "/problems/gateway_unknown")
    large = b"x" * (EVENT_BYTES_MAX + 1)
    status, problem = await world.post(large)
    assert (status, problem["type"]) == (413, "/problems/event_too_large")
    assert await world.events() == []


async def test_a_secret_that_is_not_there_asks_the_gateway_to_send_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYMENTS_TEST_SECRET")
    status, problem = await world.post(b"{}")
    assert (status, problem["type"]) == (503, "/problems/credentials_missing")
    assert SECRET not in json.dumps(problem) and await world.events() == []


async def test_an_event_that_cannot_be_read_is_kept_once_and_listed(world: World) -> None:
    for _ in range(2):
        status, _ = await world.post(b'{"signed": "but of another shape", "card": "4242"}')
        assert status == 200
    [event] = await world.events("?matched=false")
    assert event["unreadable"] and "4242" not in json.dumps(event)


async def test_no_secret_is_in_a_row_or_an_event_of_ours(world: World) -> None:
    order_id = uuid4()
    operation_id = await world.authorize(order_id, stripe.NEEDS_BUYER)
    await world.until(operation_id, "pending")
    await world.events()
    tables = await world.app.fetch(
        "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'"
    )
    for table in tables:
        for secret in (API_KEY, SECRET, "_secret_"):
            rows = await world.app.fetch(f"select count(*) as n from {table['name']} t where t::text like '%{secret}%'")
            assert rows[0]["n"] == 0, (table["name"], secret)


async def test_an_account_stays_its_stores_and_the_first_stays_the_first(world: World) -> None:
    row = {"store": STORE, "gateway": "stripe", "account": "main", "credentials": {"api_key": "env:A"}}
    with pytest.raises(accounts.AccountTaken, match="another store's"):
        async with world.app.database.transaction() as tx:
            await accounts.apply(tx, {"gateway_accounts": [row | {"store": "st_2"}]})
    async with world.app.database.transaction() as tx:
        await accounts.apply(tx, {"gateway_accounts": [row | {"account": "a-second"}]})
    found = [await accounts.Accounts(world.app).of_store(STORE, "stripe", name) for name in (None, "a-second", "third")]
    assert [one and one.account for one in found] == ["main", "a-second", None]
