"""Reads topics, and the offsets of consumer groups, from outside of every group: nothing is assigned, committed or produced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from chassis.kafka.decompression import PollFull, bound_decompression, bounded_poll
from chassis.kafka.fetching import fetch
from chassis.kafka.record_batches import Entry, read
from chassis.kafka.topics import client_arguments
from chassis.settings import ServiceSettings
from contracts.limits import RECORD_BYTES_MAX
from contracts.registry import PARTITIONS

__all__ = ["BrokerSilent", "Chunk", "Inspector", "OffsetGone", "TopicPartition", "partitions_of"]

ALONE_BYTES: Final = RECORD_BYTES_MAX + 65_536
"""Requested of a partition whose next batch is above its share of a request for many: the broker returns none of it then."""
REQUEST_MS_MAX: Final = 2_000
"""For questions of which a page waits for the answer."""

Offsets = dict[TopicPartition, int]


class BrokerSilent(ConnectionError):
    """The broker has not answered a question, or has refused it."""


class OffsetGone(Exception):
    """The broker has deleted a record that was asked for, or never had one at this offset."""


class Chunk(NamedTuple):
    """Consecutive records of a partition."""

    entries: list[Entry]
    behind: int
    """The offset to read on from; without entries it may still be behind the one asked for: markers of transactions."""


def partitions_of(topics: Iterable[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise OffsetGone(str(error)) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerSilent(repr(error)) from error


class Inspector:
    """Two clients, connected at the first question. Each question may raise BrokerSilent.

    request_ms_max: time limit of one request to the broker.
    """

    def __init__(self, settings: ServiceSettings, request_ms_max: int = REQUEST_MS_MAX) -> None:
        self._settings = settings
        self._request_ms_max = request_ms_max
        self._connecting = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await consumer.stop()
        if admin is not None:
            await admin.close()

    # -- offsets ------------------------------------------------------------------------------------------------------

    async def ends(self, parts: Iterable[TopicPartition]) -> Offsets:
        """Returns the last stable offset of each partition: the one behind its last readable record."""
        with _answered():
            asked = list(parts)
            return dict(await (await self._reader(asked)).end_offsets(asked))

    async def starts(self, parts: Iterable[TopicPartition]) -> Offsets:
        """Returns the offset of the oldest record that each partition retains."""
        with _answered():
            asked = list(parts)
            return dict(await (await self._reader(asked)).beginning_offsets(asked))

    async def appended_since(self, parts: Iterable[TopicPartition], at: datetime) -> dict[TopicPartition, int | None]:
        """Returns the offset of the first record that was appended at a moment or later; None: there is none yet."""
        with _answered():
            asked = dict.fromkeys(parts, max(int(at.timestamp() * 1000), 0))
            found = await (await self._reader(asked)).offsets_for_times(asked)
        return {part: one and one.offset for part, one in found.items()}

    async def committed(self, group: str) -> Offsets:
        """Returns what a group has committed, of each partition of which it has committed anything."""
        with _answered():
            admin = await self._administration()
            found = await admin.list_consumer_group_offsets(group)
        return {part: one.offset for part, one in found.items() if one.offset >= 0}

    # -- records ------------------------------------------------------------------------------------------------------

    async def records(
        self, positions: Mapping[TopicPartition, int], *, share_bytes: int, records_max: int
    ) -> dict[TopicPartition, Chunk]:
        """Returns what follows each offset, as far as it is there: about `share_bytes` and at most `records_max` of a partition.

        A partition without more records, or without room for them in this request, has none; of a single partition at least
        one batch is returned. Raises OffsetGone.
        """
        with _answered():
            client = (await self._reader(positions))._client
            share = max(share_bytes, ALONE_BYTES) if len(positions) == 1 else share_bytes
            fetched = await fetch(client, client.send, positions, share)
        chunks: dict[TopicPartition, Chunk] = {}
        with bounded_poll():
            for part, one in fetched.items():
                try:
                    chunks[part] = Chunk(*read(part, one, positions[part], records_max))
                except PollFull:
                    chunks[part] = Chunk([], positions[part])
        return chunks

    # -- clients ------------------------------------------------------------------------------------------------------

    async def _reader(self, parts: Iterable[TopicPartition]) -> AIOKafkaConsumer:
        """Returns a client that has the leaders of these partitions, or requests them: all topics in one request. A question
        about topics that it does not have requests them one after the other."""
        client = await self._connected()
        for topic in {part.topic for part in parts}:
            client._client.add_topic(topic)
        return client

    async def _connected(self) -> AIOKafkaConsumer:
        async with self._connecting:
            if self._consumer is None:
                bound_decompression()
                client = AIOKafkaConsumer(
                    **client_arguments(self._settings), group_id=None, enable_auto_commit=False,
                    auto_offset_reset="none", isolation_level="read_committed", request_timeout_ms=self._request_ms_max,
                )  # fmt: skip
                try:
                    await client.start()
                except BaseException:
                    await client.stop()
                    raise
                self._consumer = client
            return self._consumer

    async def _administration(self) -> AIOKafkaAdminClient:
        async with self._connecting:
            if self._admin is None:
                client = AIOKafkaAdminClient(
                    **client_arguments(self._settings), request_timeout_ms=self._request_ms_max
                )
                try:
                    await client.start()
                except BaseException:
                    await client.close()
                    raise
                self._admin = client
            return self._admin
