"""The newest events of the feed, read once for a whole process: for its streams, the requests that wait, and its deliveries.
Whoever is further behind reads from the database.

A process has one window (`app.shared(Window)`). It reads while it has followers, and is empty without them.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Self
from uuid import UUID

import orjson
import structlog
from asyncpg import Record

from chassis.batch.errors import is_transient
from chassis.declare.app import App
from webhooks.domain.places import Place
from webhooks.shown import cursor_of

log = structlog.get_logger("webhooks.window")

EVENTS_MAX: Final = 20_000
"""That stay in memory."""
POLL_SECONDS: Final = 0.025
RETRY_SECONDS: Final = 0.5
"""After an error of the database."""
READ_MAX: Final = 1_000
"""Events of one poll."""
CHUNK: Final = 200
"""Events that an endpoint reads at a time from the database."""
CHUNK_READERS_MAX: Final = 8
"""Endpoints that read from the database at the same time: those that catch up leave connections to the others."""

_EVENTS: Final = """
select position, event_id, source, type, feed.store_id, key, version, time, correlation_id, body, channel, account, market,
  coalesce((select epoch from feed_epochs e where e.position < feed.position order by epoch desc limit 1), 0) as epoch
from feed left join order_facts on order_id = key where """
NEW: Final = _EVENTS + "position > $1 order by position limit $2"
OF_STORE: Final = _EVENTS + "feed.store_id = $1 and position > $2 and position <= $3 order by position limit $4"
OF_KEY: Final = (
    _EVENTS + "key = $1 and feed.store_id = $2 and position > $3 and position <= $4 order by position limit $5"
)
OF_KEYS: Final = (
    _EVENTS + "key = any($1::uuid[]) and feed.store_id = $2 and position > $3 and position <= $4 order by position"
)
AT: Final = _EVENTS + "position = any($1::bigint[]) order by position"
HEAD: Final = "select epoch, position from feed_head"

OnEvents = Callable[[Collection[str] | None], None]
"""Called with the stores of new events; null: anything may have changed, the window begins anew."""


class FeedEvent:
    """An event of the feed, read once for all readers: what is made of it is made once."""

    __slots__ = ("__dict__", "position", "row")

    def __init__(self, row: Any) -> None:
        """row: of the feed, with the columns that its readers need."""
        self.row: Any = row
        self.position: int = row["position"]

    @property
    def type(self) -> str:
        name: str = self.row["type"]
        return name

    @property
    def key(self) -> UUID:
        key: UUID = self.row["key"]
        return key

    @property
    def facts(self) -> Mapping[str, str] | None:
        """The channel, account and market of the order; null: the feed does not have them."""
        row: Mapping[str, str] = self.row
        return row if row["channel"] is not None else None

    @cached_property
    def cursor(self) -> str:
        """The place behind it."""
        return cursor_of(Place(self.row["epoch"], self.position))

    @cached_property
    def data(self) -> Any:
        """The body as JSON values."""
        return orjson.loads(self.row["body"])

    @cached_property
    def bodies(self) -> dict[tuple[bool, bool], bytes]:
        """Rendered ones, by (thin, personal)."""
        return {}


_POSITION: Final = attrgetter("position")


class _OfStore:
    """The events of a store in memory, in order. Those that left the window are cut off now and then."""

    __slots__ = ("events", "gone")

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []
        self.gone = 0

    def drop_first(self) -> None:
        self.gone += 1
        if self.gone * 2 > len(self.events):
            del self.events[: self.gone]
            self.gone = 0

    def after(self, position: int, limit: int) -> list[FeedEvent]:
        begin = bisect_right(self.events, position, lo=self.gone, key=_POSITION)
        return self.events[begin : begin + limit]


class Window:
    """The newest events, in memory, and reads of older ones."""

    def __init__(self, app: App, events_max: int = EVENTS_MAX) -> None:
        self._app, self._max = app, events_max
        self._followers: dict[object, OnEvents] = {}
        self._reading: asyncio.Task[None] | None = None
        self._events: dict[int, FeedEvent] = {}
        self._stores: dict[str, _OfStore] = {}
        self._chunks = asyncio.Semaphore(CHUNK_READERS_MAX)
        self.read_at = time.monotonic()
        """Monotonic time of the last poll that succeeded."""
        self.empty()

    # -- followers ----------------------------------------------------------------------------------------------------

    def follow(self, on_events: OnEvents) -> Callable[[], None]:
        """Read the feed and report new events until the function that is returned is called."""
        follower = object()
        self._followers[follower] = on_events
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="feed window")

        def leave() -> None:
            self._followers.pop(follower, None)
            if not self._followers:
                self.empty()

        return leave

    def empty(self) -> None:
        """Drop what is in memory: no follower keeps it up to date, or the database may have lost events of it."""
        self._events.clear()
        self._stores.clear()
        self.begin = self.head = self.epoch = 0
        self.is_current = False
        """Whether the window follows the feed. Until then it has no events, and its head is 0."""

    def _report(self, stores: Collection[str] | None) -> None:
        for on_events in list(self._followers.values()):
            on_events(stores)

    async def _read(self) -> None:
        """Follow the feed while there are followers. An error of the database ends nothing."""
        while self._followers:
            pause = POLL_SECONDS
            try:
                if await self.poll() == READ_MAX:
                    pause = 0
            except Exception as error:
                log.warning("feed_unread", error=repr(error), exc_info=not is_transient(error))
                pause = RETRY_SECONDS
            if self._app.ending:
                self._report(None)
            await asyncio.sleep(pause)
        self.empty()

    async def poll(self) -> int:
        """Read what is new; returns how many events. A position that is read has all before it: see `webhooks.feed`."""
        [row] = await self._app.fetch(HEAD)
        self.read_at = time.monotonic()
        head = Place(row["epoch"], row["position"])
        if not self.is_current or head.epoch != self.epoch or head.position < self.head:
            self._begin(head)
        if head.position == self.head:
            return 0
        after = self.head
        rows = await self._app.fetch(NEW, after, READ_MAX)
        if not rows or not self.is_current or self.head != after:  # emptied meanwhile
            return 0
        if rows[-1]["epoch"] != self.epoch:  # restored meanwhile: the next poll begins anew
            self.empty()
            return 0
        self._add([FeedEvent(row) for row in rows])
        return len(rows)

    def _begin(self, head: Place) -> None:
        """Begin at the head of the feed."""
        self.empty()
        self.epoch, self.begin, self.head = head.epoch, head.position, head.position
        self.is_current = True
        self._report(None)

    def _add(self, events: Sequence[FeedEvent]) -> None:
        stores = set()
        for event in events:
            self._events[event.position] = event
            store = event.row["store_id"]
            stores.add(store)
            self._stores.setdefault(store, _OfStore()).events.append(event)
        self.head = events[-1].position
        while self.head - self.begin > self._max:
            self._drop_first()
        self._report(stores)

    def _drop_first(self) -> None:
        self.begin += 1
        event = self._events.pop(self.begin)
        store = event.row["store_id"]
        of_store = self._stores[store]
        of_store.drop_first()
        if not of_store.events:
            del self._stores[store]

    # -- what is in memory --------------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """All events up to it have been read."""
        return Place(self.epoch, self.head)

    def covers(self, after: int) -> bool:
        """Returns whether all events behind a position are in memory."""
        return after >= self.begin

    def get(self, position: int) -> FeedEvent | None:
        return self._events.get(position)

    def after(self, store_id: str, position: int, limit: int) -> Sequence[FeedEvent]:
        """Returns events of a store behind a position that the window covers, oldest first."""
        of_store = self._stores.get(store_id)
        return of_store.after(position, limit) if of_store is not None else ()

    def arrivals(self, store_id: str) -> Arrivals:
        return Arrivals(self, store_id)

    # -- reads of the database ----------------------------------------------------------------------------------------

    async def chunk(self, store_id: str, after: int, until: int) -> list[FeedEvent]:
        """Returns CHUNK events of a store behind a position at most; fewer: there are no more up to `until`."""
        async with self._chunks:
            return self._made(await self._app.fetch(OF_STORE, store_id, after, until, CHUNK))

    async def of_key(self, store_id: str, key: UUID, after: int, until: int) -> list[FeedEvent]:
        """Returns CHUNK events of an order at most, as `chunk`."""
        async with self._chunks:
            return self._made(await self._app.fetch(OF_KEY, key, store_id, after, until, CHUNK))

    async def at(self, positions: Iterable[int]) -> dict[int, FeedEvent]:
        """Returns events by position; without those that are older than the feed."""
        wanted = list(positions)
        found = {position: event for position in wanted if (event := self._events.get(position)) is not None}
        if missing := [position for position in wanted if position not in found]:
            found |= {event.position: event for event in self._made(await self._app.fetch(AT, missing))}
        return found

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Record]:
        return await self._app.fetch(statement, *arguments)

    def _made(self, rows: Sequence[Record]) -> list[FeedEvent]:
        """Returns those that are in memory from there: they may be rendered already."""
        return [self._events.get(row["position"]) or FeedEvent(row) for row in rows]


class Arrivals:
    """Waits for events of one store. A context manager: the window follows the feed inside the block."""

    def __init__(self, window: Window, store_id: str) -> None:
        self._window, self._store_id = window, store_id
        self._arrived = asyncio.Event()

    def __enter__(self) -> Self:
        self._leave = self._window.follow(self._on_events)
        return self

    def __exit__(self, *error: object) -> None:
        self._leave()

    def _on_events(self, stores: Collection[str] | None) -> None:
        if stores is None or self._store_id in stores:
            self._arrived.set()

    async def wait(self, position: int, seconds: float) -> bool:
        """Returns true when there may be events behind a position, or the process ends; false after `seconds`."""
        window = self._window
        self._arrived.clear()
        if window.is_current and (not window.covers(position) or window.after(self._store_id, position, 1)):
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True
