"""Bodies of markets and of the payment methods that they offer."""

from __future__ import annotations

from pydantic import BaseModel

from contracts.orders import MarketTerms


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
