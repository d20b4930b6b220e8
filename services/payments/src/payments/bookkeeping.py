"""Reads the books: the turnover of accounts by daily totals, and their entries. Folds the sums of new entries into the totals.

A batch adds rows to `account_deltas`, which no other transaction changes: batches of a store do not wait for each other.
A read adds both tables, so it is exact at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, Subquery, cast, func, select, tuple_, union_all
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import Executable

from chassis.declare.app import App
from chassis.work.loops import delayed
from payments.domain.books import Account
from payments.tables import account_deltas, account_totals, entries

Read = Callable[[Executable], Awaitable[Sequence[RowMapping]]]
FOLD_SECONDS: Final = 2.0
"""Between two folds. Longer: a read adds more rows."""
PAGE_ROWS: Final = 2_000
"""Entries of one query. More: the other requests of the process wait longer while they are rendered."""
# Ordered, so that two processes that fold at once lock the rows of the totals in one sequence.
FOLD: Final = """
with taken as (delete from account_deltas returning *)
insert into account_totals as t (store_id, currency, account, day, debit_minor, credit_minor)
select store_id, currency, account, day, sum(debit_minor), sum(credit_minor) from taken group by 1, 2, 3, 4 order by 1, 2, 3, 4
on conflict (store_id, currency, account, day) do update
set debit_minor = t.debit_minor + excluded.debit_minor, credit_minor = t.credit_minor + excluded.credit_minor"""


class Period(NamedTuple):
    """Both days belong to it; days are those of UTC."""

    first: date
    last: date


def turnovers(store_id: str, currency: str | None, period: Period) -> Select[Any]:
    """Rows (currency, account, opening_minor, debit_minor, credit_minor) of the accounts that have entries up to the period's
    end. opening_minor: debits less credits before the period."""
    days = _days(store_id)
    before, within = days.c.day < period.first, days.c.day >= period.first

    def total(column: Any, when: Any) -> Any:
        return cast(func.coalesce(func.sum(column).filter(when), 0), BigInteger)

    found = (
        select(
            days.c.currency,
            days.c.account,
            total(days.c.debit_minor - days.c.credit_minor, before).label("opening_minor"),
            total(days.c.debit_minor, within).label("debit_minor"),
            total(days.c.credit_minor, within).label("credit_minor"),
        )
        .where(days.c.day <= period.last)
        .group_by(days.c.currency, days.c.account)
    )
    return found if currency is None else found.where(days.c.currency == currency)


def _days(store_id: str) -> Subquery:
    """The sums of each account and day; a day may have several rows."""
    return union_all(
        *(select(table).where(table.c.store_id == store_id) for table in (account_totals, account_deltas))
    ).subquery("days")


async def entries_of(
    read: Read, store_id: str, account: Account, currency: str | None, period: Period
) -> AsyncIterator[Sequence[RowMapping]]:
    """Yields the entries of an account, the oldest first, in pages.

    Each page is a query of its own: a slow receiver keeps no query and no snapshot open. Only days with entries are read.
    """
    days = _days(store_id)
    busy = (
        select(days.c.day)
        .where(days.c.account == account, days.c.day.between(period.first, period.last))
        .group_by(days.c.day)
        .order_by(days.c.day)
    )
    for row in await read(busy if currency is None else busy.where(days.c.currency == currency)):
        after: tuple[Any, ...] | None = None
        while True:
            page = await read(_page(store_id, account, currency, row["day"], after))
            if page:
                yield page
            if len(page) < PAGE_ROWS:
                break
            after = tuple(page[-1][column.name] for column in SEQUENCE)


SEQUENCE: Final = (entries.c.at, entries.c.order_id, entries.c.version, entries.c.number)


def _page(
    store_id: str, account: Account, currency: str | None, day: date, after: tuple[Any, ...] | None
) -> Select[Any]:
    begin = datetime.combine(day, time(), UTC)
    found = select(entries).where(
        entries.c.store_id == store_id,
        entries.c.account == account,
        entries.c.at >= (after[0] if after else begin),
        entries.c.at < begin + timedelta(days=1),
    )
    if currency is not None:
        found = found.where(entries.c.currency == currency)
    if after is not None:
        found = found.where(tuple_(*SEQUENCE) > tuple_(*after))
    return found.order_by(*SEQUENCE).limit(PAGE_ROWS)


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def fold() -> None:
        while True:
            with delayed("accounts"):
                await app.fetch(FOLD)
            await asyncio.sleep(FOLD_SECONDS)

    return {"accounts": fold}
