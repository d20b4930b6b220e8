"""Events are sent again on request: paused, cancelled, across the death of a process; on a real PostgreSQL and real sockets.

Needs `WEBHOOKS_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from standardwebhooks import Webhook
from webhooks_delivery import REAL, STORE, A, Made, Receiver, dispatching, endpoint, receiving, settled, stored
from webhooks_feed import Client, Publisher, noted

from chassis.process.app import App
from tests.waiting import patience
from webhooks.delivery.dispatcher import Dispatcher
from webhooks.delivery.log import Batch
from webhooks.domain import attempts

pytestmark = REAL
ALL = {"from": "2020-01-01T00:00:00Z"}
EVENTS = 24
SLOW_SECONDS = 2
"""The rest of a replay takes so much longer than the dispatcher needs to see that it is to end."""


@pytest_asyncio.fixture
async def client(app: App) -> Client:
    return Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit", "events.view"]))


@asynccontextmanager
async def delivered(app: App, publisher: Publisher, receiver: Receiver, **config: Any) -> AsyncIterator[Made]:
    """An endpoint that has had EVENTS events, and nothing that delivers."""
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, **config)
        await publisher.publish(*(noted(STORE, version=1) for _ in range(EVENTS)))
        async with dispatching(app):
            await settled(app, made.id)
        yield made


async def test_events_are_sent_again_on_request(app: App, publisher: Publisher, client: Client) -> None:
    receiver = Receiver()
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
            async with patience():
                while (shown := await client.get(f"/v1/replays/{begun['replay_id']}"))[1]["status"] != "finished":
                    await asyncio.sleep(0.05)
            assert (shown[1]["delivered"], shown[1]["failed"], shown[1]["cursor"]) == (3, 0, begun["to"])
            _, page = await client.get("/v1/attempts", event_id=receiver.got[0].event["id"], endpoint=made.id)
            assert [one["replay_id"] for one in page["items"]] == [begun["replay_id"], None]
            again, first = page["items"]
            for filters, found in (
                ({"type": "orders.note_added", "until": again["at"]}, 1),
                ({"type": "orders.note_added", "since": first["at"]}, 2),
                ({"type": "orders.placed"}, 0),
            ):
                _, some = await client.get("/v1/attempts", event_id=first["event_id"], **filters)
                assert len(some["items"]) == found, filters
            status, _, _ = await client.call("POST", f"/v1/attempts/{page['items'][0]['id']}/resend")
            assert status == 202
            await receiver.until(lambda: len(receiver.got) == 7)
            _, page = await client.get("/v1/replays", endpoint=made.id, limit=1)
            assert [one["only"] for one in page["items"]] == ["one"]
            _, page = await client.get("/v1/replays", endpoint=made.id, cursor=page["next_cursor"])
            assert [one["replay_id"] for one in page["items"]] == [begun["replay_id"]]
            assert (await client.get("/v1/replays", endpoint=uuid4()))[1]["items"] == []
            status, tested, _ = await client.call("POST", f"/v1/endpoints/{made.id}/test", {"type": "orders.placed"})
            assert (status, tested["http_status"], tested["response"]) == (200, 200, "noted")
    again = receiver.got[3:6]
    assert [got.id for got in again] == [got.id for got in receiver.got[:3]]
    assert {got.headers["tradewind-replay"] for got in again} == {begun["replay_id"]}
    assert receiver.got[6].id == receiver.got[0].id
    assert receiver.got[7].event["type"] == "orders.placed"
    Webhook(made.secret).verify(receiver.got[7].body, receiver.got[7].headers)


async def begun(client: Client, made: Made, **body: Any) -> str:
    """Returns the id of a replay."""
    status, shown, _ = await client.call("POST", f"/v1/endpoints/{made.id}/replay", ALL | body)
    assert status == 202, shown
    replay_id: str = shown["replay_id"]
    return replay_id


async def until_ended(client: Client, replay_id: str) -> Any:
    async with patience():
        while (shown := await client.get(f"/v1/replays/{replay_id}"))[1]["status"] != "finished":
            await asyncio.sleep(0.05)
    return shown[1]


async def asked(client: Client, replay_id: str, what: str) -> str:
    """Pause, resume or cancel; returns the status."""
    status, shown, _ = await client.call("POST", f"/v1/replays/{replay_id}/{what}")
    assert status == 200, shown
    found: str = shown["status"]
    return found


async def until_still(dispatcher: Dispatcher) -> None:
    """Wait until no replay is under way."""
    async with patience():
        while dispatcher._replays:
            await asyncio.sleep(0.02)


async def test_a_replay_is_paused_goes_on_and_is_cancelled_while_deliveries_go_on(
    app: App, publisher: Publisher, client: Client
) -> None:
    receiver = Receiver()
    async with delivered(app, publisher, receiver, in_flight=2) as made:
        receiver.delay_seconds = 0.05
        async with dispatching(app) as [dispatcher]:
            replay_id = await begun(client, made)
            await receiver.until(lambda: len(receiver.got) >= EVENTS + 3)
            receiver.delay_seconds = SLOW_SECONDS
            assert await asked(client, replay_id, "pause") == "paused"
            await until_still(dispatcher)
            receiver.delay_seconds = 0.05
            paused_at = len(receiver.got)
            assert paused_at < 2 * EVENTS
            await publisher.publish(noted(STORE))  # beyond the end of the replay
            await settled(app, made.id)
            assert len(receiver.got) == paused_at + 1
            assert await asked(client, replay_id, "resume") == "running"
            shown = await until_ended(client, replay_id)
            assert (shown["delivered"], shown["failed"]) == (EVENTS, 0)
            assert len(receiver.got) == 2 * EVENTS + 1  # nothing twice, and the end was fixed when it began
            assert await asked(client, replay_id, "cancel") == "finished"

            cancelled = await begun(client, made)
            await receiver.until(lambda: len(receiver.got) >= 2 * EVENTS + 4)
            receiver.delay_seconds = SLOW_SECONDS
            assert await asked(client, cancelled, "cancel") == "cancelled"
            await until_still(dispatcher)
            receiver.delay_seconds = 0.05
            assert await asked(client, cancelled, "resume") == "cancelled"
            sent = len(receiver.got)
            await publisher.publish(noted(STORE))
            await settled(app, made.id)
            assert len(receiver.got) == sent + 1 < 3 * EVENTS
    times = Counter(got.id for got in receiver.got)
    assert set(times.values()) == {1, 2, 3} and len(times) == EVENTS + 2


async def test_a_replay_has_at_most_half_of_the_requests(app: App, publisher: Publisher, client: Client) -> None:
    receiver = Receiver()
    async with delivered(app, publisher, receiver, in_flight=5) as made:
        receiver.delay_seconds, receiver.in_flight_max = 0.02, 0
        async with dispatching(app):
            await until_ended(client, await begun(client, made))
            assert receiver.in_flight_max == 2
            await publisher.publish(*(noted(STORE) for _ in range(EVENTS)))
            await settled(app, made.id)
    assert receiver.in_flight_max == 5


async def test_a_replay_as_new_has_other_ids_and_keeps_them_when_it_is_sent_again(
    app: App, publisher: Publisher, client: Client
) -> None:
    receiver = Receiver()
    async with delivered(app, publisher, receiver) as made:
        async with dispatching(app):
            for as_new in (False, True, True):
                await until_ended(client, await begun(client, made, as_new=as_new))
    first, same, new, newer = ({got.id for got in receiver.got[n * EVENTS : (n + 1) * EVENTS]} for n in range(4))
    assert first == same and len(first | new | newer) == 3 * EVENTS
    events = [sorted(got.event["id"] for got in receiver.got[n * EVENTS : (n + 1) * EVENTS]) for n in range(4)]
    assert events[0] == events[1] == events[2] == events[3]
    replays = [
        {got.headers.get("tradewind-replay") for got in receiver.got[n * EVENTS : (n + 1) * EVENTS]} for n in range(4)
    ]
    assert replays[0] == {None} and len(set().union(*replays)) == 4


async def test_only_what_failed_or_what_is_missing_is_sent_again(
    app: App, publisher: Publisher, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One order is exhausted, one waits for its retry, one was passed over while the endpoint was disabled."""
    exhausted, waits, passed, fine = (uuid4() for _ in range(4))
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (0.05,) * 3)  # exhausted before the breaker opens
    refused = {str(exhausted)}
    receiver = Receiver(answer=lambda event: 500 if event["subject"] in refused else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        path = f"/v1/endpoints/{made.id}"
        async with dispatching(app) as [dispatcher]:
            for version in range(1, 5):  # others succeed, so that the breaker stays closed
                await publisher.publish(noted(STORE, version=version, order_id=fine))
                await publisher.publish(*[noted(STORE, order_id=exhausted)] * (version == 1))
                await settled(app, made.id)
            assert await counts(client, made) == {"failed": 1, "missing": 1}
            refused.discard(str(exhausted))
            before = len(receiver.got)
            shown = await until_ended(client, await begun(client, made, only="failed"))
            assert (shown["delivered"], shown["failed"]) == (1, 0)
            assert await counts(client, made) == {"failed": 0, "missing": 0}

            assert (await client.call("POST", f"{path}/disable"))[0] == 200
            async with patience():
                while dispatcher._lines:
                    await asyncio.sleep(0.02)
            await publisher.publish(noted(STORE, order_id=passed))
            assert (await client.call("POST", f"{path}/enable", {"from": "now"}))[0] == 200
            monkeypatch.setattr(attempts, "RETRY_SECONDS", (3_600,))
            refused.add(str(waits))
            await publisher.publish(noted(STORE, order_id=waits))
            await receiver.until(lambda: receiver.got[-1].event["subject"] == str(waits))
            assert await counts(client, made) == {"failed": 0, "missing": 1}
            shown = await until_ended(client, await begun(client, made, only="missing"))
            assert (shown["delivered"], shown["failed"]) == (1, 0)
    again = [got.event["subject"] for got in receiver.got[before:] if "tradewind-replay" in got.headers]
    assert again == [str(exhausted), str(passed)]
    assert (
        await stored(app, "select 1 from feed f join waiting w on w.position = f.position where f.key = $1", exhausted)
        == []
    )


async def counts(client: Client, made: Made) -> dict[str, int]:
    """How many events a replay would send."""
    path, found = f"/v1/endpoints/{made.id}/replay", dict[str, int]()
    for only in ("failed", "missing"):
        status, dry, _ = await client.call("POST", path, ALL | {"only": only, "dry_run": True})
        assert status == 200, dry
        found[only] = dry["count"]
    return found


async def test_what_waits_is_left_to_its_retry_so_that_no_later_event_of_its_order_comes_first(
    app: App, publisher: Publisher, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay leaves out an event that fails; the next one of the order would pass it."""
    monkeypatch.setattr(attempts, "RETRY_SECONDS", (3_600,))
    waits, fine = uuid4(), uuid4()
    receiver = Receiver(answer=lambda event: 500 if (event["subject"], event["version"]) == (str(waits), 1) else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            for order in (waits, fine):
                await publisher.publish(*(noted(STORE, version=version, order_id=order) for version in (1, 2)))
            await receiver.until(lambda: len(receiver.accepted) == 2)
            async with patience():
                while await stored(app, "select position, open from cursors") != [(4, [])]:
                    await asyncio.sleep(0.02)
            _, dry, _ = await client.call("POST", f"/v1/endpoints/{made.id}/replay", ALL | {"dry_run": True})
            shown = await until_ended(client, await begun(client, made))
    assert (dry["count"], shown["delivered"], shown["failed"]) == (2, 2, 0)
    assert {event["subject"] for event in receiver.accepted} == {str(fine)}


async def test_a_replay_goes_on_where_the_process_that_sent_it_has_died(
    app: App, publisher: Publisher, client: Client
) -> None:
    """As kill -9: what was in flight or not written is sent once more, under its id; one slow request holds up no other."""
    receiver = Receiver()
    async with delivered(app, publisher, receiver, in_flight=4, order="none") as made:
        slow, released = receiver.got[0].event["id"], asyncio.Event()
        receiver.holds = lambda event: released.wait() if event["id"] == slow else None
        dead = Dispatcher(app)
        running = asyncio.create_task(dead.run())
        replay_id = await begun(client, made)
        await receiver.until(lambda: len(receiver.got) == 2 * EVENTS - 1)  # all but the slow one
        async with patience():
            while (await stored(app, "select delivered from replays")) != [(EVENTS - 1,)]:
                await asyncio.sleep(0.02)
        await kill(app, dead, running)
        released.set()
        async with dispatching(app):
            shown = await until_ended(client, replay_id)
    assert (shown["delivered"], shown["failed"]) == (EVENTS, 0)
    times = Counter(got.id for got in receiver.got)
    assert len(times) == EVENTS and sum(times.values()) <= 2 * EVENTS + 1


async def test_what_was_not_written_of_a_replay_is_repeated_and_counted_once(
    app: App, publisher: Publisher, client: Client
) -> None:
    receiver = Receiver()
    async with delivered(app, publisher, receiver) as made:
        dead, unwritten = Dispatcher(app), asyncio.Event()

        async def killed(batch: Batch) -> None:
            unwritten.set()
            await asyncio.Event().wait()

        replay_id = await begun(client, made)
        dead._writing._write = killed  # type: ignore[method-assign]
        running = asyncio.create_task(dead.run())
        await receiver.until(lambda: len(receiver.got) == 2 * EVENTS)
        async with patience():
            await unwritten.wait()
        await kill(app, dead, running)
        async with dispatching(app):
            shown = await until_ended(client, replay_id)
    assert (shown["delivered"], shown["failed"]) == (EVENTS, 0)
    assert Counter(Counter(got.id for got in receiver.got).values()) == {3: EVENTS}


async def kill(app: App, dispatcher: Dispatcher, running: asyncio.Task[None]) -> None:
    """End a dispatcher as kill -9 does: nothing of it is written, and its lease expires."""
    dispatcher._end = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await dispatcher._sender.close()
    await app.fetch("update shards set until = clock_timestamp()")
    await app.fetch("delete from dispatchers")


async def test_a_receiver_that_asks_for_a_pause_loses_no_event_of_a_replay(
    app: App, publisher: Publisher, client: Client
) -> None:
    receiver = Receiver()
    async with delivered(app, publisher, receiver, in_flight=4) as made:
        busy = True
        receiver.answer = lambda event: 429 if busy else 200
        receiver.more = {"retry-after": "1"}
        async with dispatching(app):
            replay_id = await begun(client, made)
            await receiver.until(lambda: len(receiver.got) >= EVENTS + 2)
            busy = False
            shown = await until_ended(client, replay_id)
    assert (shown["delivered"], shown["failed"]) == (EVENTS, 0)


async def test_an_endpoint_that_answers_a_replay_with_gone_is_disabled(
    app: App, publisher: Publisher, client: Client
) -> None:
    receiver = Receiver()
    async with delivered(app, publisher, receiver, in_flight=2) as made:
        receiver.answer = lambda event: 410
        async with dispatching(app):
            await begun(client, made)
            async with patience():
                while (await client.get(f"/v1/endpoints/{made.id}"))[1]["disabled_because"] != "gone":
                    await asyncio.sleep(0.05)
    assert len(receiver.got) == EVENTS + 1


async def test_a_replay_finds_out_that_a_receiver_is_back_although_nothing_else_is_to_be_sent(
    app: App, publisher: Publisher, client: Client
) -> None:
    """Its breaker is open, and no event is left that a probe could be."""
    receiver = Receiver()
    async with delivered(app, publisher, receiver) as made:
        await app.fetch("update cursors set failing_since = clock_timestamp() - interval '1 hour', failed_in_a_row = 9")
        async with dispatching(app):
            shown = await until_ended(client, await begun(client, made))
            assert (shown["delivered"], shown["failed"]) == (EVENTS, 0)
    assert await stored(app, "select failing_since, failed_in_a_row from cursors") == [(None, 0)]
