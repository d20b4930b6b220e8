"""Reads the feed: pages behind a place, single events, the place of a time. Waits for new events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import ColumnElement, func, select

from chassis.batch.errors import is_transient
from chassis.declare.app import App
from chassis.http.problems import Problem
from webhooks.domain.places import Place, resumed
from webhooks.shown import cursor_of
from webhooks.tables import feed, feed_epochs, feed_head

log = structlog.get_logger("webhooks.reading")

POLL_SECONDS: Final = 0.025
"""Time between two reads of the head while a reader waits."""
SCANNED_MAX: Final = 20_000
"""Events of the store that one read examines for wanted types; the cursor goes on behind them."""
HEAD: Final = select(feed_head.c.epoch, feed_head.c.position)
OLDEST: Final = select(feed.c.position).order_by(feed.c.position).limit(1)

Wanted = Callable[[ColumnElement[str]], ColumnElement[bool]] | None
"""A condition on the column of types; null: every type."""


class Page(NamedTuple):
    rows: Sequence[Mapping[Any, Any]]
    next: Place
    head: Place


class Reader:
    """Reads of one process."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._moved = asyncio.Event()
        """Set, and replaced, when the head moves."""
        self._waiting = 0
        self._head = Place(0, 0)
        self._poll: asyncio.Task[None] | None = None

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

    async def page(self, after: Place, store_id: str, types: Wanted, limit: int) -> Page:
        """Returns the events of a store behind a place, oldest first; those of other types are passed over."""
        head = await self.head()
        of_store = (
            select(feed)
            .where(feed.c.store_id == store_id, feed.c.position > after.position, feed.c.position <= head.position)
            .order_by(feed.c.position)
        )
        if types is None:
            rows = await self.app.read(of_store.limit(limit))
            scanned_to = rows[-1]["position"] if len(rows) == limit else head.position
            return Page(rows, Place(head.epoch, scanned_to), head)
        scanned = of_store.with_only_columns(feed.c.position, feed.c.type).limit(SCANNED_MAX).subquery()
        wanted = (
            select(feed)
            .join(scanned, scanned.c.position == feed.c.position)
            .where(types(scanned.c.type))
            .order_by(feed.c.position)
            .limit(limit)
        )
        rows = await self.app.read(wanted)
        if len(rows) == limit:
            return Page(rows, Place(head.epoch, rows[-1]["position"]), head)
        (edge,) = await self.app.read(select(func.count().label("count"), func.max(scanned.c.position).label("last")))
        return Page(rows, head if edge["count"] < SCANNED_MAX else Place(head.epoch, edge["last"]), head)

    async def page_or_wait(self, after: Place, store_id: str, types: Wanted, limit: int, seconds: float) -> Page:
        """Returns a page; while there is no event, waits for one."""
        ends_at = time.monotonic() + seconds
        while True:
            page = await self.page(after, store_id, types, limit)
            left = ends_at - time.monotonic()
            if page.rows or left <= 0 or self.app.ending:
                return page
            after = page.next
            await self.until_moved(page.head, left)

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

    async def until_moved(self, beyond: Place, seconds: float) -> bool:
        """Waits until the head is beyond a place, for `seconds`, or until the process ends; returns whether it is beyond."""
        self._waiting += 1
        try:
            if self._poll is None or self._poll.done():
                self._head = beyond
                self._poll = asyncio.create_task(self._watch(), name="feed head")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._head <= beyond and not self.app.ending:
                        await self._moved.wait()
            return self._head > beyond
        finally:
            self._waiting -= 1

    async def _watch(self) -> None:
        """Reads the head while a reader waits: one loop per process. An error of the database ends no wait."""
        while self._waiting:
            try:
                head = await self.head()
            except Exception as error:
                log.warning("head_unread", error=repr(error), exc_info=not is_transient(error))
                head = self._head
            if head != self._head or self.app.ending:
                self._head = head
                self._moved.set()
                self._moved = asyncio.Event()  # those that wait have the old one
            await asyncio.sleep(POLL_SECONDS)


def beyond_retention(oldest: Place) -> Problem:
    return Problem(
        410, "beyond_retention", "The feed no longer has these events", "the oldest event follows `oldest_cursor`",
        oldest_cursor=cursor_of(oldest),
    )  # fmt: skip
