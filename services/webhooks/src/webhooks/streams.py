"""The feed as server-sent events (SSE): a stream that stays open, from a place on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import orjson

from chassis.declare.app import Principal
from chassis.http.problems import Problem
from webhooks.domain.places import Place
from webhooks.reading import Reader, Wanted

HEARTBEAT_SECONDS: Final = 15.0
"""After this time without an event a comment is sent: proxies close connections that are silent."""
PAGE: Final = 200
MEDIA_TYPE: Final = "text/event-stream"


class Streams:
    """The open streams of one process."""

    def __init__(self, reader: Reader, at_most: int) -> None:
        self._reader, self._at_most = reader, at_most
        self._open: Counter[tuple[str, str]] = Counter()

    def admit(self, who: Principal) -> tuple[str, str]:
        """Returns store and name of a key. Raises Problem 429 if it has as many streams as it may."""
        key = (who.store_id, who.name)
        if self._open[key] >= self._at_most:
            raise Problem(
                429, "too_many_streams", "Too many streams", f"the key {who.name} has {self._at_most} streams open"
            )
        return key

    async def events(
        self,
        key: tuple[str, str],
        after: Place,
        types: Wanted,
        show: Callable[[Mapping[Any, Any], int], dict[str, Any]],
    ) -> AsyncIterator[bytes]:
        """Yields the events of the key's store behind a place until the client leaves or the process ends."""
        self._open[key] += 1
        try:
            yield b": the feed follows\n\n"
            while not self._reader.app.ending:
                page = await self._reader.page(after, key[0], types, PAGE)
                for row in page.rows:
                    yield _event(show(row, page.head.epoch))
                after = page.next
                if (
                    not page.rows
                    and after == page.head
                    and not await self._reader.until_moved(after, HEARTBEAT_SECONDS)
                ):
                    yield b": no event\n\n"
        finally:
            self._open[key] -= 1


def _event(shown: dict[str, Any]) -> bytes:
    """`id` is the cursor: a browser sends it as `Last-Event-ID` when it connects again."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        shown["cursor"].encode(), shown["type"].encode(), orjson.dumps(shown),
    )  # fmt: skip
