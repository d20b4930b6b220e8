"""A line of an order: what was sold, how many pieces of it are left, and who ships it where."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from contracts.base import (
    UNLESS_EMPTY,
    Flag,
    Frozen,
    Id,
    IfStated,
    LineId,
    LongText,
    Minor,
    MinorUnsigned,
    Personal,
    Quantity,
    Text,
    Timestamp,
)
from contracts.limits import UNIT_IDS_MAX
from contracts.snapshot.attributes import Attributes
from contracts.snapshot.parties import Address, Origin, PersonalText
from contracts.snapshot.shipping import Windows
from contracts.snapshot.taxes import Taxes

FulfilledBy = Literal["merchant", "marketplace"]
SHIPPABLE: Final = frozenset({"goods", "gift_card"})
"""Kinds of lines that can have something to ship."""


class Quantities(Frozen):
    """Pieces. `cancelled` are part of `ordered`, which never shrinks."""

    ordered: Quantity
    accepted: IfStated[Quantity] = None
    shipped: Quantity = 0
    cancelled: Quantity = 0
    refunded: Quantity = 0
    returned: IfStated[Quantity] = None


class Cancellation(Frozen):
    """A request is not a cancellation: only `executed` is, and it cancels the whole line."""

    requested: Flag = False
    request_id: IfStated[Id] = None
    requested_by: IfStated[Text] = None
    requested_at: IfStated[Timestamp] = None
    executed: Flag = False
    executed_by: IfStated[Text] = None
    executed_at: IfStated[Timestamp] = None
    reason: IfStated[Text] = None


class Gift(Frozen):
    """A gift wrap that costs something is a line of kind `service`."""

    wrap: IfStated[Text] = None
    message: IfStated[PersonalText] = None


class Line(Frozen):
    external_line_id: LineId
    kind: Literal["goods", "service", "fee", "tip", "gift_card"] = "goods"
    """A service, a fee or a tip is charged and invoiced like goods, and never shipped."""
    parent_line_id: IfStated[Id] = None
    """The line that this one is a part of or an addition to."""
    external_unit_ids: Annotated[tuple[Id, ...], Field(max_length=UNIT_IDS_MAX), UNLESS_EMPTY] = ()
    gtin: IfStated[Text] = None
    gtin_type: IfStated[Text] = None
    sku: IfStated[Id] = None
    channel_product_id: IfStated[Text] = None
    title: IfStated[LongText] = None
    quantity: Quantities
    unit_price_minor: IfStated[MinorUnsigned] = None
    """Informs only; a unit price need not divide evenly."""
    line_total_minor: IfStated[MinorUnsigned] = None
    """Price of all pieces ordered, cancelled ones included, before discount. It counts, `unit_price_minor` does not."""
    discount_minor: MinorUnsigned = 0
    """This line's part of `totals.discount_minor`."""
    shipping_minor: MinorUnsigned = 0
    """This line's part of `totals.shipping_minor`. It is no longer charged if no piece of the line is left."""
    cancelled_minor: IfStated[MinorUnsigned] = None
    """The part of the line that is no longer charged: after discount, in the price basis of `line_total_minor`. Null: the
    cancelled pieces' share of the line, rounded to the nearest minor unit. 0 with cancelled pieces: `line_total_minor`
    and the totals leave the cancelled pieces out already. If no piece is left, it is the whole line."""
    tax: Taxes = ()
    tax_category: IfStated[Text] = None
    commission_minor: IfStated[Minor] = None
    requires_shipping: Flag = True
    fulfilled_by: IfStated[FulfilledBy] = None
    """Null: as the order."""
    ship_from: IfStated[Origin] = None
    ship_to: IfStated[Annotated[Address, Personal()]] = None
    """Null: the order's."""
    windows: IfStated[Windows] = None
    """Null: the order's."""
    gift: IfStated[Gift] = None
    state: Text = "open"
    cancellation: Cancellation = Cancellation()
    attributes: Attributes = ()

    @property
    def pieces(self) -> int:
        """What is to be delivered and paid: ordered less cancelled. A line without a piece carries no money."""
        return 0 if self.cancellation.executed else max(self.quantity.ordered - self.quantity.cancelled, 0)
