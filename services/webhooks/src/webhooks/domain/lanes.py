"""The order of one endpoint's deliveries: which begins next, what the outcome of each changes.

With `per_order` the events of an order are a lane: one delivery of it is in flight, and an event that fails blocks its lane
alone. A blocked lane is one row in `waiting`, however many events come later in it: those are read by the order's id once
the row is delivered. So every event up to the cursor is delivered, filtered out, in a row, behind the row of its lane, or
in flight (`Progress.open`).
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

QUEUED_MAX: Final = 64
"""Events of an endpoint that are taken from the feed and not begun."""
WAITING_MAX: Final = 10_000
"""With more rows that wait for a retry, no further event begins."""
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Waiting(NamedTuple):
    """An event whose delivery has failed."""

    position: int
    lane: UUID | None
    """All later events of it wait behind this one; null: none does."""
    tries: int
    """That counted. 0: the event waited behind another one of its lane."""
    next_at: datetime
    exhausted: bool = False
    last: str = ""
    """How the last attempt failed."""


class Delivery(NamedTuple):
    """A delivery that begins."""

    position: int
    number: int
    """The attempt, from 1."""
    is_probe: bool
    """Begun while the breaker was open: its failure costs the event no attempt."""


class Progress(NamedTuple):
    """What an endpoint has been sent: stored with each flush."""

    cursor: int
    open: tuple[int, ...]
    """Positions up to the cursor whose first delivery has not ended."""


class Changes(NamedTuple):
    """What a flush writes."""

    progress: Progress
    written: Sequence[Waiting]
    deleted: Sequence[int]


class Follow(NamedTuple):
    """A lane whose row is delivered: the events of it behind `after`, up to `until`, are to be read."""

    lane: UUID
    after: int
    until: int


@dataclass(slots=True)
class _Lane:
    """A lane with a row."""

    position: int
    """The position of its row."""
    until: int
    """Later events of the lane may wait up to this position."""
    ahead: deque[int] = field(default_factory=deque)
    """The next of these, as far as they are read."""
    follows: bool = False
    """Whether the row is delivered or given up, and what follows it is being read."""
    given_up: Waiting | None = None
    """The row as it is stored once the next one is found; null: it is deleted."""


class Lanes:
    """The scheduler of one endpoint. It reads no clock and does no I/O; positions are offered in ascending order."""

    def __init__(
        self,
        progress: Progress,
        rows: Iterable[Waiting] = (),
        lanes_of_open: Iterable[UUID | None] = (),
        *,
        per_order: bool = True,
        holds: bool = False,
    ) -> None:
        """rows: those stored, without the exhausted ones that block no lane. lanes_of_open: for `progress.open`."""
        self.taken = progress.cursor
        """Every event up to it was offered or filtered out."""
        self._per_order, self._holds = per_order, holds
        self._settled = progress.cursor
        """The last position that is delivered or has become a row."""
        self._open: OrderedDict[int, UUID | None] = OrderedDict()
        """Offered and not settled, with their lanes, in ascending order."""
        self._ready: list[int] = []
        """A heap: open, not in flight, and first of their lanes."""
        self._behind: dict[UUID, deque[int]] = {}
        """Open, behind another open one of the lane. A lane that has an open event is a key."""
        self._rows: dict[int, Waiting] = {}
        self._stored: set[int] = set()
        self._changed: dict[int, Waiting | None] = {}
        self._following: dict[UUID, None] = {}
        """The lanes of which the next events have to be read."""
        self._held: dict[int, Waiting] = {}
        """Exhausted rows that block their lanes."""
        self._lanes: dict[UUID, _Lane] = {}
        self._due: list[tuple[datetime, int]] = []
        """A heap; an entry counts if it is that of the row."""
        self._flying: dict[int, Delivery] = {}
        self._probed: OrderedDict[int, None] = OrderedDict()
        """Rows, the one that was attempted the longest ago first: probes take turns."""
        self._fresh_turn = False
        self._written = progress
        for row in rows:
            self._stored.add(row.position)
            if row.lane is not None:
                self._lanes[row.lane] = _Lane(row.position, progress.cursor)
            if row.exhausted:
                self._exhausted(row)
            else:
                self._keep(row)
        for position, lane in zip(progress.open, lanes_of_open, strict=True):
            self._queue(position, lane if per_order else None)

    # -- events come --------------------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Events that are taken and not begun."""
        return len(self._open) - sum(position in self._open for position in self._flying)

    @property
    def has_room(self) -> bool:
        return self.queued < QUEUED_MAX and len(self._rows) <= WAITING_MAX

    def offer(self, position: int, lane: UUID) -> None:
        """Take an event that the endpoint wants, behind all that were offered."""
        assert position > self.taken, (position, self.taken)
        self.taken = position
        if not self._per_order:
            self._queue(position, None)
        elif (blocked := self._lanes.get(lane)) is not None:
            blocked.until = position
        else:
            self._queue(position, lane)

    def pass_over(self, until: int) -> None:
        """Every event up to `until` that was not offered is filtered out."""
        self.taken = max(self.taken, until)

    def _queue(self, position: int, lane: UUID | None) -> None:
        self._open[position] = lane
        if lane is None:
            heapq.heappush(self._ready, position)
        elif (behind := self._behind.get(lane)) is not None:
            behind.append(position)
        else:
            self._behind[lane] = deque()
            heapq.heappush(self._ready, position)

    # -- deliveries begin ---------------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    @property
    def waiting(self) -> int:
        """Rows that wait for a retry."""
        return len(self._rows)

    def due_at(self) -> datetime | None:
        """When the next row may begin; null: none waits."""
        while self._due and not self._counts(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def begin(self, now: datetime) -> Delivery | None:
        """Returns the next delivery, which is in flight then. New events and rows that are due take turns."""
        self._fresh_turn = not self._fresh_turn
        if self._fresh_turn:
            return self._begin_fresh() or self._begin_due(now)
        return self._begin_due(now) or self._begin_fresh()

    def probe(self) -> Delivery | None:
        """Returns a delivery to find out whether the endpoint is back: new events and rows take turns, due or not."""
        self._fresh_turn = not self._fresh_turn
        fresh = self._begin_fresh(is_probe=True) if self._fresh_turn else None
        return fresh or self._begin_row_probe() or self._begin_fresh(is_probe=True)

    def _begin_fresh(self, *, is_probe: bool = False) -> Delivery | None:
        if not self._ready or len(self._rows) > WAITING_MAX:
            return None
        return self._fly(Delivery(heapq.heappop(self._ready), 1, is_probe))

    def _begin_due(self, now: datetime) -> Delivery | None:
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return None
        _, position = heapq.heappop(self._due)
        return self._fly(Delivery(position, self._rows[position].tries + 1, is_probe=False))

    def _begin_row_probe(self) -> Delivery | None:
        for position in self._probed:
            if position not in self._flying and not self._follows(self._rows[position]):
                return self._fly(Delivery(position, self._rows[position].tries + 1, is_probe=True))
        return None

    def _fly(self, delivery: Delivery) -> Delivery:
        self._flying[delivery.position] = delivery
        if delivery.position in self._probed:
            self._probed.move_to_end(delivery.position)
        return delivery

    # -- deliveries end -----------------------------------------------------------------------------------------------

    def delivered(self, position: int) -> None:
        del self._flying[position]
        if (row := self._rows.get(position)) is None:
            self._settle(position)
        elif row.lane is None:
            self._leave(position, None)
        else:
            self._go_on(row, None)

    def returned(self, position: int) -> None:
        """The attempt does not count: the event may begin again at once."""
        del self._flying[position]
        if (row := self._rows.get(position)) is not None:
            heapq.heappush(self._due, (row.next_at, position))
        else:
            heapq.heappush(self._ready, position)

    def failed(self, position: int, next_at: datetime | None, last: str) -> None:
        """next_at: when the event is tried again; null: it is exhausted."""
        delivery = self._flying.pop(position)
        before = self._rows.get(position)
        lane = before.lane if before is not None else self._open[position]
        if next_at is None:
            assert before is not None, "an event is not exhausted by its first attempt"
            self._exhausted(before._replace(tries=delivery.number, exhausted=True, last=last))
            return
        self._write(Waiting(position, lane, delivery.number, next_at, False, last))
        if before is None:
            self._block(position, lane)

    def _settle(self, position: int) -> None:
        """An open event needs no more: the next of its lane may begin."""
        lane = self._open.pop(position)
        self._settled = max(self._settled, position)
        if lane is None:
            return
        if behind := self._behind[lane]:
            heapq.heappush(self._ready, behind.popleft())
        else:
            del self._behind[lane]

    def _block(self, position: int, lane: UUID | None) -> None:
        """An open event has become a row; those of its lane that are open wait behind the row."""
        del self._open[position]
        self._settled = max(self._settled, position)
        if lane is None:
            return
        blocked = self._lanes[lane] = _Lane(position, position, self._behind.pop(lane))
        for later in blocked.ahead:
            del self._open[later]
            blocked.until = later
        self._settled = max(self._settled, blocked.until)

    def _exhausted(self, row: Waiting) -> None:
        if row.lane is None:
            self._leave(row.position, row)
        elif self._holds:
            self._leave(row.position, row)
            self._held[row.position] = row
        else:
            self._go_on(row, row._replace(lane=None))

    def released(self, position: int) -> None:
        """An event that is exhausted was delivered on request: its lane goes on."""
        if (row := self._held.pop(position, None)) is not None:
            self._go_on(row, None)

    def _go_on(self, row: Waiting, given_up: Waiting | None) -> None:
        """The row of a lane is delivered or given up: the next event takes its place, or has to be read.

        The row stays as it was until the next one is found: a crash repeats it, and loses none behind it.
        """
        assert row.lane is not None
        lane = self._lanes[row.lane]
        lane.follows, lane.given_up = True, given_up
        self._take_place(row.lane, lane)

    def _take_place(self, key: UUID, lane: _Lane) -> None:
        """Replace the row of a lane by its next event, if that was read; unblock the lane if there is none."""
        if not lane.ahead and lane.until > lane.position:
            self._following[key] = None
            return
        self._following.pop(key, None)
        before = self._rows.get(lane.position)
        self._leave(lane.position, lane.given_up)
        lane.follows, lane.given_up = False, None
        if lane.ahead:
            lane.position = lane.ahead.popleft()
            self._write(Waiting(lane.position, key, 0, before.next_at if before is not None else LONG_AGO))
        else:
            del self._lanes[key]

    def follows(self) -> Iterator[Follow]:
        """Yields the lanes of which the next events have to be read."""
        for key in self._following:
            lane = self._lanes[key]
            yield Follow(key, lane.position, lane.until)

    def followed(self, follow: Follow, positions: Sequence[int], *, is_all: bool) -> None:
        """positions: of the events of a lane that the endpoint wants, ascending; some, or `is_all`: up to `until` there are no
        more."""
        lane = self._lanes[follow.lane]
        assert lane.follows and lane.position == follow.after, (follow, lane)
        lane.ahead = deque(positions)
        if is_all and lane.until == follow.until:
            lane.until = positions[-1] if positions else follow.after
        self._take_place(follow.lane, lane)

    # -- what is stored -----------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """Everything up to it is delivered, filtered out, open or a row."""
        first = next(iter(self._open), None)
        if first is None:
            return self.taken
        return max(first - 1, self._settled)

    def progress(self) -> Progress:
        cursor = self.cursor
        return Progress(cursor, tuple(itertools.takewhile(lambda position: position < cursor, self._open)))

    def changes(self) -> Changes:
        """Returns what has changed since the last call."""
        written = [row for row in self._changed.values() if row is not None]
        deleted = [position for position, row in self._changed.items() if row is None and position in self._stored]
        self._stored.difference_update(deleted)
        self._stored.update(row.position for row in written if not row.exhausted or row.lane is not None)
        self._changed.clear()
        self._written = self.progress()
        return Changes(self._written, written, deleted)

    @property
    def has_moved(self) -> bool:
        """Whether the progress is another one than `changes` returned the last time."""
        return self.progress() != self._written

    def hasten(self, now: datetime) -> None:
        """The endpoint is back: what failed with it need not wait for its time."""
        self._rows = {position: row._replace(next_at=min(row.next_at, now)) for position, row in self._rows.items()}
        self._due = [(row.next_at, position) for position, row in self._rows.items()]
        heapq.heapify(self._due)

    def _write(self, row: Waiting) -> None:
        self._changed[row.position] = row
        self._keep(row)

    def _keep(self, row: Waiting) -> None:
        self._rows[row.position] = row
        self._probed[row.position] = None
        heapq.heappush(self._due, (row.next_at, row.position))

    def _leave(self, position: int, stored: Waiting | None) -> None:
        """A row waits no longer; stored: as which it stays."""
        self._rows.pop(position, None)
        self._probed.pop(position, None)
        self._changed[position] = stored

    def _counts(self, at: datetime, position: int) -> bool:
        row = self._rows.get(position)
        return row is not None and row.next_at == at and position not in self._flying and not self._follows(row)

    def _follows(self, row: Waiting) -> bool:
        return row.lane is not None and self._lanes[row.lane].follows
