"""Why nothing of an order can be captured by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.orders import (
    ApproveAndCapture,
    CaptureLine,
    CaptureOrder,
)
from contracts.payments import MoneyLine
from orders.domain.content.amounts import payable
from orders.domain.decisions.guards import orders
from orders.domain.processes import edited, settled
from orders.domain.state.order import Order, capture_option


def capture(order: Order, request: CaptureOrder | None) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if not orders.is_approved(order) or "place" not in order.runs:
        return "order_not_approved"
    if capture_option(order) != "manual":
        return "capture_automatic"
    if order.held:
        return "order_held"
    if edited.the_open(order) is not None:
        return "edit_open"
    left, lines = settled.left(order), request.lines if request is not None else ()
    if not any(rest.amount_minor for rest in left.values()) and not lines:
        return "order_captured" if order.grand_minor else "nothing_to_capture"
    return _capture_lines(order, lines, left) if lines else None


def _capture_lines(order: Order, lines: Sequence[CaptureLine], left: Mapping[str, MoneyLine]) -> str | None:
    assert order.content is not None
    if not {one.line_id for one in lines} <= {line.line_id for line in payable(order.content)}:
        return "line_unknown"
    named = [one for one in lines if one.line_id in left]
    if not any(left[one.line_id].amount_minor for one in named):
        return "nothing_to_capture"
    exceeding = any(one.quantity > left[one.line_id].quantity for one in named if one.quantity is not None)
    return "capture_exceeds" if exceeding else None


def exceeding(order: Order, request: CaptureOrder) -> str:
    left = settled.left(order)
    asked = [one for one in request.lines if one.quantity is not None and one.line_id in left]
    return ": " + ", ".join(
        f"line {one.line_id}: {one.quantity} asked, {left[one.line_id].quantity} left"
        for one in asked
        if (one.quantity or 0) > left[one.line_id].quantity
    )


def approve_and_capture(order: Order, request: ApproveAndCapture | None) -> str | None:
    """On an approved order it is a capture of all that is left, if its market captures by hand."""
    if order.approved_at is not None and orders.is_approved(order):
        why = capture(order, None)
        return "order_approved" if why in ("capture_automatic", "nothing_to_capture", "order_not_approved") else why
    if (why := orders.approve(order, None)) is not None:
        return why
    return "capture_automatic" if capture_option(order) == "per_shipment" else None
