"""What the service desk changes of an order, by rule: one line of goods, by a piece or altogether."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final, Literal, TypeGuard, get_args

from contracts.money import round_half_up
from demo.retail import CURRENCY, RetailLine, RetailOrder

Change = Literal["refunded", "line_cancelled", "edited", "replaced_cheaper", "replaced_equal", "replaced_dearer"]
CHANGES: Final = get_args(Change)
DEARER_MINOR: Final = 100
Body = Mapping[str, Any]
"""JSON of a request to the orders API; of a piece that is replaced, to the payments API."""


def is_change(trouble: str) -> TypeGuard[Change]:
    return trouble in CHANGES


def is_reversal(change: Change) -> bool:
    """Whether it is made in payments, by reversing what was captured of the line."""
    return change.startswith("replaced_")


def line_of(change: Change, order: RetailOrder) -> RetailLine | None:
    """The line that is changed; None if the order has none that fits.

    The last line of goods is cancelled if goods that cost something are left. A piece is refunded, added or replaced of the first
    line of goods of which a piece costs a penny or more, rounded half up.
    """
    goods = [line for line in order.lines if line.kind == "goods"]
    if change == "line_cancelled":
        return goods[-1] if any(line.line_total_minor for line in goods[:-1]) else None
    return next((line for line in goods if 2 * line.line_total_minor >= line.quantity), None)


def body_of(change: Change, line: RetailLine, order: RetailOrder) -> Body:
    line_id = str(line.place)
    if is_reversal(change):
        return _reversal(change, line, order)
    if change == "refunded":
        return {"lines": [{"line_id": line_id, "quantity": 1}], "reason": "customer_request", "restock": True}
    return {"lines": [{"line_id": line_id, "quantity": line.quantity + 1 if change == "edited" else 0}]}


def _reversal(change: Change, line: RetailLine, order: RetailOrder) -> Body:
    """A piece is reversed. What replaces it costs half of it, rounded up, the same, or a pound more."""
    piece = round_half_up(Fraction(line.line_total_minor, line.quantity))
    cost = {"replaced_cheaper": (piece + 1) // 2, "replaced_dearer": piece + DEARER_MINOR}.get(change, piece)
    return {
        "currency": CURRENCY,
        "reversals": [
            {"line_id": f"{line.place}-reversed", "reverses": str(line.place), "quantity": 1, "amount_minor": piece}
        ],
        "lines": [{"line_id": f"{line.place}-replaced", "quantity": 1, "amount_minor": cost}],
        "refund_line_id": f"{line.place}-refunded",
        "reference": order.external_order_id,
    }
