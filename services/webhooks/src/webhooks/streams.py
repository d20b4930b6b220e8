"""The feed as server-sent events (SSE): a stream that stays open, from a place on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from chassis.declare.app import Principal
from chassis.http.problems import Problem
from webhooks.delivery.render import body_of
from webhooks.domain.places import Place
from webhooks.reading import Page, Reader, Selection
from webhooks.window import FeedEvent

HEARTBEAT_SECONDS: Final = 15.0
"""After this time without an event a comment is sent: proxies close connections that are silent."""
PAGE: Final = 200
BEHIND_READERS_MAX: Final = 2
"""Streams that read the database at the same time: of the four connections for reads, pages and lists keep two."""
MEDIA_TYPE: Final = "text/event-stream"


class Streams:
    """The open streams of one process."""

    def __init__(self, reader: Reader, at_most: int) -> None:
        self._reader, self._at_most = reader, at_most
        self._open: Counter[tuple[str, str]] = Counter()
        self._behind = asyncio.Semaphore(BEHIND_READERS_MAX)

    def admit(self, who: Principal) -> tuple[str, str]:
        """Returns store and name of a key. Raises Problem 429 if it has as many streams as it may."""
        key = (who.store_id, who.name)
        if self._open[key] >= self._at_most:
            raise Problem(
                429, "too_many_streams", "Too many streams", f"the key {who.name} has {self._at_most} streams open"
            )
        return key

    async def events(
        self, key: tuple[str, str], after: Place, types: Sequence[str], *, personal: bool
    ) -> AsyncIterator[bytes]:
        """Yields the events of the key's store behind a place until the client leaves or the process ends.

        It ends, too, when a restored database begins an epoch: the answer to the client's next request states whether events
        are repeated.
        """
        selection = Selection(key[0], types)
        self._open[key] += 1
        try:
            with self._reader.window.arrivals(selection.store_id) as arrivals:
                yield b": the feed follows\n\n"
                while not self._reader.app.ending:
                    page = await self._page(after, selection)
                    if page.head.epoch != after.epoch:
                        return
                    if page.events:
                        yield b"".join([_framed(event, personal) for event in page.events])
                    after = page.next
                    if after >= page.head and not await arrivals.wait(after.position, HEARTBEAT_SECONDS):
                        yield b": no event\n\n"
        finally:
            self._open[key] -= 1

    async def _page(self, after: Place, selection: Selection) -> Page:
        """Returns a page from memory; for a stream that is behind, from the database, when it is its turn."""
        if (page := self._reader.newest(after, selection, PAGE)) is None:
            async with self._behind:
                page = await self._reader.page(after, selection, PAGE)
        return page


def _framed(event: FeedEvent, personal: bool) -> bytes:
    """`id` is the cursor: a browser sends it as `Last-Event-ID` when it connects again."""
    body = body_of(event, thin=False, personal=personal)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.cursor.encode(), event.type.encode(), body)
