"""The shape of fulfillment's database on one page."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns, chassis_tables, instant

metadata = MetaData()
chassis_tables(metadata)

BYTES = Text(collation="C")
"""Sorts by byte, as Python does: rows are locked in the same order by whoever sorts."""
ROOM_FOR_UPDATES = {"fillfactor": "70"}
"""Rows that change soon after they were written find room on their page and leave the indexes alone."""

FULFILLMENTS = Table(
    "fulfillments",
    metadata,
    *aggregate_columns(),
    Column("status", Text, nullable=False),
    instant("created_at", nullable=False, server_default=func.now()),
    CheckConstraint(
        "status in ('none', 'reserved', 'released', 'started', 'cancelled', 'fulfilled')",
        name="fulfillments_status_known",
    ),
    Index("fulfillments_by_age", "store_id", "created_at", "key"),
    postgresql_with=AGGREGATE_STORAGE,
    comment="one row per order; key = order id",
)

STOCK_ITEMS = Table(
    "stock_items",
    metadata,
    *aggregate_columns(),
    Column("location", BYTES, nullable=False),
    Column("sku", BYTES, nullable=False),
    UniqueConstraint("store_id", "location", "sku", name="stock_items_one_per_shelf"),
    postgresql_with=AGGREGATE_STORAGE,
    comment="the last count of each SKU at each location",
)

STOCK = Table(
    "stock",
    metadata,
    Column("store_id", BYTES, nullable=False),
    Column("location", BYTES, nullable=False),
    Column("sku", BYTES, nullable=False),
    Column("on_hand", BigInteger, nullable=False, comment="pieces on the shelf, held ones included"),
    Column("reserved", BigInteger, nullable=False, comment="pieces of them that orders hold"),
    PrimaryKeyConstraint("store_id", "location", "sku", name="stock_pkey"),
    CheckConstraint("on_hand >= 0", name="stock_on_hand_not_negative"),
    CheckConstraint("reserved >= 0", name="stock_reserved_not_negative"),
    CheckConstraint("reserved <= on_hand", name="stock_never_oversold"),
    postgresql_with={"fillfactor": "50"},
    comment="what orders share: locked in key order",
)

RESERVATIONS = Table(
    "reservations",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("operation_id", Uuid, nullable=False, comment="of the reserve or the extend: it reserves once, for ever"),
    Column("line_id", Text, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("location", BYTES, nullable=False),
    Column("sku", BYTES, nullable=False),
    Column("quantity", Integer, nullable=False, comment="pieces that it holds, or held when it was closed"),
    Column("state", Text, nullable=False, comment="reserved, then released or consumed, once"),
    Column("restocked", Integer, nullable=False, server_default="0", comment="shipped pieces on the shelf again"),
    PrimaryKeyConstraint("order_id", "operation_id", "line_id", name="reservations_pkey"),
    CheckConstraint("quantity > 0", name="reservations_quantity_positive"),
    CheckConstraint("state in ('reserved', 'released', 'consumed')", name="reservations_state_known"),
    CheckConstraint("restocked between 0 and quantity", name="reservations_restocked_at_most_what_shipped"),
    CheckConstraint("restocked = 0 or state = 'consumed'", name="reservations_restocked_after_shipping"),
    postgresql_with=ROOM_FOR_UPDATES,
)

SHIPMENTS = Table(
    "shipments",
    metadata,
    Column("shipment_id", Uuid, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("reservation_id", Uuid, comment="the operation of the attempt's reservation"),
    Column("location", BYTES, nullable=False),
    Column("status", Text, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("ship_to", JSONB, comment="personal"),
    Column("carrier", Text),
    Column("tracking_number", Text, comment="personal"),
    instant("created_at", nullable=False, server_default=func.now()),
    instant("shipped_at"),
    instant("delivered_at"),
    PrimaryKeyConstraint("shipment_id", name="shipments_pkey"),
    CheckConstraint(
        "status in ('on_hold', 'picking', 'shipped', 'delivered', 'cancelled')", name="shipments_status_known"
    ),
    Index("shipments_by_status", "store_id", "status", "created_at", "shipment_id"),
    Index("shipments_by_age", "store_id", "created_at", "shipment_id"),
    postgresql_with=ROOM_FOR_UPDATES,
    comment="what the warehouse works from",
)
