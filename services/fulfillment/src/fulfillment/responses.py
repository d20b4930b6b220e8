"""Response models of fulfillment's HTTP."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel

from contracts.base import Timestamp
from contracts.fulfillment import PlacedLine, StockTotals
from contracts.snapshot import Address
from fulfillment.domain.fulfillment import ShipmentStatus, Status


class StockShown(BaseModel):
    """Pieces of one SKU at one location."""

    location: str
    sku: str
    on_hand: int
    reserved: int
    available: int
    """on_hand - reserved"""
    version: int
    """Counts the changes of the count; reservations do not change it."""


class CountRefused(BaseModel):
    location: str
    sku: str
    code: str
    detail: str


class CountsWritten(BaseModel):
    set: int
    """Number of counts that were set."""
    refused: list[CountRefused]


class ShipmentOfOrder(BaseModel):
    shipment_id: UUID
    location: str
    status: ShipmentStatus
    lines: list[PlacedLine]
    ship_to: Address | None
    carrier: str | None
    tracking_number: str | None


class ShipmentShown(ShipmentOfOrder):
    order_id: UUID
    version: int
    """Number of published events of its order's fulfillment; `ETag` of the shipment."""


class ShipmentRow(ShipmentShown):
    created_at: Timestamp
    shipped_at: Timestamp | None
    delivered_at: Timestamp | None


class SuspensionShown(BaseModel):
    suspension_id: UUID
    """The operation that suspended."""
    since: Timestamp


class FulfillmentSummary(BaseModel):
    """The fulfillment of one order in a list."""

    order_id: UUID
    version: int
    status: Status
    totals: StockTotals
    created_at: Timestamp


class FulfillmentShown(BaseModel):
    """The fulfillment of one order."""

    order_id: UUID
    version: int
    status: Status
    totals: StockTotals
    lines: list[PlacedLine]
    """The pieces that are reserved."""
    shipments: list[ShipmentOfOrder]
    restocked: list[PlacedLine]
    """The shipped pieces that are on the shelf again."""
    suspensions: list[SuspensionShown]
    """While there is one, nothing ships: open shipments are `on_hold`."""
