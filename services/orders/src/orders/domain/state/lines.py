"""The history of an order's lines: rows that are only ever added. A change reverses a row and adds another.

The rows of a line, without `refund`, add up to what the line costs now; a refund row is captured money that goes back.
"""

from __future__ import annotations

from collections.abc import Iterable

from contracts.orders import EditedLine, RowKind
from contracts.payments import MoneyLine
from orders.domain.content.previews import Difference, LineDifference
from orders.domain.state.order import Order


def history(order: Order, change: Difference, refund: Iterable[MoneyLine]) -> tuple[EditedLine, ...]:
    """The rows that an edit adds. A line is recorded as it was sold when it is first changed."""
    rows: list[EditedLine] = []
    last, count = dict(order.line_rows), order.rows_count
    back = {line.line_id: line for line in refund}

    def add(line_id: str, kind: RowKind, quantity: int, amount_minor: int, related_to: int | None = None) -> int:
        row = count + len(rows) + 1
        rows.append(
            EditedLine(
                row=row, line_id=line_id, kind=kind, quantity=quantity, amount_minor=amount_minor, related_to=related_to
            )
        )
        return row

    for line in change.lines:
        if not line.changes:
            continue
        row = last.get(line.line_id)
        if row is None and _sold_before(line):
            row = add(line.line_id, "original", line.pieces_before, line.amount_before)
        if row is not None and _sold_before(line):
            add(line.line_id, "reversal", -line.pieces_before, -line.amount_before, row)
        if line.pieces_after or line.amount_after:
            add(line.line_id, "added" if row is None else "replacement", line.pieces_after, line.amount_after, row)
        if (gone := back.get(line.line_id)) is not None:
            add(line.line_id, "refund", gone.quantity, gone.amount_minor, row)
    return tuple(rows)


def _sold_before(line: LineDifference) -> bool:
    return bool(line.pieces_before or line.amount_before)
