"""The order as a marketplace states it: whole, never a delta. Money is in `totals.py` and `lines.py`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.base import (
    SHIPPING_LINE,
    UNLESS_EMPTY,
    Code,
    Flag,
    Frozen,
    Id,
    IfStated,
    LongText,
    Personal,
    Text,
    Timestamp,
)
from contracts.gift_cards import GiftCardTenders
from contracts.limits import (
    DISCOUNTS_MAX,
    MINOR_MAX,
    NAMES_MAX,
    ORDER_LINES_MAX,
    QUANTITY_MAX,
    UPSTREAM_INVOICES_MAX,
    UPSTREAM_PAYMENTS_MAX,
    UPSTREAM_REFUNDS_MAX,
    UPSTREAM_SHIPMENTS_MAX,
)
from contracts.money import Currency
from contracts.payments import PaymentToken
from contracts.snapshot.attributes import Attributes
from contracts.snapshot.lines import FulfilledBy, Line
from contracts.snapshot.parties import Address, Buyer, Origin, TaxRegistration
from contracts.snapshot.payments import (
    SECURED,
    Discount,
    PaymentState,
    Settlement,
    UpstreamInvoice,
    UpstreamPayment,
    UpstreamRefund,
)
from contracts.snapshot.shipping import Shipping, UpstreamShipment, Windows
from contracts.snapshot.taxes import TaxCollection
from contracts.snapshot.totals import Totals, check, discounted

Lifecycle = Literal[
    "awaiting_payment",
    "awaiting_acceptance",
    "ready_to_fulfill",
    "partially_shipped",
    "shipped",
    "delivered",
    "closed",
    "cancelled",
    "refused",
    "unknown",
]


class Related(Frozen):
    """Another order of the same marketplace."""

    kind: Text
    """How the order relates to it: `replaces`, `exchange_of`, `renewal_of`, `child_of`."""
    external_order_id: Id


class OrderContent(Frozen):
    """An order as it was sold: amounts are of the pieces ordered, gross or net by `price_basis`."""

    external_order_id: Id
    external_number: IfStated[Text] = None
    basket_id: IfStated[Text] = None
    purchase_order_number: IfStated[Text] = None
    """The buyer's own number for the order."""
    site: IfStated[Text] = None
    """The marketplace's site or storefront, where an account sells on several."""
    placed_at: Timestamp
    lifecycle: Lifecycle = "ready_to_fulfill"
    payment_state: PaymentState = "paid"
    """Placing starts at `paid` and `authorized`. A person decides at `refunded` and `partially_refunded`. At every other
    word, one that is not listed included, the order waits for a newer snapshot, unless nothing is to be paid."""
    payment_method: IfStated[Code] = None
    """A code of the market's methods; null: the first that fits. Decides until the order starts."""
    payment_token: IfStated[PaymentToken] = None
    """The gateway's token of the means of payment, which the authorization passes on; never card data."""
    fulfilled_by: FulfilledBy = "merchant"
    """Goods that the marketplace fulfills are neither reserved nor shipped here."""
    currency: Currency
    price_basis: Literal["gross", "net"] = "gross"
    is_business: Flag = False
    test: Flag = False
    """A test order is recorded and shown. Nothing is reserved, charged or invoiced for it."""
    programs: Annotated[tuple[Text, ...], Field(max_length=NAMES_MAX), UNLESS_EMPTY] = ()
    """Promises of the marketplace, e.g. `prime`, `business`, `store_pickup`."""
    related: Annotated[tuple[Related, ...], Field(max_length=NAMES_MAX), UNLESS_EMPTY] = ()
    buyer: Buyer = Buyer()
    ship_to: IfStated[Address] = None
    bill_to: IfStated[Address] = None
    tax_address: IfStated[Address] = None
    """The address that the marketplace computed the tax for."""
    ship_from: IfStated[Origin] = None
    tax_registrations: Annotated[tuple[TaxRegistration, ...], Field(max_length=NAMES_MAX), UNLESS_EMPTY] = ()
    tax_collection: TaxCollection = TaxCollection()
    shipping: IfStated[Shipping] = None
    windows: Windows = Windows()
    buyer_note: IfStated[Annotated[LongText, Personal()]] = None
    delivery_note: IfStated[Annotated[LongText, Personal()]] = None
    """For the carrier or the warehouse."""
    seller_note: IfStated[Annotated[LongText, Personal()]] = None
    lines: Annotated[tuple[Line, ...], Field(max_length=ORDER_LINES_MAX)]
    totals: Totals = Totals()
    discounts: Annotated[tuple[Discount, ...], Field(max_length=DISCOUNTS_MAX), UNLESS_EMPTY] = ()
    gift_cards: GiftCardTenders = ()
    """Gift cards of the store that the buyer pays with; the market's gateway takes the rest."""
    settlement: IfStated[Settlement] = None
    payments: Annotated[tuple[UpstreamPayment, ...], Field(max_length=UPSTREAM_PAYMENTS_MAX), UNLESS_EMPTY] = ()
    refunds: Annotated[tuple[UpstreamRefund, ...], Field(max_length=UPSTREAM_REFUNDS_MAX), UNLESS_EMPTY] = ()
    shipments: Annotated[tuple[UpstreamShipment, ...], Field(max_length=UPSTREAM_SHIPMENTS_MAX), UNLESS_EMPTY] = ()
    invoices: Annotated[tuple[UpstreamInvoice, ...], Field(max_length=UPSTREAM_INVOICES_MAX), UNLESS_EMPTY] = ()
    """Documents that the marketplace made."""
    attributes: Attributes = ()

    @property
    def payment_secured(self) -> bool:
        return self.payment_state in SECURED

    @property
    def priced(self) -> bool:
        """Whether every price is stated. Before that nothing is reserved, paid or invoiced."""
        return self.totals.grand_minor is not None and all(line.line_total_minor is not None for line in self.lines)

    def discounted(self) -> list[int]:
        """Returns what each line costs after discount."""
        return discounted(self.lines, self.totals)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        ids = [line.external_line_id for line in self.lines]
        if len(set(ids)) != len(ids):
            raise ValueError("lines: external_line_id must be unique in the order")
        if SHIPPING_LINE in ids:
            raise ValueError(f"lines: external_line_id {SHIPPING_LINE!r} is reserved for the shipping charge")
        if (pieces := sum(line.quantity.ordered for line in self.lines)) > QUANTITY_MAX:
            raise ValueError(f"lines[].quantity.ordered add up to {pieces} pieces, an order has at most {QUANTITY_MAX}")
        if (items := sum(line.line_total_minor or 0 for line in self.lines)) > MINOR_MAX:
            raise ValueError(f"lines[].line_total_minor add up to {items}, an order is worth at most {MINOR_MAX}")
        if self.priced:
            check(self.lines, self.totals, net=self.price_basis == "net")
        return self
