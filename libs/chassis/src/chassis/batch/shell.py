"""The imperative shell: takes messages in, gathers them into batches, and reports what became of each.

    [ claim in inbox -> load -> decide/evolve, one by one -> save -> journal + outbox -> commit ]

Records come by `take`, a poll at a time; requests, timers and reports by `submit`, gathered while the last batch ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chassis.batch.aggregates import StateCache
from chassis.batch.bisection import Bisection
from chassis.batch.database import Database
from chassis.batch.errors import CatchingUp, OutcomeUnknown
from chassis.batch.inbound import Inbound
from chassis.batch.intake import Entry, Intake
from chassis.batch.outbox import OutboxRow
from chassis.batch.statements import NOTHING_READ, Offsets
from chassis.batch.tracing import Tracing
from chassis.batch.unit_of_work import Batch
from chassis.declare.app import Outcome
from chassis.declare.service import Service
from chassis.telemetry import Metrics

READY_SECONDS_MAX = 5
"""How long a request waits for a restored database to catch up; then it is refused and may be repeated."""


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
    """Called after a commit that left something for the relay, with the rows that are cached here."""
    on_tasks: Callable[[], None] = lambda: None
    """Called after a commit that may have left something to run."""
    ready: asyncio.Event = field(default_factory=_set)
    """Cleared while a restored database catches up: `submit` waits for it."""
    cache: StateCache = field(default_factory=StateCache)
    tracing: Tracing = field(default_factory=Tracing)
    _bisection: Bisection = field(init=False)
    _waiting: list[tuple[Inbound, asyncio.Future[Outcome]]] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._bisection = Bisection(self.service, self.database, self.metrics, self.cache, self._committed)

    async def handle(self, entries: Sequence[Entry], offsets: Offsets = NOTHING_READ) -> list[Outcome]:
        """Handle a batch and store its offsets with it; returns an outcome per entry. Raises a transient error as it is."""
        return await self._bisection.handle(entries, offsets)

    def _committed(self, batch: Batch) -> None:
        if batch.published:
            self.on_published(batch.outbox)
        if batch.moved_tasks:
            self.on_tasks()

    async def take(self, intake: Intake) -> None:
        """Handle a poll of records and store its offsets, each lane in a transaction. Raises if the poll must be handled again."""
        lanes = (self._lane(lane) for lane in intake.lanes())
        for result in await asyncio.gather(*lanes, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _lane(self, lane: Intake) -> None:
        with self.tracing.handling(lane.entries) as outcomes:
            outcomes += await self.handle(lane.entries, lane.offsets)

    async def submit(self, inbound: Inbound) -> Outcome:
        """Handle one message in a batch with others that wait. Raises a transient error as it is; the caller may repeat."""
        await self.until_ready()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        with self.tracing.handling([inbound]) as outcomes:
            self._waiting.append((inbound, future))
            self._arrived.set()
            outcomes.append(await future)
        return outcomes[0]

    async def until_ready(self) -> None:
        """Wait while a restored database catches up. Raises CatchingUp, which is transient, after READY_SECONDS_MAX."""
        if not self.ready.is_set():
            try:
                async with asyncio.timeout(READY_SECONDS_MAX):
                    await self.ready.wait()
            except TimeoutError as error:
                raise CatchingUp(f"not within {READY_SECONDS_MAX} s") from error

    def forget(self) -> None:
        """Drop all that is cached of lost data, and refuse messages that wait; their callers may repeat them."""
        self._bisection.forget()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(CatchingUp("the database was replaced"))
        self._waiting.clear()
        self._arrived.clear()

    async def run(self, at_most: int = 200) -> None:
        """Serve `submit` until cancelled. Messages that arrive while a batch commits are the next batch."""
        while True:
            await self._arrived.wait()
            gathered = self._gather(at_most)
            try:
                outcomes = await self.handle([inbound for inbound, _ in gathered])
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
        """Returns the next messages, each idempotency key once: the second request must see the answer of the first."""
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
