"""A relay that is stopped is overtaken by the other worker of its service, and does no harm when it wakes (promise 2)."""

from __future__ import annotations

import asyncio
import signal

from devservices.system import Member
from tests.integration.shop import Options, Shop

SHOP = Options(workers=2)


async def holder(shop: Shop, service: str) -> Member:
    """Who holds the relay's lease now: its holder says its process id."""

    async def held() -> Member | None:
        rows = await shop.rows(service, "select holder from leases where name = 'relay' and until > clock_timestamp()")
        pids = [int(row["holder"].split(":")[1]) for row in rows]
        return next((member for member in shop.system.of(service) if member.pid in pids), None)

    found: Member = await shop.until(held, f"a relay of {service} that holds the lease", 20)
    return found


async def test_a_frozen_relay_is_overtaken_and_does_no_harm_when_it_wakes(shop: Shop) -> None:
    """First occurrences of each order's events stay in order; nothing is lost; nothing hangs meanwhile."""
    orders = await shop.place_many(5)
    async with shop.load(20) as around:
        for service in ("payments", "orders"):
            frozen = await holder(shop, service)
            frozen.send(signal.SIGSTOP)
            try:
                taken: Member = frozen
                async with asyncio.timeout(30):
                    while taken is frozen:
                        taken = await holder(shop, service)
                orders += await shop.send_snapshots(20)
            finally:
                frozen.send(signal.SIGCONT)
            orders += await shop.send_snapshots(20)
    await shop.until_at_rest([*orders, *around], 120)
    await shop.assert_promises()
