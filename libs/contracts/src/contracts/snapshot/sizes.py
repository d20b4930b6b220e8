"""Computes how large the messages about an order can become, when its content arrives.

An order is refused before it is paid, not after, if its invoice could not be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydantic_core import PydanticCustomError

from contracts.base import json_bytes
from contracts.limits import JOURNAL_BYTES_MAX
from contracts.snapshot.order import OrderContent

PARTIES_BYTES: Final = 200_000
"""Buyer, addresses, seller, source and market at their largest: a text of 500 control characters has 3,000 bytes in JSON."""
LINE_BYTES: Final = 400
"""Names and numbers of a document's line and of its VAT group, without the line's own texts."""
TAX_BYTES: Final = 200
"""One of several taxes on a document's line, and a VAT group of its own."""
SMALL_BYTES: Final = 150_000
"""A document has at most four times the bytes of its order, and the parties: below this no document can be too large."""

SMALL_BODY_BYTES: Final = (SMALL_BYTES - 1_000) // 10
"""Largest body that is surely small. Written by us, a body has at most ten times its bytes (the shortest `{}` of a tax
becomes 25) and 1,000: texts never grow, and fields with a default are added."""


def fitting(content: OrderContent) -> OrderContent:
    """Returns the content. Raises a validation error of the type `too_large` if one of its later messages would not fit."""
    received = len(json_bytes(content))
    if received < SMALL_BYTES:
        return content
    largest = PARTIES_BYTES + max(received, _document_bytes(content))
    if largest > JOURNAL_BYTES_MAX:
        raise PydanticCustomError(
            "too_large",
            "the messages about this order would have up to {largest} bytes, at most {most} are published;"
            " send fewer lines or shorter texts",
            {"largest": largest, "most": JOURNAL_BYTES_MAX},
        )
    return content


def _document_bytes(content: OrderContent) -> int:
    """The lines of an invoice, the largest of the later messages. A line without title shows its sku or id instead.

    The id counts three times: a private event of the order names it in a process, a capture and a shipment.
    """
    lines = content.lines
    return (
        LINE_BYTES * (len(lines) + 1)
        + TAX_BYTES * (sum(len(line.tax) for line in lines if len(line.tax) > 1) + len(content.totals.shipping_tax))
        + 3 * _bytes(line.external_line_id for line in lines)
        + _bytes(line.sku for line in lines)
        + _bytes(line.title or line.sku or line.external_line_id for line in lines)
    )


def _bytes(texts: Iterable[str | None]) -> int:
    return len(json_bytes(list(texts)))
