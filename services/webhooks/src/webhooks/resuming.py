"""Where the deliveries of an endpoint go on when it is enabled, and how many events that are."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import func, select

from chassis.declare.app import App, Principal
from webhooks.counting import Counted, behind, counted, in_lanes
from webhooks.delivery.line import filter_of
from webhooks.domain.endpoint import Endpoint
from webhooks.domain.places import Place
from webhooks.reading import Reader
from webhooks.tables import cursors, waiting


class Resuming(NamedTuple):
    position: int | None
    """Deliveries go on behind it; null: where they stopped."""
    to_deliver: Counted


class Resumptions:
    def __init__(self, app: App) -> None:
        self._app, self._reader = app, Reader(app)

    async def resuming(
        self, endpoint_id: UUID, endpoint: Endpoint, who: Principal, begin: Literal["cursor", "now"] | datetime
    ) -> Resuming:
        """Raises Problem 410 if the feed no longer has the events behind the place where deliveries stopped."""
        head = await self._reader.head()
        wanted = filter_of(endpoint.config)
        if begin == "now":
            return Resuming(head.position, Counted(0, False))
        if isinstance(begin, datetime):
            position = (await self._reader.place_at(begin)).position
            return Resuming(position, await counted(behind(self._app, who.store_id, [wanted], position, head.position)))
        rows = await self._app.read(
            select(cursors.c.position, cursors.c.open).where(cursors.c.endpoint_id == endpoint_id)
        )
        position, is_open = (rows[0]["position"], rows[0]["open"]) if rows else (head.position, ())
        await self._reader.resume(Place(head.epoch, position))
        mine = (waiting.c.endpoint_id == endpoint_id) & ~waiting.c.exhausted
        [again] = await self._app.read(select(func.count().label("count")).select_from(waiting).where(mine))
        ahead = await counted(
            in_lanes(self._app, endpoint_id, who.store_id, wanted, position),
            behind(self._app, who.store_id, [wanted], position, head.position),
        )
        return Resuming(None, ahead._replace(events=ahead.events + again["count"] + len(is_open)))
