"""An order of ours in the shape of Dintero's, from what orders and payments answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

from contracts.money import vat_by_rate
from contracts.snapshot import OrderContent
from contracts.snapshot.lines import Line
from contracts.snapshot.parties import Address, Buyer
from contracts.snapshot.taxes import Taxes
from dintero_compat.domain.paying import COLLECTIONS
from dintero_compat.domain.placing import CHANNEL, PERSONAL

Status = Literal["open", "closed", "cancelled"]
PaymentStatus = Literal["pending", "partially_paid", "paid", "partially_refunded", "refunded"]
METADATA: Final = "dintero"
"""The member of an order's metadata for this API."""
UPDATES: Final = ("courier_id", "delivery_id", "pickup_at")
NOT_OF_A_DRAFT: Final = frozenset({
    *PERSONAL, *UPDATES, "events", "state", "created_by", "closed_at", "closed_by", "cancelled_at", "cancelled_by", "cancelled_reason",
    "deleted_at", "deleted_by",
})  # fmt: skip
"""Fields of an order that a draft does not state, though some orders lack them."""
SHIPPING: Final = "shipping"
"""The line of the shipping charge."""
PAYMENT_STATUSES: Final[Mapping[str, PaymentStatus]] = {
    "unpaid": "pending", "authorized": "pending", "partially_authorized": "pending", "voided": "pending",
    "partially_voided": "pending", "partially_paid": "partially_paid", "paid": "paid", "free": "paid",
    "partially_refunded": "partially_refunded", "refunded": "refunded",
}  # fmt: skip
"""The words of orders -> Dintero's, for an order without a ledger and for a filter."""
CANCELLED_REASONS: Final[Mapping[str, str]] = {
    "customer": "customer",
    "declined": "payment",
    "out_of_stock": "inventory",
}


def line_numbers(content: OrderContent) -> dict[str, int]:
    """Returns our line ids -> `line_id`: the number itself if all lines have one, else the place in the order."""
    ids = [line.external_line_id for line in content.lines]
    if all(re.fullmatch("[1-9][0-9]{0,8}", one) for one in ids):
        numbers = {one: int(one) for one in ids}
    else:
        numbers = {one: place for place, one in enumerate(ids, 1)}
    if content.totals.shipping_minor:
        numbers[SHIPPING] = max(numbers.values(), default=0) + 1
    return numbers


def status(order: Mapping[str, Any]) -> Status:
    """`closed` is archived here: an order that people have put away."""
    if order["status"] == "cancelled":
        return "cancelled"
    return "closed" if order["archived_at"] else "open"


def shown(
    order: Mapping[str, Any],
    aid: str,
    collections: Mapping[str, Sequence[Any]],
    payment_status: str | None,
    draft: Mapping[str, Any],
    added: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Returns an order.

    order: `OrderRead` of orders. aid: the account that is asked about. collections: authorizations, captures, refunds, cancellations as `operations` shows them.
    payment_status: Dintero's word of the ledger; null: there is no ledger yet. draft: the order as its draft has it, empty if
    it came otherwise; fields that orders has come from orders. added: items that drafts have added to the order.
    """
    content = OrderContent.model_validate(order["order"])
    extras = {item["line_id"]: item for item in draft.get("items", ())}
    items = [*_items(content, extras), *({**_BARE, **item} for item in added)]
    gross = sum(item["gross_amount"] for item in items)
    tax = sum(line["amount"] for item in items for line in item["tax_lines"])
    steps = order.get("timeline") or ()
    return {
        **{name: value for name, value in draft.items() if name not in NOT_OF_A_DRAFT},
        "id": order["order_id"],
        "order_id": content.external_order_id if is_own(order, aid) else order["order_id"],
        "version": order["version"],
        **updates(order),
        "status": status(order),
        "payment_status": payment_status or PAYMENT_STATUSES.get(order["payment_status"], "pending"),
        "currency": content.currency,
        "gross_amount": gross,
        "net_amount": gross - tax,
        "total_discount": content.totals.discount_minor or 0,
        "created_at": order["ordered_at"],
        "updated_at": steps[-1]["at"] if steps else order["ordered_at"],
        **_ended(order, steps),
        "customer": _customer(content.buyer),
        "shipping_address": _address(content.ship_to, content.delivery_note),
        "billing_address": _address(content.bill_to, None),
        "items": items,
        **{name: list(collections.get(name, ())) for name in COLLECTIONS},
        "comments": comments(order),
    }


def comments(order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the latest notes of an order, the oldest first."""
    return [_comment(note) for note in reversed(order.get("notes") or ())]


def updates(order: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a client has set on an order after its completion; orders has it as metadata."""
    found = order["metadata"].get(METADATA)
    return {name: found[name] for name in UPDATES if name in found} if isinstance(found, dict) else {}


def is_own(order: Mapping[str, Any], aid: str) -> bool:
    """Returns whether an order came as a draft of this account: then its number names it."""
    return (order["channel"], order["account"]) == (CHANNEL, aid)


def _ended(order: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if order["status"] == "cancelled":
        found["cancelled_at"] = order["cancelled_at"]
        found["cancelled_by"] = _actor(steps, "orders.cancelled")
        found["cancelled_reason"] = CANCELLED_REASONS.get(order["cancel_cause"] or "", "other")
    if order["archived_at"]:
        found["closed_at"] = order["archived_at"]
        found["closed_by"] = _actor(steps, "orders.archived")
    return found


def _actor(steps: Sequence[Mapping[str, Any]], kind: str) -> str | None:
    """Returns who has caused the latest step of a kind."""
    return next((step["caused_by"]["actor"] for step in reversed(steps) if step["type"] == kind), None)


def _items(content: OrderContent, extras: Mapping[int, Any]) -> list[dict[str, Any]]:
    numbers, net = line_numbers(content), content.price_basis == "net"
    items = []
    for line, costs in zip(content.lines, content.discounted(), strict=True):
        number = numbers[line.external_line_id]
        taxes = _tax_lines(line.tax, costs, net=net)
        gross = costs + (sum(tax["amount"] for tax in taxes) if net else 0)
        items.append({**extras.get(number, {}), **_item(line, number), "gross_amount": gross, "tax_lines": taxes})
    if shipping := content.totals.shipping_minor:
        taxes = _tax_lines(content.totals.shipping_tax, shipping, net=net)
        gross = shipping + (sum(tax["amount"] for tax in taxes) if net else 0)
        items.append(
            {"id": SHIPPING, "line_id": numbers[SHIPPING], "quantity": 1, "description": "Shipping", "gross_amount": gross,
             "tax_lines": taxes}
        )  # fmt: skip
    return items


_BARE: Final[Mapping[str, Any]] = {"quantity": 1, "description": "", "tax_lines": ()}
"""Fields that an item of a draft may lack."""


def _item(line: Line, number: int) -> dict[str, Any]:
    return {
        "id": line.sku or line.external_line_id,
        "line_id": number,
        "quantity": line.quantity.ordered,
        "description": line.title or "",
    }


def _tax_lines(taxes: Taxes, costs: int, *, net: bool) -> list[dict[str, Any]]:
    """The basis of an included tax is the gross amount, as in the samples of Dintero's documentation."""
    found = []
    for tax in taxes:
        rate = tax.rate or "0"
        amount = tax.amount_minor
        if amount is None:
            amount = vat_by_rate([(costs, rate)], "net" if net else "gross")[rate]
        found.append(
            {"amount": amount, "percentage": float(Decimal(rate)), "tax_basis": costs, "included_in_price": not net}
        )
    return found


def _customer(buyer: Buyer) -> dict[str, Any]:
    first, _, last = (buyer.name or "").rpartition(" ")
    company = {"bussiness_name": buyer.company, "organization_number": buyer.company_number}
    return _stated(
        id=buyer.external_id, first_name=first, last_name=last, email=buyer.email, phone_number=buyer.phone,
        company=_stated(**company),
    )  # fmt: skip


def _address(address: Address | None, comment: str | None) -> dict[str, Any] | None:
    if address is None:
        return None
    first, _, last = (address.name or "").rpartition(" ")
    return _stated(
        first_name=first, last_name=last, business_name=address.company, address_line=address.line1,
        address_line_2=address.line2, co_address=address.line3, postal_code=address.postcode, postal_place=address.city,
        country=address.country, phone_number=address.phone, comment=comment,
    )  # fmt: skip


def _stated(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _comment(note: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": note["note_id"], "comment": note["text"], "created_at": note["at"], "created_by": note["author"],
    }  # fmt: skip
