"""Fires timers: each aggregate has at most one row; when it is due, a decision gets a `Wake`. Parked orders are skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.batch.inbound import Inbound
from chassis.batch.shell import Shell
from contracts.deciding import Wake
from contracts.ids import derived

log = structlog.get_logger("chassis.work.timers")

DUE = """
select t.key, t.aggregate, t.due_at, clock_timestamp() as now from timers t
where t.due_at <= now() and not exists (select 1 from parked_keys p where p.key = t.key)
order by t.due_at limit $1"""

LATER = """
update timers set due_at = clock_timestamp() + interval '1 minute'
from unnest($1::text[], $2::uuid[]) as u(a, k) where aggregate = u.a and key = u.k"""


class Timers:
    """Two workers may read the same due timer: the second finds a state that no longer needs it, and only sets the next one."""

    def __init__(self, database: Database, shell: Shell, at_most: int = 200) -> None:
        self.database, self.shell, self.at_most = database, shell, at_most

    async def fire(self) -> int:
        """Submit a `Wake` for every due timer; returns how many were due."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(DUE, self.at_most)
        if not rows:
            return 0
        outcomes = await asyncio.gather(*(self.shell.submit(inbound) for inbound in await self._inbound(rows)))
        faulty = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome.status == "faulty"]
        if faulty:  # logged by the shell; the order is not parked for it, and the timers behind it must not starve
            async with self.database.connection() as connection:
                await connection.execute(LATER, *([row[name] for row in faulty] for name in ("aggregate", "key")))
        return len(rows)

    async def _inbound(self, rows: Sequence[Any]) -> list[Inbound]:
        stores: dict[Any, str] = {}
        for aggregate in {row["aggregate"] for row in rows}:
            keys = [row["key"] for row in rows if row["aggregate"] == aggregate]
            async with self.database.connection() as connection:
                found = await connection.fetch(f"select key, store_id from {aggregate} where key = any($1)", keys)
            stores |= {(aggregate, row["key"]): row["store_id"] for row in found}
        return [_wake(row, stores.get((row["aggregate"], row["key"]), "")) for row in rows]

    async def run(self) -> None:
        while True:
            try:
                fired = await self.fire()
            except Exception as error:
                if not is_transient(error):
                    log.error("timers_failed", error=repr(error), exc_info=True)
                fired = 0
            if fired < self.at_most:
                await asyncio.sleep(0.25)


def _wake(row: Any, store_id: str) -> Inbound:
    key, aggregate = row["key"], row["aggregate"]
    name = f"{store_id}|{aggregate} timer {row['due_at'].isoformat()} {row['now'].isoformat()}"
    return Inbound("timer", key, store_id, derived(key, name), "timer", Wake(row["due_at"]), str(key), actor="timer",
                   aggregate=aggregate)  # fmt: skip
