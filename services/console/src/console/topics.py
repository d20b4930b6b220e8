"""How much is on each topic, how fast it grows, and how far each group of consumers is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chassis.kafka.inspection import Inspector, TopicPartition, partitions_of
from contracts.registry import SERVICES, TOPICS

GROUPS: Final = (*SERVICES, "console")
WINDOW: Final = timedelta(minutes=1)
"""Rates are those of this time."""


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    about: str
    retained: int
    """Offsets from the oldest record that is retained to the end: markers of transactions count."""
    per_second: float
    lags: Mapping[str, int]
    """By group, the records that it has not handled; of those that read the topic."""


async def read(inspector: Inspector, now: datetime) -> list[Topic]:
    """Raises BrokerSilent."""
    parts = partitions_of(TOPICS)
    ends, starts, before, *committed = await asyncio.gather(
        inspector.ends(parts), inspector.starts(parts), inspector.appended_since(parts, now - WINDOW),
        *(inspector.committed(group) for group in GROUPS),
    )  # fmt: skip
    recent = {part: ends[part] - first if (first := before.get(part)) is not None else 0 for part in parts}
    return [
        Topic(
            name, TOPICS[name].about, sum(ends[part] - starts[part] for part in mine),
            sum(recent[part] for part in mine) / WINDOW.total_seconds(),
            {group: _lag(mine, starts, ends, done) for group, done in zip(GROUPS, committed, strict=True) if done.keys() & set(mine)},
        )
        for name in TOPICS
        if (mine := partitions_of([name]))
    ]  # fmt: skip


def _lag(
    parts: list[TopicPartition],
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    done: Mapping[TopicPartition, int],
) -> int:
    """A commit may be newer than the end that was read."""
    return sum(max(ends[part] - done.get(part, starts[part]), 0) for part in parts)
