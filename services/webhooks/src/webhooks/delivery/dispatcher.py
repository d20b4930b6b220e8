"""Delivers events to the endpoints of the shards that this process holds.

Whose turn it is: `turns`. What ends is collected, and written at once for all endpoints: `writing`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import structlog

from chassis import crash
from chassis.batch.errors import is_transient
from chassis.declare.app import App
from webhooks.delivery import loading, replay
from webhooks.delivery.line import GONE, Line, Outcome, stated
from webhooks.delivery.metrics import DeliveryMetrics
from webhooks.delivery.replay import Replay
from webhooks.delivery.reports import Reports
from webhooks.delivery.sender import MAY_SEND, Answer, NotOurs, Sender
from webhooks.delivery.shards import RENEW_SECONDS, Shards
from webhooks.delivery.turns import Turns
from webhooks.delivery.writing import PAUSE_SECONDS, Writing
from webhooks.domain.deliveries import Delivery
from webhooks.domain.endpoint import notices_id, shard_of
from webhooks.settings import Settings
from webhooks.vault import Unreadable
from webhooks.window import FeedEvent, Window

log = structlog.get_logger("webhooks.dispatcher")

END_SECONDS_MAX: Final = 5.0
"""Time for what is in flight when the process ends. What takes longer is sent once more."""
OBSERVE_SECONDS: Final = 5.0
"""Between two updates of the gauges: they examine every endpoint."""
EXPIRED: Final = "event_expired"
"""How a delivery ends whose event waited for longer than the feed retains it."""
EXPIRED_EVENTS: Final = """
select position, event_id, type, key from waiting where endpoint_id = $1 and position = any($2::bigint[]) and event_id is not null
order by position"""


class Sent(NamedTuple):
    delivery_id: str
    answer: Answer


class Dispatcher:
    """The deliveries of one process."""

    def __init__(self, app: App) -> None:
        settings = cast(Settings, app.settings)
        self._app, self._vault = app, settings.vault
        self._networks = settings.networks
        self._shards = Shards(app)
        self._window = app.shared(Window)
        self._leave_feed: Callable[[], None] | None = None
        """Set while the feed is followed: while there are endpoints."""
        self._turns = Turns[Line | Replay](self._fill, self._begin)
        self._reports = Reports(app)
        self._metrics = app.shared(DeliveryMetrics)
        self._renewed_at = time.monotonic()
        self._lines: dict[UUID, Line] = {}
        self._of_store: defaultdict[str, set[Line]] = defaultdict(set)
        self._replays: dict[UUID, Replay] = {}
        """By endpoint: one at a time."""
        self._loaded: dict[int, int] = {}
        """The terms of the shards whose endpoints are in memory."""
        self._changed_at = datetime.now(UTC)
        self._followed: dict[UUID, int] = {}
        """Endpoint -> revision, of the recent changes that were followed: a poll finds each for a while."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = Writing(app, self._shards, self._lines, lost=self._lose, ready=self._turns.add)

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._sender = Sender(self._networks)
        self._metrics.in_flight.set_function(lambda: self._turns.in_flight)
        self._metrics.shards_held.set_function(lambda: len(self._shards.held))
        self._metrics.age.set_function(self._age_seconds)
        self._window.empty()  # the process may have begun anew on a database that has lost events
        try:
            async with asyncio.TaskGroup() as parts:
                for run in (self._keep_shards, self._turns.run, self._writing.run, self._reports.run, self._observe):
                    parts.create_task(run())
        finally:
            self._unfollow_feed()
            await self._end()

    async def _observe(self) -> None:
        while True:
            self._metrics.observe(self._lines.values(), self._window.head)
            await asyncio.sleep(OBSERVE_SECONDS)

    def _age_seconds(self) -> float:
        """The time since leases were renewed, attempts were written and, if it is followed, the feed was read."""
        read_at = self._window.read_at if self._leave_feed is not None else float("inf")
        return time.monotonic() - min(self._renewed_at, self._writing.flushed_at, read_at)

    async def _end(self) -> None:
        for line in self._lines.values():
            line.closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_SECONDS_MAX)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._writing.flush(self._lines.values())
            await self._shards.leave()
        except Exception as error:  # the leases expire, and what is not written is sent once more
            log.warning("dispatcher_ended_unwritten", error=repr(error))
        await self._sender.close()

    # -- which endpoints ----------------------------------------------------------------------------------------------

    async def _keep_shards(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._reports.due(datetime.now(UTC))
            try:
                await self._shards.renew()
                await self._follow_shards()
                await self._follow_changes()
                await self._follow_replays()
                self._follow_feed()
                self._renewed_at = time.monotonic()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("shards_not_renewed", error=repr(error))
            await asyncio.sleep(max(0.0, began + RENEW_SECONDS - loop.time()))

    async def _follow_shards(self) -> None:
        """Drop the endpoints of shards that were lost, give up those that are another's part, load those that are new."""
        held, wanted = self._shards.held, self._shards.wanted
        for line in [line for line in self._lines.values() if held.get(line.place.shard) != line.place.term]:
            self._drop(line)
        self._loaded = {shard: term for shard, term in self._loaded.items() if held.get(shard) == term}
        for line in self._lines.values():
            line.closing = line.closing or line.place.shard not in wanted
        await self._replace_drained()
        left = {line.place.shard for line in self._lines.values()}
        if done := self._loaded.keys() - wanted - left:
            await self._shards.release(done)
            self._loaded = {shard: term for shard, term in self._loaded.items() if shard not in done}
        if new := {shard: held[shard] for shard in held.keys() & wanted if shard not in self._loaded}:
            stored = await loading.of_shards(self._app, new)
            self._loaded |= new
            await self._add(stored)

    async def _follow_changes(self) -> None:
        changed = await loading.changed(self._app, self._changed_at)
        self._changed_at = max((one.now for one in changed), default=self._changed_at)
        new = [
            endpoint_id
            for one in changed
            if self._followed.get(one.endpoint_id) != one.revision
            for endpoint_id in (one.endpoint_id, notices_id(one.endpoint_id))
            if shard_of(endpoint_id) in self._loaded
            and ((line := self._lines.get(endpoint_id)) is None or line.place.revision < one.revision)
        ]
        stored = {one.id: one for one in await loading.of_ids(self._app, new)} if new else {}
        for endpoint_id in new:
            if (line := self._lines.get(endpoint_id)) is not None:
                self._change(line, stored.pop(endpoint_id, None))
        await self._add(stored.values())
        await self._replace_drained()
        self._followed = {one.endpoint_id: one.revision for one in changed}

    def _change(self, line: Line, stored: loading.Stored | None) -> None:
        """stored: null if nothing is delivered to the endpoint any more."""
        endpoint = stored.endpoint if stored is not None else None
        if (
            stored is None
            or endpoint is None
            or endpoint.config != line.endpoint.config
            or stored.row["moves"] != line.place.moves
            or line.given_up
        ):
            line.closing = True
        else:
            line.update(endpoint, stored.row["revision"])

    async def _replace_drained(self) -> None:
        """Endpoints that begin nothing more are written, and read again if they are still this process' part."""
        drained = [
            line
            for line in self._lines.values()
            if line.closing and not line.lanes.in_flight and not line.beside and not line.reading
        ]
        if not drained:
            return
        await self._writing.flush(drained)
        for line in drained:
            self._drop(line)
        wanted = {line.id for line in drained if line.place.shard in self._shards.wanted}
        await self._add(await loading.of_ids(self._app, wanted) if wanted else ())

    async def _add(self, stored: Iterable[loading.Stored]) -> None:
        for one in stored:
            shard = one.row["shard"]
            if shard not in self._loaded or one.id in self._lines:
                continue
            line = await loading.line(one, self._loaded[shard], self._window, self._vault, datetime.now(UTC))
            self._lines[line.id] = line
            self._of_store[line.store_id].add(line)
            self._turns.add(line)
            if line.failing.since is None:  # a process that died may have written a success and not reported it
                self._reports.succeeded(line)

    def _drop(self, line: Line) -> None:
        line.closing = True
        if self._lines.get(line.id) is line:
            del self._lines[line.id]
        self._of_store[line.store_id].discard(line)
        self._writing.leave_out(line)

    def _lose(self, line: Line) -> None:
        """Nothing was written of it: a person has moved it, or the lease was over. If no other process has taken the shard, it is in
        the same term again after the next renewal, so its endpoints are to be read again."""
        self._drop(line)
        self._loaded.pop(line.place.shard, None)

    async def _follow_replays(self) -> None:
        """Begin replays that were requested, and end those that were paused or cancelled."""
        rows = await replay.running(self._app, self._lines.keys())
        for endpoint_id, current in self._replays.items():
            row = rows.get(endpoint_id)
            current.closing = current.closing or current.line.closing or row is None or row["id"] != current.id
        if ended := [
            one for one in self._replays.values() if one.closing and not one.lanes.in_flight and not one.reading
        ]:
            await self._writing.flush(())  # a replay that goes on later begins where this one has come
            for one in ended:
                del self._replays[one.line.id]
            rows = await replay.running(self._app, self._lines.keys())
        for endpoint_id, row in rows.items():
            line = self._lines.get(endpoint_id)
            if line is not None and not line.closing and endpoint_id not in self._replays:
                begun = self._replays[endpoint_id] = await replay.resumed(row, line, self._window)
                self._turns.add(begun)

    # -- what they are sent -------------------------------------------------------------------------------------------

    def _follow_feed(self) -> None:
        if not self._lines:
            self._unfollow_feed()
        elif self._leave_feed is None:
            self._leave_feed = self._window.follow(self._on_events)

    def _unfollow_feed(self) -> None:
        if self._leave_feed is not None:
            self._leave_feed()
            self._leave_feed = None

    def _on_events(self, stores: Collection[str] | None) -> None:
        for store in self._of_store if stores is None else stores:
            for line in self._of_store.get(store, ()):
                self._turns.add(line)

    def _fill(self, one: Line | Replay, now: datetime) -> None:
        if not one.reading and one.needs_to_read(self._window):
            one.reading = True
            self._spawn(self._read(one))
        if one.form(now):
            self._writing.mark(one)

    async def _read(self, one: Line | Replay) -> None:
        """Read what is older than the window."""
        try:
            await one.read(self._window)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("events_unread", endpoint_id=str(one.id), error=repr(error))
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            one.reading = False
            self._writing.mark(one)
            self._turns.add(one)

    def _begin(self, one: Line | Replay, delivery: Delivery, now: datetime) -> None:
        deliver = self._deliver(one, delivery, now) if isinstance(one, Line) else self._replay(one, delivery, now)
        self._spawn(deliver)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery_fell", error=repr(error), exc_info=error)

    async def _deliver(self, line: Line, delivery: Delivery, now: datetime) -> None:
        MAY_SEND.set(lambda: self._shards.is_held(*line.place.lease))
        try:
            events = await self._events(line, delivery)
            sent = await self._send(line, events, now) if events else None
            expired = [] if events else await self._window.fetch(EXPIRED_EVENTS, line.id, list(delivery.positions))
        except BaseException as error:
            line.lanes.returned(delivery.position)
            if not isinstance(error, NotOurs) and not is_transient(error):
                raise
        else:
            if sent is not None:
                self._conclude(line, delivery, events, sent, now)
            else:
                self._expire(line, delivery, [FeedEvent(row) for row in expired], now)
        finally:
            self._turns.ended(line)

    async def _events(self, line: Line, delivery: Delivery) -> Sequence[FeedEvent]:
        """Returns the events of a delivery; none, if the feed does not have each of them any more."""
        found = {position: line.events.get(position) or self._window.get(position) for position in delivery.positions}
        if missing := [position for position, event in found.items() if event is None]:
            found |= await self._window.at(missing)
        events = [event for event in found.values() if event is not None]
        return events if len(events) == len(found) else ()

    async def _replay(self, one: Replay, delivery: Delivery, now: datetime) -> None:
        MAY_SEND.set(lambda: self._shards.is_held(*one.line.place.lease))
        events = [one.events[position] for position in delivery.positions]
        try:
            sent = await self._send(one, events, now)
        except BaseException as error:
            one.returned(delivery)
            if not isinstance(error, NotOurs) and not is_transient(error):
                raise
        else:
            self._conclude_replayed(one, delivery, events, sent, now)
        finally:
            self._turns.ended(one)
            self._turns.add(one.line)

    async def _send(self, one: Line | Replay, events: Sequence[FeedEvent], now: datetime) -> Sent:
        try:
            request = one.request(events, now)
            answer = await one.outgoing.send(self._sender, request)
        except Unreadable:
            return Sent(one.delivery_id(events), Answer(None, "", "secret_unreadable", 0))
        crash.point("after_send")
        return Sent(request.delivery_id, answer)

    def _conclude(
        self, line: Line, delivery: Delivery, events: Sequence[FeedEvent], sent: Sent, began: datetime
    ) -> None:
        """Draw the consequences of an attempt."""
        answer, now = sent.answer, datetime.now(UTC)
        if answer.succeeded:
            outcome: Outcome = "delivered"
            line.delivered(delivery, now)
            self._reports.succeeded(line)
        else:
            outcome = line.failed(delivery, answer, now, random.random())
            self._report_failure(line, events, answer, outcome, now)
        if outcome in ("delivered", "exhausted"):
            for position in delivery.positions:
                line.events.pop(position, None)
        self._writing.record(line, events, delivery.number, *sent, outcome, began)
        self._writing.mark(line)

    def _conclude_replayed(
        self, one: Replay, delivery: Delivery, events: Sequence[FeedEvent], sent: Sent, began: datetime
    ) -> None:
        answer, now = sent.answer, datetime.now(UTC)
        outcome = one.line.replayed(delivery, answer, now)
        if outcome == "returned":
            one.returned(delivery)
        else:
            one.ended(delivery, succeeded=outcome == "delivered")
        if outcome == "delivered":
            self._reports.succeeded(one.line)
        else:
            self._report_failure(one.line, events, answer, outcome, now)
        self._writing.record(one.line, events, delivery.number, *sent, outcome, began, one.id)
        self._writing.mark(one.line)
        self._writing.mark(one)

    def _expire(self, line: Line, delivery: Delivery, events: Sequence[FeedEvent], now: datetime) -> None:
        """An event waited for longer than the feed retains it. A batch that lacks an event is given up as a whole.

        events: without their data.
        """
        log.warning("delivery_expired", endpoint_id=str(line.id), positions=delivery.positions)
        line.lanes.expired(delivery.position, EXPIRED)
        self._writing.mark(line)
        if events:
            sent = Sent(line.delivery_id(events), Answer(None, "", EXPIRED, 0))
            self._writing.record(line, events, delivery.number - 1, *sent, "exhausted", now)
            self._report_exhausted(line, events, EXPIRED, now)

    def _report_failure(
        self, line: Line, events: Sequence[FeedEvent], answer: Answer, outcome: Outcome, now: datetime
    ) -> None:
        if answer.status == GONE:
            self._reports.gone(line)
            return
        self._reports.failed(line, now)
        if outcome == "exhausted":
            self._report_exhausted(line, events, stated(answer), now)

    def _report_exhausted(self, line: Line, events: Sequence[FeedEvent], outcome: str, now: datetime) -> None:
        latest = events[-1]
        self._reports.exhausted(line, len(events), latest.row["event_id"], latest.type, outcome, now)
