"""Counts the events that deliveries or a replay would send, with the filter that selects them when they are sent.

A condition on an event's data cannot be part of a query, so the events are read and examined slice by slice: no statement reads
more than a slice, and a count that reaches its limits ends there.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from chassis.declare.app import App
from webhooks import window
from webhooks.domain.filters import Filter
from webhooks.window import FeedEvent

COUNTED_MAX: Final = 100_000
"""Events that are counted: an endpoint that was disabled for weeks has millions."""
SECONDS_MAX: Final = 5.0
WHOLE_EVENTS: Final = 1_000
"""Events of a slice that are read with their data, for conditions."""
TYPES: Final = 10_000
"""Events of a slice of which the type decides."""
LANES: Final = 200
"""Lanes of a slice."""
TYPES_OF_STORE: Final = """
select position, type from feed where store_id = $1 and position > $2 and position <= $3 order by position limit $4"""
BLOCKED: Final = """
select position, lane from waiting where endpoint_id = $1 and position > $2 and lane is not null and not exhausted
order by position limit $3"""

Select = Callable[[Sequence[int]], Awaitable[Collection[int]]]
"""Returns those of some positions that are to be counted."""


class Counted(NamedTuple):
    events: int
    or_more: bool
    """The count has ended before the last event."""


async def counted(*parts: AsyncIterator[int]) -> Counted:
    """parts: the counts of slices."""
    events, ends_at = 0, time.monotonic() + SECONDS_MAX
    for part in parts:
        async for number in part:
            events += number
            if events > COUNTED_MAX:
                return Counted(COUNTED_MAX, True)
            if time.monotonic() >= ends_at:
                return Counted(events, True)
    return Counted(events, False)


async def behind(
    app: App, store_id: str, wanted: Sequence[Filter], after: int, until: int, select: Select | None = None
) -> AsyncIterator[int]:
    """Yields counts of the events behind a position, up to another one, that all filters want."""
    has_conditions = any(one.has_conditions for one in wanted)
    statement, limit = (window.OF_STORE, WHOLE_EVENTS) if has_conditions else (TYPES_OF_STORE, TYPES)
    while after < until:
        rows = await app.fetch(statement, store_id, after, until, limit)
        events = [FeedEvent(row) for row in rows]
        positions = [event.position for event in events if all(one.wants(event) for one in wanted)]
        after = events[-1].position if len(events) == limit else until
        yield len(positions if select is None else await select(positions))


async def in_lanes(app: App, endpoint_id: UUID, store_id: str, wanted: Filter, until: int) -> AsyncIterator[int]:
    """Yields counts of the events, up to a position, that wait behind an event of their order that waits for a retry."""
    last = 0
    while rows := await app.fetch(BLOCKED, endpoint_id, last, LANES):
        blocked = {row["lane"]: row["position"] for row in rows}
        last = rows[-1]["position"]
        events = map(FeedEvent, await app.fetch(window.OF_KEYS, list(blocked), store_id, rows[0]["position"], until))
        yield sum(event.position > blocked[event.key] and wanted.wants(event) for event in events)
