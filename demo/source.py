"""Reads the CSV file of UCI Online Retail into documents, and decides which are orders and which are left out, and why.

A document is all rows of one `InvoiceNo`, in any position. A broken row is reported and leaves its document out; all other
documents are read. Only a file that cannot be used raises (`SourceError`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from demo.countries import UNITED_KINGDOM
from demo.records import COLUMNS, Record, SourceError, records

__all__ = ["BROKEN_NAMED_MAX", "Book", "BrokenRow", "Document", "LeftOut", "Row", "SourceError", "read", "vat_rate"]

LeftOut = Literal["broken_row", "cancellation", "other_document", "stock_correction", "negative_price"]
"""The reasons why a document is no order, in the order in which they are tried."""
LEFT_OUT: Final[tuple[LeftOut, ...]] = get_args(LeftOut)

BROKEN_NAMED_MAX: Final = 5
"""The number of broken rows that are reported one by one; for the others only their count is reported."""

LONDON: Final = ZoneInfo("Europe/London")
VAT_RATES_UK: Final = ((date(2011, 1, 4), "20.00"), (date(2010, 1, 1), "17.50"), (date(2008, 12, 1), "15.00"))
"""The standard rate of the United Kingdom in per cent, by the first day on which it holds, latest first."""

# Limits of the messages that carry an order; real orders are far below them.
_QUANTITY_MAX: Final = 10**9
_AMOUNT_MAX: Final = Decimal(10**13)  # pounds
_ID_CHARACTERS_MAX: Final = 180  # leaves room for "-<pass>"

_QUANTITY: Final = re.compile(r"[+-]?[0-9]{1,20}")
_PRICE: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_PRICE_CHARACTERS_MAX: Final = 60
_DATE: Final = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})\s+([0-9]{1,2}):([0-9]{2})")


class Row(NamedTuple):
    """A readable row. Prices are exact, in pounds per piece; times are UTC."""

    line: int
    place: int
    """Its position in the document from 1, every row counted."""
    stock_code: str
    description: str
    quantity: int
    unit_price: Decimal
    invoiced_at: datetime


class BrokenRow(NamedTuple):
    """An error in a row. `column` is None if it concerns the whole row."""

    line: int
    invoice_no: str
    column: str | None
    problem: str

    def __str__(self) -> str:
        place = f"line {self.line}" + (f", {self.column}" if self.column else "")
        return f"{place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Document:
    """All rows of one invoice number, in file order. `rows` lacks the unreadable ones, `row_count` does not."""

    invoice_no: str
    customer_id: str | None
    country: str
    rows: tuple[Row, ...]
    row_count: int
    left_out: LeftOut | None

    @property
    def placed_at(self) -> datetime:
        """The earliest time of its rows, UTC."""
        return min(row.invoiced_at for row in self.rows)


@dataclass(frozen=True, slots=True)
class Book:
    """Everything read from one file. Documents are in the order of their first rows."""

    path: Path
    documents: tuple[Document, ...]
    broken: tuple[BrokenRow, ...]
    """Sorted by line number; at least one per document that is left out as `broken_row`."""
    rows_without_number: int
    rows: int
    """All rows of the file after the header."""

    @property
    def order_documents(self) -> tuple[Document, ...]:
        """The documents that are orders, in file order."""
        return tuple(document for document in self.documents if document.left_out is None)

    @property
    def left_out(self) -> dict[LeftOut, int]:
        """Reason -> documents left out, for reasons that occur. A row without an invoice number counts as one document."""
        counts = Counter(document.left_out for document in self.documents)
        counts["broken_row"] += self.rows_without_number
        return {reason: counts[reason] for reason in LEFT_OUT if counts[reason]}

    def broken_named(self) -> list[str]:
        """The first broken rows as sentences, then the number of the others."""
        named = [str(row) for row in self.broken[:BROKEN_NAMED_MAX]]
        more = len(self.broken) - len(named)
        return [*named, f"and {more} more broken {'row' if more == 1 else 'rows'}"] if more else named


def read(path: Path) -> Book:
    """Reads the whole file. Raises SourceError, with one sentence for a person, if it is missing or has another format."""
    drafts: dict[str, _Draft] = {}
    broken: list[BrokenRow] = []
    count = without_number = 0
    for record in records(path):
        count += 1
        number = record.cells[0]
        if not number:
            without_number += 1
            broken.append(BrokenRow(record.line, "", "InvoiceNo", "is empty"))
            continue
        draft = drafts.get(number)
        if draft is None:
            draft = drafts[number] = _Draft(number)
        if found := draft.add(record):
            broken.append(found)
    documents = tuple(draft.finish(broken.append) for draft in drafts.values())
    return Book(path, documents, tuple(sorted(broken, key=lambda row: row.line)), without_number, count)


def vat_rate(country: str, placed_at: datetime) -> str | None:
    """The VAT rate of an order in per cent, by the London day on which it was placed; None before the first rate in the table.

    >>> new_year = datetime(2010, 1, 1, tzinfo=UTC)
    >>> vat_rate("United Kingdom", new_year), vat_rate("France", new_year)
    ('17.50', '0.00')
    """
    if country != UNITED_KINGDOM:
        return "0.00"
    day = placed_at.astimezone(LONDON).date()
    return next((rate for since, rate in VAT_RATES_UK if day >= since), None)


@dataclass(slots=True)
class _Draft:
    """A document while its rows are read."""

    invoice_no: str
    row_count: int = 0
    broken: bool = False
    customer: tuple[str, str] | None = None
    """CustomerID and Country of the first row that has all cells."""
    rows: list[Row] = field(default_factory=list)

    def add(self, record: Record) -> BrokenRow | None:
        self.row_count += 1
        wrong = _wrong_record(record) or self._differing(record.cells) or self._take(record)
        if wrong is None:
            return None
        self.broken = True
        return BrokenRow(record.line, self.invoice_no, *wrong)

    def _differing(self, cells: list[str]) -> tuple[str, str] | None:
        customer = (cells[6], cells[7])
        if self.customer is None:
            self.customer = (intern(cells[6]), intern(cells[7]))
            return None
        if customer == self.customer:
            return None
        column, here, before = next(
            (name, here, before)
            for name, here, before in zip(COLUMNS[6:], customer, self.customer, strict=True)
            if here != before
        )
        return column, f"{_shown(here)}, but {_shown(before)} in an earlier row of invoice {_shown(self.invoice_no)}"

    def _take(self, record: Record) -> tuple[str, str] | None:
        """Adds the row if all its cells are readable; else returns (column, problem)."""
        _, stock_code, description, quantity_text, date_text, price_text, *_ = record.cells
        if not stock_code:
            return "StockCode", "is empty"
        quantity = _quantity(quantity_text)
        if quantity is None:
            return "Quantity", f"{_shown(quantity_text)} is no whole number"
        invoiced_at = _london_time(date_text)
        if invoiced_at is None:
            return "InvoiceDate", f"{_shown(date_text)} is no time like 12/31/10 8:26 or 12/31/2010 8:26"
        price = _price(price_text)
        if price is None:
            return "UnitPrice", f"{_shown(price_text)} is no decimal number like 2.55"
        if abs(quantity) > _QUANTITY_MAX or abs(price) > _AMOUNT_MAX:
            return ("Quantity" if abs(quantity) > _QUANTITY_MAX else "UnitPrice"), "is too large"
        self.rows.append(
            Row(record.line, self.row_count, intern(stock_code), intern(description), quantity, price, invoiced_at)
        )
        return None

    def finish(self, name_broken: Callable[[BrokenRow], None]) -> Document:
        if not self.broken and (found := self._wrong_whole()):
            self.broken = True
            name_broken(found)
        customer_id, country = self.customer or ("", "")
        reason = "broken_row" if self.broken else _reason(self.invoice_no, self.rows)
        return Document(self.invoice_no, customer_id or None, country, tuple(self.rows), self.row_count, reason)

    def _wrong_whole(self) -> BrokenRow | None:
        """Errors that need the whole document. Every row is readable here, so there is at least one."""
        assert self.customer is not None
        first = min(self.rows, key=lambda row: row.invoiced_at)
        if vat_rate(self.customer[1], first.invoiced_at) is None:
            return BrokenRow(
                first.line,
                self.invoice_no,
                "InvoiceDate",
                "is before 1 December 2008: the table has no VAT rate for it",
            )
        if sum(abs(row.quantity * row.unit_price) for row in self.rows) > _AMOUNT_MAX:
            return BrokenRow(first.line, self.invoice_no, "UnitPrice", "the amounts of its invoice are too large")
        return None


def _wrong_record(record: Record) -> tuple[str | None, str] | None:
    cells = record.cells
    if record.problem:
        return None, record.problem
    if len(cells) != len(COLUMNS):
        return None, f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'} where {len(COLUMNS)} are expected"
    if max(len(cells[0]), len(cells[1]), len(cells[6])) > _ID_CHARACTERS_MAX:
        column = max((len(cells[n]), COLUMNS[n]) for n in (0, 1, 6))[1]
        return column, f"is longer than {_ID_CHARACTERS_MAX} characters"
    return None


def _reason(invoice_no: str, rows: list[Row]) -> LeftOut | None:
    """The first reason that applies to a document of readable rows; None if it is an order."""
    if invoice_no[0] in "Cc":
        return "cancellation"
    if not (invoice_no.isascii() and invoice_no.isdigit()):
        return "other_document"
    if any(row.quantity <= 0 for row in rows):
        return "stock_correction"
    if any(row.unit_price < 0 for row in rows):
        return "negative_price"
    return None


def _shown(cell: str) -> str:
    """A cell for use in a sentence: short, on one line."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...") if cell else "nothing"


# The same few prices and times occur in hundreds of thousands of rows: each is parsed once and shared.


@lru_cache(maxsize=1 << 12)
def _quantity(text: str) -> int | None:
    return int(text) if _QUANTITY.fullmatch(text) else None


@lru_cache(maxsize=1 << 16)
def _price(text: str) -> Decimal | None:
    readable = len(text) <= _PRICE_CHARACTERS_MAX and _PRICE.fullmatch(text)
    return Decimal(text) if readable else None


@lru_cache(maxsize=1 << 16)
def _london_time(text: str) -> datetime | None:
    """The UTC instant of a wall clock time in London; in the hour that autumn repeats, the first occurrence."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    month, day, year, hour, minute = (int(part) for part in match.groups())
    if len(match[3]) == 2:
        year += 1900 if year >= 69 else 2000  # as in POSIX: 69 to 99 mean 1969 to 1999
    if not 1971 <= year < 2199:  # one year inside the limits of messages, so that no time zone exceeds them
        return None
    try:
        return datetime(year, month, day, hour, minute, tzinfo=LONDON).astimezone(UTC)
    except ValueError:
        return None
