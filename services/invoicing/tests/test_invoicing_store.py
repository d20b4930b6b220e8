"""The SQL of invoicing on a real PostgreSQL. Needs `INVOICING_TEST_DATABASE_URL`: an empty database that may be filled.

INVOICING_TEST_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/scratch pytest services/invoicing/tests
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from invoicing_office import credit, issue, line, seller, uid

from chassis.batch import statements
from chassis.batch.database import Database
from chassis.batch.inbound import Inbound
from chassis.batch.intake import Intake
from chassis.batch.shell import Shell
from chassis.telemetry import Metrics
from contracts.base import Command
from invoicing import store
from invoicing.domain import billing
from invoicing.invariants import INVARIANTS, check
from invoicing.settings import Settings
from invoicing.tables import metadata
from tests.databases import migrated, undeclared
from tests.waiting import until

URL = os.environ.get("INVOICING_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="INVOICING_TEST_DATABASE_URL is not set")]

LOCKED_OUT = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


class Place:
    """One store of its own in the shared database, and a shell on it."""

    def __init__(self, database: Database, shell: Shell) -> None:
        self.store = f"st_{uuid4().hex[:8]}"
        self.database, self.shell = database, shell

    def issue(self, order: str, amount: int = 1200, **more: Any) -> Command:
        return issue(line(amount), order=self.store + order, store=self.store, **more)

    def credit(self, order: str, **more: Any) -> Command:
        return credit(order=self.store + order, store=self.store, **more)

    async def put(self, **change: Any) -> None:
        async with self.database.transaction() as tx:
            await store.put_seller(tx, self.store, seller(**change))

    async def tell(self, *commands: Command, shell: Shell | None = None) -> None:
        """One batch."""
        entries = [
            Inbound("replay", c.order_id, c.store_id, uuid4(), c.TYPE, c, "test", actor=c.actor) for c in commands
        ]
        await (shell or self.shell).take(Intake(list(entries), {}))

    async def documents(self, kind: str = "invoice") -> list[asyncpg.Record]:
        async with self.database.connection() as connection:
            return await connection.fetch(
                "select * from documents where store_id = $1 and kind = $2 order by seller, sequence", self.store, kind
            )

    async def execute(self, statement: str, *values: Any) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(statement, *values)

    async def violated(self) -> list[str]:
        async with self.database.transaction() as tx:
            found = list(await check(tx))
        assert [name for name, _, _ in found] == list(INVARIANTS)
        assert all(compared > 0 for _, compared, _ in found), found
        return [name for name, _, violated in found if violated]


@pytest_asyncio.fixture
async def place() -> AsyncIterator[Place]:
    from invoicing.handlers import SERVICE

    await migrated(SERVICE, URL)
    settings = Settings(database_url=URL)
    database = Database(settings, "test")
    yield Place(database, Shell(SERVICE, database, Metrics("invoicing")))
    await database.close()


async def test_a_batch_issues_and_credits(place: Place) -> None:
    await place.put()
    await place.tell(place.issue("o1"), place.issue("o2"), place.issue("o1", operation="again"))
    await place.tell(place.credit("o2", invoice=f"invoice capture of {place.store}o2"), place.issue("o3"))
    documents = await place.documents()
    assert [(row["number"], row["total_minor"], row["vat_minor"]) for row in documents] == [
        (f"INV-00000{n}", 1200, 200) for n in (1, 2, 3)
    ]
    (note,) = await place.documents("credit")
    assert (note["number"], note["invoice_id"]) == ("CN-000001", documents[1]["document_id"])
    assert await place.violated() == []


async def test_an_invoice_may_be_credited_in_the_batch_that_issues_it(place: Place) -> None:
    await place.put()
    await place.tell(place.issue("o1"), place.credit("o1"), place.issue("o2"))
    assert len(await place.documents()) == 2
    assert len(await place.documents("credit")) == 1
    assert await place.violated() == []


async def test_each_capture_of_an_order_is_written_once_batch_after_batch(place: Place) -> None:
    await place.put()
    for capture in ("c1", "c2", "c1", "c2"):
        await place.tell(place.issue("o1", capture=place.store + capture, operation=f"{uuid4()}"))
    await place.tell(
        place.credit("o2"), *(place.issue("o1", capture=place.store + c, operation=f"{uuid4()}") for c in ("c3", "c4"))
    )
    assert [row["sequence"] for row in await place.documents()] == [1, 2, 3, 4]


async def test_an_unknown_seller_begins_no_series(place: Place) -> None:
    await place.tell(place.issue("o1"))
    assert await place.documents() == []
    assert await place.execute("select count(*) from series where store_id = $1", place.store) == 0
    await place.put()
    await place.tell(place.issue("o1", operation="after the no"))
    assert [row["sequence"] for row in await place.documents()] == [1]


async def test_workers_that_issue_at_the_same_time_and_fail_at_random_leave_no_gap(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 5: 1..n under eight workers with random rollbacks."""
    await place.put()
    fate = random.Random(5)

    write = statements.write

    async def unlucky(*arguments: Any) -> set[UUID]:
        parked = await write(*arguments)
        if fate.random() < 0.3:
            raise asyncpg.DeadlockDetectedError("by chance")
        return parked

    monkeypatch.setattr(statements, "write", unlucky)
    shells = [Shell(place.shell.service, place.database, Metrics("invoicing")) for _ in range(8)]

    async def work(number: int) -> None:
        for batch in range(6):
            commands = [place.issue(f"w{number} b{batch} {n}") for n in range(3)]
            for _ in range(20):
                try:
                    await place.tell(*commands, shell=shells[number])
                    break
                except asyncpg.DeadlockDetectedError:
                    continue

    await asyncio.gather(*(work(number) for number in range(8)))
    documents = await place.documents()
    assert [row["sequence"] for row in documents] == list(range(1, 8 * 6 * 3 + 1))
    assert [row["issued_at"] for row in documents] == sorted(row["issued_at"] for row in documents)
    assert await place.violated() == []


async def test_time_of_issue_is_read_after_the_lock_is_ours(place: Place) -> None:
    await place.put()
    await place.tell(place.issue("o1"))
    async with place.database.transaction() as tx:
        await tx.fetch("select from sellers where store_id = $1 for update", place.store)
        waiting = asyncio.create_task(place.tell(place.issue("o2")))
        await until(lambda: place.execute(LOCKED_OUT), "the batch that waits for the lock")
        released = await tx.fetchval("select clock_timestamp()")
    await waiting
    assert (await place.documents())[1]["issued_at"] > released


async def test_a_seller_that_is_written_while_a_batch_waits_is_the_seller_it_prints(place: Place) -> None:
    await place.put()
    await place.tell(place.issue("o1"))
    async with place.database.transaction() as tx:
        await store.put_seller(tx, place.store, seller(name="Acme plc"))
        waiting = asyncio.create_task(place.tell(place.issue("o2")))
        await until(lambda: place.execute(LOCKED_OUT), "the batch that waits for the lock")
    await waiting
    names = await place.execute(
        "select array_agg(body->'seller'->>'name' order by sequence) from documents where store_id = $1", place.store
    )
    assert names == ["Acme Ltd", "Acme plc"]


async def test_dates_follow_the_last_document_not_a_clock_that_was_set_back(place: Place) -> None:
    await place.put()
    await place.tell(place.issue("o1"))
    ahead = (await place.documents())[0]["issued_at"] + timedelta(days=2)
    await place.execute(
        "update series set last_issued_at = $2, last_issued_on = $3 where store_id = $1",
        place.store,
        ahead,
        ahead.date(),
    )
    await place.tell(place.issue("o2"))
    second = (await place.documents())[1]
    assert (second["issued_at"], second["issued_on"]) == (ahead, ahead.date())


@pytest.mark.parametrize(
    "statement", ["update documents set number = 'X' where store_id = $1", "delete from documents where store_id = $1"]
)
async def test_an_issued_document_is_neither_changed_nor_deleted(place: Place, statement: str) -> None:
    await place.put()
    await place.tell(place.issue("o1"))
    with pytest.raises(asyncpg.PostgresError, match="never changes"):
        await place.execute(statement, place.store)


async def test_a_prefix_of_the_other_kind_is_refused(place: Place) -> None:
    await place.put()
    await place.tell(place.issue("o1"))
    with pytest.raises(store.PrefixTaken, match="INV-"):
        await place.put(invoice_prefix="A-", credit_prefix="INV-")
    await place.put(invoice_prefix="A-")
    await place.tell(place.issue("o2"))
    assert sorted(row["number"] for row in await place.documents()) == ["A-000001", "INV-000001"]


async def test_a_prefix_whose_numbers_of_some_year_the_other_kind_has_used_is_refused(place: Place) -> None:
    await place.put(invoice_prefix="X-2031-")
    await place.tell(place.issue("o1"))
    with pytest.raises(store.PrefixTaken, match="X-2031-"):
        await place.put(credit_prefix="X-", number_format="{prefix}{yyyy}-{number}", number_reset="yearly")


async def test_workers_that_cross_into_a_new_year_leave_no_gap_in_either(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 5: documents of two years, issued and credited by four workers at once while the year ends."""
    await place.put(number_format="{prefix}{yyyy}-{number}", number_reset="yearly")
    await place.tell(place.issue("first"))
    days = [date(2098, 12, 31), date(2099, 1, 1)]
    stamp, asked = billing.stamp, count()

    def at_the_turn(numbering: Any, *arguments: Any, **more: Any) -> Any:
        """The clock of each document; after the fortieth the year has ended."""
        hour = datetime(2098, 12, 31, 23, tzinfo=UTC) + timedelta(hours=2 * (next(asked) >= 40))
        return stamp(replace(numbering, locked_at=hour), *arguments, **more)

    monkeypatch.setattr(billing, "stamp", at_the_turn)
    shells = [Shell(place.shell.service, place.database, Metrics("invoicing")) for _ in range(4)]

    async def work(number: int) -> None:
        for batch in range(6):
            order = f"w{number} b{batch}"
            await place.tell(place.issue(order), place.credit(order, invoice=f"invoice capture of {place.store}{order}"),
                             place.issue(f"{order} too"), shell=shells[number])  # fmt: skip

    await asyncio.gather(*(work(number) for number in range(4)))
    for kind, prefix, made in (("invoice", "INV", 48), ("credit", "CN", 24)):
        rows = [row for row in await place.documents(kind) if row["issued_on"] in days]
        assert len(rows) == made
        for day in days:
            numbers = sorted(row["number"] for row in rows if row["issued_on"] == day)
            assert numbers == [f"{prefix}-{day.year}-{n:06d}" for n in range(1, len(numbers) + 1)]
            assert numbers, f"no {kind} of {day}"
    assert await place.violated() == []


async def test_a_file_is_applied_whole_and_again(place: Place) -> None:
    entry = {"store": place.store, "code": "acme", "name": "Acme", "address": {"line1": "1 Quay", "country": "UK"}}
    for _ in range(2):
        async with place.database.transaction() as tx:
            assert await store.apply(tx, {"sellers": [entry]}) == [
                f"seller {place.store}/acme (issues nothing yet: lacks vat_number)"
            ]
    assert await place.execute("select address->>'country' from sellers where store_id = $1", place.store) == "GB"


BROKEN = {
    "numbers of a series are 1..n without a gap, and n is its last number": "update series set last_number = last_number + 1",
    "a number is its series and its sequence": "update documents set number = number || '0' where store_id = $1",
    "dates of a series never run backwards": "update documents set issued_on = $2 where sequence = 2 and $1 <> ''",
    "net + VAT = total": None,
    "lines add up to the document, and their taxes to its rates": (
        "update documents set body = jsonb_set(body, '{lines,0,vat_minor}', '1') where store_id = $1"
    ),
    "credits of an invoice are at most the invoice": (
        "update documents set total_minor = total_minor + 1, vat_minor = vat_minor + 1 where kind = 'credit' and store_id = $1"
    ),
    "a document's columns agree with its body": "update documents set number = 'X' || number where store_id = $1",
    "an order's state has exactly its invoices, and how much of each is credited": (
        """update billings set doc = jsonb_set(doc::jsonb, '{invoices}', '{}')::text where store_id = $1"""
    ),
}


@pytest.mark.parametrize("name", [name for name, statement in BROKEN.items() if statement])
async def test_the_check_finds(place: Place, name: str) -> None:
    """Each rule broken on purpose, in a transaction that is rolled back."""
    assert set(BROKEN) == set(INVARIANTS)
    await place.put()
    await place.tell(place.issue("o1"), place.issue("o2"))
    await place.tell(place.credit("o1"))
    assert await place.violated() == []
    statement = BROKEN[name] or ""
    async with place.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("alter table documents disable trigger documents_never_change")
        statement = statement if "$1" in statement else f"{statement} where store_id = $1"
        values = [place.store, date(2001, 1, 1)] if "$2" in statement else [place.store]
        await connection.execute(statement, *values)
        assert name in [found for found, _, violated in await check(connection) if violated]
        await transaction.rollback()


async def test_the_tables_page_is_what_the_migration_makes(place: Place) -> None:
    assert await undeclared(place.database.queries.engine, metadata) == []


async def test_state_in_the_database_is_what_the_journal_makes_again(place: Place) -> None:
    from contracts.registry import MESSAGES
    from invoicing.domain import billing

    await place.put()
    await place.tell(place.issue("o1"), place.issue("o1", operation="again"))
    await place.tell(place.credit("o1"))
    key = uid(place.store + "o1")
    async with place.database.connection() as connection:
        rows = await connection.fetch("select type, payload::text from journal where key = $1 order by id", key)
        doc = await connection.fetchval("select doc::text from billings where key = $1", key)
    state = billing.initial(key, place.store)
    for row in rows:
        state = billing.evolve(state, MESSAGES[row["type"]].model_validate_json(row["payload"]))  # type: ignore[arg-type]
    assert len(rows) == 3
    assert billing.Billings.model_validate_json(doc) == state
