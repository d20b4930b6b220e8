"""What fulfillment answers over HTTP, as its OpenAPI document describes it."""

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
    """Number of published events of its order's fulfilment; `ETag` of the shipment."""


class ShipmentRow(ShipmentShown):
    created_at: Timestamp
    shipped_at: Timestamp | None
    delivered_at: Timestamp | None


class FulfillmentShown(BaseModel):
    """What fulfillment does for one order."""

    order_id: UUID
    version: int
    status: Status
    totals: StockTotals
    lines: list[PlacedLine]
    """What counts as reserved in stock."""
    shipments: list[ShipmentOfOrder]
