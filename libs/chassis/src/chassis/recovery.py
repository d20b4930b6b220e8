"""A database that was restored to an earlier moment learns from its own topic what it had stated since.

The relay notes how far this database knows its own events topic (`relay_positions`). Records beyond that were published
by us and forgotten by the database: they are folded into the rows and journaled again, before any command is handled
twice and before anything else is published. Also after a crash between produce and delete; then every record is known
already, by its version.

Aggregates are folded chunk by chunk, partition by partition: events of one order stand in order. Shared rows (stock,
series) saw events of many orders in an order that partitions do not keep, so they are folded once, at the end, from the
journal; `UNFOLDED` notes where that begins, and survives a crash in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from asyncpg import Connection

from chassis import statements
from chassis.batch import Adopted, Batch, adopt
from chassis.database import Database
from chassis.inbound import Inbound
from chassis.kafka import client_arguments
from chassis.service import Service
from chassis.settings import ServiceSettings
from contracts.base import Event
from contracts.envelope import Ignored, Poison, read
from contracts.registry import MESSAGES, PARTITIONS

log = structlog.get_logger("chassis.recovery")

CHUNK = 200
UNFOLDED = "journal rows not yet folded into shared rows"
"""A row of `relay_positions`: adopted events with a journal id above `next_offset` still have to move the shared rows."""
LOCK = 6021979


async def recover(service: Service, settings: ServiceSettings, database: Database) -> int:
    """Adopt what the own events topic knows and the database does not; how many events that were."""
    async with _alone(database):
        adopted = await _read_own_topic(service, settings, database)
        await _fold_shares(service, database)
    if adopted:
        log.warning("adopted_own_events", service=service.name, events=adopted)
    return adopted


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[None]:
    """One process at a time: nobody may begin to work while another still folds."""
    async with database.connection() as connection:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110  (another process holds it)
            await asyncio.sleep(0.1)
        try:
            yield
        finally:
            if not connection.is_closed():
                await connection.execute("select pg_advisory_unlock($1)", LOCK)


async def _read_own_topic(service: Service, settings: ServiceSettings, database: Database) -> int:
    topic = f"{service.name}.events.v1"
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(**client_arguments(settings), enable_auto_commit=False, group_id=None)
    await consumer.start()
    try:
        async with database.connection() as connection:
            rows = await connection.fetch("select partition, next_offset from relay_positions where topic = $1", topic)
        known = {row["partition"]: row["next_offset"] for row in rows}
        ends = await consumer.end_offsets(parts)
        firsts = await consumer.beginning_offsets(parts)
        starts = {part: max(known.get(part.partition, 0), firsts[part]) for part in parts}
        behind = [part for part in parts if starts[part] < ends[part]]
        if not behind:
            return 0
        consumer.assign(behind)
        for part in behind:
            consumer.seek(part, starts[part])
        adopted = 0
        while [part for part in behind if await consumer.position(part) < ends[part]]:
            polled = await consumer.getmany(timeout_ms=1000, max_records=CHUNK)
            for part, records in polled.items():
                adopted += await _adopt(service, database, part, records)
        return adopted
    finally:
        await consumer.stop()


async def _adopt(service: Service, database: Database, part: TopicPartition, records: list[ConsumerRecord]) -> int:
    own = [adopted for record in records if (adopted := _own(service, record)) is not None]
    async with database.transaction() as tx:
        last: int = await tx.fetchval("select last_value from journal_id_seq")
        count = await adopt(Batch(service, tx, await tx.fetchval("select clock_timestamp()")), own)
        if count:
            await tx.execute(
                "insert into relay_positions (topic, partition, next_offset) values ($1, 0, $2) on conflict do nothing",
                UNFOLDED,
                last,
            )
        await tx.execute(
            "insert into relay_positions (topic, partition, next_offset) values ($1, $2, $3) on conflict (topic, partition)"
            " do update set next_offset = greatest(relay_positions.next_offset, excluded.next_offset)",
            part.topic, part.partition, records[-1].offset + 1,
        )  # fmt: skip
    return count


def _own(service: Service, record: ConsumerRecord) -> Adopted | None:
    """What stands on the own topic and we cannot have written changes nothing here."""
    try:
        received = read(record.topic, record.key, record.value, record.headers)
    except Ignored:
        return None
    except Poison as poison:
        log.warning(
            "not_ours", topic=record.topic, partition=record.partition, offset=record.offset, cause=poison.cause
        )
        return None
    if received.source != service.name or not isinstance(received.body, Event) or received.body.owner() != service.name:
        return None
    inbound = Inbound(
        "topic", received.key, received.store_id, received.id, received.type, received.body, received.correlation_id,
        received.traceparent, actor="recovery",
    )  # fmt: skip
    return Adopted(inbound, UUID(received.ce_id), received.time)


async def _fold_shares(service: Service, database: Database) -> None:
    """What the adopted events did to shared rows, once and all together."""
    async with database.transaction() as tx:
        since = await tx.fetchval("select next_offset from relay_positions where topic = $1 for update", UNFOLDED)
        if since is None:
            return
        moved: dict[str, dict[Any, list[Event]]] = {share.name: {} for share in service.shares}
        async for row in tx.cursor(
            "select type, payload from journal where id > $1 and actor = 'recovery' order by id", since
        ):
            event = cast(Event, MESSAGES[row["type"]].model_validate_json(row["payload"]))
            for share in service.shares:
                for key in share.touched(event):
                    moved[share.name].setdefault(key, []).append(event)
        for share in service.shares:
            keys = sorted(moved[share.name])
            if keys:
                await _fold(tx, share, {key: moved[share.name][key] for key in keys})
        await tx.execute("delete from relay_positions where topic = $1", UNFOLDED)


async def _fold(tx: Connection, share: Any, moved: dict[Any, list[Event]]) -> None:
    states = dict(await share.load(tx, list(moved)))
    for key, events in moved.items():
        if share.adopt is not None:
            states[key] = share.adopt(states.get(key), key, events)
            continue
        for event in events:
            states[key] = share.evolve(states.get(key), key, event)
    await statements.write_rows(tx, [share.rows({key: states[key] for key in moved})])
