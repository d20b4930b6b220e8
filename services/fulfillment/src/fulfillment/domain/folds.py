"""What each event makes of an order's pieces."""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

from contracts.fulfillment import (
    Delivered,
    Extended,
    Fulfilled,
    OutOfStock,
    PlacedLine,
    Reduced,
    Released,
    Reserved,
    Restocked,
    Resumed,
    ShipmentPlan,
    ShipmentsCancelled,
    Shipped,
    Started,
    Suspended,
    TooLate,
)
from contracts.snapshot import Address
from fulfillment.domain.fulfillment import Fulfillment, Shipment, Status, Suspension
from fulfillment.domain.pieces import Part, Parts, quantities, restocked, without

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
