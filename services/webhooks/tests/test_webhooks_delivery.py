"""Events go from the feed to receivers, each signed, those of an order in their order.

On a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from webhooks_delivery import (
    REAL,
    STORE,
    A,
    B,
    Receiver,
    dispatching,
    endpoint,
    followed,
    is_first_of_a,
    receiving,
    refusing,
    serving,
    settled,
    stored,
    versions,
)
from webhooks_feed import Client, Publisher, noted

from chassis.process.app import App
from tests.waiting import patience
from webhooks.domain.config import OAuth2Auth

pytestmark = REAL


async def test_an_event_arrives_signed_and_is_recorded(app: App, publisher: Publisher) -> None:
    receiver, before = Receiver(), noted(STORE)
    await publisher.publish(before)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            event, other = noted(STORE, "call her", 3), noted("st_2")
            await publisher.publish(event, other)
            await receiver.until(lambda: len(receiver.got) == 1)
    [got] = receiver.got
    assert Webhook(made.secret).verify(got.body, got.headers) == got.event
    assert {name: got.event[name] for name in ("specversion", "type", "subject", "storeid", "version")} == {
        "specversion": "1.0", "type": "orders.note_added", "subject": str(event.order_id), "storeid": STORE, "version": 3,
    }  # fmt: skip
    assert got.event["data"]["text"] == "***"
    assert got.headers["Content-Type"] == "application/cloudevents+json"
    [attempt] = await stored(
        app,
        "select endpoint_id, position, event_id, type, key, delivery_id, number, outcome, http_status, response from attempts",
    )
    assert attempt == (
        made.id, 2, got.event["id"], "orders.note_added", event.order_id, got.id, 1, "delivered", 200, "noted",
    )  # fmt: skip
    assert await stored(app, "select position, open, failing_since from cursors") == [(3, [], None)]


async def test_what_is_sent_is_a_cloud_event_to_its_reference_implementation(app: App, publisher: Publisher) -> None:
    """Also one of a type that this release does not have: it has no schema, and no version if it states none."""
    whole, thin, event = Receiver(), Receiver(), noted(STORE, version=3)
    strange = publisher.record(b'{"name": "Ann"}', type="orders.teleported", key=uuid4(), store=STORE)
    async with receiving(whole, thin):
        await endpoint(app, whole.url)
        await endpoint(app, thin.url, payload="thin")
        async with dispatching(app):
            await publisher.publish(event)
            await publisher.take(strange)
            for receiver in (whole, thin):
                await receiver.until(lambda receiver=receiver: len(receiver.got) == 2)  # type: ignore[misc]
    for receiver in (whole, thin):
        [read], [other] = (got.cloud_events for got in sorted(receiver.got, key=lambda got: str(got.event["type"])))
        assert (read.get_id(), read.get_source(), read.get_type()) == (
            receiver.got[0].event["id"],
            "orders",
            event.TYPE,
        )
        assert (read.get_subject(), read.get_extension("storeid")) == (str(event.order_id), STORE)
        assert (read.get_extension("version"), other.get_extension("version")) == (3, None)
        assert (read.get_dataschema() is None, other.get_dataschema()) == (False, None)
        shows_data = isinstance(data := read.get_data(), dict) and data["note_id"] == str(event.note_id)
        assert (shows_data, read.get_extension("dataref") is None) == ((receiver is whole,) * 2)


async def test_while_secrets_rotate_a_receiver_verifies_with_any_of_them_and_afterwards_with_the_new_one(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver()
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.edit"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        path = f"/v1/endpoints/{made.id}/rotate"
        async with dispatching(app) as [dispatcher]:
            secrets = [made.secret, *[(await client.call("POST", path, {}))[1]["secret"] for _ in range(2)]]
            await followed(app, dispatcher, made.id)
            await publisher.publish(noted(STORE))
            await receiver.until(lambda: len(receiver.got) == 1)
            _, last, _ = await client.call("POST", path, {"overlap_hours": 0})
            await followed(app, dispatcher, made.id)
            await publisher.publish(noted(STORE))
            await receiver.until(lambda: len(receiver.got) == 2)
    rotating, rotated = receiver.got
    for secret in secrets:
        Webhook(secret).verify(rotating.body, rotating.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(rotated.body, rotated.headers)
    Webhook(last["secret"]).verify(rotated.body, rotated.headers)


@pytest.mark.usefixtures("_quick")
async def test_without_a_token_an_attempt_fails_and_is_tried_again(app: App, publisher: Publisher) -> None:
    failures = 2

    async def issue(request: web.Request) -> web.Response:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            return web.Response(status=400, text="invalid_client: hidden")
        return web.json_response({"access_token": "a-token", "token_type": "bearer"})

    receiver = Receiver()
    async with receiving(receiver), serving(issue) as token_url:
        made = await endpoint(
            app, receiver.url,
            auth=lambda seal: OAuth2Auth(token_url=token_url, client_id="shop", client_secret=seal("hidden")),
        )  # fmt: skip
        async with dispatching(app):
            await publisher.publish(noted(STORE))
            await receiver.until(lambda: len(receiver.got) == 1)
            await settled(app, made.id)
    assert receiver.got[0].headers["Authorization"] == "Bearer a-token"
    assert await stored(app, "select outcome, http_status, response, error from attempts order by at") == [
        ("failed", None, "", "token_refused"), ("failed", None, "", "token_refused"), ("delivered", 200, "noted", None),
    ]  # fmt: skip


@pytest.mark.usefixtures("_quick")
async def test_a_failed_event_holds_its_order_alone_and_is_sent_again_in_the_same_bytes(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver(answer=refusing(3, is_first_of_a))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            await publisher.publish(
                *(noted(STORE, "😀 é", version, A) for version in (1, 2, 3)), noted(STORE, order_id=B)
            )
            await receiver.until(lambda: len(receiver.got) == 7)
            await settled(app, made.id)
    tries = [got for got in receiver.got if (got.event["subject"], got.event["version"]) == (str(A), 1)]
    assert len({(got.id, got.body) for got in tries}) == 1 and len(tries) == 4
    assert versions(receiver, A) == [1, 2, 3] and versions(receiver, B) == [1]
    assert len({got.id for got in receiver.got}) == 4
    for got in receiver.got:
        Webhook(made.secret).verify(got.body, got.headers)
    assert await stored(app, "select number, outcome from attempts where key = $1 and position = 1 order by at", A) == [
        (1, "failed"), (2, "failed"), (3, "failed"), (4, "delivered"),
    ]  # fmt: skip


@pytest.mark.usefixtures("_quick")
async def test_a_held_order_goes_on_once_its_exhausted_event_has_arrived(app: App, publisher: Publisher) -> None:
    up = False
    receiver = Receiver(answer=lambda event: 200 if up or event["subject"] == str(B) else 500)
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, exhausted="hold")
        async with dispatching(app):
            await publisher.publish(noted(STORE, version=1, order_id=A), noted(STORE, version=2, order_id=A))
            for version in range(1, 5):  # others succeed, so that the breaker stays closed
                await publisher.publish(noted(STORE, version=version, order_id=B))
                await receiver.until(lambda version=version: versions(receiver, B)[-1:] == [version])  # type: ignore[misc]
            async with patience():
                while not await stored(app, "select 1 from waiting where exhausted and lane is not null"):
                    await asyncio.sleep(0.05)
            assert versions(receiver, A) == []
            up = True
            _, page = await client.get("/v1/attempts", status="exhausted")
            assert (await client.call("POST", f"/v1/attempts/{page['items'][0]['id']}/resend"))[0] == 202
            await receiver.until(lambda: versions(receiver, A) == [1, 2])
            await settled(app, made.id)
    assert await stored(app, "select count(*) from waiting") == [(0,)]


async def test_an_event_that_the_feed_no_longer_has_is_exhausted_and_its_order_goes_on(
    app: App, publisher: Publisher
) -> None:
    up = False
    receiver = Receiver(answer=lambda event: 200 if up else 500)
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, exhausted="hold")
        async with dispatching(app):
            await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in (1, 2)))
            await receiver.until(lambda: len(receiver.got) == 1)
        await app.fetch("delete from feed where position = 1")
        await app.fetch("update waiting set next_at = clock_timestamp()")
        up = True
        async with dispatching(app):
            await receiver.until(lambda: versions(receiver, A) == [2])
            await settled(app, made.id)
            _, page = await client.get("/v1/attempts", status="exhausted")
            [expired] = page["items"]
            status, problem, _ = await client.call("POST", f"/v1/attempts/{expired['id']}/resend")
    gone = receiver.got[0].event["id"]
    assert (expired["event_id"], expired["error"], expired["number"], expired["http_status"]) == (
        gone, "event_expired", 1, None,
    )  # fmt: skip
    assert expired["webhook_id"] == receiver.got[0].id
    assert (status, problem["type"]) == (410, "/problems/beyond_retention")
    assert await stored(app, "select event_id, exhausted, last from waiting") == [(gone, True, "event_expired")]
    [reported] = await stored(app, "select payload from journal where type = 'webhooks.delivery_exhausted'")
    assert '"last":"event_expired"' in reported[0].replace(" ", "")


async def test_an_endpoint_far_behind_catches_up_in_order(app: App, publisher: Publisher) -> None:
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, types=("orders.note_added",))
        for version in range(1, 6):
            await publisher.publish(*(noted(STORE, version=version, order_id=UUID(int=n)) for n in range(1, 101)))
        async with dispatching(app):
            await receiver.until(lambda: len(receiver.got) == 500)
            await settled(app, made.id)
    assert all(versions(receiver, UUID(int=n)) == [1, 2, 3, 4, 5] for n in range(1, 101))
