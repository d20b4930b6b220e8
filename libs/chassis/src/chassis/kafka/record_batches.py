"""Record batches as a broker returns them, read up to the first one that is unreadable.

A batch is unreadable if its codec is unknown, its checksum is wrong, its bytes are cut off, a header name is not UTF-8,
or it decompresses to more than `decompression.BATCH_BYTES_MAX`. aiokafka raises then, and cannot step over it. `read` returns the
records before such a batch and an `Unread` entry for exactly its offsets.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from chassis.batch.parking import Rejected
from chassis.batch.record import Record
from chassis.kafka.decompression import BatchTooLarge, PollFull

STORED_BYTES_MAX: Final = 1024 * 1024
"""An unreadable batch is parked with this many of its first bytes, and with the hash of all of them."""

_HEADER: Final = struct.Struct(">qiibIhiqq")
"""base offset, length of what follows it, leader epoch, magic, CRC-32C, attributes, last offset delta, time of the first
record, time of the last one; both times are those of the append on our topics, in ms."""
_LENGTH: Final = struct.Struct(">qi")
_SMALLEST: Final = 26
"""Bytes of the smallest batch of any format."""
_PREFIX: Final = 12
"""Bytes of a batch that its length does not count."""
_CHECKED_FROM: Final = 21
"""The checksum covers the bytes from here to the end."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Offsets without a record that can be handled. It is one entry among the records of a poll, and is parked."""

    topic: str
    partition: int
    first: int
    offset: int
    """The last one: reading continues behind it, as behind a record."""
    cause: str
    detail: str
    value: bytes | None = None
    """The first STORED_BYTES_MAX bytes of the raw batch; None if the broker no longer has it."""

    def rejected(self) -> Rejected:
        """Blocks no order: which orders the records belong to cannot be read."""
        return Rejected(
            Record(self.topic, self.partition, self.first, None, self.value, ()), None, self.cause, self.detail
        )


Entry: TypeAlias = ConsumerRecord | Unread


def first_offset(entry: Entry) -> int:
    return entry.first if type(entry) is Unread else entry.offset


class Fetched(NamedTuple):
    """A partition's part of a fetch response."""

    raw: bytes
    aborted: Sequence[tuple[int, int]] | None
    """(producer id, first offset) of aborted transactions."""
    end: int
    """The last stable offset: what is at or behind it is not returned yet."""


def read(part: TopicPartition, fetched: Fetched, position: int, records_max: int) -> tuple[list[Entry], int]:
    """At most `records_max` records from `position`, up to and including the first unreadable batch; the offset behind them.

    Stops before a batch for which the poll has no room. Raises PollFull if that is the first one.
    """
    batches = _Batches(fetched.raw)
    reader = PartitionRecords(part, batches, fetched.aborted, position, None, None, True, READ_COMMITTED)
    batches.position = lambda: reader.next_fetch_offset
    entries: list[Entry] = []
    try:
        entries.extend(islice(reader, records_max))
    except PollFull:
        if not entries and reader.next_fetch_offset == position:
            raise
    except MemoryError:
        raise
    except Exception as error:
        unread = _unread(part, fetched, batches, error)
        return [*(entry for entry in entries if entry.offset < unread.first), unread], unread.offset + 1
    return entries, reader.next_fetch_offset


class _Batches:
    """The batches of a fetch, one by one, and where the one at hand begins. What aiokafka expects of its MemoryRecords."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        """Where the batch at hand begins in `raw`."""
        self.first = 0
        """The first offset of it that is to be read."""
        self.position: Callable[[], int] = int
        self._next = 0

    def has_next(self) -> bool:
        """A batch that is cut off at the end comes whole with the next fetch. The first one is never cut off."""
        left = len(self.raw) - self._next
        return left > 0 and (self._next == 0 or (left >= _PREFIX and _size(self.raw, self._next) <= left))

    def next_batch(self) -> Any:
        self.at, self.first = self._next, self.position()
        batch = _batch_at(self.raw, self.at)
        self._next += len(batch)
        records = MemoryRecords(batch)
        if not records.has_next():
            raise ValueError("the batch is shorter than its header states")
        return records.next_batch()


def _size(raw: bytes, at: int) -> int:
    return int(_PREFIX + _LENGTH.unpack_from(raw, at)[1])


def appended_at(raw: bytes, offset: int) -> float | None:
    """When the broker appended the batch that holds `offset`, in seconds since the epoch; None if it is not in `raw`."""
    at = 0
    while len(raw) - at >= _HEADER.size:
        base, length, _, _, _, _, last_delta, _, last_ms = _HEADER.unpack_from(raw, at)
        if base + last_delta >= offset:
            return float(last_ms / 1000)
        at += max(_PREFIX + length, _SMALLEST)
    return None


def _unread(part: TopicPartition, fetched: Fetched, batches: _Batches, error: Exception) -> Unread:
    batch = _batch_at(fetched.raw, batches.at)
    last = _last_offset(fetched, batch, batches)
    cause = "batch_too_large" if isinstance(error, BatchTooLarge) else "batch_unreadable"
    detail = (
        f"{part.topic}-{part.partition}: offsets {batches.first} to {last} cannot be read: {error!r}. The raw batch has"
        f" {len(batch)} bytes, SHA-256 {hashlib.sha256(batch).hexdigest()}. Send its messages again, then discard this one."
    )
    return Unread(part.topic, part.partition, batches.first, last, cause, detail, batch[:STORED_BYTES_MAX])


def _last_offset(fetched: Fetched, batch: bytes, batches: _Batches) -> int:
    """The last offset of an unreadable batch. With a wrong checksum its header may be wrong, too.

    Then the first offset of an intact batch behind it decides; else its header, if that stays within the log; else one offset
    is skipped.
    """
    if len(batch) < _HEADER.size:
        return batches.first
    base, _, _, _, _, _, delta, _, _ = _HEADER.unpack_from(batch)
    last = int(base + delta)
    if not _intact(batch):
        following = _batch_at(fetched.raw, batches.at + len(batch))
        if _intact(following) and (begins := _HEADER.unpack_from(following)[0]) > batches.first:
            return int(begins - 1)
    return last if batches.first <= last < fetched.end else batches.first


def _batch_at(raw: bytes, at: int) -> bytes:
    """One batch; all that is left if it has no valid length."""
    left = len(raw) - at
    size = _size(raw, at) if left >= _PREFIX else 0
    return raw[at : at + size] if _SMALLEST <= size <= left else raw[at:]


def _intact(batch: bytes) -> bool:
    if len(batch) < _HEADER.size:
        return False
    return bool(_HEADER.unpack_from(batch)[4] == calc_crc32c(batch[_CHECKED_FROM:]))
