"""Decisions on an order's pieces, from the reservation to the delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypedDict
from uuid import UUID

from contracts.base import Command, OrderKeyed, Personal, Text
from contracts.deciding import Context, Effect, Refusal
from contracts.fulfillment import (
    CancelShipments,
    Delivered,
    Extend,
    Fulfilled,
    LinePieces,
    OutOfStock,
    PlacedLine,
    Reduce,
    Release,
    Released,
    Reserve,
    Reserved,
    Restock,
    ShipmentPlan,
    ShipmentsCancelled,
    Shipped,
    ShortLine,
    Start,
    Started,
    StockTotals,
    TooLate,
    WantedLine,
)
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.pieces import Parts, count, summed
from fulfillment.domain.stock import FilledShelf, SetStock, Stock, StockItem, StockKey


class Ship(OrderKeyed, Command, type="fulfillment.ship_shipment"):
    """The parcel has left. Shipping twice changes nothing."""

    shipment_id: UUID
    carrier: Text | None = None
    tracking_number: Annotated[Text, Personal()] | None = None


class Deliver(OrderKeyed, Command, type="fulfillment.deliver_shipment"):
    """The parcel has arrived. Delivering twice changes nothing."""

    shipment_id: UUID


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


def reserve(state: Fulfillment, command: Reserve, context: Context) -> list[Effect]:
    """All lines or none, each whole at the first location that has enough after the lines before it.

    A reservation lasts as long as pieces of it are held or have shipped. If every piece was given back, it has ended, also
    by `reduce`, which does not change the status.
    """
    if state.status in ("reserved", "started", "fulfilled") and (parts := state.held_parts + state.shipped_parts):
        return [Reserved(**answer(command, context, state.totals), lines=summed(parts), again=True)]
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
