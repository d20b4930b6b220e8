"""SQL that a service adds to the statement of a batch: common table expressions and the arrays that they unnest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Piece(NamedTuple):
    """Common table expressions, which are joined into one statement: a round trip costs more than most of them."""

    text: str
    """Its parameters are {0}, {1} and so on."""
    parameters: int


class Rows(NamedTuple):
    """Rows that a batch writes into a table of the service's own, in the statement that writes everything else."""

    piece: Piece
    """One expression that writes; its parameters are `arguments`."""
    arguments: Sequence[Any]
    """Mostly arrays of one length, one per column. Empty arrays write nothing."""
    written: str = ""
    """The name of the expression whose rows must be as many as the first array has; empty: not checked."""
    otherwise: Callable[[], Exception] = Exception
    """Makes the error to raise if they are fewer."""


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Turns rows of `width` values into the arrays that `unnest` takes, one per column."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
