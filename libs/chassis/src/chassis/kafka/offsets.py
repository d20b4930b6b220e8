"""How far each assigned partition was handled, and how far the database and Kafka have recorded that.

Offsets are not committed with each batch: sixty partitions cost the broker and the database more than the batch does.
A record whose offset was not committed in time is redelivered, and the inbox removes the duplicate. The database is written
first: if it had recorded less than Kafka, every start would read records again for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.batch.statements import store_offsets
from chassis.kafka.attempts import ends, firsts
from chassis.kafka.reads import Reads
from chassis.kafka.record_batches import Entry

log = structlog.get_logger("chassis.kafka.offsets")

COMMIT_SECONDS: Final = 1.0
"""Between two commits of a member that handles records."""
IDLE_SECONDS: Final = 0.2
"""From the last record to the commit of a member that has no more: a restart then reads nothing again."""
COMMIT_SECONDS_MAX: Final = 2.0
"""Time limit of a commit, to the database and to Kafka."""

RECORDED = """
select topic, partition, next_offset, tried_offset, crashes from consumer_offsets where topic = any($1::text[])"""


class Offsets:
    def __init__(self, database: Database, reads: Reads) -> None:
        self._database = database
        self._reads = reads
        self._handled: dict[TopicPartition, int] = {}
        """The offset behind the last record that was handled, of each assigned partition."""
        self._committed: dict[TopicPartition, int] = {}
        """The same, as the database and Kafka have recorded it."""
        self.unproven: set[TopicPartition] = set()
        """Partitions without a commit since their assignment. A record that ended a process before is redelivered in one of
        them: each of their batches is noted before it is tried, and stores its offsets in its own transaction."""
        self._committed_at = 0.0
        self._handled_at = 0.0

    async def assign(self, client: Any, parts: set[TopicPartition]) -> Mapping[TopicPartition, Any]:
        """Seek each partition to min(database, Kafka): a restored database reads again what it lost.

        Returns the rows of `consumer_offsets`, by partition. Raises KafkaError or an error of the database.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(RECORDED, sorted({part.topic for part in parts}))
        recorded = {TopicPartition(row["topic"], row["partition"]): row for row in rows}
        ordered = list(parts)
        committed = dict(zip(ordered, await asyncio.gather(*map(client.committed, ordered)), strict=True))
        new = [part for part in parts if part not in recorded and committed[part] is None]
        positions = await client.beginning_offsets(new) if new else {}
        if positions:  # stored, so that records deleted unread from here on are noticed, even after a restart
            async with self._database.connection() as connection:
                await store_offsets(connection, {(part.topic, part.partition): n for part, n in positions.items()})
        for part in parts - set(new):
            ours = recorded[part]["next_offset"] if part in recorded else 0
            theirs = committed[part] if committed[part] is not None else ours
            positions[part] = min(ours, theirs)
            if ours < theirs:
                log.info("seek_back", topic=part.topic, partition=part.partition, kafka=theirs, database=ours)
        self._reads.begin(positions)
        self.unproven = set(parts)
        self._handled, self._committed = dict(positions), dict(positions)
        return recorded

    def revoke(self) -> None:
        self._handled.clear()

    def handled(self) -> dict[TopicPartition, int]:
        """For each assigned partition the offset before which every record is handled."""
        return self._reads.behind(self._handled) if self._handled else {}

    def done(self, records: Sequence[Entry]) -> None:
        self._handled |= ends(records)
        self._handled_at = time.monotonic()

    def to_store_with(self, offsets: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Those of `offsets` that a batch stores in its own transaction."""
        return {part: offset for part, offset in offsets.items() if part in self.unproven}

    def rewind(self, client: Any, records: Sequence[Entry]) -> None:
        """Read the records again, but for partitions that were assigned to another member meanwhile."""
        assigned = client.assignment()
        for part, first in firsts(records).items():
            if part in assigned:
                self._reads.seek(part, first)

    @property
    def commit_is_due(self) -> bool:
        return time.monotonic() > self._committed_at + COMMIT_SECONDS

    @property
    def idle(self) -> bool:
        return time.monotonic() > self._handled_at + IDLE_SECONDS

    async def commit(self, client: Any) -> None:
        """Record how far each partition was handled. If the database or Kafka is away, a later commit does."""
        moved = {part: n for part, n in self.handled().items() if self._committed.get(part) != n}
        if not moved:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                async with self._database.connection() as connection:
                    await store_offsets(connection, {(part.topic, part.partition): n for part, n in moved.items()})
                await client.commit(moved)
        except Exception as error:
            if not isinstance(error, (KafkaError, ValueError)) and not is_transient(error):
                raise
            log.info("committed_later", error=repr(error))  # ValueError: the group is rebalancing
            return
        self._committed |= moved
        self.unproven.difference_update(moved)
        self._committed_at = time.monotonic()
