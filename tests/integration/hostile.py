"""Hostile traffic to mix with good orders: unreadable record batches, floods of one store, orders that no service accepts,
clients that never finish a request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiokafka import TopicPartition

from contracts.limits import ORDER_LINES_MAX
from contracts.registry import PARTITIONS, SNAPSHOTS
from devservices.raw_batches import ZSTD, batch, binary_header, send
from tests.integration.poison import POISONS, Raw
from tests.integration.shop import Shop

TOPICS = (SNAPSHOTS, "payments.events.v1", "fulfillment.commands.v1")
UNREADABLE = {
    "batch_unreadable": binary_header(batch([b"{}"] * 2)),
    "batch_too_large": batch([b"0" * (64 << 20)], codec=ZSTD),
}
CAUSES = frozenset({*UNREADABLE, *(poison.cause for poison in POISONS)})
"""What the parked rows may name as their cause afterwards; any other is a message that should have been handled."""
FLOOD_ORDERS = 20
REQUEST_SECONDS = 5.0
"""How long an unfinished request is left open."""


@asynccontextmanager
async def mixed_in(shop: Shop, seed: int) -> AsyncIterator[list[str]]:
    """Hostile traffic every second or two while the block runs; the good orders of the flooding store among it."""
    flooding = await shop.another_store("flooding")
    flooded: list[str] = []
    driver = asyncio.create_task(_drive(shop, flooding, random.Random(seed), flooded))
    try:
        yield flooded
    finally:
        driver.cancel()
        await asyncio.gather(driver, return_exceptions=True)
        assert driver.cancelled(), driver.exception()


async def _drive(shop: Shop, flooding: Shop, dice: random.Random, flooded: list[str]) -> None:
    open_requests: set[asyncio.Task[None]] = set()
    try:
        while True:
            part = TopicPartition(dice.choice(TOPICS), dice.randrange(PARTITIONS))
            await send(await shop.producer(), part, UNREADABLE[dice.choice(sorted(UNREADABLE))])
            await _send_poison(shop, dice)
            await _order_with_too_many_lines(shop)
            flooded += await flooding.send_snapshots(FLOOD_ORDERS, account="gateway")
            open_requests.add(asyncio.create_task(_unfinished_request(shop)))
            await asyncio.sleep(dice.uniform(1, 2))
    finally:
        for request in open_requests:
            request.cancel()
        await asyncio.gather(*open_requests, return_exceptions=True)


async def _send_poison(shop: Shop, dice: random.Random) -> None:
    spoilt = dice.choice([one for one in POISONS if one.cause != "too_large"]).spoil(Raw.of(shop.snapshot()))
    await (await shop.producer()).send_and_wait(SNAPSHOTS, spoilt.value, key=spoilt.key, headers=list(spoilt.headers))


async def _order_with_too_many_lines(shop: Shop) -> None:
    status, answer = await shop.call(
        "orders", "POST", "/v1/orders", shop.content([("S001", 1, 1)] * (ORDER_LINES_MAX + 1))
    )
    assert status in (413, 422), (status, answer)


async def _unfinished_request(shop: Shop) -> None:
    """A header without an end, as a slow or malicious client sends it."""
    address = urlsplit(shop.system.url("orders"))
    try:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        async with asyncio.timeout(REQUEST_SECONDS):
            writer.write(b"GET /v1/orders HTTP/1.1\r\nhost: a\r\nx-endless: ")
            while True:
                writer.write(b"a" * 10_000)
                await writer.drain()
                await asyncio.sleep(0.05)
    except (OSError, TimeoutError):
        return  # the service closed the connection, or was just killed
