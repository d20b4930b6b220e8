"""One transaction of a batch: claims the messages, queues those behind a parked one, decides on the rest, saves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from asyncpg import Connection

from chassis import crash
from chassis.batch import idempotency, parking, statements
from chassis.batch.aggregates import StateCache
from chassis.batch.errors import Conflict, StoreDiffers
from chassis.batch.inbound import Inbound
from chassis.batch.intake import Entry
from chassis.batch.parking import Rejected
from chassis.batch.statements import NOTHING_READ, Offsets
from chassis.batch.unit_of_work import SHARED_ROWS_MAX, Batch, Split
from chassis.declare.app import Outcome
from chassis.declare.service import Service
from contracts.ids import in_order

log = structlog.get_logger("chassis.batch.transaction")

UNCLAIM = "delete from inbox where id = any($1::uuid[])"
YIELD_EVERY = 50
"""Messages decided between two turns of the event loop: heartbeats run on the same loop."""


class Transaction:
    """One transaction of a batch: open, decide, save."""

    def __init__(
        self, service: Service, tx: Connection, entries: Sequence[Entry], now: datetime, cache: StateCache
    ) -> None:
        self.entries, self.tx, self.now = entries, tx, now
        self.batch = Batch(service, tx, now, cache)
        self.keys: list[UUID] = []
        self.fresh: set[UUID] = set()
        self.parked: set[UUID] = set()
        self.parked_before: frozenset[UUID] = frozenset()
        """Parked when the transaction opened; their rows in `parked_keys` are locked."""
        self.to_park: list[Rejected] = []
        self.unclaimed: list[UUID] = []
        """Claims of unheeded messages. They are removed: a redelivery must be processed once the order or the request exists."""
        self.stored: dict[tuple[str, str], Any] = {}
        self.outcomes: list[Outcome] = []

    @classmethod
    async def open(cls, service: Service, tx: Connection, entries: Sequence[Entry], cache: StateCache) -> Transaction:
        claims = in_order({entry.claim for entry in entries if entry.claim is not None})
        keys = in_order({entry.key for entry in entries if entry.key is not None})
        tables = {
            found[0].table
            for entry in entries
            if isinstance(entry, Inbound) and (found := service.handler_of(type(entry.body), entry.aggregate))
        }
        opened = await statements.begin(tx, claims, keys, tables)
        work = cls(service, tx, entries, opened.now, cache)
        work.keys = keys
        work.fresh, work.parked, work.parked_before = set(opened.fresh), set(opened.parked), frozenset(opened.parked)
        work.stored = await idempotency.claim(
            tx, [entry.idempotency for entry in entries if isinstance(entry, Inbound) and entry.idempotency]
        )
        wanted = [
            entry
            for entry in entries
            if isinstance(entry, Inbound)
            and (entry.claim is None or entry.claim in work.fresh)
            and not work._waits(entry)
            and not work._answered(entry)
        ]
        try:
            await work.batch.load(wanted, opened.locked, SHARED_ROWS_MAX)
        except Split as split:
            raise Split(next(n for n, entry in enumerate(entries) if entry is wanted[split.at])) from None
        return work

    def _waits(self, entry: Inbound) -> bool:
        """Whether it queues: records and timers of a parked order do; reports and requests over HTTP still apply."""
        return bool(self.parked) and entry.key in self.parked and entry.origin in ("topic", "timer")

    def _answered(self, entry: Inbound) -> bool:
        asked = entry.idempotency
        return asked is not None and (asked.store_id, asked.key) in self.stored

    async def decide(self) -> list[Outcome]:
        for n, entry in enumerate(self.entries):
            if n % YIELD_EVERY == YIELD_EVERY - 1:
                crash.point("mid_batch")
                await asyncio.sleep(0)
            self.outcomes.append(self._one(entry, n))
        crash.point("mid_batch")
        return self.outcomes

    def _one(self, entry: Entry, n: int) -> Outcome:
        if entry.claim is not None:
            if entry.claim not in self.fresh:
                return Outcome("duplicate")
            self.fresh.discard(entry.claim)  # the same message again in this batch is a duplicate
        if isinstance(entry, Rejected):
            self._park(entry)
            return Outcome("parked")
        if self._waits(entry):
            if entry.record is not None:
                self._park(parking.queue(entry))
            return Outcome("queued")
        if entry.idempotency is not None and self._answered(entry):
            return idempotency.repeat(entry.idempotency, self.stored[entry.idempotency.store_id, entry.idempotency.key])
        try:
            outcome = self.batch.decide(entry, n)
        except Split:
            raise
        except StoreDiffers as error:
            if entry.origin != "topic" or entry.record is None:
                return Outcome("faulty", error=error)
            self._park(parking.foreign(entry, error))
            return Outcome("parked", error=error)
        except Exception as error:
            if entry.record is not None and entry.origin == "topic":
                self._park(parking.reject(entry, error))
                return Outcome("parked", error=error)
            log.warning("message_faulty", type=entry.type, key=str(entry.key), error=repr(error), exc_info=True)
            return Outcome("faulty", error=error)
        if outcome.unheeded and entry.claim is not None:
            self.unclaimed.append(entry.claim)
        if entry.render is not None:
            outcome.answer = entry.render(outcome)  # a bug in here undoes the batch: effects and answer go together
        return outcome

    def _park(self, refused: Rejected) -> None:
        self.to_park.append(refused)
        if refused.key is not None:
            self.parked.add(refused.key)

    async def save(self, offsets: Offsets = NOTHING_READ) -> None:
        now_parked = await self.batch.save(offsets, self.keys)
        if not now_parked <= self.parked_before:
            # Parked while we waited for the aggregate's lock. The batch is retried, so that it locks the key's row before
            # it queues behind it. Without that lock a replay could unpark the key and leave our rows waiting without a parked key.
            raise Conflict(f"{len(now_parked - self.parked_before)} orders were parked meanwhile")
        if self.to_park:
            await parking.park(self.tx, self.to_park)
        if self.unclaimed:
            await self.tx.execute(UNCLAIM, self.unclaimed)
        await idempotency.store(self.tx, self.entries, self.outcomes)
