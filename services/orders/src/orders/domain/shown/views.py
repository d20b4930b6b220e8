"""What an order waits for. One answer for API, lists and metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from orders.domain.content.snapshots import is_paid
from orders.domain.engine.story import NO_ANSWER_AFTER_ASKS, waits_for
from orders.domain.processes import settled
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order, capture_option
from orders.domain.state.run import Run

_FIRST_OF: Final = (
    "hold", "person", "confirm", "approval", "stock", "no_answer", "answer", "outcomes", "invoice", "warehouse",
)  # fmt: skip
"""An order shows one of the words of its processes: what only a person ends comes first."""


_last: tuple[Order | None, tuple[str, Run] | None] = (None, None)
"""The order of the last call: three columns of a row are computed from the same state."""


def waits_on(order: Order) -> tuple[str, Run] | None:
    """The word that an order's processes wait for, and the process that it is; None when none of them waits."""
    global _last
    if _last[0] is not order:
        _last = (order, _waits_on(order))
    return _last[1]


def _waits_on(order: Order) -> tuple[str, Run] | None:
    words = {  # of a process that is paused or suspended only the answer counts that it waits for
        waits_for(run): run
        for run in reversed(order.open_runs)
        if run.waits == "answer" or not PROCESSES.paused(run, order.runs)
    }
    return next(((word, words[word]) for word in _FIRST_OF if word in words), None)


def waiting(order: Order) -> str:
    """What the order as a whole waits for: hold, exception, approval, stock, capture (by hand), warehouse, no_answer, answer; before it
    is placed: payment, or another snapshot. '' if it is settled, which a test order always is."""
    if order.held:
        return "hold"
    if order.exceptions:
        return "exception"
    found = waits_on(order)
    if (found is None or found[0] == "warehouse") and awaits_capture(order):
        return "capture"
    if found is not None:
        return "exception" if found[0] == "person" else found[0]
    content = order.content
    if order.status != "pending" or content is None or content.test:
        return ""
    return "payment" if content.lifecycle == "awaiting_payment" or not is_paid(content) else "snapshot"


def awaits_capture(order: Order) -> bool:
    """Whether a person has to capture something of it, now or later."""
    if order.status != "approved" or order.undo is not None or "place" not in order.runs:
        return False
    return capture_option(order) == "manual" and any(rest.amount_minor for rest in settled.left(order).values())


def waiting_step(order: Order) -> str:
    """The process and step that it waits in, like `place.authorize`; '' when it is not a process that waits."""
    found = waits_on(order)
    return f"{found[1].kind}.{found[1].step}" if found is not None else ""


def waiting_since(order: Order) -> datetime | None:
    """Since when, UTC."""
    if (found := waits_on(order)) is not None:
        return found[1].since
    return order.approved_at if awaits_capture(order) else None


def waits_since(order: Order) -> datetime | None:
    """Since when it waits for more than an answer of our own services, UTC; None if it does not."""
    if in_flight(order) or not waiting(order):
        return None
    raised = min((one.since for one in order.exceptions.values()), default=None)
    return waiting_since(order) or raised or (order.content.placed_at if order.content is not None else None)


def in_flight(order: Order) -> bool:
    """Whether a command has no answer yet that one of our services owes soon. Such orders count against the intake.

    Not counted: an operation that is pending at a gateway, and one that was asked in vain for long (`no_answer`).
    """
    for run in order.runs.values():  # several times for each change of an order: a generator costs twice as much
        if run.waits == "answer" and not run.end and not run.interim and run.asks < NO_ANSWER_AFTER_ASKS:
            return True
    return False
