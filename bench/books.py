"""Payments' books: the trial balance of a store with millions of entries, and one more operation of an order with many.

The entries are of 20 stores and two years; the largest store has about 28 % of them, and its trial balance is measured. Each
order is authorized and captured, with one line.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from bench.search import DAYS, SINCE, STORES
from chassis.batch.database import Database
from chassis.declare.migrations import upgrade
from chassis.declare.service import Change
from contracts.base import Command, Event
from contracts.deciding import Context, effects_of
from contracts.payments import Authorize, MoneyLine, Refund
from payments import bookkeeping, store
from payments.bookkeeping import Period
from payments.domain import commands, compaction
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of
from payments.handlers import SERVICE
from payments.settings import Settings

ENTRIES_OF_AN_ORDER: Final = 4
CHUNK_ORDERS: Final = 100_000
RUNS: Final = 40
# The store of an order: the share of store n is 1/n. Its time: the orders are spread evenly over all days.
FILL: Final = """
with shares as (select name, sum(1.0 / n) over (order by n) / sum(1.0 / n) over () as until from unnest($1::text[]) with ordinality as s (name, n)),
orders as (
  select n, gen_random_uuid() as id, gen_random_uuid() as authorized, gen_random_uuid() as captured, 1000 + n % 9000 as minor,
    (select name from shares where until > (n * 7919 % 100000) / 100000.0 order by until limit 1) as store_id,
    $4::timestamptz + $5::int * interval '1 day' * n / $6::bigint as at
  from generate_series($2::bigint, $3::bigint) as n)
insert into entries (order_id, store_id, version, number, operation_id, line_id, account, direction, currency, amount_minor, at)
select id, store_id, version, number, case version when 1 then authorized else captured end, '1', account, direction, 'EUR', minor, at
from orders cross join (values (1, 0, 'authorized', 1), (1, 1, 'customer', -1), (2, 0, 'gateway_clearing', 1),
  (2, 1, 'authorized', -1)) as booked (version, number, account, direction)"""


@dataclass
class BooksRun:
    entries: int
    trial_balance_ms: list[float]
    """The largest store, over all its days."""
    month_ms: list[float]
    """The largest store, over one month."""
    filled_in_seconds: float
    operation_ms: float
    """One more refund of an order with `operations`: decide, fold, book, and render what is stored."""
    operations: int


def books(url: str, entries: int, operations: int) -> BooksRun:
    return asyncio.run(_measured(url, entries, operations))


async def _measured(url: str, entries: int, operations: int) -> BooksRun:
    began = time.monotonic()
    await _fill(url, entries // ENTRIES_OF_AN_ORDER)
    filled = time.monotonic() - began
    database = Database(Settings(database_url=url), "bench-books")
    try:
        whole = await _timed(database, Period(date(1970, 1, 1), date(2100, 1, 1)))
        month = await _timed(database, Period(date(2025, 11, 1), date(2025, 11, 30)))
    finally:
        await database.close()
    return BooksRun(entries, whole, month, filled, one_more(operations), operations)


async def _fill(url: str, orders: int) -> None:
    """By the triggers of the table, so the totals are those that batches make."""
    await upgrade(SERVICE, url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("set synchronous_commit = off")
        for first in range(0, orders, CHUNK_ORDERS):
            last = min(first + CHUNK_ORDERS, orders) - 1
            await connection.execute(FILL, STORES, first, last, SINCE, DAYS, orders)
            await connection.execute(bookkeeping.FOLD)
        await connection.execute("vacuum analyze entries, account_totals, account_deltas")
    finally:
        await connection.close()


async def _timed(database: Database, period: Period) -> list[float]:
    took = []
    for run in range(-2, RUNS):  # the first two warm the caches of the connection
        began = time.perf_counter()
        rows = await database.queries.read(bookkeeping.turnovers(STORES[0], "EUR", period))
        if run >= 0:
            took.append((time.perf_counter() - began) * 1000)
        assert rows and sum(row["debit_minor"] - row["credit_minor"] for row in rows) == 0
    return took


def one_more(operations: int) -> float:
    """Milliseconds, the median over further refunds of one order that has had so many operations."""
    key, now = uuid4(), datetime.now(UTC)
    lines = (MoneyLine(line_id="1", quantity=1, amount_minor=10**9),)
    who: dict[str, Any] = {"order_id": key, "store_id": STORES[0], "actor": "bench"}
    authorize = Authorize(
        **who, operation_id=uuid4(), gateway="marketplace", currency="EUR", lines=lines, reference="B-1", capture=True
    )
    state = _done(Ledger(), authorize, commands.authorize, key, now)
    piece = (MoneyLine(line_id="1", quantity=0, amount_minor=1),)
    took = []
    for n in range(operations + RUNS):
        refund = Refund(
            **who, operation_id=uuid4(), capture_id=capture_id_of(authorize.operation_id), currency="EUR", lines=piece
        )
        began = time.perf_counter()
        state = _done(state, refund, commands.refund, key, now)
        if n >= operations:
            took.append((time.perf_counter() - began) * 1000)
    assert state.refunded_minor == operations + RUNS
    return statistics.median(took)


def _done(state: Ledger, command: Command, decide: Any, key: UUID, now: datetime) -> Ledger:
    context = Context(now=now, key=key, store_id=STORES[0], message_id=uuid4())
    events = tuple(one for one in effects_of(decide(state, command, context)) if isinstance(one, Event))
    after = state
    for event in events:
        after = evolve(after, event)  # type: ignore[arg-type]  # a ledger decides events of a ledger
    store.rows([Change(key, STORES[0], state, after, events, (now,) * len(events))])
    after = compaction.compact(after)
    after.model_dump_json()
    return after
