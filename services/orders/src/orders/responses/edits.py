"""Bodies of edits, of their previews, and of the history of lines."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from contracts.base import Timestamp
from contracts.orders import EditCause, EditChanges, RowKind
from orders.responses.listed import Unknown


class LineChange(BaseModel):
    """A line before and after an edit; the shipping charge is the line `shipping`. Amounts are minor units, tax included."""

    line_id: str
    sku: str | None
    title: str
    changes: bool
    quantity_before: int
    quantity_after: int
    amount_before_minor: int
    amount_after_minor: int


class Pieces(BaseModel):
    line_id: str
    sku: str | None
    quantity: int


class StockPreview(BaseModel):
    reserve: list[Pieces]
    release: list[Pieces]


class PaymentsPreview(BaseModel):
    authorize_minor: int
    """What is missing of what the lines cost: a second authorization."""
    void_minor: int
    refund_minor: int
    """Captured money that goes back."""


class DocumentsPreview(BaseModel):
    credit_minor: int
    invoice_minor: int


class EditReason(BaseModel):
    code: str
    detail: str
    lines: list[str]
    """The ids of the lines that it is about."""


class EditPreview(BaseModel):
    """What an edit would do now. Amounts are minor units of `currency`, tax included."""

    preview: str
    """Names what is shown: `confirm` with it is refused if the edit would do something else by then."""
    currency: str
    total_minor: int
    new_total_minor: int
    difference_minor: int
    discount_left_minor: int
    """The discount on the pieces that are left, in the order's price basis."""
    cancels_order: bool
    lines: list[LineChange]
    stock: StockPreview
    payments: PaymentsPreview
    documents: DocumentsPreview
    why_not: list[EditReason]
    """Each reason why it cannot be made; empty: it can be confirmed."""


class EditShown(BaseModel):
    edit_id: UUID
    process: str
    """Its process among those of the order."""
    state: Literal["draft", "confirmed", "edited", "discarded"]
    """`edited`: the order is what the edit made of it; something may still have to be given back, see `waits_for`."""
    waits_for: str
    detail: str
    code: str
    """Why it was discarded."""
    cause: EditCause | Unknown
    actor: str
    reason: str
    opened_at: Timestamp
    expires_at: Timestamp
    changes: EditChanges
    """Empty once the edit has ended."""
    preview: EditPreview | None
    """Null once it has become true or is discarded."""


class EditList(BaseModel):
    items: list[EditShown]


class LineRow(BaseModel):
    """A row of the history of an order's lines. The rows of a line, without `refund`, add up to what it costs now."""

    row: int | None
    """Counts the rows of the order from 1; null: no edit has changed the line."""
    line_id: str
    kind: RowKind | Unknown
    sku: str | None
    title: str
    quantity: int
    amount_minor: int | None
    """Tax included; negative in a reversal. Null: the marketplace has not stated every price."""
    related_to: int | None
    """The row that this one reverses or follows."""
    edit_id: UUID | None
    at: Timestamp | None


class LineHistory(BaseModel):
    currency: str
    total_minor: int | None
    """What the order costs now."""
    items: list[LineRow]
