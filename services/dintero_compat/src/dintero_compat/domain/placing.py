"""A completed draft as an order of ours."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from contracts.snapshot import OrderContent
from contracts.snapshot.attributes import Attribute
from contracts.snapshot.lines import FulfilledBy, Line, Quantities
from contracts.snapshot.parties import Address, Buyer
from contracts.snapshot.taxes import Tax
from contracts.snapshot.totals import Totals
from dintero_compat.domain import shapes

CHANNEL = "dintero"
"""The channel of these orders; their account is the `aid`."""
DRAFT = "dintero.draft_id"
"""The attribute that names the draft."""
PERSONAL = ("customer", "shipping_address", "billing_address")
"""Fields of a draft's order that the order has after its completion, and the draft no longer."""


def content(draft: shapes.Draft, draft_id: str, number: str, placed_at: datetime, *, ships: bool) -> OrderContent:
    """Returns the order. Raises ValueError (pydantic's) if it does not add up or a field does not fit.

    Its lines have the numbers and amounts of the items. The money is authorized elsewhere and recorded later.
    """
    order = draft.order
    fulfilled_by: FulfilledBy = "merchant" if ships else "marketplace"
    return OrderContent(
        external_order_id=number,
        placed_at=placed_at,
        payment_state="authorized",  # placing starts at this word; a market of the gateway `recorded` waits for the record
        fulfilled_by=fulfilled_by,
        currency=order.currency,
        buyer=_buyer(order.customer),
        ship_to=_address(order.shipping_address),
        bill_to=_address(order.billing_address),
        delivery_note=(order.shipping_address.comment if order.shipping_address else "") or None,
        lines=tuple(_line(item) for item in order.items),
        totals=Totals(grand_minor=sum(item.gross_amount for item in order.items)),
        attributes=(Attribute(name=DRAFT, value=draft_id),),
    )


def _line(item: shapes.Item) -> Line:
    return Line(
        external_line_id=str(item.line_id),
        sku=item.id,
        title=item.description or None,
        quantity=Quantities(ordered=item.quantity),
        line_total_minor=item.gross_amount,
        tax=tuple(Tax(rate=f"{Decimal(str(tax.percentage)):f}", amount_minor=tax.amount) for tax in item.tax_lines),
    )


def _buyer(customer: shapes.Customer) -> Buyer:
    company = customer.company
    return Buyer(
        external_id=customer.id or None,
        name=_name(customer.first_name, customer.last_name),
        email=customer.email or None,
        phone=customer.phone_number or None,
        company=company.bussiness_name or None,
        company_number=company.organization_number or None,
    )


def _address(address: shapes.Address | None) -> Address | None:
    if address is None:
        return None
    return Address(
        name=_name(address.first_name, address.last_name),
        company=address.business_name or None,
        line1=address.address_line or None,
        line2=address.address_line_2 or None,
        line3=address.co_address or None,
        postcode=address.postal_code or None,
        city=address.postal_place or None,
        country=address.country or None,
        phone=address.phone_number or None,
    )


def _name(first: str, last: str) -> str | None:
    return f"{first} {last}".strip() or None


def without_personal_data(doc: dict[str, Any]) -> dict[str, Any]:
    """Returns a draft as it is stored after its completion: the customer and the addresses are in the order alone."""
    return doc | {"order": {name: value for name, value in doc["order"].items() if name not in PERSONAL}}
