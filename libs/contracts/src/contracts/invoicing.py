"""What the invoicing service obeys and states. An issued document never changes; a credit note mirrors its invoice."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import (
    Code,
    Command,
    Counter,
    Day,
    Event,
    Frozen,
    Id,
    LineId,
    LongText,
    MinorUnsigned,
    Personal,
    Quantity,
    Rate,
    Text,
    Timestamp,
)
from contracts.limits import CHARGED_LINES_MAX
from contracts.money import Currency
from contracts.snapshot import Address, Buyer


class InvoiceLineWanted(Frozen):
    line_id: LineId
    sku: Id | None = None
    title: LongText
    quantity: Quantity
    amount_minor: MinorUnsigned
    """What was captured for the line: tax included, discount taken off."""
    net_minor: MinorUnsigned | None = None
    """With price_basis net: the same without tax."""
    rate: Rate


class Issue(Command, type="invoicing.issue"):
    """Invoice one capture, exactly what it captured. Answered by issued or rejected."""

    capture_id: UUID
    seller: Code
    order_number: Id
    order_placed_at: Timestamp
    currency: Currency
    price_basis: Literal["gross", "net"]
    buyer: Annotated[Buyer, Personal()]
    bill_to: Annotated[Address, Personal()] | None = None
    ship_to: Annotated[Address, Personal()] | None = None
    lines: Annotated[tuple[InvoiceLineWanted, ...], Field(max_length=CHARGED_LINES_MAX)]


class Credit(Command, type="invoicing.credit"):
    """Credit an invoice in full; answered by credited (the same one when it is credited already) or rejected."""

    invoice_id: UUID
    reason: Text = ""


class VatGroup(Frozen):
    """VAT is computed once per document and rate; net + vat = gross."""

    rate: Rate
    net_minor: MinorUnsigned
    vat_minor: MinorUnsigned
    gross_minor: MinorUnsigned


class InvoiceLine(Frozen):
    line_id: LineId
    sku: Id | None = None
    title: LongText
    quantity: Quantity
    rate: Rate
    net_minor: MinorUnsigned
    vat_minor: MinorUnsigned
    gross_minor: MinorUnsigned


class Seller(Frozen):
    """As it stood when the document was issued."""

    code: Code
    name: Text
    address: Address
    vat_number: Text
    time_zone: Text


class DocumentEvent(Event):
    """Amounts are positive on invoices and on credit notes alike."""

    series: Text
    """What stands before the sequence in the number: the prefix, and the year where the seller's format holds it."""
    number: Text
    sequence: Counter
    """1..n in `series` without a gap."""
    issued_at: Timestamp
    issued_on: Day
    """The day in the seller's time zone."""
    currency: Currency
    net_minor: MinorUnsigned
    vat_minor: MinorUnsigned
    total_minor: MinorUnsigned
    vat: Annotated[tuple[VatGroup, ...], Field(max_length=CHARGED_LINES_MAX)]
    lines: Annotated[tuple[InvoiceLine, ...], Field(max_length=CHARGED_LINES_MAX)]
    seller: Seller


class Issued(DocumentEvent, type="invoicing.issued"):
    invoice_id: UUID
    capture_id: UUID
    order_number: Id
    order_placed_at: Timestamp
    price_basis: Literal["gross", "net"]
    buyer: Annotated[Buyer, Personal()]
    bill_to: Annotated[Address, Personal()] | None = None
    ship_to: Annotated[Address, Personal()] | None = None


class Credited(DocumentEvent, type="invoicing.credited"):
    credit_note_id: UUID
    invoice_id: UUID
    invoice_number: Text
    invoice_issued_on: Day
    reason: Text = ""


RejectionCode = Literal["seller_unknown", "seller_incomplete", "invoice_unknown", "nothing_to_invoice"]


class Rejected(Event, type="invoicing.rejected"):
    command: Text
    code: RejectionCode
    reason: Text = ""
