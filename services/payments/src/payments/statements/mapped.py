"""A payout or bank statement in CSV, read by a mapping: which column means what.

A mapping is JSON: `Mapping` lists its fields. `mappings/` has those of some reports; a store may send one of its own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, model_validator

from contracts.base import Frozen, Text
from contracts.money import Currency
from payments.domain.statements import (
    TEXT_MAX,
    Exchanged,
    Row,
    RowKind,
    Statement,
    StatementUnreadable,
    UnreadableRow,
    parted,
    row_or_unreadable,
    with_reversals,
)
from payments.statements.amounts import currency_of, day_of, minor_of

COLUMNS_MAX: Final = 20
"""Columns that a mapping names for one purpose."""
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
ColumnNames = Annotated[tuple[ColumnName, ...], Field(max_length=COLUMNS_MAX)]


class Mapping(Frozen, extra="forbid"):
    """Names of columns, compared without regard to case and outer spaces. Amounts are decimals in major units."""

    delimiter: Literal[",", ";", "\t", "|"] = ","
    encoding: Literal["utf-8", "cp1252", "iso-8859-1"] = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    day_format: Text = ""
    """As of strptime, e.g. `%d.%m.%Y`; empty: ISO 8601."""
    lines_before_header: Annotated[int, Field(ge=0, le=100)] = 0

    statement_id: ColumnName | None = None
    """One statement for each of its values. Null: the file is one statement, whose id comes with the request."""
    account: ColumnName | None = None
    currency: ColumnName | None = None
    fixed_currency: Currency | None = None
    """For files without a column of it."""
    references: ColumnNames = ()
    row_id: ColumnName | None = None
    on: ColumnName

    gross: ColumnName | None = None
    gross_less: ColumnNames = ()
    """Columns that are taken from `gross`: a refund or chargeback that has its own, positive."""
    fee: ColumnName | None = None
    fee_is_negative: bool = False
    """The report writes a cost with a minus."""
    net: ColumnName | None = None

    kind: ColumnName | None = None
    kinds: Annotated[dict[str, RowKind], Field(max_length=100)] = {}
    """By the value of `kind`. A value that is not here makes an adjustment. Without a column: by the sign of the gross."""
    payout_kinds: Annotated[tuple[Text, ...], Field(max_length=COLUMNS_MAX)] = ()
    """Values of `kind` whose rows are the payout itself, with the sign of what leaves the balance."""
    bank: bool = False
    """Rows are transfers of a bank: nothing is captured or refunded by them."""
    balance: ColumnName | None = None
    """The balance after each row, oldest row first: the opening and the closing balance come from it."""

    exchanged_gross: ColumnName | None = None
    exchanged_currency: ColumnName | None = None
    exchange_rate: ColumnName | None = None

    @model_validator(mode="after")
    def has_amount_and_currency(self) -> Mapping:
        if self.gross is None and self.net is None:
            raise ValueError("`gross` or `net` names the column of the amount")
        if self.currency is None and self.fixed_currency is None:
            raise ValueError("`currency` names a column, or `fixed_currency` a currency")
        if (self.exchanged_gross is None) != (self.exchanged_currency is None):
            raise ValueError("`exchanged_gross` and `exchanged_currency` belong together")
        return self


KNOWN: Final = ("dintero", "stripe")
"""Mappings that are part of the service."""


def shipped(name: str) -> Mapping:
    """Raises StatementUnreadable if no mapping of that name is part of the service."""
    if name not in KNOWN:
        raise StatementUnreadable(f"no mapping {name!r}; there are {', '.join(KNOWN)}")
    return Mapping.model_validate_json(
        resources.files("payments.statements").joinpath(f"mappings/{name}.json").read_bytes()
    )


def parse_mapping(document: bytes) -> Mapping:
    try:
        return Mapping.model_validate_json(document)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        raise StatementUnreadable(f"the mapping cannot be used: {problems}") from error


@dataclass(slots=True)
class _Collected:
    """The rows of one statement while the file is read."""

    account: str
    currency: str
    found: list[Row | UnreadableRow] = field(default_factory=list)
    payout_minor: int | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None


def read(body: bytes, mapping: Mapping, statement_id: str = "", account: str = "") -> list[Statement]:
    """Returns one statement per value of the column `statement_id`, in the order of the file."""
    lines = _records(body, mapping)
    header = next(lines, None)
    if header is None:
        raise StatementUnreadable("the file has no header")
    columns = _Columns(header, mapping)
    collected: dict[str, _Collected] = {}
    for number, cells in enumerate(lines, 1):
        if not any(cells):
            continue
        name = columns.text(mapping.statement_id, cells) if mapping.statement_id else statement_id
        try:
            currency = mapping.fixed_currency or currency_of(columns.text(mapping.currency, cells))
        except ValueError as error:
            raise StatementUnreadable(f"row {number}: {error}") from error
        if not name:
            raise StatementUnreadable(f"row {number} belongs to no statement: it has no id, and none was given")
        one = collected.get(name)
        if one is None:
            one = collected[name] = _Collected(columns.text(mapping.account, cells) or account, currency)
        _collect(one, number, cells, currency, columns, mapping)
    return [
        Statement(name, one.account, one.currency, rows, unreadable, min(days, default=None), max(days, default=None),
                  one.opening_minor, one.closing_minor, one.payout_minor)
        for name, one in collected.items()
        for read_rows, unreadable in [parted(one.found)]
        for rows in [with_reversals(read_rows)]
        for days in [[row.on for row in rows]]
    ]  # fmt: skip


def _records(body: bytes, mapping: Mapping) -> Iterator[list[str]]:
    try:
        text = body.decode("utf-8-sig" if mapping.encoding == "utf-8" else mapping.encoding)
    except UnicodeDecodeError as error:
        raise StatementUnreadable(f"the file is not {mapping.encoding}: {error}") from error
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mapping.delimiter, strict=True)
    try:
        for n, cells in enumerate(lines):
            if n >= mapping.lines_before_header:
                yield cells
    except csv.Error as error:
        raise StatementUnreadable(f"line {lines.line_num}: {error}") from error


class _Columns:
    """The places of the columns that a mapping names."""

    def __init__(self, header: Sequence[str], mapping: Mapping) -> None:
        places = {name.strip().casefold(): place for place, name in enumerate(header)}
        named = [
            mapping.statement_id, mapping.account, mapping.currency, *mapping.references, mapping.row_id, mapping.on,
            mapping.gross, *mapping.gross_less, mapping.fee, mapping.net, mapping.kind, mapping.balance,
            mapping.exchanged_gross, mapping.exchanged_currency, mapping.exchange_rate,
        ]  # fmt: skip
        missing = sorted({name for name in named if name and name.casefold() not in places})
        if missing:
            raise StatementUnreadable(f"the file has no column {', '.join(missing)}")
        self.width = len(header)
        self._places = {name: places[name.casefold()] for name in named if name}

    def text(self, name: str | None, cells: Sequence[str]) -> str:
        """Returns the cell without outer spaces; empty if the mapping names no column or the row is too short."""
        place = self._places[name] if name else len(cells)
        return cells[place].strip() if place < len(cells) else ""


def _collect(
    one: _Collected, number: int, cells: Sequence[str], currency: str, columns: _Columns, mapping: Mapping
) -> None:
    def amount(name: str | None) -> int:
        text = columns.text(name, cells)
        return minor_of(text, one.currency, mapping.decimal, mapping.thousands) if text else 0

    net = None
    try:
        if len(cells) < columns.width:
            raise ValueError(f"the row has {len(cells)} of {columns.width} columns")
        if currency != one.currency:
            raise ValueError(f"{currency} is not the currency of the statement, {one.currency}")
        fee = -amount(mapping.fee) if mapping.fee_is_negative else amount(mapping.fee)
        net = amount(mapping.net) if mapping.net else None
        gross = amount(mapping.gross) - sum(map(amount, mapping.gross_less)) if mapping.gross else (net or 0) + fee
        net = gross - fee if net is None else net
        if not any(columns.text(name, cells) for name in (mapping.gross, *mapping.gross_less, mapping.net)):
            raise ValueError("the row has no amount")
        word = columns.text(mapping.kind, cells)
        if mapping.kind and word in mapping.payout_kinds:
            one.payout_minor = (one.payout_minor or 0) - net
            return
        if mapping.balance:
            one.closing_minor = amount(mapping.balance)
            if one.opening_minor is None:
                one.opening_minor = one.closing_minor - net
        row = Row(
            number,
            _kind(word, gross, fee, mapping),
            columns.text(mapping.row_id, cells),
            tuple(filter(None, (columns.text(name, cells) for name in mapping.references))),
            gross,
            fee,
            net,
            _day(columns.text(mapping.on, cells), mapping),
            _exchanged(cells, columns, mapping),
        )
        one.found.append(row if gross - fee == net else row_or_unreadable(row, mapping.delimiter.join(cells)))
    except ValueError as error:
        one.found.append(UnreadableRow(number, mapping.delimiter.join(cells)[:TEXT_MAX], str(error), net))


def _kind(word: str, gross_minor: int, fee_minor: int, mapping: Mapping) -> RowKind:
    if mapping.kind:
        return mapping.kinds.get(word, "adjustment")
    if mapping.bank:
        return "transfer"
    return "capture" if gross_minor > 0 else "refund" if gross_minor < 0 else "fee" if fee_minor else "adjustment"


def _day(text: str, mapping: Mapping) -> date:
    return day_of(text, mapping.day_format)


def _exchanged(cells: Sequence[str], columns: _Columns, mapping: Mapping) -> Exchanged | None:
    presented = columns.text(mapping.exchanged_currency, cells)
    if not presented:
        return None
    currency = currency_of(presented)
    amount = minor_of(columns.text(mapping.exchanged_gross, cells), currency, mapping.decimal, mapping.thousands)
    return Exchanged(currency, amount, columns.text(mapping.exchange_rate, cells))
