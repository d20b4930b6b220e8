"""The relay on a real broker: order per key, one at a time, nothing passed over, and what the broker refuses for itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from chassis_counter import EVENTS, SERVICE, World, plus, settings
from chassis_topics import renew_topic

from chassis.batch.outbox import OutboxRow
from chassis.batch.transaction import Transaction
from chassis.kafka.publisher import partition_of
from chassis.kafka.relay import OTHERS_POLL_MS, Relay
from chassis.kafka.subscriber import PARTITION_FETCH_BYTES_MAX
from contracts.registry import PARTITIONS
from devservices import KafkaServer
from tests.waiting import PATIENCE_SECONDS, patience

pytestmark = pytest.mark.real


@pytest_asyncio.fixture
async def admin(kafka: KafkaServer) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    yield admin
    await admin.close()


@pytest.fixture
def topic_bytes_max() -> int:
    """Maximum size of a batch on the topic; a test may name another limit as its parameter."""
    return 20_000


@pytest_asyncio.fixture
async def world(database_url: str, kafka: KafkaServer, topic_bytes_max: int) -> AsyncIterator[World]:
    """An empty database and an empty topic."""
    await renew_topic(kafka.bootstrap_servers, EVENTS, **{"max.message.bytes": str(topic_bytes_max)})
    world = World(settings(database_url, kafka_bootstrap_servers=kafka.bootstrap_servers,
                           relay_lease_seconds=1))  # fmt: skip
    await world.empty()
    yield world
    await world.close()


def relay_of(world: World) -> Relay:
    return Relay(SERVICE, world.settings, world.database, world.metrics)


async def drained(world: World, *relays: Relay) -> None:
    """Run the relays until the outbox is empty, then stop them."""
    running = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        async with patience():
            while await world.one("select count(*) from outbox"):
                await asyncio.sleep(0.05)
    finally:
        for relay in relays:
            relay.stopping = True
            relay.wake()
        await asyncio.gather(*running)


async def published(world: World) -> dict[UUID, list[int]]:
    """Key -> the totals of its events, first occurrences in the order of the topic: after an error rows are sent again."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.settings.kafka_bootstrap_servers)
    await consumer.start()
    found: dict[UUID, list[int]] = {}
    try:
        parts = [TopicPartition(EVENTS, number) for number in range(PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(parts)
        for part in parts:
            while await consumer.position(part) < ends[part]:
                for record in (await consumer.getmany(part, timeout_ms=1000)).get(part, []):
                    totals, total = found.setdefault(UUID(record.key.decode()), []), json.loads(record.value)["total"]
                    if total not in totals:
                        totals.append(total)
    finally:
        await consumer.stop()
    return found


async def test_an_event_too_large_for_its_topic_takes_the_later_ones_of_its_order_aside_and_no_other(
    world: World, admin: AIOKafkaAdminClient
) -> None:
    """Promise 2: the topic of the order shows no hole; promise 6: all other orders go on. Then the limit is raised."""
    large, others = uuid4(), [uuid4() for _ in range(40)]
    await world.tell(
        plus(large, 1),
        *(plus(key, 1) for key in others),
        plus(large, 1, play="large"),
        *(plus(key, 1) for key in others),
        plus(large, 1),
    )
    await world.tell(plus(large, 1))
    await drained(world, relay_of(world))
    seen = await published(world)
    assert seen.pop(large) == [1]
    assert seen == {key: [1, 2] for key in others}
    # Three; and the first one as well if it was acknowledged in a flush that then failed: it is sent again with them.
    assert await world.one("select count(*) from outbox_set_aside") in (3, 4)

    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, {"max.message.bytes": "4000000"})])
    async with patience():
        while (await published(world))[large] != [1, 2, 3, 4]:
            assert await relay_of(world).put_back() in (0, 3, 4)
            await drained(world, relay_of(world))
    assert await world.one("select count(*) from outbox_set_aside") == 0


CHECKED_IDS = """
create sequence checked_ids start 1000;
create function checked_id() returns bigint language plpgsql as $$
begin
  if pg_current_xact_id_if_assigned() is null then raise 'this transaction has no id yet'; end if;
  return nextval('checked_ids');
end $$;
alter table outbox alter id drop identity, alter id set default checked_id()"""
OWN_IDS = """
alter table outbox alter id drop default, alter id add generated always as identity;
drop function checked_id; drop sequence checked_ids"""


async def test_who_takes_an_outbox_id_has_a_transaction_id_before(world: World) -> None:
    """From memory a row goes past a gap once all transactions below an id have ended: none may enter the gap after it.

    A record is claimed in the inbox first, which shows nothing: so these are requests, which claim nothing.
    """
    message = plus(uuid4(), 1)
    async with world.database.connection() as connection:
        await connection.execute(CHECKED_IDS)
        try:
            with pytest.raises(asyncpg.RaiseError, match="no id yet"):
                await connection.execute("insert into outbox (day, journal_id) values (now(), 1)")
            await world.take(world.request(message))  # a new order: the write is the first that writes or locks
            await world.take(world.request(message))  # the answer that was given before, and nothing else
            aside = "insert into outbox_set_aside select id, $1, day, journal_id, '' from outbox"
            await connection.execute(aside, message.order_id)
            assert await relay_of(world).put_back() == 2
        finally:
            await connection.execute(OWN_IDS)


async def test_a_published_row_is_deleted_by_the_next_query_and_not_sent_again(world: World) -> None:
    """One statement for both; positions on the own topic are noted by the second, and at the end."""
    key = uuid4()
    relay = relay_of(world)
    positions = "select coalesce(sum(next_offset), 0) from relay_positions"
    for count in (1, 2):
        await world.tell(plus(key, 1))
        assert await relay.flush() == 1
        assert await world.one("select count(*) from outbox") == 1, "the one just sent: the one before is gone"
        assert await published(world) == {key: list(range(1, count + 1))}
    relay.stopping = True
    assert await relay.flush() == 0
    assert (await world.one("select count(*) from outbox"), await world.one(positions)) == (0, 2)
    await relay.close()


async def test_after_an_error_the_relay_deletes_no_row_by_an_id_from_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 1: a database that took the other's place gives the same ids to rows that are not published."""
    key = uuid4()
    relay = relay_of(world)
    await world.tell(plus(key, 1))
    assert await relay.flush() == 1
    await world.do("truncate outbox restart identity")
    await world.tell(plus(key, 1))
    read = relay._next

    async def cut_off(connection: Any) -> list[Any]:
        monkeypatch.setattr(relay, "_next", read)
        raise ConnectionResetError

    monkeypatch.setattr(relay, "_next", cut_off)
    await drained(world, relay)
    assert await published(world) == {key: [1, 2]}


async def test_two_relays_side_by_side_publish_every_event_and_each_key_in_order(world: World) -> None:
    """Promise 2: one at a time, under the lease."""
    keys = [uuid4() for _ in range(10)]

    async def work() -> None:
        for _ in range(10):
            await world.tell(*(plus(key, 1) for key in keys))

    relays = relay_of(world), relay_of(world)
    await asyncio.gather(work(), drained_later(world, *relays))
    assert await published(world) == {key: list(range(1, 11)) for key in keys}


async def drained_later(world: World, *relays: Relay) -> None:
    async with patience():
        while not await world.one("select count(*) from outbox"):
            await asyncio.sleep(0.01)
    running = [asyncio.create_task(relay.run()) for relay in relays]
    async with patience():
        while await world.one("select count(*) from journal") < 100 or await world.one("select count(*) from outbox"):
            await asyncio.sleep(0.05)
    for relay in relays:
        relay.stopping = True
        relay.wake()
    await asyncio.gather(*running)


async def test_while_one_relay_holds_the_lease_another_publishes_nothing_and_overtakes_when_it_falls_silent(
    world: World,
) -> None:
    """A second of silence; before it, the lease is one that no busy machine outlasts."""
    key = uuid4()
    await world.tell(plus(key, 1))
    patient = world.settings.model_copy(update={"relay_lease_seconds": 10 * PATIENCE_SECONDS})
    first, second = Relay(SERVICE, patient, world.database, world.metrics), relay_of(world)
    assert await first.flush() == 1
    await world.tell(plus(key, 1))
    assert await second.flush() == 0
    await world.do("update leases set until = clock_timestamp() + interval '1 second' where name = 'relay'")
    async with patience():
        while not await second.flush():
            await asyncio.sleep(0.05)
    assert await published(world) == {key: [1, 2]}
    for relay in (first, second):
        await relay.close()


async def test_an_event_whose_transaction_commits_late_is_not_passed_over(world: World) -> None:
    """Promise 1: ids are given before commits; a reader that remembers the highest id would miss the late one."""
    late, soon = uuid4(), uuid4()
    relay = relay_of(world)
    ready, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with world.database.transaction() as tx:
            work = await Transaction.open(SERVICE, tx, [world.from_topic(plus(late, 1))], world.shell.cache)
            await work.decide()
            await work.save()
            ready.set()
            await go.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(slow())
        await ready.wait()
        await world.tell(plus(soon, 1))
        assert await relay.flush() == 1
        go.set()
    assert await relay.flush() == 1
    assert await published(world) == {soon: [1], late: [1]}
    await relay.close()


async def test_what_this_process_committed_is_published_without_reading_it_and_after_what_others_committed_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 2: whoever wrote it, the topic has a key's events in order, and every one of them once."""
    patient = world.settings.model_copy(update={"relay_lease_seconds": 300})
    relay, key, queries = Relay(SERVICE, patient, world.database, world.metrics), uuid4(), 0
    read = relay._next

    async def counted(connection: Any) -> Any:
        nonlocal queries
        queries += 1
        return await read(connection)

    monkeypatch.setattr(relay, "_next", counted)
    monkeypatch.setattr("chassis.kafka.relay.QUERY_SECONDS", 60)

    async def commit(*, here: bool) -> None:
        world.shell.on_published = relay.offer if here else lambda rows: None
        await world.tell(plus(key, 1))

    committed, before = 0, -1
    async with patience():
        while queries != before:  # the first queries prove an id
            committed, before = committed + 1, queries
            await commit(here=True)
            assert await relay.flush() == 1
    await commit(here=False)
    await commit(here=True)
    assert await relay.flush() == 2, "the other's row first: it has the lower id"
    assert queries == before + 1
    await commit(here=True)
    assert await relay.flush() == 1
    assert queries == before + 1, "there is no gap"
    await drained(world, relay)
    assert await published(world) == {key: list(range(1, committed + 4))}
    assert await records(world) == committed + 3


@pytest.mark.parametrize("topic_bytes_max", [4_000_000])
@pytest.mark.parametrize(("play", "each"), [("page", 14), ("sheet", 2)])
async def test_a_backlog_of_one_partition_does_not_keep_the_others_waiting(world: World, play: str, each: int) -> None:
    """The broker hands out whole batches, and one that is larger than was asked for only as the first in an answer."""
    keys = [uuid4() for _ in range(8)]
    for _ in range(each):
        await world.tell(*(plus(key, 1, play=play) for key in keys))
    await drained(world, relay_of(world))
    parts = {TopicPartition(EVENTS, partition_of(str(key).encode())) for key in keys}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=world.settings.kafka_bootstrap_servers, max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX
    )
    async with patience(), consumer:
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        assert set(await consumer.getmany(timeout_ms=10_000)) == parts


async def test_it_queries_often_only_while_other_processes_add_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query may return a row before the commit of this process has offered it: then no other process is at work."""
    monkeypatch.setattr("chassis.kafka.relay.OTHERS_SECONDS", 10 * PATIENCE_SECONDS)
    relay, offered = relay_of(world), list[OutboxRow]()
    world.shell.on_published = offered.extend
    for _ in range(3):
        await world.tell(plus(uuid4(), 1))
        assert await relay.flush() == 1
        relay.offer(offered)
        assert relay.pause_ms == world.settings.relay_poll_ms_max
    world.shell.on_published = lambda rows: None
    for pause_ms in (world.settings.relay_poll_ms_max, OTHERS_POLL_MS):
        await world.tell(plus(uuid4(), 1))
        assert await relay.flush() == 1
        assert relay.pause_ms == pause_ms
    await drained(world, relay)


async def records(world: World) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=world.settings.kafka_bootstrap_servers)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets([TopicPartition(EVENTS, n) for n in range(PARTITIONS)])).values())
    finally:
        await consumer.stop()


async def test_the_headers_of_a_published_event_are_those_of_its_journal_row(world: World) -> None:
    key = uuid4()
    await world.tell(plus(key, 1))
    row: Any = (await world.rows("select message_id, cause_id from journal"))[0]
    await drained(world, relay_of(world))
    consumer = AIOKafkaConsumer(
        EVENTS, bootstrap_servers=world.settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with patience():
            record = await consumer.getone()
    finally:
        await consumer.stop()
    named = {name: value.decode() for name, value in record.headers}
    assert (named["ce_id"], named["ce_causationid"]) == (str(row["message_id"]), row["cause_id"])
    assert (named["ce_source"], named["ce_type"], named["ce_subject"]) == ("counter", "counter.added", str(key))
    assert record.key.decode() == str(key)
