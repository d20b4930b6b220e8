"""The kinds of processes that an order runs, and what each does to the others. `return` and `renew` will join them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from orders.domain.engine.process import Processes
from orders.domain.processes import undo
from orders.domain.processes.edit import EDIT
from orders.domain.processes.holds import HOLD
from orders.domain.processes.place import GIVE_BACK, PLACE
from orders.domain.processes.rebill import REBILL
from orders.domain.processes.refund import REFUND
from orders.domain.processes.repay import REPAY
from orders.domain.processes.settle import SETTLE
from orders.domain.state.order import Order

UNDO: Final = undo.derived(PLACE, SETTLE, REFUND, last=GIVE_BACK)

# fmt: off
PROCESSES: Final = Processes((PLACE, SETTLE, REFUND, REBILL, REPAY, HOLD, EDIT, UNDO), {
    # running, beginning
    ("place",  "place"):  "excludes",  # a cancelled order that is placed anew has no process of its first attempt
    ("place",  "settle"): "beside",
    ("place",  "refund"): "beside",
    ("place",  "rebill"): "beside",
    ("place",  "repay"):  "beside",
    ("place",  "hold"):   "suspends",
    ("place",  "edit"):   "suspends",
    ("place",  "undo"):   "pauses",
    ("settle", "place"):  "excludes",
    ("settle", "settle"): "beside",    # one for each parcel
    ("settle", "refund"): "beside",
    ("settle", "rebill"): "beside",
    ("settle", "repay"):  "beside",
    ("settle", "hold"):   "suspends",
    ("settle", "edit"):   "suspends",  # what is captured is compared with what the order costs then
    ("settle", "undo"):   "pauses",
    ("refund", "place"):  "excludes",
    ("refund", "settle"): "beside",
    ("refund", "refund"): "beside",    # what an open one is going to take is not left for the next
    ("refund", "rebill"): "beside",
    ("refund", "repay"):  "beside",
    ("refund", "hold"):   "beside",    # money goes back to the buyer of a held order, too
    ("refund", "edit"):   "beside",
    ("refund", "undo"):   "suspends",  # which refunds all that is left; one that begins meanwhile waits: the undo may be refused
    ("rebill", "place"):  "excludes",
    ("rebill", "settle"): "beside",
    ("rebill", "refund"): "beside",
    ("rebill", "rebill"): "beside",
    ("rebill", "repay"):  "beside",
    ("rebill", "hold"):   "suspends",  # nothing of a held order is invoiced
    ("rebill", "edit"):   "beside",
    ("rebill", "undo"):   "suspends",  # which credits all that is invoiced; one that begins meanwhile waits, too
    ("repay",  "place"):   "beside",
    ("repay",  "settle"):  "beside",
    ("repay",  "refund"):  "beside",
    ("repay",  "rebill"):  "beside",
    ("repay",  "repay"):   "beside",
    ("repay",  "hold"):    "beside",    # money goes back to the buyer of a held order, too
    ("repay",  "edit"):    "beside",
    ("repay",  "undo"):    "suspends",  # which gives back all that is left
    ("hold",   "place"):  "excludes",  # an order that is held before its placement does not start
    ("hold",   "settle"): "beside",    # a parcel that left before the warehouse received the hold is charged afterwards
    ("hold",   "refund"): "beside",
    ("hold",   "rebill"): "beside",
    ("hold",   "repay"):  "beside",
    ("hold",   "hold"):   "excludes",  # one for all holds of an order
    ("hold",   "edit"):   "beside",    # the edit of a held order is a draft until the release
    ("hold",   "undo"):   "pauses",    # a held order may be cancelled
    ("edit",   "place"):  "excludes",
    ("edit",   "settle"): "beside",    # a parcel that left before the warehouse was suspended is charged afterwards
    ("edit",   "refund"): "beside",
    ("edit",   "rebill"): "beside",
    ("edit",   "repay"):  "beside",
    ("edit",   "hold"):   "suspends",  # a confirmed edit asks for stock and money
    ("edit",   "edit"):   "excludes",
    ("edit",   "undo"):   "pauses",    # which gives back what the edit has reserved and authorized, too
    ("undo",   "place"):  "excludes",
    ("undo",   "settle"): "beside",    # a parcel that left before the warehouse received the cancel is charged
    ("undo",   "refund"): "beside",    # money went back elsewhere: it is credited if the undo is refused
    ("undo",   "rebill"): "beside",
    ("undo",   "repay"):  "beside",
    ("undo",   "hold"):   "excludes",
    ("undo",   "edit"):   "excludes",
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
