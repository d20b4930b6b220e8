"""Bodies of refunds and of their previews."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from contracts.base import Timestamp
from contracts.orders import RefundCause
from orders.domain.processes.refunded import State
from orders.responses.listed import Unknown


class RefundedLine(BaseModel):
    line_id: str
    """`shipping`: the shipping charge."""
    quantity: int
    """Pieces; 0 for an amount without pieces."""
    amount_minor: int


class RefundPartShown(BaseModel):
    """What goes back of one capture."""

    capture_id: UUID
    amount_minor: int
    lines: list[RefundedLine]
    operation_id: UUID | None
    """The refund in payments; null until the money has gone back."""
    credit_note_id: UUID | None
    """Null until it is credited, and where there is no invoice."""


class RefundShown(BaseModel):
    """Amounts are minor units of `currency`, tax included."""

    refund_id: UUID
    number: int
    process: str
    state: State
    waits_for: str
    detail: str
    """The code with which it was refused."""
    since: Timestamp
    """When the present step began."""
    reason: RefundCause | Unknown
    note: str
    actor: str
    requested_at: Timestamp
    currency: str
    amount_minor: int
    refunded_minor: int
    """What has gone back."""
    restock: bool
    reference: str | None
    """The marketplace's id of the refund."""
    parts: list[RefundPartShown]


class RefundList(BaseModel):
    items: list[RefundShown]


class CreditedLinePreview(BaseModel):
    line_id: str
    quantity: int
    rate: str | None
    """Null: several taxes."""
    net_minor: int
    vat_minor: int
    gross_minor: int


class CreditPreview(BaseModel):
    """The credit note of one invoice."""

    invoice_id: UUID
    invoice_number: str
    net_minor: int
    vat_minor: int
    total_minor: int
    lines: list[CreditedLinePreview]


class RefundPartPreview(BaseModel):
    capture_id: UUID
    amount_minor: int
    lines: list[RefundedLine]
    credited: Literal["now", "when_invoiced", "never"]
    """`never`: the marketplace issues the invoice."""
    credit: CreditPreview | None
    """Null where there is no invoice yet, or none at all."""


class RefundPreview(BaseModel):
    """The answer to `dry_run`: nothing has gone back."""

    currency: str
    amount_minor: int
    cancels_order: bool
    """With it all that was captured has come back: the order is cancelled then."""
    parts: list[RefundPartPreview]


RefundOrPreview = RefundShown | RefundPreview
