"""Credentials of a broker, and the creation of topics."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from chassis.settings import ServiceSettings
from contracts.limits import RECORD_BYTES_MAX
from contracts.registry import PARTITIONS, TOPICS

log = structlog.get_logger("chassis.kafka.topics")

MADE, EXISTS = 0, 36
"""Error codes that `create_topics` returns instead of raising."""
SET_ON_TOPIC = 1
"""The source of a setting that was made on the topic itself."""
APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
"""Retention counts from the append. By the sender's timestamp a record that is dated back would be deleted unread."""


def ssl_context(settings: ServiceSettings) -> ssl.SSLContext | None:
    return ssl.create_default_context() if settings.kafka_security_protocol.endswith("SSL") else None


def client_arguments(settings: ServiceSettings) -> dict[str, Any]:
    """Addresses and credentials for an aiokafka client."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "retry_backoff_ms": 500,
    }
    if context := ssl_context(settings):
        arguments["ssl_context"] = context
    if settings.kafka_security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    return arguments


class TopicsDiffer(Exception):
    """A topic has another number of partitions than in the registry: keys would move."""


async def provision(settings: ServiceSettings, timeout_seconds: float = 60) -> None:
    """Create the topics of the registry and wait until each has its leaders. Idempotent.

    A topic that exists with another kind of timestamp is altered. Raises TopicsDiffer when one exists with another
    partition count, RuntimeError when the broker refuses.
    """
    admin = AIOKafkaAdminClient(**client_arguments(settings))
    async with asyncio.timeout(timeout_seconds):
        await admin.start()
        try:
            configs = {
                "retention.ms": str(settings.topic_retention_hours * 3_600_000),
                "max.message.bytes": str(RECORD_BYTES_MAX + 65_536),
                "min.insync.replicas": "2" if settings.replication_factor > 2 else "1",
                **APPEND_TIME,
            }
            answer = await admin.create_topics(
                [NewTopic(name, PARTITIONS, settings.replication_factor, topic_configs=configs) for name in TOPICS]
            )
            if bad := [error[:2] for error in answer.topic_errors if error[1] not in (MADE, EXISTS)]:
                raise RuntimeError(f"topics were refused by the broker: {bad}")
            while True:
                found = {topic["topic"]: topic for topic in await admin.describe_topics(list(TOPICS))}
                if all(
                    name in found
                    and found[name]["error_code"] == 0
                    and len(found[name]["partitions"]) >= PARTITIONS
                    and all(partition["leader"] >= 0 for partition in found[name]["partitions"])
                    for name in TOPICS
                ):
                    break
                await asyncio.sleep(0.05)
            await _correct_timestamps(admin)
        finally:
            await admin.close()
    differing = {
        name: len(found[name]["partitions"]) for name in TOPICS if len(found[name]["partitions"]) != PARTITIONS
    }
    if differing:
        raise TopicsDiffer(
            f"expected {PARTITIONS} partitions, found {differing}; make a new topic version and drain instead"
        )


async def _correct_timestamps(admin: AIOKafkaAdminClient) -> None:
    """Make retention count from the append on topics that were made otherwise. All else that was set on them stays."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in TOPICS]
    wrong = []
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code != MADE:
                raise RuntimeError(f"the settings of {name} cannot be read: {message}")
            found = {entry[0]: entry[1] for entry in entries}
            if found | APPEND_TIME != found:
                # The protocol replaces all settings of a topic: those that were made on it are sent along.
                own = {entry[0]: entry[1] for entry in entries if entry[3] == SET_ON_TOPIC}
                wrong.append(ConfigResource(ConfigResourceType.TOPIC, name, own | APPEND_TIME))
    if not wrong:
        return
    for response in await admin.alter_configs(wrong):
        if refused := [resource for resource in response.resources if resource[0] != MADE]:
            raise RuntimeError(f"message.timestamp.type could not be set to LogAppendTime: {refused}")
    log.warning("topics_altered", topics=[one.name for one in wrong], **APPEND_TIME)


async def topics_ready(settings: ServiceSettings, names: list[str]) -> bool:
    """Whether every topic that a consumer needs is there: it would block for 40 s on a missing one."""
    admin = AIOKafkaAdminClient(**client_arguments(settings))
    try:
        async with asyncio.timeout(10):
            await admin.start()
            known = set(await admin.list_topics())
        return set(names) <= known
    finally:
        await admin.close()
