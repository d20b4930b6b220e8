"""The imperative shell: a batch of messages becomes one transaction, and a bad one among them stops nobody else.

    [ claim in inbox -> load -> decide/evolve, one by one -> save -> journal + outbox -> commit ]

Records come by `take`, a poll at a time; requests, timers and reports by `submit`, gathered while the last batch ran.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import structlog
from asyncpg import Connection

from chassis.batch import idempotency, statements
from chassis.batch.aggregates import Known
from chassis.batch.database import CatchingUp, Conflict, Database, OutcomeUnknown, is_transient, overtaxes
from chassis.batch.inbound import Inbound, Intake, Outcome, Rejected
from chassis.batch.statements import NOTHING_READ, Offsets, store_offsets
from chassis.batch.unit_of_work import SHARED_ROWS_MAX, Batch, Split, StoreDiffers
from chassis.declare.service import Service
from chassis.kafka.fresh import OutboxRow
from chassis.process import crash
from chassis.process.telemetry import Metrics
from chassis.work import parking

log = structlog.get_logger("chassis.batch.shell")

Entry = Inbound | Rejected
READY_SECONDS_MAX = 5
"""How long a request waits for a restored database to catch up; then it is told to come again."""
ISOLATED_SECONDS_MAX = 5.0
"""Time limit of a transaction while the cause of a timeout is isolated: other orders wait meanwhile. What is parked for it is
retried under the full limit, beside the others."""
PROBE_SECONDS_MAX = 2.0
"""Time limit of a transaction that does nothing: a database that needs longer is slow for every order."""
TIMEOUTS_MAX = 3
"""An order that nothing can be compared with is parked after so many timeouts in a row."""
SUSPECTS_MAX = 2
"""More orders than this that are too slow, and none that is not: the database is the cause."""
YIELD_EVERY = 50
"""Messages decided between two turns of the event loop: heartbeats run on the same loop."""


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Shell:
    service: Service
    database: Database
    metrics: Metrics
    on_published: Callable[[Sequence[OutboxRow]], None] = lambda rows: None
    """Called after a commit that left something for the relay, with the rows that are known here."""
    on_tasks: Callable[[], None] = lambda: None
    """Called after a commit that may have left something to run."""
    ready: asyncio.Event = field(default_factory=_set)
    """Cleared while a restored database catches up: whoever submits waits."""
    known: Known = field(default_factory=Known)
    _succeeded_at: float = float("-inf")
    """Monotonic time of the last batch that was committed with effects."""
    _suspected: dict[UUID | None, int] = field(default_factory=dict)
    """Order -> how often in a row it was too slow although alone, while no other order was there to compare it with."""
    _waiting: list[tuple[Inbound, asyncio.Future[Outcome]]] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    # -- in -----------------------------------------------------------------------------------------------------------

    async def take(self, intake: Intake) -> None:
        """Handle a poll of records and store its offsets with it, each lane in a transaction. Raises to be taken again."""
        lanes = (self._handle(lane.entries, lane.offsets) for lane in intake.lanes())
        for result in await asyncio.gather(*lanes, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def submit(self, inbound: Inbound) -> Outcome:
        """Handle one message together with others that wait. Raises a transient error as it is; the caller may repeat."""
        await self.until_ready()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((inbound, future))
        self._arrived.set()
        return await future

    async def until_ready(self) -> None:
        """Wait while a restored database catches up. Raises CatchingUp, which is transient: who asks may repeat."""
        if not self.ready.is_set():
            try:
                async with asyncio.timeout(READY_SECONDS_MAX):
                    await self.ready.wait()
            except TimeoutError as error:
                raise CatchingUp(f"not within {READY_SECONDS_MAX} s") from error

    def forget(self) -> None:
        """Drop what is cached of data that are gone; whoever submitted something may repeat it."""
        self.known.clear()
        self._suspected.clear()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(CatchingUp("the database was replaced"))
        self._waiting.clear()
        self._arrived.clear()

    async def run(self, at_most: int = 200) -> None:
        """Serve `submit` until cancelled. While one batch commits, the next gathers: no waiting for company."""
        while True:
            await self._arrived.wait()
            gathered = self._gather(at_most)
            try:
                outcomes = await self._handle([inbound for inbound, _ in gathered], {})
            except BaseException as error:
                for _, future in gathered:
                    if not future.done():
                        future.set_exception(
                            error if isinstance(error, Exception) else OutcomeUnknown("the process stops")
                        )
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, future), outcome in zip(gathered, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    def _gather(self, at_most: int) -> list[tuple[Inbound, asyncio.Future[Outcome]]]:
        """The next ones, but no idempotency key twice: the second must see what the first stored."""
        taken: list[tuple[Inbound, asyncio.Future[Outcome]]] = []
        later: list[tuple[Inbound, asyncio.Future[Outcome]]] = []
        keys: set[tuple[str, str]] = set()
        for entry in self._waiting:
            asked = entry[0].idempotency
            name = (asked.store_id, asked.key) if asked else None
            if len(taken) >= at_most or (name is not None and name in keys):
                later.append(entry)
            else:
                taken.append(entry)
                if name is not None:
                    keys.add(name)
        self._waiting[:] = later
        if not later:
            self._arrived.clear()
        return taken

    # -- one batch ----------------------------------------------------------------------------------------------------

    async def _handle(
        self, entries: Sequence[Entry], offsets: dict[tuple[str, int], int], seconds_max: float | None = None
    ) -> list[Outcome]:
        """One transaction if all goes well; halved until the culprit is alone if the database refuses it or is too slow for it.

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
            log.warning("batch_refused", service=self.service.name, entries=len(entries), error=repr(error))
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

    async def _attempt(
        self, entries: Sequence[Entry], offsets: dict[tuple[str, int], int], seconds_max: float | None
    ) -> list[Outcome]:
        """One transaction, repeated a few times while others write or lock the same rows."""
        for attempt in range(1, 6):
            try:
                return await self._transact(entries, offsets, seconds_max)
            except (Conflict, asyncpg.DeadlockDetectedError):
                self.known.clear()
                if attempt == 5:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * attempt))
        raise AssertionError("unreachable")

    async def _in_turn(
        self,
        halves: tuple[Sequence[Entry], Sequence[Entry]],
        offsets: dict[tuple[str, int], int],
        seconds_max: float | None,
    ) -> list[Outcome]:
        """Messages whose order counts: the second half sees what the first did, and queues behind what it parked."""
        first = await self._handle(halves[0], {}, seconds_max)
        with _in_part():
            return [*first, *await self._handle(halves[1], offsets, seconds_max)]

    async def _isolate(
        self, entries: Sequence[Entry], offsets: dict[tuple[str, int], int], error: Exception
    ) -> list[Outcome]:
        """Halve by key, breadth first: innocent orders do not wait until the culprit is found.

        Orders that are too slow even alone come last, when it is known whether others succeed.
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
                    outcomes = await self._handle(chosen, {}, seconds_max)
                except Exception as again:
                    if not await self._is_to_blame(again):
                        raise
                    if len(halves := _halves(part, entries)) > 1:
                        parts.extend(halves)
                        continue
                    if overtaxes(again):
                        suspects[chosen[0].key], error = part, again
                        continue
                    outcomes = await self._handle(chosen, {})
                done |= zip(part, outcomes, strict=True)
            if suspects and not self._convicts(suspects, self._succeeded_at > started):
                raise error
            for part in suspects.values():
                outcomes = await self._handle([entries[n] for n in part], {}, ISOLATED_SECONDS_MAX)
                done |= zip(part, outcomes, strict=True)
            await self._store_offsets(offsets)
        return [done[n] for n in range(len(entries))]

    async def _is_to_blame(self, error: Exception) -> bool:
        """Whether the batch itself made its transaction fail. A timeout counts only while the database serves others."""
        self.known.clear()
        return await self._serves_others() if overtaxes(error) else not is_transient(error)

    async def _serves_others(self) -> bool:
        """Whether the statements of a batch, for an order that does not exist, are committed within PROBE_SECONDS_MAX."""
        try:
            async with self.database.transaction(PROBE_SECONDS_MAX) as tx:
                for aggregate in self.service.aggregates:
                    await statements.begin(tx, [uuid4()], [uuid4()], {aggregate.table})
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("database_too_slow", service=self.service.name, error=repr(error))
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

    async def _refuse(self, entry: Entry, offsets: dict[tuple[str, int], int], error: Exception) -> Outcome:
        """A message that is alone and cannot be handled: parked, later ones of its order wait behind it."""
        if isinstance(entry, Inbound) and entry.record is None:
            return Outcome("faulty", error=error)
        refused = entry if isinstance(entry, Rejected) else parking.reject(entry, error)
        return await self._park_one(refused, offsets)

    async def _park_one(self, refused: Rejected, offsets: dict[tuple[str, int], int]) -> Outcome:
        async with self.database.transaction() as tx:
            if refused.claim is not None:
                await tx.execute("insert into inbox (id) values ($1) on conflict do nothing", refused.claim)
            await parking.park(tx, [refused])
            await store_offsets(tx, offsets)
        self.metrics.parked.inc()
        return Outcome("parked")

    async def _store_offsets(self, offsets: dict[tuple[str, int], int]) -> None:
        if offsets:
            async with self.database.transaction() as tx:
                await store_offsets(tx, offsets)

    async def _transact(
        self, entries: Sequence[Entry], offsets: dict[tuple[str, int], int], seconds_max: float | None = None
    ) -> list[Outcome]:
        started = time.perf_counter()
        async with self.database.transaction(seconds_max) as tx:
            work = await _Work.open(self.service, tx, entries, self.known)
            outcomes = await work.decide()
            await work.save(offsets)
            crash.point("before_commit")
        crash.point("after_commit")
        self.known.keep(work.batch.slots.values())
        if work.batch.rows:
            self._succeeded_at = time.monotonic()
        if work.batch.published:
            self.on_published(work.batch.outbox)
        if work.batch.moved_tasks:
            self.on_tasks()
        self.metrics.batch(outcomes, work.batch.rows, time.perf_counter() - started)
        return outcomes


def _halves(part: Sequence[int], entries: Sequence[Entry]) -> list[list[int]]:
    """The positions in `part` in two parts, no order in both; in one part if they are of one order."""
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


class _Work:
    """One transaction: which entries are new, which wait behind a parked one, what came of the rest."""

    def __init__(self, service: Service, tx: Connection, entries: Sequence[Entry], now: datetime, known: Known) -> None:
        self.entries, self.tx, self.now = entries, tx, now
        self.batch = Batch(service, tx, now, known)
        self.keys: list[UUID] = []
        self.fresh: set[UUID] = set()
        self.parked: set[UUID] = set()
        self.parked_before: frozenset[UUID] = frozenset()
        """Known to be parked, and their rows locked, when the transaction opened."""
        self.to_park: list[Rejected] = []
        self.unclaimed: list[UUID] = []
        """Of unheeded messages: said again once their order or their question is known, they must count."""
        self.stored: dict[tuple[str, str], Any] = {}
        self.outcomes: list[Outcome] = []

    @classmethod
    async def open(cls, service: Service, tx: Connection, entries: Sequence[Entry], known: Known) -> _Work:
        claims = sorted({entry.claim for entry in entries if entry.claim is not None})
        keys = sorted({entry.key for entry in entries if entry.key is not None})
        tables = {
            found[0].table
            for entry in entries
            if isinstance(entry, Inbound) and (found := service.handler_of(type(entry.body), entry.aggregate))
        }
        opened = await statements.begin(tx, claims, keys, tables)
        work = cls(service, tx, entries, opened.now, known)
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
        """Records and timers of a parked order queue; reports and a person's requests still apply."""
        return entry.key in self.parked and entry.origin in ("topic", "timer")

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
            # Parked while we waited for its aggregate's lock: taken again, so that we hold the key's row before we queue
            # behind it. Without that lock a replay could unpark the key and leave ours waiting for nobody.
            raise Conflict(f"{len(now_parked - self.parked_before)} orders were parked meanwhile")
        if self.to_park:
            await parking.park(self.tx, self.to_park)
        if self.unclaimed:
            await self.tx.execute("delete from inbox where id = any($1::uuid[])", self.unclaimed)
        await idempotency.store(self.tx, self.entries, self.outcomes)
