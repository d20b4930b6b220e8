"""Collects the attempts that have ended and the endpoints that have come further, and writes them at once for all endpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import structlog

from chassis import crash
from chassis.batch.errors import is_transient
from chassis.declare.app import App
from webhooks.delivery.line import Line, Outcome
from webhooks.delivery.log import Attempt, Batch, batch_of, flush
from webhooks.delivery.metrics import DeliveryMetrics
from webhooks.delivery.replay import Replay
from webhooks.delivery.sender import Answer
from webhooks.delivery.shards import Shards
from webhooks.domain.attempts import attempt_id
from webhooks.window import FeedEvent

log = structlog.get_logger("webhooks.writing")

FLUSH_SECONDS: Final = 0.2
FLUSH_ATTEMPTS: Final = 500
"""So many are written before the time is over."""
PASSED_OVER_SECONDS: Final = 30.0
"""How often the cursors of endpoints that were sent nothing are written."""
PAUSE_SECONDS: Final = 1.0
"""After an error of the database."""


class Writing:
    """What a process writes of its deliveries."""

    def __init__(
        self,
        app: App,
        shards: Shards,
        lines: Mapping[UUID, Line],
        *,
        lost: Callable[[Line], None],
        ready: Callable[[Line], None],
    ) -> None:
        """lines: the endpoints of this process, as they are at any time. lost: nothing was written of one, which another process or
        a person has taken over. ready: batches of one are stored, and may begin."""
        self._app, self._shards, self._lines = app, shards, lines
        self._lost, self._ready = lost, ready
        self._metrics = app.shared(DeliveryMetrics)
        self._attempts: list[Attempt] = []
        self._dirty: set[Line] = set()
        self._moved: set[Replay] = set()
        """Replays that a flush has to write."""
        self._full = asyncio.Event()
        """Set when a flush should not wait for its time."""
        self._flushing = asyncio.Lock()
        self._unwritten: Batch | None = None
        """A batch whose commit failed: written before any later one."""
        self.flushed_at = time.monotonic()

    def mark(self, one: Line | Replay) -> None:
        """The next flush writes it."""
        if isinstance(one, Line):
            self._dirty.add(one)
        else:
            self._moved.add(one)

    def leave_out(self, line: Line) -> None:
        """It is this process' no more."""
        self._dirty.discard(line)

    def record(
        self,
        line: Line,
        events: Sequence[FeedEvent],
        number: int,
        delivery_id: str,
        answer: Answer,
        outcome: Outcome,
        began: datetime,
        replay_id: UUID | None = None,
    ) -> None:
        """Each event has a row, so that it is found by its id and by its order."""
        self._metrics.attempted(outcome, answer.seconds)
        self._attempts.extend(
            Attempt(
                attempt_id(began, uuid4()), line.place.of, line.store_id, event.position, event.row["event_id"], event.type, event.key, delivery_id,
                number, began, int(answer.seconds * 1000), outcome, answer.status, answer.body, answer.error, len(events),
                line.is_of_notices, replay_id,
            )
            for event in events
        )  # fmt: skip
        if len(self._attempts) >= FLUSH_ATTEMPTS:
            self._full.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        passed_over_at = loop.time()
        while True:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._full.wait()
            except TimeoutError:
                pass
            if loop.time() >= passed_over_at + PASSED_OVER_SECONDS:
                passed_over_at = loop.time()
                self._dirty.update(line for line in self._lines.values() if line.lanes.has_moved)
            try:
                await self.flush(self._dirty)
                self.flushed_at = time.monotonic()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("attempts_unwritten", error=repr(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def flush(self, lines: Collection[Line]) -> None:
        """Write all attempts, and how far some endpoints have come. After an error the next call writes the same first."""
        async with self._flushing:
            if self._unwritten is not None:
                await self._write(self._unwritten)
            attempts, self._attempts = self._attempts, []
            self._full.clear()
            of, replays = list(lines), list(self._moved)
            self._dirty.difference_update(of)
            self._moved.clear()
            if attempts or of or replays:
                await self._write(batch_of(attempts, of, replays))

    async def _write(self, batch: Batch) -> None:
        self._unwritten = batch
        crash.point("before_flush")
        lost = await flush(self._app, self._shards, batch)
        crash.point("after_flush")
        self._unwritten = None
        for line in lost:
            self._lost(line)
        for one in batch.written:
            if one.changes.recorded and not one.line.closing:
                one.line.lanes.recorded(one.changes)
                self._ready(one.line)
