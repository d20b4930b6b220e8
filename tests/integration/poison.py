"""Records that no service can process, each with the cause that it must be parked with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaProducer

from contracts.limits import RECORD_BYTES_MAX
from contracts.registry import SNAPSHOTS
from tests.integration.shop import Shop, SnapshotRecord

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Raw:
    """A record on a topic, valid or not."""

    order_id: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, record: SnapshotRecord) -> Raw:
        return cls(record.order_id, record.order_id.encode(), record.value, record.headers)

    def with_header(self, name: str, value: bytes | None) -> Raw:
        return replace(self, headers=[(n, value if n == name else v) for n, v in self.headers])

    def without_header(self, name: str) -> Raw:
        return replace(self, headers=[(n, v) for n, v in self.headers if n != name])

    def with_order(self, change: Callable[[dict[str, Any]], object]) -> Raw:
        assert self.value is not None
        body = json.loads(self.value)
        change(body["order"])
        return replace(self, value=json.dumps(body).encode())


@dataclass(frozen=True)
class Poison:
    name: str
    cause: str
    blocks: bool
    """Whether later messages of the order wait: wherever the record key is an order id."""
    spoil: Callable[[Raw], Raw]
    mends: bool = False
    """Whether an edit of the body makes it valid."""


def _at(shift: timedelta) -> bytes:
    return (datetime.now(UTC) + shift).isoformat().encode()


def _put(*path: Any) -> Callable[[dict[str, Any]], object]:
    *way, last, value = path

    def change(order: dict[str, Any]) -> None:
        found: Any = order
        for step in way:
            found = found[step]
        found[last] = value

    return change


POISONS = (
    Poison("bad json", "bad_json", True, lambda r: replace(r, value=b'{"source": {'), mends=True),
    Poison("not utf-8", "bad_json", True, lambda r: replace(r, value=b'"\xff\xfe"'), mends=True),
    Poison("nested too deep", "bad_json", True, lambda r: replace(r, value=b"[" * 100_000), mends=True),
    Poison("wrong type", "bad_body", True, lambda r: r.with_order(_put("lines", 0, "line_total_minor", "9.99")), True),
    Poison("2^63", "bad_body", True, lambda r: r.with_order(_put("lines", 0, "line_total_minor", 2**63)), mends=True),
    Poison("nul", "bad_body", True, lambda r: r.with_order(_put("lines", 0, "title", "a\0b")), mends=True),
    Poison("wrong sums", "bad_body", True, lambda r: r.with_order(_put("totals", {"grand_minor": 1})), mends=True),
    Poison("two megabytes", "too_large", True, lambda r: r.with_order(_put("basket_id", "x" * 2**21)), mends=True),
    Poison("tombstone", "no_body", True, lambda r: replace(r, value=None), mends=True),
    Poison("unknown type", "unknown_type", True, lambda r: r.with_header("ce_type", b"marketplace.gossip")),
    Poison("type of another topic", "unknown_type", True, lambda r: r.with_header("ce_type", b"payments.authorize")),
    Poison("no ce_type", "missing_header", True, lambda r: r.without_header("ce_type")),
    Poison("no headers", "missing_header", True, lambda r: replace(r, headers=[])),
    Poison("header not utf-8", "bad_header", True, lambda r: r.with_header("ce_source", b"\xff\xfe")),
    Poison("null header", "bad_header", True, lambda r: r.with_header("ce_source", None)),
    Poison("nul in a header", "bad_header", True, lambda r: r.with_header("ce_id", b"a\0b")),
    Poison("nul in a name", "missing_header", True, lambda r: replace(r, headers=[("a\0b", b"c")])),
    Poison("no time", "bad_header", True, lambda r: r.with_header("ce_time", b"yesterday")),
    Poison("too old", "too_old", False, lambda r: r.with_header("ce_time", _at(timedelta(days=-30)))),
    Poison("from the future", "from_the_future", False, lambda r: r.with_header("ce_time", _at(timedelta(days=3)))),
    Poison("null key", "bad_key", False, lambda r: replace(r, key=None)),
    Poison("key is a word", "bad_key", False, lambda r: replace(r, key=b"order 7")),
    Poison("key is not the subject", "key_is_not_subject", False, lambda r: replace(r, key=str(uuid.uuid4()).encode())),
    Poison("key of another order", "key_is_not_subject", False, lambda r: _about_another(r)),
)


def _about_another(record: Raw) -> Raw:
    other = str(uuid.uuid4()).encode()
    return replace(record, key=other).with_header("ce_subject", other)


async def send_raw(shop: Shop, records: Sequence[Raw], topic: str = SNAPSHOTS) -> list[tuple[int, int]]:
    """Published and acknowledged, in this order; (partition, offset) of each."""
    producer = AIOKafkaProducer(bootstrap_servers=shop.kafka.bootstrap_servers, max_request_size=RECORD_BYTES_MAX)
    await producer.start()
    try:
        sent = [
            await producer.send_and_wait(topic, one.value, key=one.key, headers=list(one.headers)) for one in records
        ]
    finally:
        await producer.stop()
    return [(one.partition, one.offset) for one in sent]
