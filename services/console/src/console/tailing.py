"""Reads messages from topics for pages: from the newest back, or from an offset or a time on. No group, nothing is committed.

A request reads for at most SECONDS_MAX and at most RECORDS_MAX records, and states how far it has come.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from chassis.http.paging import opened, sealed
from chassis.http.problems import known
from chassis.kafka.inspection import Inspector, TopicPartition, partitions_of
from chassis.kafka.publisher import partition_of
from chassis.kafka.record_batches import Unread
from console.domain.merging import Backward, Forward, Piece
from console.sought import Record, Sought
from contracts.registry import PARTITIONS, SNAPSHOTS, SNAPSHOTS_BULK, TOPICS

ROWS: Final = 50
RECORDS_MAX: Final = 20_000
SECONDS_MAX: Final = 0.5
SHARE_BYTES: Final = 64 * 1024
"""Requested of a partition that is read with others."""
SHARE_RECORDS: Final = 500

PLACE_BYTES_MAX: Final = 64 * 1024
"""Maximum size of an unpacked cursor."""

Positions = Mapping[TopicPartition, int]
Way = Literal["back", "on"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: `back` from the offsets down, or `on` from them."""

    way: Way
    positions: Positions


@dataclass(frozen=True, slots=True)
class Tailed:
    records: Sequence[Record]
    """In the order in which they were read: the newest first on the way back."""
    read: int
    """How many were compared with the filters."""
    reached: datetime | None
    """The time of the last one; null: none was read."""
    is_whole: bool
    """Whether there is nothing further on this way now."""
    further: Place
    """Where the next page on the same way begins."""
    newer: Place
    """Where what is newer than this page begins."""


class Tail:
    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    async def ends(self, parts: Sequence[TopicPartition]) -> Positions:
        """Returns the offset behind the newest record of each partition. Raises BrokerSilent."""
        return await self._inspector.ends(parts)

    async def between(self, since: Positions, until: Positions) -> AsyncIterator[Record]:
        """Yields the records of the partitions of `since`, in the order of their times; without those that retention has deleted.
        Raises BrokerSilent."""
        starts = await self._inspector.starts(list(since))
        merged = Forward(self._read, {part: max(at, starts[part]) for part, at in since.items()}, until)
        while (record := await merged.take()) is not None:
            yield record

    async def newest(self, parts: Sequence[TopicPartition]) -> Place:
        return Place("back", await self.ends(parts))

    async def since(self, parts: Sequence[TopicPartition], at: datetime) -> Place:
        ends = await self._inspector.ends(parts)
        found = await self._inspector.appended_since(parts, at)
        return Place("on", {part: end if (first := found.get(part)) is None else first for part, end in ends.items()})

    async def page(self, sought: Sought, place: Place) -> Tailed:
        """Returns what is found from a place on. Raises BrokerSilent."""
        parts = list(place.positions)
        starts, ends = await self._inspector.starts(parts), await self._inspector.ends(parts)
        # Retention deletes, and a topic may have been made anew, since the place was noted.
        positions = {part: min(max(at, starts[part]), ends[part]) for part, at in place.positions.items()}
        if place.way == "on":
            merged: Forward[TopicPartition, Record] | Backward[TopicPartition, Record]
            merged = Forward(self._read, positions, ends)
        else:
            merged = Backward(self._read, positions, starts)
        deadline = time.monotonic() + SECONDS_MAX
        found: list[Record] = []
        read, last = 0, None
        while (record := await merged.take()) is not None:
            read, last = read + 1, record
            if sought.fits(record):
                found.append(record)
            if len(found) == ROWS or read == RECORDS_MAX or time.monotonic() > deadline:
                break
        further = Place(place.way, merged.positions)
        newer = further if place.way == "on" else Place("on", positions)
        return Tailed(found, read, last.at if last is not None else None, record is None, further, newer)

    async def one(self, topic: str, partition: int, offset: int) -> Record | None:
        """Returns the record at an offset; None: there is none, or not any more. Raises BrokerSilent."""
        part = TopicPartition(topic, partition)
        [start], [end] = (await self._inspector.starts([part])).values(), (await self._inspector.ends([part])).values()
        if not start <= offset < end:
            return None
        piece = (await self._read({part: offset}, 1))[part]
        return next((record for record in piece.records if record.offset == offset), None)

    async def _read(
        self, positions: Positions, records_max: int = SHARE_RECORDS
    ) -> dict[TopicPartition, Piece[Record]]:
        chunks = await self._inspector.records(positions, share_bytes=SHARE_BYTES, records_max=records_max)
        return {
            part: Piece([record_of(entry) for entry in chunk.entries if not isinstance(entry, Unread)], chunk.behind)
            for part, chunk in chunks.items()
        }


def record_of(entry: Any) -> Record:
    return Record(entry.topic, entry.partition, entry.offset, entry.timestamp, entry.key, entry.value, entry.headers)


def partitions(sought: Sought) -> list[TopicPartition]:
    """Returns the partitions that may have what is sought.

    Services publish by the hash of the key. A connector may choose partitions in another way.
    """
    parts = partitions_of([sought.topic] if sought.topic else TOPICS)
    if sought.order is None:
        return parts
    own = partition_of(str(sought.order).encode())
    return [part for part in parts if part.partition == own or part.topic in (SNAPSHOTS, SNAPSHOTS_BULK)]


# -- places in addresses ----------------------------------------------------------------------------------------------


def cursor_of(place: Place) -> str:
    topics: dict[str, list[int | None]] = {}
    for part, offset in place.positions.items():
        topics.setdefault(part.topic, [None] * PARTITIONS)[part.partition] = offset
    return sealed(zlib.compress(orjson.dumps([place.way, topics])))


def place_of(cursor: str, parts: Sequence[TopicPartition]) -> Place:
    """Returns the place of a cursor, which is of a page of the same partitions. Raises Problem 400."""
    place = noted(cursor)
    if place is None or not place.positions.keys() >= set(parts):
        raise known("cursor_invalid", "use the link of the page before, unchanged")
    return Place(place.way, {part: place.positions[part] for part in parts})


def noted(cursor: str) -> Place | None:
    """Returns the place of a cursor, with the partitions that it was made of; None: it is no cursor of ours."""
    try:
        way, topics = orjson.loads(zlib.decompressobj().decompress(opened(cursor), PLACE_BYTES_MAX))
        positions = {
            part: offset
            for part in partitions_of(topics.keys() & TOPICS.keys())
            if (offset := topics[part.topic][part.partition]) is not None
        }
    except (ValueError, LookupError, TypeError, AttributeError, zlib.error):
        return None
    if way not in ("back", "on") or not all(type(at) is int and at >= 0 for at in positions.values()):
        return None
    return Place(way, positions)
