"""Response models of orders' HTTP."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from chassis.http.paging import Page
from contracts.base import Timestamp
from contracts.orders import (
    Audience,
    CancelCause,
    Change,
    EditCause,
    EditChanges,
    FulfillmentStatus,
    MarketTerms,
    PaymentStatus,
    RefundCause,
    Resolution,
    RowKind,
    Status,
)
from contracts.payments import MoneyTotals
from contracts.snapshot import OrderContent
from orders.domain.content.facts import ShipmentFact
from orders.domain.processes.refund import State
from orders.domain.state.run import End

Unknown = Literal["unknown"]
"""Shown for a word of a newer release that this one does not have."""


class OrderSummary(BaseModel):
    """An order in a list; amounts are minor units of `currency`."""

    order_id: UUID
    version: int
    """Number of its published events; `ETag` of the order."""
    number: str
    external_order_id: str
    channel: str
    account: str
    status: Status | Unknown
    payment_status: PaymentStatus | Unknown
    fulfillment_status: FulfillmentStatus | Unknown
    waiting: str
    """The thing that the order waits for, in one word; empty if it does not wait."""
    currency: str
    grand_minor: int | None
    cancel_cause: CancelCause | Unknown | None
    ordered_at: Timestamp
    placed_at: Timestamp | None
    completed_at: Timestamp | None
    archived_at: Timestamp | None
    reference: str | None
    tags: list[str]


class OpenHold(BaseModel):
    hold_id: UUID
    since: Timestamp


class OpenException(BaseModel):
    code: str
    since: Timestamp


class OpenShown(BaseModel):
    """What of an order is open, as its events have stated it."""

    holds: list[OpenHold]
    exceptions: list[OpenException]
    refused: list[str]
    """`<id of the process>.<step>` of those that were refused and wait for a person."""
    stuck: dict[str, Literal["stock", "no_answer"]]
    """`<id of the process>.<step>` of those that wait for stock, or for an answer that was asked for in vain for long."""
    refunds: list[UUID]
    edit: Literal["", "draft", "confirmed"]


class OrderListed(OrderSummary):
    test: bool
    step: str
    """`<process>.<step>` that waits; empty if no process does."""
    since: Timestamp | None
    """Since when it waits for this."""
    updated_at: Timestamp
    """The time of its last change here."""
    order: OrderContent | None = None
    """What was sold; only with `content=true`, like `market`."""
    market: MarketTerms | None = None
    open: OpenShown | None = None


class CountShown(BaseModel):
    value: int
    capped: bool
    """Whether there may be more: 1,000 were counted, or as many as a request may read."""


class OrderPage(Page[OrderListed]):
    searched_back_to: Timestamp | None
    """Not null: few of the store's orders fit. The page has those of the orders that were read, up to this time of the sort's;
    `next_cursor` goes on from there."""
    searched_to_minor: int | None
    """The same of a list that is sorted by amount."""
    count: CountShown | None
    """Null unless it was asked for."""


class OrderStats(BaseModel):
    """How many orders have each word."""

    status: dict[str, CountShown]
    payment_status: dict[str, CountShown]
    fulfillment_status: dict[str, CountShown]
    waiting: dict[str, CountShown]


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


class MarketShown(BaseModel):
    code: str
    version: int
    """Counts the changes of the market."""
    channel: str | None
    account: str | None
    terms: MarketTerms


class MarketWritten(BaseModel):
    store: str
    version: int
    channel: str | None
    account: str | None
    terms: MarketTerms


class PaymentOffer(BaseModel):
    """A payment method for an order of a given total."""

    code: str
    title: str
    gateway: str
    fits: bool
    why_not: str | None
    """Why the order cannot be paid by it; null: it can."""
    surcharge_minor: int
    """The line that it adds to the order, tax included."""
    total_minor: int


class PaymentOffers(BaseModel):
    items: list[PaymentOffer]
    """In the order of the market: an order that names no method has the first that fits."""


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
