"""Topic -> shell. One batch subscriber on all topics of the service.

Everything FastStream is in here. Its defaults would lose or repeat messages, or cost much; each odd argument below answers
one: an own parser (the default one drops a batch for one header that is not UTF-8), no injection of arguments (it asks a
thread for each), no acknowledging by itself (the database and Kafka are told once a second how far we are), the range
assignor (equal partitions of all topics on one member), and a drain that covers the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from chassis import crash
from chassis.batch.database import Database
from chassis.batch.driver import QuickUUID
from chassis.batch.errors import is_transient
from chassis.batch.inbound import Inbound
from chassis.batch.intake import Intake
from chassis.batch.parking import Rejected, shown
from chassis.batch.record import Record
from chassis.batch.shell import Shell
from chassis.batch.staleness import STALE, judged_by_time
from chassis.batch.statements import store_offsets
from chassis.batch.transaction import YIELD_EVERY
from chassis.declare.service import Service
from chassis.kafka.attempts import CRASHES_MAX, Attempts, Begun, ends, firsts, note
from chassis.kafka.lag import Lag
from chassis.kafka.polls import Polls
from chassis.kafka.reads import Reads
from chassis.kafka.record_batches import Entry, Unread
from chassis.kafka.topics import security
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from contracts.envelope import Ignored, Poison, key_of, read, texts
from contracts.registry import SNAPSHOTS, SNAPSHOTS_BULK, TOPICS, topic_of

log = structlog.get_logger("chassis.kafka.consumer")

POLL_MS = 1_000
"""A poll returns with the first records; it looks at itself once in this time when there are none."""
PARTITION_FETCH_BYTES_MAX = 64 * 1024
"""Asked of a partition at a time; a larger batch comes all the same, but only as the first in an answer, and so behind
everything else. With 256 KiB the process grew through a long backlog."""
ACKNOWLEDGE_SECONDS = 1.0
"""Between two commits of offsets to Kafka."""
LAG_SECONDS = 2.0
"""At most for a measurement of the lag."""


def topics_of(service: Service) -> list[str]:
    """What a service reads, from the messages it obeys."""
    topics = {topic_of(model) for model in service.obeys()}
    if SNAPSHOTS in topics:
        topics.add(SNAPSHOTS_BULK)
    return sorted(topics)


class _Raw:
    """Nothing is decoded before our own code: it gets the records as they came."""

    async def decode(self, msg: Any) -> Any:
        return msg.raw_message

    async def decode_batch(self, msg: Any) -> Any:
        return msg.raw_message

    async def encode(self, body: Any, serializer: Any = None) -> Any:
        return body, None

    async def encode_batch(self, bodies: Any, serializer: Any = None) -> Any:
        return [(body, None) for body in bodies]


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    def __init__(
        self, service: Service, settings: ServiceSettings, database: Database, shell: Shell, metrics: Metrics
    ) -> None:
        self.service, self.settings, self.database, self.shell, self.metrics = (
            service,
            settings,
            database,
            shell,
            metrics,
        )
        self.topics = topics_of(service)
        self._busy = asyncio.Lock()
        self.attempts = Attempts()
        self.reads = Reads(metrics)
        self._polls = Polls(service.intake, self.reads)
        self._lag = Lag(self.reads)
        self._handled: dict[TopicPartition, int] = {}
        """The offset behind the last record that was handled, of each assigned partition."""
        self._acknowledged: dict[TopicPartition, int] = {}
        """The same, as the database and Kafka have it."""
        self._unproven: set[TopicPartition] = set()
        """Assigned and not acknowledged since. What ended a process before comes again in one of these: each batch of
        theirs is noted before it is tried, and how far it went is stored in its own transaction."""
        self._acknowledged_at = 0.0
        self._stopping = False
        self._failures = 0
        self._paused = False
        self.joined = asyncio.Event()
        self.broker = KafkaBroker(
            settings.kafka_bootstrap_servers,
            codec=_Raw(),
            apply_types=False,
            allow_auto_create_topics=False,
            graceful_timeout=20.0,
            logger=None,
            client_id=f"tradewind-{service.name}",
            security=security(settings),
            retry_backoff_ms=500,
        )
        self._subscriber = self._mount()

    def _mount(self) -> Any:
        session_ms = int(self.settings.session_timeout_seconds * 1000)
        subscriber = self.broker.subscriber(
            *self.topics,
            group_id=self.service.name,
            group_instance_id=self.settings.kafka_group_instance_id,
            batch=True,
            max_records=self.settings.batch_records_max,
            batch_timeout_ms=POLL_MS,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
            auto_offset_reset="none",
            isolation_level="read_committed",
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            listener=self,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(1_000, session_ms // 3),
            rebalance_timeout_ms=max(10_000, session_ms),
            partition_assignment_strategy=(RangePartitionAssignor,),
        )

        async def poll(client: Any) -> tuple[Entry, ...]:
            self._polls.attach(client)
            found = await self._polls.poll(POLL_MS, self.settings.batch_records_max)
            return tuple(chain.from_iterable(found.values()))

        # FastStream would poll the client itself, and sleep for 15 s after an error, without the records of that poll.
        subscriber.get_msg = poll  # type: ignore[method-assign, assignment]

        async def parse(records: Sequence[Entry]) -> Any:
            return KafkaAckableMessage(raw_message=records, body=b"", consumer=subscriber.consumer)

        @subscriber(parser=parse)
        async def on_batch(records: Sequence[Entry]) -> None:
            async with self._busy:
                try:
                    await self._poll(records)
                except Exception as error:
                    await self._failed(error)
                    self._rewind(records)
                    return
                self._failures = 0
                self._handled |= ends(records)
                crash.point("after_handling_before_ack")
                await self._acknowledge()

        return subscriber

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self.broker.start()

    async def stop(self) -> None:
        """Finish and commit the running batch, leave the group."""
        self._stopping = True
        await self.acknowledge(at_once=True)
        await self.broker.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self.acknowledge(at_once=True)
        self._handled.clear()
        self.joined.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is read before it is known where reading begins: a later message would overtake an earlier one."""
        consumer = self._subscriber.consumer
        self._polls.attach(consumer)
        parts = set(assigned)
        consumer.pause(*parts)
        while True:
            try:
                await self._seek(parts)
                break
            except Exception as error:
                if not isinstance(error, KafkaError) and not is_transient(error):
                    raise
                if self._stopping:
                    return
                log.info("assigned_later", error=repr(error))
                await asyncio.sleep(0.5)
        consumer.resume(*parts)
        self.joined.set()

    async def _seek(self, parts: set[TopicPartition]) -> None:
        """To min(database, Kafka): a database that was restored or failed over reads again what it lost."""
        consumer = self._subscriber.consumer
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "select topic, partition, next_offset, tried_offset, crashes from consumer_offsets"
                " where topic = any($1::text[])",
                sorted({part.topic for part in parts}),
            )
        known = {TopicPartition(row["topic"], row["partition"]): row for row in rows}
        self.attempts.know(known)
        self._unproven = set(parts)
        committed = {part: await consumer.committed(part) for part in parts}
        unknown = [part for part in parts if part not in known and committed[part] is None]
        positions = await consumer.beginning_offsets(unknown) if unknown else {}
        if positions:  # stored: what is deleted from here on before it was read is noticed, after a restart too
            async with self.database.connection() as connection:
                await store_offsets(connection, {(part.topic, part.partition): n for part, n in positions.items()})
        for part in parts - set(unknown):
            ours = known[part]["next_offset"] if part in known else 0
            theirs = committed[part] if committed[part] is not None else ours
            positions[part] = min(ours, theirs)
            if ours < theirs:
                log.info("seek_back", topic=part.topic, partition=part.partition, kafka=theirs, database=ours)
        self.reads.begin(positions)
        self._handled, self._acknowledged = dict(positions), dict(positions)

    # -- how far we are -----------------------------------------------------------------------------------------------

    async def acknowledge(self, *, at_once: bool = False) -> None:
        """Say between two batches how far we are, if it is due. Not told in time, the messages come again and are known."""
        if not at_once and not self._acknowledging_is_due:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(8), self._busy:
                await self._acknowledge(at_once=at_once)

    @property
    def _acknowledging_is_due(self) -> bool:
        return time.monotonic() > self._acknowledged_at + ACKNOWLEDGE_SECONDS

    async def _acknowledge(self, *, at_once: bool = False) -> None:
        """Not with each batch: sixty partitions cost broker and database more than the batch does.

        The database first: it must never remember less than Kafka, or a start would read again for nothing.
        """
        consumer = self._subscriber.consumer
        if consumer is None or not (at_once or self._acknowledging_is_due):
            return
        told = {part: n for part, n in self.handled().items() if self._acknowledged.get(part) != n}
        if not told:
            return
        try:
            async with asyncio.timeout(2):
                async with self.database.connection() as connection:
                    await store_offsets(connection, {(part.topic, part.partition): n for part, n in told.items()})
                await consumer.commit(told)
        except Exception as error:
            if not isinstance(error, (KafkaError, ValueError)) and not is_transient(error):
                raise
            log.info("acknowledged_later", error=repr(error))  # one of them is away, or the group changes
            return
        self._acknowledged |= told
        self._unproven.difference_update(told)
        self._acknowledged_at = time.monotonic()

    def _rewind(self, records: Sequence[Entry]) -> None:
        """The same records again. What was assigned to somebody else meanwhile is theirs."""
        consumer = self._subscriber.consumer
        for part, first in firsts(records).items():
            if part in consumer.assignment():
                self.reads.seek(part, first)

    # -- a poll -------------------------------------------------------------------------------------------------------

    async def _poll(self, records: Sequence[Entry]) -> None:
        handled, chunks = self.attempts.chunks(records)
        if handled:  # duplicates: they must not make us forget what was tried behind them
            await self.shell.take(await self.decode(handled))
        for chunk in chunks:
            begun = self.attempts.begun_with(chunk, self._unproven)
            noting = asyncio.create_task(self._note(begun))  # the database writes it down while we decode
            try:
                intake = await self.decode(chunk)
            finally:
                await noting
            self.attempts.begin(begun)
            intake.offsets = {part: offset for part, offset in intake.offsets.items() if part in self._unproven}
            await self.shell.take(intake)
            self.attempts.done(chunk)

    async def _note(self, begun: Begun) -> None:
        if not begun:
            return
        async with self.database.connection() as connection:
            await note(connection, begun)

    async def _failed(self, error: Exception) -> None:
        """Before the batch is taken again."""
        self._failures += 1
        pause = min(0.1 * 2 ** min(self._failures, 6), 5.0) * random.uniform(0.5, 1.5)
        known = is_transient(error)
        (log.info if known else log.error)(
            "batch_again", error=repr(error), after_seconds=round(pause, 2), exc_info=not known
        )
        self.attempts.survived()
        await asyncio.sleep(pause)

    async def decode(self, records: Sequence[Entry]) -> Intake:
        """Before the transaction: what is understood, and what is parked and why."""
        intake = Intake()
        clock = self.database.clock if self.database.clock.was_read else await self.database.read_clock()
        now, now_is_exact = clock.now(), False
        for n, record in enumerate(records):
            if n % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if type(record) is Unread:
                entry: Inbound | Rejected | None = record.rejected()
            else:
                entry = self._decode(record, now, alone=len(records) == 1)
            if type(entry) is Rejected and entry.cause in STALE and not now_is_exact:  # a suspended host lags behind
                now, now_is_exact = (await self.database.read_clock()).now(), True
                entry = self._decode(record, now, alone=len(records) == 1)
            if entry is not None:
                intake.entries.append(entry)
            else:
                intake.ignored += 1
            intake.offsets[record.topic, record.partition] = record.offset + 1
        if intake.ignored:
            self.metrics.ignored.inc(intake.ignored)
        return intake

    def _decode(self, raw: ConsumerRecord, now: float, *, alone: bool) -> Inbound | Rejected | None:
        record = Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, raw.headers)
        if alone and self.attempts.is_deadly(raw.topic, raw.partition, raw.offset):
            return Rejected(record, key_of(raw.key), "crashed", f"the process died {CRASHES_MAX} times while it was handled",
                           _readable(record, "ce_storeid"), _readable(record, "ce_type"))  # fmt: skip
        try:
            received = read(raw.topic, raw.key, raw.value, raw.headers)
        except Ignored:
            return None
        except Poison as poison:
            key = None if poison.cause == "key_is_not_subject" else key_of(raw.key)
            return Rejected(record, key, poison.cause, poison.detail,
                           _readable(record, "ce_storeid"), _readable(record, "ce_type"))  # fmt: skip
        except Exception as error:  # a check of ours that fell over: one record must not stop all
            log.error("decoder_failed", topic=raw.topic, offset=raw.offset, error=repr(error), exc_info=True)
            return Rejected(record, key_of(raw.key), "unreadable", shown(error),
                           _readable(record, "ce_storeid"), _readable(record, "ce_type"))  # fmt: skip
        if self.service.handler_of(type(received.body), None) is None:
            if not TOPICS[raw.topic].addressed:
                return None  # a known event that this service does not listen to
            return Rejected(record, received.key, "unknown_type", f"{self.service.name} does not obey {received.type}",
                           received.store_id, received.type)  # fmt: skip
        if (refused := judged_by_time(received.time, now, self.settings.inbox_horizon_seconds)) is not None:
            return Rejected(record, None, *refused, received.store_id, received.type)
        identity = QuickUUID(received.id.bytes)
        return Inbound(
            "topic", QuickUUID(received.key.bytes), received.store_id, identity, received.type, received.body,
            received.correlation_id, received.traceparent, actor=received.source, claim=identity, record=record,
        )  # fmt: skip

    # -- intake and lag -----------------------------------------------------------------------------------------------

    def pause_intake(self, pause: bool) -> None:
        """Stop or resume reading the intake topics; replies and commands are never paused."""
        consumer = self._subscriber.consumer
        if consumer is None or not self.service.intake:
            return
        parts = [part for part in consumer.assignment() if part.topic in self.service.intake]
        if not parts or not self.joined.is_set():  # while it is being assigned everything is paused, by the assignment
            return
        # What is paused, the client knows: an assignment resumes all of it, whatever was asked here before.
        if pause:
            consumer.pause(*parts)
        elif paused := consumer.paused().intersection(parts):
            consumer.resume(*paused)
        if pause != self._paused:
            log.info("intake_paused" if pause else "intake_resumed")
        self._paused = pause
        self.metrics.intake_paused.set(pause)

    def handled(self) -> dict[TopicPartition, int]:
        """Of each assigned partition the offset before which all is handled."""
        return self.reads.behind(self._handled) if self._handled else {}

    async def measure_lag(self) -> None:
        """Set the gauges of what waits, in paused partitions too. A broker that is away lets the age grow."""
        if self.joined.is_set():
            try:
                async with asyncio.timeout(LAG_SECONDS):
                    await self._lag.measure(self._subscriber.consumer, self.handled())
            except (KafkaError, TimeoutError, OSError) as error:
                log.info("lag_later", error=repr(error))
        self.metrics.lag.set(self._lag.records)
        self.metrics.lag_age.set(self._lag.age_seconds(time.time()))


def _readable(record: Record, header: str) -> str | None:
    """A header of a record that is being refused, if it can be read at all."""
    try:
        value = texts([(name, raw) for name, raw in record.headers if name == header]).get(header)
    except Poison:
        return None
    return value.replace("\0", "")[:200] or None if value else None
