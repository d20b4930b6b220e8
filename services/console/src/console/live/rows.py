"""The channels `order:<id>` and `list:<store>`: which rows of the lists have changed.

A position is a snapshot of PostgreSQL (`pg_current_snapshot`): the transactions that were visible at a moment. Each row has
the transaction that wrote it last, so what has changed since a position are the rows whose transaction was not visible in it.
That is exact, also for transactions that commit in another order than they began, and for a browser that connects to
another process.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App
from console.domain.people import Person
from console.listing import SHOWN
from console.live.hub import POLL_SECONDS, Audience

NAME: Final = "rows"
ORDER, LIST = "order:", "list:"
CHANGED_MAX: Final = 5_000
"""Rows that one read reports. If more have changed, pages are asked to load again what they show."""
READ_MAX: Final = 20_000
"""Entries of the index that one read passes."""
SNAPSHOT: Final = re.compile(r"[0-9]{1,18}:[0-9]{1,18}:(?:[0-9]{1,18}(?:,[0-9]{1,18}){0,200})?")
POSITION: Final = "select pg_current_snapshot()::text as position"
CHANGED: Final = f"""
with position as materialized (select pg_current_snapshot()::text as position),
behind as materialized (
  select order_id, store_id, written_by from order_rows
  where written_by >= pg_snapshot_xmin($1::text::pg_snapshot)::text::bigint order by written_by limit {READ_MAX + 1}),
mine as (
  select order_id, store_id from behind
  where (store_id = any($2::text[]) or order_id = any($3::uuid[]))
    and not pg_visible_in_snapshot(written_by::text::xid8, $1::text::pg_snapshot)
  limit {CHANGED_MAX + 1})
select position, (select count(*) from behind) as passed, order_id, store_id from position left join mine on true"""
STORES: Final = "select order_id, store_id from order_rows where order_id = any($1::uuid[])"
ROWS: Final = text(f"select {SHOWN} from order_rows where order_id = any(:keys) and ordered_at is not null")

AS_OF_SECONDS: Final = 5.0
"""A list is sent this often up to when it is current."""


class Shown(Protocol):
    """How a page shows what has changed, in HTML."""

    async def rows(self, rows: Sequence[RowMapping]) -> Mapping[UUID, Mapping[str, str]]:
        """Returns the cells of each order, by name."""

    async def as_of(self) -> Mapping[str, str]:
        """Returns the cells of a list that state up to when it is current."""


async def position(app: App) -> str:
    """Returns the present position. A page reads it before its rows, so that no change falls between page and stream."""
    [row] = await app.fetch(POSITION)
    found: str = row["position"]
    return found


def is_position(value: str) -> bool:
    """Returns whether PostgreSQL reads a text as a snapshot."""
    if not SNAPSHOT.fullmatch(value):
        return False
    first, last, listed = value.split(":")
    running = [int(one) for one in listed.split(",") if one]
    return (
        0 < int(first) <= int(last)
        and running == sorted(set(running))
        and all(int(first) <= one < int(last) for one in running)
    )


def oldest(positions: Iterable[str]) -> str:
    """Returns the position before all others: what is visible in a snapshot is visible in every later one."""
    return min(positions, key=_age)


def _age(snapshot: str) -> tuple[int, int, int]:
    """The transactions that run in a snapshot also run in every earlier one with the same ends."""
    first, last, running = snapshot.split(":")
    return int(first), int(last), -len(running)


class RowsSource:
    name = NAME

    def __init__(self, app: App, shown: Shown) -> None:
        self._app, self._shown = app, shown

    async def admitted(self, person: Person, channels: Collection[str]) -> Collection[str]:
        lists = {one for one in channels if one.startswith(LIST) and person.sees(one.removeprefix(LIST))}
        keys = {key: one for one in channels if one.startswith(ORDER) and (key := _key(one)) is not None}
        rows = await self._app.fetch(STORES, list(keys)) if keys else ()
        return lists | {keys[row["order_id"]] for row in rows if person.sees(row["store_id"])}

    async def run(self, audience: Audience) -> None:
        at, stated_at = await position(self._app), 0.0
        while True:
            for newcomer in audience.newcomers():
                await self._publish(newcomer, newcomer.positions or [at])
            at = await self._publish(audience, [at])
            if time.monotonic() - stated_at >= AS_OF_SECONDS:
                stated_at = time.monotonic()
                cells = await self._shown.as_of()
                for channel in audience.channels:
                    if channel.startswith(LIST):
                        audience.publish(channel, {"cells": cells})
            await asyncio.sleep(POLL_SECONDS)

    async def _publish(self, audience: Audience, positions: Sequence[str]) -> str:
        """Publishes what has changed since the oldest of some positions; returns the present one."""
        channels = audience.channels
        stores = [one.removeprefix(LIST) for one in channels if one.startswith(LIST)]
        keys = [UUID(one.removeprefix(ORDER)) for one in channels if one.startswith(ORDER)]
        if not all(map(is_position, positions)):
            return await self._begin_again(audience)
        found = await self._app.fetch(CHANGED, oldest(positions), stores, keys)
        now: str = found[0]["position"]
        changed = [row for row in found if row["order_id"] is not None]
        is_restored = _end(now) < max(map(_end, positions))
        if is_restored or found[0]["passed"] > READ_MAX or len(changed) > CHANGED_MAX:
            return await self._begin_again(audience)
        watched = {row["order_id"] for row in changed}.intersection(keys)
        if watched:
            rows = await self._app.read(ROWS.bindparams(keys=list(watched)))
            for key, cells in (await self._shown.rows(rows)).items():
                audience.publish(f"{ORDER}{key}", {"cells": cells})
        for store, count in Counter(row["store_id"] for row in changed).items():
            audience.publish(f"{LIST}{store}", {"changed": count})
        audience.reached(now)
        return now

    async def _begin_again(self, audience: Audience) -> str:
        """It is not recorded what has changed: pages load again what they show."""
        now = await position(self._app)
        for channel in audience.channels:
            if channel.startswith((ORDER, LIST)):
                audience.publish(channel, {"refresh": True})
        audience.reached(now)
        return now


def _end(snapshot: str) -> int:
    return int(snapshot.split(":")[1])


def _key(channel: str) -> UUID | None:
    try:
        return UUID(channel.removeprefix(ORDER))
    except ValueError:
        return None
