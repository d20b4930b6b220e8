"""Commands and events of the fulfillment service: reservations, shipments, and the point of no return.

`reserve`, `start`, `release` and `cancel` carry an order from its reservation to its shipments. `suspend` and `resume` stop
and continue its shipping. `extend`, `reduce` and `restock` change the pieces of an order that was placed before.
"""

from __future__ import annotations

from typing import Annotated, TypeVar
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
    Timestamp,
)
from contracts.limits import (
    LOCATIONS_MAX,
    ORDER_LINES_MAX,
    PLACED_LINES_MAX,
    QUANTITY_MAX,
    SHIPMENTS_MAX,
    SUSPENSIONS_MAX,
)
from contracts.snapshot import Address

L = TypeVar("L", "WantedLine", "LinePieces")


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


PlacedLines = Annotated[tuple[PlacedLine, ...], Field(max_length=PLACED_LINES_MAX)]


class LinePieces(Frozen):
    """Pieces of a line, at whichever location they are."""

    line_id: LineId
    quantity: QuantityPositive


def _each_once(lines: tuple[L, ...]) -> tuple[L, ...]:
    """A line that is listed twice would move twice under one operation."""
    if len({line.line_id for line in lines}) != len(lines):
        raise ValueError("lines: each line_id may be listed once")
    return lines


LinesPieces = Annotated[tuple[LinePieces, ...], Field(max_length=ORDER_LINES_MAX), AfterValidator(_each_once)]


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


class Suspend(OrderKeyed, Command, type="fulfillment.suspend"):
    """Nothing of the order ships until this suspension ends, also nothing that is reserved or started later.

    Its id is the operation's. Several may be open at once. Valid in any state, also before a reservation; answered by
    suspended. A release or a cancel that ends the attempt ends its suspensions, and one that arrives after it opens none.
    """


class Resume(OrderKeyed, Command, type="fulfillment.resume"):
    """End one suspension; a goal: answered by resumed, also if the suspension does not exist."""

    suspension_id: UUID
    """The operation of the `suspend`."""


class Extend(OrderKeyed, Command, type="fulfillment.extend"):
    """Reserve more pieces of lines, or lines that are new: all or none. Answered by extended or out_of_stock.

    Each line is reserved whole at the first of `locations` that has enough; those that hold pieces of the line come first.
    Before a start the pieces join the reservation. After it they join the open shipment of their location,
    or form a new one. Without a reservation they make one.
    """

    lines: Annotated[
        tuple[WantedLine, ...],
        Field(max_length=ORDER_LINES_MAX),
        AfterValidator(_countable),
        AfterValidator(_each_once),
    ]
    """The additional pieces."""
    locations: Annotated[tuple[Code, ...], Field(min_length=1, max_length=LOCATIONS_MAX)]
    ship_to: Annotated[Address, Personal()] | None = None
    """Where new shipments go; null: as the latest shipment of the order."""


class Reduce(OrderKeyed, Command, type="fulfillment.reduce"):
    """Give back pieces that have not shipped: all or none. Answered by reduced, or by too_late if pieces have shipped.

    A goal: pieces of a line that are neither held nor shipped were given back before.
    """

    lines: LinesPieces
    """The pieces that go back."""


class Restock(OrderKeyed, Command, type="fulfillment.restock"):
    """Put pieces that shipped back on the shelf that they shipped from. Answered by restocked.

    Per line at most the pieces that shipped and were not restocked before; the answer has the pieces that were put back.
    """

    lines: LinesPieces


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
    """Nothing is left to ship; repeats the operation of the `start`.

    An order that was fulfilled and then extended is fulfilled again: without an operation, unless a further start waits.
    """


class ShipmentsCancelled(FulfillmentEvent, type="fulfillment.cancelled"):
    """Nothing has shipped and nothing will; the reservation is released."""

    lines: PlacedLines


class TooLate(FulfillmentEvent, type="fulfillment.too_late"):
    """Something has shipped: a cancel is refused for the whole order, a reduce for all its lines."""

    shipped: Annotated[tuple[UUID, ...], Field(max_length=SHIPMENTS_MAX)]
    """The shipments that have shipped; in the answer to a reduce those that have pieces of `lines`."""
    lines: PlacedLines = ()
    """In the answer to a reduce: the shipped pieces of the lines that have too few pieces left."""


class Suspended(FulfillmentEvent, type="fulfillment.suspended"):
    """Nothing ships from now on. `operation_id` is the id of the suspension."""

    since: Timestamp
    shipped: Annotated[tuple[UUID, ...], Field(max_length=SHIPMENTS_MAX)]
    """The shipments that had shipped before."""


class Resumed(FulfillmentEvent, type="fulfillment.resumed"):
    suspension_id: UUID
    open: Annotated[tuple[UUID, ...], Field(max_length=SUSPENSIONS_MAX)] = ()
    """The suspensions that are still open; if there are none, the order ships again."""


class Extended(FulfillmentEvent, type="fulfillment.extended"):
    lines: PlacedLines
    """The pieces that were added."""
    shipments: Annotated[tuple[ShipmentPlan, ...], Field(max_length=LOCATIONS_MAX)] = ()
    """The shipments that they joined or formed, each with all its pieces; none before a start."""
    ship_to: Annotated[Address, Personal()] | None = None
    """Where the new ones of `shipments` go."""


class Reduced(FulfillmentEvent, type="fulfillment.reduced"):
    lines: PlacedLines
    """The pieces that went back, by location."""
    shipments: Annotated[tuple[ShipmentPlan, ...], Field(max_length=SHIPMENTS_MAX)] = ()
    """The shipments that they were taken from, each with the pieces left; one without pieces is cancelled."""


class Restocked(FulfillmentEvent, type="fulfillment.restocked"):
    lines: PlacedLines
    """The pieces that are on the shelf again, by location."""
