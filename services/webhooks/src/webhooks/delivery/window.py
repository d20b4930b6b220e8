"""Reads the feed for all endpoints of a process: the newest events are read once and stay in memory. An endpoint that is
further behind reads from the database."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from asyncpg import Record

from chassis.batch.errors import is_transient
from chassis.declare.app import App

log = structlog.get_logger("webhooks.window")

EVENTS_MAX: Final = 20_000
"""That stay in memory."""
POLL_SECONDS: Final = 0.025
IDLE_SECONDS: Final = 0.5
"""While it is not needed, and after an error of the database."""
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
HEAD: Final = "select position from feed_head"


class FeedEvent:
    """An event of the feed, read once for all endpoints: what is made of it is made once."""

    __slots__ = ("__dict__", "position", "row")

    def __init__(self, row: Record) -> None:
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

    def __init__(
        self,
        app: App,
        is_needed: Callable[[], bool],
        on_events: Callable[[Collection[str] | None], None],
        events_max: int = EVENTS_MAX,
    ) -> None:
        """on_events: called with the stores of new events; null: of any store."""
        self._app, self._is_needed, self._on_events, self._max = app, is_needed, on_events, events_max
        self._events: dict[int, FeedEvent] = {}
        self._stores: dict[str, _OfStore] = {}
        self._chunks = asyncio.Semaphore(CHUNK_READERS_MAX)
        self.begin = 0
        """The window has all events behind it, up to `head`."""
        self.head = 0

    async def _start(self) -> None:
        """Begin at the head of the feed."""
        [row] = await self._app.fetch(HEAD)
        self.begin = self.head = row["position"]
        self._events.clear()
        self._stores.clear()
        self._on_events(None)

    async def run(self) -> None:
        """Follow the feed, while it is needed, until cancelled."""
        follows = False
        while True:
            pause = POLL_SECONDS
            try:
                if not self._is_needed():
                    follows, pause = False, IDLE_SECONDS
                elif not follows:
                    await self._start()
                    follows = True
                elif await self.poll() == READ_MAX:
                    pause = 0
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("feed_unread", error=repr(error))
                pause = IDLE_SECONDS
            await asyncio.sleep(pause)

    async def poll(self) -> int:
        """Read what is new; returns how many events. A position that is read has all before it: see `webhooks.feed`."""
        rows = await self._app.fetch(NEW, self.head, READ_MAX)
        stores = set()
        for row in rows:
            event = FeedEvent(row)
            self._events[event.position] = event
            store = row["store_id"]
            stores.add(store)
            self._stores.setdefault(store, _OfStore()).events.append(event)
        if rows:
            self.head = rows[-1]["position"]
            while self.head - self.begin > self._max:
                self._drop_first()
            self._on_events(stores)
        return len(rows)

    def _drop_first(self) -> None:
        self.begin += 1
        event = self._events.pop(self.begin)
        store = event.row["store_id"]
        of_store = self._stores[store]
        of_store.drop_first()
        if not of_store.events:
            del self._stores[store]

    def covers(self, after: int) -> bool:
        """Returns whether all events behind a position are in memory."""
        return after >= self.begin

    def get(self, position: int) -> FeedEvent | None:
        return self._events.get(position)

    def after(self, store_id: str, position: int, limit: int) -> Sequence[FeedEvent]:
        """Returns events of a store behind a position that the window covers, oldest first."""
        of_store = self._stores.get(store_id)
        return of_store.after(position, limit) if of_store is not None else ()

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
