"""Decisions on an order that was placed: its shipping stops and goes on, it gets pieces, gives pieces back, restocks some.

Holds and edits suspend, edits extend and reduce, refunds restock; the decisions depend on none of these reasons.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.deciding import Context, Effect
from contracts.fulfillment import (
    Extend,
    Extended,
    OutOfStock,
    PlacedLine,
    Reduce,
    Reduced,
    Restock,
    Restocked,
    Resume,
    Resumed,
    ShipmentPlan,
    Suspend,
    Suspended,
    TooLate,
    WantedLine,
)
from contracts.limits import SUSPENSIONS_MAX
from contracts.snapshot import Address
from fulfillment.domain.decisions import answer, find, fulfilled, planned
from fulfillment.domain.folds import evolve
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.pieces import added, of, summed

# -- shipping stops and goes on -------------------------------------------------------------------------------------


def suspend(state: Fulfillment, command: Suspend, context: Context) -> list[Effect]:
    if len(state.suspensions) >= SUSPENSIONS_MAX:
        raise ValueError(f"the order has {SUSPENSIONS_MAX} open suspensions: resume some")
    shipped = tuple(one.shipment_id for one in state.shipments if one.has_shipped)
    return [Suspended(**answer(command, context, state.totals), since=context.now, shipped=shipped)]


def resume(state: Fulfillment, command: Resume, context: Context) -> list[Effect]:
    """A goal: the suspension is not open. Others may be."""
    left = tuple(one.suspension_id for one in state.suspensions if one.suspension_id != command.suspension_id)
    ended = command.suspension_id
    return [Resumed(**answer(command, context, state.totals), suspension_id=ended, open=left)]


# -- more pieces, fewer pieces --------------------------------------------------------------------------------------


def extend(state: Fulfillment, command: Extend, context: Context) -> list[Effect]:
    """All lines or none, each whole at one location: one where pieces of the line are held, else the first that has
    enough.

    A fulfilled order has been started: its new pieces are handed to a shipment at once, and it is fulfilled again later.
    """
    homes: dict[str, set[str]] = {}
    for line in state.held:
        homes.setdefault(line.line_id, set()).add(line.location)

    def locations_of(line: WantedLine) -> Sequence[str]:
        here = homes.get(line.line_id, set())
        return sorted(command.locations, key=lambda location: location not in here)

    placed, short = find(command.lines, locations_of, context)
    if short:
        return [OutOfStock(**answer(command, context, state.totals), short=short)]
    before = state.totals
    totals = before.model_copy(update={"reserved": before.reserved + sum(line.quantity for line in placed)})
    was_started = state.status in ("started", "fulfilled")
    return [
        Extended(
            **answer(command, context, totals),
            lines=placed,
            shipments=_joined(state, placed, context) if was_started else (),
            ship_to=(command.ship_to or _latest_address(state)) if was_started else None,
        )
    ]


def _joined(state: Fulfillment, placed: tuple[PlacedLine, ...], context: Context) -> tuple[ShipmentPlan, ...]:
    """Each location's pieces with those of its open shipment; where there is none, a new shipment."""
    return tuple(
        new
        if (there := state.open_shipment(new.location)) is None
        else ShipmentPlan(
            shipment_id=there.shipment_id, location=there.location, lines=added((*there.lines, *new.lines))
        )
        for new in planned(placed, context)
    )


def _latest_address(state: Fulfillment) -> Address | None:
    return next((one.ship_to for one in reversed(state.shipments) if one.status != "cancelled" and one.ship_to), None)


def reduce(state: Fulfillment, command: Reduce, context: Context) -> list[Effect]:
    """All pieces or none. What was reserved last goes first: what was placed first ships unchanged if it can."""
    left = {line.line_id: line.quantity for line in command.lines}
    gone: list[PlacedLine] = []
    for line in reversed(state.held):
        pieces = min(line.quantity, left.get(line.line_id, 0))
        if pieces:
            left[line.line_id] -= pieces
            gone.append(of(line, pieces))
    late = {line_id for line_id, pieces in left.items() if pieces}
    if shipped := tuple(line for line in summed(state.shipped_parts) if line.line_id in late):
        where = tuple(
            one.shipment_id
            for one in state.shipments
            if one.has_shipped and any(line.line_id in late for part in one.parts for line in part.lines)
        )
        return [TooLate(**answer(command, context, state.totals), shipped=where, lines=shipped)]
    after = evolve(state, Reduced(**answer(command, context, state.totals), lines=tuple(gone)))
    reduced = Reduced(
        **answer(command, context, after.totals),
        lines=tuple(gone),
        shipments=tuple(
            ShipmentPlan(shipment_id=now.shipment_id, location=now.location, lines=now.lines)
            for then, now in zip(state.shipments, after.shipments, strict=True)
            if now is not then
        ),
    )
    if state.status != "started" or any(one.is_open for one in after.shipments):
        return [reduced]
    return [reduced, *fulfilled(state, after.totals, context)]


# -- back on the shelf ----------------------------------------------------------------------------------------------


def restock(state: Fulfillment, command: Restock, context: Context) -> list[Effect]:
    """Pieces that shipped, at most those that are not on the shelf again, to the locations that they shipped from."""
    left = {line.line_id: line.quantity for line in command.lines}
    back: list[PlacedLine] = []
    for part in state.shipped_parts:
        for line in part.lines:
            pieces = min(line.quantity - part.restocked.get(line.line_id, 0), left.get(line.line_id, 0))
            if pieces:
                left[line.line_id] -= pieces
                back.append(of(line, pieces))
    return [Restocked(**answer(command, context, state.totals), lines=added(back))]
