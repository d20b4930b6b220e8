"""The marketplace of the demo: sends every order's snapshot to Kafka as a connector would, every tenth one twice.

Snapshots are created while they are sent: twenty thousand of them are never in memory at the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from aiokafka import AIOKafkaProducer

from contracts.envelope import headers
from contracts.ids import order_id
from contracts.limits import RECORD_BYTES_MAX
from contracts.registry import SNAPSHOTS
from demo.payment_methods import Method, method_of, payment_of
from demo.retail import ACCOUNT, CHANNEL, RetailOrder, id_of, snapshot
from demo.trouble import sent_twice
from system.topics import client_arguments

SOURCE: Final = f"{CHANNEL}/{ACCOUNT}"
IN_FLIGHT_MAX: Final = 500
"""The maximum number of records that the broker has not acknowledged yet."""


@dataclass
class Sent:
    """The records sent so far."""

    started_at: float = 0.0
    """time.monotonic() when the first snapshot went out."""
    records: int = 0
    at_ms: dict[UUID, int] = field(default_factory=dict)
    """The Kafka timestamp of each order's first snapshot."""


async def replay(
    bootstrap_servers: str, run: Sequence[RetailOrder], store_id: str, sent: Sent, cards: Mapping[UUID, str],
    methods: Collection[Method],
) -> None:  # fmt: skip
    """Sends every snapshot of the run as fast as the broker accepts them. Returns when all are acknowledged.

    cards: order id -> the id of its gift card. methods: the payment methods that there are.
    """
    producer = AIOKafkaProducer(
        **client_arguments(bootstrap_servers),
        acks="all",
        enable_idempotence=True,
        max_request_size=RECORD_BYTES_MAX,
        max_batch_size=256 * 1024,
        linger_ms=2,
    )
    await producer.start()
    try:
        sent.started_at = time.monotonic()
        confirming: set[asyncio.Task[None]] = set()
        for position, order in enumerate(run):
            if len(confirming) >= IN_FLIGHT_MAX:
                done, confirming = await asyncio.wait(confirming, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            key = id_of(order, store_id, order_id)
            body = snapshot(order, cards.get(key), payment_of(method_of(key, order, methods)))
            confirming.add(asyncio.create_task(_send(producer, key, body, store_id, sent_twice(position), sent)))
            await asyncio.sleep(0)
        await asyncio.gather(*confirming)
    finally:
        await producer.stop()


async def _send(
    producer: AIOKafkaProducer, key: UUID, body: Mapping[str, Any], store_id: str, twice: bool, sent: Sent
) -> None:
    content_hash = body["source"]["content_hash"]
    record = headers(
        ce_id=f"{key}/{body['source']['sequence']}",
        source=SOURCE,
        type="marketplace.snapshot",
        time=datetime.now(UTC),
        subject=str(key),
        store_id=store_id,
        correlation_id=f"{key}/{content_hash[-12:]}",
    )
    value = orjson.dumps(body)
    copies = [
        await producer.send(SNAPSHOTS, value=value, key=str(key).encode(), headers=record)
        for _ in range(2 if twice else 1)
    ]
    first = await copies[0]
    sent.at_ms[key] = first.timestamp
    for copy in copies[1:]:
        await copy
    sent.records += len(copies)
