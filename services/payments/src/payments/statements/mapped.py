"""A payout or bank statement in CSV, read by a mapping: which column means what.

A mapping is JSON: `Mapping` lists its fields. `mappings/` has those of some reports; a store may send one of its own.
"""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
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
Words = Annotated[tuple[Text, ...], Field(max_length=COLUMNS_MAX)]
"""Values of a column."""


class Mapping(Frozen, extra="forbid"):
    """Names of columns, compared without regard to case and outer spaces. Amounts are decimals in major units."""

    delimiter: Literal[",", ";", "\t", "|"] = ","
    encoding: Literal["utf-8", "cp1252", "iso-8859-1"] = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    day_format: Text = ""
    """As of strptime, e.g. `%d.%m.%Y`; empty: ISO 8601."""
    lines_before_header: Annotated[int, Field(ge=0, le=100)] = 0
    lines_after_rows: Annotated[int, Field(ge=0, le=100)] = 0
    """Records at the end that are no rows, such as totals. Empty ones are not counted."""

    statement_id: ColumnName | None = None
    """One statement for each of its values. Null: the file is one statement, whose id comes with the request."""
    account: ColumnName | None = None
    currency: ColumnName | None = None
    fixed_currency: Currency | None = None
    """For files without a column of it."""
    references: ColumnNames = ()
    """What a row is matched by: our operation ids, the gateway's references, texts that have the reference of an order as a word."""
    row_id: ColumnName | None = None
    """The report's own name of the row."""
    on: ColumnName
    """The day on which the row was booked."""

    gross: ColumnName | None = None
    """What was moved, before the fee: what arrives is positive."""
    gross_less: ColumnNames = ()
    """Columns that are taken from `gross`: a refund or chargeback that has its own, positive."""
    fee: ColumnName | None = None
    """What was retained of it: a cost is positive."""
    fee_is_negative: bool = False
    """The report writes a cost with a minus."""
    net: ColumnName | None = None
    """The gross less the fee. A report may have only one of `gross` and `net`."""
    direction: ColumnName | None = None
    """Which way the amounts of a row go, which have no sign then: its value is one of `incoming` or `outgoing`."""
    incoming: Words = ()
    outgoing: Words = ()

    kind: ColumnName | None = None
    kinds: Annotated[dict[str, RowKind], Field(max_length=100)] = {}
    """By the value of `kind`. A value that is not here makes an adjustment. Without a column: by the sign of the gross."""
    payout_kinds: Words = ()
    """Values of `kind` whose rows are the payout itself, with the sign of what leaves the balance."""
    bank: bool = False
    """Rows are transfers of a bank: nothing is captured or refunded by them. True for a report of the gateway `manual`."""
    balance: ColumnName | None = None
    """The balance after each row: the opening and the closing balance come from it."""
    newest_first: bool = False
    """For `balance`: the first row is the latest one."""

    exchanged_gross: ColumnName | None = None
    exchanged_currency: ColumnName | None = None
    exchange_rate: ColumnName | None = None
    optional: ColumnNames = ()
    """Names of these that a file may lack: what they would have is empty."""

    def of(self, gateway: str) -> Mapping:
        """Returns the mapping for a report of this gateway: what is imported for `manual` is a bank's."""
        return self.model_copy(update={"bank": True}) if gateway == "manual" else self

    @model_validator(mode="after")
    def has_amount_and_currency(self) -> Mapping:
        if self.gross is None and self.net is None:
            raise ValueError("`gross` or `net` names the column of the amount")
        if self.currency is None and self.fixed_currency is None:
            raise ValueError("`currency` names a column, or `fixed_currency` a currency")
        if (self.exchanged_gross is None) != (self.exchanged_currency is None):
            raise ValueError("`exchanged_gross` and `exchanged_currency` belong together")
        if (self.direction is None) != (not self.incoming or not self.outgoing):
            raise ValueError("`direction` needs the words that are `incoming` and those that are `outgoing`")
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
    balances: list[tuple[int, int | None, int | None]] = field(default_factory=list)
    """(number, net, balance after it) of each row; null: it cannot be read."""


def read(body: bytes, mapping: Mapping, statement_id: str = "", account: str = "") -> list[Statement]:
    """Returns one statement per statement id, account and currency, in the order of the file."""
    lines = _records(body, mapping)
    header = next(((number, cells) for number, cells in lines if any(cells)), None)
    if header is None:
        raise StatementUnreadable("the file has no header")
    columns = _Columns(header[1], mapping)
    collected: dict[tuple[str, str, str], _Collected] = {}
    for place, cells in _rows(lines, mapping.lines_after_rows):
        number = place - header[0]
        name = columns.text(mapping.statement_id, cells) if mapping.statement_id else statement_id
        try:
            currency = mapping.fixed_currency or currency_of(columns.text(mapping.currency, cells))
        except ValueError as error:
            raise StatementUnreadable(f"row {number}, column {mapping.currency}: {error}") from error
        if not name:
            raise StatementUnreadable(f"row {number} belongs to no statement: it has no id, and none was given")
        key = name, columns.text(mapping.account, cells) or account, currency
        one = collected.get(key)
        if one is None:
            one = collected[key] = _Collected(key[1], currency)
        _collect(one, number, cells, columns, mapping)
    currencies = Counter((name, account) for name, account, _ in collected)
    return [
        Statement(name if currencies[name, of] == 1 else f"{name}/{currency}", of, currency, rows, unreadable,
                  min(days, default=None), max(days, default=None), *_balances(one, mapping), one.payout_minor)
        for (name, of, currency), one in collected.items()
        for read_rows, unreadable in [parted(one.found)]
        for rows in [with_reversals(read_rows)]
        for days in [[row.on for row in rows]]
    ]  # fmt: skip


_MARKS: Final = ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16"))
"""What a file may begin with, and the encoding that it then has."""


def _records(body: bytes, mapping: Mapping) -> Iterator[tuple[int, list[str]]]:
    """Yields the records after those before the header, each with its number: a quoted cell may have several lines."""
    encoding: str = next((name for mark, name in _MARKS if body.startswith(mark)), mapping.encoding)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise StatementUnreadable(f"the file is not {encoding}: {error}") from error
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mapping.delimiter, strict=True)
    try:
        for n, cells in enumerate(lines):
            if n >= mapping.lines_before_header:
                yield n - mapping.lines_before_header, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise StatementUnreadable(f"line {lines.line_num}: {error}") from error


def _rows(lines: Iterable[tuple[int, list[str]]], after: int) -> Iterator[tuple[int, list[str]]]:
    """Yields what is neither empty nor among the last `after`."""
    held: deque[tuple[int, list[str]]] = deque()
    for number, cells in lines:
        if any(cells):
            held.append((number, cells))
        if len(held) > after:
            yield held.popleft()


class _Columns:
    """The places of the columns that a mapping names."""

    def __init__(self, header: Sequence[str], mapping: Mapping) -> None:
        while header and not header[-1]:
            header = header[:-1]  # a delimiter at the end of the line begins no column
        places = {name.casefold(): place for place, name in enumerate(header)}
        times = Counter(name.casefold() for name in header)
        named = [
            mapping.statement_id, mapping.account, mapping.currency, *mapping.references, mapping.row_id, mapping.on,
            mapping.gross, *mapping.gross_less, mapping.fee, mapping.net, mapping.direction, mapping.kind, mapping.balance,
            mapping.exchanged_gross, mapping.exchanged_currency, mapping.exchange_rate,
        ]  # fmt: skip
        lacking = {name for name in named if name and name.casefold() not in places}
        named = [name for name in named if name not in lacking]
        missing = sorted(lacking - {*mapping.optional})
        if missing:
            raise StatementUnreadable(f"the file has no column {', '.join(missing)}")
        if double := sorted({name for name in named if name and times[name.casefold()] > 1}):
            raise StatementUnreadable(f"the file has more than one column {', '.join(double)}")
        self.width = len(header)
        self._places = {name: places[name.casefold()] for name in named if name}

    def text(self, name: str | None, cells: Sequence[str]) -> str:
        """Returns the cell without outer spaces; empty if the mapping names no column, or the file or the row does not have it."""
        place = self._places.get(name or "", len(cells))
        return cells[place] if place < len(cells) else ""


def _collect(one: _Collected, number: int, cells: Sequence[str], columns: _Columns, mapping: Mapping) -> None:
    def amount(name: str | None) -> int:
        text = columns.text(name, cells)
        try:
            return minor_of(text, one.currency, mapping.decimal, mapping.thousands) if text else 0
        except ValueError as error:
            raise ValueError(f"column {name}: {error}") from None

    net = balance = None
    try:
        if len(cells) < columns.width or any(cells[columns.width :]):
            raise ValueError(f"the row has {len(cells)} columns, the header {columns.width}")
        if mapping.balance:
            balance = amount(mapping.balance) if columns.text(mapping.balance, cells) else None
        sign = _sign(columns.text(mapping.direction, cells), mapping)
        fee = -amount(mapping.fee) if mapping.fee_is_negative else amount(mapping.fee)
        net = sign * amount(mapping.net) if mapping.net else None
        gross = (
            sign * amount(mapping.gross) - sum(map(amount, mapping.gross_less)) if mapping.gross else (net or 0) + fee
        )
        net = gross - fee if net is None else net
        if not any(columns.text(name, cells) for name in (mapping.gross, *mapping.gross_less, mapping.net)):
            raise ValueError("the row has no amount")
        word = columns.text(mapping.kind, cells)
        if mapping.kind and word in mapping.payout_kinds:
            one.payout_minor = (one.payout_minor or 0) - net
            return
        row = Row(
            number,
            _kind(word, gross, fee, mapping),
            columns.text(mapping.row_id, cells),
            tuple(filter(None, (columns.text(name, cells) for name in mapping.references))),
            gross,
            fee,
            net,
            _day(columns.text(mapping.on, cells), mapping),
            _exchanged(cells, columns, mapping, one.currency, gross),
        )
        one.found.append(row if gross - fee == net else row_or_unreadable(row, mapping.delimiter.join(cells)))
    except ValueError as error:
        one.found.append(UnreadableRow(number, mapping.delimiter.join(cells)[:TEXT_MAX], str(error), net))
    if mapping.balance:
        one.balances.append((number, net, balance))


def _balances(one: _Collected, mapping: Mapping) -> tuple[int | None, int | None]:
    """The balance before the first row, and that after the last; null: the file has no balances.

    Raises StatementUnreadable if the row at either end cannot be read: its money would be in no sum.
    """
    if not one.balances:
        return None, None
    first, last = one.balances[0], one.balances[-1]
    if mapping.newest_first:
        first, last = last, first
    if first[1] is None or first[2] is None or last[2] is None:
        ends = " and ".join(str(number) for number in sorted({first[0], last[0]}))
        problems = "; ".join(f"row {row.number}: {row.problem}" for row in parted(one.found)[1][:5])
        raise StatementUnreadable(
            f"row {ends} must have an amount and a balance: the balances come from them. {problems}"
        )
    return first[2] - first[1], last[2]


def _sign(word: str, mapping: Mapping) -> int:
    if mapping.direction is None or word in mapping.incoming:
        return 1
    if word in mapping.outgoing:
        return -1
    raise ValueError(f"column {mapping.direction}: {word!r} is neither incoming nor outgoing")


def _kind(word: str, gross_minor: int, fee_minor: int, mapping: Mapping) -> RowKind:
    if mapping.kind:
        return mapping.kinds.get(word, "adjustment")
    if mapping.bank:
        return "transfer"
    return "capture" if gross_minor > 0 else "refund" if gross_minor < 0 else "fee" if fee_minor else "adjustment"


def _day(text: str, mapping: Mapping) -> date:
    try:
        return day_of(text, mapping.day_format)
    except ValueError:
        form = mapping.day_format or "YYYY-MM-DD"
        raise ValueError(f"column {mapping.on}: {text!r} is not a day as {form}") from None


def _exchanged(
    cells: Sequence[str], columns: _Columns, mapping: Mapping, settled: str, gross_minor: int
) -> Exchanged | None:
    """What was moved before the exchange, with the sign of the gross: some reports write what a refund gave back without one."""
    presented = columns.text(mapping.exchanged_currency, cells)
    if not presented:
        return None
    try:
        currency = currency_of(presented)
        amount = minor_of(columns.text(mapping.exchanged_gross, cells), currency, mapping.decimal, mapping.thousands)
    except ValueError as error:
        raise ValueError(f"column {mapping.exchanged_gross}: {error}") from None
    if currency == settled:
        return None  # it was not exchanged: its gross is what was moved
    signed = abs(amount) if gross_minor >= 0 else -abs(amount)
    return Exchanged(currency, signed, columns.text(mapping.exchange_rate, cells))
