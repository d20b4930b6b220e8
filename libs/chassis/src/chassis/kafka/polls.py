"""Which records a poll takes, and when the client fetches more.

aiokafka fetches again as soon as its records are taken, and the broker responds when the first record arrives. During a batch
this would fetch one record, and the records behind it would wait for the batch after the next. Here a fetch is held back until
the next poll, for HOLD_SECONDS at most, and returns all records that have arrived by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from chassis.kafka.reads import Found, Reads

INTAKE_RECORDS_MAX = 128
"""New orders in a poll: enough for the cost of a transaction, few enough to keep every service busy."""
HOLD_SECONDS = 0.04
"""Maximum time a fetch waits for the next poll. A small batch takes less; during a large one the fetch is sent."""
IDLE_WAIT_MS = 500
"""Maximum time a broker waits for a first record when it is asked for all partitions that it has of ours. It responds as soon as
there is one, so an idle service asks twice a second. While some are left out (paused, or with records to take), the client's
`fetch_max_wait_ms` holds: no other fetch can be sent meanwhile, and these partitions wait for it."""


class Polls:
    """The polls of one client: answers and commands first, then at most INTAKE_RECORDS_MAX new orders.

    A flood of new orders would pass through the services as one wave, and all services but one would wait.
    """

    def __init__(self, intake: Iterable[str], reads: Reads) -> None:
        self._intake = frozenset(intake)
        self._reads = reads
        self._client: Any = None
        self._send: Any = None
        self._wanted = asyncio.Event()
        """Set while the client may fetch."""
        self._hold: asyncio.TimerHandle | None = None

    def attach(self, client: Any) -> None:
        """Use this client and hold its fetches back. Called with every poll; the first call counts."""
        if client is self._client:
            return
        self._reads.attach(client)
        self._client, self._send = client, client._client.send
        client._client.send = self._send_when_wanted

    async def _send_when_wanted(self, node_id: int, request: Any, **how: Any) -> Any:
        if isinstance(request, FetchRequest):
            await self._wanted.wait()
            if self._has_all(node_id, request):
                request._max_wait_ms = IDLE_WAIT_MS
        return await self._send(node_id, request, **how)

    def _has_all(self, node_id: int, request: FetchRequest) -> bool:
        """Whether it asks for every partition of ours that this broker leads."""
        wanted = {TopicPartition(topic, number) for topic, parts in request.topics for number, *_ in parts}
        leader = self._client._client.cluster.leader_for_partition
        return all(part in wanted for part in self._client.assignment() if leader(part) == node_id)

    async def poll(self, timeout_ms: int, max_records: int) -> Found:
        """Returns the records that are fetched; waits until there is one.

        At most `max_records` answers and commands. Their bytes are bounded by what the client fetches of a partition.
        """
        if self._hold is not None:
            self._hold.cancel()
        self._wanted.set()
        found: Found = {}
        while not found:
            found = await self._reads.getmany(timeout_ms=timeout_ms, max_records=INTAKE_RECORDS_MAX)
        await self._fill(found, max_records)
        self._wanted.clear()
        self._hold = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._wanted.set)
        return found

    async def _fill(self, found: Found, max_records: int) -> None:
        """Add the other records that the client has fetched, without waiting."""
        assigned = self._client.assignment()
        new = {part for part in assigned if part.topic in self._intake}
        for parts, at_most in ((assigned - new, max_records), (new, INTAKE_RECORDS_MAX)):
            room = at_most - sum(len(records) for part, records in found.items() if part in parts)
            if parts and room > 0:
                for part, records in (await self._reads.getmany(*parts, max_records=room)).items():
                    found.setdefault(part, []).extend(records)
