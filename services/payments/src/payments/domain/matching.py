"""Matches the rows of a statement with the captures and refunds of our ledgers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, get_args

from payments.domain.pairing import UNMATCHED, Movement, MovementKind, PairState, Sought, pairs
from payments.domain.statements import Row, Statement

RowState = PairState | Literal["booked"]
ROW_STATES: Final[tuple[RowState, ...]] = ("booked", *get_args(PairState))
"""`booked`: a fee, which is about no operation. Only `booked` and `matched` need no person."""


class Matched(NamedTuple):
    row: Row
    state: RowState
    movement: Movement | None


def matched(statement: Statement, movements: Iterable[Movement]) -> list[Matched]:
    """Returns every row of the statement with what it is about, in their order."""
    sought = [(row, _sought(row, statement.currency)) for row in statement.rows]
    found = iter(pairs([one for _, one in sought if one is not None], movements))
    matches = []
    for row, one in sought:
        pair = UNMATCHED if one is None else next(found)
        state: RowState = "booked" if row.kind == "fee" else pair.state
        matches.append(Matched(row, state, pair.movement))
    return matches


def names(statement: Statement) -> Iterator[str]:
    """Yields every reference under which a row seeks a movement."""
    for row in statement.rows:
        if _kind(row) is not None:
            yield from row.references


def _kind(row: Row) -> MovementKind | None:
    """The operation that a row is about. One with the sign of the other is none: a refund that failed, a reversed capture."""
    if row.kind == "capture" and row.gross_minor > 0:
        return "capture"
    if row.kind == "refund" and row.gross_minor < 0:
        return "refund"
    return None


def _sought(row: Row, currency: str) -> Sought | None:
    kind = _kind(row)
    if kind is None:
        return None
    amounts = [(currency, abs(row.gross_minor))]
    if row.exchanged is not None:
        amounts.insert(0, (row.exchanged.currency, abs(row.exchanged.gross_minor)))
    return Sought(kind, row.references, tuple(amounts))
