"""FastStream's batch subscriber on all topics of a service. Only this file and `middlewares.py` import FastStream.

FastStream opens and closes the client, joins the group, runs one batch after the other through its middlewares and drains
on stop. What it would lose, repeat or slow down is replaced by what it offers for that: `get_msg` of the subscriber (see
`PolledSubscriber`); a parser (its own drops a batch for one header that is not UTF-8); no argument injection (it uses a
thread for each argument); manual acknowledgement (offsets are committed once a second, see `offsets.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final, cast

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream import AckPolicy
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.configs import KafkaBrokerConfig
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from chassis.batch.tracing import Tracing
from chassis.kafka.middlewares import metering, tracing_of_batches
from chassis.kafka.polls import Polls
from chassis.kafka.record_batches import Entry
from chassis.kafka.topics import ssl_context
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics

POLL_MS: Final = 1_000
"""Maximum time a poll waits for records before it polls again."""
PARTITION_FETCH_BYTES_MAX: Final = 64 * 1024
"""Requested of a partition at a time. The broker returns a larger batch only as the first in its response, so it waits
behind everything else. With 256 KiB the process grew through a long backlog."""
GRACE_SECONDS: Final = 20.0
"""Maximum time a stop waits for the running batch."""

Handle = Callable[[Sequence[Entry]], Awaitable[None]]


class PolledSubscriber(BatchSubscriber):
    """A batch subscriber whose batches are polls of `Polls`.

    FastStream's own `get_msg` calls the client's `getmany`: after an error it sleeps for 5 or 15 s and passes over the
    records that the client had drained. That of `Polls` loses none and raises only when the client is closed.
    """

    def __init__(self, polls: Polls, config: KafkaSubscriberConfig, records_max: int) -> None:
        calls = CallsCollection[Any]()
        described = KafkaSubscriberSpecificationConfig(topics=config.topics, title_=None, description_=None)
        specification = KafkaSubscriberSpecification(config._outer_config, described, calls)
        super().__init__(config, specification, calls, batch_timeout_ms=POLL_MS, max_records=records_max)
        self._polls = polls
        self._records_max = records_max

    async def get_msg(self, consumer: Any) -> tuple[Entry, ...]:
        self._polls.attach(consumer)
        found = await self._polls.poll(POLL_MS, self._records_max)
        return tuple(chain.from_iterable(found.values()))


def subscribe(
    broker: KafkaBroker, topics: Sequence[str], group: str, settings: ServiceSettings, polls: Polls,
    listener: ConsumerRebalanceListener, handle: Handle,
) -> PolledSubscriber:  # fmt: skip
    """Register `handle` for the batches of `topics`. It starts with the broker.

    `handle` raises for a batch that is redelivered: the middlewares record the error, nothing else follows from it.
    """
    session_ms = int(settings.session_timeout_seconds * 1000)
    config = KafkaSubscriberConfig(
        _outer_config=cast(KafkaBrokerConfig, broker.config),
        _ack_policy=AckPolicy.MANUAL,
        no_reply=True,
        topics=[Topic(name) for name in topics],
        group_id=group,
        listener=listener,
        connection_args={
            "group_instance_id": settings.kafka_group_instance_id,
            "fetch_max_wait_ms": 100,
            "max_partition_fetch_bytes": PARTITION_FETCH_BYTES_MAX,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "session_timeout_ms": session_ms,
            "heartbeat_interval_ms": min(1_000, session_ms // 3),
            "rebalance_timeout_ms": max(10_000, session_ms),
            # The partitions of equal number of all topics are assigned to one member.
            "partition_assignment_strategy": (RangePartitionAssignor,),
        },
    )
    subscriber = PolledSubscriber(polls, config, settings.batch_records_max)
    Registrator.subscriber(broker, subscriber)  # `broker.subscriber` makes its own class

    async def parse(records: tuple[Entry, ...]) -> Any:
        return KafkaAckableMessage(raw_message=records, body=b"", consumer=subscriber.consumer)

    async def decode(message: Any) -> tuple[Entry, ...]:
        records: tuple[Entry, ...] = message.raw_message
        return records

    subscriber(handle, parser=parse, decoder=decode)
    return subscriber


def broker_for(group: str, settings: ServiceSettings, metrics: Metrics, tracing: Tracing) -> KafkaBroker:
    """A broker that only consumes: the relay publishes."""
    middlewares = [metering(group, metrics.registry)]
    if tracing.provider is not None:
        middlewares.append(tracing_of_batches(group, tracing.provider))
    return KafkaBroker(
        settings.kafka_bootstrap_servers,
        consumer_only=True,
        apply_types=False,
        allow_auto_create_topics=False,
        graceful_timeout=GRACE_SECONDS,
        logger=None,
        client_id=f"tradewind-{group}",
        security=_security(settings),
        retry_backoff_ms=500,
        middlewares=middlewares,
    )


def _security(settings: ServiceSettings) -> BaseSecurity | None:
    """None on a plain connection."""
    context = ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        kind = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
        return kind[settings.kafka_sasl_mechanism](
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password,
            use_ssl=context is not None,
            ssl_context=context,
        )
    return BaseSecurity(use_ssl=True, ssl_context=context) if context else None
