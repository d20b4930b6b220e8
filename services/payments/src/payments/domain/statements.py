"""What a settlement report or a bank's statement states, in any format: its sum, and the rows that make it.

Amounts are minor units of the statement's currency, signed: positive is money towards us. A row's net is its gross less its fee.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, NamedTuple

from contracts.limits import MINOR_MAX

RowKind = Literal["capture", "capture_reversal", "refund", "dispute", "fee", "transfer", "adjustment"]
"""`capture_reversal`: the part of an authorization that a report shows as collected and given back (`with_reversals`). `transfer`: money that a bank
moved, in or out. `adjustment`: everything else that changes a balance, a reserve for example."""


class Exchanged(NamedTuple):
    """What was moved before it was exchanged into the statement's currency."""

    currency: str
    gross_minor: int
    rate: str
    """As stated: units of the statement's currency for one of `currency`. Empty if the report states none."""


class Row(NamedTuple):
    number: int
    """Counts the rows of the report from 1."""
    kind: RowKind
    row_id: str
    """The sender's name of this row. Empty if it has none."""
    references: tuple[str, ...]
    """The names under which an operation may be found, the surest first."""
    gross_minor: int
    fee_minor: int
    """Positive is a cost."""
    net_minor: int
    on: date
    exchanged: Exchanged | None = None
    problem: str = ""
    """Why it is less than the report may have meant: a batch that is one row."""


class UnreadableRow(NamedTuple):
    """A row that cannot be interpreted. It counts in the sum if its amount can be read."""

    number: int
    text: str
    """The row as it was received, at most `TEXT_MAX` characters."""
    problem: str
    net_minor: int | None = None


TEXT_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Statement:
    statement_id: str
    """The sender's id of the payout or statement: imported once per account."""
    account: str
    currency: str
    rows: Sequence[Row]
    unreadable: Sequence[UnreadableRow] = ()
    begins_on: date | None = None
    ends_on: date | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None
    payout_minor: int | None = None
    """What was paid out to us. Null for a bank's statement, which has balances."""

    @property
    def stated_minor(self) -> int | None:
        """What the rows must sum to: the payout, or the change of the balance. Null if the report states neither."""
        if self.payout_minor is not None:
            return self.payout_minor
        if self.opening_minor is None or self.closing_minor is None:
            return None
        return self.closing_minor - self.opening_minor

    @property
    def summed_minor(self) -> int:
        return sum(row.net_minor for row in self.rows) + sum(row.net_minor or 0 for row in self.unreadable)


class StatementUnreadable(ValueError):
    """The report as a whole cannot be read: not the format, or without an id or a currency."""


class StatementUnbalanced(Exception):
    """The rows do not sum to what the report states."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        super().__init__(f"the report states {statement.stated_minor}, its rows sum to {statement.summed_minor}")


def balanced(statement: Statement) -> Statement:
    """Returns the statement. Raises StatementUnbalanced unless its rows sum to what it states.

    Raises StatementUnreadable if the amounts, regardless of their signs, sum to more than the books hold.
    """
    if sum(abs(row.gross_minor) + abs(row.fee_minor) for row in statement.rows) > MINOR_MAX:
        raise StatementUnreadable(f"the amounts of statement {statement.statement_id} sum to more than {MINOR_MAX}")
    if statement.stated_minor != statement.summed_minor:
        raise StatementUnbalanced(statement)
    return statement


def row_or_unreadable(row: Row, text: str) -> Row | UnreadableRow:
    """A row whose net is not its gross less its fee cannot be booked."""
    if row.gross_minor - row.fee_minor == row.net_minor:
        return row
    problem = f"gross {row.gross_minor} less fee {row.fee_minor} is not net {row.net_minor}"
    return UnreadableRow(row.number, text[:TEXT_MAX], problem, row.net_minor)


def with_reversals(rows: Sequence[Row]) -> list[Row]:
    """Adds each `capture_reversal` to the capture that it shares a reference with, so that a capture is one row of what it collected.

    A reversal whose capture is not in the statement stays a row.
    """
    captures = {name: place for place, row in enumerate(rows) if row.kind == "capture" for name in row.references}
    whole, added = list(rows), set()
    for place, row in enumerate(rows):
        if row.kind != "capture_reversal":
            continue
        of = next((captures[name] for name in row.references if name in captures), None)
        if of is not None:
            whole[of] = _sum(whole[of], row)
            added.add(place)
    return [row for place, row in enumerate(whole) if place not in added]


def _sum(capture: Row, reversal: Row) -> Row:
    before, given = capture.exchanged, reversal.exchanged
    exchanged = before._replace(gross_minor=before.gross_minor + given.gross_minor) if before and given else None
    return capture._replace(
        gross_minor=capture.gross_minor + reversal.gross_minor,
        fee_minor=capture.fee_minor + reversal.fee_minor,
        net_minor=capture.net_minor + reversal.net_minor,
        exchanged=exchanged,
    )


def parted(found: Iterable[Row | UnreadableRow]) -> tuple[list[Row], list[UnreadableRow]]:
    rows: list[Row] = []
    unreadable: list[UnreadableRow] = []
    for one in found:
        if isinstance(one, Row):
            rows.append(one)
        else:
            unreadable.append(one)
    return rows, unreadable
