"""What is on a service's own events topic and is not its own must not keep it from starting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from chassis_counter import EVENTS, SERVICE, STORE, Added, World
from chassis_topics import renew_topic

from chassis.kafka.recovery import recover
from contracts.envelope import headers
from devservices import KafkaServer
from devservices.raw_batches import ZSTD, batch, binary_header, send

pytestmark = [pytest.mark.real, pytest.mark.asyncio]


def event(key: UUID, version: int, **named: str) -> dict[str, Any]:
    """A record of the counter's own; `named` replaces headers."""
    body = Added(order_id=key, store_id=STORE, operation_id=uuid4(), amount=1, total=version, version=version)
    written = headers(
        ce_id=str(uuid4()), source="counter", type="counter.added", time=datetime.now(UTC), subject=str(key),
        store_id=STORE, correlation_id="c",
    )  # fmt: skip
    changed = [(name, named[name].encode() if name in named else value) for name, value in written]
    return {"key": str(key).encode(), "value": body.model_dump_json().encode(), "headers": changed}


async def test_what_the_service_cannot_have_written_is_parked_and_its_own_events_are_adopted(
    world: World, kafka: KafkaServer
) -> None:
    """Promise 6, for the topic that a start depends on."""
    settings = world.settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
    await renew_topic(kafka.bootstrap_servers, EVENTS)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    good, broken = uuid4(), uuid4()
    stranger = event(uuid4(), 1)
    written = [
        (event(good, 1), None),
        (event(uuid4(), 1, ce_id="not-a-uuid"), "not_ours"),
        (event(uuid4(), 1, ce_source="somebody"), "not_ours"),
        (event(uuid4(), 1, ce_type="counter.imagined"), "not_ours"),
        (stranger | {"value": b"{"}, "bad_json"),
        (stranger | {"key": None}, "bad_key"),
        (stranger | {"headers": []}, "missing_header"),
        (event(broken, 9), "not_adopted"),
        (event(good, 2), None),
    ]
    expected: dict[tuple[int, int], str] = {}
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for record, cause in written:
            sent = await producer.send_and_wait(EVENTS, partition=3, **record)
            if cause is not None:
                expected[3, sent.offset] = cause
        for raw, cause in (
            (binary_header(batch([b"{}"])), "batch_unreadable"),
            (batch([b"0" * (64 << 20)], codec=ZSTD), "batch_too_large"),
        ):
            expected[3, await send(producer, TopicPartition(EVENTS, 3), raw)] = cause
        await producer.send_and_wait(EVENTS, partition=3, **event(good, 3))
        for _ in range(2):
            await producer.send_and_wait(EVENTS, partition=4, **event(uuid4(), 1))
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="stranger") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(EVENTS, partition=3, **event(good, 4))
        await producer.abort_transaction()
    await admin.delete_records({TopicPartition(EVENTS, 4): RecordsToDelete(before_offset=1)})
    await admin.close()
    expected[4, 0] = "records_missing"

    assert await recover(SERVICE, settings, world.database, world.metrics) == 4
    parked = await world.rows('select partition, "offset", cause, key from parked')
    assert {(row["partition"], row["offset"]): row["cause"] for row in parked} == expected
    assert [row["key"] for row in parked if row["key"] is not None] == [
        broken
    ]  # its next events must not be decided on
    assert await world.total(good) == 3
    assert await recover(SERVICE, settings, world.database, world.metrics) == 0
    assert await world.one("select count(*) from parked") == len(expected)
