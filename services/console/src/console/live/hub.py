"""The hub: what the browsers of one process watch, read once for all of them.

A browser watches channels, `kind:name` (`order:<id>`, `list:<store>`, `operations:`, `tail:<filter>`). Each kind has a source. A
source runs while at least one of its channels is watched; it publishes messages and the position up to which it has read. A
browser that connects again states its positions, and the source sends it what came since: `Audience.newcomers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from prometheus_client import Gauge

from chassis.batch.errors import is_transient
from chassis.declare.app import App
from console.domain.people import Person
from console.live.watcher import Watcher, framed

log = structlog.get_logger("console.live")

POLL_SECONDS: Final = 0.25
RETRY_SECONDS: Final = 1.0
"""After an error of a source."""
WATCHERS_MAX: Final = 400
"""A process has 500 connections: the others are for pages."""


class Source(Protocol):
    """Where the messages of some kinds of channel come from."""

    name: str
    """Names its position in the id of an event."""

    async def admitted(self, person: Person, channels: Collection[str]) -> Collection[str]:
        """Returns those channels that exist and that the person may watch."""

    async def run(self, audience: Audience) -> None:
        """Publishes until it is cancelled. After an error it is run again."""


class Audience:
    """Some watchers of a source: all that it serves, or one that has just come."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._watchers: set[Watcher] = set()
        self._newcomers: set[Watcher] = set()

    @property
    def channels(self) -> frozenset[str]:
        """Returns what is watched; also by newcomers."""
        return frozenset[str]().union(*(watcher.channels for watcher in self._watchers | self._newcomers))

    @property
    def positions(self) -> Sequence[str]:
        """Returns the positions of a single watcher, one of each page that connects; none: it begins now."""
        [watcher] = self._watchers
        return watcher.positions.get(self._source, ())

    def newcomers(self) -> Iterable[Audience]:
        """Yields each watcher that has come since the last call, alone: publish what it has missed since the oldest of its
        `positions`, and state that this is `reached`.

        From then on it is served with all others. Call it between two reads, never while one is under way: a message of an
        earlier read would follow one of a later read.
        """
        for watcher in list(self._newcomers):
            alone = Audience(self._source)
            alone._watchers.add(watcher)
            yield alone
            if watcher in self._newcomers:  # else it has left meanwhile
                self._newcomers.remove(watcher)
                self._watchers.add(watcher)

    def publish(self, channel: str, body: Mapping[str, Any]) -> None:
        """Sends a message to everyone who watches a channel. It has no personal data: to reveal them is an audited request.

        `apply` of `console.js` states what a page does with a body: its keys are `cells`, `changed`, `refresh`, `rows`.
        """
        message = framed(channel, body)
        for watcher in self._watchers:
            if channel in watcher.channels:
                watcher.push(message)

    def reached(self, position: str) -> None:
        """States that everything up to a position is published: who connects again with it misses nothing."""
        for watcher in self._watchers:
            watcher.mark(self._source, position)

    def join(self, watcher: Watcher) -> None:
        self._newcomers.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        self._newcomers.discard(watcher)

    def begin_again(self) -> None:
        """Makes all watchers newcomers: each continues at its own position."""
        self._newcomers |= self._watchers
        self._watchers.clear()

    def __bool__(self) -> bool:
        return bool(self._watchers or self._newcomers)


def streams(app: App) -> Gauge:
    name, text = "tradewind_console_streams", "Browsers that watch pages"
    return Gauge(name, text, ("service",), registry=app.registry).labels("console")


class Hub:
    def __init__(self, app: App, sources: Mapping[str, Source]) -> None:
        """sources: by the kind of their channels."""
        self._app, self.sources = app, dict(sources)
        self._audiences = {source.name: Audience(source.name) for source in sources.values()}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._watchers: set[Watcher] = set()
        self._ending: asyncio.Task[None] | None = None
        app.shared(streams).set_function(lambda: len(self._watchers))

    def add(self, kind: str, source: Source) -> None:
        """Adds the source of a kind of channel."""
        self.sources[kind] = source
        self._audiences[source.name] = Audience(source.name)

    @property
    def is_full(self) -> bool:
        return len(self._watchers) >= WATCHERS_MAX

    async def admitted(self, person: Person, channels: Collection[str]) -> frozenset[str]:
        """Returns those channels that exist and that the person may watch."""
        of_source: dict[str, list[str]] = {}
        for channel in channels:
            if (source := self.sources.get(channel.partition(":")[0])) is not None:
                of_source.setdefault(source.name, []).append(channel)
        by_name = {source.name: source for source in self.sources.values()}
        found = [await by_name[name].admitted(person, mine) for name, mine in of_source.items()]
        return frozenset[str]().union(*found)

    def join(self, watcher: Watcher) -> Callable[[], None]:
        """Serves a watcher, whose channels were admitted, until the function that is returned is called."""
        mine = {self.sources[channel.partition(":")[0]] for channel in watcher.channels}
        watcher.keep_positions({source.name for source in mine})
        self._watchers.add(watcher)
        for source in mine:
            self._audiences[source.name].join(watcher)
            if source.name not in self._running:
                self._running[source.name] = asyncio.create_task(self._run(source), name=f"live {source.name}")
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._close_at_the_end(), name="live end")

        def leave() -> None:
            self._watchers.discard(watcher)
            for source in mine:
                audience = self._audiences[source.name]
                audience.leave(watcher)
                if not audience:
                    self._running.pop(source.name).cancel()

        return leave

    async def _run(self, source: Source) -> None:
        audience = self._audiences[source.name]
        while True:
            try:
                await source.run(audience)
            except Exception as error:
                audience.begin_again()
                log.warning(
                    "live_source_failed", source=source.name, error=repr(error), exc_info=not is_transient(error)
                )
                await asyncio.sleep(RETRY_SECONDS)

    async def _close_at_the_end(self) -> None:
        """Closes every watcher when the process is asked to end: the server waits for open requests."""
        while self._watchers:
            if self._app.ending:
                for watcher in self._watchers:
                    watcher.close()
                return
            await asyncio.sleep(POLL_SECONDS)
