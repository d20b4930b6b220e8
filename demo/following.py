"""Follows all orders until each is at rest, and knows when nothing moves any more.

Two statements per look, over the columns that the orders service keeps for searching; the more rows, the rarer the looks.
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
"""Nothing changed for so long: tell what waits for what, and stop. Being slow is no reason to stop."""
PAUSE_SECONDS: Final = 0.2
LOOK_SHARE: Final = 20
"""Between two looks at least so many times the duration of a look."""
FOR_A_PERSON: Final = frozenset({"approval", "stock", "exception"})
"""What an order may wait for and still be at rest; beside it, being parked."""

GROUPS = """
select status, payment_status, fulfillment_status, waiting, completed_at is not null as completed, count(*) as n
from orders group by 1, 2, 3, 4, 5"""
PARKED = "select key from parked_keys where retry_at is null"  # the others still retry by themselves
WAITING = """
select run.value->>'kind' as kind, run.value->>'step' as step, o.waiting, count(*) as n
from orders o, lateral json_each(o.doc::json->'runs') as run
where o.waiting <> all($1) and o.waiting <> '' and coalesce(run.value->>'end', '') = ''
group by 1, 2, 3 order by 4 desc limit 5"""


@dataclass(frozen=True)
class Look:
    """How far the orders are at one moment."""

    received: int = 0
    completed: int = 0
    cancelled: int = 0
    """With nothing left to undo."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """By the orders service's own word, orders that wait for something."""
    parked: frozenset[UUID] = frozenset()
    """Orders that wait for a person behind a refused message, in any service."""
    at_rest: int = 0
    groups: frozenset[tuple[Any, ...]] = frozenset()
    """Everything that was counted: equal groups mean that nothing moved."""


class Stalled(Exception):
    """Nothing moved for long. The message says what waits for what."""


class Following:
    def __init__(self, installation: Installation, orders: int) -> None:
        self.installation, self.orders = installation, orders
        self.last = Look()
        self._moved_at = time.monotonic()

    async def until_at_rest(self, others_done: Callable[[], bool], show: Callable[[Look], None]) -> float:
        """Returns time.monotonic() of the moment when every order was at rest and `others_done`.

        Raises Stalled when nothing moves, DevservicesError when a process ended.
        """
        names = self.installation.system.names
        connections = {name: await asyncpg.connect(self.installation.dsn(name)) for name in names}
        try:
            while True:
                started = time.monotonic()
                look = await _look(connections)
                ended = time.monotonic()
                if look.groups != self.last.groups:
                    self._moved_at = ended
                self.last = look
                show(look)
                if look.at_rest >= self.orders and others_done():
                    return ended
                if ended_early := self.installation.system.ended():
                    raise DevservicesError(ended_early)
                if ended - self._moved_at > STALL_SECONDS:
                    raise Stalled(await self._explain(connections["orders"]))
                await asyncio.sleep(max(PAUSE_SECONDS, LOOK_SHARE * (ended - started)))
        finally:
            for connection in connections.values():
                connection.terminate()

    async def _explain(self, orders: asyncpg.Connection[Any]) -> str:
        rows = await orders.fetch(WAITING, sorted(FOR_A_PERSON))
        told = [f"{row['n']:,} in {row['kind']}.{row['step']} for {_whom(row['waiting'])}" for row in rows]
        if missing := self.orders - self.last.received:
            told.append(f"{missing:,} to be received")
        waiting = "; ".join(told) or "the demo's customer waits for the capture of an order"
        return f"Nothing moved for {STALL_SECONDS:.0f} s. These orders wait: {waiting}."


async def _look(connections: Mapping[str, asyncpg.Connection[Any]]) -> Look:
    parked: set[UUID] = set()
    for connection in connections.values():
        parked |= {row["key"] for row in await connection.fetch(PARKED)}
    rows = await connections["orders"].fetch(GROUPS)
    waiting: Counter[str] = Counter()
    received = completed = cancelled = resting = 0
    for row in rows:
        received += row["n"]
        waiting[row["waiting"]] += row["n"]
        if row["waiting"] in FOR_A_PERSON:
            resting += row["n"]
        elif not row["waiting"] and row["status"] == "cancelled":
            cancelled += row["n"]
        elif not row["waiting"] and row["completed"]:
            completed += row["n"]
    waiting.pop("", None)
    at_rest = completed + cancelled + resting + await _parked_besides(connections["orders"], parked)
    groups = frozenset(tuple(row) for row in rows) | {("parked", len(parked))}
    return Look(received, completed, cancelled, waiting, frozenset(parked), at_rest, groups)


async def _parked_besides(orders: asyncpg.Connection[Any], parked: set[UUID]) -> int:
    """Parked orders that are not counted as at rest already; one that was refused as a snapshot has no row at all."""
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
        "no_answer": "another service's answer, asked for many times",
        "outcomes": "what was under way when it was cancelled",
        "warehouse": "the warehouse",
    }.get(waiting, waiting)
