"""Publishes each record of every topic again, unchanged and later, so that it is delivered one to three times."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from contracts.registry import PARTITIONS, TOPICS

DELAY_SECONDS_MAX = 1.0


class Echo:
    """Repeats each record that it reads for the first time: same key, value and headers, so it is the same message."""

    def __init__(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, seed: int) -> None:
        self.sent = 0
        self._consumer, self._producer, self._random = consumer, producer, random.Random(seed)
        self._known: set[tuple[str, bytes]] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=100)
            for records in batches.values():
                for record in records:
                    self._hear(record)

    def _hear(self, record: ConsumerRecord) -> None:
        identity = (record.topic, dict(record.headers)["ce_id"])
        if identity in self._known:
            return
        self._known.add(identity)
        for _ in range(self._random.randint(0, 2)):
            task = asyncio.create_task(self._again(record, self._random.uniform(0, DELAY_SECONDS_MAX)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _again(self, record: ConsumerRecord, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)  # a late copy, not a wait for something
        await self._producer.send_and_wait(record.topic, record.value, key=record.key, headers=list(record.headers))
        self.sent += 1

    async def silent(self) -> bool:
        """Whether every record was read and every copy was sent."""
        parts = list(self._consumer.assignment())
        ends = await self._consumer.end_offsets(parts)
        return not self._running and all([await self._consumer.position(part) >= ends[part] for part in parts])


@asynccontextmanager
async def echoing(bootstrap_servers: str, seed: int = 11) -> AsyncIterator[Echo]:
    """Reads all records published from now on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False, fetch_max_wait_ms=50)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    await consumer.start()
    await producer.start()
    try:
        parts = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_end(*parts)
        for part in parts:
            await consumer.position(part)
        echo = Echo(consumer, producer, seed)
        running = asyncio.create_task(echo.run())
        try:
            yield echo
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    finally:
        await producer.stop()
        await consumer.stop()
