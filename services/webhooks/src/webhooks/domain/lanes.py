"""The order of one endpoint's deliveries: which begins next, what the outcome of each changes.

With `per_order` the events of an order are a lane: one delivery of it is in flight, and an event that fails blocks its lane
alone. A blocked lane is one row in `waiting`, however many events come later in it: those are read by the order's id once
the row is delivered. So every event up to the cursor is delivered, filtered out, in a row, behind the row of its lane, or
in flight (`Progress.open`).

A delivery is one event, or a batch of them, which stays together from then on: it is delivered, fails and is exhausted as a
whole, and its rows block the lanes of all its events. The events of a lane in it are in their order. A batch begins only once
it is stored, so it has the same events after a crash.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from webhooks.domain.deliveries import Changes, Delivery, Follow, Progress, Waiting

QUEUED_MAX: Final = 64
"""Events of an endpoint that are taken from the feed and not begun."""
WAITING_MAX: Final = 10_000
"""With more rows that wait for a retry, no further event begins."""
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Lane:
    """A lane with a row."""

    position: int
    """The position of its row: of its last event, if a batch has several."""
    until: int
    """Later events of the lane may wait up to this position."""
    ahead: deque[int] = field(default_factory=deque)
    """The next of these, as far as they are read."""
    next_at: datetime = LONG_AGO
    """When the row was due that is delivered or given up: then the next one is, too."""
    left_as: Waiting | None = None
    """As what that row is stored once the next one is found; null: it is deleted."""


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
        batch_max: int = 1,
        records: bool = False,
        queued_max: int = QUEUED_MAX,
    ) -> None:
        """rows: those stored, without the exhausted ones that block no lane. lanes_of_open: for `progress.open`.

        batch_max: events of a delivery. records: deliveries are made by `form`, and begin once they are `recorded`.
        """
        self.taken = progress.cursor
        """Every event up to it was offered or filtered out."""
        self._per_order, self._holds = per_order, holds
        self._batch_max, self._records, self._queued_max = batch_max, records, queued_max
        self._settled = progress.cursor
        """The last position that is delivered or has become a row."""
        self._open: OrderedDict[int, UUID | None] = OrderedDict()
        """Offered and not settled, with their lanes, in ascending order."""
        self._ready: list[int] = []
        """A heap: open, in no delivery, and first of their lanes."""
        self._behind: dict[UUID, deque[int]] = {}
        """Open, behind another open one of the lane. A lane that has an open event is a key."""
        self._deliveries: dict[int, tuple[int, ...]] = {}
        """The events of each delivery that was made and has not ended, by its first position."""
        self._fresh: set[int] = set()
        """Deliveries of open events."""
        self._fresh_events = 0
        """How many events these have."""
        self._made: list[int] = []
        """A heap: fresh deliveries that may begin."""
        self._unrecorded: set[int] = set()
        """Deliveries that may begin once they are recorded."""
        self._rows: dict[int, Waiting] = {}
        self._stored: set[int] = set()
        self._changed: dict[int, Waiting | None] = {}
        self._following: dict[UUID, None] = {}
        """The lanes of which the next events have to be read."""
        self._held: dict[int, Waiting] = {}
        """Exhausted rows that block their lanes."""
        self._lanes: dict[UUID, _Lane] = {}
        self._due: list[tuple[datetime, int]] = []
        """A heap of deliveries; an entry counts if it is that of the row."""
        self._flying: dict[int, Delivery] = {}
        self._probed: OrderedDict[int, None] = OrderedDict()
        """Deliveries that failed, the one that was attempted the longest ago first: probes take turns."""
        self._fresh_turn = False
        self._written = progress
        self._load_rows(rows)
        self._load_open(progress, lanes_of_open)

    def _load_rows(self, rows: Iterable[Waiting]) -> None:
        batches: dict[int, list[int]] = {}
        for row in rows:
            self._stored.add(row.position)
            if row.lane is not None:
                self._lanes[row.lane] = _Lane(row.position, self.taken)
            if row.delivered:
                self._go_on(row, None)
            elif row.exhausted:
                self._exhausted(row)
            else:
                self._rows[row.position] = row
                batches.setdefault(row.batch or row.position, []).append(row.position)
        for positions in batches.values():
            self._wait(tuple(positions))

    def _load_open(self, progress: Progress, lanes: Iterable[UUID | None]) -> None:
        self._open.update(zip(progress.open, lanes if self._per_order else [None] * len(progress.open), strict=True))
        for batch in progress.batches:
            self._behind.update({lane: deque() for position in batch if (lane := self._open[position]) is not None})
            self._deliver(batch)
            heapq.heappush(self._made, batch[0])
        in_batches = {position for batch in progress.batches for position in batch}
        for position, lane in self._open.items():
            if position not in in_batches:
                self._line_up(position, lane)

    # -- events come --------------------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Events that are taken and in no delivery."""
        return len(self._open) - self._fresh_events

    @property
    def is_full(self) -> bool:
        """Whether so many events wait for a retry that no further one begins."""
        return len(self._rows) > WAITING_MAX

    @property
    def has_room(self) -> bool:
        return self.queued < self._queued_max and not self.is_full

    def offer(self, position: int, lane: UUID) -> None:
        """Take an event that the endpoint wants, behind all that were offered."""
        assert position > self.taken, (position, self.taken)
        self.taken = position
        if self._per_order and (blocked := self._lanes.get(lane)) is not None:
            blocked.until = position
        else:
            self._open[position] = lane if self._per_order else None
            self._line_up(position, self._open[position])

    def pass_over(self, until: int) -> None:
        """Every event up to `until` that was not offered is filtered out."""
        self.taken = max(self.taken, until)

    def _line_up(self, position: int, lane: UUID | None) -> None:
        if lane is None:
            heapq.heappush(self._ready, position)
        elif (behind := self._behind.get(lane)) is not None:
            behind.append(position)
        else:
            self._behind[lane] = deque()
            heapq.heappush(self._ready, position)

    # -- deliveries are made ------------------------------------------------------------------------------------------

    @property
    def formed(self) -> int:
        """Deliveries of open events that were made and are not in flight."""
        return sum(first not in self._flying for first in self._fresh)

    @property
    def batchable(self) -> int:
        """How many events the next batch would have."""
        count = 0
        if not self.is_full:
            for position in self._ready:
                lane = self._open[position]
                count += 1 + (len(self._behind[lane]) if lane is not None else 0)
                if count >= self._batch_max:
                    return self._batch_max
        return count

    def form(self) -> None:
        """Make a batch of what is there. It may begin once it is recorded: see `changes`."""
        self._unrecorded.add(self._form())

    def _form(self) -> int:
        """Make a delivery of the first events whose lanes are free, and of what follows in these lanes."""
        taken, next_of_lanes = list[int](), list[int]()
        while self._ready or next_of_lanes:
            from_lanes = next_of_lanes and not (self._ready and self._ready[0] < next_of_lanes[0])
            taken.append(position := heapq.heappop(next_of_lanes if from_lanes else self._ready))
            if len(taken) == self._batch_max:
                break
            lane = self._open[position]
            if lane is not None and (behind := self._behind[lane]):
                heapq.heappush(next_of_lanes, behind.popleft())
        for position in next_of_lanes:
            lane = self._open[position]
            assert lane is not None
            self._behind[lane].appendleft(position)
        return self._deliver(tuple(taken))

    def _deliver(self, positions: tuple[int, ...]) -> int:
        """Open events are one delivery from now on, which is named by the first."""
        self._deliveries[positions[0]] = positions
        self._fresh.add(positions[0])
        self._fresh_events += len(positions)
        return positions[0]

    def _leave_fresh(self, first: int) -> tuple[int, ...]:
        """The events of a delivery are open no longer, or become rows; returns them."""
        self._fresh.discard(first)
        positions = self._deliveries.pop(first)
        self._fresh_events -= len(positions)
        self._settled = max(self._settled, positions[-1])
        return positions

    # -- deliveries begin ---------------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    @property
    def waiting(self) -> int:
        """Events that wait for a retry."""
        return len(self._rows)

    def due_at(self) -> datetime | None:
        """When the next delivery that failed may begin again; null: none waits."""
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
        if self.is_full:
            return None
        if self._made:
            return self._fly(heapq.heappop(self._made), 1, is_probe)
        if self._ready and not self._records:
            return self._fly(self._form(), 1, is_probe)
        return None

    def _begin_due(self, now: datetime) -> Delivery | None:
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return None
        _, first = heapq.heappop(self._due)
        return self._fly(first, self._rows[first].tries + 1, is_probe=False)

    def _begin_row_probe(self) -> Delivery | None:
        for first in self._probed:
            if first not in self._flying and first not in self._unrecorded:
                return self._fly(first, self._rows[first].tries + 1, is_probe=True)
        return None

    def _fly(self, first: int, number: int, is_probe: bool) -> Delivery:
        delivery = self._flying[first] = Delivery(self._deliveries[first], number, is_probe)
        if first in self._probed:
            self._probed.move_to_end(first)
        return delivery

    # -- deliveries end -----------------------------------------------------------------------------------------------

    def delivered(self, first: int) -> None:
        """first: of the delivery's positions, here and below."""
        del self._flying[first]
        if first in self._fresh:
            self._settle(first)
        else:
            for row in self._leave(first):
                self._end(row, row._replace(delivered=True), None)

    def returned(self, first: int) -> None:
        """The attempt does not count: the delivery may begin again at once."""
        del self._flying[first]
        if first in self._fresh:
            heapq.heappush(self._made, first)
        else:
            heapq.heappush(self._due, (self._rows[first].next_at, first))

    def failed(self, first: int, next_at: datetime | None, last: str) -> None:
        """next_at: when it is tried again; null: it is exhausted."""
        number = self._flying.pop(first).number
        if next_at is None:
            assert first not in self._fresh, "an event is not exhausted by its first attempt"
            for row in self._leave(first):
                self._exhausted(row._replace(tries=number, exhausted=True, last=last))
            return
        positions = self._deliveries[first]
        lanes = self._block(first) if first in self._fresh else {one: self._rows[one].lane for one in positions}
        batch = first if len(positions) > 1 else None
        for position in positions:
            self._write(Waiting(position, lanes.get(position), number, next_at, False, last, batch))
        self._wait(positions)

    def expired(self, first: int, last: str) -> None:
        """It cannot be delivered any more. Its lanes go on, also if exhausted events hold them."""
        del self._flying[first]
        if first in self._fresh:
            self._settle(first)
        else:
            for row in self._leave(first):
                self._end(row, row._replace(delivered=True), row._replace(exhausted=True, last=last, lane=None))

    def _settle(self, first: int) -> None:
        """Open events need no more: the next of their lanes may begin."""
        for lane in {self._open.pop(position) for position in self._leave_fresh(first)}:
            if lane is None:
                continue
            if behind := self._behind[lane]:
                heapq.heappush(self._ready, behind.popleft())
            else:
                del self._behind[lane]

    def _block(self, first: int) -> dict[int, UUID | None]:
        """Open events become rows, and the later ones of their lanes wait behind them. Returns which rows have which lanes."""
        last_of = {self._open.pop(position): position for position in self._leave_fresh(first)}
        for lane, position in last_of.items():
            if lane is None:
                continue
            blocked = self._lanes[lane] = _Lane(position, position, self._behind.pop(lane))
            for later in blocked.ahead:
                del self._open[later]
                blocked.until = later
            self._settled = max(self._settled, blocked.until)
        return {position: lane for lane, position in last_of.items()}

    def _leave(self, first: int) -> list[Waiting]:
        """The rows of a delivery wait no longer; returns them."""
        del self._probed[first]
        return [self._rows.pop(position) for position in self._deliveries.pop(first)]

    def _exhausted(self, row: Waiting) -> None:
        if row.lane is not None and self._holds:
            self._changed[row.position] = self._held[row.position] = row
        else:
            self._give_up(row)

    def _give_up(self, row: Waiting) -> None:
        self._end(row, row, row._replace(lane=None))

    def released(self, position: int) -> None:
        """An event that is exhausted was delivered on request: its lane goes on."""
        if (row := self._held.pop(position, None)) is not None:
            self._end(row, row._replace(exhausted=False, delivered=True), None)

    def _end(self, row: Waiting, until_followed: Waiting, left_as: Waiting | None) -> None:
        """until_followed: as what the row is stored until the next one of its lane is found: a crash loses none behind it."""
        if row.lane is None:
            self._changed[row.position] = left_as
        else:
            self._changed[row.position] = until_followed
            self._go_on(row, left_as)

    def _go_on(self, row: Waiting, left_as: Waiting | None) -> None:
        """The row of a lane is delivered or given up: the next events take its place, or have to be read."""
        assert row.lane is not None
        lane = self._lanes[row.lane]
        lane.next_at, lane.left_as = row.next_at, left_as
        self._take_place(row.lane, lane)

    def _take_place(self, key: UUID, lane: _Lane) -> None:
        """Replace the row of a lane by its next events, if they are read; unblock the lane if there are none."""
        if not lane.ahead and lane.until > lane.position:
            self._following[key] = None
            return
        self._following.pop(key, None)
        self._changed[lane.position] = lane.left_as
        if not lane.ahead:
            del self._lanes[key]
            return
        positions = tuple(lane.ahead.popleft() for _ in range(min(len(lane.ahead), self._batch_max)))
        lane.position = positions[-1]
        self._settled = max(self._settled, lane.position)
        batch = positions[0] if len(positions) > 1 else None
        for position in positions:
            row = Waiting(position, key if position == lane.position else None, 0, lane.next_at, batch=batch)
            self._write(row)
        if self._records:
            self._unrecorded.add(positions[0])
        self._wait(positions)

    def follows(self) -> Iterator[Follow]:
        """Yields the lanes of which the next events have to be read."""
        for key in self._following:
            lane = self._lanes[key]
            yield Follow(key, lane.position, lane.until)

    def followed(self, follow: Follow, positions: Sequence[int], *, is_all: bool) -> None:
        """positions: of the events of a lane that the endpoint wants, ascending; some, or `is_all`: up to `until` there are no
        more."""
        lane = self._lanes[follow.lane]
        assert follow.lane in self._following and lane.position == follow.after, (follow, lane)
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
        batches = self._recorded_batches()
        return max([first - 1, self._settled, *(batch[-1] for batch in batches)])

    def _recorded_batches(self) -> tuple[tuple[int, ...], ...]:
        """Those that are stored, or will be with the next flush."""
        return tuple(self._deliveries[first] for first in sorted(self._fresh)) if self._records else ()

    def progress(self) -> Progress:
        cursor = self.cursor
        is_open = itertools.takewhile(lambda position: position <= cursor, self._open)
        return Progress(cursor, tuple(is_open), self._recorded_batches())

    def changes(self) -> Changes:
        """Returns what has changed since the last call."""
        written = [row for row in self._changed.values() if row is not None]
        deleted = [position for position, row in self._changed.items() if row is None and position in self._stored]
        self._stored.difference_update(deleted)
        self._stored.update(row.position for row in written if not row.exhausted or row.lane is not None)
        self._changed.clear()
        self._written = self.progress()
        return Changes(self._written, written, deleted, tuple(self._unrecorded))

    def recorded(self, changes: Changes) -> None:
        """What `changes` has returned is written."""
        for first in self._unrecorded.intersection(changes.recorded):
            self._unrecorded.discard(first)
            if first in self._fresh:
                heapq.heappush(self._made, first)
            else:
                heapq.heappush(self._due, (self._rows[first].next_at, first))

    @property
    def has_moved(self) -> bool:
        """Whether the progress is another one than `changes` returned the last time."""
        return self.progress() != self._written

    def hasten(self, now: datetime) -> None:
        """The endpoint is back: what failed with it need not wait for its time."""
        self._rows = {position: row._replace(next_at=min(row.next_at, now)) for position, row in self._rows.items()}
        self._due = [(self._rows[first].next_at, first) for first in self._probed]
        heapq.heapify(self._due)

    def _write(self, row: Waiting) -> None:
        self._changed[row.position] = self._rows[row.position] = row

    def _wait(self, positions: tuple[int, ...]) -> None:
        """Rows are one delivery, which begins again when it is due."""
        first = positions[0]
        self._deliveries[first] = positions
        self._probed[first] = None
        heapq.heappush(self._due, (self._rows[first].next_at, first))

    def _counts(self, at: datetime, first: int) -> bool:
        row = self._rows.get(first)
        return (
            row is not None
            and row.next_at == at
            and first in self._probed
            and first not in self._flying
            and first not in self._unrecorded
        )
