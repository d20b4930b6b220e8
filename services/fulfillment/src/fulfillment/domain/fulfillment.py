"""The pieces of one order: reserved, handed to the warehouse, shipped or given back. A piece is given back or shipped
exactly once.

    none --reserve--> reserved --start--> started --nothing is left to ship--> fulfilled
                        | release            | cancel: nothing has shipped         | extend
                     released            cancelled                              started again
                        (a new reserve, or an extend, may follow either;
                         a new reserve also what reduce took every piece of)

`extend` and `reduce` change the pieces of any of these states. A suspension stops shipping in any of them:

    shipment:  picking <--suspend, resume--> on_hold
                 | ship                        | cancel, release, reduce to nothing (also from picking)
               shipped --deliver--> delivered  cancelled

The point of no return is the first shipment that ships: after it a cancel is too late for the whole order. `decisions.py`
takes an order from reserved to delivered, `changes.py` changes what was placed, `folds.py` has what each event makes of it.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from contracts.base import Document, Personal, Timestamp
from contracts.fulfillment import PlacedLine, StockTotals
from contracts.snapshot import Address
from fulfillment.domain.pieces import Parts, added, count, of, summed

Status = Literal["none", "reserved", "released", "started", "cancelled", "fulfilled"]
ShipmentStatus = Literal["on_hold", "picking", "shipped", "delivered", "cancelled"]


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
