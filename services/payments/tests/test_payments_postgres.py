"""What the tables of payments refuse by themselves, on a real PostgreSQL: `PAYMENTS_TEST_DATABASE_URL` names an empty database."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from payments_database import URL
from payments_play import NOW, STORE, authorized, totals

from chassis.batch.database import Database
from chassis.batch.statements import write_rows
from chassis.declare.service import Change
from contracts.base import Event
from payments import store
from payments.api.ledgers import LEDGERS, listed, shown
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.tables import metadata
from tests.databases import undeclared

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]


async def test_an_operation_has_one_effect_of_one_order_for_ever(database: Database) -> None:
    """Promise 3, below the domain: an id used again with another order's money leaves nothing behind."""
    event = authorized(str(uuid4()), 7, totals(a=7))

    def change() -> Change[Ledger]:
        return Change(uuid4(), STORE, Ledger(), evolve(Ledger(), event), (event,), (NOW,))

    first, other = change(), change()
    for _ in range(2):  # the same again is the same
        async with database.transaction() as tx:
            await write_rows(tx, store.rows([first])[:2])
    with pytest.raises(store.OperationTaken, match=str(event.operation_id)):
        async with database.transaction() as tx:
            await write_rows(tx, store.rows([other]))
    async with database.connection() as connection:
        owners = await connection.fetch("select order_id from operations where operation_id = $1", event.operation_id)
        lines = await connection.fetchval("select count(*) from ledger_lines where order_id = $1", other.key)
    assert ([row["order_id"] for row in owners], lines) == ([first.key], 0)


async def test_lines_and_operations_of_another_store_are_never_written_over(database: Database) -> None:
    """The same order, line and operation ids under another store: refused, and the first store's amounts stay."""
    key, first, second = uuid4(), authorized(str(uuid4()), 7, totals(a=7)), authorized(str(uuid4()), 9, totals(a=9))

    def change(store_id: str, event: Event) -> Change[Ledger]:
        return Change(key, store_id, Ledger(), evolve(Ledger(), event), (event,), (NOW,))

    async with database.transaction() as tx:
        await write_rows(tx, store.rows([change(STORE, first)]))
    for event, refused in ((second, store.LedgerOfAnotherStore), (first, store.LedgerOfAnotherStore)):
        with pytest.raises(refused):
            async with database.transaction() as tx:
                await write_rows(tx, store.rows([change("st_other", event)])[:2])
    with pytest.raises(store.OperationTaken):
        async with database.transaction() as tx:
            await write_rows(tx, store.rows([change("st_other", first)])[1:2])
    async with database.connection() as connection:
        lines = await connection.fetch("select store_id, authorized_minor from ledger_lines where order_id = $1", key)
        done = await connection.fetch("select store_id, amount_minor from operations where order_id = $1", key)
    assert [tuple(row) for row in (*lines, *done)] == [(STORE, 7), (STORE, 7)]


async def test_the_ledgers_of_a_store_are_listed_newest_first_each_once_with_totals_and_version(
    database: Database,
) -> None:
    store_id = f"st_{uuid4().hex[:8]}"
    keys = [uuid4() for _ in range(5)]
    insert = (
        "insert into ledgers (key, store_id, revision, version, doc, answered, currency, authorized_minor, created_at)"
        " values ($1, $2, 1, $3, '{}', '{}', 'EUR', $4, now() + make_interval(secs => $5))"
    )
    async with database.transaction() as tx:
        for n, key in enumerate(keys):
            await tx.execute(insert, key, store_id, n + 1, n * 100, n // 2)  # two at a time
    seen: list[Any] = []
    start: tuple[Any, ...] | None = None
    while True:
        page = LEDGERS.page(await database.queries.read(listed(store_id, start, 2)), 2, lambda row: (row["created_at"], row["key"]))  # fmt: skip
        seen += [shown(row) for row in page["items"]]
        if page["next_cursor"] is None:
            break
        start = LEDGERS.after(page["next_cursor"])
    by_key = {key: (n + 1, n * 100) for n, key in enumerate(keys)}
    assert {one["order_id"]: (one["version"], one["totals"]["authorized_minor"]) for one in seen} == by_key
    assert len(seen) == 5 and seen == sorted(seen, key=lambda one: (one["created_at"], one["order_id"]), reverse=True)


async def test_the_tables_page_is_what_the_migration_makes(database: Database) -> None:
    assert await undeclared(database.queries.engine, metadata) == []
