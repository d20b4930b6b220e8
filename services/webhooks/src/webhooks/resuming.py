"""Where the deliveries of an endpoint go on when it is enabled, and how many events that are."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import func, literal, select

from chassis.declare.app import App, Principal
from webhooks import types as event_types
from webhooks.domain.endpoint import Endpoint
from webhooks.domain.places import Place
from webhooks.reading import Reader
from webhooks.tables import cursors, feed, waiting

COUNTED_MAX: Final = 100_000
"""Events that are counted: an endpoint that was disabled for weeks has millions."""


class ToDeliver(NamedTuple):
    events: int
    or_more: bool


class Resuming(NamedTuple):
    position: int | None
    """Deliveries go on behind it; null: where they stopped."""
    to_deliver: ToDeliver


class Resumptions:
    def __init__(self, app: App) -> None:
        self._app, self._reader = app, Reader(app)

    async def resuming(
        self, endpoint_id: UUID, endpoint: Endpoint, who: Principal, begin: Literal["cursor", "now"] | datetime
    ) -> Resuming:
        """Raises Problem 410 if the feed no longer has the events behind the place where deliveries stopped."""
        head = await self._reader.head()
        if begin == "now":
            return Resuming(head.position, ToDeliver(0, False))
        if isinstance(begin, datetime):
            position = (await self._reader.place_at(begin)).position
            return Resuming(position, await self._count(endpoint, who, position))
        rows = await self._app.read(select(cursors.c.position).where(cursors.c.endpoint_id == endpoint_id))
        position = rows[0]["position"] if rows else head.position
        await self._reader.resume(Place(head.epoch, position))
        mine = (waiting.c.endpoint_id == endpoint_id) & ~waiting.c.exhausted
        [again] = await self._app.read(select(func.count().label("count")).select_from(waiting).where(mine))
        ahead = await self._count(endpoint, who, position)
        return Resuming(None, ToDeliver(ahead.events + again["count"], ahead.or_more))

    async def _count(self, endpoint: Endpoint, who: Principal, position: int) -> ToDeliver:
        """Returns how many events behind a position have a type that is delivered."""
        behind = select(literal(1)).where(feed.c.store_id == who.store_id, feed.c.position > position)
        if (wanted := event_types.wanted(endpoint.config.delivered_types)) is not None:
            behind = behind.where(wanted(feed.c.type))
        some = behind.limit(COUNTED_MAX + 1).subquery()
        [row] = await self._app.read(select(func.count().label("count")).select_from(some))
        return ToDeliver(min(row["count"], COUNTED_MAX), row["count"] > COUNTED_MAX)
