"""`marketplace.snapshot`: the message that a connector publishes, and the checks of an order as it arrives."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from contracts.base import Code, Counter, Flag, Frozen, IfStated, Message, Text, Timestamp
from contracts.snapshot.order import OrderContent
from contracts.snapshot.sizes import SMALL_BODY_BYTES, fitting


class Source(Frozen):
    """Where the snapshot comes from and how new it is."""

    channel: Code
    account: Code
    updated_at: Timestamp
    """The marketplace's own time of change: an older snapshot is stale."""
    untimed: Flag = False
    """`updated_at` is not comparable: it was ahead of the database's clock. Then `sequence` decides, then arrival."""
    sequence: Counter = 0
    content_hash: Annotated[Text, Field(min_length=1)]
    """Equal time and equal hash: nothing new. Equal time and another hash: the later one wins."""
    raw_ref: IfStated[Text] = None


def arriving(content: OrderContent, body_bytes: int | None = None) -> OrderContent:
    """Returns the content. Raises a validation error if totals leave cancelled pieces out silently, or if one of the later
    messages would not fit on its topic.

    body_bytes: size of the body that holds the content. A small one saves the time to compute the sizes.
    """
    for line in content.lines:
        price, total = line.unit_price_minor, line.line_total_minor
        if line.cancelled_minor is not None or not line.quantity.cancelled or not price or not line.pieces:
            continue
        if price * line.pieces == total != price * line.quantity.ordered:
            raise ValueError(
                f"line {line.external_line_id}: line_total_minor {total} is the price of the pieces left, {line.pieces} of"
                f" {line.quantity.ordered}; state the price of all pieces ordered, or state cancelled_minor 0 with it"
            )
    return content if body_bytes is not None and body_bytes < SMALL_BODY_BYTES else fitting(content)


def _arriving(content: OrderContent, info: ValidationInfo) -> OrderContent:
    return arriving(content, info.context)


NewContent = Annotated[OrderContent, AfterValidator(_arriving)]
"""An order as it arrives: it adds up, and every message that follows from it fits on its topic. The validation context, if
there is one, is the number of bytes of the body."""


class Snapshot(Message, type="marketplace.snapshot"):
    source: Source
    order: NewContent
