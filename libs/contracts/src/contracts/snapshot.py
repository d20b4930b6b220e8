"""`marketplace.snapshot`: what a marketplace now says of one order, whole and never a delta.

The body is `source` and `order`; the store stands in `ce_storeid`, the order id in the key and `ce_subject`.
`null` means not told, `0` means told zero. Unknown upstream states become lifecycle "unknown", never an error.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from contracts.base import (
    SHIPPING_LINE,
    Code,
    Counter,
    Country,
    Day,
    Flag,
    Frozen,
    Id,
    LineId,
    LongText,
    Message,
    Minor,
    MinorUnsigned,
    Personal,
    Quantity,
    Rate,
    Text,
    Timestamp,
)
from contracts.limits import (
    MINOR_MAX,
    ORDER_LINES_MAX,
    QUANTITY_MAX,
    TAXES_MAX,
    UNIT_IDS_MAX,
    UPSTREAM_REFUNDS_MAX,
)
from contracts.money import Currency
from contracts.sizes import fitting

PersonalText = Annotated[Text, Personal()]

Lifecycle = Literal[
    "awaiting_payment",
    "awaiting_acceptance",
    "ready_to_fulfil",
    "partially_shipped",
    "shipped",
    "delivered",
    "closed",
    "cancelled",
    "refused",
    "unknown",
]


class Source(Frozen):
    """Where the snapshot comes from and how new it is."""

    channel: Code
    account: Code
    updated_at: Timestamp
    """The marketplace's own time of change: an older snapshot is stale."""
    untimed: Flag = False
    """`updated_at` is not comparable: it was ahead of the database's clock. Then `sequence` decides, then arrival."""
    sequence: Counter = 0
    content_hash: Annotated[Text, Field(min_length=1)]
    """Equal time and equal hash: nothing new. Equal time and another hash: the later one wins."""
    raw_ref: Text | None = None


class Address(Frozen):
    name: PersonalText | None = None
    company: PersonalText | None = None
    line1: PersonalText | None = None
    line2: PersonalText | None = None
    postcode: PersonalText | None = None
    city: PersonalText | None = None
    region: PersonalText | None = None
    country: Country | None = None
    phone: PersonalText | None = None
    pickup_point: PersonalText | None = None


class Buyer(Frozen):
    external_id: Annotated[Id, Personal()] | None = None
    name: PersonalText | None = None
    email: PersonalText | None = None
    email_is_relay: Flag = False
    company: PersonalText | None = None
    vat_number: PersonalText | None = None
    locale: Text | None = None


class Tax(Frozen):
    rate: Rate | None = None
    amount_minor: Minor | None = None
    collected_by: Literal["seller", "marketplace"] = "seller"


Taxes = Annotated[tuple[Tax, ...], Field(max_length=TAXES_MAX)]


class Quantities(Frozen):
    ordered: Quantity
    accepted: Quantity | None = None
    shipped: Quantity = 0
    cancelled: Quantity = 0
    refunded: Quantity = 0


class Cancellation(Frozen):
    """A request is not a cancellation: only `executed` is."""

    requested: Flag = False
    requested_by: Text | None = None
    executed: Flag = False
    executed_by: Text | None = None
    reason: Text | None = None


class Line(Frozen):
    external_line_id: LineId
    external_unit_ids: Annotated[tuple[Id, ...], Field(max_length=UNIT_IDS_MAX)] = ()
    gtin: Text | None = None
    gtin_type: Text | None = None
    sku: Id | None = None
    channel_product_id: Text | None = None
    title: LongText | None = None
    quantity: Quantities
    unit_price_minor: MinorUnsigned | None = None
    """Informs only; a unit price need not divide evenly."""
    line_total_minor: MinorUnsigned | None = None
    """For the whole quantity, before discount. It rules."""
    discount_minor: MinorUnsigned = 0
    """This line's part of `totals.discount_minor`."""
    shipping_minor: MinorUnsigned = 0
    """This line's part of `totals.shipping_minor`."""
    tax: Taxes = ()
    commission_minor: Minor | None = None
    requires_shipping: Flag = True
    state: Text = "open"
    cancellation: Cancellation = Cancellation()

    @property
    def pieces(self) -> int:
        """What is to be delivered: ordered less cancelled."""
        return max(self.quantity.ordered - self.quantity.cancelled, 0)

    @property
    def rate(self) -> str | None:
        return next((tax.rate for tax in self.tax if tax.rate is not None), None)


class Totals(Frozen):
    items_minor: MinorUnsigned | None = None
    shipping_minor: MinorUnsigned | None = None
    shipping_tax: Taxes = ()
    discount_minor: MinorUnsigned | None = None
    tax_minor: MinorUnsigned | None = None
    grand_minor: MinorUnsigned | None = None


class Windows(Frozen):
    accept_by: Timestamp | None = None
    ship_by: Timestamp | None = None
    deliver_by: Timestamp | Day | None = None
    """An instant, or a day of which the marketplace told no more."""
    expires_at: Timestamp | None = None


class TaxCollection(Frozen):
    deemed_supplier: Flag = False
    scheme: Text | None = None
    ioss_number: Text | None = None


class UpstreamRefund(Frozen):
    external_refund_id: Id
    external_line_id: Id | None = None
    amount_minor: Minor
    at: Timestamp | None = None


class OrderContent(Frozen):
    """An order as it was sold. Amounts are gross or net as `price_basis` says."""

    external_order_id: Id
    external_number: Text | None = None
    basket_id: Text | None = None
    placed_at: Timestamp
    lifecycle: Lifecycle = "ready_to_fulfil"
    payment_state: Text = "paid"
    fulfilled_by: Literal["merchant", "marketplace"] = "merchant"
    currency: Currency
    price_basis: Literal["gross", "net"] = "gross"
    is_business: Flag = False
    test: Flag = False
    buyer: Buyer = Buyer()
    ship_to: Address | None = None
    bill_to: Address | None = None
    tax_collection: TaxCollection = TaxCollection()
    windows: Windows = Windows()
    lines: Annotated[tuple[Line, ...], Field(max_length=ORDER_LINES_MAX)]
    totals: Totals = Totals()
    refunds: Annotated[tuple[UpstreamRefund, ...], Field(max_length=UPSTREAM_REFUNDS_MAX)] = ()

    @property
    def priced(self) -> bool:
        """Whether every price is told: before that nothing is reserved, paid or invoiced."""
        return self.totals.grand_minor is not None and all(line.line_total_minor is not None for line in self.lines)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        ids = [line.external_line_id for line in self.lines]
        if len(set(ids)) != len(ids):
            raise ValueError("lines: external_line_id must be unique in the order")
        if SHIPPING_LINE in ids:
            raise ValueError(f"lines: external_line_id {SHIPPING_LINE!r} is kept for the shipping charge")
        if (pieces := sum(line.quantity.ordered for line in self.lines)) > QUANTITY_MAX:
            raise ValueError(f"lines[].quantity.ordered add up to {pieces} pieces, an order has at most {QUANTITY_MAX}")
        if (items := sum(line.line_total_minor or 0 for line in self.lines)) > MINOR_MAX:
            raise ValueError(f"lines[].line_total_minor add up to {items}, an order is worth at most {MINOR_MAX}")
        if not self.priced:
            return self
        totals = self.totals
        shipping, discount = totals.shipping_minor or 0, totals.discount_minor or 0
        if totals.items_minor is not None and totals.items_minor != items:
            raise ValueError(f"totals.items_minor is {totals.items_minor}, the lines add up to {items}")
        tax = 0
        if self.price_basis == "net":
            if totals.tax_minor is None:
                raise ValueError("totals.tax_minor must be told when price_basis is net")
            tax = totals.tax_minor
        if items + shipping - discount + tax != totals.grand_minor:
            raise ValueError(
                f"totals.grand_minor is {totals.grand_minor}, but lines {items} + shipping {shipping}"
                f" - discount {discount} + tax {tax} = {items + shipping - discount + tax}"
            )
        for name, parts, total in (
            ("discount_minor", sum(line.discount_minor for line in self.lines), discount),
            ("shipping_minor", sum(line.shipping_minor for line in self.lines), shipping),
        ):
            if parts > total:
                raise ValueError(f"lines[].{name} add up to {parts}, more than totals.{name} {total}")
        for line in self.lines:
            if line.discount_minor > (line.line_total_minor or 0):
                raise ValueError(f"line {line.external_line_id}: discount_minor exceeds line_total_minor")
        if discount > items:
            raise ValueError(f"totals.discount_minor {discount} exceeds the lines' total {items}")
        return self


NewContent = Annotated[OrderContent, AfterValidator(fitting)]
"""An order as it arrives: every message that follows from it fits on its topic."""


class Snapshot(Message, type="marketplace.snapshot"):
    source: Source
    order: NewContent


def highest_rate(content: OrderContent) -> str:
    """The rate of the goods that weigh most in the order (the higher of equals); shipping follows it, if not told."""
    weights: dict[str, int] = {}
    for line in content.lines:
        rate = line.rate or "0"
        weights[rate] = weights.get(rate, 0) + (line.line_total_minor or 0)
    return max(weights, key=lambda rate: (weights[rate], Decimal(rate)), default="0")
