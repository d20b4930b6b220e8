"""How and when the goods are to be shipped, and the shipments that were made elsewhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.base import UNLESS_EMPTY, Day, Frozen, Id, IfStated, LineId, Quantity, Text, Timestamp
from contracts.limits import NAMES_MAX, ORDER_LINES_MAX
from contracts.snapshot.parties import Origin, PersonalText


class Shipping(Frozen):
    """The shipping method that the buyer chose."""

    code: IfStated[Text] = None
    title: IfStated[Text] = None
    carrier: IfStated[Text] = None
    service_level: IfStated[Text] = None
    requirements: Annotated[tuple[Text, ...], Field(max_length=NAMES_MAX), UNLESS_EMPTY] = ()
    """Legal or contractual: `signature`, `identity_check`, `age_18`, `pallet`, `cash_on_delivery`, `hub`."""


class Windows(Frozen):
    accept_by: IfStated[Timestamp] = None
    label_after: IfStated[Timestamp] = None
    """Labels may be printed from then on."""
    ship_after: IfStated[Timestamp] = None
    ship_by: IfStated[Timestamp] = None
    deliver_after: IfStated[Timestamp | Day] = None
    """As `deliver_by`. Both the same day: delivery on exactly that day."""
    deliver_by: IfStated[Timestamp | Day] = None
    """An instant, or a day if the marketplace states no time."""
    expires_at: IfStated[Timestamp] = None


class ShippedLine(Frozen):
    external_line_id: LineId
    quantity: Quantity


class UpstreamShipment(Frozen):
    """A shipment that the marketplace reports: made by it, by another system, or by us."""

    external_shipment_id: IfStated[Id] = None
    carrier: IfStated[Text] = None
    service_level: IfStated[Text] = None
    tracking_number: IfStated[PersonalText] = None
    tracking_url: IfStated[PersonalText] = None
    state: IfStated[Text] = None
    ship_from: IfStated[Origin] = None
    shipped_at: IfStated[Timestamp] = None
    delivered_at: IfStated[Timestamp] = None
    lines: Annotated[tuple[ShippedLine, ...], Field(max_length=ORDER_LINES_MAX), UNLESS_EMPTY] = ()
