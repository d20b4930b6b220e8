"""One browser that watches channels: the messages that it has not been sent yet."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlencode

import orjson

from console.domain.people import Person

QUEUED_MAX: Final = 200
"""Messages that wait for a slow browser. A further one drops the oldest."""


class Message(NamedTuple):
    channel: str
    frame: bytes
    """A server-sent event; made once for all watchers."""


class Mark(NamedTuple):
    """Everything up to a position of a source precedes it in the queue."""

    source: str
    position: str


def framed(channel: str, body: Mapping[str, object]) -> Message:
    return Message(channel, b"data: %s\n\n" % orjson.dumps({"channel": channel, **body}))


class Watcher:
    """`take` returns what to send. The last event has the id with which a browser connects again: the positions of each source."""

    def __init__(self, person: Person, channels: frozenset[str], event_id: str = "") -> None:
        """event_id: that of a stream, followed by the positions of pages that have none yet."""
        self.person, self.channels = person, channels
        self.positions: dict[str, list[str]] = parse_qs(event_id)
        """Source -> positions up to which the pages of the browser have everything: several until the source has `reached` one."""
        self.closed = False
        self._queue: deque[Message | Mark] = deque()
        self._waiting = 0
        """Messages in the queue."""
        self._skipped: Counter[str] = Counter()
        self._arrived = asyncio.Event()

    @property
    def event_id(self) -> str:
        return urlencode(self.positions, doseq=True)

    def keep_positions(self, sources: Collection[str]) -> None:
        """Drops the positions of other sources: nothing moves them, and a page that came later would be sent all since then."""
        self.positions = {source: found for source, found in self.positions.items() if source in sources}

    def push(self, message: Message) -> None:
        if self._waiting == QUEUED_MAX:
            self._drop_oldest()
        self._queue.append(message)
        self._waiting += 1
        self._arrived.set()

    def mark(self, source: str, position: str) -> None:
        if not self._queue:
            self.positions[source] = [position]
        elif self._queue[-1] != (mark := Mark(source, position)):
            if isinstance(self._queue[-1], Mark) and self._queue[-1].source == source:
                self._queue.pop()
            self._queue.append(mark)

    def close(self) -> None:
        self.closed = True
        self._arrived.set()

    async def wait(self, seconds: float) -> bool:
        """Returns whether there is something to take; false after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> bytes:
        """Returns every queued message, after one for each channel that has lost some."""
        frames = [framed(channel, {"skipped": count}).frame for channel, count in self._skipped.items()]
        for item in self._queue:
            if isinstance(item, Message):
                frames.append(item.frame)
            else:
                self.positions[item.source] = [item.position]
        self._queue.clear()
        self._skipped.clear()
        self._waiting = 0
        if not self.closed:
            self._arrived.clear()
        return self.with_id(b"".join(frames)) if frames else b""

    def with_id(self, frames: bytes) -> bytes:
        """Adds the id to the last event."""
        return b"%sid: %s\n\n" % (frames.removesuffix(b"\n"), self.event_id.encode())

    def _drop_oldest(self) -> None:
        """Drops the oldest message. Marks stay: who connects again has been sent the number of what was skipped."""
        for index, item in enumerate(self._queue):
            if isinstance(item, Message):
                del self._queue[index]
                self._skipped[item.channel] += 1
                self._waiting -= 1
                return
