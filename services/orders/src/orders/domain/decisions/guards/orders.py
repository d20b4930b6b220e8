"""Why an order as a whole cannot be approved, cancelled, held or released, and why an exception cannot be resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.base import Command
from contracts.limits import HOLDS_MAX
from contracts.orders import (
    HOLD_REASONS,
    Approve,
    Cancel,
    Hold,
    Release,
    Resolve,
)
from orders.domain.decisions import exceptions
from orders.domain.processes import changes, edited
from orders.domain.state.order import Order, has_shipped


def approve(order: Order, request: Approve | None) -> str | None:
    if order.approved_at is not None and order.status != "cancelled":
        return "order_approved"
    if order.held:
        return "order_held"
    if edited.the_open(order) is not None:
        return "edit_open"
    place = order.runs.get("place")
    waits = place is not None and place.waits == "approval" and order.undo is None
    return None if waits else "order_not_awaiting_approval"


def is_approved(order: Order) -> bool:
    """Whether it is approved, also while it is edited."""
    return order.status == "approved" or (order.status == "editing" and order.approved_at is not None)


def cancel(order: Order, request: Cancel | None) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    return "order_shipped" if has_shipped(order) else None


def why_not_taken(order: Order, request: Resolve) -> str:
    code = exceptions.open_code(order, request.exception_id)
    reason = changes.why_not(order, code) if code is not None else None
    return f": {reason.detail}" if reason is not None else ""


def shipped_lines(order: Order, request: Command) -> Mapping[str, Any]:
    """The lines of which pieces have shipped; none if the marketplace shipped them."""
    shipments = order.facts.shipments.values()
    return {
        "lines": sorted({line for one in shipments if one.status in ("shipped", "delivered") for line in one.lines})
    }


def hold(order: Order, request: Hold | None) -> str | None:
    assert order.market is not None
    if request is not None and request.reason not in (*HOLD_REASONS, *order.market.hold_reasons):
        return "hold_reason_unknown"
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if order.completed_at is not None or (order.status == "approved" and "place" not in order.runs):
        return "order_finished"
    return "hold_limit_reached" if len(order.holds) >= HOLDS_MAX else None


def release(order: Order, request: Release | None) -> str | None:
    if request is None:
        return None if order.holds else "hold_unknown"
    if str(request.hold_id) in order.holds:
        return None
    return "hold_released" if request.hold_id in order.released else "hold_unknown"


def resolve(order: Order, request: Resolve | None) -> str | None:
    if request is not None:
        code = exceptions.open_code(order, request.exception_id)
        return "exception_unknown" if code is None else exceptions.why_not(order, code, request.resolution)
    if not order.exceptions:
        return "exception_unknown"
    whys = [exceptions.why_not(order, code, way) for code in order.exceptions for way in exceptions.resolutions(code)]
    return None if None in whys else next(iter(whys), "resolution_unsupported")


def ends_by(order: Order, request: Resolve) -> str:
    code = exceptions.open_code(order, request.exception_id)
    return f": {code} ends by {exceptions.ends_by(code)}" if code is not None else ""
