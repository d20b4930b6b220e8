"""How topics are made, and what happens to those that exist."""

from __future__ import annotations

import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from chassis_counter import settings

from chassis.kafka.topics import provision
from contracts.registry import PARTITIONS, SNAPSHOTS, SNAPSHOTS_BULK
from devservices import KafkaServer
from tests.waiting import patience

pytestmark = [pytest.mark.real, pytest.mark.asyncio]


async def test_records_are_kept_from_the_moment_at_which_they_arrived(kafka: KafkaServer) -> None:
    """Promise 1: a record dated back by a connector is not deleted unread. A topic that exists is corrected."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    own = {"retention.ms": "123456789", "message.timestamp.type": "CreateTime"}
    await admin.create_topics([NewTopic(SNAPSHOTS_BULK, PARTITIONS, 1, topic_configs=own)])
    for _ in range(2):
        await provision(
            settings("postgresql://nobody@127.0.0.1:1/none", kafka_bootstrap_servers=kafka.bootstrap_servers)
        )

    async def of(topic: str) -> dict[str, str]:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in response.resources[0][4]}

    async with patience():
        while (await of(SNAPSHOTS_BULK))["message.timestamp.type"] != "LogAppendTime":
            pass  # brokers apply a changed setting a moment after it was accepted
    assert (await of(SNAPSHOTS))["message.timestamp.type"] == "LogAppendTime"
    assert (await of(SNAPSHOTS_BULK))["retention.ms"] == "123456789"
    await admin.close()
    before = int(time.time() * 1000)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        sent = await producer.send_and_wait(SNAPSHOTS_BULK, b"", partition=0, timestamp_ms=before - 8 * 86_400_000)
    assert sent.timestamp >= before
