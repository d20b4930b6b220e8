"""The warehouse of the demo: lists the parcels to pack and reports each as shipped, over HTTP like a real one.

It skips the orders that the service desk is going to cancel or edit: both come before the parcel leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any, Final

import aiohttp

from system.installation import Installation

PACKERS: Final = 32
"""The number of concurrent reports."""
PAGE: Final = 500
PAUSE_SECONDS: Final = 0.1
"""The pause if there is nothing to pack, or fulfillment does not answer."""


class Warehouse:
    def __init__(self, installation: Installation, skipped: Container[str]) -> None:
        """skipped: order ids; it may change meanwhile."""
        self.installation, self.skipped = installation, skipped
        self.shipped = 0
        self.refused = 0
        """Reports that fulfillment refused, e.g. of a cancelled shipment. A parcel is reported again while it is listed."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with self.installation.client("fulfillment", PACKERS) as client:
            while True:
                before = self.shipped
                try:
                    await self._ship_all(client, await self._to_pack(client))
                except* (aiohttp.ClientError, TimeoutError, OSError):
                    pass  # no answer: the parcels that were not shipped are listed again
                if self.shipped == before:
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _to_pack(self, client: aiohttp.ClientSession) -> list[str]:
        """The oldest parcels to pack. It starts at the first page each time: shipped parcels are not listed."""
        query: dict[str, Any] = {"status": "picking", "order": "oldest", "limit": PAGE}
        while True:
            async with client.get("/v1/shipments", params=query) as response:
                response.raise_for_status()
                page = await response.json()
            parcels = [one["shipment_id"] for one in page["items"] if one["order_id"] not in self.skipped]
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
