"""Why a refund cannot be made, retried or given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contracts.deciding import Refusal
from contracts.orders import (
    GiveUpRefund,
    Refund,
    RetryRefund,
)
from orders.domain.processes import refunded
from orders.domain.state.order import Order
from orders.domain.state.run import Run


def refund(order: Order, request: Refund | None) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if request is None:
        return None if refunded.left_minor(order) else "refund_empty"
    if refunded.exists(order, request.operation_id):
        return "refund_open"
    parts = refunded.planned(order, request)
    return parts.code if isinstance(parts, Refusal) else None


def refused_detail(order: Order, request: Refund) -> str:
    refused = refunded.planned(order, request)
    return f": {refused.detail}" if isinstance(refused, Refusal) else ""


def refused_more(order: Order, request: Refund) -> Mapping[str, Any]:
    refused = refunded.planned(order, request)
    return refused.more if isinstance(refused, Refusal) else {}


def retry_refund(order: Order, request: RetryRefund | None) -> str | None:
    return _of_refund(order, request, refunded.is_refused)


def give_up_refund(order: Order, request: GiveUpRefund | None) -> str | None:
    if request is not None and refunded.was_given_up(order, request.refund_id):
        return "refund_given_up"
    return _of_refund(order, request, refunded.can_be_given_up)


def _of_refund(order: Order, request: RetryRefund | GiveUpRefund | None, possible: Callable[[Run], bool]) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if request is None:
        return None if any(possible(run) for run in refunded.of_order(order.runs)) else "refund_not_refused"
    if not refunded.exists(order, request.refund_id):
        return "refund_unknown"
    run = refunded.find(order, request.refund_id)
    return None if run is not None and possible(run) else "refund_not_refused"
