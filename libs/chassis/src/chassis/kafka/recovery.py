"""A database that was restored to an earlier moment reads the events that it lost from its service's own topic.

The relay stores how far the own events topic is in this database (`relay_positions`). Records behind that were published and
then lost by the database: they are folded into the rows and journaled again, before a command is handled twice and before
anything is published. After a crash between produce and delete there are such records, too; the versions show that the
database has them already.

Aggregates are folded chunk by chunk, partition by partition: the events of one order are in order. Shared rows (stock, series)
depend on the events of many orders, whose order partitions do not preserve. So they are folded once, at the end, from the
journal; `unfolded` has the days of these events, and survives a crash in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from asyncpg import Connection

from chassis import journal
from chassis.batch import statements
from chassis.batch.adoption import Adopted, adopt
from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.batch.inbound import Inbound
from chassis.batch.parking import Rejected, park
from chassis.batch.record import Record
from chassis.batch.unit_of_work import Batch
from chassis.declare.service import Service
from chassis.kafka.reads import Reads
from chassis.kafka.record_batches import Entry, Unread
from chassis.kafka.topics import client_arguments
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from contracts.base import Event
from contracts.envelope import Ignored, Poison, key_of, read
from contracts.registry import PARTITIONS

log = structlog.get_logger("chassis.kafka.recovery")

CHUNK = 200
LOCK = 6021979
RECOVERED = "recovered"
"""A row of `leases`; its holder is the certificate (`History.certificate`) of the data that have adopted their topic."""
CERTIFY = """
insert into leases (name, holder, until) values ($1, $2, clock_timestamp())
on conflict (name) do update set holder = excluded.holder, until = excluded.until"""


async def recover(service: Service, settings: ServiceSettings, database: Database, metrics: Metrics) -> int:
    """Adopt the events of the own topic that the database lacks, and certify the database; how many events that were."""
    async with _alone(database):
        adopted = await _read_own_topic(service, settings, database, metrics)
        await _fold_shares(service, database)
        await certify(database)
    if adopted:
        log.warning("adopted_own_events", service=service.name, events=adopted)
    return adopted


async def until_recovered(database: Database) -> None:
    """Wait until a worker has certified that the database has adopted its topic: an api does not read topics."""
    while True:
        try:
            async with database.connection() as connection:
                certificate = await connection.fetchval("select holder from leases where name = $1", RECOVERED)
            if database.history is not None and certificate == database.history.certificate:
                return
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(0.5)  # between two queries of a row that another process writes


async def certify(database: Database) -> None:
    """Record that this database has adopted its topic."""
    async with database.connection() as connection:
        assert database.history is not None
        await connection.execute(CERTIFY, RECOVERED, database.history.certificate)


async def until_relays_have_stopped(database: Database) -> None:
    """Wait after a failover until the relay's lease has expired.

    Its holder worked on the data that are lost. Until the lease expires it may publish from memory, and that must be read.
    """
    async with database.connection() as connection:
        left = await connection.fetchval(
            "select extract(epoch from until - clock_timestamp())::float8 from leases where name = 'relay'"
        )
    if left is not None and left > 0:
        await asyncio.sleep(left)  # a lease ends by time alone


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[None]:
    """One process at a time: no process may begin to work while another still folds."""
    async with database.connection() as connection:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110  (another process holds it)
            await asyncio.sleep(0.1)
        try:
            yield
        finally:
            if not connection.is_closed():
                await connection.execute("select pg_advisory_unlock($1)", LOCK)


async def _read_own_topic(service: Service, settings: ServiceSettings, database: Database, metrics: Metrics) -> int:
    topic = f"{service.name}.events.v1"
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        **client_arguments(settings), enable_auto_commit=False, group_id=None, auto_offset_reset="none",
        isolation_level="read_committed",
    )  # fmt: skip
    reads = Reads(metrics)
    await consumer.start()
    try:
        reads.attach(consumer)
        async with database.connection() as connection:
            rows = await connection.fetch("select partition, next_offset from relay_positions where topic = $1", topic)
        known = {row["partition"]: row["next_offset"] for row in rows}
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        behind = {part: start for part in parts if (start := known.get(part.partition, 0)) < ends[part]}
        if not behind:
            return 0
        consumer.assign(list(behind))
        reads.begin(behind)
        adopted = 0
        while [part for part in behind if await consumer.position(part) < ends[part]]:
            for part, entries in (await reads.getmany(timeout_ms=1000, max_records=CHUNK)).items():
                adopted += await _adopt_all(service, database, part, entries)
        return adopted
    finally:
        await consumer.stop()


async def _adopt_all(service: Service, database: Database, part: TopicPartition, entries: Sequence[Entry]) -> int:
    """A chunk in one transaction. If that fails, entry by entry: the one that cannot be adopted is parked alone."""
    try:
        return await _adopt(service, database, part, entries)
    except Exception as error:
        if is_transient(error):
            raise
        if len(entries) > 1:
            return sum([await _adopt_all(service, database, part, [entry]) for entry in entries])
        record = entries[0]
        if isinstance(record, Unread):
            raise
        log.error("not_adopted", topic=part.topic, partition=part.partition, offset=record.offset, error=repr(error), exc_info=True)  # fmt: skip
        unfit = Rejected(_record(record), key_of(record.key), "not_adopted", repr(error))
        async with database.transaction() as tx:
            await park(tx, [unfit])
            await _read_until(tx, part, record.offset + 1)
        return 0


async def _adopt(service: Service, database: Database, part: TopicPartition, entries: Sequence[Entry]) -> int:
    found = [entry.rejected() if type(entry) is Unread else _own(service, entry) for entry in entries]
    async with database.transaction() as tx:
        if refused := [one for one in found if isinstance(one, Rejected)]:
            await park(tx, refused)
        last: int = await tx.fetchval("select last_value from journal_id_seq")
        now = await tx.fetchval("select clock_timestamp()")
        count = await adopt(Batch(service, tx, now), [one for one in found if isinstance(one, Adopted)])
        if count:
            days = {one.at.astimezone(UTC).date() for one in found if isinstance(one, Adopted)}
            await tx.execute(
                "insert into unfolded (day, after_id) select day, $2 from unnest($1::date[]) as u(day) on conflict do nothing",
                sorted(days), last,
            )  # fmt: skip
        await _read_until(tx, part, entries[-1].offset + 1)
    return count


async def _read_until(tx: Connection, part: TopicPartition, offset: int) -> None:
    await tx.execute(
        "insert into relay_positions (topic, partition, next_offset) values ($1, $2, $3) on conflict (topic, partition)"
        " do update set next_offset = greatest(relay_positions.next_offset, excluded.next_offset)",
        part.topic, part.partition, offset,
    )  # fmt: skip


def _own(service: Service, record: ConsumerRecord) -> Adopted | Rejected | None:
    """An event that this service wrote; one that it cannot have written is parked, and changes nothing here.

    It blocks no order: whoever may write on the topic could otherwise stop any.
    """
    try:
        received = read(record.topic, record.key, record.value, record.headers)
        message_id = str(UUID(received.ce_id))
    except Ignored as ignored:
        return _not_ours(record, "not_ours", f"{service.name} has no event {ignored}")
    except Poison as poison:
        return _not_ours(record, poison.cause, poison.detail)
    except ValueError as error:
        return _not_ours(record, "not_ours", f"ce_id is none of {service.name}'s: {error}")
    if received.source != service.name or not isinstance(received.body, Event) or received.body.owner() != service.name:
        return _not_ours(record, "not_ours", f"{received.source} wrote {received.type}")
    inbound = Inbound(
        "topic", received.key, received.store_id, received.id, received.type, received.body, received.correlation_id,
        received.traceparent, actor="recovery", ce_id=received.ce_id,
    )  # fmt: skip
    return Adopted(inbound, message_id, received.time)


def _not_ours(record: ConsumerRecord, cause: str, detail: str) -> Rejected:
    log.warning("not_ours", topic=record.topic, partition=record.partition, offset=record.offset, cause=cause)
    return Rejected(_record(record), None, cause, detail)


def _record(raw: ConsumerRecord) -> Record:
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, raw.headers)


async def _fold_shares(service: Service, database: Database) -> None:
    """What the adopted events did to shared rows, once and all together."""
    async with database.transaction() as tx:
        if not await tx.fetch("select from unfolded for update"):
            return
        moved: dict[str, dict[Any, list[Event]]] = {share.name: {} for share in service.shares}
        async for event in journal.adopted(tx):
            for share in service.shares:
                for key in share.touched(event):
                    moved[share.name].setdefault(key, []).append(event)
        for share in service.shares:
            keys = sorted(moved[share.name])
            if keys:
                await _fold(tx, share, {key: moved[share.name][key] for key in keys})
        await tx.execute("delete from unfolded")


async def _fold(tx: Connection, share: Any, moved: dict[Any, list[Event]]) -> None:
    states = dict(await share.load(tx, list(moved)))
    for key, events in moved.items():
        if share.adopt is not None:
            states[key] = share.adopt(states.get(key), key, events)
            continue
        for event in events:
            states[key] = share.evolve(states.get(key), key, event)
    await statements.write_rows(tx, [share.rows({key: states[key] for key in moved})])
