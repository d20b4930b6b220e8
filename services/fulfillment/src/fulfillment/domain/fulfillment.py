"""The pieces of one order: reserved, handed to the warehouse, shipped or given back. A piece is given back or shipped
exactly once.

    none --reserve--> reserved --start--> started --nothing is left to ship--> fulfilled
                        | release            | cancel: nothing has shipped         | extend
                     released            cancelled                              started again
                        (a new reserve, or an extend, may follow either)

`extend` and `reduce` change the pieces of any of these states. A suspension stops shipping in any of them:

    shipment:  picking <--suspend, resume--> on_hold
                 | ship                        | cancel, release, reduce to nothing (also from picking)
               shipped --deliver--> delivered  cancelled

The point of no return is the first shipment that ships: after it a cancel is too late for the whole order. Decisions on
commands before that are here, those that change what was placed are in `changes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal, TypedDict, assert_never
from uuid import UUID

from contracts.base import Command, Document, OrderKeyed, Personal, Text, Timestamp
from contracts.deciding import Context, Effect, Refusal
from contracts.fulfillment import (
    CancelShipments,
    Delivered,
    Extend,
    Extended,
    Fulfilled,
    LinePieces,
    OutOfStock,
    PlacedLine,
    Reduce,
    Reduced,
    Release,
    Released,
    Reserve,
    Reserved,
    Restock,
    Restocked,
    Resumed,
    ShipmentPlan,
    ShipmentsCancelled,
    Shipped,
    ShortLine,
    Start,
    Started,
    StockTotals,
    Suspended,
    TooLate,
    WantedLine,
)
from contracts.snapshot import Address
from fulfillment.domain.pieces import Part, Parts, added, count, of, quantities, restocked, summed, without
from fulfillment.domain.stock import FilledShelf, SetStock, Stock, StockItem, StockKey

Status = Literal["none", "reserved", "released", "started", "cancelled", "fulfilled"]
ShipmentStatus = Literal["on_hold", "picking", "shipped", "delivered", "cancelled"]
FulfillmentEvent = (
    Reserved
    | OutOfStock
    | Released
    | Started
    | Shipped
    | Delivered
    | Fulfilled
    | ShipmentsCancelled
    | TooLate
    | Suspended
    | Resumed
    | Extended
    | Reduced
    | Restocked
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
    """The attempt that it is of: the operation of its reservation."""
    location: str
    status: ShipmentStatus = "picking"
    parts: Parts
    ship_to: Annotated[Address, Personal()] | None = None
    carrier: str | None = None
    tracking_number: Annotated[str, Personal()] | None = None

    @property
    def lines(self) -> tuple[PlacedLine, ...]:
        return summed(self.parts)

    @property
    def is_open(self) -> bool:
        """Whether it can ship, now or once the order is resumed."""
        return self.status in ("picking", "on_hold")

    @property
    def has_shipped(self) -> bool:
        return self.status in ("shipped", "delivered")


class Suspension(Document):
    """Nothing ships while there is one."""

    suspension_id: UUID
    """The operation of the `suspend`."""
    since: Timestamp


class Fulfillment(Document):
    schema_version: int = 1
    status: Status = "none"
    reservation_id: UUID | None = None
    """The attempt: the operation of the `reserve`, or of the `extend`, that made the present or the last reservation."""
    parts: Parts = ()
    """Reserved and not yet handed to a shipment."""
    shipments: tuple[Shipment, ...] = ()
    """Those of the latest attempt, and those that have shipped. The table `shipments` has all. At most one per location is
    open."""
    starts: tuple[UUID, ...] = ()
    """Operations of `start` that still wait for `fulfilled`."""
    suspensions: tuple[Suspension, ...] = ()
    """Open ones, oldest first."""

    @property
    def held_parts(self) -> Parts:
        """What counts as reserved in stock: neither given back nor shipped."""
        return self.parts + tuple([part for shipment in self.shipments if shipment.is_open for part in shipment.parts])

    @property
    def held(self) -> tuple[PlacedLine, ...]:
        return summed(self.held_parts)

    @property
    def shipped_parts(self) -> Parts:
        return tuple([part for shipment in self.shipments if shipment.has_shipped for part in shipment.parts])

    @property
    def restocked(self) -> tuple[PlacedLine, ...]:
        """The shipped pieces that are on the shelf again."""
        return added(
            of(line, part.restocked[line.line_id])
            for part in self.shipped_parts
            for line in part.lines
            if line.line_id in part.restocked
        )

    @property
    def totals(self) -> StockTotals:
        return StockTotals(reserved=count(self.held_parts), shipped=count(self.shipped_parts))

    def shipment(self, shipment_id: UUID) -> Shipment | None:
        return next((shipment for shipment in self.shipments if shipment.shipment_id == shipment_id), None)

    def open_shipment(self, location: str) -> Shipment | None:
        return next((one for one in self.shipments if one.is_open and one.location == location), None)


def new_fulfillment(key: UUID, store_id: str) -> Fulfillment:
    return Fulfillment()


def needs(state: Fulfillment | StockItem, message: object) -> Iterable[StockKey | FilledShelf]:
    """The stock that a decision on `message` may read or change.

    `state` is the one before the batch: what an earlier message of the same batch reserves for the same order, that
    message named already.
    """
    match message:
        case (
            Reserve(store_id=store, lines=lines, locations=locations)
            | Extend(store_id=store, lines=lines, locations=locations)
        ):
            return {StockKey(store, location, line.sku) for line in lines for location in locations}
        case Release(store_id=store) | CancelShipments(store_id=store) | Ship(store_id=store):
            assert isinstance(state, Fulfillment)
            return {StockKey(store, line.location, line.sku) for part in state.held_parts for line in part.lines}
        case Reduce(store_id=store, lines=lines):
            assert isinstance(state, Fulfillment)
            return {StockKey(store, line.location, line.sku) for line in _named(state.held_parts, lines)}
        case Restock(store_id=store, lines=lines):
            assert isinstance(state, Fulfillment)
            shelves = {StockKey(store, line.location, line.sku) for line in _named(state.shipped_parts, lines)}
            return [*shelves, *(FilledShelf(*shelf) for shelf in shelves)]
        case SetStock(store_id=store, location=location, sku=sku):
            return StockKey(store, location, sku), FilledShelf(store, location, sku)
        case _:
            return ()


# -- decisions ------------------------------------------------------------------------------------------------------


def reserve(state: Fulfillment, command: Reserve, context: Context) -> list[Effect]:
    """All lines or none, each whole at the first location that has enough after the lines before it."""
    if state.status in ("reserved", "started", "fulfilled"):
        shipments = tuple(part for one in state.shipments if one.status != "cancelled" for part in one.parts)
        standing = summed(state.parts + shipments)
        return [Reserved(**answer(command, context, state.totals), lines=standing, again=True)]
    if len({line.line_id for line in command.lines}) != len(command.lines):
        raise ValueError("lines: line_id must be unique in the order")  # poison: no answer to it could be right
    placed, short = find(command.lines, lambda line: command.locations, context)
    if short:
        return [OutOfStock(**answer(command, context, state.totals), short=short)]
    totals = state.totals.model_copy(update={"reserved": sum(line.quantity for line in placed)})
    return [Reserved(**answer(command, context, totals), lines=placed)]


def find(
    lines: Iterable[WantedLine], locations_of: Callable[[WantedLine], Sequence[str]], context: Context
) -> tuple[tuple[PlacedLine, ...], tuple[ShortLine, ...]]:
    """Returns where each line has enough, after the lines before it, and the lines that no location has enough of."""
    taken: dict[StockKey, int] = {}
    placed: list[PlacedLine] = []
    short: list[ShortLine] = []
    for line in lines:
        most = 0
        for location in locations_of(line):
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
    return tuple(placed), tuple(short)


def release(state: Fulfillment, command: Release, context: Context) -> list[Effect]:
    """A goal: nothing stays reserved. Shipments that have not shipped are cancelled with it; what has shipped, has.

    Who releases a started order without a cancel first skips the question whether it is too late. The pieces go back
    all the same, because a reservation without an owner would stay for ever.
    """
    totals = state.totals.model_copy(update={"reserved": 0})
    effects: list[Effect] = [Released(**answer(command, context, totals), lines=state.held)]
    if state.status == "started" and any(shipment.has_shipped for shipment in state.shipments):
        effects += fulfilled(state, totals, context)
    return effects


def start(state: Fulfillment, command: Start, context: Context) -> list[Effect]:
    """One shipment per location. Without a reservation nothing will ship: that is `cancelled`, the no to a start.

    A further start makes no new shipment; its address replaces that of the shipments that have not shipped.
    """
    if state.status in ("none", "released", "cancelled"):
        return [ShipmentsCancelled(**answer(command, context, state.totals), lines=())]
    if state.status == "reserved":
        plans = planned(summed(state.parts), context)
        is_open = bool(plans)
    else:
        plans = tuple(
            ShipmentPlan(shipment_id=shipment.shipment_id, location=shipment.location, lines=shipment.lines)
            for shipment in state.shipments
            if shipment.status != "cancelled"
        )
        is_open = any(shipment.is_open for shipment in state.shipments)
    started = Started(**answer(command, context, state.totals), shipments=plans, ship_to=command.ship_to)
    if is_open:
        return [started]
    return [started, _fulfilled(command.operation_id, state.totals, context)]


def cancel(state: Fulfillment, command: CancelShipments, context: Context) -> list[Effect]:
    """Nothing has shipped: everything goes back. Anything has: too late for the whole order."""
    if shipped := tuple(shipment.shipment_id for shipment in state.shipments if shipment.has_shipped):
        return [TooLate(**answer(command, context, state.totals), shipped=shipped)]
    totals = state.totals.model_copy(update={"reserved": 0})
    return [ShipmentsCancelled(**answer(command, context, totals), lines=state.held)]


def ship(state: Fulfillment, command: Ship, context: Context) -> list[Effect]:
    shipment = state.shipment(command.shipment_id)
    if shipment is None:
        return [Refusal("shipment_unknown", f"the order has no shipment {command.shipment_id}")]
    if shipment.status == "cancelled":
        return [Refusal("shipment_cancelled", "its pieces went back to stock: do not send them")]
    if shipment.has_shipped:
        return []
    if shipment.status == "on_hold":
        since = min(one.since for one in state.suspensions)
        return [Refusal("shipment_on_hold", f"the order is on hold since {since:%Y-%m-%dT%H:%M:%SZ}: do not send it")]
    pieces, before = count(shipment.parts), state.totals
    totals = StockTotals(reserved=before.reserved - pieces, shipped=before.shipped + pieces)
    shipped = Shipped(
        **answer(command, context, totals),
        shipment_id=shipment.shipment_id,
        location=shipment.location,
        lines=shipment.lines,
        carrier=command.carrier,
        tracking_number=command.tracking_number,
    )
    if any(other.is_open for other in state.shipments if other is not shipment):
        return [shipped]
    return [shipped, *fulfilled(state, totals, context)]


def deliver(state: Fulfillment, command: Deliver, context: Context) -> list[Effect]:
    shipment = state.shipment(command.shipment_id)
    if shipment is None:
        return [Refusal("shipment_unknown", f"the order has no shipment {command.shipment_id}")]
    if shipment.status == "cancelled":
        return [Refusal("shipment_cancelled", "it never left")]
    if shipment.is_open:
        return [Refusal("shipment_not_shipped", "it has not left yet: ship it first")]
    if shipment.status == "delivered":
        return []
    return [Delivered(**answer(command, context, state.totals), shipment_id=shipment.shipment_id)]


# -- what an event makes of the state -------------------------------------------------------------------------------


def evolve(state: Fulfillment, event: FulfillmentEvent) -> Fulfillment:
    match event:
        case Reserved(again=True) | OutOfStock() | TooLate():
            return state
        case Reserved(lines=lines, operation_id=operation):
            return state.model_copy(
                update={"status": "reserved", "parts": _part(operation, lines), "reservation_id": operation}
            )
        case Released():
            return _given_back(state, "released" if state.status in ("reserved", "started") else state.status)
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
        case Suspended() if state.status in ("released", "cancelled"):
            return state  # the attempt that it was to stop has ended; the next one is not to be stopped
        case Suspended(operation_id=operation, since=since):
            assert operation is not None, "a suspension is named by its operation"
            return _on_hold(state, (*state.suspensions, Suspension(suspension_id=operation, since=since)))
        case Resumed(suspension_id=resumed):
            return _on_hold(state, tuple(one for one in state.suspensions if one.suspension_id != resumed))
        case Extended():
            return _extended(state, event) if event.lines else state
        case Reduced(lines=lines):
            return _reduced(state, lines)
        case Restocked(lines=lines):
            return _restocked(state, lines)
        case _:
            assert_never(event)


def compact(state: Fulfillment) -> Fulfillment:
    """Without cancelled shipments of earlier attempts and emptied ones: the document does not grow with each."""
    stay = tuple(
        one
        for one in state.shipments
        if one.status != "cancelled" or (one.reservation_id == state.reservation_id and one.parts)
    )
    return state if len(stay) == len(state.shipments) else state.model_copy(update={"shipments": stay})


def _given_back(state: Fulfillment, status: Status) -> Fulfillment:
    shipments = tuple(
        shipment.model_copy(update={"status": "cancelled"}) if shipment.is_open else shipment
        for shipment in state.shipments
    )
    if any(shipment.has_shipped for shipment in shipments):  # the rest has gone its way: `fulfilled` follows
        return state.model_copy(update={"parts": (), "shipments": shipments})
    over = {"status": status, "parts": (), "shipments": shipments, "starts": (), "suspensions": ()}
    return state.model_copy(update=over)


def _started(state: Fulfillment, event: Started) -> Fulfillment:
    operation, ship_to = event.operation_id, event.ship_to
    known = {shipment.shipment_id for shipment in state.shipments}
    readdressed = tuple(
        shipment.model_copy(update={"ship_to": ship_to})
        if ship_to is not None and shipment.is_open and shipment.ship_to != ship_to
        else shipment
        for shipment in state.shipments
    )
    made = tuple(
        _shipment(state, plan, state.parts, ship_to) for plan in event.shipments if plan.shipment_id not in known
    )
    starts = state.starts if operation is None or operation in state.starts else (*state.starts, operation)
    shipments = readdressed + made
    return state.model_copy(update={"status": "started", "parts": (), "shipments": shipments, "starts": starts})


def _shipment(state: Fulfillment, plan: ShipmentPlan, parts: Parts, ship_to: Address | None) -> Shipment:
    """A new shipment of the parts' pieces at its location."""
    return Shipment(
        shipment_id=plan.shipment_id,
        reservation_id=state.reservation_id,
        location=plan.location,
        status="on_hold" if state.suspensions else "picking",
        parts=tuple(here for part in parts if (here := part.at(plan.location)).lines),
        ship_to=ship_to,
    )


def _on_hold(state: Fulfillment, suspensions: tuple[Suspension, ...]) -> Fulfillment:
    status = "on_hold" if suspensions else "picking"
    shipments = tuple(
        one.model_copy(update={"status": status}) if one.is_open and one.status != status else one
        for one in state.shipments
    )
    return state.model_copy(update={"suspensions": suspensions, "shipments": shipments})


def _extended(state: Fulfillment, event: Extended) -> Fulfillment:
    """The pieces make a reservation, join it, or are handed to shipments: to open ones or new ones."""
    more = _part(event.operation_id, event.lines)
    if state.status in ("none", "released", "cancelled"):
        first = {"status": "reserved", "parts": more, "reservation_id": event.operation_id}
        return state.model_copy(update=first)
    if state.status == "reserved":
        return state.model_copy(update={"parts": state.parts + more})
    shipments = list(state.shipments)
    for plan in event.shipments:
        if (shipment := state.open_shipment(plan.location)) is None:
            shipments.append(_shipment(state, plan, more, event.ship_to))
        else:
            parts = shipment.parts + tuple(part.at(plan.location) for part in more)
            shipments[shipments.index(shipment)] = shipment.model_copy(update={"parts": parts})
    return state.model_copy(update={"status": "started", "shipments": tuple(shipments)})


def _reduced(state: Fulfillment, lines: tuple[PlacedLine, ...]) -> Fulfillment:
    gone = quantities(lines)
    parts = without(state.parts, gone)
    shipments = tuple(_taken(one, without(one.parts, gone)) if one.is_open else one for one in state.shipments)
    return state.model_copy(update={"parts": parts, "shipments": shipments})


def _taken(shipment: Shipment, parts: Parts) -> Shipment:
    """A shipment with the parts that are left; without any there is nothing to send."""
    if parts == shipment.parts:
        return shipment
    return shipment.model_copy(update={"parts": parts} if parts else {"parts": (), "status": "cancelled"})


def _restocked(state: Fulfillment, lines: tuple[PlacedLine, ...]) -> Fulfillment:
    back = quantities(lines)
    shipments = tuple(
        one.model_copy(update={"parts": tuple(restocked(part, back) for part in one.parts)}) if one.has_shipped else one
        for one in state.shipments
    )
    return state.model_copy(update={"shipments": shipments})


def _part(operation: UUID | None, lines: tuple[PlacedLine, ...]) -> Parts:
    """The pieces that an operation reserved: one part, none without pieces."""
    assert operation is not None, "pieces are reserved by an operation"
    return (Part(operation_id=operation, lines=lines),) if lines else ()


def _with(state: Fulfillment, shipment_id: UUID, change: dict[str, object]) -> Fulfillment:
    shipments = tuple(
        shipment.model_copy(update=change) if shipment.shipment_id == shipment_id else shipment
        for shipment in state.shipments
    )
    return state.model_copy(update={"shipments": shipments})


# -- helpers --------------------------------------------------------------------------------------------------------


class Answer(TypedDict):
    order_id: UUID
    store_id: str
    operation_id: UUID
    totals: StockTotals


def answer(command: Command, context: Context, totals: StockTotals) -> Answer:
    """What every answer carries."""
    return Answer(order_id=context.key, store_id=context.store_id, operation_id=command.operation_id, totals=totals)


def planned(lines: tuple[PlacedLine, ...], context: Context) -> tuple[ShipmentPlan, ...]:
    """One shipment per location, in the order in which the lines name them."""
    by_location: dict[str, list[PlacedLine]] = {}
    for line in lines:
        by_location.setdefault(line.location, []).append(line)
    return tuple(
        ShipmentPlan(shipment_id=context.new_id(f"shipment:{location}"), location=location, lines=tuple(here))
        for location, here in by_location.items()
    )


def fulfilled(state: Fulfillment, totals: StockTotals, context: Context) -> list[Effect]:
    """Nothing is left to ship: answers every start that waits for it; without one the fact is stated."""
    return [_fulfilled(start, totals, context) for start in state.starts or (None,)]


def _fulfilled(start: UUID | None, totals: StockTotals, context: Context) -> Fulfilled:
    return Fulfilled(order_id=context.key, store_id=context.store_id, operation_id=start, totals=totals)


def _named(parts: Parts, lines: Iterable[LinePieces]) -> list[PlacedLine]:
    """The lines of the parts that `lines` name."""
    named = {line.line_id for line in lines}
    return [line for part in parts for line in part.lines if line.line_id in named]
