"""Bank transfers that orders wait for: which transfer pays which, in parts, and what is too much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from payments.domain.matching import words
from payments.domain.statements import Row


class Expected(NamedTuple):
    """An authorization that waits for its money, or a refund that waits to be paid out."""

    operation_id: UUID
    order_id: UUID
    kind: Literal["authorize", "refund"]
    reference: str
    """What the payer was asked to write: the order's name."""
    amount_minor: int
    moved_minor: int
    """What has arrived, or was paid out, by now."""


class Allotted(NamedTuple):
    """What a row of a bank's statement pays."""

    state: Literal["matched", "overpaid", "unmatched", "reference_ambiguous"]
    """`overpaid`: more arrived than the order waits for; the rest waits for a person."""
    order_id: UUID | None = None
    parts: tuple[tuple[UUID, int], ...] = ()
    """(operation, minor units), positive."""

    @property
    def amount_minor(self) -> int:
        return sum(amount for _, amount in self.parts)


UNMATCHED = Allotted("unmatched")


def folded(reference: str) -> str:
    """References are compared without regard to case, and to what is between letters and digits.

    >>> folded("Order A-1/2026"), folded("a 1")
    ('ordera12026', 'a1')
    """
    return "".join(filter(str.isalnum, reference.casefold()))


def allotted(rows: Iterable[Row], expected: Sequence[Expected]) -> list[Allotted]:
    """Returns what each transfer pays. The oldest operation of an order is paid first; `expected` is in that order."""
    waiting: dict[tuple[bool, str], list[Expected]] = defaultdict(list)
    for one in expected:
        waiting[one.kind == "authorize", folded(one.reference)].append(one)
    moved = {one.operation_id: one.moved_minor for one in expected}
    return [_allotted(row, waiting, moved) for row in rows]


def _allotted(row: Row, waiting: dict[tuple[bool, str], list[Expected]], moved: dict[UUID, int]) -> Allotted:
    """Changes `moved` by what the row pays."""
    if row.kind != "transfer" or not row.gross_minor:
        return UNMATCHED
    names = {folded(word) for word in words(row.references)} - {""}
    found = [one for name in sorted(names) for one in waiting.get((row.gross_minor > 0, name), ())]
    if len({one.order_id for one in found}) > 1:
        return Allotted("reference_ambiguous")
    left, parts = abs(row.gross_minor), []
    for one in found:
        part = min(left, one.amount_minor - moved[one.operation_id])
        if part > 0:
            moved[one.operation_id] += part
            left -= part
            parts.append((one.operation_id, part))
    if not parts:
        return UNMATCHED
    return Allotted("overpaid" if left else "matched", found[0].order_id, tuple(parts))
