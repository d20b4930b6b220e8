"""Fulfillment on a real PostgreSQL: `FULFILLMENT_TEST_DATABASE_URL` names an empty database. `app` of `conftest.py` runs there."""

from __future__ import annotations

import os
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from chassis.batch.inbound import Inbound
from chassis.batch.shell import Shell
from chassis.declare.app import Outcome
from chassis.process.app import App
from contracts.base import Command
from contracts.registry import MESSAGES
from fulfillment.domain.stock import Stock, StockKey, StockSet
from fulfillment.handlers import SERVICE
from fulfillment.handlers import STOCK as SHELF

URL = os.environ.get("FULFILLMENT_TEST_DATABASE_URL", "")
REAL: Final = [pytest.mark.real, pytest.mark.skipif(not URL, reason="FULFILLMENT_TEST_DATABASE_URL is not set")]
TABLES = ("fulfillments", "stock_items", "stock", "reservations", "shipments", "journal", "outbox", "idempotency")


async def together(shell: Shell, *messages: Command) -> list[Outcome]:
    """One transaction."""
    ids = [uuid4() for _ in messages]
    outcomes = await shell.handle(
        [Inbound("http", m.key, m.store_id, i, m.TYPE, m, str(i)) for m, i in zip(messages, ids, strict=True)]
    )
    assert {outcome.status for outcome in outcomes} <= {"done"}, outcomes
    return outcomes


async def rows(app: App, sql: str, *values: Any) -> list[Any]:
    async with app.database.connection() as connection:
        return await connection.fetch(sql, *values)


async def audit(app: App) -> None:
    """The tables keep their promises, and the journal makes the same stock and the same states again."""
    async with app.database.connection() as connection:
        assert [found for found in await SERVICE.check(connection) if found[2]] == []  # type: ignore[misc]
    types = {**MESSAGES, StockSet.TYPE: StockSet}
    states: dict[UUID, Any] = {}
    stock: dict[StockKey, Stock] = {}
    for row in await rows(app, "select key, store_id, aggregate, type, payload::text from journal order by id"):
        event: Any = types[row["type"]].model_validate_json(row["payload"])
        aggregate = next(a for a in SERVICE.aggregates if a.table == row["aggregate"])
        before = states.get(row["key"], aggregate.initial(row["key"], row["store_id"]))
        states[row["key"]] = aggregate.evolve(before, event)
        for key in SHELF.touched(event):
            stock[key] = SHELF.evolve(stock.get(key), key, event)
    for aggregate in SERVICE.aggregates:
        for row in await rows(app, f"select key, doc::text from {aggregate.table}"):
            folded = states[row["key"]]
            expected = aggregate.compact(folded) if aggregate.compact is not None else folded
            assert aggregate.state.model_validate_json(row["doc"]) == expected
    now = await rows(app, "select store_id, location, sku, on_hand, reserved from stock")
    assert {StockKey(row[0], row[1], row[2]): Stock(row[3], row[4]) for row in now} == stock
