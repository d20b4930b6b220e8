"""The buyers of the demo who pay by card without a token: in a session before their order, or a dearer edit, which is a second
authorization, as a token pays once.

A buyer gets what a storefront gives: the action of the session or of the pending authorization, whose `client_secret` names the
payment at the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg

from system.installation import Installation

PAUSE_SECONDS: Final = 0.3
PENDING: Final = """
select order_id, operation_id, kind from operations
where kind in ('authorize', 'prepay') and state = 'pending' and gateway = 'stripe'"""


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
                            await self._pay(payments, gateway, dict(row))
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await database.close()

    async def _pay(
        self, payments: aiohttp.ClientSession, gateway: aiohttp.ClientSession, row: Mapping[str, Any]
    ) -> None:
        """Pays it, if the gateway waits for its buyer. What gets no answer is tried in the next round. row: of `PENDING`."""
        try:
            async with payments.get(_path(row)) as response:
                answer = await response.json() if response.status == 200 else {}
            action = answer.get("action", answer)  # a session has it among its fields
            if not action:
                return
            secret = action["client_secret"]
            async with gateway.post(f"/buyers/{secret.partition('_secret_')[0]}/confirm") as response:
                if response.status == 200:
                    self.paid.add(row["operation_id"])
        except (aiohttp.ClientError, TimeoutError, OSError):
            return


def _path(row: Mapping[str, Any]) -> str:
    """Where payments has the buyer's action. An operation `prepay` has the id of its session."""
    if row["kind"] == "prepay":
        return f"/v1/payment-sessions/{row['operation_id']}"
    return f"/v1/payments/{row['order_id']}/operations/{row['operation_id']}/action"
