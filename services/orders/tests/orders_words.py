"""The order of the stories, its market, its lines and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from contracts.orders import MarketTerms
from contracts.snapshot import Address, Buyer, Line, OrderContent, Quantities, Tax, Totals
from orders.domain.content.amounts import payable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDER = UUID("00000032-0000-4000-8000-000000000001")
STORE = "st_1"


def uid(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name)


def market(**terms: Any) -> MarketTerms:
    return MarketTerms(**{"code": "m", "approval": "automatic", "seller": "acme", **terms})


def line(line_id: str = "1", total: int | None = 10_00, **more: Any) -> Line:
    told = {"sku": f"SKU-{line_id}", "tax": (Tax(rate="17"),), "quantity": Quantities(ordered=more.pop("quantity", 1))}
    return Line(**{"external_line_id": line_id, "line_total_minor": total, **told, **more})


def content(*lines: Line, grand: int | None = None, shipping: int = 0, discount: int = 0, **more: Any) -> OrderContent:
    lines = lines or (line(),)
    tax = more.pop("tax_minor", None)
    if grand is None and all(one.line_total_minor is not None for one in lines):
        grand = sum(one.line_total_minor or 0 for one in lines) + shipping - discount + (tax or 0)
    totals = Totals(shipping_minor=shipping, discount_minor=discount, tax_minor=tax, grand_minor=grand)
    people: dict[str, Any] = {
        "buyer": Buyer(name="Ann", email="ann@example.com"),
        "ship_to": Address(name="Ann", line1="1 Way", city="Paris", country="FR"),
    }
    told = {"external_order_id": "A-1", "placed_at": NOW, "currency": "EUR", **people, **more}
    return OrderContent(lines=lines, totals=totals, **told)


def costs(sold: OrderContent) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, minor units)."""
    return {row.line_id: (row.quantity, row.amount_minor) for row in payable(sold)}
