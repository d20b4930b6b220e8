"""What the order here and the marketplace's statement sell alike, however each states it.

A piece that goes is a cancelled piece here, and may be a smaller `ordered` there; a price may be stated with or without a
discount. What comes to the same pieces, amounts and taxes is no difference.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.base import SHIPPING_LINE
from contracts.snapshot import Line, OrderContent
from orders.domain.content.amounts import Payable, payable

WORDING: Final = ("line_total_minor", "discount_minor", "cancelled_minor", "shipping_minor", "tax")
"""Fields of a line that state its price."""


def alike(ours: OrderContent, told: OrderContent) -> frozenset[str]:
    """The ids of the lines of either that both sell alike, or that neither has a piece of."""
    if not (ours.priced and told.priced) or (ours.currency, ours.price_basis) != (told.currency, told.price_basis):
        return frozenset()
    here, there = _sold(ours), _sold(told)
    ids = [SHIPPING_LINE, *(line.external_line_id for content in (ours, told) for line in content.lines)]
    return frozenset(line_id for line_id in ids if here.get(line_id) == there.get(line_id))


def _sold(content: OrderContent) -> dict[str, Payable]:
    return {line.line_id: line._replace(title="") for line in payable(content)}


def reworded(ours: OrderContent, told: OrderContent) -> OrderContent:
    """Our content as `told` states its lines and totals, if it sells all of them alike; else as it is."""
    same, ours_by_id = alike(ours, told), {line.external_line_id: line for line in ours.lines}
    if SHIPPING_LINE not in same or not {*ours_by_id, *(line.external_line_id for line in told.lines)} <= same:
        return ours
    lines = tuple(
        reworded_line(line, stated) if (line := ours_by_id.get(stated.external_line_id)) is not None else stated
        for stated in told.lines
    )
    return ours.model_copy(update={"lines": lines, "totals": told.totals})


def reworded_line(ours: Line, told: Line) -> Line:
    """Our line with the pieces and the price as `told` states them. What it states beside them stays a difference."""
    pieces = {name: getattr(told.quantity, name) for name in ("ordered", "cancelled")}
    change: dict[str, Any] = {name: getattr(told, name) for name in WORDING}
    change["quantity"] = ours.quantity.model_copy(update=pieces)
    if not ours.pieces:
        executed = {"executed": told.cancellation.executed}
        change["cancellation"] = ours.cancellation.model_copy(update=executed)
    return ours.model_copy(update=change)
