"""Rebuilds the rows of a service from its journal: the same `evolve`, the same SQL, an empty database."""

from __future__ import annotations

import importlib
import os
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import MetaData

from chassis import journal
from chassis.batch import aggregates, statements
from chassis.batch.aggregates import Slot
from chassis.declare import migrations
from chassis.declare.service import Service
from chassis.declare.sql import Rows
from chassis.declare.tables import chassis_tables
from system.processes import KEYS
from tests.integration.restoring import plain_rows, without
from tests.integration.shop import Shop

os.environ |= KEYS["orders"]  # rows are made in this process, as the service made them
EVENTS = """
select aggregate, key, store_id, revision, version, type, at, payload::text as payload from journal
where revision is not null order by id"""
UNJOURNALED = frozenset({
    "markets", "sellers", "gateway_accounts", "storefronts", "gateway_events", "settlements", "settlement_rows", "allotments",
    "expected_transfers", "reconciliations", "reconciled_rows", "reconciled_orders", "reconciled_differences",
})  # fmt: skip
"""Tables that operators, gateways and imports write, what the tasks of the gateway `manual` wait for, and how far
reconciliations are: a nightly one is made again if it is lost."""
SUMMED = frozenset({"account_totals", "account_deltas"})
"""Together they are the sums of the entries, which the service's own check compares; a loop moves rows from one to the other."""
TIMES = frozenset(
    {
        "armed_at",
        "at",
        "created_at",
        "updated_at",
        "rested_at",
        "shipped_at",
        "delivered_at",
        "journal_from",
        "journal_to",
    }
)
"""Columns that the journal does not determine: times of writing, timers."""


async def as_it_is_and_rebuilt(shop: Shop, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """table -> rows of a service's own tables: the stored ones, and those rebuilt from the journal."""
    service: Service = importlib.import_module(f"{name}.handlers").SERVICE
    target = f"rebuilt_{name}"
    shop.postgres.create_database(target)
    await migrations.upgrade(service, shop.postgres.dsn(target))
    there = await asyncpg.connect(shop.postgres.dsn(shop.system.database(name)))
    here = await asyncpg.connect(shop.postgres.dsn(target))
    try:
        for table in UNJOURNALED & service.metadata.tables.keys():
            rows = await there.fetch(f"select * from {table}")
            if rows:
                await here.copy_records_to_table(table, records=[tuple(row) for row in rows])
        tables = own_tables(service)
        async with there.transaction(isolation="repeatable_read", readonly=True), here.transaction():
            await _replay(service, await there.fetch(EVENTS), here)
            return await _rows(there, tables), await _rows(here, tables)
    finally:
        await there.close()
        await here.close()


def own_tables(service: Service) -> list[str]:
    return sorted(service.metadata.tables.keys() - chassis_tables(MetaData()).keys() - UNJOURNALED - SUMMED)


async def _replay(service: Service, entries: list[Any], tx: Any) -> None:
    models = journal.models(service)
    by_table = {aggregate.table: aggregate for aggregate in service.aggregates}
    slots: dict[tuple[str, UUID], Slot] = {}
    shares: dict[str, dict[Any, Any]] = {share.name: {} for share in service.shares}
    for row in entries:
        aggregate = by_table[row["aggregate"]]
        slot = slots.get((row["aggregate"], row["key"]))
        if slot is None:
            state = aggregate.initial(row["key"], row["store_id"])
            slot = Slot(aggregate, row["key"], row["store_id"], state, state, 0, 0, 0, {}, None)
            slots[row["aggregate"], row["key"]] = slot
        event = models[row["type"]].model_validate_json(row["payload"])
        slot.revision += 1
        assert row["revision"] == slot.revision, f"{row['key']}: revision {row['revision']} after {slot.revision - 1}"
        if row["version"] is not None:
            slot.version += 1
            assert row["version"] == slot.version, f"{row['key']}: version {row['version']} after {slot.version - 1}"
            if event.operation_id is not None:
                slot.answered[str(event.operation_id)] = slot.revision
        slot.state = aggregate.evolve(slot.state, event)
        slot.events.append(event)
        slot.at.append(row["at"])
        for share in service.shares:
            for key in share.touched(event):
                shares[share.name][key] = share.evolve(shares[share.name].get(key), key, event)
    rows: list[Rows] = []
    for aggregate in service.aggregates:
        mine = [slot for slot in slots.values() if slot.aggregate is aggregate]
        if mine:
            if aggregate.rows is not None:
                rows += aggregate.rows([slot.change for slot in mine])
            for slot in mine:
                slot.bound()
            rows.append(aggregates.rows(aggregate, mine))
    for share in service.shares:
        if share.rows is not None and shares[share.name]:
            rows.append(share.rows(dict(sorted(shares[share.name].items()))))
    await statements.write_rows(tx, rows)


async def _rows(connection: Any, tables: list[str]) -> dict[str, Any]:
    return {
        table: plain_rows(await connection.fetch(f"select * from {table}"), without(table, TIMES)) for table in tables
    }
