"""What a poll is made of, and when the broker is asked for more.

aiokafka asks for more as soon as all that it has was taken, and is answered when the first record arrives. During a batch it
would so fetch one record, and what comes behind that would wait for the batch after the next. Here a fetch waits a while for
the next poll and brings all that has come by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from chassis.kafka.reads import Found, Reads

INTAKE_RECORDS_MAX = 128
"""New orders in a poll: enough for a batch that is worth its transaction, few enough to keep every service busy."""
HOLD_SECONDS = 0.04
"""So long a fetch waits for the next poll: a small batch is through by then. A large one has it done while it is under way."""


class Polls:
    """The polls of one client: what is under way first, then a little of what is new.

    Orders that came in floods would go through the services as one wave, and all but one of them would wait.
    """

    def __init__(self, intake: Iterable[str], reads: Reads) -> None:
        self._intake = frozenset(intake)
        self._reads = reads
        self._client: Any = None
        self._send: Any = None
        self._wanted = asyncio.Event()
        """Set while the broker may be asked for more."""
        self._hold: asyncio.TimerHandle | None = None

    def attach(self, client: Any) -> None:
        """Reads from this client, and holds its fetches. Once: it is called with every poll."""
        if client is self._client:
            return
        self._reads.attach(client)
        self._client, self._send = client, client._client.send
        client._client.send = self._send_when_wanted

    async def _send_when_wanted(self, node_id: int, request: Any, **how: Any) -> Any:
        if isinstance(request, FetchRequest):
            await self._wanted.wait()
        return await self._send(node_id, request, **how)

    async def poll(self, timeout_ms: int, max_records: int) -> Found:
        """What is there; waits until there is something, because FastStream sleeps after an empty poll.

        At most `max_records` of what is under way. In bytes it is bounded by what the client fetches of a partition.
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
        """Add what else the client has, without waiting."""
        assigned = self._client.assignment()
        new = {part for part in assigned if part.topic in self._intake}
        for parts, at_most in ((assigned - new, max_records), (new, INTAKE_RECORDS_MAX)):
            room = at_most - sum(len(records) for part, records in found.items() if part in parts)
            if parts and room > 0:
                for part, records in (await self._reads.getmany(*parts, max_records=room)).items():
                    found.setdefault(part, []).extend(records)
