"""What an edit changes of an order that was placed. Amounts are minor units in the order's currency and price basis."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from contracts.base import Flag, Frozen, Id, LineId, LongText, MinorUnsigned, Personal, Quantity, QuantityPositive
from contracts.limits import ORDER_LINES_MAX
from contracts.snapshot import Address
from contracts.snapshot.taxes import Taxes

EDIT_CODES: Final = (
    "edit_empty", "line_unknown", "line_cancelled", "line_exists", "price_missing", "sku_missing", "tax_missing",
    "discount_exceeds", "total_exceeds", "currency_differs", "sku_differs", "order_shipped", "order_fulfilled",
)  # fmt: skip
"""Why an edit cannot be made."""


class NewLine(Frozen):
    """A line that an edit adds."""

    line_id: LineId | None = None
    """Null: the order gives it the next free number."""
    sku: Id | None = None
    """Required if it ships."""
    title: LongText | None = None
    quantity: QuantityPositive
    unit_price_minor: MinorUnsigned | None = None
    """The price of a piece; required."""
    discount_minor: MinorUnsigned = 0
    """On all its pieces together."""
    tax: Taxes = ()
    kind: Literal["goods", "gift_card", "service", "fee", "tip"] = "goods"
    requires_shipping: Flag = True


class LineEdit(Frozen):
    """A change of a line that the order has. Null: unchanged."""

    line_id: LineId
    quantity: Quantity | None = None
    """Its pieces afterwards; 0 removes the line. The line's price and discount follow the pieces."""
    unit_price_minor: MinorUnsigned | None = None
    """The price of each of its pieces."""
    discount_minor: MinorUnsigned | None = None
    """The discount on all its pieces together, the line's share of the order's discount included."""
    replace_by: NewLine | None = None
    """Removes the line and adds this one."""

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        stated = [
            name for name in ("quantity", "unit_price_minor", "discount_minor") if getattr(self, name) is not None
        ]
        if self.replace_by is not None and stated:
            raise ValueError(f"line {self.line_id}: replace_by removes the line, so it has no {stated[0]}")
        if self.quantity == 0 and len(stated) > 1:
            raise ValueError(f"line {self.line_id}: quantity 0 removes the line, so it has no {stated[1]}")
        return self


class EditChanges(Frozen):
    """The changes of an edit, all of them: a newer list replaces it."""

    lines: Annotated[tuple[LineEdit, ...], Field(max_length=ORDER_LINES_MAX)] = ()
    add: Annotated[tuple[NewLine, ...], Field(max_length=ORDER_LINES_MAX)] = ()
    shipping_minor: MinorUnsigned | None = None
    """The shipping charge afterwards."""
    ship_to: Annotated[Address, Personal()] | None = None
    """The delivery address afterwards, whole."""
    bill_to: Annotated[Address, Personal()] | None = None
    """The billing address of the invoices that are still to come, whole."""

    @model_validator(mode="after")
    def _names_each_line_once(self) -> Self:
        ids = [line.line_id for line in self.lines]
        if len(set(ids)) != len(ids):
            raise ValueError("lines: each line_id may be listed once")
        return self
