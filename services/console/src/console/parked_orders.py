"""Marks the orders of which orders has a parked message: no event states it, so that the poller asks for them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from asyncpg import Connection

from chassis.declare.app import App
from console import projection
from console.domain.operations import Report
from console.domain.people import Grant, Person
from console.domain.row import OrderRow
from console.domain.waits import waits
from console.owners import Owners

PERSON: Final = Person(UUID(int=0), "poller", "console-poller", (Grant("administrator", None),))
"""For whom orders is asked: every store."""
PAGE_KEYS: Final = 500
PAGES_MAX: Final = 20
"""If messages of more orders are parked, the others are marked when these are gone."""
ASK_AGAIN_SECONDS: Final = 30.0
"""They are asked for when their number or their oldest changes; and that often, as others of the same number may have come."""
MARKED_AT_ONCE: Final = 500
"""Rows of one transaction. More: events of these orders wait for its end, and its connection may time out."""
MARKED: Final = """
select o.order_id from stores as s join order_rows as o using (store_id) where o.waiting = 'parked' and o.waiting <> ''"""


class ParkedOrders:
    def __init__(self, app: App, owners: Owners) -> None:
        self._app, self._owners = app, owners
        self._parked: Mapping[UUID, datetime] = {}
        """Order -> since when a message of it is parked."""
        self._counted: tuple[int, str | None] | None = None
        self._asked_at = float("-inf")

    async def round(self, reports: Sequence[Report], at: datetime) -> None:
        """Marks the rows as orders answers. If it does not, they stay as they were. Raises a transient error of the database."""
        parked = next((one.body["parked"] for one in reports if one.service == "orders" and one.answered_at), None)
        if parked is not None:
            counted = (parked["keys"], parked["oldest_since"])
            aged = bool(counted[0]) and time.monotonic() - self._asked_at >= ASK_AGAIN_SECONDS
            if (counted != self._counted or aged) and (found := await self._ask()) is not None:
                self._parked, self._counted, self._asked_at = found, counted, time.monotonic()
        await mark(self._app, self._parked, at)

    async def _ask(self) -> Mapping[UUID, datetime] | None:
        found: dict[UUID, datetime] = {}
        cursor = ""
        for _ in range(PAGES_MAX):
            answer = await self._owners.read("orders", f"/v1/parked-keys?limit={PAGE_KEYS}{cursor}", None, PERSON)
            if answer.state != "answered":
                return None
            found |= {UUID(one["key"]): datetime.fromisoformat(one["since"]) for one in answer.body["items"]}
            if answer.body["next_cursor"] is None:
                break
            cursor = f"&cursor={answer.body['next_cursor']}"
        return found


async def mark(app: App, parked: Mapping[UUID, datetime], at: datetime) -> None:
    """Makes the rows of exactly these orders wait for the replay of a message. at: since when others wait for what they do."""
    marked = {UUID(int=row["order_id"].int) for row in await app.fetch(MARKED)}
    if not (different := parked.keys() ^ marked):
        return

    def changed(row: OrderRow) -> OrderRow:
        row = row._replace(memory=row.memory._replace(parked=row.order_id in parked))
        waiting, step = waits(row)
        return row._replace(waiting=waiting, step=step, since=parked.get(row.order_id, at) if waiting else None)

    async def write(keys: Sequence[UUID], tx: Connection) -> None:
        rows = await projection.locked(tx, keys)
        await projection.remember(tx, [changed(row) for row in rows if row.ordered_at is not None])

    keys = sorted(different)
    for first in range(0, len(keys), MARKED_AT_ONCE):
        await app.write(partial(write, keys[first : first + MARKED_AT_ONCE]))
