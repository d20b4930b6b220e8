"""Amounts of lines, and the sums of an order, in minor units of its currency."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.base import UNLESS_EMPTY, Frozen, LineId, MinorUnsigned, Quantity
from contracts.limits import CHARGED_LINES_MAX, GIFT_CARDS_MAX


class MoneyLine(Frozen):
    line_id: LineId
    quantity: Quantity
    """Pieces that the amount is for; 0 for an amount without pieces (a shipping charge)."""
    amount_minor: MinorUnsigned


MoneyLines = Annotated[tuple[MoneyLine, ...], Field(max_length=CHARGED_LINES_MAX)]


class GiftCardPart(Frozen):
    """What one gift card pays of the lines of an operation, or gets back of them."""

    gift_card_id: UUID
    lines: MoneyLines
    """Without pieces: those are counted in the lines of the operation."""

    @property
    def amount_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


GiftCardParts = Annotated[tuple[GiftCardPart, ...], Field(max_length=GIFT_CARDS_MAX), UNLESS_EMPTY]
"""The gateway moves what is in `lines` and not in these."""


class MoneyTotals(Frozen):
    """Totals of the whole order after the event. A reader uses those of the highest version."""

    authorized_minor: MinorUnsigned = 0
    captured_minor: MinorUnsigned = 0
    voided_minor: MinorUnsigned = 0
    refunded_minor: MinorUnsigned = 0
