"""How many records wait on the partitions of a member, and since when the oldest one waits.

The broker is queried and not the client: a client that is paused or stuck fetches nothing, and would report its last
values for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiokafka import TopicPartition

from chassis.kafka.reads import Reads
from chassis.kafka.record_batches import appended_at

HEAD_BYTES: Final = 16 * 1024
"""Fetched of a partition to read when its first waiting batch was appended."""
ALONE_MAX: Final = 4
"""Maximum number of partitions, per measurement, whose first batch is above HEAD_BYTES and is fetched by itself."""


class Lag:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self.records = 0
        self._ends: dict[TopicPartition, int] = {}
        """The last stable offsets at the last measurement."""
        self._heads: dict[TopicPartition, tuple[int, float]] = {}
        """(offset, seconds since the epoch) of the first waiting record, where it has waited for a measurement or longer."""

    def age_seconds(self, now: float) -> float:
        """How long the oldest record has waited. A record that arrived after the last measurement does not count yet."""
        oldest = min((appended for _, appended in self._heads.values()), default=now)
        return max(now - oldest, 0.0)

    async def measure(self, client: Any, handled: Mapping[TopicPartition, int]) -> None:
        """`handled`: of each assigned partition the offset before which all is handled. Raises KafkaError."""
        ends = await client.end_offsets(list(handled)) if handled else {}
        before, self._ends = self._ends, ends
        self.records = sum(max(ends[part] - offset, 0) for part, offset in handled.items())
        waits = {
            part: offset for part, offset in handled.items() if offset < min(ends[part], before.get(part, ends[part]))
        }
        self._heads = {part: head for part, head in self._heads.items() if waits.get(part) == head[0]}
        new = {part: offset for part, offset in waits.items() if part not in self._heads}
        if new:
            await self._date(new)

    async def _date(self, heads: Mapping[TopicPartition, int]) -> None:
        """Fetch all heads in one request, and a batch that is too large for its share in a request of its own."""
        fetched = await self._reads.fetch(heads, HEAD_BYTES)
        empty = [part for part in heads if not fetched[part].raw][:ALONE_MAX]
        for part in empty:
            fetched |= await self._reads.fetch({part: heads[part]}, HEAD_BYTES)
        for part, offset in heads.items():
            appended = appended_at(fetched[part].raw, offset)
            if appended is not None:
                self._heads[part] = (offset, appended)
