"""Records -> messages to handle and records to park, before the transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog
from aiokafka import ConsumerRecord

from chassis.batch.database import Database
from chassis.batch.inbound import Inbound
from chassis.batch.intake import Intake
from chassis.batch.parking import Rejected, frames, shown
from chassis.batch.record import Record
from chassis.batch.staleness import STALE, judged_by_time
from chassis.batch.transaction import YIELD_EVERY
from chassis.declare.service import Service
from chassis.kafka.attempts import CRASHES_MAX, Attempts
from chassis.kafka.record_batches import Entry, Unread
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from contracts.envelope import Ignored, Poison, key_of, read, texts
from contracts.registry import TOPICS

log = structlog.get_logger("chassis.kafka.decoding")


class Decoder:
    def __init__(
        self, service: Service, settings: ServiceSettings, database: Database, metrics: Metrics, attempts: Attempts
    ) -> None:
        self._service, self._settings, self._database = service, settings, database
        self._metrics, self._attempts = metrics, attempts

    async def decode(self, records: Sequence[Entry]) -> Intake:
        """All records, in their order: a message, a rejection with its cause, or nothing for one that is ignored."""
        intake = Intake()
        clock = self._database.clock if self._database.clock.was_read else await self._database.read_clock()
        now, now_is_exact = clock.now(), False
        for n, record in enumerate(records):
            if n % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if type(record) is Unread:
                entry: Inbound | Rejected | None = record.rejected()
            else:
                entry = self._decode(record, now, alone=len(records) == 1)
            if type(entry) is Rejected and entry.cause in STALE and not now_is_exact:  # a suspended host lags behind
                now, now_is_exact = (await self._database.read_clock()).now(), True
                entry = self._decode(record, now, alone=len(records) == 1)
            if entry is not None:
                intake.entries.append(entry)
            else:
                intake.ignored += 1
            intake.offsets[record.topic, record.partition] = record.offset + 1
        if intake.ignored:
            self._metrics.ignored.inc(intake.ignored)
        return intake

    def _decode(self, raw: ConsumerRecord, now: float, *, alone: bool) -> Inbound | Rejected | None:
        """`alone`: the record is the only one of its batch. Returns None for an event that this service does not handle."""
        record = Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, raw.headers)
        listened = self._service.listens_to(raw.topic)
        if alone and self._attempts.is_deadly(raw.topic, raw.partition, raw.offset):
            return _rejected(record, "crashed", f"the process died {CRASHES_MAX} times while it was handled")
        try:
            received = read(raw.topic, raw.key, raw.value, raw.headers, unknown=listened)
        except Ignored:
            return None
        except Poison as poison:
            return _rejected(record, poison.cause, poison.detail)
        except Exception as error:  # an error in our own checks: one record must not stop all
            log.error("decoder_failed", topic=raw.topic, offset=raw.offset, error=repr(error), exc_info=True)
            return replace(_rejected(record, "unreadable", shown(error)), stack=frames(error))
        if not listened and self._service.handler_of(type(received.body), None) is None:
            if not TOPICS[raw.topic].addressed:
                return None
            detail = f"{self._service.name} does not handle {received.type}"
            return Rejected(record, received.key, "unknown_type", detail, received.store_id, received.type)
        if (refused := judged_by_time(received.time, now, self._settings.inbox_horizon_seconds)) is not None:
            return Rejected(record, None, *refused, received.store_id, received.type)
        return Inbound(
            "topic", received.key, received.store_id, received.id, received.type, received.body,
            received.correlation_id, received.traceparent, actor=received.source, ce_id=received.ce_id, claim=received.id, record=record,
            listened=received if listened else None,
        )  # fmt: skip


def _rejected(record: Record, cause: str, detail: str) -> Rejected:
    """The order that the record key names waits behind it, unless the record is of another order."""
    key = None if cause == "key_is_not_subject" else key_of(record.key)
    return Rejected(record, key, cause, detail, _text(record, "ce_storeid"), _text(record, "ce_type"))


def _text(record: Record, header: str) -> str | None:
    """A header of a rejected record, at most 200 characters; None if it cannot be read."""
    try:
        value = texts([(name, raw) for name, raw in record.headers if name == header]).get(header)
    except Poison:
        return None
    return value.replace("\0", "")[:200] or None if value else None
