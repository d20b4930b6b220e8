"""The kinds of processes that an order runs, and what each does to the others. `edit`, `refund`, `return` and `renew` will join them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from orders.domain import undo
from orders.domain.holds import HOLD
from orders.domain.order import Order
from orders.domain.place import PLACE
from orders.domain.process import Processes
from orders.domain.settle import SETTLE

UNDO: Final = undo.derived(PLACE, SETTLE)

# fmt: off
PROCESSES: Final = Processes((PLACE, SETTLE, HOLD, UNDO), {
    # running, beginning
    ("place",  "place"):  "excludes",  # a cancelled order that is placed anew has no process of its first attempt
    ("place",  "settle"): "beside",
    ("place",  "hold"):   "suspends",
    ("place",  "undo"):   "pauses",
    ("settle", "place"):  "excludes",
    ("settle", "settle"): "beside",    # one for each parcel
    ("settle", "hold"):   "suspends",
    ("settle", "undo"):   "pauses",
    ("hold",   "place"):  "excludes",  # an order that is held before its placement does not start
    ("hold",   "settle"): "beside",    # a parcel that left before the warehouse received the hold is charged afterwards
    ("hold",   "hold"):   "excludes",  # one for all holds of an order
    ("hold",   "undo"):   "pauses",    # a held order may be cancelled
    ("undo",   "place"):  "excludes",
    ("undo",   "settle"): "beside",    # a parcel that left before the warehouse received the cancel is charged
    ("undo",   "hold"):   "excludes",
    ("undo",   "undo"):   "excludes",
})
# fmt: on


def wake_at(order: Order) -> datetime | None:
    """When the earliest timer of its processes fires. One that is paused or suspended has only that of its open operation."""
    due = [
        run.due_at
        for run in order.runs.values()
        if run.due_at is not None and not run.end
        if run.waits == "answer" or not PROCESSES.paused(run, order.runs)
    ]
    return min(due, default=None)
