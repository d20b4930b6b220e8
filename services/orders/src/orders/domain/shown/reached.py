"""How far an order is: the words that `?wait=` takes, and whether an order got there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Word = Literal[
    "placed", "approved", "cancelled", "completed", "authorized", "paid", "voided", "refunded", "in_progress", "fulfilled",
    "settled",
]  # fmt: skip
"""A word of one of the three statuses, or `settled`."""

_SINCE: Final = {"placed": "placed_at", "completed": "completed_at"}
"""Word -> the time at which an order got there: a later status does not take it back."""
_STATUSES: Final = {
    "placed": ("status", ("placed", "editing", "approved")),
    "approved": ("status", ("approved",)),
    "cancelled": ("status", ("cancelled",)),
    "authorized": (
        "payment_status",
        ("authorized", "partially_paid", "paid", "partially_refunded", "refunded", "free"),
    ),
    "paid": ("payment_status", ("paid", "partially_refunded", "refunded", "free")),
    "voided": ("payment_status", ("voided",)),
    "refunded": ("payment_status", ("refunded",)),
    "in_progress": ("fulfillment_status", ("in_progress", "fulfilled")),
    "fulfilled": ("fulfillment_status", ("fulfilled", "not_required")),
}
"""Word -> status, and its values at or beyond the word: an order can pass a status between two reads of its row."""
_BY_ITSELF: Final = frozenset({"answer", "no_answer", "outcomes", "stock", "warehouse", "payment", "snapshot"})
"""Values of `waiting` that end without a person of the store."""

COLUMNS: Final = (
    "status",
    "payment_status",
    "fulfillment_status",
    "waiting",
    "placed_at",
    "completed_at",
)


def has_reached(order: Mapping[Any, Any], word: Word) -> bool:
    """Whether an order, given by COLUMNS, got to the word. Settled: nothing moves it but a person, if anything does."""
    if word == "settled":
        return order["waiting"] not in _BY_ITSELF
    if word in _SINCE and order[_SINCE[word]] is not None:
        return True
    status, values = _STATUSES.get(word, ("status", ()))
    return bool(order[status] in values)


def has_ended(order: Mapping[Any, Any]) -> bool:
    """Whether nothing is under way: an order that did not get to a word by now does not get there."""
    return bool(order["waiting"] == "")
