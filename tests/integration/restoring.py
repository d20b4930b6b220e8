"""Copies and restores databases of a running system by PostgreSQL's own means, like an operator with a backup."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg

from tests.integration.shop import Shop
from tests.waiting import PATIENCE_SECONDS

KNOWN = {
    "payments": ("ledgers", "ledger_lines", "operations", "entries", "payment_sessions"),
    "fulfillment": ("fulfillments", "reservations", "shipments", "stock"),
    "invoicing": ("billings", "documents", "series"),
}
"""The rows of a service about orders."""
ELSE = frozenset({"revision", "answered", "armed_at", "at", "created_at", "updated_at", "shipped_at", "delivered_at"})
"""Columns that a restore does not recover: times of writing, and counters of unpublished events."""


async def known(shop: Shop, service: str) -> dict[str, list[dict[str, Any]]]:
    """table -> its rows, sorted."""
    return {
        table: plain_rows(await shop.rows(service, f"select * from {table}"), without(table, ELSE))
        for table in KNOWN[service]
    }


def without(table: str, columns: frozenset[str]) -> frozenset[str]:
    """The columns that are not compared: an entry has the time of its event, whenever it was written."""
    return columns - {"at"} if table == "entries" else columns


def plain_rows(rows: list[Any], without: frozenset[str]) -> list[dict[str, Any]]:
    """Rows to compare: sorted, documents parsed."""
    found = [{name: _parsed(value) for name, value in row.items() if name not in without} for row in rows]
    return sorted(found, key=lambda row: str(list(row.values())[:4]))


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value


async def backup(shop: Shop, service: str) -> None:
    """Copy the database of a service that was killed a moment ago, unpublished rows and all; then start it again."""
    await _kill(shop, service)
    name = shop.system.database(service)
    await _admin(shop, f'drop database if exists "{name}_backup"')
    await _copied(shop, name, f"{name}_backup")
    await _start(shop, service)


async def restore(shop: Shop, service: str) -> None:
    """The service is killed, and comes up again with the database as it was at the backup."""
    await _kill(shop, service)
    name = shop.system.database(service)
    await _admin(shop, f'drop database "{name}" with (force)')
    await _copied(shop, f"{name}_backup", name)
    await _start(shop, service)


async def _kill(shop: Shop, service: str) -> None:
    for member in shop.system.of(service):
        await asyncio.to_thread(shop.system.kill, member)


async def _start(shop: Shop, service: str) -> None:
    for member in shop.system.of(service):
        shop.system.restart(member)
    await asyncio.to_thread(shop.system.wait_ready, shop.system.of(service), PATIENCE_SECONDS)


async def _copied(shop: Shop, source: str, target: str) -> None:
    async def copied() -> bool:
        await _admin(shop, f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{source}'")
        await _admin(shop, f'create database "{target}" template "{source}"')
        return True

    await shop.until(copied, f"a copy of {source} while it has no connections")


async def _admin(shop: Shop, statement: str) -> None:
    connection = await asyncpg.connect(shop.postgres.dsn("postgres"), timeout=30)
    try:
        await connection.execute(statement, timeout=PATIENCE_SECONDS)
    finally:
        await connection.close()
