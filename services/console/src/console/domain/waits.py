"""What an order waits for: the word that orders answers, made of its events, and of the orders of which it has a parked message."""

from __future__ import annotations

from typing import Final

from console.domain.row import OrderRow

PERSON: Final = frozenset({"approval", "capture", "confirm", "exception", "hold", "no_answer", "parked", "stock"})
"""What only a person ends."""
WORDS: Final = (
    "", "answer", "approval", "capture", "confirm", "exception", "hold", "no_answer", "parked", "payment", "snapshot", "stock",
    "warehouse",
)  # fmt: skip
"""Every word that a row has."""
_MONEY_IS_BACK: Final = frozenset({"unpaid", "voided", "refunded", "free"})
_CAPTURED: Final = frozenset({"paid", "partially_refunded", "refunded", "free"})


def waits(row: OrderRow) -> tuple[str, str]:
    """Returns what a row waits for, and the process and step that waits; two empty texts if it is settled."""
    memory = row.memory
    if memory.parked and row.ordered_at is not None:
        return "parked", ""
    if row.test or row.ordered_at is None:
        return "", ""
    if memory.holds:
        return "hold", "hold"
    if memory.exceptions:
        return "exception", ""
    if memory.failed:
        return "exception", _without_number(memory.failed[0])
    if memory.edit == "draft":
        return "confirm", "edit.draft"
    found = ("answer", "edit") if memory.edit else _by_status(row)
    return found if found[0] == "approval" else _stuck(row) or found


def _stuck(row: OrderRow) -> tuple[str, str] | None:
    """The first of its steps that wait for stock; else the first of those that were asked in vain."""
    steps = {word: step for step, word in reversed([*row.memory.stuck.items()])}
    return next(((word, _without_number(steps[word])) for word in ("stock", "no_answer") if word in steps), None)


def _without_number(step: str) -> str:
    process, _, name = step.rpartition(".")
    return f"{process.partition(':')[0]}.{name}"


def _by_status(row: OrderRow) -> tuple[str, str]:
    if row.status == "pending":
        return ("snapshot" if row.memory.paid else "payment"), ""
    if row.status == "placing":
        return "answer", "place"
    if row.status == "placed":
        return "approval", "place.approve"
    if row.status == "cancelled":
        return ("", "") if undone(row) else ("answer", "undo")
    if row.completed_at is not None or not row.memory.started:
        return ("answer", "refund") if row.memory.refunds else ("", "")
    if _captured_by_hand(row) and row.payment_status not in _CAPTURED:
        return "capture", ""
    if row.fulfillment_status in ("unfulfilled", "in_progress"):
        return "warehouse", "place.fulfill"
    return "answer", "settle"


def undone(row: OrderRow) -> bool:
    """Whether nothing of a cancelled order is left to undo."""
    return row.payment_status in _MONEY_IS_BACK and row.fulfillment_status != "in_progress"


def _captured_by_hand(row: OrderRow) -> bool:
    limit = row.memory.capture_up_to_minor
    return row.memory.capture == "manual" or (limit is not None and (row.grand_minor or 0) > limit)
