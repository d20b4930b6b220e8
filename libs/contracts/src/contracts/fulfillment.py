"""Commands and events of the fulfillment service: reservations, shipments, and the point of no return."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from contracts.base import (
    Code,
    Command,
    Event,
    Frozen,
    Id,
    LineId,
    OrderKeyed,
    Personal,
    Quantity,
    QuantityPositive,
    Text,
)
from contracts.limits import LOCATIONS_MAX, ORDER_LINES_MAX, QUANTITY_MAX, SHIPMENTS_MAX
from contracts.snapshot import Address


class WantedLine(Frozen):
    line_id: LineId
    sku: Id
    quantity: QuantityPositive


class PlacedLine(Frozen):
    """Pieces of a line at the location that ships them."""

    line_id: LineId
    sku: Id
    location: Code
    quantity: QuantityPositive


PlacedLines = Annotated[tuple[PlacedLine, ...], Field(max_length=ORDER_LINES_MAX)]


def _countable(lines: tuple[WantedLine, ...]) -> tuple[WantedLine, ...]:
    """The totals of the answer count the pieces of all lines in one field."""
    if (pieces := sum(line.quantity for line in lines)) > QUANTITY_MAX:
        raise ValueError(f"the lines have {pieces} pieces together, at most {QUANTITY_MAX} are reserved")
    return lines


class ShortLine(Frozen):
    line_id: LineId
    sku: Id
    wanted: QuantityPositive
    available: Quantity
    """The most that one of the allowed locations has."""


class ShipmentPlan(Frozen):
    shipment_id: UUID
    location: Code
    lines: PlacedLines


class StockTotals(Frozen):
    """Pieces of the whole order, after the event."""

    reserved: Quantity = 0
    shipped: Quantity = 0


class Reserve(OrderKeyed, Command, type="fulfillment.reserve"):
    """All lines or none, each whole at the first of `locations` that has it. Answered by reserved or out_of_stock."""

    lines: Annotated[tuple[WantedLine, ...], Field(max_length=ORDER_LINES_MAX), AfterValidator(_countable)]
    locations: Annotated[tuple[Code, ...], Field(min_length=1, max_length=LOCATIONS_MAX)]


class Release(OrderKeyed, Command, type="fulfillment.release"):
    """Give back what is still reserved; a goal: answered by released, with no lines when nothing was left."""


class Start(OrderKeyed, Command, type="fulfillment.start"):
    """Hand the reservation to the warehouse. Answered by started, later by fulfilled (same operation) or cancelled.

    A further start, as a new operation, replaces the address of the shipments that have not shipped.
    """

    ship_to: Annotated[Address, Personal()] | None = None
    """Null: as stated before."""


class CancelShipments(OrderKeyed, Command, type="fulfillment.cancel"):
    """Stop everything that has not shipped; answered by cancelled, or by too_late when anything has shipped."""


class FulfillmentEvent(OrderKeyed, Event):
    totals: StockTotals = StockTotals()


class Reserved(FulfillmentEvent, type="fulfillment.reserved"):
    lines: PlacedLines
    again: bool = False
    """True in the answer to a new operation while the reservation exists: nothing was added to it."""


class OutOfStock(FulfillmentEvent, type="fulfillment.out_of_stock"):
    short: Annotated[tuple[ShortLine, ...], Field(max_length=ORDER_LINES_MAX)]


class Released(FulfillmentEvent, type="fulfillment.released"):
    lines: PlacedLines


class Started(FulfillmentEvent, type="fulfillment.started"):
    shipments: Annotated[tuple[ShipmentPlan, ...], Field(max_length=SHIPMENTS_MAX)]
    ship_to: Annotated[Address, Personal()] | None = None
    """Where the shipments go that have not shipped yet; null: as stated before."""


class Shipped(FulfillmentEvent, type="fulfillment.shipped"):
    shipment_id: UUID
    location: Code
    lines: PlacedLines
    carrier: Text | None = None
    tracking_number: Annotated[Text, Personal()] | None = None


class Delivered(FulfillmentEvent, type="fulfillment.delivered"):
    shipment_id: UUID


class Fulfilled(FulfillmentEvent, type="fulfillment.fulfilled"):
    """Every shipment has shipped; repeats the operation of the `start`."""


class ShipmentsCancelled(FulfillmentEvent, type="fulfillment.cancelled"):
    """Nothing has shipped and nothing will; the reservation is released."""

    lines: PlacedLines


class TooLate(FulfillmentEvent, type="fulfillment.too_late"):
    """Something has shipped: the cancel is refused for the whole order."""

    shipped: Annotated[tuple[UUID, ...], Field(max_length=SHIPMENTS_MAX)]
