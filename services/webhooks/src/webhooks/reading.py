"""Reads the feed: pages behind a place, single events, the place of a time. Waits for new events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, literal, select

from chassis.declare.app import App
from chassis.http.problems import Problem
from webhooks import types as event_types
from webhooks.domain.filters import Filter
from webhooks.domain.places import Place, resumed
from webhooks.shown import cursor_of
from webhooks.tables import feed, feed_epochs, feed_head
from webhooks.window import FeedEvent, Window

SCANNED_MAX: Final = 20_000
"""Events of the store that one read examines for wanted types; the cursor goes on behind them."""
HEAD: Final = select(feed_head.c.epoch, feed_head.c.position)
OLDEST: Final = select(feed.c.position).order_by(feed.c.position).limit(1)


class Selection(NamedTuple):
    """What a reader reads."""

    store_id: str
    types: Sequence[str]
    """Names of types, or of all types of a service as `orders.*`; none: every type."""


class Page(NamedTuple):
    events: Sequence[FeedEvent]
    next: Place
    head: Place


class Reader:
    """Reads of one process."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.window = app.shared(Window)

    async def head(self) -> Place:
        (row,) = await self.app.read(HEAD)
        return Place(row["epoch"], row["position"])

    async def resume(self, place: Place | None) -> tuple[Place, bool]:
        """Returns where reading goes on from a place (null: from the oldest event), and whether events are repeated.

        Raises Problem 410 if events behind the place are dropped.
        """
        head = await self.head()
        oldest = await self._oldest(head)
        if place is None:
            return Place(head.epoch, oldest), False
        epochs = [
            Place(*row.values()) for row in await self.app.read(select(feed_epochs.c.epoch, feed_epochs.c.position))
        ]
        position, rewound = resumed(place, epochs, head)
        if position < oldest:
            raise beyond_retention(Place(head.epoch, oldest))
        return Place(head.epoch, position), rewound

    async def _oldest(self, head: Place) -> int:
        """The position before the oldest event."""
        rows = await self.app.read(OLDEST)
        return int(rows[0]["position"]) - 1 if rows else head.position

    async def page(self, after: Place, selection: Selection, limit: int) -> Page:
        """Returns the events behind a place, oldest first, from the database; those of other types are passed over."""
        head = await self.head()
        of_store = (
            select(feed)
            .where(
                feed.c.store_id == selection.store_id,
                feed.c.position > after.position,
                feed.c.position <= head.position,
            )
            .order_by(feed.c.position)
        )
        wanted = event_types.wanted(selection.types)
        if wanted is None:
            return await self._page(of_store.limit(limit), limit, head)
        scanned = of_store.with_only_columns(feed.c.position, feed.c.type).limit(SCANNED_MAX).subquery()
        of_types = (
            select(feed)
            .join(scanned, scanned.c.position == feed.c.position)
            .where(wanted(scanned.c.type))
            .order_by(feed.c.position)
            .limit(limit)
        )
        page = await self._page(of_types, limit, head)
        if len(page.events) == limit:
            return page
        (edge,) = await self.app.read(select(func.count().label("count"), func.max(scanned.c.position).label("last")))
        return page if edge["count"] < SCANNED_MAX else page._replace(next=Place(head.epoch, edge["last"]))

    async def _page(self, statement: Select[Any], limit: int, head: Place) -> Page:
        rows = await self.app.read(statement.add_columns(literal(head.epoch).label("epoch")))
        events = [FeedEvent(row) for row in rows]
        return Page(events, Place(head.epoch, events[-1].position) if len(events) == limit else head, head)

    def newest(self, after: Place, selection: Selection, limit: int) -> Page | None:
        """As `page`, from memory; null if that has not all events behind the place."""
        window, wanted = self.window, Filter(selection.types)
        if not window.is_current or window.epoch != after.epoch or not window.covers(after.position):
            return None
        head = max(window.place, after)  # what the database has answered may be ahead of the window
        events = window.after(selection.store_id, after.position, limit)
        end = head if len(events) < limit else Place(window.epoch, events[-1].position)
        return Page([event for event in events if wanted.wants_type(event.type)], end, head)

    async def page_or_wait(self, after: Place, selection: Selection, limit: int, seconds: float) -> Page:
        """Returns a page; while there is no event, waits for one."""
        ends_at = time.monotonic() + seconds
        page = await self.page(after, selection, limit)
        if page.events or not seconds:
            return page
        with self.window.arrivals(selection.store_id) as arrivals:
            while not page.events and not self.app.ending and (left := ends_at - time.monotonic()) > 0:
                if await arrivals.wait(page.next.position, left):
                    later = self.newest(page.next, selection, limit) or await self.page(page.next, selection, limit)
                    if (
                        later.head.epoch != page.head.epoch
                    ):  # restored: the next request states whether events are repeated
                        break
                    page = later
        return page

    async def place_at(self, at: datetime) -> Place:
        """Returns the place before the first event that was written at a time or later, by halving: positions have no gaps."""
        head = await self.head()
        low, high = await self._oldest(head), head.position
        while low < high:  # the event behind `low` may be older than `at`, that behind `high` is not
            middle = (low + high) // 2
            rows = await self.app.read(select(feed.c.at).where(feed.c.position == middle + 1))
            if not rows or rows[0]["at"] < at:  # none: dropped meanwhile
                low = middle + 1
            else:
                high = middle
        return Place(head.epoch, low)


def beyond_retention(oldest: Place) -> Problem:
    return Problem(
        410, "beyond_retention", "The feed no longer has these events", "the oldest event follows `oldest_cursor`",
        oldest_cursor=cursor_of(oldest),
    )  # fmt: skip
