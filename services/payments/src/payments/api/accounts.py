"""The trial balance of a store, and the entries of an account as a file."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, model_validator
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Principal
from chassis.http.spreadsheet import Streamed, amount_cell, harmless, lines, time_cell
from contracts.money import Currency
from payments import bookkeeping
from payments.bookkeeping import Period
from payments.domain.books import ACCOUNTS, Account
from payments.responses import TrialBalance

FIRST_DAY = date(1970, 1, 1)
CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The file"}
}
COLUMNS = ("at", "order_id", "operation_id", "line_id", "account", "debit", "credit", "currency")


class AskedBooks(BaseModel):
    """The query of a route of the books; days are those of UTC."""

    currency: Currency | None = None
    """All currencies if it is missing."""
    first: date = Field(FIRST_DAY, alias="from")
    last: date | None = Field(None, alias="to")
    """Today if it is missing. Both days belong to the period."""

    @model_validator(mode="after")
    def from_is_not_after_to(self) -> Self:
        if self.first > self.period.last:
            raise ValueError("`from` is after `to`")
        return self

    @property
    def period(self) -> Period:
        return Period(self.first, self.last or datetime.now(UTC).date())


def add_routes(router: APIRouter, app: App) -> None:
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]
    Asked = Annotated[AskedBooks, Query()]

    @router.get("/accounts", response_model=TrialBalance)
    async def trial_balance(asked: Asked, who: Viewer) -> Any:
        """The accounts of the store per currency: balances before and after the period, debits and credits in it."""
        rows = await app.read(bookkeeping.turnovers(who.store_id, asked.currency, asked.period))
        return {"from": asked.period.first, "to": asked.period.last, "currencies": [*_balances(rows)]}

    @router.get("/accounts/{account}/entries.csv", response_class=StreamingResponse, responses=CSV)
    async def entries(account: Account, asked: Asked, who: Viewer) -> Response:
        """The entries of an account in the period, the oldest first, as a CSV file (RFC 4180)."""
        pages = bookkeeping.entries_of(app.read, who.store_id, account, asked.currency, asked.period)
        period = asked.period
        return Streamed(_file(pages), f"{account}-{period.first}-{period.last}.csv")


def _balances(rows: Sequence[RowMapping]) -> Iterator[dict[str, Any]]:
    """Each currency with all accounts of the chart, in its order."""
    ordered = sorted(rows, key=lambda row: (row["currency"], ACCOUNTS.index(row["account"])))
    for currency, found in groupby(ordered, key=lambda row: row["currency"]):
        turnover = {row["account"]: row for row in found}
        every = [_balance(account, turnover.get(account)) for account in ACCOUNTS]
        sums = {name: sum(one[name] for one in every) for name in ("debit_minor", "credit_minor")}
        yield {"currency": currency, "accounts": every, **sums}


def _balance(account: Account, row: RowMapping | None) -> dict[str, Any]:
    opening, debit, credit = (row["opening_minor"], row["debit_minor"], row["credit_minor"]) if row else (0, 0, 0)
    return {
        "account": account,
        "opening_minor": opening,
        "debit_minor": debit,
        "credit_minor": credit,
        "closing_minor": opening + debit - credit,
    }


async def _file(pages: AsyncIterator[Sequence[RowMapping]]) -> AsyncGenerator[bytes]:
    yield lines([COLUMNS])
    async for page in pages:
        yield lines(_cells(row) for row in page)


def _cells(row: RowMapping) -> list[str]:
    amount = amount_cell(row["amount_minor"], row["currency"])
    return [
        time_cell(row["at"]),
        str(row["order_id"]),
        str(row["operation_id"]),
        harmless(row["line_id"]),
        row["account"],
        amount if row["direction"] == 1 else "",
        amount if row["direction"] == -1 else "",
        row["currency"],
    ]
