"""Folds all topics, from beginning to end, into what the checker compares: sources, contents, order, repetitions.

A record belongs to a service if its `ce_source` names it. Other records (a connector's snapshots, the poison of a test) are
only counted.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts.base import Addressed
from contracts.registry import MESSAGES

RECORDS_MAX = 5_000
"""Per poll."""
EXAMPLES_MAX = 10
MONEY = ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor")
NO_MONEY = (0, 0, 0, 0)


@dataclass
class Check:
    """An invariant: `checked` comparisons were made, `violated` of them failed."""

    name: str
    checked: int = 0
    violated: int = 0
    examples: list[str] = field(default_factory=list)

    def expect(self, holds: bool, *example: object) -> None:
        self.checked += 1
        if not holds:
            self.violated += 1
            if len(self.examples) < EXAMPLES_MAX:
                self.examples.append(" ".join(map(str, example)))


@dataclass
class Read:
    """The content of the topics. Keys are order ids as text."""

    versions: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """service -> key -> highest version."""
    money: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Totals of the last event, repetitions excluded, in the order of `MONEY`."""
    stock: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(reserved, shipped) of the last event, repetitions excluded."""
    documents: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Document id -> (order id, number, total)."""
    asked: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    """service -> (operation id, key) -> commands to it. A repeated command is a new message of the same operation."""
    answered: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """service -> operation id -> records of events that carry it, repeated answers included."""
    published: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Topic -> ids of the messages that its service published."""
    snapshots: set[str] = field(default_factory=set)
    """Keys of the snapshots."""
    records: Counter[str] = field(default_factory=Counter)
    """Topic -> records, repetitions included."""
    repeated: int = 0
    """Records whose (source, id) was on the topic before: delivery is at least once."""
    checks: list[Check] = field(default_factory=list)


class Reader:
    """Folds records topic by topic. Partitions may interleave; each partition's records come in offset order."""

    def __init__(self, services: Sequence[str]) -> None:
        self.services = set(services)
        self.read = Read()
        self._once = Check("topics: one (source, id) has one content")
        self._key = Check("topics: a record's key is its subject and the key that its body names")
        self._gapless = Check("topics: the versions of an order's events are 1..n, in order")
        self._shrinks = Check("topics: money only grows, with the version")
        self._bounds = Check("topics: refunded <= captured, captured + voided <= authorized")
        self._pieces = Check("topics: pieces reserved and shipped are never negative, shipped never shrinks")
        self._stopped = Check("topics: nothing of a suspended order ships until it is resumed")
        self.read.checks = [
            self._once, self._key, self._gapless, self._shrinks, self._bounds, self._pieces, self._stopped
        ]  # fmt: skip
        self._suspended: dict[str, set[str]] = defaultdict(set)
        """Order id -> its open suspensions."""
        self._over: set[str] = set()
        """Orders whose attempt has ended without a shipment: a suspension of it that comes late is none."""
        self._topic = ""
        self._seen: dict[tuple[str, bytes], tuple[int, str | None]] = {}
        """(source, id) -> (hash of the content, operation id), of the present topic."""

    def fold(self, record: ConsumerRecord[bytes, bytes]) -> None:
        if record.topic != self._topic:
            self._topic, self._seen = record.topic, {}
        self.read.records[record.topic] += 1
        headers = dict(record.headers)
        source = _text(headers.get("ce_source"))
        owner, kind, _ = record.topic.split(".", 2)
        if owner == "marketplace":
            if headers.get("ce_type") == b"marketplace.snapshot" and _is_order_id(record.key):
                self.read.snapshots.add(record.key.decode())
            return
        if source not in self.services or record.value is None:
            return
        identity = (source, headers.get("ce_id") or b"")
        content = hash((record.key, headers.get("ce_type"), record.value))
        if identity in self._seen:
            self.read.repeated += 1
            before, operation = self._seen[identity]
            self._once.expect(before == content, record.topic, headers.get("ce_type"), identity)
            if kind == "events" and operation:
                self.read.answered[owner][operation] += 1
            return
        body = orjson.loads(record.value)
        self._seen[identity] = (content, body.get("operation_id"))
        self._once.expect(True)
        self.read.published[record.topic].add(_text(identity[1]))
        key = _text(record.key)
        self._key.expect(key == _text(headers.get("ce_subject")) == body.get(_key_field(headers)), record.topic, key)
        if kind == "commands":
            self.read.asked[owner][body["operation_id"], key] += 1
        elif source == owner:
            self._event(owner, key, _text(headers.get("ce_type")), body)

    def _event(self, service: str, key: str, name: str, body: dict[str, Any]) -> None:
        version, highest = body["version"], self.read.versions[service].get(key, 0)
        self._gapless.expect(version == highest + 1, service, key, name, f"version {version} after {highest}")
        self.read.versions[service][key] = max(version, highest)
        if body.get("operation_id"):
            self.read.answered[service][body["operation_id"]] += 1
        if service == "payments":
            if "totals" in body:  # else it is about a gift card, a session or a difference
                self._money(key, body["totals"])
        elif service == "fulfillment":
            self._stock(key, body["totals"])
            self._shipping(key, name.partition(".")[2], body)
        elif service == "invoicing" and "number" in body:
            document = body.get("credit_note_id") or body["invoice_id"]
            self.read.documents[document] = (key, body["number"], body["total_minor"])

    def _money(self, key: str, totals: dict[str, int]) -> None:
        after = tuple(totals[name] for name in MONEY)
        before = self.read.money.get(key, NO_MONEY)
        self._shrinks.expect(all(b <= a for b, a in zip(before, after, strict=True)), key, before, after)
        authorized, captured, voided, refunded = after
        self._bounds.expect(0 <= refunded <= captured and captured + voided <= authorized, key, totals)
        self.read.money[key] = after

    def _stock(self, key: str, totals: dict[str, int]) -> None:
        after = (totals["reserved"], totals["shipped"])
        before = self.read.stock.get(key, (0, 0))
        self._pieces.expect(min(after) >= 0 and after[1] >= before[1], key, before, after)
        self.read.stock[key] = after

    def _shipping(self, key: str, word: str, body: dict[str, Any]) -> None:
        """A suspension is open from its event until it is resumed, or until its attempt ends without a shipment."""
        if word in ("reserved", "extended") and body["lines"]:
            self._over.discard(key)
        elif word == "suspended" and key not in self._over:
            self._suspended[key].add(body["operation_id"])
        elif word == "resumed":
            self._suspended[key].discard(body["suspension_id"])
        elif word == "cancelled" or (word == "released" and not body["totals"]["shipped"]):
            self._suspended.pop(key, None)
            self._over.add(key)
        elif word == "shipped":
            open_ones = self._suspended.get(key)
            self._stopped.expect(not open_ones, key, body["shipment_id"], "shipped under", open_ones)


async def read_topics(bootstrap_servers: str, services: Sequence[str], topics: Iterable[str]) -> Read:
    """Folds everything that is on the topics now."""
    reader = Reader(services)
    async for record in records(bootstrap_servers, topics):
        reader.fold(record)
    return reader.read


def client_arguments(bootstrap_servers: str) -> dict[str, Any]:
    """For a raw aiokafka client. KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD log in to brokers that run elsewhere."""
    if (username := os.environ.get("KAFKA_SASL_USERNAME")) is None:
        return {"bootstrap_servers": bootstrap_servers}
    return {
        "bootstrap_servers": bootstrap_servers,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": username,
        "sasl_plain_password": os.environ["KAFKA_SASL_PASSWORD"],
    }


async def records(bootstrap_servers: str, topics: Iterable[str]) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Every record that is on the topics when their reading begins, topic by topic. Topics that do not exist are skipped."""
    partitions = await _partitions(bootstrap_servers, list(topics))
    consumer = AIOKafkaConsumer(
        **client_arguments(bootstrap_servers),
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        for topic in partitions:
            async for record in _records_of(consumer, topic):
                yield record
    finally:
        await consumer.stop()


async def _partitions(bootstrap_servers: str, topics: list[str]) -> list[list[TopicPartition]]:
    """The partitions of each topic that exists."""
    admin = AIOKafkaAdminClient(**client_arguments(bootstrap_servers))
    await admin.start()
    try:
        described = await admin.describe_topics(topics)
    finally:
        await admin.close()
    return [
        [TopicPartition(topic["topic"], partition["partition"]) for partition in topic["partitions"]]
        for topic in described
        if topic["error_code"] == 0
    ]


async def _records_of(
    consumer: AIOKafkaConsumer[bytes, bytes], partitions: list[TopicPartition]
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Reads one topic from its beginning to its present end."""
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    left = {p for p in partitions if await consumer.position(p) < ends[p]}
    careful: set[TopicPartition] = set()
    while left:
        for partition in sorted(left):
            async with asyncio.timeout(30):
                polled = await _poll(consumer, partition, careful)
            for record in polled:
                if record.offset < ends[partition]:
                    yield record
            if await consumer.position(partition) >= ends[partition]:
                left.discard(partition)


async def _poll(
    consumer: AIOKafkaConsumer[bytes, bytes], partition: TopicPartition, careful: set[TopicPartition]
) -> list[ConsumerRecord[bytes, bytes]]:
    """Returns the next records; after an error one by one up to the unreadable batch, then skips it offset by offset."""
    at_most = 1 if partition in careful else RECORDS_MAX
    try:
        found = await consumer.getmany(partition, timeout_ms=1_000, max_records=at_most)
    except Exception:  # of the client's parser: a codec, a checksum, a header name that is not UTF-8, too many bytes
        if partition in careful:
            consumer.seek(partition, await consumer.position(partition) + 1)
            careful.discard(partition)
        else:
            careful.add(partition)
        return []
    return list(found.get(partition, []))


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace") if value is not None else ""


def _key_field(headers: Mapping[str, bytes]) -> str:
    """The field of the body that holds the record key."""
    model = MESSAGES.get(_text(headers.get("ce_type")))
    return model.KEY if model is not None and issubclass(model, Addressed) else ""


def _is_order_id(key: bytes | None) -> bool:
    return key is not None and len(key) == 36 and key.count(b"-") == 4
