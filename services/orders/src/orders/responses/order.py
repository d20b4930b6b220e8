"""Bodies of one order: its processes, exceptions, holds, notes, and its timeline."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel

from contracts.base import Timestamp
from contracts.orders import (
    Audience,
    Change,
    FulfillmentStatus,
    MarketTerms,
    PaymentStatus,
    Resolution,
    Status,
)
from contracts.payments import MoneyTotals
from contracts.snapshot import OrderContent
from orders.domain.content.facts import ShipmentFact
from orders.domain.state.run import End
from orders.responses.listed import OrderSummary, Unknown


class ProcessShown(BaseModel):
    id: str
    kind: str
    step: str
    waits_for: str
    since: Timestamp
    """When the present step began."""
    end: End
    """Empty while the process runs."""
    asks: int
    """How often the present step was asked without an answer; it counts no request of a person to ask again."""
    operation_id: UUID | None
    """What it has asked for and has no answer to; null if there is no such operation."""
    detail: str
    """The code with which the present step was refused; empty: it was not."""
    forcible_operation_id: UUID | None
    """The operation whose outcome a person may state now (`force`); null: none."""


class InvoiceShown(BaseModel):
    invoice_id: UUID
    number: str
    capture_id: UUID
    credited: bool
    """Whether it is credited in full."""
    credited_minor: int


class HoldShown(BaseModel):
    hold_id: UUID
    reason: str
    note: str
    placed_by: str
    since: Timestamp
    until: Timestamp | None
    """When it is released by itself."""


class ExceptionShown(BaseModel):
    """A difference or an obstacle that a person resolves."""

    exception_id: UUID
    code: str
    since: Timestamp
    detail: str
    why_not: str | None
    """Why the difference was not taken over, a code; null: it was not tried."""
    difference: list[Change]
    changes_more: int
    """Number of differences that are not listed."""
    resolutions: list[Resolution]


class RemarkShown(BaseModel):
    code: str
    detail: str


class NoteShown(BaseModel):
    note_id: UUID
    number: int
    """Counts the notes of the order from 1."""
    at: Timestamp
    actor: str
    author: str
    audience: Audience | Unknown
    text: str


class AttachmentShown(BaseModel):
    attachment_id: UUID
    number: int
    """Counts the attachments of the order from 1."""
    at: Timestamp
    actor: str
    name: str
    description: str
    url: str


class ActionShown(BaseModel):
    action: str
    allowed: bool
    why_not: str | None
    """The code with which it would be refused; null if it is allowed."""
    detail: str | None
    """The words of the code, as in the `detail` of the refusal."""


class OrderWaits(BaseModel):
    """What an order waits for."""

    order_id: UUID
    version: int
    waiting: str
    processes: list[ProcessShown]
    """Those that are open."""
    legal_actions: list[ActionShown]


class OrderWaitsList(BaseModel):
    items: list[OrderWaits]


class OrderShown(OrderSummary):
    store_id: str
    legal_actions: list[ActionShown]
    money: MoneyTotals
    approved_at: Timestamp | None
    cancelled_at: Timestamp | None
    processes: list[ProcessShown]
    invoices: list[InvoiceShown]
    shipments: list[ShipmentFact]
    holds: list[HoldShown]
    """Those that are open."""
    exceptions: list[ExceptionShown]
    remarks: list[RemarkShown]
    note_count: int
    attachment_count: int
    metadata: dict[str, Any]
    market: MarketTerms
    order: OrderContent


class ShipmentStatus(BaseModel):
    order_id: UUID
    fulfillment_status: FulfillmentStatus | Unknown
    shipments: list[ShipmentFact]


class CancelAccepted(OrderShown):
    operation_id: UUID
    """The operation of the cancel that runs: that of the first request."""


class HoldPlaced(OrderShown):
    hold_id: UUID | None
    """The hold of this request; null if it has been released since."""


class Cause(BaseModel):
    """The message that caused a step of the timeline."""

    type: str | None
    id: str
    actor: str | None


class Step(BaseModel):
    """An event of the order or a command that it sent."""

    at: Timestamp
    type: str
    version: int | None
    operation_id: UUID | None
    message_id: UUID
    caused_by: Cause
    status: Status | None
    payment_status: PaymentStatus | None
    fulfillment_status: FulfillmentStatus | None
    code: str | None = None
    detail: str | None = None
    resolution: str | None = None
    reason: str | None = None


class NoteAccepted(OrderShown):
    note_id: UUID


class AttachmentAccepted(OrderShown):
    attachment_id: UUID


class OrderRead(OrderShown):
    notes: list[NoteShown]
    """The latest 20, newest first; `GET /v1/orders/{order_id}/notes` has all."""
    attachments: list[AttachmentShown]
    """The latest 20, newest first."""
    timeline: list[Step]
    """The latest steps, newest last."""
    timeline_next_cursor: str | None
    """The cursor of the steps before, for `/timeline`; null if these are all."""
