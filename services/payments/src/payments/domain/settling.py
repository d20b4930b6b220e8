"""What a statement books: what left the clearing account, what was retained, what has arrived, and what is not explained yet.

A row that matches an operation takes its gross from the clearing account of the gateway. Fees and the arrived net are booked once
per statement. What needs a person lies in `suspense` until the row is resolved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from payments.domain.books import Account
from payments.domain.matching import Matched
from payments.domain.statements import UnreadableRow

Arrival = Literal["in_transit", "bank"]
"""Where a statement's money has arrived: paid out and on its way, or seen on the account of a bank."""
TOTALS: Final = 0
"""The place of the entries that are sums over the statement; rows have places from 1."""


class StatementEntry(NamedTuple):
    place: int
    """The place of the row among those of the statement."""
    number: int
    """Counts the entries of the place from 0."""
    account: Account
    currency: str
    direction: int
    """1: debit, -1: credit."""
    amount_minor: int
    """Positive."""


Resolution = Literal["match", "fee", "dismiss"]
"""`match`: it is the operation that a person names. `fee`: a cost. `dismiss`: the money stays in suspense, for the reason given."""


def entries(
    matches: Sequence[Matched], unreadable: Sequence[UnreadableRow], currency: str, clearing: Account, arrival: Arrival
) -> Iterator[StatementEntry]:
    """Yields the entries of a statement. They balance in each currency."""
    sums: dict[tuple[Account, str], int] = defaultdict(int)
    for place, one in enumerate(matches, 1):
        sums["fees", currency] += one.row.fee_minor
        sums[arrival, currency] += one.row.net_minor
        for number, (account, in_currency, gross) in enumerate(_counterparts(one, currency, clearing)):
            if account == "fees":
                sums["fees", currency] -= gross
                continue
            if in_currency != currency:
                sums["exchange", in_currency] += gross
                sums["exchange", currency] -= one.row.gross_minor
            yield from _entry(place, number, account, in_currency, -gross)
    for place, lost in enumerate(unreadable, len(matches) + 1):
        sums[arrival, currency] += lost.net_minor or 0
        yield from _entry(place, 0, "suspense", currency, -(lost.net_minor or 0))
    for number, ((account, in_currency), amount) in enumerate(sums.items()):
        yield from _entry(TOTALS, number, account, in_currency, amount)


def _counterparts(one: Matched, currency: str, clearing: Account) -> Iterator[tuple[Account, str, int]]:
    """Yields the accounts that a row's gross comes from, in which currency, and how much."""
    row = one.row
    if one.allotted_minor:
        yield clearing, currency, one.allotted_minor
        yield "suspense", currency, row.gross_minor - one.allotted_minor
    elif one.state == "booked":
        yield "fees", currency, row.gross_minor
    elif one.state == "payout":
        yield "in_transit", currency, row.gross_minor
    elif one.state != "matched" or one.movement is None:
        yield "suspense", currency, row.gross_minor
    elif row.exchanged is not None and row.exchanged.currency == one.movement.currency:
        yield clearing, row.exchanged.currency, row.exchanged.gross_minor
    else:
        yield clearing, currency, row.gross_minor


RESOLVED: Final = 100
"""The number of the first entry of a resolution: beyond those of an import."""


def resolving(
    place: int,
    resolution: Resolution,
    currency: str,
    gross_minor: int,
    clearing: Account,
    difference_minor: int = 0,
    number: int = RESOLVED,
) -> Iterator[StatementEntry]:
    """Yields the entries that a resolution books: the row's amount leaves `suspense`, unless it is dismissed.

    difference_minor: what the row has more than the operation it is matched with; a fee. number: of the first entry.
    """
    if resolution == "dismiss":
        return
    matched_minor = gross_minor - difference_minor if resolution == "match" else 0
    yield from _entry(place, number, "suspense", currency, gross_minor)
    yield from _entry(place, number + 1, clearing, currency, -matched_minor)
    yield from _entry(place, number + 2, "fees", currency, matched_minor - gross_minor)


def _entry(place: int, number: int, account: Account, currency: str, amount_minor: int) -> Iterator[StatementEntry]:
    """amount_minor: positive is a debit. Nothing is booked for zero."""
    if amount_minor:
        yield StatementEntry(place, number, account, currency, 1 if amount_minor > 0 else -1, abs(amount_minor))
