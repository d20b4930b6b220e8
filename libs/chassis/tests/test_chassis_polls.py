"""What a poll is made of, and when the broker is asked for more."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from chassis.kafka.polls import IDLE_WAIT_MS, INTAKE_RECORDS_MAX, Polls
from chassis.kafka.reads import Reads
from chassis.telemetry import Metrics
from devservices import KafkaServer
from tests.waiting import patience

pytestmark = pytest.mark.asyncio

NEW, UNDER_WAY, OTHER = TopicPartition("intake", 1), TopicPartition("replies", 1), TopicPartition("replies", 2)
LEADERS = {NEW: 1, UNDER_WAY: 1, OTHER: 2}
FETCH = FetchRequest(100, 1, 1_000_000, 0, [])


class Client:
    """Returns records of `waiting`, at most as many as requested; notes what is sent, and that a poll waited in vain."""

    def __init__(self, **waiting: range) -> None:
        parts = {"new": NEW, "under_way": UNDER_WAY, "other": OTHER}
        self.waiting = {
            part: [SimpleNamespace(offset=n) for n in waiting.get(name, ())] for name, part in parts.items()
        }
        self.in_vain = 0
        self.sent: list[Any] = []
        self._client = SimpleNamespace(send=self.send, cluster=SimpleNamespace(leader_for_partition=LEADERS.get))
        self._fetcher = SimpleNamespace(_records=OrderedDict())
        self.polls = Polls({NEW.topic}, Reads(Metrics("test")))
        self.polls.attach(self)

    def assignment(self) -> set[TopicPartition]:
        return set(self.waiting)

    async def send(self, node_id: int, request: Any, *, group: int = 0) -> str:
        self.sent.append(request)
        return f"node {node_id}, group {group}"

    async def getmany(
        self, *parts: TopicPartition, timeout_ms: int = 0, max_records: int
    ) -> dict[TopicPartition, list[Any]]:
        if timeout_ms and not any(self.waiting.values()):
            self.in_vain += 1
            self.waiting[NEW] += [SimpleNamespace(offset=7)]
            return {}
        found = {}
        for part in parts or self.waiting:
            taken, self.waiting[part] = self.waiting[part][:max_records], self.waiting[part][max_records:]
            max_records -= len(taken)
            if taken:
                found[part] = taken
            if not max_records:
                break
        return found


async def polled(client: Client, max_records: int = 500) -> dict[TopicPartition, int]:
    """A poll as FastStream makes it; how many records it has of each partition."""
    found = await client.polls.poll(timeout_ms=1_000, max_records=max_records)
    return {part: len(records) for part, records in found.items()}


async def test_a_poll_takes_what_is_under_way_and_only_some_of_what_is_new() -> None:
    """Taken in floods, orders would go through the services as one wave; and a poll is never empty."""
    client = Client(new=range(1_000), under_way=range(30))
    assert await polled(client) == {UNDER_WAY: 30, NEW: INTAKE_RECORDS_MAX}
    assert await polled(client) == {NEW: INTAKE_RECORDS_MAX}
    client.waiting[NEW].clear()
    assert await polled(client) == {NEW: 1}
    assert client.in_vain == 1


async def test_a_poll_is_no_larger_than_a_batch_may_be() -> None:
    """Whichever of them the client hands out first."""
    for new in (0, 1_000):
        client = Client(new=range(new), under_way=range(150), other=range(100))
        found = await polled(client, max_records=200)
        assert found[UNDER_WAY] + found[OTHER] == 200
        assert found.get(NEW, 0) == min(new, INTAKE_RECORDS_MAX)


async def test_the_records_of_a_partition_stay_in_their_order() -> None:
    client = Client(under_way=range(INTAKE_RECORDS_MAX + 100))
    found = await client.polls.poll(timeout_ms=1_000, max_records=500)
    assert [record.offset for record in found[UNDER_WAY]] == list(range(INTAKE_RECORDS_MAX + 100))


async def test_a_fetch_waits_for_the_next_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.kafka.polls.HOLD_SECONDS", 3600)
    client = Client(under_way=range(1))
    await polled(client)
    sending = asyncio.create_task(client._client.send(1, FETCH, group=2))
    for _ in range(3):
        await asyncio.sleep(0)
    assert client.sent == []
    client.waiting[OTHER] += [SimpleNamespace(offset=1)]
    await polled(client)
    async with patience():
        assert await sending == "node 1, group 2"
    assert client.sent == [FETCH]


async def test_a_fetch_waits_no_longer_than_a_small_batch_takes() -> None:
    """So that a large one has the next poll at hand when it ends; and a batch that never ends stops no fetch."""
    client = Client(under_way=range(1))
    await polled(client)
    async with patience():
        await client._client.send(1, FETCH)
    assert client.sent == [FETCH]


@pytest.mark.parametrize(
    ("node", "parts", "waits_ms"),
    [(1, [NEW, UNDER_WAY], IDLE_WAIT_MS), (1, [UNDER_WAY], 100), (1, [NEW, OTHER], 100), (2, [OTHER], IDLE_WAIT_MS)],
)
async def test_a_broker_waits_longer_only_for_all_partitions_that_it_has(
    node: int, parts: list[TopicPartition], waits_ms: int
) -> None:
    """While it waits no other fetch can be sent, so a partition that is left out would wait as long."""
    client = Client(under_way=range(1))
    await polled(client)
    request = FetchRequest(100, 1, 1_000_000, 0, [(part.topic, [(part.partition, 0, 1)]) for part in parts])
    async with patience():
        await client._client.send(node, request)
    assert [sent._max_wait_ms for sent in client.sent] == [waits_ms]


async def test_other_requests_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats and commits go by the same hands."""
    monkeypatch.setattr("chassis.kafka.polls.HOLD_SECONDS", 3600)
    client = Client(under_way=range(1))
    await polled(client)
    async with patience():
        assert await client._client.send(1, request := MetadataRequest([])) == "node 1, group 0"
    assert client.sent == [request]


@pytest.mark.real
async def test_all_that_arrives_during_a_batch_is_in_the_next_one(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real broker: aiokafka by itself would have fetched the first of them at once, and polled that one alone."""
    monkeypatch.setattr("chassis.kafka.polls.HOLD_SECONDS", 3600)
    topic = f"replies-{uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=0)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")

    async def next_poll() -> list[bytes]:
        found = await polls.poll(timeout_ms=10_000, max_records=500)
        return sorted(record.value for records in found.values() for record in records)

    async with patience(), producer, consumer:
        polls = Polls((), Reads(Metrics("test")))
        polls.attach(consumer)
        await producer.send_and_wait(topic, b"", partition=0)
        assert await next_poll() == [b""]
        for _ in range(2):
            for n in range(10):
                await producer.send_and_wait(topic, b"%d" % n, partition=n % 3)
                if n == 0:
                    await asyncio.sleep(0.1)  # time for a fetch to come back with this one alone
            assert await next_poll() == [b"%d" % n for n in range(10)]
