"""Matches the rows of a statement with the captures and refunds of our ledgers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple
from uuid import UUID

from payments.domain.pairing import UNMATCHED, Movement, PairState, SettledKind, Sought, pairs
from payments.domain.statements import Row, Statement

RowState = PairState | Literal["booked", "payout", "overpaid"]
"""`booked`: a fee, which is about no operation. `payout`: a bank received what an imported settlement states as paid out.
`overpaid`: a transfer has more than the order waits for."""
EXPLAINED: Final[tuple[RowState, ...]] = ("matched", "booked", "payout")
"""States of rows that need no person."""


class Matched(NamedTuple):
    row: Row
    state: RowState
    movement: Movement | None
    payout: str | None = None
    """The settlement that a transfer has paid."""
    order_id: UUID | None = None
    """The order that a transfer pays."""
    allotted_minor: int = 0
    """What a transfer pays of what the order waits for, with the sign of the row."""


def matched(
    statement: Statement, movements: Iterable[Movement], payouts: Mapping[str, int] = MappingProxyType({})
) -> list[Matched]:
    """Returns every row of the statement with what it is about, in their order.

    payouts: what imported settlements of the statement's currency have paid out, by their ids.
    """
    left = dict(payouts)
    sought = [(row, _sought(row, statement.currency)) for row in statement.rows]
    found = iter(pairs([one for _, one in sought if one is not None], movements))
    matches = []
    for row, one in sought:
        pair = UNMATCHED if one is None else next(found)
        state: RowState = "booked" if row.kind == "fee" else pair.state
        payout = _payout(row, left) if row.kind == "transfer" else None
        if payout is not None:
            del left[payout]
            state = "payout"
        matches.append(Matched(row, state, pair.movement, payout))
    return matches


def _payout(row: Row, payouts: Mapping[str, int]) -> str | None:
    """The settlement that a transfer names and whose amount it has."""
    return next((word for word in words(row.references) if payouts.get(word) == row.gross_minor), None)


def words(references: Iterable[str]) -> Iterator[str]:
    """Yields each reference, and each word of it: what a payer wrote has the order's name somewhere."""
    for reference in references:
        yield reference
        yield from _WORD.findall(reference)
        yield from _WORD.findall(_TAG.sub(" ", reference))


_TAG: Final = re.compile(r"\b[A-Z]{4}\+|/[A-Z]{4}/+")
"""What a bank writes before a part of the text: `SVWZ+` in Germany, `/REMI/` of SWIFT."""
_WORD: Final = re.compile(r"[^\s,;:()]{3,}")


def names(statement: Statement) -> Iterator[str]:
    """Yields every reference under which a row seeks a movement."""
    for row in statement.rows:
        if _kind(row) is not None:
            yield from row.references


def _kind(row: Row) -> SettledKind | None:
    """What a row is about. One with the sign of the other is none: a refund that failed, a reversed capture."""
    if row.kind == "capture" and row.gross_minor > 0:
        return "capture"
    if row.kind == "refund" and row.gross_minor < 0:
        return "refund"
    if row.kind == "dispute" and row.gross_minor:
        return "dispute" if row.gross_minor < 0 else "release"
    return None


def _sought(row: Row, currency: str) -> Sought | None:
    kind = _kind(row)
    if kind is None:
        return None
    amounts = [(currency, abs(row.gross_minor))]
    if row.exchanged is not None:
        amounts.insert(0, (row.exchanged.currency, abs(row.exchanged.gross_minor)))
    return Sought(kind, row.references, tuple(amounts))
