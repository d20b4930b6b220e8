"""Topics in memory, which pages read as `chassis.kafka.inspection.Inspector` reads those of a broker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.structs import TopicPartition

from chassis.kafka.inspection import BrokerSilent, Chunk, OffsetGone
from chassis.kafka.publisher import partition_of
from console.api import serving

Offsets = dict[TopicPartition, int]


class FakeTopics:
    def __init__(self) -> None:
        self.is_silent = False
        self._records: defaultdict[TopicPartition, list[ConsumerRecord]] = defaultdict(list)
        self._starts: defaultdict[TopicPartition, int] = defaultdict(int)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """The console that is made within reads these topics."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serving, "Inspector", lambda *_: self)
            yield

    def append(self, *records: ConsumerRecord) -> list[str]:
        """Returns the path of each record's page, below `/topics`."""
        paths = []
        for one in records:
            part = TopicPartition(one.topic, partition_of(one.key))
            at, offset = int(datetime.now(UTC).timestamp() * 1000), len(self._records[part])
            self._records[part].append(replace(one, partition=part.partition, offset=offset, timestamp=at))
            paths.append(f"{part.topic}/{part.partition}/{offset}")
        return paths

    def clear(self) -> None:
        self._records.clear()

    def delete_all(self) -> None:
        """As retention does."""
        self._starts.update({part: len(records) for part, records in self._records.items()})

    # -- as the inspector ---------------------------------------------------------------------------------------------

    async def ends(self, parts: Iterable[TopicPartition]) -> Offsets:
        self._answer()
        return {part: len(self._records[part]) for part in parts}

    async def starts(self, parts: Iterable[TopicPartition]) -> Offsets:
        self._answer()
        return {part: self._starts[part] for part in parts}

    async def appended_since(self, parts: Iterable[TopicPartition], at: datetime) -> dict[TopicPartition, int | None]:
        self._answer()
        since = at.timestamp() * 1000
        return {
            part: next((one.offset for one in self._records[part] if one.timestamp >= since), None) for part in parts
        }

    async def records(
        self, positions: Mapping[TopicPartition, int], *, share_bytes: int, records_max: int
    ) -> dict[TopicPartition, Chunk]:
        self._answer()
        chunks: dict[TopicPartition, Chunk] = {}
        for part, at in positions.items():
            if at < self._starts[part]:
                raise OffsetGone(str(part))
            found: list[Any] = self._records[part][at : at + records_max]
            chunks[part] = Chunk(found, at + len(found))
        return chunks

    async def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.is_silent:
            raise BrokerSilent("the broker is away")
