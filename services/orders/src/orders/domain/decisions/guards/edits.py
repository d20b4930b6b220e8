"""Why an edit cannot be opened, changed, confirmed or discarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.base import Command
from contracts.orders import (
    ChangeEdit,
    ConfirmEdit,
    DiscardEdit,
    OpenEdit,
)
from orders.domain.processes import edited
from orders.domain.state.order import Order
from orders.domain.state.run import Run


def open_edit(order: Order, request: OpenEdit | None) -> str | None:
    if request is not None and edited.exists(order, request.operation_id):
        return "edit_opened"
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if edited.the_open(order) is not None:
        return "edit_open"
    if order.completed_at is not None:
        return "order_completed"
    return None if order.status in ("placed", "approved") and "place" in order.runs else "order_not_placed"


def change_edit(order: Order, request: ChangeEdit | None) -> str | None:
    run = _edit_of(order, request)
    return _no_edit(order, request) if run is None else _unless_draft(order, run)


def confirm_edit(order: Order, request: ConfirmEdit | None) -> str | None:
    run = _edit_of(order, request)
    if run is None:
        return _no_edit(order, request)
    if (why := _unless_draft(order, run)) is not None:
        return why
    shown = edited.preview(order, run)
    if request is not None and request.preview is not None and request.preview != shown.digest:
        return "edit_stale"
    return shown.why_not[0].code if shown.why_not else None


def discard_edit(order: Order, request: DiscardEdit | None) -> str | None:
    run = _edit_of(order, request)
    return _no_edit(order, request) if run is None else _unless_draft(order, run)


_OfEdit = ChangeEdit | ConfirmEdit | DiscardEdit


def _edit_of(order: Order, request: _OfEdit | None) -> Run | None:
    return edited.the_open(order) if request is None else edited.find(order, request.edit_id)


def _no_edit(order: Order, request: _OfEdit | None) -> str:
    """Why an edit that is not in the order's document can be neither changed nor confirmed nor discarded."""
    outcome = edited.outcome_of(order, request.edit_id) if request is not None else None
    return "edit_unknown" if outcome is None else "edit_discarded" if outcome == "discarded" else "edit_confirmed"


def _unless_draft(order: Order, run: Run) -> str | None:
    """Why an edit can be neither changed nor confirmed nor discarded."""
    if edited.data_of(run).outcome == "discarded":
        return "edit_discarded"
    if not edited.is_draft(run):
        return "edit_confirmed"
    return "order_cancelled" if order.undo is not None else None


def open_one(order: Order, request: Command) -> str:
    run = edited.the_open(order)
    return f": {edited.data_of(run).edit_id}" if run is not None else ""


def open_edit_id(order: Order, request: Command) -> Mapping[str, Any]:
    run = edited.the_open(order)
    return {"edit_id": str(edited.data_of(run).edit_id)} if run is not None else {}


def why_not_edit(order: Order, request: ConfirmEdit) -> str:
    run = edited.find(order, request.edit_id)
    if run is None or not edited.is_draft(run):
        return ""
    return "".join(f"; {one.code}: {one.detail}" for one in edited.preview(order, run).why_not)


def lines_of_draft(order: Order, request: ConfirmEdit) -> Mapping[str, Any]:
    """The lines of the first reason, whose code the problem has."""
    run = edited.find(order, request.edit_id)
    reasons = edited.preview(order, run).why_not if run is not None and edited.is_draft(run) else ()
    return {"lines": list(reasons[0].lines)} if reasons else {}
