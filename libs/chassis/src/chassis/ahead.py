"""What the next batch is made of, taken over while the present one is under way.

aiokafka asks the broker for more only when all that it has was taken. Taken between two batches alone, what arrives during
one would wait for the batch after the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

log = structlog.get_logger("chassis.ahead")

LOOK_MS = 15
"""Between two looks at what has arrived during a batch. More often: a fetch for each few records."""
INTAKE_RECORDS_MAX = 128
"""New orders in a poll: enough for a batch that is worth its transaction, few enough to keep every service busy."""
BYTES_MAX = 4 * 1024 * 1024
"""Found and not polled: when it is more, no more is taken over. A topic admits records as large as this."""

Found = dict[TopicPartition, list[ConsumerRecord]]


class Ahead:
    """The polls of one client: what is under way first, then a little of what is new.

    Orders that came in floods would go through the services as one wave, and all but one of them would wait.
    """

    def __init__(self, intake: Iterable[str], records_max: int) -> None:
        self._intake, self._records_max = frozenset(intake), records_max
        self._client: Any = None
        self._getmany: Any = None
        self._found: Found = {}
        self._bytes = 0

    def attach(self, client: Any) -> None:
        """From now on the client's `getmany` is ours. FastStream sleeps after an empty poll: so polls are never empty."""
        self._client, self._getmany = client, client.getmany
        client.getmany = self.poll

    async def poll(self, timeout_ms: int, max_records: int) -> Found:
        """What was found meanwhile and what is there now; waits until there is something."""
        while True:
            await self._take_over()
            found = self._handed_out()
            if found or (found := await self._getmany(timeout_ms=timeout_ms, max_records=INTAKE_RECORDS_MAX)):
                return found

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """While a batch is under way."""
        look = asyncio.create_task(self._look())
        try:
            yield
        finally:
            look.cancel()

    def forget(self) -> list[ConsumerRecord]:
        """What was found and not polled; whoever still wants it reads it again."""
        return [record for records in self._handed_out().values() for record in records]

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def _handed_out(self) -> Found:
        found, self._found, self._bytes = self._found, {}, 0
        return found

    async def _look(self) -> None:
        """Until it is cancelled. An error ends it for this batch: the next poll asks again, and fails if it must."""
        try:
            while True:
                await asyncio.sleep(LOOK_MS / 1000)
                await self._take_over()
        except ConsumerStoppedError:
            pass  # the process ends
        except KafkaError as error:
            log.warning("look_failed", error=repr(error))

    async def _take_over(self) -> None:
        assigned = self._client.assignment()
        new = {part for part in assigned if part.topic in self._intake}
        for parts, at_most in ((assigned.difference(new), self._records_max), (new, INTAKE_RECORDS_MAX)):
            room = at_most - sum(len(records) for part, records in self._found.items() if part in parts)
            if parts and room > 0 and self._bytes < BYTES_MAX:
                for part, records in (await self._getmany(*parts, max_records=room)).items():
                    self._found.setdefault(part, []).extend(records)
                    self._bytes += sum(len(record.value or b"") for record in records)
