"""The pieces of one order: reserved, handed to the warehouse, shipped or given back. A piece is given back or shipped
exactly once.

    none --reserve--> reserved --start--> started --every shipment ships--> fulfilled
                        | release            | cancel: nothing has shipped
                     released            cancelled                    (a new reserve may follow either)

The point of no return is the first shipment that ships: after it a cancel is too late for the whole order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypedDict, assert_never
from uuid import UUID

from contracts.base import Command, Document, OrderKeyed, Personal, Text
from contracts.deciding import Context, Effect, Refusal
from contracts.fulfillment import (
    CancelShipments,
    Delivered,
    Fulfilled,
    OutOfStock,
    PlacedLine,
    Release,
    Released,
    Reserve,
    Reserved,
    ShipmentPlan,
    ShipmentsCancelled,
    Shipped,
    ShortLine,
    Start,
    Started,
    StockTotals,
    TooLate,
)
from contracts.snapshot import Address
from fulfillment.domain.stock import SetStock, Stock, StockItem, StockKey

Status = Literal["none", "reserved", "released", "started", "cancelled", "fulfilled"]
ShipmentStatus = Literal["picking", "shipped", "delivered", "cancelled"]
FulfillmentEvent = (
    Reserved | OutOfStock | Released | Started | Shipped | Delivered | Fulfilled | ShipmentsCancelled | TooLate
)


class Ship(OrderKeyed, Command, type="fulfillment.ship_shipment"):
    """The parcel has left. Shipping twice changes nothing."""

    shipment_id: UUID
    carrier: Text | None = None
    tracking_number: Annotated[Text, Personal()] | None = None


class Deliver(OrderKeyed, Command, type="fulfillment.deliver_shipment"):
    """The parcel has arrived. Delivering twice changes nothing."""

    shipment_id: UUID


class Shipment(Document):
    shipment_id: UUID
    reservation_id: UUID | None = None
    """The reservation that its pieces come from."""
    location: str
    status: ShipmentStatus = "picking"
    lines: tuple[PlacedLine, ...]
    ship_to: Annotated[Address, Personal()] | None = None
    carrier: str | None = None
    tracking_number: Annotated[str, Personal()] | None = None

    @property
    def has_shipped(self) -> bool:
        return self.status in ("shipped", "delivered")


class Fulfillment(Document):
    schema_version: int = 1
    status: Status = "none"
    reservation_id: UUID | None = None
    """The operation of the `reserve` that holds now or held last: its rows in `reservations`."""
    lines: tuple[PlacedLine, ...] = ()
    """Reserved and not yet handed to a shipment."""
    shipments: tuple[Shipment, ...] = ()
    """Those of the latest attempt, and those that have shipped. The table `shipments` has all."""
    starts: tuple[UUID, ...] = ()
    """Operations of `start` that still wait for `fulfilled`."""

    @property
    def held(self) -> tuple[PlacedLine, ...]:
        """What counts as reserved in stock: neither given back nor shipped."""
        return self.lines + _lines_of(shipment for shipment in self.shipments if shipment.status == "picking")

    @property
    def totals(self) -> StockTotals:
        shipped = _lines_of(shipment for shipment in self.shipments if shipment.has_shipped)
        return StockTotals(reserved=_pieces(self.held), shipped=_pieces(shipped))

    def shipment(self, shipment_id: UUID) -> Shipment | None:
        return next((shipment for shipment in self.shipments if shipment.shipment_id == shipment_id), None)


def new_fulfillment(key: UUID, store_id: str) -> Fulfillment:
    return Fulfillment()


def needs(state: Fulfillment | StockItem, message: object) -> Iterable[StockKey]:
    """The stock that a decision on `message` may read or change.

    `state` is the one before the batch: what an earlier message of the same batch reserves for the same order, that
    message named already.
    """
    match message:
        case Reserve(store_id=store, lines=lines, locations=locations):
            return {StockKey(store, location, line.sku) for line in lines for location in locations}
        case Release(store_id=store) | CancelShipments(store_id=store) | Ship(store_id=store):
            assert isinstance(state, Fulfillment)
            return {StockKey(store, line.location, line.sku) for line in state.held}
        case SetStock(store_id=store, location=location, sku=sku):
            return {StockKey(store, location, sku)}
        case _:
            return ()


# -- decisions ------------------------------------------------------------------------------------------------------


def reserve(state: Fulfillment, command: Reserve, context: Context) -> list[Effect]:
    """All lines or none, each whole at the first location that has enough after the lines before it."""
    if state.status in ("reserved", "started", "fulfilled"):
        standing = state.lines + _lines_of(shipment for shipment in state.shipments if shipment.status != "cancelled")
        return [Reserved(**_answer(command, context, state.totals), lines=standing, again=True)]
    if len({line.line_id for line in command.lines}) != len(command.lines):
        raise ValueError("lines: line_id must be unique in the order")  # poison: no answer to it could be right
    taken: dict[StockKey, int] = {}
    placed: list[PlacedLine] = []
    short: list[ShortLine] = []
    for line in command.lines:
        most = 0
        for location in command.locations:
            key = StockKey(context.store_id, location, line.sku)
            stock: Stock = context.shares.get(key) or Stock()
            available = max(stock.available - taken.get(key, 0), 0)
            if available >= line.quantity:
                taken[key] = taken.get(key, 0) + line.quantity
                placed.append(PlacedLine(line_id=line.line_id, sku=line.sku, location=location, quantity=line.quantity))
                break
            most = max(most, available)
        else:
            short.append(ShortLine(line_id=line.line_id, sku=line.sku, wanted=line.quantity, available=most))
    if short:
        return [OutOfStock(**_answer(command, context, state.totals), short=tuple(short))]
    totals = state.totals.model_copy(update={"reserved": _pieces(placed)})
    return [Reserved(**_answer(command, context, totals), lines=tuple(placed))]


def release(state: Fulfillment, command: Release, context: Context) -> list[Effect]:
    """A goal: nothing stays reserved. Shipments that have not shipped are cancelled with it; what has shipped, has.

    Who releases a started order without a cancel first skips the question whether it is too late. The pieces go back
    all the same, because a reservation without an owner would stay for ever.
    """
    totals = state.totals.model_copy(update={"reserved": 0})
    effects: list[Effect] = [Released(**_answer(command, context, totals), lines=state.held)]
    if any(shipment.has_shipped for shipment in state.shipments):
        effects += _fulfilled(state.starts, totals, context)
    return effects


def start(state: Fulfillment, command: Start, context: Context) -> list[Effect]:
    """One shipment per location. Without a reservation nothing will ship: that is `cancelled`, the no to a start.

    A further start makes no new shipment; its address replaces that of the shipments that have not shipped.
    """
    if state.status in ("none", "released", "cancelled"):
        return [ShipmentsCancelled(**_answer(command, context, state.totals), lines=())]
    if state.status == "reserved":
        plans = _plan(state.lines, context)
        is_open = bool(plans)
    else:
        plans = tuple(
            ShipmentPlan(shipment_id=shipment.shipment_id, location=shipment.location, lines=shipment.lines)
            for shipment in state.shipments
            if shipment.status != "cancelled"
        )
        is_open = any(shipment.status == "picking" for shipment in state.shipments)
    started = Started(**_answer(command, context, state.totals), shipments=plans, ship_to=command.ship_to)
    if is_open:
        return [started]
    return [started, *_fulfilled((command.operation_id,), state.totals, context)]


def cancel(state: Fulfillment, command: CancelShipments, context: Context) -> list[Effect]:
    """Nothing has shipped: everything goes back. Anything has: too late for the whole order."""
    if shipped := tuple(shipment.shipment_id for shipment in state.shipments if shipment.has_shipped):
        return [TooLate(**_answer(command, context, state.totals), shipped=shipped)]
    totals = state.totals.model_copy(update={"reserved": 0})
    return [ShipmentsCancelled(**_answer(command, context, totals), lines=state.held)]


def ship(state: Fulfillment, command: Ship, context: Context) -> list[Effect]:
    shipment = state.shipment(command.shipment_id)
    if shipment is None:
        return [Refusal("shipment_unknown", f"the order has no shipment {command.shipment_id}")]
    if shipment.status == "cancelled":
        return [Refusal("shipment_cancelled", "its pieces went back to stock: do not send them")]
    if shipment.has_shipped:
        return []
    pieces, before = _pieces(shipment.lines), state.totals
    totals = StockTotals(reserved=before.reserved - pieces, shipped=before.shipped + pieces)
    shipped = Shipped(
        **_answer(command, context, totals),
        shipment_id=shipment.shipment_id,
        location=shipment.location,
        lines=shipment.lines,
        carrier=command.carrier,
        tracking_number=command.tracking_number,
    )
    if any(other.status == "picking" for other in state.shipments if other is not shipment):
        return [shipped]
    return [shipped, *_fulfilled(state.starts, totals, context)]


def deliver(state: Fulfillment, command: Deliver, context: Context) -> list[Effect]:
    shipment = state.shipment(command.shipment_id)
    if shipment is None:
        return [Refusal("shipment_unknown", f"the order has no shipment {command.shipment_id}")]
    if shipment.status == "cancelled":
        return [Refusal("shipment_cancelled", "it never left")]
    if shipment.status == "picking":
        return [Refusal("shipment_not_shipped", "it has not left yet: ship it first")]
    if shipment.status == "delivered":
        return []
    return [Delivered(**_answer(command, context, state.totals), shipment_id=shipment.shipment_id)]


# -- what an event makes of the state -------------------------------------------------------------------------------


def evolve(state: Fulfillment, event: FulfillmentEvent) -> Fulfillment:
    match event:
        case Reserved(again=True) | OutOfStock() | TooLate():
            return state
        case Reserved(lines=lines, operation_id=operation):
            return state.model_copy(update={"status": "reserved", "lines": lines, "reservation_id": operation})
        case Released():
            return _given_back(state, "released") if state.status in ("reserved", "started") else state
        case ShipmentsCancelled():
            return _given_back(state, "cancelled")
        case Started():
            return _started(state, event)
        case Shipped(shipment_id=shipment_id, carrier=carrier, tracking_number=number):
            return _with(state, shipment_id, {"status": "shipped", "carrier": carrier, "tracking_number": number})
        case Delivered(shipment_id=shipment_id):
            return _with(state, shipment_id, {"status": "delivered"})
        case Fulfilled(operation_id=operation):
            waiting = tuple(start for start in state.starts if start != operation)
            return state.model_copy(update={"status": "fulfilled", "starts": waiting})
        case _:
            assert_never(event)


def compact(state: Fulfillment) -> Fulfillment:
    """Without the cancelled shipments of earlier attempts: the document does not grow with each."""
    stay = tuple(
        one for one in state.shipments if one.status != "cancelled" or one.reservation_id == state.reservation_id
    )
    return state if len(stay) == len(state.shipments) else state.model_copy(update={"shipments": stay})


def _given_back(state: Fulfillment, status: Status) -> Fulfillment:
    shipments = tuple(
        shipment.model_copy(update={"status": "cancelled"}) if shipment.status == "picking" else shipment
        for shipment in state.shipments
    )
    if any(shipment.has_shipped for shipment in shipments):  # the rest has gone its way: `fulfilled` follows
        return state.model_copy(update={"lines": (), "shipments": shipments})
    return state.model_copy(update={"status": status, "lines": (), "shipments": shipments, "starts": ()})


def _started(state: Fulfillment, event: Started) -> Fulfillment:
    operation, ship_to = event.operation_id, event.ship_to
    known = {shipment.shipment_id for shipment in state.shipments}
    readdressed = tuple(
        shipment.model_copy(update={"ship_to": ship_to})
        if ship_to is not None and shipment.status == "picking" and shipment.ship_to != ship_to
        else shipment
        for shipment in state.shipments
    )
    added = tuple(
        Shipment(
            shipment_id=plan.shipment_id,
            reservation_id=state.reservation_id,
            location=plan.location,
            lines=plan.lines,
            ship_to=ship_to,
        )
        for plan in event.shipments
        if plan.shipment_id not in known
    )
    starts = state.starts if operation is None or operation in state.starts else (*state.starts, operation)
    shipments = readdressed + added
    return state.model_copy(update={"status": "started", "lines": (), "shipments": shipments, "starts": starts})


def _with(state: Fulfillment, shipment_id: UUID, change: dict[str, object]) -> Fulfillment:
    shipments = tuple(
        shipment.model_copy(update=change) if shipment.shipment_id == shipment_id else shipment
        for shipment in state.shipments
    )
    return state.model_copy(update={"shipments": shipments})


# -- helpers --------------------------------------------------------------------------------------------------------


class _Answer(TypedDict):
    order_id: UUID
    store_id: str
    operation_id: UUID
    totals: StockTotals


def _answer(command: Command, context: Context, totals: StockTotals) -> _Answer:
    """What every answer carries."""
    return _Answer(order_id=context.key, store_id=context.store_id, operation_id=command.operation_id, totals=totals)


def _plan(lines: tuple[PlacedLine, ...], context: Context) -> tuple[ShipmentPlan, ...]:
    """One shipment per location, in the order in which the lines name them."""
    by_location: dict[str, list[PlacedLine]] = {}
    for line in lines:
        by_location.setdefault(line.location, []).append(line)
    return tuple(
        ShipmentPlan(shipment_id=context.new_id(f"shipment:{location}"), location=location, lines=tuple(here))
        for location, here in by_location.items()
    )


def _fulfilled(starts: tuple[UUID, ...], totals: StockTotals, context: Context) -> list[Effect]:
    """Nothing is left to ship: answers every start that waits for it."""
    return [
        Fulfilled(order_id=context.key, store_id=context.store_id, operation_id=start, totals=totals)
        for start in starts
    ]


def _lines_of(shipments: Iterable[Shipment]) -> tuple[PlacedLine, ...]:
    return tuple(line for shipment in shipments for line in shipment.lines)


def _pieces(lines: Iterable[PlacedLine]) -> int:
    return sum(line.quantity for line in lines)
