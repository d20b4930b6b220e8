"""What the service desk changes of an order, by rule: one line of goods, by a piece or altogether."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from demo.retail import RetailLine, RetailOrder

Change = Literal["refunded", "line_cancelled", "edited"]
Body = Mapping[str, Any]
"""JSON of a request to the orders API."""


def line_of(change: Change, order: RetailOrder) -> RetailLine | None:
    """The line that is changed; None if the order has none that fits.

    The last line of goods is cancelled if goods that cost something are left. A piece is refunded or added of the first line
    of goods of which a piece costs a penny or more, rounded half up.
    """
    goods = [line for line in order.lines if line.kind == "goods"]
    if change == "line_cancelled":
        return goods[-1] if any(line.line_total_minor for line in goods[:-1]) else None
    return next((line for line in goods if 2 * line.line_total_minor >= line.quantity), None)


def body_of(change: Change, line: RetailLine) -> Body:
    line_id = str(line.place)
    if change == "refunded":
        return {"lines": [{"line_id": line_id, "quantity": 1}], "reason": "customer_request", "restock": True}
    return {"lines": [{"line_id": line_id, "quantity": line.quantity + 1 if change == "edited" else 0}]}
