"""Events go from the feed to receivers, on a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from webhooks_delivery import (
    STORE,
    Receiver,
    delivering,
    dispatching,
    endpoint,
    receiving,
    refusing,
    serving,
    settled,
    stored,
)
from webhooks_feed import Client, Publisher, noted

from chassis.process.app import App
from contracts.webhooks import EndpointDisabled
from webhooks.delivery import dispatcher as dispatcher_module
from webhooks.delivery.dispatcher import Dispatcher
from webhooks.delivery.log import Batch
from webhooks.domain import attempts, lanes, notices
from webhooks.domain import config as domain
from webhooks.domain.config import HeadersAuth, OAuth2Auth
from webhooks.domain.endpoint import SHARDS, notices_id

URL = os.environ.get("WEBHOOKS_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="WEBHOOKS_TEST_DATABASE_URL is not set")]
A, B = UUID(int=1), UUID(int=2)
REPORTED = """
select type from journal where type in ('webhooks.endpoint_failing', 'webhooks.endpoint_recovered', 'webhooks.endpoint_disabled')
order by id"""


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    async with delivering(URL) as app:
        yield app


@pytest_asyncio.fixture
async def publisher(app: App) -> Publisher:
    publisher = Publisher(app)
    await publisher.begin("first")
    return publisher


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries within a test's patience."""
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (0.05,) * 4)


def versions(receiver: Receiver, order: UUID) -> list[int]:
    return [event["version"] for event in receiver.accepted if event["subject"] == str(order)]


async def followed(app: App, dispatcher: Dispatcher, made: UUID) -> None:
    """Wait until the endpoint is delivered to as it is stored now."""
    [(revision,)] = await stored(app, "select revision from endpoints where key = $1", made)
    async with asyncio.timeout(10):
        while (line := dispatcher._lines.get(made)) is None or line.place.revision < revision:
            await asyncio.sleep(0.05)


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


def is_first_of_a(event: Any) -> bool:
    return (event["subject"], event["version"]) == (str(A), 1)


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
async def test_an_exhausted_event_is_skipped_and_reported_once(app: App, publisher: Publisher) -> None:
    receiver = Receiver(answer=lambda event: 500 if event["version"] == 1 else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            for version in (2, 3, 4):  # others succeed, so that the breaker stays closed
                await publisher.publish(noted(STORE, version=version, order_id=B))
            await publisher.publish(noted(STORE, version=1, order_id=A), noted(STORE, version=2, order_id=A))
            await receiver.until(lambda: versions(receiver, A) == [2])
            await settled(app, made.id)
    assert await stored(app, "select position, lane, tries, exhausted, last from waiting") == [
        (4, None, 5, True, "500")
    ]
    assert await stored(app, "select count(*) from journal where type = 'webhooks.delivery_exhausted'") == [(1,)]


@pytest.mark.usefixtures("_quick")
async def test_exhausted_deliveries_of_an_hour_are_reported_together(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "EXHAUSTED_EVERY", timedelta(seconds=3))
    receiver = Receiver(answer=lambda event: 500 if event["subject"] != str(B) else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            for number in range(1, 4):
                await publisher.publish(noted(STORE), noted(STORE, version=number, order_id=B))
                await settled(app, made.id)
            reported = "select (payload::jsonb->>'count')::int from journal where type = 'webhooks.delivery_exhausted' order by id"
            async with asyncio.timeout(10):
                while len(await stored(app, reported)) < 2:
                    await asyncio.sleep(0.05)
    assert await stored(app, reported) == [(1,), (2,)]


async def test_an_endpoint_is_reported_while_it_fails_once_it_is_back_and_when_it_is_given_up(
    app: App, publisher: Publisher
) -> None:
    """Each part begins as a process that finds what an earlier one has written, some days ago."""
    up = False
    receiver = Receiver(answer=lambda event: 200 if up else 500)

    async def fails_since(when: str, failures: int) -> None:
        await app.fetch(
            f"update cursors set failing_since = clock_timestamp() - interval '{when}', failed_in_a_row = $1", failures
        )

    async def until_reported(*types: str) -> None:
        async with asyncio.timeout(10):
            while (found := await stored(app, REPORTED)) != [(f"webhooks.endpoint_{type}",) for type in types]:
                assert len(found) <= len(types), found
                await asyncio.sleep(0.05)

    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        await publisher.publish(noted(STORE), noted(STORE))
        await fails_since("9 minutes 50 seconds", 30)
        async with dispatching(app):
            await receiver.until(lambda: len(receiver.got) == 1)
        await until_reported()
        await fails_since("10 minutes", 30)
        async with dispatching(app):
            await until_reported("failing")
        async with dispatching(app):
            await receiver.until(lambda: len(receiver.got) == 3)
        up = True
        async with dispatching(app):
            await until_reported("failing", "recovered")
            await settled(app, made.id)
        up = False
        await publisher.publish(noted(STORE))
        await fails_since("5 days", 18)
        async with dispatching(app):
            await until_reported("failing", "recovered", "failing")
        async with dispatching(app):
            await until_reported("failing", "recovered", "failing", "disabled")
            sent = len(receiver.got)
        async with dispatching(app) as [dispatcher], asyncio.timeout(10):
            while len(dispatcher._loaded) < SHARDS:
                await asyncio.sleep(0.05)
            assert not dispatcher._lines
    assert len(receiver.got) == sent
    assert await stored(app, "select doc::jsonb->>'disabled_because' from endpoints") == [("failing",)]


async def test_that_an_endpoint_is_back_is_reported_although_the_process_that_saw_it_has_died(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver(answer=lambda event: 500)
    async with receiving(receiver):
        await endpoint(app, receiver.url)
        await publisher.publish(noted(STORE))
        await app.fetch(
            "update cursors set failing_since = clock_timestamp() - interval '1 hour', failed_in_a_row = 30"
        )
        async with dispatching(app), asyncio.timeout(10):
            while not await stored(app, REPORTED):
                await asyncio.sleep(0.05)
        await app.fetch("update cursors set failing_since = null, failed_in_a_row = 0")
        async with dispatching(app), asyncio.timeout(10):
            while len(await stored(app, REPORTED)) < 2:
                await asyncio.sleep(0.05)
    assert await stored(app, REPORTED) == [("webhooks.endpoint_failing",), ("webhooks.endpoint_recovered",)]


async def test_a_dead_endpoint_delays_no_other_and_costs_no_rows(app: App, publisher: Publisher) -> None:
    dead, good = Receiver(delay_seconds=30), Receiver()
    async with receiving(dead, good):
        failing, made = await endpoint(app, dead.url), await endpoint(app, good.url)
        async with dispatching(app):
            await publisher.publish(*(noted(STORE) for _ in range(300)))
            await good.until(lambda: len(good.got) == 300, 10)
            await settled(app, made.id)
            assert await stored(app, "select count(*) from waiting") == [(0,)]
    assert (await stored(app, "select position from cursors where endpoint_id = $1", failing.id)) == [(0,)]
    assert dead.in_flight_max <= 8


class Series:
    """What /metrics shows of deliveries."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, name: str, **labels: str) -> float:
        value = self._app.registry.get_sample_value(f"tradewind_{name}", {"service": "webhooks", **labels})
        assert value is not None, name
        return value

    async def until(self, expected: float, name: str, **labels: str) -> None:
        async with asyncio.timeout(10):
            while self(name, **labels) != expected:
                await asyncio.sleep(0.01)


async def test_the_series_show_what_deliveries_do_and_the_age_of_a_dispatcher_that_cannot_work(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OBSERVE_SECONDS", "RENEW_SECONDS"):
        monkeypatch.setattr(dispatcher_module, name, 0.02)

    async def fails(self: App, *_: Any) -> Any:
        raise OSError("the database is away")

    down, up = Receiver(answer=lambda event: 503), Receiver()
    async with receiving(down, up):
        for receiver in (down, up):
            await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app):
            shown = Series(app)
            await shown.until(16, "shards_held")
            await publisher.publish(*(noted(STORE) for _ in range(20)))
            await shown.until(20, "delivery_attempts_total", outcome="delivered")
            await shown.until(5, "deliveries_waiting")
            await shown.until(1, "breakers_open")
            await shown.until(15, "delivery_lag", breaker="open")
            await shown.until(0, "delivery_lag", breaker="closed")
            assert shown("delivery_attempts_total", outcome="failed") == 5
            assert (shown("delivery_attempt_seconds_count"), shown("deliveries_in_flight")) == (25, 0)
            with monkeypatch.context() as patched:
                patched.setattr(App, "fetch", fails)
                async with asyncio.timeout(10):
                    while shown("dispatcher_age_seconds") < 1:
                        await asyncio.sleep(0.02)
            async with asyncio.timeout(10):
                while shown("dispatcher_age_seconds") > 0.5:
                    await asyncio.sleep(0.02)


async def test_an_endpoint_that_fails_is_probed_and_gets_everything_when_it_is_back(
    app: App, publisher: Publisher
) -> None:
    up = False
    receiver = Receiver(answer=lambda event: 200 if up else 503)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app) as [dispatcher]:
            await publisher.publish(*(noted(STORE) for _ in range(100)))
            await receiver.until(lambda: len(receiver.got) == 5)
            line = dispatcher._lines[made.id]
            async with asyncio.timeout(5):
                while not line.breaker.is_open:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            assert len(receiver.got) == 5 and (await stored(app, "select count(*) from waiting")) == [(5,)]
            up = True
            await receiver.until(lambda: len(receiver.accepted) == 100, 15)
            await settled(app, made.id)
    assert len({event["id"] for event in receiver.accepted}) == 100 == len(receiver.accepted)


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


async def test_a_receiver_that_asks_for_a_pause_gets_it(app: App, publisher: Publisher) -> None:
    busy = True
    receiver = Receiver(answer=lambda event: 429 if busy else 200, more={"retry-after": "1"})
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, in_flight=1)
        async with dispatching(app):
            await publisher.publish(*(noted(STORE) for _ in range(3)))
            await receiver.until(lambda: len(receiver.got) == 1)
            await asyncio.sleep(0.5)
            assert len(receiver.got) == 1
            busy = False
            await receiver.until(lambda: len(receiver.accepted) == 3)
            await settled(app, made.id)
    assert await stored(app, "select outcome, count(*) from attempts group by 1 order by 1") == [
        ("delivered", 3), ("returned", 1),
    ]  # fmt: skip


async def test_an_endpoint_that_answers_gone_is_disabled_and_keeps_its_place(app: App, publisher: Publisher) -> None:
    receiver = Receiver(answer=lambda event: 410)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            await publisher.publish(noted(STORE))
            async with asyncio.timeout(10):
                while await stored(app, "select 1 from endpoints where status = 'enabled'"):
                    await asyncio.sleep(0.05)
            await publisher.publish(noted(STORE))
            await asyncio.sleep(1.5)
    assert len(receiver.got) == 1
    assert await stored(app, "select position from cursors where endpoint_id = $1", made.id) == [(0,)]


@pytest.mark.usefixtures("_quick")
async def test_two_processes_share_the_endpoints_and_none_is_delivered_to_twice(app: App, publisher: Publisher) -> None:
    receivers = [Receiver() for _ in range(16)]
    async with receiving(*receivers):
        for receiver in receivers:
            await endpoint(app, receiver.url)
        async with dispatching(app, 2) as dispatchers:
            async with asyncio.timeout(10):
                while not all(len(one._loaded) == 8 for one in dispatchers):
                    await asyncio.sleep(0.05)
            orders = [uuid4() for _ in range(10)]
            for version in range(1, 6):
                await publisher.publish(*(noted(STORE, version=version, order_id=order) for order in orders))
            for receiver in receivers:
                await receiver.until(lambda receiver=receiver: len(receiver.got) == 50)  # type: ignore[misc]
    for receiver in receivers:
        assert len({got.id for got in receiver.got}) == 50 == len(receiver.got)
        assert all(versions(receiver, order) == [1, 2, 3, 4, 5] for order in orders)


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


@pytest.mark.parametrize("batch", [domain.Batch(), domain.Batch(max=2, wait_ms=100)])
async def test_a_crash_repeats_what_was_not_written_with_the_same_ids(
    app: App, publisher: Publisher, batch: domain.Batch
) -> None:
    """As kill -9 after the requests and before the flush: the next process finds no attempt."""
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=batch)
        dead = Dispatcher(app)
        unwritten, write = asyncio.Event(), dead._write

        async def killed(batch: Batch) -> None:
            if not receiver.got:
                return await write(batch)
            unwritten.set()
            await asyncio.Event().wait()

        dead._write = killed  # type: ignore[method-assign]
        running = asyncio.create_task(dead.run())
        await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in (1, 2, 3)))
        first = (
            3 if batch.max == 1 else 1
        )  # the second batch begins when the first has ended, and is not written before
        await receiver.until(lambda: len(receiver.got) == first)
        async with asyncio.timeout(5):
            await unwritten.wait()
        assert await stored(app, "select from attempts") == []
        dead._end = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await app.fetch("update shards set until = clock_timestamp()")  # the lease is over
        await app.fetch("delete from dispatchers")
        async with dispatching(app):
            await receiver.until(lambda: versions(receiver, A)[-1] == 3 and len(receiver.got) >= 2 * first)
            await settled(app, made.id)
    sent = [(got.id, got.body) for got in receiver.got]
    assert sent[:first] == sent[first : 2 * first]
    assert len({id for id, _ in sent}) == (3 if batch.max == 1 else 2)


async def none() -> None:
    pass


async def test_a_process_that_was_stopped_writes_and_sends_nothing_any_more(app: App, publisher: Publisher) -> None:
    """As SIGSTOP for longer than the lease: another one has delivered meanwhile."""
    receiver = Receiver()
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app) as [stopped]:
            async with asyncio.timeout(10):
                while made.id not in stopped._lines:
                    await asyncio.sleep(0.05)
            renew, stopped._shards.renew = stopped._shards.renew, none  # type: ignore[method-assign]
            await app.fetch("update shards set holder = gen_random_uuid(), term = term + 1")
            await publisher.publish(noted(STORE))
            await receiver.until(lambda: len(receiver.got) == 1)  # by its own clock it still holds the lease
            async with asyncio.timeout(10):
                while stopped._lines:
                    await asyncio.sleep(0.05)
            await publisher.publish(noted(STORE))
            await asyncio.sleep(0.5)
            assert len(receiver.got) == 1 and await stored(app, "select position from cursors") == [(0,)]
            await app.fetch("update shards set until = clock_timestamp()")  # the other process has ended
            stopped._shards.renew = renew  # type: ignore[method-assign]
            await receiver.until(lambda: len(receiver.got) == 3)
            await settled(app, made.id)
    assert len({got.id for got in receiver.got}) == 2


async def test_events_are_sent_again_on_request(app: App, publisher: Publisher) -> None:
    receiver = Receiver()
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        path = f"/v1/endpoints/{made.id}/replay"
        async with dispatching(app):
            await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in (1, 2, 3)))
            await receiver.until(lambda: len(receiver.got) == 3)
            await settled(app, made.id)
            body = {"from": "2020-01-01T00:00:00Z"}
            status, dry, _ = await client.call("POST", path, body | {"dry_run": True})
            assert (status, dry["count"], dry["replay_id"]) == (200, 3, None)
            assert (await client.call("POST", path, body | {"only": "missing", "dry_run": True}))[1]["count"] == 0
            status, begun, _ = await client.call("POST", path, body)
            assert (status, begun["status"]) == (202, "running")
            await receiver.until(lambda: len(receiver.got) == 6)
            async with asyncio.timeout(10):
                while (shown := await client.get(f"/v1/replays/{begun['replay_id']}"))[1]["status"] != "finished":
                    await asyncio.sleep(0.05)
            assert (shown[1]["delivered"], shown[1]["failed"], shown[1]["cursor"]) == (3, 0, begun["to"])
            _, page = await client.get("/v1/attempts", event_id=receiver.got[0].event["id"], endpoint=made.id)
            assert [one["replay_id"] for one in page["items"]] == [begun["replay_id"], None]
            status, _, _ = await client.call("POST", f"/v1/attempts/{page['items'][0]['id']}/resend")
            assert status == 202
            await receiver.until(lambda: len(receiver.got) == 7)
            status, tested, _ = await client.call("POST", f"/v1/endpoints/{made.id}/test", {"type": "orders.placed"})
            assert (status, tested["http_status"], tested["response"]) == (200, 200, "noted")
    again = receiver.got[3:6]
    assert [got.id for got in again] == [got.id for got in receiver.got[:3]]
    assert {got.headers["tradewind-replay"] for got in again} == {begun["replay_id"]}
    assert receiver.got[6].id == receiver.got[0].id
    assert receiver.got[7].event["type"] == "orders.placed"
    Webhook(made.secret).verify(receiver.got[7].body, receiver.got[7].headers)


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
            async with asyncio.timeout(20):
                while not await stored(app, "select 1 from waiting where exhausted and lane is not null"):
                    await asyncio.sleep(0.05)
            assert versions(receiver, A) == []
            up = True
            _, page = await client.get("/v1/attempts", status="exhausted")
            assert (await client.call("POST", f"/v1/attempts/{page['items'][0]['id']}/resend"))[0] == 202
            await receiver.until(lambda: versions(receiver, A) == [1, 2])
            await settled(app, made.id)
    assert await stored(app, "select count(*) from waiting") == [(0,)]


# -- batches ----------------------------------------------------------------------------------------------------------


def batches(receiver: Receiver, order: UUID) -> list[list[int]]:
    """The versions of an order in each request that has some."""
    of_requests = ([one["version"] for one in got.events if one["subject"] == str(order)] for got in receiver.got)
    return [found for found in of_requests if found]


async def test_a_batch_is_one_signed_request_and_each_of_its_events_is_found(app: App, publisher: Publisher) -> None:
    receiver = Receiver()
    client = Client(app, await app.keys.create(STORE, "viewer", ["webhooks.view"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=domain.Batch(max=3, wait_ms=200), payload="thin")
        async with dispatching(app):
            await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in (1, 2)))
            await publisher.publish(*(noted(STORE, version=version, order_id=B) for version in (1, 2)))
            await receiver.until(lambda: len(receiver.accepted) == 4)
            await settled(app, made.id)
        _, page = await client.get("/v1/attempts", order_id=B)
    full, rest = receiver.got
    assert [(len(got.events), got.headers["Content-Type"]) for got in (full, rest)] == [
        (3, "application/cloudevents-batch+json"), (1, "application/cloudevents-batch+json"),
    ]  # fmt: skip
    assert Webhook(made.secret).verify(full.body, full.headers) == full.event
    assert [(one["subject"], one["version"]) for one in receiver.accepted] == [
        (str(A), 1), (str(A), 2), (str(B), 1), (str(B), 2),
    ]  # fmt: skip
    assert [one.get_id() for one in full.cloud_events] == [one["id"] for one in full.events]
    assert "dataref" in full.events[0] and "data" not in full.events[0]
    assert {(one["event_id"], one["webhook_id"], one["events"]) for one in page["items"]} == {
        (full.events[2]["id"], full.id, 3), (rest.events[0]["id"], rest.id, 1),
    }  # fmt: skip
    assert await stored(app, "select position, open, batches from cursors") == [(4, [], [])]


@pytest.mark.usefixtures("_quick")
async def test_a_batch_that_fails_is_sent_again_as_it_was_and_holds_its_orders_alone(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver(answer=refusing(2, is_first_of_a))
    orders = [UUID(int=number) for number in range(3, 13)]
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=domain.Batch(max=4, wait_ms=50))
        async with dispatching(app):
            await publisher.publish(
                *(noted(STORE, version=version, order_id=one) for version in (1, 2) for one in (A, B))
            )
            await receiver.until(lambda: len(receiver.got) == 1)
            await publisher.publish(
                noted(STORE, version=3, order_id=A), *(noted(STORE, order_id=one) for one in orders)
            )
            await receiver.until(lambda: versions(receiver, A) == [1, 2, 3])
            await receiver.until(lambda: all(versions(receiver, one) == [1] for one in orders))
            await settled(app, made.id)
    assert batches(receiver, A) == [[1, 2], [1, 2], [1, 2], [3]] and batches(receiver, B) == [[1, 2]] * 3
    failed = [got for got in receiver.got if (got.events[0]["subject"], got.events[0]["version"]) == (str(A), 1)]
    assert len({(got.id, got.body) for got in failed}) == 1
    assert await stored(app, "select number, outcome, events from attempts where key = $1 and position <= 4 order by at", B) == [
        (1, "failed", 4), (1, "failed", 4), (2, "failed", 4), (2, "failed", 4), (3, "delivered", 4), (3, "delivered", 4),
    ]  # fmt: skip
    assert await stored(app, "select from waiting") == []


async def test_a_replay_sends_batches_of_its_own_and_a_resend_the_batch_that_was_sent(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver()
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=domain.Batch(max=2))
        async with dispatching(app):
            await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in range(1, 6)))
            await receiver.until(lambda: versions(receiver, A) == [1, 2, 3, 4, 5])
            await settled(app, made.id)
            sent = list(receiver.got)
            status, begun, _ = await client.call(
                "POST", f"/v1/endpoints/{made.id}/replay", {"from": "2020-01-01T00:00:00Z"}
            )
            assert status == 202
            await receiver.until(lambda: len(receiver.accepted) == 10)
            _, page = await client.get("/v1/attempts", event_id=sent[0].events[-1]["id"], endpoint=made.id)
            assert (await client.call("POST", f"/v1/attempts/{page['items'][-1]['id']}/resend"))[0] == 202
            await receiver.until(lambda: len(receiver.accepted) == 10 + len(sent[0].events))
            assert (await client.get(f"/v1/replays/{begun['replay_id']}"))[1]["delivered"] == 5
    assert [len(got.events) for got in receiver.got[len(sent) :]] == [2, 2, 1, len(sent[0].events)]
    assert (receiver.got[-1].id, receiver.got[-1].body) == (sent[0].id, sent[0].body)


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


# -- notices ----------------------------------------------------------------------------------------------------------


def disabled(endpoint_id: UUID, version: int = 1) -> EndpointDisabled:
    return EndpointDisabled(
        endpoint_id=endpoint_id, store_id=STORE, version=version, host="example.com", because="request", operation_id=uuid4()
    )  # fmt: skip


@pytest.mark.usefixtures("_quick")
async def test_notices_of_an_endpoint_go_to_its_notify_url_also_while_it_is_disabled(
    app: App, publisher: Publisher
) -> None:
    receiver, noticed = Receiver(), Receiver(answer=refusing(1))
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver, noticed):
        made = await endpoint(
            app, receiver.url, notify_url=noticed.url, types=("orders.*",), batch=domain.Batch(max=10),
            auth=lambda seal: HeadersAuth(headers={"x-api-key": seal("of-the-receiver")}),
        )  # fmt: skip
        assert (await client.call("POST", f"/v1/endpoints/{made.id}/disable"))[0] == 200
        async with dispatching(app):
            await publisher.publish(noted(STORE), disabled(uuid4()), disabled(made.id))
            await noticed.until(lambda: len(noticed.accepted) == 1)
            await settled(app, notices_id(made.id))
            _, page = await client.get("/v1/attempts", endpoint=made.id)
            assert [(one["outcome"], one["notice"], one["subject"]) for one in page["items"]] == [
                ("delivered", True, str(made.id)), ("failed", True, str(made.id)),
            ]  # fmt: skip
            status, replay, _ = await client.call("POST", f"/v1/attempts/{page['items'][0]['id']}/resend")
            assert (status, replay["endpoint_id"]) == (202, str(made.id))
            await noticed.until(lambda: len(noticed.got) == 3)
    assert receiver.got == []
    first, *_ = noticed.got
    assert {(got.id, got.body) for got in noticed.got} == {(first.id, first.body)}
    assert (first.event["type"], first.event["subject"]) == ("webhooks.endpoint_disabled", str(made.id))
    assert Webhook(made.secret).verify(first.body, first.headers) and "x-api-key" not in {
        *map(str.lower, first.headers)
    }


async def test_a_notify_url_that_fails_or_is_gone_disables_nothing_and_is_no_notice(
    app: App, publisher: Publisher
) -> None:
    receiver, noticed = Receiver(), Receiver(answer=lambda event: 410)
    async with receiving(receiver, noticed):
        made = await endpoint(app, receiver.url, notify_url=noticed.url)
        async with dispatching(app):
            await publisher.publish(disabled(made.id), noted(STORE))
            await receiver.until(lambda: len(receiver.accepted) == 2)
            await noticed.until(lambda: len(noticed.got) == 1)
            await settled(app, made.id)
    assert len({got.id for got in (*receiver.got, *noticed.got)}) == 3  # its own deliveries have other ids
    assert await stored(app, "select status from endpoints") == [("enabled",)]
    assert (
        await stored(
            app, "select from journal where type in ('webhooks.endpoint_disabled', 'webhooks.endpoint_failing')"
        )
        == []
    )


async def test_too_many_events_that_wait_open_the_breaker_and_fewer_close_it(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WAITING_MAX", 2)
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (2.0,) * 9)
    refused = [uuid4() for _ in range(3)]
    up = False
    receiver = Receiver(answer=lambda event: 200 if up or UUID(event["subject"]) not in refused else 500)
    client = Client(app, await app.keys.create(STORE, "viewer", ["webhooks.view"]))

    async def breaker() -> Any:
        return (await client.get(f"/v1/endpoints/{made.id}"))[1]["breaker"]

    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            assert await breaker() is None
            await publisher.publish(
                *(noted(STORE, order_id=order) for order in (*refused, A, *(uuid4() for _ in refused)))
            )
            await receiver.until(lambda: len(receiver.got) == 7)
            async with asyncio.timeout(10):
                while (found := await breaker()) is None:
                    await asyncio.sleep(0.05)
            assert found["because"] == "waiting"
            [[position]] = await stored(app, "select position from cursors")
            await publisher.publish(noted(STORE, order_id=B))
            await asyncio.sleep(0.5)
            assert versions(receiver, B) == [] and await stored(app, "select position from cursors") == [(position,)]
            up = True
            await receiver.until(lambda: versions(receiver, B) == [1])
            await settled(app, made.id)
            assert await breaker() is None
