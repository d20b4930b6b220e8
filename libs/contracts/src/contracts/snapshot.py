"""`marketplace.snapshot`: what a marketplace now says of one order, whole and never a delta.

The body is `source` and `order`; the store stands in `ce_storeid`, the order id in the key and `ce_subject`.
`null` means not told, `0` means told zero. Unknown upstream states become lifecycle "unknown", never an error.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

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
from contracts.money import Currency, canonical, split, vat_by_rate
from contracts.sizes import fitting

PersonalText = Annotated[Text, Personal()]

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


SECURED: Final = frozenset({"paid", "captured", "authorized", "free"})
"""Payment states in which the buyer's money is there."""


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
    """One of the taxes on a line or on the shipping charge. Several add up.

    A stated amount counts and is never computed again. An amount without a rate gives the rate. An entry with neither
    states nothing. Rates without amounts tax the whole line; a bundle of goods at several rates states amounts.
    """

    rate: Rate | None = None
    amount_minor: MinorUnsigned | None = None
    """The tax on the pieces ordered, after discount: contained in a gross amount, on top of a net one."""
    collected_by: Literal["seller", "marketplace"] = "seller"
    """`marketplace`: the marketplace collects and remits this tax. It is in no amount of the lines and in no total but
    `totals.remitted_minor`."""


def seller_taxes(taxes: tuple[Tax, ...]) -> tuple[Tax, ...] | None:
    """The taxes that the seller owes. Empty: the marketplace remits what there is. None: no tax is stated at all."""
    if len(taxes) == 1 and taxes[0].rate is not None and taxes[0].collected_by == "seller":
        return taxes
    found = tuple(
        tax for tax in taxes if tax.collected_by == "seller" and (tax.rate is not None or tax.amount_minor is not None)
    )
    return found if found or any(tax.collected_by == "marketplace" for tax in taxes) else None


Taxes = Annotated[tuple[Tax, ...], Field(max_length=TAXES_MAX)]


class Quantities(Frozen):
    """Pieces. `cancelled` are part of `ordered`, which never shrinks."""

    ordered: Quantity
    accepted: Quantity | None = None
    shipped: Quantity = 0
    cancelled: Quantity = 0
    refunded: Quantity = 0


class Cancellation(Frozen):
    """A request is not a cancellation: only `executed` is, and it cancels the whole line."""

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
    """Price of all pieces ordered, cancelled ones included, before discount. It counts, `unit_price_minor` does not."""
    discount_minor: MinorUnsigned = 0
    """This line's part of `totals.discount_minor`."""
    shipping_minor: MinorUnsigned = 0
    """This line's part of `totals.shipping_minor`. It is no longer charged if no piece of the line is left."""
    cancelled_minor: MinorUnsigned | None = None
    """The part of the line that is no longer charged: after discount, in the price basis of `line_total_minor`. Null: the
    cancelled pieces' share of the line, rounded to the nearest minor unit. 0 with cancelled pieces: `line_total_minor`
    and the totals leave the cancelled pieces out already. If no piece is left, it is the whole line."""
    tax: Taxes = ()
    commission_minor: Minor | None = None
    requires_shipping: Flag = True
    state: Text = "open"
    cancellation: Cancellation = Cancellation()

    @property
    def pieces(self) -> int:
        """What is to be delivered and paid: ordered less cancelled. A line without a piece carries no money."""
        return 0 if self.cancellation.executed else max(self.quantity.ordered - self.quantity.cancelled, 0)


class Totals(Frozen):
    """Sums over the order as it was sold, cancelled pieces included: lines + shipping - discount (+ tax if net) = grand."""

    items_minor: MinorUnsigned | None = None
    """Sum of `line_total_minor`."""
    shipping_minor: MinorUnsigned | None = None
    shipping_tax: Taxes = ()
    """If nothing is stated, shipping is taxed like the goods that weigh most."""
    discount_minor: MinorUnsigned | None = None
    tax_minor: MinorUnsigned | None = None
    """All tax of the seller, on lines and shipping. Required with net prices. What the stated amounts leave of it is the
    tax of the lines that state only a rate."""
    grand_minor: MinorUnsigned | None = None
    """Without the tax that the marketplace remits."""
    remitted_minor: MinorUnsigned | None = None
    """Tax and fees that the marketplace collects from the buyer and remits itself: on top of `grand_minor`."""
    buyer_paid_minor: MinorUnsigned | None = None
    """grand + remitted."""


class Windows(Frozen):
    accept_by: Timestamp | None = None
    ship_by: Timestamp | None = None
    deliver_by: Timestamp | Day | None = None
    """An instant, or a day of which the marketplace told no more."""
    expires_at: Timestamp | None = None


class TaxCollection(Frozen):
    deemed_supplier: Flag = False
    """By law the marketplace sold to the buyer: the order gets no invoice of the seller, unless its market says so."""
    scheme: Text | None = None
    ioss_number: Text | None = None


class UpstreamRefund(Frozen):
    external_refund_id: Id
    external_line_id: Id | None = None
    amount_minor: Minor
    at: Timestamp | None = None


class OrderContent(Frozen):
    """An order as it was sold: amounts are of the pieces ordered, gross or net by `price_basis`."""

    external_order_id: Id
    external_number: Text | None = None
    basket_id: Text | None = None
    placed_at: Timestamp
    lifecycle: Lifecycle = "ready_to_fulfill"
    payment_state: Annotated[Text, AfterValidator(str.lower)] = "paid"
    """Placing starts at paid, captured, authorized or free. A person decides at refunded or partially_refunded. With any other
    word the order waits for a newer snapshot, unless nothing is to be paid. Stored in lower case."""
    fulfilled_by: Literal["merchant", "marketplace"] = "merchant"
    currency: Currency
    price_basis: Literal["gross", "net"] = "gross"
    is_business: Flag = False
    test: Flag = False
    """A test order is recorded and shown. Nothing is reserved, charged or invoiced for it."""
    buyer: Buyer = Buyer()
    ship_to: Address | None = None
    bill_to: Address | None = None
    tax_collection: TaxCollection = TaxCollection()
    windows: Windows = Windows()
    lines: Annotated[tuple[Line, ...], Field(max_length=ORDER_LINES_MAX)]
    totals: Totals = Totals()
    refunds: Annotated[tuple[UpstreamRefund, ...], Field(max_length=UPSTREAM_REFUNDS_MAX)] = ()

    @property
    def payment_secured(self) -> bool:
        return self.payment_state in SECURED

    @property
    def priced(self) -> bool:
        """Whether every price is told: before that nothing is reserved, paid or invoiced."""
        return self.totals.grand_minor is not None and all(line.line_total_minor is not None for line in self.lines)

    def discounted(self) -> list[int]:
        """What each line costs after discount: its own part of it, and its share of what is beyond the lines' parts."""
        after = [(line.line_total_minor or 0) - line.discount_minor for line in self.lines]
        rest = (self.totals.discount_minor or 0) - sum(line.discount_minor for line in self.lines)
        if not rest or not any(after):
            return after
        return [amount - share for amount, share in zip(after, split(rest, after), strict=True)]

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
        if self.priced:
            _check_totals(self, items)
            _check_remitted(self)
            cancelled, taxed = False, self.totals.tax_minor is not None or bool(self.totals.shipping_tax)
            for line in self.lines:  # most orders state neither a cancelled nor a tax amount
                cancelled = cancelled or line.cancelled_minor is not None
                for tax in line.tax:
                    taxed = taxed or tax.amount_minor is not None
            if cancelled:
                _check_cancelled(self)
            if taxed:
                _check_tax(self)
        return self


def arriving(content: OrderContent) -> OrderContent:
    """Returns the content. Raises a validation error if totals leave cancelled pieces out silently, or if one of the later
    messages would not fit on its topic."""
    for line in content.lines:
        price, total = line.unit_price_minor, line.line_total_minor
        if line.cancelled_minor is not None or not line.quantity.cancelled or not price or not line.pieces:
            continue
        if price * line.pieces == total != price * line.quantity.ordered:
            raise ValueError(
                f"line {line.external_line_id}: line_total_minor {total} is the price of the pieces left, {line.pieces} of"
                f" {line.quantity.ordered}; state the price of all pieces ordered, or state cancelled_minor 0 with it"
            )
    return fitting(content)


NewContent = Annotated[OrderContent, AfterValidator(arriving)]
"""An order as it arrives: it adds up, and every message that follows from it fits on its topic."""


class Snapshot(Message, type="marketplace.snapshot"):
    source: Source
    order: NewContent


# -- what a priced order must add up to; each raises ValueError -------------------------------------------------------


def _check_totals(order: OrderContent, items: int) -> None:
    totals = order.totals
    shipping, discount = totals.shipping_minor or 0, totals.discount_minor or 0
    if totals.items_minor is not None and totals.items_minor != items:
        raise ValueError(f"totals.items_minor is {totals.items_minor}, the lines add up to {items}")
    tax = 0
    if order.price_basis == "net":
        if totals.tax_minor is None:
            raise ValueError("totals.tax_minor is required when price_basis is net")
        tax = totals.tax_minor
    if items + shipping - discount + tax != totals.grand_minor:
        raise ValueError(
            f"totals.grand_minor is {totals.grand_minor}, but lines {items} + shipping {shipping} - discount {discount}"
            f" + tax {tax} = {items + shipping - discount + tax}; totals include cancelled pieces, which"
            " lines[].cancelled_minor takes off, and leave out tax that the marketplace remits"
        )
    for name, parts, total in (
        ("discount_minor", sum(line.discount_minor for line in order.lines), discount),
        ("shipping_minor", sum(line.shipping_minor for line in order.lines), shipping),
    ):
        if parts > total:
            raise ValueError(f"lines[].{name} add up to {parts}, more than totals.{name} {total}")
    for line in order.lines:
        if line.discount_minor > (line.line_total_minor or 0):
            raise ValueError(f"line {line.external_line_id}: discount_minor exceeds line_total_minor")
    if discount > items:
        raise ValueError(f"totals.discount_minor {discount} exceeds the lines' total {items}")


def _check_remitted(order: OrderContent) -> None:
    totals = order.totals
    if totals.remitted_minor is None and totals.buyer_paid_minor is None:
        return
    entries = [tax for line in order.lines for tax in line.tax] + list(totals.shipping_tax)
    parts = sum(tax.amount_minor or 0 for tax in entries if tax.collected_by == "marketplace")
    remitted = parts if totals.remitted_minor is None else totals.remitted_minor
    if parts > remitted:
        raise ValueError(
            f"taxes collected by the marketplace add up to {parts}, more than totals.remitted_minor {remitted}"
        )
    paid = (totals.grand_minor or 0) + remitted
    if totals.buyer_paid_minor not in (None, paid):
        raise ValueError(
            f"totals.buyer_paid_minor is {totals.buyer_paid_minor}, but grand {totals.grand_minor} + remitted {remitted} = {paid}"
        )


def _check_cancelled(order: OrderContent) -> None:
    after: list[int] | None = None
    for n, line in enumerate(order.lines):
        if line.cancelled_minor is None:
            continue
        after = order.discounted() if after is None else after
        if line.cancelled_minor > after[n]:
            raise ValueError(
                f"line {line.external_line_id}: cancelled_minor {line.cancelled_minor} exceeds the {after[n]} that the line"
                " costs after discount"
            )
        if not line.pieces and line.cancelled_minor != after[n]:
            raise ValueError(
                f"line {line.external_line_id}: no piece is left, so cancelled_minor must be {after[n]}, all that the line"
                f" costs after discount, and not {line.cancelled_minor}"
            )


def _check_tax(order: OrderContent) -> None:
    totals, net = order.totals, order.price_basis == "net"
    if not totals.shipping_minor and any(tax.amount_minor for tax in totals.shipping_tax):
        raise ValueError("totals.shipping_tax states an amount, but there is no totals.shipping_minor")
    rows = [
        (f"line {line.external_line_id}", amount, line.tax, line.quantity.ordered)
        for line, amount in zip(order.lines, order.discounted(), strict=True)
    ]
    if shipping := totals.shipping_minor or 0:
        rows.append(("totals.shipping_tax", shipping, totals.shipping_tax, 1))
    stated, rated, unstated, slack = 0, [], False, 0
    for name, amount, all_taxes, pieces in rows:
        slack += pieces + 1  # a marketplace may round each piece, or each line, or only the total
        taxes = seller_taxes(all_taxes)
        if taxes is None:
            unstated = True
            continue
        amounts = sum(tax.amount_minor or 0 for tax in taxes)
        if amounts > amount and not net:
            raise ValueError(f"{name}: taxes of {amounts} exceed the gross amount {amount} that contains them")
        stated += amounts
        if Decimal(rate := open_rate(taxes)):
            rated.append((amount - (0 if net else amounts), canonical(rate)))
    if totals.tax_minor is None:
        return
    left = totals.tax_minor - stated
    if left < -slack or (left > slack and not rated and not unstated):
        raise ValueError(
            f"totals.tax_minor is {totals.tax_minor}, but lines[].tax and totals.shipping_tax add up to {stated}; tax that"
            " the marketplace collects is in totals.remitted_minor"
        )
    if not net and rated and not unstated:
        computed = sum(vat_by_rate(rated, "gross").values())
        if abs(left - computed) > slack or left > sum(amount for amount, _ in rated):
            raise ValueError(
                f"totals.tax_minor is {totals.tax_minor}, but amounts and rates of lines[].tax and totals.shipping_tax make"
                f" {stated + computed}"
            )


def open_rate(taxes: tuple[Tax, ...]) -> str:
    """The sum of the rates of which no amount is stated."""
    rates = [tax.rate for tax in taxes if tax.amount_minor is None and tax.rate is not None]
    return rates[0] if len(rates) == 1 else f"{sum(map(Decimal, rates), Decimal(0)):f}"
