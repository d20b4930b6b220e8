"""The simulated warehouse: it asks fulfillment for parcels to pack and reports each as shipped, over HTTP like a real one.

It leaves alone the orders whose customer is going to cancel: those must be cancelled before they leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import aiohttp

from system.installation import Installation

PACKERS: Final = 32
"""Parcels that are reported at the same time."""
PAGE: Final = 500
PAUSE_SECONDS: Final = 0.1
"""Between two looks when there is nothing to pack, or the service is away."""


class Warehouse:
    def __init__(self, installation: Installation, leave_alone: Iterable[str]) -> None:
        self.installation = installation
        self.leave_alone = frozenset(leave_alone)
        """Order ids."""
        self.shipped = 0
        self.refused = 0
        """The shipment was cancelled meanwhile, say; asked for again as long as it is listed."""

    async def run(self) -> None:
        """Until it is cancelled."""
        async with self.installation.client("fulfillment", PACKERS) as client:
            while True:
                before = self.shipped
                try:
                    await self._ship_all(client, await self._to_pack(client))
                except* (aiohttp.ClientError, TimeoutError, OSError):
                    pass  # the service is away or busy: what was not shipped is listed again
                if self.shipped == before:
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _to_pack(self, client: aiohttp.ClientSession) -> list[str]:
        """The oldest shipments that wait. Always from the beginning: what was shipped is not listed any more."""
        query: dict[str, Any] = {"status": "picking", "limit": PAGE}
        while True:
            async with client.get("/v1/shipments", params=query) as response:
                response.raise_for_status()
                page = await response.json()
            parcels = [one["shipment_id"] for one in page["items"] if one["order_id"] not in self.leave_alone]
            if parcels or page["next_cursor"] is None:
                return parcels
            query["cursor"] = page["next_cursor"]

    async def _ship_all(self, client: aiohttp.ClientSession, parcels: list[str]) -> None:
        waiting = iter(parcels)

        async def packer() -> None:
            for shipment_id in waiting:
                headers = {"idempotency-key": f"ship-{shipment_id}"}
                async with client.post(f"/v1/shipments/{shipment_id}/ship", json={}, headers=headers) as response:
                    await response.read()
                    if response.status == 200:
                        self.shipped += 1
                    else:
                        self.refused += 1

        async with asyncio.TaskGroup() as packers:
            for _ in range(min(PACKERS, len(parcels))):
                packers.create_task(packer())
