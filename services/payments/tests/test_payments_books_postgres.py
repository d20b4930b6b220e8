"""The books in a real PostgreSQL: what it refuses, daily totals, the trial balance, the file of an account, the check."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from asyncpg import CheckViolationError, Connection, PostgresError
from payments_database import URL
from payments_play import Play, authorize, authorized, call, capture, refund, report, reverse, totals, void

from chassis.batch.database import Database
from chassis.batch.statements import write_rows
from chassis.declare.service import Change
from contracts.base import Event
from contracts.deciding import Task
from payments import bookkeeping, invariants, store
from payments.api.accounts import _balances, _file
from payments.bookkeeping import Period
from payments.domain.books import ACCOUNTS
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.tables import metadata

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVER = Period(date(1970, 1, 1), date(2100, 1, 1))


@pytest.fixture
def of() -> str:
    """A store that no other test has."""
    return f"st_{uuid4().hex[:8]}"


def granted(
    store_id: str, amounts: dict[str, int], at: datetime = NOON, gateway: str = "marketplace"
) -> Change[Ledger]:
    """An order of one authorization."""
    event = authorized(str(uuid4()), amounts, totals(), gateway=gateway).numbered(1)
    return Change(uuid4(), store_id, Ledger(), evolve(Ledger(), event), (event,), (at,))


async def write(database: Database, *changes: Change[Ledger]) -> None:
    async with database.transaction() as tx:
        await write_rows(tx, store.rows(changes))


async def balances(database: Database, store_id: str, period: Period = EVER, currency: str | None = None) -> Any:
    """Currency -> account -> (opening, debits, credits), of accounts that have entries."""
    rows = await database.queries.read(bookkeeping.turnovers(store_id, currency, period))
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for row in rows:
        money = (row["opening_minor"], row["debit_minor"], row["credit_minor"])
        found.setdefault(row["currency"], {})[row["account"]] = money
    return found


ENTRY = """
insert into entries (order_id, store_id, version, number, operation_id, line_id, account, direction, currency, amount_minor, at)
values ($1, $2, 1, 0, $3, '1', 'customer', -1, $4, 7, now()), ($1, $2, 1, 1, $3, '1', 'authorized', 1, $5, $6, now())"""


@pytest.mark.parametrize(("second", "amount_minor"), [("EUR", 8), ("EUR", 6), ("SEK", 7)])
async def test_entries_of_an_operation_that_do_not_balance_in_each_currency_are_refused(
    database: Database, of: str, second: str, amount_minor: int
) -> None:
    async with database.connection() as connection:
        with pytest.raises(CheckViolationError, match="do not balance"):
            await connection.execute(ENTRY, uuid4(), of, uuid4(), "EUR", second, amount_minor)
        await connection.execute(ENTRY, uuid4(), of, uuid4(), "EUR", "EUR", 7)
    assert await balances(database, of) == {"EUR": {"customer": (0, 0, 7), "authorized": (0, 7, 0)}}


@pytest.mark.parametrize(
    "statement",
    ["update entries set amount_minor = amount_minor where store_id = $1", "delete from entries where store_id = $1",
     "truncate entries"],
)  # fmt: skip
async def test_an_entry_never_changes(database: Database, of: str, statement: str) -> None:
    await write(database, granted(of, {"1": 7}))
    async with database.connection() as connection:
        with pytest.raises(PostgresError, match="an entry never changes"):
            await connection.execute(statement, *([of] if "$1" in statement else []))
        assert await connection.fetchval("select count(*) from entries where store_id = $1", of) == 2


async def test_batches_of_one_store_do_not_wait_for_each_other_nor_for_the_fold(database: Database, of: str) -> None:
    """Neither for the same account and day, which both change."""
    await write(database, granted(of, {"1": 1}))
    async with database.transaction() as first:
        await write_rows(first, store.rows([granted(of, {"1": 10})]))
        async with database.transaction() as second:
            await second.execute("set local lock_timeout = '200ms'")
            await second.execute(bookkeeping.FOLD)
            await write_rows(second, store.rows([granted(of, {"1": 100})]))
        assert await balances(database, of) == {"EUR": {"authorized": (0, 101, 0), "customer": (0, 0, 101)}}
    assert await balances(database, of) == {"EUR": {"authorized": (0, 111, 0), "customer": (0, 0, 111)}}


async def test_a_balance_is_exact_before_during_and_after_a_fold(database: Database, of: str) -> None:
    await write(database, granted(of, {"1": 5, "2": 6}), granted(of, {"1": 7}))
    wanted = {"EUR": {"authorized": (0, 18, 0), "customer": (0, 0, 18)}}
    assert await balances(database, of) == wanted
    async with database.transaction() as tx:
        await tx.execute(bookkeeping.FOLD)
        assert await balances(database, of) == wanted
    assert await balances(database, of) == wanted
    await write(database, granted(of, {"1": 2}))
    async with database.transaction() as tx:
        await tx.execute(bookkeeping.FOLD)
    assert await balances(database, of) == {"EUR": {"authorized": (0, 20, 0), "customer": (0, 0, 20)}}
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from account_deltas where store_id = $1", of) == 0
        assert await connection.fetchval("select count(*) from account_totals where store_id = $1", of) == 2


async def test_a_trial_balance_has_what_was_before_the_period_and_what_is_in_it(database: Database, of: str) -> None:
    """Days are those of UTC."""
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    for minor, at in ((1, midnight - timedelta(microseconds=1)), (10, midnight), (100, midnight + timedelta(days=1))):
        await write(database, granted(of, {"1": minor}, at, "manual"))
    day = Period(date(2026, 3, 2), date(2026, 3, 2))
    assert await balances(database, of, day) == {"EUR": {"receivable": (1, 10, 0), "customer": (-1, 0, 10)}}
    assert await balances(database, of, day, "SEK") == {}
    rows = await database.queries.read(bookkeeping.turnovers(of, "EUR", day))
    [shown] = _balances(rows)
    assert (shown["debit_minor"], shown["credit_minor"]) == (10, 10)
    assert tuple(one["account"] for one in shown["accounts"]) == ACCOUNTS, "those without entries, too"
    assert sum(one["opening_minor"] for one in shown["accounts"]) == 0
    assert {one["account"]: one["closing_minor"] for one in shown["accounts"] if one["closing_minor"]} == {
        "receivable": 11,
        "customer": -11,
    }


async def test_the_file_of_an_account_has_each_entry_once_over_many_pages_and_days(
    database: Database, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeping, "PAGE_ROWS", 3)
    for day in range(3):
        at = NOON + timedelta(days=2 * day)
        await write(database, *(granted(of, {"=1+1": 100 + n, "2": 5}, at) for n in range(4)))
    pages = bookkeeping.entries_of(database.queries.read, of, "authorized", "EUR", EVER)
    text = b"".join([chunk async for chunk in _file(pages)]).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["at", "order_id", "operation_id", "line_id", "account", "debit", "credit", "currency"]
    assert len(rows) == len({tuple(row) for row in rows}) == 24
    assert sorted({row[3] for row in rows}) == ["'=1+1", "2"]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert sum(int(row[5].replace(".", "")) for row in rows) == 3 * (100 + 101 + 102 + 103 + 4 * 5)
    one_day = Period(date(2026, 3, 3), date(2026, 3, 4))
    pages = bookkeeping.entries_of(database.queries.read, of, "customer", None, one_day)
    rows = list(csv.reader(io.StringIO(b"".join([chunk async for chunk in _file(pages)]).decode())))[1:]
    assert len(rows) == 8 and {(row[5], row[6] != "") for row in rows} == {("", True)}


def story() -> tuple[list[Event], list[int]]:
    """The published events of an order with every operation and two reversals, and how many events each of its batches had."""
    play, events, batches = Play(), list[Event](), list[int]()

    def send(message: object, later: bool = False) -> None:
        play.when(message, f"m{len(batches)}")
        published = [one for one in play.effects if isinstance(one, Event) and not one.TYPE.endswith(".asked")]
        events.extend(event.numbered(len(events) + n + 1) for n, event in enumerate(published))
        batches.append(len(published))
        for task in [one for one in play.effects if isinstance(one, Task) and not later]:
            send(report(task.body, "succeeded", f"g_{len(events)}"))

    send(authorize("a", {"1": 50_00, "2": 20_00}, gateway="test"))
    send(capture("c", "a", {"1": 50_00, "2": 5_00}))
    send(void("v", "a"))
    send(refund("r", "c", {"1": 10_00}))
    asked = call("late", "refund", 7_00, "c")
    for message in (refund("late", "c", {"1": 7_00}), report(asked, "pending"), report(asked, "refused")):
        send(message, later=True)
    send(reverse("cheaper", {"3": ("2", 1, 5_00)}, {"4": 3_00}, rest="5"))
    send(reverse("dearer", {"6": ("4", 1, 3_00)}, {"7": 9_00}))
    return events, batches


def rebuilt(store_id: str, key: UUID, events: list[Event], batches: Iterable[int]) -> Iterable[Change[Ledger]]:
    state, start = Ledger(), 0
    for count in batches:
        part, before = events[start : start + count], state
        for event in part:
            state = evolve(state, event)  # type: ignore[arg-type]
        times = tuple(NOON + timedelta(hours=event.version) for event in part)
        start += count
        yield Change(key, store_id, before, state, tuple(part), times)


async def test_the_journal_gives_the_same_entries_in_one_piece_or_batch_by_batch(database: Database) -> None:
    """By a hash over every column but the order's id and store."""
    events, batches = story()
    assert len(events) == 11
    found = []
    for parts in (batches, [len(events)], [1] * len(events)):
        key, store_id = uuid4(), f"st_{uuid4().hex[:8]}"
        for change in rebuilt(store_id, key, events, parts):
            await write(database, *([change] if change.events else []))
        found.append((await _hashed(database, key), await balances(database, store_id)))
        async with database.transaction() as tx:
            await tx.execute("delete from operations where order_id = $1", key)
    assert found[0] == found[1] == found[2]
    assert found[0][1] == {
        "EUR": {
            "authorized": (0, 92_00, 92_00),
            "customer": (0, 42_00, 91_00),
            "gateway_clearing": (0, 69_00, 20_00),
            "refunds_payable": (0, 7_00, 7_00),
        }
    }


async def _hashed(database: Database, key: UUID) -> str:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "select version, number, operation_id, line_id, account, direction, currency, amount_minor, at from entries"
            " where order_id = $1 order by version, number", key,
        )  # fmt: skip
    assert rows
    return hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()


BROKEN = {
    "the entries of an operation balance in each currency":
        "update entries set amount_minor = amount_minor + 1 where direction = 1 and store_id = $1",
    "the totals of an account and day are the sums of its entries":
        "update account_deltas set debit_minor = debit_minor + 1 where store_id = $1",
    "the accounts of a store sum to zero in each currency":
        "delete from account_deltas where account = 'customer' and store_id = $1",
    "rounding is zero":
        "insert into account_totals values ($1, 'EUR', 'rounding', '2026-01-01', 1, 0)",
    "the entries of a line are the amounts of its ledger":
        "update ledger_lines set captured_minor = 1 where store_id = $1",
    "what an order's customer is owed is what its pending refunds give":
        "update entries set account = 'refunds_payable' where account = 'customer' and store_id = $1",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_the_check_finds(database: Database, of: str, name: str) -> None:
    change = granted(of, {"1": 7})
    await write(database, change)
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        before = await _violated(connection)
        await connection.execute("alter table entries disable trigger entries_never_change")
        await connection.execute(BROKEN[name], of)
        assert (await _violated(connection))[name] > before[name]
        await transaction.rollback()


async def _violated(connection: Connection) -> dict[str, int]:
    return {name: violated for name, _, violated in await invariants.check(connection)}


async def test_the_tables_page_is_what_the_migration_makes(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def differences(sync: Any) -> Any:
        named = {"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
        return compare_metadata(MigrationContext.configure(sync, opts=named), metadata)

    own = (
        "ledgers", "ledger_lines", "operations", "entries", "account_totals", "account_deltas", "gift_cards",
        "gift_card_balances", "gift_card_movements",
    )  # fmt: skip
    async with database.queries.engine.connect() as connection:
        found = await connection.run_sync(differences)
    assert [entry for entry in found if any(f"'{name}'" in repr(entry) for name in own)] == []
