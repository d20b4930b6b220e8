"""One endpoint in memory: what it wants of the feed, what is in flight, when its next request may begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

from webhooks.delivery.outgoing import Outgoing, Request
from webhooks.delivery.sender import Answer
from webhooks.domain.attempts import pause_before_next, retry_after
from webhooks.domain.breaker import Breaker
from webhooks.domain.config import Config
from webhooks.domain.deliveries import Delivery
from webhooks.domain.endpoint import Endpoint
from webhooks.domain.filters import Condition, Filter
from webhooks.domain.lanes import Lanes
from webhooks.domain.rate import Bucket
from webhooks.domain.urls import origin_of
from webhooks.window import CHUNK, FeedEvent, Window

TAKEN_MAX: Final = 64
"""Events that are read from the window at a time."""
PAUSED: Final = frozenset({429, 503})
"""Statuses with which a receiver may name a time for the next request."""
GONE: Final = 410


Outcome = Literal["delivered", "failed", "returned", "exhausted"]
"""How an attempt ended. `returned`: it failed, and does not count."""


class Place(NamedTuple):
    """Where an endpoint is stored, and what proves that it may still be written."""

    id: UUID
    """Names the deliveries: the id of the endpoint, or `endpoint.notices_id` of it."""
    notices_of: UUID | None
    """The endpoint whose notices are delivered."""
    store_id: str
    shard: int
    term: int
    """The lease of the shard, counted: another one means that another process has delivered meanwhile."""
    moves: int
    """How often a person has set the cursor."""
    revision: int
    """The revision of the aggregate."""

    @property
    def of(self) -> UUID:
        """The endpoint."""
        return self.notices_of or self.id

    @property
    def lease(self) -> tuple[int, int]:
        return self.shard, self.term


class Opened(NamedTuple):
    """Why an endpoint is sent nothing new."""

    because: Literal["failures", "waiting"] | None = None
    """So many attempts failed, or so many events wait for a retry; null: nothing keeps it from that."""
    since: datetime | None = None


class Failing:
    """How long an endpoint has failed, as it is stored."""

    __slots__ = ("failures", "last", "since", "succeeded_at")

    def __init__(self, since: datetime | None, failures: int, succeeded_at: datetime | None) -> None:
        self.since, self.failures, self.succeeded_at = since, failures, succeeded_at
        self.last = ""

    def succeeded(self, at: datetime) -> None:
        self.since, self.failures, self.succeeded_at = None, 0, at

    def failed(self, at: datetime, last: str) -> None:
        self.since = self.since or at
        self.failures += 1
        self.last = last


class Line:
    """The deliveries of one endpoint. Its process holds the shard."""

    def __init__(
        self, place: Place, endpoint: Endpoint, outgoing: Outgoing, lanes: Lanes, failing: Failing, breaker: Breaker
    ) -> None:
        self.place, self.endpoint, self.outgoing = place, endpoint, outgoing
        self.lanes, self.failing, self.breaker = lanes, failing, breaker
        self.id, self.store_id = place.id, place.store_id
        config = endpoint.config
        self.host = origin_of(config.url)
        self._filter = filter_of(config)
        self._bucket = Bucket(config.rate.per_second, config.rate.burst) if config.rate is not None else None
        self._paused_until: datetime | None = None
        self._complete_at: datetime | None = None
        """When the next batch waits for no more events; null: none has come."""
        self._chunk: deque[FeedEvent] = deque()
        self._chunk_until = lanes.taken
        """The chunk has all events of the store behind what is taken, up to here."""
        self.events: dict[int, FeedEvent] = {}
        """Events that are taken and that the window may not have."""
        self.reading = False
        """Whether a task reads for it."""
        self.closing = False
        """Nothing begins any more: the endpoint was changed, or the shard is to be released."""
        self.given_up = False
        """Nothing begins until the endpoint is changed: that it is to be disabled was reported."""
        self.beside = 0
        """Requests in flight that are none of its deliveries: those of a replay."""
        self.full_since: datetime | None = None
        """Since when too many events wait for a retry; null: there are fewer."""

    @property
    def is_of_notices(self) -> bool:
        return self.place.notices_of is not None

    @property
    def config(self) -> Config:
        return self.endpoint.config

    # -- what it takes from the feed ----------------------------------------------------------------------------------

    def wants(self, event: FeedEvent) -> bool:
        return self._filter.wants(event) and (not self.is_of_notices or event.key == self.place.of)

    def fill(self, window: Window) -> bool:
        """Take events while there is room. Returns whether a chunk has to be read from the database first."""
        while self.lanes.has_room:
            if self._chunk:
                self._take(self._chunk.popleft(), remember=True)
            elif self.lanes.taken < self._chunk_until:
                self.lanes.pass_over(self._chunk_until)
            elif not window.covers(self.lanes.taken):
                return True
            elif events := window.after(self.store_id, self.lanes.taken, TAKEN_MAX):
                for event in events:
                    if not self.lanes.has_room:
                        return False
                    self._take(event)
            else:
                self.lanes.pass_over(window.head)
                return False
        return False

    def _take(self, event: FeedEvent, *, remember: bool = False) -> None:
        if self.wants(event):
            if remember:
                self.events[event.position] = event
            self.lanes.offer(event.position, event.key)
        else:
            self.lanes.pass_over(event.position)

    def needs_to_read(self, window: Window) -> bool:
        """Returns whether something is wanted that is not in memory; takes what is."""
        return self.fill(window) or next(self.lanes.follows(), None) is not None

    async def read(self, window: Window) -> None:
        """Read from the database what is not in memory."""
        await self._read_lanes(window)
        if self.fill(window):
            await self._read_chunk(window)

    async def _read_chunk(self, window: Window) -> None:
        until = window.head
        events = await window.chunk(self.store_id, self.lanes.taken, until)
        self._chunk.extend(events)
        self._chunk_until = events[-1].position if len(events) == CHUNK else until

    async def _read_lanes(self, window: Window) -> None:
        """Find what comes next in the lanes whose row was delivered."""
        for follow in list(self.lanes.follows()):
            after, found = follow.after, list[FeedEvent]()
            while True:
                events = await window.of_key(self.store_id, follow.lane, after, follow.until)
                found = [event for event in events if self.wants(event)]
                if found or len(events) < CHUNK:
                    break
                after = events[-1].position
            self.events.update({event.position: event for event in found})
            self.lanes.followed(follow, [event.position for event in found], is_all=len(events) < CHUNK)

    # -- what begins --------------------------------------------------------------------------------------------------

    def form(self, now: datetime) -> bool:
        """Make batches of what has come. Returns whether there are any, which begin once they are written."""
        formed = False
        while self.config.batch.max > 1 and self._is_complete(now) and self._needs_batch:
            self.lanes.form()
            self._complete_at, formed = None, True
        return formed

    def _is_complete(self, now: datetime) -> bool:
        """Returns whether the next batch has as many events as it may, or has waited for more as long as it may."""
        batch, count = self.config.batch, self.lanes.batchable
        if not count:
            self._complete_at = None
            return False
        if self._complete_at is None:
            self._complete_at = now + timedelta(milliseconds=batch.wait_ms)
        return count == batch.max or now >= self._complete_at

    @property
    def _needs_batch(self) -> bool:
        """A batch that is made before it can be sent would be smaller than it may be."""
        under_way = self.lanes.in_flight + self.lanes.formed
        if self.breaker.is_open:
            return not under_way and not self.lanes.waiting
        return not (self.closing or self.given_up) and under_way + self.beside < self.config.in_flight

    def begin(self, now: datetime) -> Delivery | None:
        """Returns the next delivery, if one may begin now."""
        if not self._has_slot or not self._is_time(now):
            return None
        if self.breaker.is_open:
            return self.lanes.probe() if self.lanes.in_flight == 0 else None
        return self._began(self.lanes.begin(now), now)

    def begin_beside(self, lanes: Lanes, now: datetime) -> Delivery | None:
        """Returns the next delivery of a replay, if one may begin now: also a probe, if the endpoint has none of its own."""
        if not self._has_slot or not self._is_time(now):
            return None
        if not self.breaker.is_open:
            delivery = lanes.begin(now)
        elif self.lanes.in_flight or self.beside or self.lanes.waiting or self.lanes.queued or self.lanes.formed:
            return None
        else:
            delivery = lanes.probe()
        if self._began(delivery, now) is not None:
            self.beside += 1
        return delivery

    def _began(self, delivery: Delivery | None, now: datetime) -> Delivery | None:
        if delivery is not None and self._bucket is not None:
            self._bucket.take(now)
        return delivery

    @property
    def _has_slot(self) -> bool:
        return not (self.closing or self.given_up or self.lanes.in_flight + self.beside >= self.config.in_flight)

    def pauses(self, now: datetime) -> bool:
        """Returns whether the receiver has asked for a pause that goes on."""
        return self._paused_until is not None and now < self._paused_until

    def _is_time(self, now: datetime) -> bool:
        return not self.pauses(now) and self.breaker.allows(now) and (self._bucket is None or self._bucket.allows(now))

    def next_at(self, now: datetime) -> datetime | None:
        """When a delivery may begin although nothing happens before, if none may begin now; null: never."""
        if not self._has_slot:
            return None
        earliest = self._earliest(now)
        if earliest > now:
            return earliest
        due_at = self.lanes.due_at() if not self.breaker.is_open else None
        return min((at for at in (due_at, self._complete_at) if at is not None and at > now), default=None)

    def next_beside_at(self, now: datetime) -> datetime | None:
        """As `next_at`, for a replay."""
        earliest = self._earliest(now)
        return earliest if earliest > now else None

    def _earliest(self, now: datetime) -> datetime:
        times = [
            self._paused_until,
            self.breaker.probe_at,
            self._bucket.allowed_at if self._bucket is not None else None,
        ]
        return max((time for time in times if time is not None), default=now)

    # -- what ends ----------------------------------------------------------------------------------------------------

    @property
    def opened(self) -> Opened:
        """Why its breaker is open, if it is."""
        if self.breaker.is_open:
            return Opened("failures", self.breaker.opened_at)
        return Opened("waiting", self.full_since) if self.full_since is not None else Opened()

    def _count_waiting(self, now: datetime) -> None:
        self.full_since = (self.full_since or now) if self.lanes.is_full else None

    def delivered(self, delivery: Delivery, now: datetime) -> None:
        self.lanes.delivered(delivery.position)
        self._count_waiting(now)
        self._succeeded(now)

    def _succeeded(self, now: datetime) -> None:
        self.failing.succeeded(now)
        if self.breaker.is_open:
            self.lanes.hasten(now)
        self.breaker.succeeded()

    def failed(self, delivery: Delivery, answer: Answer, now: datetime, chance: float) -> Outcome:
        """chance: 0 to 1, chosen at random."""
        last = stated(answer)
        self.failing.failed(now, last)
        if self._is_returned(delivery, answer, now):
            self.lanes.returned(delivery.position)
            return "returned"
        pause = pause_before_next(delivery.number, chance)
        self.lanes.failed(delivery.position, now + pause if pause is not None else None, last)
        self._count_waiting(now)
        return "failed" if pause is not None else "exhausted"

    def _is_returned(self, delivery: Delivery, answer: Answer, now: datetime) -> bool:
        """Returns whether a failure costs its event no attempt. Pauses the endpoint, or notes that it has failed."""
        if answer.status in PAUSED and (pause := retry_after(answer.retry_after, now)) is not None:
            self._paused_until = now + pause
            return True
        if delivery.is_probe or not self.breaker.is_open:  # others were begun before it opened
            self.breaker.failed(now)
        return delivery.is_probe or answer.status == GONE

    def replayed(self, delivery: Delivery, answer: Answer, now: datetime) -> Outcome:
        """A request of a replay has ended: it shows whether the receiver is there. An event that fails is not tried again."""
        if answer.succeeded:
            self._succeeded(now)
            return "delivered"
        self.failing.failed(now, stated(answer))
        return "returned" if self._is_returned(delivery, answer, now) else "failed"

    def delivery_id(self, events: Sequence[FeedEvent]) -> str:
        return self.outgoing.delivery_id(events)

    def request(self, events: Sequence[FeedEvent], now: datetime) -> Request:
        """Raises `vault.Unreadable`."""
        return self.outgoing.request(events, self.delivery_id(events), now)

    def update(self, endpoint: Endpoint, revision: int) -> None:
        """The endpoint was changed in what does not concern deliveries under way: a secret, or that it fails."""
        self.endpoint = endpoint
        self.outgoing.update(endpoint)
        self.place = self.place._replace(revision=revision)


def filter_of(config: Config) -> Filter:
    return Filter(config.delivered_types, [Condition.of(one.path, one.values) for one in config.where])


def stated(answer: Answer) -> str:
    """Returns what a receiver answered: an HTTP status, or what prevented an answer."""
    return str(answer.status) if answer.status is not None else answer.error or ""
