"""Lines that are reversed, and the lines that replace them: what a draft adds to an order that is paid.

The capture that has taken the money pays the new lines instead, so payments books all of it when the draft is completed. What a
client then states of these lines is booked already, but for what they cost more than was reversed.

Source: docs.dintero.com/docs/order-management/order-update-refund.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from dintero_compat.domain.shapes import Item

Amounts = Mapping[int, int]
"""`line_id` -> minor units; negative for a line that is reversed."""


class Unbalanced(ValueError):
    """The lines cost less than is reversed, and none is for the rest."""

    def __init__(self, rest_minor: int) -> None:
        super().__init__(
            f"{rest_minor} minor units of what is reversed are on no line: add one for them, and refund it"
        )


class Exceeded(ValueError):
    """More of a line is stated than was reversed."""

    def __init__(self, line_id: int, allowed_minor: int) -> None:
        super().__init__(f"{allowed_minor} minor units of line {line_id} are reversed and not stated yet")
        self.line_id, self.allowed_minor = line_id, allowed_minor


def paid(items: Sequence[Item]) -> dict[int, int]:
    """Returns what the capture pays of each line: the reversed ones whole, of the others as much as they together take off, in their
    sequence. Raises Unbalanced."""
    reversed_lines = {_number(item): item.gross_amount for item in items if item.related_item is not None}
    pool = -sum(reversed_lines.values())
    found: dict[int, int] = dict(reversed_lines)
    for item in items:
        if item.related_item is None:
            found[_number(item)] = min(item.gross_amount, pool)
            pool -= found[_number(item)]
    if pool:
        raise Unbalanced(pool)
    return found


def body(
    items: Sequence[Item], ids: Mapping[int, str], currency: str, capture_id: str | None, *, in_pieces: bool
) -> dict[str, Any]:
    """Returns the request of a reversal to payments. Raises Unbalanced.

    ids: `line_id` -> our id, of the order's lines. in_pieces: whether the reversed lines were captured by the piece.
    """
    amounts = paid(items)
    return {
        "currency": currency,
        "capture_id": capture_id,
        "reversals": [
            {"line_id": ours(_number(item)), "reverses": ids[item.related_item.line_id],
             "quantity": item.quantity if in_pieces else 0, "amount_minor": -item.gross_amount}
            for item in items if item.related_item is not None
        ],
        "lines": [
            {"line_id": ours(_number(item)), "quantity": item.quantity, "amount_minor": amounts[_number(item)], **_article(item)}
            for item in items if item.related_item is None and (amounts[_number(item)] or not item.gross_amount)
        ],
    }  # fmt: skip


def _article(item: Item) -> dict[str, Any]:
    """Returns what documents need of a new line. Several taxes on one line have no rate of their own there."""
    rates = [f"{Decimal(str(tax.percentage)):f}" for tax in item.tax_lines]
    stated = {"sku": item.id, "title": item.description, "rate": rates[0] if len(rates) == 1 else None}
    return {name: value for name, value in stated.items() if value}


def covered(stated: Amounts, booked: Amounts, before: Amounts) -> dict[int, int]:
    """Returns what of a statement the reversals have booked already; the rest is news for payments. Raises Exceeded.

    stated: of one authorization or capture. booked: of all reversals, as `paid` returns it. before: covered by earlier statements of
    the same kind.
    """
    found: dict[int, int] = {}
    for number, amount in stated.items():
        left = booked.get(number, 0) - before.get(number, 0)
        if amount < min(left, 0):
            raise Exceeded(number, -min(left, 0))
        found[number] = amount if amount < 0 else min(amount, max(left, 0))
    return found


def summed(parts: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Returns `line_id` -> the sum of its amounts."""
    found: dict[int, int] = {}
    for number, amount in parts:
        found[number] = found.get(number, 0) + amount
    return found


def ours(number: int) -> str:
    """Returns the id at payments of a line that a draft has added."""
    return str(number)


def _number(item: Item) -> int:
    assert item.line_id is not None, "a draft that is stored has numbered its items"
    return item.line_id
