"""The member of a service's consumer group: it handles polls, commits offsets, and pauses the intake topics."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from chassis import crash
from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.batch.shell import Shell
from chassis.declare.service import Service
from chassis.kafka.attempts import Attempts, Begun, note
from chassis.kafka.decoding import Decoder
from chassis.kafka.lag import Lag
from chassis.kafka.offsets import Offsets
from chassis.kafka.polls import Polls
from chassis.kafka.reads import Reads
from chassis.kafka.record_batches import Entry
from chassis.kafka.subscriber import broker_for, subscribe
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from contracts.registry import SNAPSHOTS, SNAPSHOTS_BULK, topic_of

log = structlog.get_logger("chassis.kafka.consumer")

LAG_SECONDS: Final = 2.0
"""Time limit of a measurement of the lag."""
LAG_VALID_SECONDS: Final = 10.0
"""An older measurement states nothing any more."""
COMMIT_WAIT_SECONDS: Final = 8.0
"""Maximum time a commit waits for the running batch."""
RETRY_SECONDS_MAX: Final = 5.0
"""Maximum time before a failed batch is retried."""


def topics_of(service: Service) -> list[str]:
    """The topics that a service reads: those of the messages that it handles, and those of its listener."""
    topics = {topic_of(model) for model in service.handles()}
    if service.listener is not None:
        topics |= service.listener.topics
    if SNAPSHOTS in topics:
        topics.add(SNAPSHOTS_BULK)
    return sorted(topics)


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    def __init__(
        self, service: Service, settings: ServiceSettings, database: Database, shell: Shell, metrics: Metrics
    ) -> None:
        self.service, self.database, self.shell, self.metrics = service, database, shell, metrics
        self.topics = topics_of(service)
        self.attempts = Attempts()
        self.decoder = Decoder(service, settings, database, metrics, self.attempts)
        self.reads = Reads(metrics)
        self.offsets = Offsets(database, self.reads)
        self.joined = asyncio.Event()
        self.broker = broker_for(service.name, settings, metrics, shell.tracing)
        self._polls = Polls(service.intake, self.reads)
        self._subscriber = subscribe(
            self.broker, self.topics, service.name, settings, self._polls, self, self._on_batch
        )
        self._lag = Lag(self.reads)
        self._lag_measured_at = float("-inf")
        self._busy = asyncio.Lock()
        """Held while a batch is handled or offsets are committed."""
        self._stopping = False
        self._failures = 0
        self.intake_paused = False

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self.broker.start()

    async def stop(self) -> None:
        """Finish and commit the running batch, leave the group."""
        self._stopping = True
        await self.commit()
        await self.broker.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self.commit()
        self.offsets.revoke()
        self.joined.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is read before it is recorded where reading begins: a later message would overtake an earlier one."""
        client = self._subscriber.consumer
        assert client is not None
        self._polls.attach(client)
        parts = set(assigned)
        client.pause(*parts)
        while True:
            try:
                self.attempts.restore(await self.offsets.assign(client, parts))
                break
            except Exception as error:
                if not isinstance(error, KafkaError) and not is_transient(error):
                    raise
                if self._stopping:
                    return
                log.info("assigned_later", error=repr(error))
                await asyncio.sleep(0.5)
        client.resume(*parts)
        self.joined.set()

    async def commit(self) -> None:
        """Commit the offsets between two batches. After COMMIT_WAIT_SECONDS a later commit has to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_WAIT_SECONDS), self._busy:
                await self._commit()

    async def commit_if_due(self) -> None:
        """For a member that is idle, or whose batch fails again and again: a batch that succeeds commits by itself."""
        idle = self.offsets.idle and not self._busy.locked()
        if idle or self.offsets.commit_is_due:
            await self.commit()

    async def _commit(self) -> None:
        if self._subscriber.consumer is not None:
            await self.offsets.commit(self._subscriber.consumer)

    # -- a batch ------------------------------------------------------------------------------------------------------

    async def _on_batch(self, records: Sequence[Entry]) -> None:
        """Handle a poll. If that fails, its records are read again, and the error is raised for the middlewares."""
        async with self._busy:
            try:
                await self._handle(records)
            except Exception as error:
                await self._pause_after(error)
                self.offsets.rewind(self._subscriber.consumer, records)
                raise
            self._failures = 0
            self.offsets.done(records)
            crash.point("after_handling_before_ack")
            if self.offsets.commit_is_due:
                await self._commit()

    async def _handle(self, records: Sequence[Entry]) -> None:
        handled, chunks = self.attempts.chunks(records)
        if handled:  # duplicates: the count of crashes behind them is still needed
            await self.shell.take(await self.decoder.decode(handled))
        for chunk in chunks:
            begun = self.attempts.begun_with(chunk, self.offsets.unproven)
            noting = asyncio.create_task(self._note(begun))  # the database writes while the records are decoded
            try:
                intake = await self.decoder.decode(chunk)
            finally:
                await noting
            self.attempts.begin(begun)
            intake.offsets = self.offsets.to_store_with(intake.offsets)
            await self.shell.take(intake)
            self.attempts.done(chunk)

    async def _note(self, begun: Begun) -> None:
        if not begun:
            return
        async with self.database.connection() as connection:
            await note(connection, begun)

    async def _pause_after(self, error: Exception) -> None:
        """Before a batch is retried: exponential, with jitter."""
        self._failures += 1
        pause = min(0.1 * 2 ** min(self._failures, 6), RETRY_SECONDS_MAX) * random.uniform(0.5, 1.5)
        expected = is_transient(error)
        (log.info if expected else log.error)(
            "batch_retried", error=repr(error), after_seconds=round(pause, 2), exc_info=not expected
        )
        self.attempts.survived()
        await asyncio.sleep(pause)

    # -- intake and lag -----------------------------------------------------------------------------------------------

    def pause_intake(self, pause: bool) -> None:
        """Stop or resume reading the intake topics; replies and commands are never paused."""
        client = self._subscriber.consumer
        if client is None or not self.service.intake:
            return
        parts = [part for part in client.assignment() if part.topic in self.service.intake]
        if not parts or not self.joined.is_set():  # while partitions are assigned, the assignment keeps all paused
            return
        # The client's own state decides: an assignment resumes every partition, also one that was paused here before.
        if pause:
            client.pause(*parts)
        elif paused := client.paused().intersection(parts):
            client.resume(*paused)
        if pause != self.intake_paused:
            log.info("intake_paused" if pause else "intake_resumed")
        self.intake_paused = pause
        self.metrics.intake_paused.set(pause)

    async def measure_lag(self) -> None:
        """Set the gauges of what waits, paused partitions included. While the broker is away, the age grows."""
        if self.joined.is_set():
            try:
                async with asyncio.timeout(LAG_SECONDS):
                    await self._lag.measure(self._subscriber.consumer, self.offsets.handled())
                self._lag_measured_at = time.monotonic()
            except (KafkaError, TimeoutError, OSError) as error:
                log.info("lag_later", error=repr(error))
        lag, age_seconds = self.lag()
        self.metrics.lag.set(lag)
        self.metrics.lag_age.set(age_seconds)

    def lag(self) -> tuple[int, float]:
        """Returns how many records waited at the last measurement, and for how many seconds the oldest of them has."""
        return self._lag.records, self._lag.age_seconds(self.database.clock.now_or_host())

    def behind_seconds(self) -> float | None:
        """Returns how long the oldest record that is not handled has waited; None while the broker does not answer."""
        if not self.joined.is_set() or time.monotonic() - self._lag_measured_at > LAG_VALID_SECONDS:
            return None
        return self._lag.age_seconds(self.database.clock.now_or_host())
