"""Whose turn it is: round robin over the endpoints that may send, one delivery each.

An endpoint that may not send now comes back when what holds it up ends: a delivery of its own or of its host, a time, a new
event. So an endpoint that waits costs nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Generic, Protocol, TypeVar

from webhooks.domain.deliveries import Delivery

IN_FLIGHT_MAX: Final = 256
"""Requests of the process."""
IN_FLIGHT_PER_HOST_MAX: Final = 16


class Sending(Protocol):
    """What takes turns: the deliveries of an endpoint, or a replay."""

    @property
    def host(self) -> str: ...
    @property
    def closing(self) -> bool:
        """Whether it begins nothing more."""

    def begin(self, now: datetime) -> Delivery | None:
        """Returns the next delivery, if one may begin now."""

    def next_at(self, now: datetime) -> datetime | None:
        """When one may begin although nothing happens before, if none may begin now; null: never."""


One = TypeVar("One", bound=Sending)


class Turns(Generic[One]):
    """The endpoints of one process that may send, and the slots in which requests are in flight."""

    def __init__(self, fill: Callable[[One, datetime], None], begin: Callable[[One, Delivery, datetime], None]) -> None:
        """fill: called before an endpoint's turn. begin: starts a delivery, and calls `ended` when it has ended."""
        self._fill, self._begin = fill, begin
        self._ready: deque[One] = deque()
        self._is_ready: set[One] = set()
        self._timers: list[tuple[datetime, int, One]] = []
        self._timer_of: dict[One, datetime] = {}
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._per_host: Counter[str] = Counter()
        self._held_up: defaultdict[str, list[One]] = defaultdict(list)
        """By host: endpoints whose turn came while the host had as many requests as it may."""

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._in_flight

    def add(self, one: One) -> None:
        """Give an endpoint a turn: it may have something to send."""
        if one not in self._is_ready and not one.closing:
            self._is_ready.add(one)
            self._ready.append(one)
            self._wake.set()

    def add_at(self, one: One, at: datetime) -> None:
        if (earlier := self._timer_of.get(one)) is None or at < earlier:
            self._timer_of[one] = at
            heapq.heappush(self._timers, (at, next(self._numbers), one))
            self._wake.set()

    def ended(self, one: One) -> None:
        """A delivery has ended: its slots are free."""
        self._in_flight -= 1
        self._per_host[one.host] -= 1
        if not self._per_host[one.host]:
            del self._per_host[one.host]
        for held_up in self._held_up.pop(one.host, ()):
            self.add(held_up)
        self.add(one)
        self._wake.set()

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            self._wake.clear()
            now = datetime.now(UTC)
            self.give(now)
            pause = max(0.0, (self._timers[0][0] - now).total_seconds()) if self._timers else None
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def give(self, now: datetime) -> None:
        """Begin what may begin now."""
        while self._timers and self._timers[0][0] <= now:
            at, _, one = heapq.heappop(self._timers)
            if self._timer_of.get(one) == at:
                del self._timer_of[one]
                self.add(one)
        while self._ready and self._in_flight < IN_FLIGHT_MAX:
            one = self._ready.popleft()
            self._is_ready.discard(one)
            self._turn(one, now)

    def _turn(self, one: One, now: datetime) -> None:
        if self._per_host[one.host] >= IN_FLIGHT_PER_HOST_MAX:
            self._held_up[one.host].append(one)
            return
        self._fill(one, now)
        if (delivery := one.begin(now)) is not None:
            self._in_flight += 1
            self._per_host[one.host] += 1
            self._begin(one, delivery, now)
            self.add(one)
        elif (at := one.next_at(now)) is not None:
            self.add_at(one, at)
