"""What one bad batch costs: itself. On a real broker; what a broker refuses to store is spoilt on its way to the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    NoOffsetForPartitionError,
)
from aiokafka.protocol.fetch import FetchRequest
from chassis_counter import settings

from chassis.kafka.inspection import BrokerSilent, Inspector, OffsetGone
from chassis.kafka.lag import Lag
from chassis.kafka.reads import Reads
from chassis.kafka.record_batches import Unread
from chassis.telemetry import Metrics
from devservices import KafkaServer, raw_batches
from devservices.raw_batches import batch, binary_header, flipped, send, with_codec
from tests.waiting import patience

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

PARTS = 4
CONFIGS = {"max.message.bytes": str(4 << 20), "message.timestamp.type": "LogAppendTime"}
Spoil = Callable[[bytes], bytes]


class Topic:
    """A topic with a producer, and a client that reads it from the beginning through `Reads`."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.name = f"reads-{uuid4()}"
        self.parts = [TopicPartition(self.name, n) for n in range(PARTS)]
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=4 << 20)
        self.client = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="none",
            enable_auto_commit=False, fetch_max_wait_ms=50, max_partition_fetch_bytes=64 * 1024,
        )  # fmt: skip
        self.metrics = Metrics("test")
        self.reads = Reads(self.metrics)
        self.spoilt: dict[tuple[int, int], Spoil] = {}
        """(partition, offset) of a batch -> what happens to it on its way."""

    async def open(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(self.name, PARTS, 1, topic_configs=CONFIGS)])
        await admin.close()
        await self.producer.start()
        await self.client.start()
        self.client._client.send = self._spoiling(self.client._client.send)
        self.reads.attach(self.client)

    def begin(self) -> None:
        self.client.assign(self.parts)
        self.reads.begin(dict.fromkeys(self.parts, 0))

    async def close(self) -> None:
        await self.producer.stop()
        await self.client.stop()

    def _spoiling(self, send_it: Any) -> Any:
        async def spoiling(node: int, request: Any, **how: Any) -> Any:
            response = await send_it(node, request, **how)
            if isinstance(request, FetchRequest):
                for n, (name, partitions) in enumerate(response.topics):
                    spoilt = [(*rest[:-1], self._spoil(rest[0], rest[-1] or b"")) for rest in partitions]
                    response.topics[n] = (name, spoilt)
            return response

        return spoiling

    def _spoil(self, partition: int, raw: bytes) -> bytes:
        found, at = b"", 0
        while len(raw) - at >= 12 and (size := 12 + int.from_bytes(raw[at + 8 : at + 12], "big")) <= len(raw) - at:
            one, base = raw[at : at + size], int.from_bytes(raw[at : at + 8], "big")
            found += self.spoilt.get((partition, base), bytes)(one)
            at += size
        return found + raw[at:]

    async def write(self, partition: int, records: int, *, spoilt: Spoil | None = None, **how: Any) -> int:
        """One batch; the offset of its first record. `spoilt`: on its way to the reader."""
        base = await send(self.producer, self.parts[partition], batch([b"v"] * records, **how))
        if spoilt is not None:
            self.spoilt[partition, base] = spoilt
        return base

    async def transact(self, partition: int, *, commit: bool) -> None:
        """A transaction of one record and its marker, which is written after the end was acknowledged: it is awaited."""
        part = self.parts[partition]
        before = (await self.client.end_offsets([part]))[part]
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, transactional_id=str(uuid4())) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(self.name, b"done" if commit else b"never", partition=partition)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        async with patience():
            while (await self.client.end_offsets([part]))[part] < before + 2:
                await asyncio.sleep(0.01)

    async def read_all(self, records_max: int = 500) -> tuple[list[tuple[int, int]], list[Unread]]:
        """(partition, offset) of all records in the order in which they came, and what was unread."""
        ends = await self.client.end_offsets(self.parts)
        records: list[tuple[int, int]] = []
        unread: list[Unread] = []
        async with patience():
            while any(self.reads._position(part) < end for part, end in ends.items()):
                for part, entries in (await self.reads.getmany(timeout_ms=200, max_records=records_max)).items():
                    records += [(part.partition, one.offset) for one in entries if not isinstance(one, Unread)]
                    unread += [one for one in entries if isinstance(one, Unread)]
        return records, unread


@pytest_asyncio.fixture
async def topic(kafka: KafkaServer) -> AsyncIterator[Topic]:
    one = Topic(kafka.bootstrap_servers)
    await one.open()
    yield one
    await one.close()


def expected(*counts: int) -> list[tuple[int, int]]:
    return [(n, offset) for n, count in enumerate(counts) for offset in range(count)]


def ranges(unread: Sequence[Unread]) -> list[tuple[int, int, int]]:
    return sorted((one.partition, one.first, one.offset) for one in unread)


@pytest.mark.parametrize("records_max", [7, 500])
async def test_bad_batches_cost_no_record_of_their_neighbours(topic: Topic, records_max: int) -> None:
    """Promise 1 and 6: several at once, first, in the middle and last, each of another kind."""
    for _ in range(20):
        await topic.write(0, 5)
    await topic.write(1, 3, spoilt=lambda raw: with_codec(raw, 6))
    await topic.write(1, 5)
    await topic.write(2, 5)
    await topic.write(2, 4, spoilt=flipped)
    # The next two are of one record: the good ones before a bad one in its batch are returned where a poll ends between them.
    await topic.write(2, 1, spoilt=raw_batches.cut_off)
    await topic.write(2, 5)
    await topic.write(3, 5)
    base = await send(topic.producer, topic.parts[3], binary_header(batch([b"v"])))
    topic.begin()
    records, unread = await topic.read_all(records_max)
    assert ranges(unread) == [(1, 0, 2), (2, 5, 8), (2, 9, 9), (3, base, base)]
    bad = {(n, offset) for n, first, last in ranges(unread) for offset in range(first, last + 1)}
    assert sorted(records) == [one for one in expected(100, 8, 15, 6) if one not in bad]
    assert [one for one in records if one[0] == 0] == expected(100)
    assert topic.metrics.batches_unreadable._value.get() == 4
    await topic.write(0, 1)
    assert await topic.read_all() == ([(0, 100)], [])
    assert topic.reads.trouble is None


async def test_a_poll_before_it_is_known_where_reading_begins_is_no_trouble(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each first start of a service: its partitions are assigned, and have no offset at the broker yet."""
    await topic.write(0, 3)
    polled: list[BaseException] = []
    getmany = topic.reads._getmany

    async def noting(*parts: TopicPartition, **how: Any) -> Any:
        try:
            return await getmany(*parts, **how)
        except NoOffsetForPartitionError as error:
            polled.append(error)
            raise

    monkeypatch.setattr(topic.reads, "_getmany", noting)
    topic.client.assign(topic.parts)
    async with patience():
        while not polled:
            assert await topic.reads.getmany(timeout_ms=200, max_records=10) == {}
    assert topic.reads.trouble is None
    topic.begin()
    assert await topic.read_all() == (expected(3), [])


async def test_one_large_batch_keeps_no_other_partition_waiting(topic: Topic) -> None:
    """A file of orders in one compressed batch, then one live order in each of the other partitions."""
    await topic.write(0, 2_000, codec=raw_batches.ZSTD)
    topic.begin()
    async with patience():
        while not await topic.reads.getmany(timeout_ms=200, max_records=100):
            pass
        for partition in (1, 2, 3):
            await topic.write(partition, 1)
        while len(topic.client._fetcher._records) < PARTS:
            await asyncio.sleep(0.01)
    await topic.reads.getmany(max_records=100)
    found = await topic.reads.getmany(max_records=100)
    assert {part.partition: len(entries) for part, entries in found.items()} == {0: 97, 1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize("codec", ["GZIP", "SNAPPY", "LZ4", "ZSTD"])
async def test_every_codec_of_the_protocol_is_read(topic: Topic, codec: str) -> None:
    await topic.write(0, 3, codec=getattr(raw_batches, codec))
    topic.begin()
    assert await topic.read_all() == (expected(3), [])


async def test_a_flood_of_batches_that_decompress_to_gigabytes_is_parked_and_stops_nobody(topic: Topic) -> None:
    """Promise 6: each may be as large as a poll may at most be, or larger."""
    large, bomb = (batch([b"0" * (size << 20)], codec=raw_batches.ZSTD) for size in (10, 200))
    for n in range(12):
        await send(topic.producer, topic.parts[n % 3], bomb if n < 3 else large)
    await topic.write(3, 5)
    topic.begin()
    began = time.process_time()
    records, unread = await topic.read_all()
    assert ranges(unread) == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    assert {one.cause for one in unread} == {"batch_too_large"}
    assert sorted(records) == [(n, offset) for n in range(3) for offset in range(1, 4)] + [(3, n) for n in range(5)]
    assert time.process_time() - began < 20


async def test_a_failing_broker_is_waited_for_and_blames_no_batch(topic: Topic) -> None:
    """A transient error parks nothing; a closed client ends the reading."""
    await topic.write(0, 5)
    errors = [
        GroupAuthorizationFailedError("g"),
        KafkaConnectionError("away"),
        MemoryError(),
        KafkaConnectionError("away"),
    ]
    getmany, send_it = topic.reads._getmany, topic.reads._send

    async def failing(*parts: TopicPartition, **how: Any) -> Any:
        if errors:
            raise errors.pop()
        return await getmany(*parts, **how)

    async def away(node: int, request: Any) -> Any:
        if errors:
            raise KafkaConnectionError("away")
        return await send_it(node, request)

    topic.reads._getmany, topic.reads._send = failing, away
    topic.begin()
    assert await topic.reads.getmany(timeout_ms=200, max_records=10) == {}
    assert topic.reads.trouble is not None
    assert await topic.read_all() == (expected(5), [])
    await topic.client.stop()
    with pytest.raises(ConsumerStoppedError):
        await topic.reads.getmany(timeout_ms=200, max_records=10)


async def test_an_aborted_transaction_never_happened_and_leaves_no_lag(topic: Topic) -> None:
    """Promise 1: beside a bad batch as well."""
    await topic.write(0, 2)
    await topic.transact(0, commit=False)
    await topic.transact(0, commit=True)
    await topic.write(0, 2, spoilt=flipped)
    await topic.write(0, 1)
    topic.begin()
    records, unread = await topic.read_all()
    assert (records, ranges(unread)) == ([(0, 0), (0, 1), (0, 4), (0, 8)], [(0, 6, 7)])
    await topic.transact(0, commit=False)
    handled = topic.reads._next.copy()
    lag = Lag(topic.reads)
    async with patience():
        while topic.reads._position(topic.parts[0]) < 11:
            assert await topic.reads.getmany(timeout_ms=200, max_records=10) == {}
    await lag.measure(topic.client, topic.reads.behind(handled))
    assert (lag.records, lag.age_seconds(time.time())) == (0, 0)


async def test_a_partition_that_ends_with_a_transaction_has_no_lag_after_an_error_of_another(topic: Topic) -> None:
    """Promise 7: read by itself after the error, the partition is passed its marker; the gauges follow."""
    await topic.transact(0, commit=True)
    await topic.write(1, 1, spoilt=flipped)
    topic.begin()
    records, unread = await topic.read_all()
    assert (records, ranges(unread)) == ([(0, 0)], [(1, 0, 0)])
    handled = {**dict.fromkeys(topic.parts, 0), topic.parts[0]: 1, topic.parts[1]: 1}
    lag = Lag(topic.reads)
    await lag.measure(topic.client, topic.reads.behind(handled))
    assert lag.records == 0


async def test_records_that_were_deleted_unread_are_a_gap_with_its_range(topic: Topic) -> None:
    """Promise 1: never a silent jump, whether reading was under way or begins."""
    await topic.write(0, 5)
    await topic.write(1, 5)
    topic.begin()
    records, _ = await topic.read_all()
    assert sorted(records) == expected(5, 5)
    topic.client.pause(*topic.parts)
    await topic.write(0, 5)
    admin = AIOKafkaAdminClient(bootstrap_servers=topic.bootstrap)
    await admin.start()
    await admin.delete_records({topic.parts[0]: RecordsToDelete(before_offset=8)})
    await admin.close()
    topic.client.resume(*topic.parts)
    records, unread = await topic.read_all()
    assert (records, ranges(unread), unread[0].cause) == ([(0, 8), (0, 9)], [(0, 5, 7)], "records_missing")
    assert topic.metrics.records_missing._value.get() == 3
    topic.begin()
    records, unread = await topic.read_all()
    assert (sorted(records), ranges(unread)) == ([(0, 8), (0, 9), *[(1, n) for n in range(5)]], [(0, 0, 7)])


async def test_a_log_that_became_shorter_is_read_from_its_beginning(topic: Topic) -> None:
    """A new cluster under an old name: what is read twice the inbox removes."""
    await topic.write(0, 5)
    topic.client.assign(topic.parts)
    topic.reads.begin({**dict.fromkeys(topic.parts, 0), topic.parts[0]: 700})
    async with patience():
        while not (found := await topic.reads.getmany(timeout_ms=200, max_records=10)):
            pass
    assert [one.offset for one in found[topic.parts[0]]] == list(range(5))


async def test_the_lag_is_that_of_paused_and_of_stuck_partitions_too(topic: Topic) -> None:
    """Promise 7: nothing polls here, and the gauges are still measured."""
    before = time.time()
    for n in range(3):
        await topic.write(0, 2)
    large = await send(topic.producer, topic.parts[1], batch([b"x" * 100_000] * 2))
    topic.begin()
    topic.client.pause(*topic.parts)
    handled = {**dict.fromkeys(topic.parts, 0), topic.parts[0]: 3}
    lag = Lag(topic.reads)
    await lag.measure(topic.client, handled)
    assert (lag.records, large) == (5, 0)
    now = time.time()
    assert 600 <= lag.age_seconds(now + 600) <= 601 + now - before
    assert set(lag._heads) == {topic.parts[0], topic.parts[1]}
    await topic.write(3, 1)
    await lag.measure(topic.client, handled)
    assert lag.records == 6
    assert topic.parts[3] not in lag._heads  # it came since, and counts from the next measurement on
    await lag.measure(topic.client, handled)
    assert topic.parts[3] in lag._heads
    await lag.measure(topic.client, await topic.client.end_offsets(topic.parts))
    assert (lag.records, lag.age_seconds(now + 600)) == (0, 0)


async def test_an_inspector_reads_what_a_group_would_and_the_group_notices_nothing(topic: Topic) -> None:
    """Records between markers and past a bad batch, from any offset; then ends, a time, and what a group has committed."""
    await topic.write(0, 2)
    await topic.transact(0, commit=False)
    await topic.write(0, 1)
    large = await send(topic.producer, topic.parts[1], batch([b"x" * 200_000] * 2))
    parts = topic.parts[:2]
    group = AIOKafkaConsumer(bootstrap_servers=topic.bootstrap, group_id=topic.name, enable_auto_commit=False)
    await group.start()
    group.assign(parts)
    await group.commit({parts[0]: 1})
    await group.stop()
    inspector = Inspector(settings("postgresql://nobody@127.0.0.1:1/none", kafka_bootstrap_servers=topic.bootstrap))
    try:
        starts, ends = await inspector.starts(topic.parts), await inspector.ends(topic.parts)
        assert (starts, ends) == (dict.fromkeys(topic.parts, 0), dict(zip(topic.parts, (5, 2, 0, 0), strict=True)))
        both = await inspector.records(dict.fromkeys(parts, 0), share_bytes=1_000, records_max=10)
        assert [one.offset for one in both[parts[0]].entries] == [0, 1, 4] and both[parts[0]].behind == 5
        assert (both[parts[1]].entries, both[parts[1]].behind) == ([], 0), "its batch is larger than its share"
        alone = await inspector.records({parts[1]: 1}, share_bytes=1_000, records_max=10)
        assert [one.offset for one in alone[parts[1]].entries] == [1] and large == 0
        moment = datetime.fromtimestamp(alone[parts[1]].entries[0].timestamp / 1000, UTC)
        appended = await inspector.appended_since(topic.parts, moment)
        assert appended[parts[1]] == 0 and appended[parts[0]] in (None, 4) and appended[topic.parts[2]] is None
        assert await inspector.committed(topic.name) == {parts[0]: 1}
        with pytest.raises(OffsetGone):
            await inspector.records({parts[0]: 700}, share_bytes=1_000, records_max=10)
        admin = AIOKafkaAdminClient(bootstrap_servers=topic.bootstrap)
        await admin.start()
        assert [name for name, _ in await admin.list_consumer_groups() if topic.name in name] == [topic.name]
        await admin.close()
        assert await inspector.ends(topic.parts) == ends
    finally:
        await inspector.close()


async def test_the_first_question_about_many_topics_requests_their_leaders_at_once(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"inspected-{uuid4()}" for _ in range(12)]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    await admin.close()
    requested = []
    update = AIOKafkaClient._metadata_update

    async def counted(client: AIOKafkaClient, cluster: Any, topics: Any) -> Any:
        requested.append(set(topics))
        return await update(client, cluster, topics)

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", counted)
    inspector = Inspector(
        settings("postgresql://nobody@127.0.0.1:1/none", kafka_bootstrap_servers=kafka.bootstrap_servers)
    )
    try:
        ends = await inspector.ends([TopicPartition(name, 0) for name in names])
        assert set(ends.values()) == {0} and len(ends) == len(names)
        growing = [topics for topics in requested if topics]
        assert growing and all(topics == set(names) for topics in growing), [len(topics) for topics in requested]
    finally:
        await inspector.close()


async def test_an_inspector_of_a_broker_that_is_away_states_it() -> None:
    inspector = Inspector(settings("postgresql://nobody@127.0.0.1:1/none", kafka_bootstrap_servers="127.0.0.1:1"))
    for ask in (inspector.ends([TopicPartition("t", 0)]), inspector.committed("g")):
        with pytest.raises(BrokerSilent):
            await ask
    await inspector.close()
