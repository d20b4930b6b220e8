"""Which batch was begun and never ended: a message that kills the process is found, alone, and parked.

What ends a process stands, after its restart, where reading begins. So as long as nothing of a partition was acknowledged
since it was assigned, the database notes before each batch where it begins there, and how often that was tried. What comes
again with such a count is taken in halves, quarters, at last one by one; what was alone and ended the process `CRASHES_MAX`
times is not handled any more.
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
"""A message that was alone in its batch and ended the process so often is parked unhandled."""
ALONE: Final = 1_000
"""Added to the count of crashes once a message is alone: those of the batches that it shared do not count against it."""

Begun = Mapping[TopicPartition, tuple[int | None, int]]
"""(first offset of the batch last begun, batches begun there and never ended) of partitions where it matters."""

# Lost with the machine, kept through a dead process: no fsync needed.
BEGUN = """
with unsynced as (select set_config('synchronous_commit', 'off', true))
insert into consumer_offsets (topic, partition, tried_offset, crashes)
select u.* from unsynced, unnest($1::text[], $2::int[], $3::bigint[], $4::int[]) as u
on conflict (topic, partition) do update set tried_offset = excluded.tried_offset, crashes = excluded.crashes"""


async def note(connection: Connection, begun: Begun) -> None:
    """Write it down before it is tried."""
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
        """The same before the batch at hand was begun."""

    def know(self, rows: Mapping[TopicPartition, Any]) -> None:
        """What the database noted of the partitions that were assigned."""
        self.tried = {part: (row["tried_offset"], row["crashes"]) for part, row in rows.items()}
        self._before.clear()

    def is_deadly(self, topic: str, partition: int, offset: int) -> bool:
        """Of a record that is alone in its batch: whether it has ended the process too often."""
        tried, crashes = self.tried.get(TopicPartition(topic, partition), (None, 0))
        return tried == offset and crashes >= ALONE + CRASHES_MAX

    def chunks(self, records: Sequence[Entry]) -> tuple[list[Entry], list[Sequence[Entry]]]:
        """The poll as it is; but where a batch was cut off by the end of its process, half as much each time.

        First what was committed before the process died and comes again, since it died before it told Kafka.
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
        """What is to be noted before these records are handled: of the partitions where a process may have ended before."""
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
        """An error came, and our own process lives: nothing of it counts as a crash."""
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
