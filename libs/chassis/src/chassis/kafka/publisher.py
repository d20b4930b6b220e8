"""Rows -> topics. One batch per partition is in flight at a time, so the rows of a key are appended in their order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2

from chassis.batch.outbox import OutboxRow
from chassis.kafka.topics import client_arguments
from chassis.settings import ServiceSettings
from contracts.envelope import headers
from contracts.registry import MESSAGES, PARTITIONS

BATCH_BYTES_MAX: Final = 48 * 1024
"""Unless one record alone is larger. It is less than a consumer requests of a partition at a time: the broker returns whole
batches, and a larger one only if it is the first in its response."""
RECORD_BYTES_MAX: Final = 1024 * 1024
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
CLOSE_SECONDS: Final = 5.0
"""Maximum time in which a producer sends what it was given before it is closed."""

_PARTITIONS: dict[bytes, int] = {}

Partition = tuple[str, int]
"""(topic, partition)."""


def partition_of(key: bytes) -> int:
    """As Java's default partitioner: murmur2 of the key. Cached for the few messages that an order has in a row."""
    found = _PARTITIONS.get(key)
    if found is None:
        if len(_PARTITIONS) > 10_000:
            _PARTITIONS.clear()
        found = _PARTITIONS[key] = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
    return found


class Published(NamedTuple):
    acked: list[int]
    """Ids of the rows that the broker acknowledged."""
    offsets: dict[Partition, int]
    """The offset after the last of their records."""


class Publisher:
    """`renew` is called between two batches of a partition and raises if the lease is lost. `set_aside` is called with a row
    that the broker refuses for its size, the later rows of its key, and the cause."""

    def __init__(
        self, source: str, settings: ServiceSettings, renew: Callable[[], Awaitable[None]],
        set_aside: Callable[[OutboxRow, Sequence[OutboxRow], str], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._source, self._settings, self._renew, self._set_aside = source, settings, renew, set_aside
        self._producer: AIOKafkaProducer | None = None
        self._one_by_one: set[Partition] = set()
        """Partitions whose last batch was refused for its size: their rows are sent one at a time."""

    async def publish(self, rows: Sequence[OutboxRow]) -> Published:
        """Publish rows in their order. Raises KafkaError; then any of them may be published."""
        producer = await self._ready()
        partitions: dict[Partition, list[OutboxRow]] = {}
        for row in rows:
            partitions.setdefault((row.topic, partition_of(str(row.key).encode())), []).append(row)
        published = Published([], {})
        await asyncio.gather(*(self._to(producer, *one, published) for one in partitions.items()))
        return published

    async def _to(
        self, producer: AIOKafkaProducer, partition: Partition, rows: list[OutboxRow], published: Published
    ) -> None:
        position = 0
        while position < len(rows):
            if position:
                await self._renew()
            builder = producer.create_batch()
            first = position
            last = len(rows) if partition not in self._one_by_one else first + 1
            while position < last:
                row = rows[position]
                if position > first and builder.size() + len(row.payload) > BATCH_BYTES_MAX:
                    break
                key = str(row.key)
                if builder.append(key=key.encode(), value=row.payload.encode(), timestamp=None,
                                  headers=self._headers(row, key)) is None:  # fmt: skip
                    break
                position += 1
            if position == first:
                rows = await self._without(rows, first, "larger than a batch")
                continue
            builder.close()
            try:
                future = await producer.send_batch(builder, partition[0], partition=partition[1])
                metadata = await future
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                if position - first > 1:  # which row is too large is found when they are sent one at a time
                    self._one_by_one.add(partition)
                    raise
                rows, position = await self._without(rows, first, repr(error)), first
                continue
            published.offsets[partition] = max(published.offsets.get(partition, 0), metadata.offset + position - first)
            published.acked.extend(row.id for row in rows[first:position])
        self._one_by_one.discard(partition)

    async def _without(self, rows: list[OutboxRow], at: int, cause: str) -> list[OutboxRow]:
        """Set the row `at` aside with the later rows of its key; the rows that are left."""
        row = rows[at]
        await self._set_aside(row, [other for other in rows[at + 1 :] if other.key == row.key], cause)
        return [*rows[:at], *(other for other in rows[at + 1 :] if other.key != row.key)]

    def _headers(self, row: OutboxRow, key: str) -> list[tuple[str, bytes]]:
        return headers(
            ce_id=row.message_id,
            source=self._source,
            type=row.type,
            time=row.at,
            subject=key,
            store_id=row.store_id,
            correlation_id=row.correlation_id,
            causation_id=row.cause_id,
            traceparent=row.traceparent,
            schema_version=MESSAGES[row.type].SCHEMA_VERSION,
        )

    async def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **client_arguments(self._settings),
                client_id=f"tradewind-{self._source}-relay",
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=RECORD_BYTES_MAX,
                max_request_size=REQUEST_BYTES_MAX,
                request_timeout_ms=180_000,
            )
            try:
                await producer.start()
            except BaseException:
                with contextlib.suppress(Exception):
                    await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def close(self) -> None:
        """Drop the producer; the next batch gets a new one. One that raised has lost a sequence number for good."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await producer.stop()
