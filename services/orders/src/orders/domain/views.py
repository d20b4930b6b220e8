"""What an order shows: what may be done with it, and what it waits for. One answer for API, messages and console."""

from __future__ import annotations

from orders.domain.order import Order, Run, has_shipped, resumable
from orders.domain.story import NO_ANSWER_AFTER_ASKS


def legal_actions(order: Order) -> list[str]:
    """The requests that would not be refused now."""
    if not order.known:
        return []
    actions = []
    place = order.runs.get("place")
    if place is not None and place.waits == "approval" and order.undo is None:
        actions.append("approve")
    if order.status != "cancelled" and order.undo is None and not has_shipped(order):
        actions.append("cancel")
    if resumable(order):
        actions.append("resume")
    return actions


def waits_for(run: Run) -> str:
    """One word: what a process waits for; `no_answer` when it has asked in vain for long."""
    if run.end:
        return ""
    if run.waits == "answer" and run.asks >= NO_ANSWER_AFTER_ASKS:
        return "no_answer"
    return run.waits


def waiting(order: Order) -> str:
    """What the order as a whole waits for: exception, person, approval, stock, warehouse, no_answer, answer; '' at rest."""
    if order.exceptions:
        return "exception"
    cancelling = order.undo is not None  # then only the undo counts, and the answers that it waits for
    words = {waits_for(run) for run in order.open_runs if run.kind == "undo" or run.waits == "answer" or not cancelling}
    for word in ("person", "approval", "stock", "no_answer", "answer", "outcomes", "warehouse"):
        if word in words:
            return "exception" if word == "person" else word
    return "snapshot" if order.status == "pending" else ""


def in_flight(order: Order) -> bool:
    """Whether another service owes an answer: such orders count against the intake."""
    return any(run.waits == "answer" and not run.end for run in order.runs.values())
