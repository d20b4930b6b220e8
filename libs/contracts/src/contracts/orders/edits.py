"""What an edit changes of an order that was placed, who requests it, and what becomes of it.

Amounts of `EditChanges` are minor units in the order's currency and price basis.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from contracts.base import (
    UNLESS_EMPTY,
    Code,
    Command,
    Counter,
    Flag,
    Frozen,
    Id,
    IfStated,
    LineId,
    LongText,
    Minor,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Personal,
    Quantity,
    QuantityPositive,
    Text,
    Timestamp,
)
from contracts.limits import EDITED_LINES_MAX, ORDER_LINES_MAX, QUANTITY_MAX
from contracts.orders.event import OrderEvent
from contracts.snapshot import Address, OrderContent
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


EditCause = Literal["request", "marketplace"]
"""A person's request; a snapshot of the marketplace."""


class OpenEdit(OrderKeyed, Command, type="orders.open_edit"):
    """Opens an edit of a placed order. Answered by edit_opened. The id of the edit is the operation's."""

    changes: EditChanges = EditChanges()
    reason: Annotated[Text, Personal()] = ""


class ChangeEdit(OrderKeyed, Command, type="orders.change_edit"):
    """Replaces the changes of an edit that is not confirmed. Answered by edit_changed."""

    edit_id: UUID
    changes: EditChanges


class ConfirmEdit(OrderKeyed, Command, type="orders.confirm_edit"):
    """Carries an edit out. Answered by edit_confirmed. Confirming twice changes nothing."""

    edit_id: UUID
    preview: Code | None = None
    """The preview that was confirmed; null: what it would show now."""


class DiscardEdit(OrderKeyed, Command, type="orders.discard_edit"):
    """Ends an edit that is not confirmed. Answered by edit_discarded."""

    edit_id: UUID
    reason: Annotated[Text, Personal()] = ""


class EditOpened(OrderEvent, type="orders.edit_opened"):
    """While the edit is open, its order is asked nothing further."""

    edit_id: UUID
    number: Counter
    """Counts the edits of the order from 1; its process is `edit:<number>`."""
    cause: Annotated[EditCause, Open()]
    changes: EditChanges
    reason: Annotated[Text, Personal()] = ""
    actor: Text
    expires_at: Timestamp


class EditChanged(OrderEvent, type="orders.edit_changed"):
    edit_id: UUID
    changes: EditChanges


class EditConfirmed(OrderEvent, type="orders.edit_confirmed"):
    """It is being carried out. Until `edited` it can still be discarded, by a refusal of stock or payment."""

    edit_id: UUID
    order: OrderContent
    """What is to be sold."""
    actor: Text


class EditDiscarded(OrderEvent, type="orders.edit_discarded"):
    """The order is as it was; what the edit had reserved and authorized goes back."""

    edit_id: UUID
    code: Text
    """Why: `discarded` by a person, `edit_expired`, `out_of_stock`, `payment_declined`, `order_cancelled`, or a code of
    `EDIT_CODES`."""
    detail: Annotated[Text, Personal()] = ""
    actor: Text = ""


RowKind = Literal["original", "reversal", "replacement", "added", "refund"]


class EditedLine(Frozen):
    """A row of the history of an order's lines, which only grows. The rows of a line, without `refund`, add up to its amount."""

    row: Counter
    """Counts the rows of the order from 1."""
    line_id: LineId
    kind: Annotated[RowKind, Open()]
    """`original`: the line as it was sold, written when it is first changed. `refund`: captured money that goes back."""
    quantity: Annotated[int, Field(strict=True, ge=-QUANTITY_MAX, le=QUANTITY_MAX)]
    """Pieces; negative in a reversal."""
    amount_minor: Minor
    """Tax included; negative in a reversal."""
    related_to: IfStated[Counter] = None
    """The row that a reversal reverses, a replacement or a refund follows."""


EditedLines = Annotated[tuple[EditedLine, ...], Field(max_length=EDITED_LINES_MAX), UNLESS_EMPTY]
