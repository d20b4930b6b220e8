"""What invoicing answers over HTTP, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from contracts.base import Day, Timestamp
from contracts.invoicing import Credited, Issued
from invoicing.domain.sellers import SellerDetails


class DocumentSummary(BaseModel):
    """An invoice or a credit note in a list; amounts are minor units of `currency`."""

    document_id: UUID
    order_id: UUID
    kind: Literal["invoice", "credit"]
    seller: str
    series: str
    sequence: int
    number: str
    issued_at: Timestamp
    issued_on: Day
    currency: str
    net_minor: int
    vat_minor: int
    total_minor: int
    capture_id: UUID | None
    """What an invoice invoices."""
    invoice_id: UUID | None
    """What a credit note credits."""


class Invoice(Issued):
    document_id: UUID
    kind: Literal["invoice"]
    credited_by: list[UUID]
    """Its credit note."""


class CreditNote(Credited):
    document_id: UUID
    kind: Literal["credit"]


class SellerShown(SellerDetails):
    code: str


class SellerWritten(SellerShown):
    missing: tuple[str, ...]
    """The fields that the seller lacks before it can issue."""
