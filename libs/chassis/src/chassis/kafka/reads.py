"""Reads from the broker that lose nothing: an error in one partition costs no record of another, nor its own next ones.

aiokafka moves a partition's position while it drains its records. If the next partition raises, the records drained so
far are dropped and their offsets are passed. Here every error of a poll rewinds all partitions to the first record that
was not returned. Then each partition is fetched and parsed by itself: an error of the fetch is transient (the broker is
away, the leader moved) and is retried; an error of the parse belongs to one batch, which is returned as `Unread`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from chassis.kafka import fetching
from chassis.kafka.decompression import PollFull, bound_decompression, bounded_poll
from chassis.kafka.record_batches import Entry, Fetched, Unread, read
from chassis.telemetry import Metrics

log = structlog.get_logger("chassis.kafka.reads")

FETCH_BYTES: Final = 256 * 1024
"""Requested of a partition that is read by itself. The broker returns a first batch even if it is larger."""
RETRY_SECONDS_MAX: Final = 5.0

Found = dict[TopicPartition, list[Entry]]


class Reads:
    """Reads the records of one client. `getmany` wraps the client's own."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.trouble: str | None = None
        """Why the last poll failed; None as soon as one succeeds."""
        self._client: Any = None
        self._send: Any = None
        self._getmany: Any = None
        self._next: dict[TopicPartition, int] = {}
        """Where reading goes on after an error, of each partition."""
        self._returned_to: dict[TopicPartition, int] = {}
        """The offset behind the last record that was returned, of each partition; `_next` may be past a marker behind it."""
        self._failures = 0

    def attach(self, client: Any) -> None:
        bound_decompression()
        self._client, self._getmany, self._send = client, client.getmany, client._client.send

    # -- positions ----------------------------------------------------------------------------------------------------

    def begin(self, positions: Mapping[TopicPartition, int]) -> None:
        """Set where reading begins, for every assigned partition."""
        self._next, self._returned_to = {}, {}
        for part, offset in positions.items():
            self.seek(part, offset)

    def seek(self, part: TopicPartition, offset: int) -> None:
        self._client.seek(part, offset)
        self._next[part] = self._returned_to[part] = offset

    def behind(self, handled: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """`handled`, moved behind transaction markers and aborted records if every record before them is handled."""
        assigned = self._client.assignment()
        positions = {}
        for part, offset in handled.items():
            if part in assigned:
                positions[part] = max(offset, self._position(part)) if self._returned_to.get(part) == offset else offset
        return positions

    def _position(self, part: TopicPartition) -> int:
        state = self._client._subscription.subscription.assignment.state_value(part)
        return int(state.position) if state is not None and state.has_valid_position else 0

    def _rewind(self) -> None:
        assigned = self._client.assignment()
        for part, offset in self._next.items():
            if part in assigned:
                self._client.seek(part, offset)

    # -- records ------------------------------------------------------------------------------------------------------

    async def getmany(self, *parts: TopicPartition, timeout_ms: int = 0, max_records: int) -> Found:
        """As the client's `getmany`. Raises ConsumerStoppedError if the client is closed, and nothing else."""
        try:
            with bounded_poll():
                found: Found = await self._getmany(*parts, timeout_ms=timeout_ms, max_records=max_records)
            self._returned(found)
            self._failures, self.trouble = 0, None
            return found
        except ConsumerStoppedError:
            raise
        except PollFull:
            log.info("poll_split")
        except NoOffsetForPartitionError as error:  # assigned a moment ago: `begin` follows
            self._failures += 1
            log.info("begins_later", error=repr(error))
        except Exception as error:
            self.trouble = repr(error)
            self._failures += 1
            if self._failures == 1:
                log.error("poll_failed", error=self.trouble)
        self._rewind()
        found = await self._one_by_one(parts or self._client.assignment(), max_records)
        if not found and self._failures:
            await asyncio.sleep(min(0.05 * 2**self._failures, RETRY_SECONDS_MAX) * random.uniform(0.5, 1))
        return found

    def _returned(self, found: Found) -> None:
        """Note how far each partition was read, and move the rest of its records behind those of the others.

        Otherwise the client would drain a large batch, of any store, before it returns a record of another partition.
        """
        fetched = self._client._fetcher._records
        for part, entries in found.items():
            self._next[part] = self._returned_to[part] = entries[-1].offset + 1
            if part in fetched:
                fetched.move_to_end(part)

    async def _one_by_one(self, parts: Iterable[TopicPartition], max_records: int) -> Found:
        """Read each partition by itself, in random order: a full poll must not always leave out the same ones."""
        found: Found = {}
        room = max_records
        paused = self._client.paused()
        with bounded_poll():
            for part in random.sample(list(parts), k=len(list(parts))):
                if room < 1:
                    break
                if part in paused or part not in self._next:
                    continue
                try:
                    entries = await self._read(part, room)
                except PollFull:
                    break
                if entries:
                    found[part] = entries
                    room -= len(entries)
        return found

    async def fetch(self, parts: Mapping[TopicPartition, int], partition_bytes: int) -> dict[TopicPartition, Fetched]:
        """As `fetching.fetch`."""
        return await fetching.fetch(self._client._client, self._send, parts, partition_bytes)

    async def _read(self, part: TopicPartition, records_max: int) -> list[Entry]:
        position = self._next[part]
        try:
            fetched = await self.fetch({part: position}, FETCH_BYTES)
            entries, behind = read(part, fetched[part], position, records_max)
        except OffsetOutOfRangeError:
            entries, behind = await self._out_of_range(part, position)
        except PollFull:
            raise
        except (KafkaError, OSError, TimeoutError) as error:
            self.trouble = repr(error)
            log.info("fetch_again", topic=part.topic, partition=part.partition, offset=position, error=repr(error))
            return []
        if part not in self._client.assignment():  # it was given to another member while we fetched
            return []
        self._client.seek(part, behind)
        self._next[part] = behind
        for entry in entries[-1:]:
            self._returned_to[part] = entry.offset + 1
            if type(entry) is Unread:
                self._report(entry)
        return entries

    async def _out_of_range(self, part: TopicPartition, position: int) -> tuple[list[Entry], int]:
        """The broker deleted records that were not read, or its log ends before `position`. Raises KafkaError."""
        first = (await self._client.beginning_offsets([part]))[part]
        if first <= position:  # the log is shorter than it was: a new cluster, or one that lost its last records
            log.error("log_is_shorter", topic=part.topic, partition=part.partition, position=position, read_from=first)
            return [], first
        detail = (
            f"{part.topic}-{part.partition}: offsets {position} to {first - 1} were deleted before they were read, by the"
            " topic's retention or by a person. Their messages have to be sent again."
        )
        return [Unread(part.topic, part.partition, position, first - 1, "records_missing", detail)], first

    def _report(self, unread: Unread) -> None:
        missing = unread.cause == "records_missing"
        counter = self.metrics.records_missing if missing else self.metrics.batches_unreadable
        counter.inc(unread.offset - unread.first + 1 if missing else 1)
        log.error(
            "records_missing" if missing else "batch_unreadable", topic=unread.topic, partition=unread.partition,
            first_offset=unread.first, last_offset=unread.offset, cause=unread.cause, detail=unread.detail,
        )  # fmt: skip
