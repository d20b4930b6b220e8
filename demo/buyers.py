"""The buyers of the demo who pay by card: a dearer edit is a second authorization, and a token pays once, so they pay it themselves.

A buyer gets what a storefront gives: the action of the pending authorization, whose `client_secret` names the payment at the gateway.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg

from system.installation import Installation

PAUSE_SECONDS: Final = 0.3
PENDING: Final = """
select order_id, operation_id from operations where kind = 'authorize' and state = 'pending' and gateway = 'stripe'"""


class Buyers:
    def __init__(self, installation: Installation, gateway_url: str) -> None:
        self.installation, self.gateway_url = installation, gateway_url
        self.paid: set[UUID] = set()
        """Operation ids."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        database = await asyncpg.connect(self.installation.system.dsn("payments"))
        try:
            async with (
                self.installation.client("payments", 1) as payments,
                aiohttp.ClientSession(self.gateway_url, timeout=aiohttp.ClientTimeout(total=120)) as gateway,
            ):
                while True:
                    for row in await database.fetch(PENDING):
                        if row["operation_id"] not in self.paid:
                            await self._pay(payments, gateway, row["order_id"], row["operation_id"])
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await database.close()

    async def _pay(
        self, payments: aiohttp.ClientSession, gateway: aiohttp.ClientSession, key: UUID, operation_id: UUID
    ) -> None:
        """Pays it, if the gateway waits for its buyer. What gets no answer is tried in the next round."""
        try:
            async with payments.get(f"/v1/payments/{key}/operations/{operation_id}/action") as response:
                if response.status != 200:
                    return
                secret = (await response.json())["client_secret"]
            async with gateway.post(f"/buyers/{secret.partition('_secret_')[0]}/confirm") as response:
                if response.status == 200:
                    self.paid.add(operation_id)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
