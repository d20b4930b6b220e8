"""The feed on a real PostgreSQL: one order without gaps, read by pages and as a stream; needs `WEBHOOKS_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import anyio
import pytest
import pytest_asyncio
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import Executable
from webhooks_feed import Client, Publisher, events_of, noted

from chassis.batch.statements import write_rows
from chassis.process.app import App
from tests.databases import empty, migrated
from tests.waiting import PATIENCE_SECONDS, patience
from webhooks import feed, invariants, retention
from webhooks.handlers import SERVICE
from webhooks.reading import Reader, Selection
from webhooks.settings import Settings
from webhooks.streams import BEHIND_READERS_MAX, Streams
from webhooks.tables import PARTITION_ROWS

URL = os.environ.get("WEBHOOKS_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="WEBHOOKS_TEST_DATABASE_URL is not set")]
TABLES = ("feed", "feed_epochs", "order_facts", "inbox", "parked", "parked_keys")


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    await migrated(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL, streams_max=2), "api")
    async with app.database.connection() as connection:
        await empty(connection, TABLES)
        await connection.execute("update feed_head set epoch = 0, position = 0, certificate = ''")
    yield app
    app.end_soon()
    await app.database.close()


@pytest_asyncio.fixture
async def publisher(app: App) -> Publisher:
    publisher = Publisher(app)
    await publisher.begin("first")
    return publisher


@pytest_asyncio.fixture
async def client(app: App) -> Client:
    return Client(app, await app.keys.create("st_1", "reader", ["events.view", "personal.view"]))


async def test_every_event_is_read_once_in_its_order_by_pages(publisher: Publisher, client: Client) -> None:
    events = [noted("st_1") for _ in range(7)]
    await publisher.publish(*events[:4])
    await publisher.publish(*events[4:])
    shown: list[str] = []
    query: dict[str, str] = {}
    for _ in range(4):
        status, page = await client.get("/v1/events", limit=3, **query)
        assert status == 200
        shown += [one["subject"] for one in page["items"]]
        query = {"after": page["next_cursor"]}
    assert shown == [str(event.order_id) for event in events]
    assert (page["items"], page["next_cursor"]) == ([], page["head"])


async def test_an_event_is_a_cloud_event_with_the_body_that_was_published(publisher: Publisher, client: Client) -> None:
    event = noted("st_1", version=3)
    record = publisher.record(event)
    await publisher.take(record)
    _, page = await client.get("/v1/events")
    [shown] = page["items"]
    stated = {name: value.decode() for name, value in record.headers}
    assert {name: shown[name] for name in ("specversion", "id", "source", "type", "subject", "storeid", "version")} == {
        "specversion": "1.0", "id": stated["ce_id"], "source": "orders", "type": "orders.note_added",
        "subject": str(event.order_id), "storeid": "st_1", "version": 3,
    }  # fmt: skip
    assert shown["dataschema"] == stated["ce_dataschema"]
    assert datetime.fromisoformat(shown["time"]) == datetime.fromisoformat(stated["ce_time"])
    assert shown["data"] == json.loads(record.value)
    assert await client.get(f"/v1/events/{shown['id']}") == (200, shown)


async def test_a_key_of_one_store_reads_nothing_of_another(app: App, publisher: Publisher, client: Client) -> None:
    await publisher.publish(noted("st_2"), noted("st_1"), noted("st_2"))
    _, page = await client.get("/v1/events")
    assert [one["storeid"] for one in page["items"]] == ["st_1"]
    other = Client(app, await app.keys.create("st_2", "other", ["events.view"]))
    assert (await other.get(f"/v1/events/{page['items'][0]['id']}"))[0] == 404
    blind = Client(app, await app.keys.create("st_2", "blind", ["orders.view"]))
    assert (await blind.get("/v1/events"))[1]["type"] == "/problems/scope_missing"


async def test_personal_values_are_hidden_without_the_scope_and_unknown_bodies_with_them(
    app: App, publisher: Publisher
) -> None:
    await publisher.publish(noted("st_1", "her son answers the door"))
    unknown = publisher.record(b'{"name": "Ann", "version": 4}', type="orders.teleported", key=uuid4(), store="st_1")
    await publisher.take(unknown)
    plain = Client(app, await app.keys.create("st_1", "plain", ["events.view"]))
    _, page = await plain.get("/v1/events")
    assert [one["data"] and one["data"]["text"] for one in page["items"]] == ["***", None]
    trusted = Client(app, await app.keys.create("st_1", "trusted", ["events.view", "personal.view"]))
    _, page = await trusted.get("/v1/events")
    assert page["items"][0]["data"]["text"] == "her son answers the door"
    assert (page["items"][1]["data"], page["items"][1]["version"]) == ({"name": "Ann", "version": 4}, 4)


async def test_types_are_chosen_by_name_or_by_service_and_a_misspelt_one_is_refused(
    publisher: Publisher, client: Client
) -> None:
    await publisher.publish(noted("st_1"))
    await publisher.take(publisher.record(b"{}", type="payments.teleported", key=uuid4(), store="st_1"))
    for types, count in (("orders.note_added", 1), ("orders.*", 1), ("payments.*", 1), ("orders.placed", 0)):
        _, page = await client.get("/v1/events", types=types)
        assert (len(page["items"]), page["next_cursor"]) == (count, page["head"]), types
    status, problem = await client.get("/v1/events", types="orders.note_aded")
    assert status == 422
    assert "orders.note_added" in problem["detail"]


async def test_a_read_waits_for_the_next_event(publisher: Publisher, client: Client) -> None:
    _, page = await client.get("/v1/events")
    waiting = asyncio.create_task(client.get("/v1/events", after=page["head"], wait=25))
    other = asyncio.create_task(client.get("/v1/events", after=page["head"], wait=25, types="orders.placed"))
    await publisher.publish(noted("st_1"))
    async with patience():
        assert len((await waiting)[1]["items"]) == 1
    assert not other.done()
    other.cancel()


async def test_readers_that_leave_while_they_wait_disturb_no_other(app: App, publisher: Publisher) -> None:
    reader, all_of_st_1 = Reader(app), Selection("st_1", ())
    head = await reader.head()
    stays = asyncio.create_task(reader.page_or_wait(head, all_of_st_1, 10, PATIENCE_SECONDS))

    async def leaves_after(turns: int) -> None:
        """As a stream whose client disconnects: in a scope that is cancelled."""
        async with anyio.create_task_group() as stream:
            stream.start_soon(reader.page_or_wait, head, all_of_st_1, 10, PATIENCE_SECONDS)
            for _ in range(turns):
                await asyncio.sleep(0)
            stream.cancel_scope.cancel()

    for one, other in product(range(5), repeat=2):
        await asyncio.gather(leaves_after(one), leaves_after(other))
    await publisher.publish(noted("st_1"))
    async with patience():
        assert len((await stays).events) == 1


async def test_streams_that_have_caught_up_read_the_database_once_for_all(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, streams = Reader(app), Streams(Reader(app), at_most=10)
    head = await reader.head()
    following = [streams.events(("st_1", "key"), head, types, personal=True) for types in ((), ("orders.*",))]

    await publisher.publish(noted("st_1"))
    async with patience():
        firsts = await asyncio.gather(*map(_next_event, following))
        reads: list[object] = []
        monkeypatch.setattr(App, "read", lambda app, statement: reads.append(statement))
        await publisher.publish(noted("st_1"), noted("st_2"))
        seconds = await asyncio.gather(*map(_next_event, following))
    for chunks in (firsts, seconds):
        assert len(set(chunks)) == 1 and len(events_of([chunks[0]])) == 1
    assert reads == []
    for stream in following:
        await stream.aclose()


async def _next_event(stream: AsyncIterator[bytes]) -> bytes:
    while not events_of([chunk := await anext(stream)]):
        pass
    return chunk


async def test_streams_that_are_behind_leave_connections_to_other_reads(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publisher.publish(noted("st_1"))
    at_once: list[int] = []
    reading, read = 0, App.read

    async def counted(self: App, statement: Executable) -> Sequence[RowMapping]:
        nonlocal reading
        reading += 1
        at_once.append(reading)
        try:
            return await read(self, statement)
        finally:
            reading -= 1

    monkeypatch.setattr(App, "read", counted)
    streams = Streams(Reader(app), at_most=10)
    head = await Reader(app).head()
    behind = [streams.events(("st_1", "key"), head._replace(position=0), (), personal=True) for _ in range(10)]
    async with patience():
        await asyncio.gather(*map(_next_event, behind))
    assert max(at_once) == BEHIND_READERS_MAX
    for stream in behind:
        await stream.aclose()


async def test_a_stream_ends_when_the_database_is_restored_and_the_next_one_says_so(
    app: App, publisher: Publisher, client: Client
) -> None:
    await publisher.publish(noted("st_1"), noted("st_1"))
    chunks: list[bytes] = []
    async with client.stream("/v1/events") as messages, patience():
        await anext(messages)
        while len(events_of(chunks)) < 2:
            chunks.append((await anext(messages))["body"])
        async with app.database.connection() as connection:  # as a backup had it after the first event
            await connection.execute("delete from feed where position > 1")
            await connection.execute("update feed_head set position = 1")
        await publisher.begin("restored")
        again = [noted("st_1") for _ in range(3)]
        await publisher.publish(*again)
        chunks += [message.get("body", b"") async for message in messages]  # the stream ends by itself
    assert len(events_of(chunks)) == 2
    _, page, headers = await client.answer("/v1/events", after=events_of(chunks)[-1]["id"])
    assert [one["subject"] for one in page["items"]] == [str(event.order_id) for event in again]
    assert headers["tradewind-rewound"] == "true"


async def test_a_stream_shows_what_is_there_and_what_comes_and_is_taken_up_where_it_ended(
    app: App, publisher: Publisher, client: Client
) -> None:
    await publisher.publish(noted("st_1"))
    chunks: list[bytes] = []
    async with client.stream("/v1/events") as messages:
        start = await anext(messages)
        assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
        later = noted("st_1")
        async with patience():
            while len(events_of(chunks)) < 2:
                chunks.append((await anext(messages))["body"])
                if len(events_of(chunks)) == 1:
                    await publisher.publish(later)
    first, second = events_of(chunks)
    assert json.loads(second["data"])["subject"] == str(later.order_id)
    assert (first["event"], first["id"]) == ("orders.note_added", json.loads(first["data"])["cursor"])
    chunks.clear()
    async with client.stream("/v1/events", more={"last-event-id": first["id"]}) as messages:
        async with patience():
            await anext(messages)
            while not events_of(chunks):
                chunks.append((await anext(messages))["body"])
    assert events_of(chunks) == [second]


async def test_a_key_has_as_many_streams_as_it_may(app: App, client: Client) -> None:
    async with client.stream("/v1/events") as one, client.stream("/v1/events") as two:
        for messages in (one, two):
            assert (await anext(messages))["status"] == 200
            await anext(messages)
        async with client.stream("/v1/events") as three:
            assert (await anext(three))["status"] == 429
    async with client.stream("/v1/events") as again:
        assert (await anext(again))["status"] == 200


async def test_positions_have_no_gap_and_no_reader_sees_one_while_four_write_and_some_roll_back(
    app: App, publisher: Publisher
) -> None:
    """A reader that reads beyond a position that is committed later would miss its event for ever."""
    rng, written = random.Random(1), 0

    async def writer(count: int) -> None:
        nonlocal written
        for _ in range(count):
            events = [publisher.record(noted("st_1")) for _ in range(rng.randint(1, 9))]
            entries = [feed.fold(one.listened) for one in (await publisher.decoder.decode(events)).entries]
            rolls_back = rng.random() < 0.1
            try:
                async with app.database.transaction() as tx:
                    await write_rows(tx, feed.write(entries))
                    await asyncio.sleep(rng.choice((0, 0.002)))
                    if rolls_back:
                        raise RuntimeError
            except RuntimeError:
                continue
            written += len(events)

    async def reader() -> int:
        after = 0
        while not done.is_set() or after < written:
            async with app.database.connection() as connection:
                rows = await connection.fetch("select position from feed where position > $1 order by position", after)
            assert [row["position"] for row in rows] == list(range(after + 1, after + 1 + len(rows)))
            after += len(rows)
            await asyncio.sleep(0)
        return after

    done = asyncio.Event()
    reading = asyncio.create_task(reader())
    await asyncio.gather(*(writer(40) for _ in range(4)))
    done.set()
    assert await reading == written
    async with app.database.connection() as connection:
        assert [(name, violated) for name, _, violated in await invariants.check(connection) if violated] == []


async def test_a_restored_feed_repeats_events_and_says_so(app: App, publisher: Publisher, client: Client) -> None:
    await publisher.publish(*(noted("st_1") for _ in range(4)))
    _, before = await client.get("/v1/events", limit=3)
    async with app.database.connection() as connection:  # as a backup had it after the second event
        await connection.execute("delete from feed where position > 2")
        await connection.execute("update feed_head set position = 2")
    await publisher.begin("restored")
    again = [noted("st_1"), noted("st_1")]
    await publisher.publish(*again)
    status, page, headers = await client.answer("/v1/events", after=before["next_cursor"])
    assert (status, headers["tradewind-rewound"]) == (200, "true")
    assert [one["subject"] for one in page["items"]] == [str(event.order_id) for event in again]
    _, _, headers = await client.answer("/v1/events", after=page["next_cursor"])
    assert "tradewind-rewound" not in headers


async def test_a_restart_without_loss_repeats_nothing(publisher: Publisher, client: Client) -> None:
    await publisher.publish(noted("st_1"))
    _, before = await client.get("/v1/events")
    await publisher.begin("restarted")
    await publisher.publish(noted("st_1"))
    _, page, headers = await client.answer("/v1/events", after=before["next_cursor"])
    assert (len(page["items"]), "tradewind-rewound" in headers) == (1, False)


async def test_a_time_is_a_place(app: App, publisher: Publisher, client: Client) -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    await publisher.publish(*(noted("st_1") for _ in range(9)))
    async with app.database.connection() as connection:
        await connection.execute("update feed set at = $1::timestamptz + make_interval(mins => position::int)", noon)
    for minutes, left in ((0, 9), (1, 9), (2, 8), (9, 1), (10, 0)):
        _, cursor = await client.get("/v1/cursors", at=(noon + timedelta(minutes=minutes)).isoformat())
        _, page = await client.get("/v1/events", after=cursor["cursor"])
        assert len(page["items"]) == left, minutes
    _, now = await client.get("/v1/cursors")
    assert (await client.get("/v1/events", after=now["cursor"]))[1]["items"] == []


async def test_whole_partitions_are_dropped_and_a_place_before_the_oldest_event_is_refused_with_its_cursor(
    app: App, publisher: Publisher, client: Client
) -> None:
    await publisher.publish(noted("st_1"))
    _, early = await client.get("/v1/events", limit=1)
    async with app.database.connection() as connection:
        await connection.execute("update feed_head set position = $1", 2 * PARTITION_ROWS - 2)
    await publisher.publish(noted("st_1"), noted("st_1"))
    async with app.database.transaction() as tx:
        await retention.create_ahead(tx)
        assert await retention.drop_old(tx, 30) == [0]  # the test's partition 0 has no last event; 1 is young
        assert await tx.fetchval("select count(*) from pg_class where relname in ('feed_3', 'feed_4')") == 2
        assert await retention.drop_old(tx, 0) == [1]
    status, problem = await client.get("/v1/events", after=early["next_cursor"])
    assert (status, problem["type"]) == (410, "/problems/beyond_retention")
    _, page = await client.get("/v1/events", after=problem["oldest_cursor"])
    assert [one["storeid"] for one in page["items"]] == ["st_1"]
    async with app.database.connection() as connection:
        for number in (0, 1):
            await connection.execute(retention.partition(number))


async def test_a_cursor_that_is_not_ours_is_refused(client: Client) -> None:
    assert (await client.get("/v1/events", after="AAAAAAAAAAAAAAAAAAAA"))[1]["type"] == "/problems/cursor_invalid"
