"""Marks the orders of which orders has a parked message: no event states it, so that the poller asks for them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from asyncpg import Connection

from chassis.declare.app import App
from console import projection
from console.domain.missed import Missed
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
PAGE_SECONDS: Final = 1.0
"""Pause after a read, for each page behind the first: while thousands of orders are parked, their number changes all the time."""
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
        self._rests_seconds = 0.0
        self._missed = Missed()

    async def round(self, reports: Sequence[Report], at: datetime) -> None:
        """Marks the rows as orders answers. If it does not, they stay as they were. Raises a transient error of the database.

        at: since when others wait for what they do.
        """
        now = time.monotonic()
        counted = self._counted_now(reports, now)
        found = None if counted is None else await self._ask()
        if found is None:
            await self._mark(self._missed.due(now), self._parked, at, now)
            return
        self._missed.keep(found)
        marked = {UUID(int=row["order_id"].int) for row in await self._app.fetch(MARKED)}
        keys = {key for key in found.keys() ^ marked if not self._missed.rests(key, now)}
        await self._mark(keys, found, at, now)
        self._parked, self._counted, self._asked_at = found, counted, now
        self._rests_seconds = len(found) // PAGE_KEYS * PAGE_SECONDS

    def _counted_now(self, reports: Sequence[Report], now: float) -> tuple[int, str | None] | None:
        """Returns how many orders wait for a replay, and since when; null: nothing has changed, as far as is to be asked now."""
        parked = next((one.body["parked"] for one in reports if one.service == "orders" and one.answered_at), None)
        since_asked = now - self._asked_at
        if parked is None or since_asked < self._rests_seconds:
            return None
        counted = (parked["keys"], parked["oldest_since"])
        aged = bool(counted[0]) and since_asked >= ASK_AGAIN_SECONDS
        return counted if aged or counted != self._counted else None

    async def _mark(self, keys: Set[UUID], parked: Mapping[UUID, datetime], at: datetime, now: float) -> None:
        listed = await mark(self._app, keys, parked, at)
        self._missed.note(keys, keys - listed, now)

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


async def mark(app: App, keys: Collection[UUID], parked: Mapping[UUID, datetime], at: datetime) -> Set[UUID]:
    """Makes rows wait for the replay of a message, or no longer. Returns the keys that the lists have.

    parked: order -> since when, of those that wait. at: since when the others wait for what they do.
    """

    def changed(row: OrderRow) -> OrderRow:
        row = row._replace(memory=row.memory._replace(parked=row.order_id in parked))
        waiting, step = waits(row)
        return row._replace(waiting=waiting, step=step, since=parked.get(row.order_id, at) if waiting else None)

    found: set[UUID] = set()

    async def write(some: Sequence[UUID], tx: Connection) -> None:
        rows = [row for row in await projection.locked(tx, some) if row.ordered_at is not None]
        await projection.remember(tx, [changed(row) for row in rows])
        found.update(row.order_id for row in rows)

    ordered = sorted(keys)
    for first in range(0, len(ordered), MARKED_AT_ONCE):
        await app.write(partial(write, ordered[first : first + MARKED_AT_ONCE]))
    return found
