"""Which batch was begun and never ended: a message that kills the process is isolated and parked.

After the restart that message is where reading begins. So until the first commit for a partition since its assignment, the
database notes before each batch where the batch begins in the partition, and how often that was tried. Records that are
redelivered with such a count are handled in halves, quarters, at last one by one. A message that was alone in its batch and
ended the process CRASHES_MAX times is parked unhandled.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from asyncpg import Connection

from chassis.kafka.record_batches import Entry, first_offset

log = structlog.get_logger("chassis.kafka.attempts")

CRASHES_MAX: Final = 3
"""A message that was alone in its batch and ended the process this many times is parked unhandled."""
ALONE: Final = 1_000
"""Added to the count of crashes once a message is alone: the crashes of batches that it shared do not count against it."""

Begun = Mapping[TopicPartition, tuple[int | None, int]]
"""(first offset of the batch last begun, batches begun there and never ended) of partitions where it matters."""

# It must outlive the process, not the machine: no fsync is needed.
BEGUN = """
with unsynced as (select set_config('synchronous_commit', 'off', true))
insert into consumer_offsets (topic, partition, tried_offset, crashes)
select u.* from unsynced, unnest($1::text[], $2::int[], $3::bigint[], $4::int[]) as u
on conflict (topic, partition) do update set tried_offset = excluded.tried_offset, crashes = excluded.crashes"""


async def note(connection: Connection, begun: Begun) -> None:
    """Record the batch before it is tried."""
    await connection.execute(
        BEGUN,
        [part.topic for part in begun],
        [part.partition for part in begun],
        [first for first, _ in begun.values()],
        [count for _, count in begun.values()],
    )


class Attempts:
    def __init__(self) -> None:
        self.tried: dict[TopicPartition, tuple[int | None, int]] = {}
        self._before: dict[TopicPartition, tuple[int | None, int]] = {}
        """The same before the present batch was begun."""

    def restore(self, rows: Mapping[TopicPartition, Any]) -> None:
        """Start from the rows of `consumer_offsets` for the partitions that were assigned."""
        self.tried = {part: (row["tried_offset"], row["crashes"]) for part, row in rows.items()}
        self._before.clear()

    def is_deadly(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a record that is alone in its batch has ended the process too often."""
        tried, crashes = self.tried.get(TopicPartition(topic, partition), (None, 0))
        return tried == offset and crashes >= ALONE + CRASHES_MAX

    def chunks(self, records: Sequence[Entry]) -> tuple[list[Entry], list[Sequence[Entry]]]:
        """Records to handle before anything else, and the parts of a poll to handle after them, one by one.

        A poll is one part, unless a batch that begins in it was cut off by the end of its process: then that partition's
        records are split into parts half as large each time. The first list holds duplicates: records that were committed
        before the process died, and whose offsets it had not committed yet.
        """
        suspect: dict[TopicPartition, tuple[int, int]] = {}
        for part, first in firsts(records).items():
            tried, crashes = self.tried.get(part, (None, 0))
            if crashes and tried is not None and first <= tried:
                suspect[part] = (tried, crashes)
        if not suspect:
            return [], [records]
        handled: list[Entry] = []
        chunks: list[Sequence[Entry]] = []
        rest = [record for record in records if TopicPartition(record.topic, record.partition) not in suspect]
        for part, (tried, crashes) in suspect.items():
            all_of_it = [
                record for record in records if (record.topic, record.partition) == (part.topic, part.partition)
            ]
            handled += [record for record in all_of_it if record.offset < tried]
            mine = [record for record in all_of_it if record.offset >= tried]
            size = max(len(mine) >> crashes, 1)
            log.warning("batch_was_cut_off", topic=part.topic, partition=part.partition, crashes=crashes, size=size)
            chunks += [mine[n : n + size] for n in range(0, len(mine), size)]
        return handled, [rest, *chunks] if rest else chunks

    def begun_with(self, records: Sequence[Entry], unproven: Container[TopicPartition]) -> Begun:
        """What to note before these records are handled, for the partitions of `unproven`."""
        least = ALONE if len(records) == 1 else 0
        begun = {}
        for part, first in firsts(records).items():
            if part not in unproven:
                continue
            tried, crashes = self.tried.get(part, (None, 0))
            begun[part] = (first, max(crashes if tried == first else 0, least) + 1)
        return begun

    def begin(self, begun: Begun) -> None:
        self._before |= {part: self.tried.get(part, (None, 0)) for part in begun}
        self.tried |= begun

    def done(self, records: Sequence[Entry]) -> None:
        for part in firsts(records):
            self.tried.pop(part, None)
            self._before.pop(part, None)

    def survived(self) -> None:
        """The batch raised and the process lives: it does not count as a crash."""
        self.tried |= self._before
        self._before.clear()


def firsts(records: Sequence[Entry]) -> dict[TopicPartition, int]:
    """The offset of the first record of each partition."""
    return {part: first_offset(record) for part, record in _one_of_each(records).items()}


def ends(records: Sequence[Entry]) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition."""
    return {part: record.offset + 1 for part, record in _one_of_each(records[::-1]).items()}


def _one_of_each(records: Sequence[Entry]) -> dict[TopicPartition, Entry]:
    """The first of each partition."""
    found: dict[TopicPartition, Entry] = {}
    for record in records:
        part = (record.topic, record.partition)  # equal to the named tuple, which takes longer to make
        if part not in found:
            found[TopicPartition(*part)] = record
    return found
