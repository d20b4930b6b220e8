"""Sends events of an endpoint once more, on request: beside the deliveries, with at most half of the endpoint's requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from chassis.declare.app import App
from webhooks.delivery.line import Line
from webhooks.delivery.outgoing import Outgoing, Request
from webhooks.domain.deliveries import Delivery, Progress
from webhooks.domain.filters import Filter
from webhooks.domain.lanes import QUEUED_MAX, Lanes
from webhooks.window import CHUNK, FeedEvent, Window

RUNNING: Final = """
select distinct on (endpoint_id) id, endpoint_id, store_id, position, open, last, types, which, positions, as_new,
  delivered, failed
from replays where status = 'running' and endpoint_id = any($1::uuid[]) order by endpoint_id, created_at, id"""
# What is on its way is left to its delivery: it is open, it waits, or it is later in the lane of an event that waits. A replay
# that sent the second event of a lane would pass the first one, if that fails once more.
SELECTED: Final = """
select f.position from unnest($2::bigint[]) as u(position) join feed f on f.position = u.position
where not f.position = any(coalesce((select open from cursors where endpoint_id = $1), '{}'))
  and not exists (
    select 1 from waiting w where w.endpoint_id = $1
      and (w.position = f.position and not w.exhausted or w.lane = f.key and w.position < f.position))
  and case $3
    when 'failed' then exists (
      select 1 from waiting w where w.endpoint_id = $1 and w.position = f.position and w.exhausted)
    when 'missing' then not exists (
      select 1 from attempts a where a.event_id = f.event_id and a.endpoint_id = $1 and not a.notice
        and a.outcome = 'delivered' and a.at > f.at - interval '1 hour')
    else true end
order by f.position"""
PROGRESSED: Final = """
update replays r set position = u.position, open = u.open::bigint[], delivered = u.delivered, failed = u.failed,
  status = case when u.is_done and status = 'running' then 'finished' else status end,
  ended_at = case when u.is_done and status = 'running' then clock_timestamp() else ended_at end
from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bool[])
  as u(id, position, open, delivered, failed, is_done) where r.id = u.id"""
# The event has arrived after all.
NO_LONGER_EXHAUSTED: Final = """
delete from waiting w using unnest($1::uuid[], $2::bigint[]) as u(endpoint_id, position)
where w.endpoint_id = u.endpoint_id and w.position = u.position and w.exhausted and w.lane is null"""


class Replay:
    """One replay under way, in turn with all endpoints. An event that fails once is counted and left out.

    Batches are sent one after the other. Each has the next events, as many as it may: the same ones after a crash.
    """

    def __init__(self, row: Record, line: Line, opened: Mapping[int, FeedEvent]) -> None:
        """opened: the events of `open`, oldest first, without those that the feed no longer has."""
        self.id: UUID = row["id"]
        self.line = line
        self.as_new: bool = row["as_new"]
        self._last: int = row["last"]
        self._only: str = row["which"]
        self._types = Filter(row["types"])
        self._positions = frozenset(row["positions"])
        self._batch_max = len(self._positions) or line.config.batch.max
        self.delivered, self.failed = row["delivered"], row["failed"]
        self.arrived: list[int] = []
        """Positions that were delivered since the last flush."""
        self.lanes = Lanes(
            Progress(row["position"], tuple(opened)),
            lanes_of_open=[event.key for event in opened.values()],
            per_order=line.config.order == "per_order",
            batch_max=self._batch_max,
            queued_max=max(QUEUED_MAX, self._batch_max),
        )
        self.events = dict(opened)
        self._chunk: deque[FeedEvent] = deque()
        self._read_until: int = row["position"]
        self.reading = False
        self.closing = False

    @property
    def host(self) -> str:
        return self.line.host

    @property
    def outgoing(self) -> Outgoing:
        return self.line.outgoing

    @property
    def slots(self) -> int:
        return max(1, self.line.config.in_flight // 2) if self._batch_max == 1 else 1

    @property
    def is_done(self) -> bool:
        return self.lanes.progress() == Progress(self._last)

    def needs_to_read(self, window: Window) -> bool:
        """Takes events while there is room. Returns whether a chunk has to be read first."""
        while self.lanes.has_room and self.lanes.taken < self._last:
            if self._chunk:
                event = self._chunk.popleft()
                self.events[event.position] = event
                self.lanes.offer(event.position, event.key)
            elif self.lanes.taken < self._read_until:
                self.lanes.pass_over(self._read_until)
            else:
                return True
        return False

    async def read(self, window: Window) -> None:
        events = await window.chunk(self.line.store_id, self._read_until, self._last)
        wanted = {event.position: event for event in events if self._wants(event)}
        positions = await selected(window.fetch, self.line.id, list(wanted), self._only)
        self._chunk.extend(wanted[position] for position in positions)
        self._read_until = events[-1].position if len(events) == CHUNK else self._last

    def _wants(self, event: FeedEvent) -> bool:
        if self._only == "one":
            return event.position in self._positions
        return self.line.wants(event) and self._types.wants_type(event.type)

    def form(self, now: datetime) -> bool:
        """As of `Line`: nothing has to be written before it is sent."""
        return False

    def begin(self, now: datetime) -> Delivery | None:
        if self.closing or self.lanes.in_flight >= self.slots or not self._is_complete:
            return None
        return self.line.begin_beside(self.lanes, now)

    @property
    def _is_complete(self) -> bool:
        """Returns whether the next batch has all events that it is to have."""
        return bool(self.lanes.formed or self.lanes.batchable == self._batch_max or self.lanes.taken == self._last)

    def next_at(self, now: datetime) -> datetime | None:
        return None if self.closing else self.line.next_beside_at(now)

    def delivery_id(self, events: Sequence[FeedEvent]) -> str:
        return self.line.outgoing.delivery_id(events, self.id if self.as_new else None)

    def request(self, events: Sequence[FeedEvent], now: datetime) -> Request:
        """Raises `vault.Unreadable`."""
        return self.line.outgoing.request(events, self.delivery_id(events), now, self.id)

    def ended(self, delivery: Delivery, *, succeeded: bool) -> None:
        self.lanes.delivered(delivery.position)
        self.line.beside -= 1
        for position in delivery.positions:
            del self.events[position]
        if succeeded:
            self.delivered += len(delivery.positions)
            self.arrived.extend(delivery.positions)
            for position in delivery.positions:
                self.line.lanes.released(position)
        else:
            self.failed += len(delivery.positions)

    def returned(self, delivery: Delivery) -> None:
        self.lanes.returned(delivery.position)
        self.line.beside -= 1


async def selected(
    fetch: Callable[..., Awaitable[Sequence[Record]]], endpoint_id: UUID, positions: Sequence[int], only: str
) -> Sequence[int]:
    """Returns those of some positions that are not on their way, and whose delivery was exhausted (`failed`) or never succeeded
    (`missing`), or all. What a person has chosen one by one (`one`) is sent in any case."""
    if not positions or only == "one":
        return positions
    return [row["position"] for row in await fetch(SELECTED, endpoint_id, positions, only)]


class Written(NamedTuple):
    """What a flush writes of a replay."""

    replay: Replay
    progress: Progress
    delivered: int
    failed: int
    is_done: bool
    arrived: Sequence[int]


def written(replay: Replay) -> Written:
    arrived, replay.arrived = replay.arrived, []
    progress = replay.lanes.changes().progress
    return Written(replay, progress, replay.delivered, replay.failed, replay.is_done, arrived)


def array_text(positions: Sequence[int]) -> str:
    """Returns the text of an array: PostgreSQL has no array of arrays of different lengths."""
    return "{" + ",".join(map(str, positions)) + "}"


async def write(tx: Connection, batch: Sequence[Written]) -> None:
    rows = [
        (one.replay.id, one.progress.cursor, array_text(one.progress.open), one.delivered, one.failed, one.is_done)
        for one in batch
    ]
    await tx.execute(PROGRESSED, *map(list, zip(*rows, strict=True)))
    if arrived := [(one.replay.line.id, position) for one in batch for position in one.arrived]:
        await tx.execute(NO_LONGER_EXHAUSTED, [one for one, _ in arrived], [position for _, position in arrived])


async def resumed(row: Record, line: Line, window: Window) -> Replay:
    """Returns a replay that goes on where it is stored."""
    found = await window.at(row["open"])
    return Replay(row, line, {position: found[position] for position in sorted(found)})


async def running(app: App, endpoints: Collection[UUID]) -> dict[UUID, Record]:
    """Returns the oldest running replay of each endpoint, by endpoint."""
    rows = await app.fetch(RUNNING, list(endpoints)) if endpoints else []
    return {row["endpoint_id"]: row for row in rows}
