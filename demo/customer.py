"""The customer of the demo: cancels some orders over HTTP, each after its money was captured."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg

from system.installation import Installation

PAUSE_SECONDS: Final = 0.2
# An order that waits for a person is not cancelled.
READY = """
select key, payment_status = 'paid' as captured, waiting = 'exception' as stuck from orders
where key = any($1) and (payment_status = 'paid' or waiting = 'exception')"""


class Customer:
    def __init__(self, installation: Installation, cancels: Iterable[UUID]) -> None:
        self.installation = installation
        self.pending = set(cancels)
        self.cancelled = 0
        self.refused: list[UUID] = []

    @property
    def done(self) -> bool:
        return not self.pending

    async def run(self) -> None:
        """Returns when every order is cancelled, refused, or waits for a person."""
        database = await asyncpg.connect(self.installation.system.dsn("orders"))
        try:
            async with self.installation.client("orders", 8) as client:
                while self.pending:
                    rows = await database.fetch(READY, list(self.pending))
                    if ready := [row["key"] for row in rows if row["captured"]]:
                        await asyncio.gather(*(self._cancel(client, key) for key in ready))
                    self.pending -= {row["key"] for row in rows if row["stuck"] and not row["captured"]}
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await database.close()

    async def _cancel(self, client: aiohttp.ClientSession, key: UUID) -> None:
        request = {"cause": "customer", "reason": "changed my mind"}
        try:
            async with client.post(
                f"/v1/orders/{key}/cancel", json=request, headers={"idempotency-key": f"cancel-{key}"}
            ) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return  # retried with the same idempotency key
        if status == 202:
            self.cancelled += 1
        elif status == 409:
            self.refused.append(key)
        else:
            return
        self.pending.discard(key)
