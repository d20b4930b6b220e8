"""Handles a batch: in one transaction if all goes well, otherwise by halves until the message at fault is alone and parked.

A batch fails because the database refuses one of its rows, because one of its messages exceeds a limit, or because the
database is unavailable or slow for everybody. Only the first two are the fault of a message.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import structlog

from chassis import crash
from chassis.batch import parking, statements
from chassis.batch.aggregates import StateCache
from chassis.batch.database import Database
from chassis.batch.errors import Conflict, OutcomeUnknown, is_transient, overtaxes
from chassis.batch.inbound import Inbound
from chassis.batch.intake import Entry
from chassis.batch.parking import Rejected
from chassis.batch.statements import Offsets, store_offsets
from chassis.batch.transaction import Transaction
from chassis.batch.unit_of_work import Batch, Split
from chassis.declare.app import Outcome
from chassis.declare.service import Service
from chassis.telemetry import Metrics

log = structlog.get_logger("chassis.batch.bisection")

ISOLATED_SECONDS_MAX = 5.0
"""Time limit of a transaction while the cause of a timeout is isolated, because other orders wait. A message that is parked
for it is retried under the full limit, later."""
PROBE_SECONDS_MAX = 2.0
"""Time limit of a transaction that does nothing: a database that needs longer is slow for every order."""
TIMEOUTS_MAX = 3
"""An order without others to compare it with is parked after this many timeouts in a row."""
SUSPECTS_MAX = 2
"""If more orders than this are too slow and none succeeds, the database is the cause."""


class Bisection:
    """Handles the batches of one service; several may run at the same time."""

    def __init__(
        self,
        service: Service,
        database: Database,
        metrics: Metrics,
        cache: StateCache,
        committed: Callable[[Batch], None],
    ) -> None:
        """committed: called after each commit."""
        self._service, self._database, self._metrics, self._cache = service, database, metrics, cache
        self._committed = committed
        self._succeeded_at = float("-inf")
        """Monotonic time of the last batch that was committed with effects."""
        self._suspected: dict[UUID | None, int] = {}
        """Order -> how often in a row it was too slow although alone, while no other order was there to compare it with."""

    def forget(self) -> None:
        """Drop what is cached of a database that was replaced."""
        self._cache.clear()
        self._suspected.clear()

    async def handle(
        self, entries: Sequence[Entry], offsets: Offsets, seconds_max: float | None = None
    ) -> list[Outcome]:
        """Handle a batch: in one transaction if the database accepts it, else in halves until the culprit is alone.

        seconds_max: given for messages of one order that were found to be the cause of a timeout; the culprit is parked.
        Raises a transient error when the state of the database is the cause.
        """
        started = time.monotonic()
        try:
            return await self._attempt(entries, offsets, seconds_max)
        except Split as split:
            return await self._in_turn((entries[: split.at], entries[split.at :]), offsets, seconds_max)
        except Exception as error:
            if not await self._is_to_blame(error):
                raise
            log.warning("batch_refused", service=self._service.name, entries=len(entries), error=repr(error))
            keys = {entry.key for entry in entries}
            if len(keys) > 1:
                return await self._isolate(entries, offsets, error)
            if overtaxes(error) and seconds_max is None:
                if not self._convicts(keys, self._succeeded_at > started):
                    raise
                seconds_max = ISOLATED_SECONDS_MAX
            if len(entries) == 1:
                return [await self._refuse(entries[0], offsets, error)]
            middle = len(entries) // 2
            return await self._in_turn((entries[:middle], entries[middle:]), offsets, seconds_max)

    async def _transact(
        self, entries: Sequence[Entry], offsets: Offsets, seconds_max: float | None = None
    ) -> list[Outcome]:
        started = time.perf_counter()
        async with self._database.transaction(seconds_max) as tx:
            work = await Transaction.open(self._service, tx, entries, self._cache)
            outcomes = await work.decide()
            await work.save(offsets)
            crash.point("before_commit")
        crash.point("after_commit")
        self._cache.store(work.batch.slots.values())
        if work.batch.rows:
            self._succeeded_at = time.monotonic()
        self._committed(work.batch)
        self._metrics.batch([outcome.status for outcome in outcomes], work.batch.rows, time.perf_counter() - started)
        return outcomes

    async def _attempt(self, entries: Sequence[Entry], offsets: Offsets, seconds_max: float | None) -> list[Outcome]:
        """One transaction, repeated a few times while others write or lock the same rows."""
        for attempt in range(1, 6):
            try:
                return await self._transact(entries, offsets, seconds_max)
            except (Conflict, asyncpg.DeadlockDetectedError):
                self._cache.clear()
                if attempt == 5:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * attempt))
        raise AssertionError("unreachable")

    async def _in_turn(
        self,
        halves: tuple[Sequence[Entry], Sequence[Entry]],
        offsets: Offsets,
        seconds_max: float | None,
    ) -> list[Outcome]:
        """Handle two halves one after the other: the second sees the effects of the first and queues behind its parked messages."""
        first = await self.handle(halves[0], {}, seconds_max)
        with _in_part():
            return [*first, *await self.handle(halves[1], offsets, seconds_max)]

    async def _isolate(self, entries: Sequence[Entry], offsets: Offsets, error: Exception) -> list[Outcome]:
        """Halve by key, breadth first, so that other orders do not wait until the culprit is found.

        Orders that are too slow even alone come last, after it has been seen whether others succeed.
        """
        seconds_max = ISOLATED_SECONDS_MAX if overtaxes(error) else None
        started = time.monotonic()
        done: dict[int, Outcome] = {}
        suspects: dict[UUID | None, list[int]] = {}
        parts = deque(_halves(range(len(entries)), entries))
        with _in_part(done):
            while parts:
                part = parts.popleft()
                chosen = [entries[n] for n in part]
                try:
                    outcomes = await self._attempt(chosen, {}, seconds_max)
                except Split:
                    outcomes = await self.handle(chosen, {}, seconds_max)
                except Exception as again:
                    if not await self._is_to_blame(again):
                        raise
                    if len(halves := _halves(part, entries)) > 1:
                        parts.extend(halves)
                        continue
                    if overtaxes(again):
                        suspects[chosen[0].key], error = part, again
                        continue
                    outcomes = await self.handle(chosen, {})
                done |= zip(part, outcomes, strict=True)
            if suspects and not self._convicts(suspects, self._succeeded_at > started):
                raise error
            for part in suspects.values():
                outcomes = await self.handle([entries[n] for n in part], {}, ISOLATED_SECONDS_MAX)
                done |= zip(part, outcomes, strict=True)
            await self._store_offsets(offsets)
        return [done[n] for n in range(len(entries))]

    async def _is_to_blame(self, error: Exception) -> bool:
        """Whether the batch itself made its transaction fail. A timeout counts only while the database serves others."""
        self._cache.clear()
        return await self._serves_others() if overtaxes(error) else not is_transient(error)

    async def _serves_others(self) -> bool:
        """Whether the statements of a batch, for an order that does not exist, are committed within PROBE_SECONDS_MAX."""
        try:
            async with self._database.transaction(PROBE_SECONDS_MAX) as tx:
                for tables in [{aggregate.table} for aggregate in self._service.aggregates] or [set()]:
                    await statements.begin(tx, [uuid4()], [uuid4()], tables)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("database_too_slow", service=self._service.name, error=repr(error))
            return False
        return True

    def _convicts(self, suspects: Collection[UUID | None], others_succeed: bool) -> bool:
        """Whether orders that are too slow even alone are the cause, and not the database that is slow for every order.

        Without another order to compare them with, they have to fail several times in a row.
        """
        if others_succeed:
            return True
        if len(suspects) > SUSPECTS_MAX:
            return False
        self._suspected = {key: self._suspected.get(key, 0) + 1 for key in suspects}
        return min(self._suspected.values()) >= TIMEOUTS_MAX

    async def _refuse(self, entry: Entry, offsets: Offsets, error: Exception) -> Outcome:
        """Park a message that is alone and cannot be handled; later ones of its order wait behind it."""
        if isinstance(entry, Inbound) and entry.record is None:
            return Outcome("faulty", error=error)
        refused = entry if isinstance(entry, Rejected) else parking.reject(entry, error)
        return await self._park_one(refused, offsets)

    async def _park_one(self, refused: Rejected, offsets: Offsets) -> Outcome:
        async with self._database.transaction() as tx:
            if refused.claim is not None:
                await tx.execute("insert into inbox (id) values ($1) on conflict do nothing", refused.claim)
            await parking.park(tx, [refused])
            await store_offsets(tx, offsets)
        self._metrics.parked.inc()
        return Outcome("parked")

    async def _store_offsets(self, offsets: Offsets) -> None:
        if offsets:
            async with self._database.transaction() as tx:
                await store_offsets(tx, offsets)


def _halves(part: Sequence[int], entries: Sequence[Entry]) -> list[list[int]]:
    """Splits positions into two parts by order; returns one part if all are of one order."""
    keys = sorted({key for n in part if (key := entries[n].key) is not None})
    lower = set(keys[: (len(keys) + 1) // 2])
    sides = [[n for n in part if (entries[n].key in lower) is side] for side in (True, False)]
    return [side for side in sides if side]


@contextmanager
def _in_part(done: Collection[Any] | None = None) -> Iterator[None]:
    """A transient error after a part of the batch was committed (`done` is not empty) leaves the outcome of the whole open."""
    try:
        yield
    except Exception as error:
        if is_transient(error) and (done is None or done):
            raise OutcomeUnknown("a part of the batch was committed") from error
        raise
