"""Response models of invoicing's HTTP."""

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
    version: int
    """The version of the order's documents with which this one was issued: it does not change."""
    issued_at: Timestamp
    issued_on: Day
    currency: str
    net_minor: int
    vat_minor: int
    total_minor: int
    capture_id: UUID | None
    """The capture of an invoice; null for a credit note."""
    invoice_id: UUID | None
    """The invoice of a credit note; null for an invoice."""


class Invoice(Issued):
    document_id: UUID
    kind: Literal["invoice"]
    credited_by: list[UUID]
    """Its credit notes."""


class CreditNote(Credited):
    document_id: UUID
    kind: Literal["credit"]


class SellerShown(SellerDetails):
    code: str
    version: int
    """Counts the changes of the seller."""


class SellerWritten(SellerShown):
    missing: tuple[str, ...]
    """The fields that the seller lacks before it can issue."""
