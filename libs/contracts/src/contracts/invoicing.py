"""Commands and events of the invoicing service. An issued document never changes; a credit note mirrors its invoice."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

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
    Open,
    OrderKeyed,
    Personal,
    Quantity,
    Rate,
    Text,
    Timestamp,
)
from contracts.limits import CHARGED_LINES_MAX, TAXES_MAX, VAT_GROUPS_MAX
from contracts.money import Currency
from contracts.snapshot import Address, Buyer


class TaxPart(Frozen):
    """One of several taxes on a line."""

    rate: Rate | None
    """Per cent. Null: no rate was stated, and none below 100 gives the amount."""
    vat_minor: MinorUnsigned


class InvoiceLineWanted(Frozen):
    line_id: LineId
    sku: Id | None = None
    title: LongText
    quantity: Quantity
    amount_minor: MinorUnsigned
    """What was captured for the line: tax included, discount and cancelled pieces taken off."""
    rate: Rate | None
    """As stated, or what follows from a stated amount. Null: several taxes, or no rate below 100 gives `vat_minor`."""
    vat_minor: MinorUnsigned | None = None
    """The tax in `amount_minor`, where it is stated. Null: computed from the rate, once per document and rate."""
    taxes: Annotated[tuple[TaxPart, ...], Field(max_length=TAXES_MAX)] = ()
    """The parts of `vat_minor` where several taxes apply to the line; else empty."""

    @model_validator(mode="after")
    def _tax_is_determined(self) -> Self:
        if self.vat_minor is None and (self.rate is None or self.taxes):
            raise ValueError(f"line {self.line_id}: vat_minor is required where the line has no rate or several taxes")
        if self.vat_minor is not None and self.vat_minor > self.amount_minor:
            raise ValueError(
                f"line {self.line_id}: vat_minor {self.vat_minor} exceeds amount_minor {self.amount_minor}"
            )
        if self.taxes and sum(tax.vat_minor for tax in self.taxes) != self.vat_minor:
            raise ValueError(f"line {self.line_id}: taxes do not add up to vat_minor {self.vat_minor}")
        return self


class Issue(OrderKeyed, Command, type="invoicing.issue"):
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


class CreditLine(Frozen):
    """A part of an invoice's line that is credited."""

    line_id: LineId
    quantity: Quantity
    """Pieces that are credited; 0 for a lower price of the pieces that stay."""
    amount_minor: MinorUnsigned
    """Tax included. The tax of the credit note follows from the invoice's line."""


class Credit(OrderKeyed, Command, type="invoicing.credit"):
    """Credit an invoice, in full or in part. Answered by credited or rejected.

    The credit notes of an invoice never exceed any of its lines in quantity, net or VAT; the last one closes it to zero.
    """

    invoice_id: UUID
    lines: Annotated[tuple[CreditLine, ...], Field(max_length=CHARGED_LINES_MAX)] = ()
    """Empty: everything that is not credited yet. If that is nothing, the last credit note is the answer again."""
    reason: Text = ""


class VatGroup(Frozen):
    """What a document owes at one rate; net + vat = gross. VAT that no line states is computed once per document and rate.

    The groups' VAT adds up to the document's. So do their nets, unless several taxes apply to one net: then it is the
    taxable net of each.
    """

    rate: Rate | None
    net_minor: MinorUnsigned
    vat_minor: MinorUnsigned
    gross_minor: MinorUnsigned


class LineTax(TaxPart):
    net_minor: MinorUnsigned
    """The part of the line's net that this tax applies to."""


class InvoiceLine(Frozen):
    line_id: LineId
    sku: Id | None = None
    title: LongText
    quantity: Quantity
    rate: Rate | None
    """Null: see `taxes`; or no rate was stated, and none below 100 gives the VAT."""
    net_minor: MinorUnsigned
    vat_minor: MinorUnsigned
    gross_minor: MinorUnsigned
    taxes: Annotated[tuple[LineTax, ...], Field(max_length=TAXES_MAX)] = ()
    """The parts of `vat_minor` where several taxes apply to the line; else empty."""


class Seller(Frozen):
    """The seller as it was when the document was issued."""

    code: Code
    name: Text
    address: Address
    vat_number: Text
    time_zone: Text


class DocumentEvent(OrderKeyed, Event):
    """Amounts are positive on invoices and on credit notes alike."""

    series: Text
    """The text before the sequence in the number: the prefix, and the year if the seller's format has one."""
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
    vat: Annotated[tuple[VatGroup, ...], Field(max_length=VAT_GROUPS_MAX)]
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


FailureCode = Literal[
    "seller_unknown",
    "seller_incomplete",
    "invoice_unknown",
    "invoice_empty",
    "line_unknown",
    "invoice_exceeded",
    "credit_empty",
]


class Failed(OrderKeyed, Event, type="invoicing.failed"):
    command: Text
    code: Annotated[FailureCode, Open()]
    reason: Text = ""
