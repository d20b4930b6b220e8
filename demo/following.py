"""Polls all orders until each is settled, and stops with an explanation if nothing changes for `STALL_SECONDS`.

A poll costs two statements over the search columns of the orders service. The longer it takes, the longer the pause.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg

from devservices.errors import DevservicesError
from system.installation import Installation

STALL_SECONDS: Final = 120.0
"""The demo stops after this time without any change. A slow run changes something, so it goes on."""
PAUSE_SECONDS: Final = 0.2
PAUSE_OVER_POLL: Final = 20
"""The minimum ratio of the pause between two polls to the duration of a poll."""
FOR_A_PERSON: Final = frozenset({"approval", "stock", "exception"})
"""The reasons to wait with which an order is settled. A parked order is settled, too."""

GROUPS = """
select status, payment_status, fulfillment_status, waiting, completed_at is not null as completed, count(*) as n
from orders group by 1, 2, 3, 4, 5"""
PARKED = "select key from parked_keys where retry_at is null"  # the other rows are still retried automatically
WAITING = """
select run.value->>'kind' as kind, run.value->>'step' as step, o.waiting, count(*) as n
from orders o, lateral json_each(o.doc::json->'runs') as run
where o.waiting <> all($1) and o.waiting <> '' and coalesce(run.value->>'end', '') = ''
group by 1, 2, 3 order by 4 desc limit 5"""


@dataclass(frozen=True)
class Counts:
    """The progress of all orders at one moment."""

    received: int = 0
    completed: int = 0
    cancelled: int = 0
    """Cancelled, with nothing left to undo."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Reason to wait, as the orders service names it -> orders."""
    parked: frozenset[UUID] = frozenset()
    """Orders that wait for a person behind a rejected message, in any service."""
    settled: int = 0
    groups: frozenset[tuple[Any, ...]] = frozenset()
    """All rows that were counted. If they equal those of the previous poll, nothing changed."""


class Stalled(Exception):
    """Nothing changed for `STALL_SECONDS`. The message lists what the orders wait for."""


class Following:
    def __init__(self, installation: Installation, orders: int) -> None:
        self.installation, self.orders = installation, orders
        self.last = Counts()
        self._changed_at = time.monotonic()

    async def until_settled(self, others_done: Callable[[], bool], show: Callable[[Counts], None]) -> float:
        """Returns time.monotonic() of the moment when every order was settled and `others_done`.

        Raises Stalled if nothing changes, DevservicesError if a process ended.
        """
        names = self.installation.system.names
        connections = {name: await asyncpg.connect(self.installation.system.dsn(name)) for name in names}
        try:
            while True:
                started = time.monotonic()
                counts = await _poll(connections)
                ended = time.monotonic()
                if counts.groups != self.last.groups:
                    self._changed_at = ended
                self.last = counts
                show(counts)
                if counts.settled >= self.orders and others_done():
                    return ended
                if ended_early := self.installation.system.ended():
                    raise DevservicesError(ended_early)
                if ended - self._changed_at > STALL_SECONDS:
                    raise Stalled(await self._explain(connections["orders"]))
                await asyncio.sleep(max(PAUSE_SECONDS, PAUSE_OVER_POLL * (ended - started)))
        finally:
            for connection in connections.values():
                connection.terminate()

    async def _explain(self, orders: asyncpg.Connection[Any]) -> str:
        rows = await orders.fetch(WAITING, sorted(FOR_A_PERSON))
        parts = [f"{row['n']:,} in {row['kind']}.{row['step']} for {_whom(row['waiting'])}" for row in rows]
        if missing := self.orders - self.last.received:
            parts.append(f"{missing:,} to be received")
        waiting = (
            "; ".join(parts)
            or "the demo's service desk waits for an order to get further, or its storefront for a session"
        )
        return f"Nothing changed for {STALL_SECONDS:.0f} s. These orders wait: {waiting}."


async def _poll(connections: Mapping[str, asyncpg.Connection[Any]]) -> Counts:
    parked: set[UUID] = set()
    for connection in connections.values():
        parked |= {row["key"] for row in await connection.fetch(PARKED)}
    rows = await connections["orders"].fetch(GROUPS)
    waiting: Counter[str] = Counter()
    received = completed = cancelled = for_a_person = 0
    for row in rows:
        received += row["n"]
        waiting[row["waiting"]] += row["n"]
        if row["waiting"] in FOR_A_PERSON:
            for_a_person += row["n"]
        elif not row["waiting"] and row["status"] == "cancelled":
            cancelled += row["n"]
        elif not row["waiting"] and row["completed"]:
            completed += row["n"]
    waiting.pop("", None)
    settled = completed + cancelled + for_a_person + await _parked_besides(connections["orders"], parked)
    groups = frozenset(tuple(row) for row in rows) | {("parked", len(parked))}
    return Counts(received, completed, cancelled, waiting, frozenset(parked), settled, groups)


async def _parked_besides(orders: asyncpg.Connection[Any], parked: set[UUID]) -> int:
    """The number of parked orders that are not counted as settled already. A rejected snapshot's order has no row."""
    if not parked:
        return 0
    counted = await orders.fetchval(
        "select count(*) from orders where key = any($1) and (waiting = any($2)"
        " or waiting = '' and (status = 'cancelled' or completed_at is not null))",
        list(parked),
        sorted(FOR_A_PERSON),
    )
    return len(parked) - int(counted)


def _whom(waiting: str) -> str:
    return {
        "answer": "another service's answer",
        "no_answer": "another service's answer, although the command was repeated",
        "outcomes": "the outcome of steps that were in progress when it was cancelled",
        "warehouse": "the warehouse",
    }.get(waiting, waiting)
