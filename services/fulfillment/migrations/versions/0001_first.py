"""Stock, reservations and shipments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "fulfillments",
        *aggregate_columns(),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint(
            "status in ('none', 'reserved', 'released', 'started', 'cancelled', 'fulfilled')",
            name="fulfillments_status_known",
        ),
        postgresql_with=AGGREGATE_STORAGE,
        comment="one row per order; key = order id",
    )
    op.create_index("fulfillments_by_age", "fulfillments", ["store_id", "created_at", "key"])
    op.create_table(
        "stock_items",
        *aggregate_columns(),
        sa.Column("location", sa.Text(collation="C"), nullable=False),
        sa.Column("sku", sa.Text(collation="C"), nullable=False),
        sa.UniqueConstraint("store_id", "location", "sku", name="stock_items_one_per_shelf"),
        postgresql_with=AGGREGATE_STORAGE,
        comment="the last count of each SKU at each location",
    )
    op.create_table(
        "stock",
        sa.Column("store_id", sa.Text(collation="C"), nullable=False),
        sa.Column("location", sa.Text(collation="C"), nullable=False),
        sa.Column("sku", sa.Text(collation="C"), nullable=False),
        sa.Column("on_hand", sa.BigInteger, nullable=False, comment="pieces on the shelf, held ones included"),
        sa.Column("reserved", sa.BigInteger, nullable=False, comment="pieces of them that orders hold"),
        sa.PrimaryKeyConstraint("store_id", "location", "sku", name="stock_pkey"),
        sa.CheckConstraint("on_hand >= 0", name="stock_on_hand_not_negative"),
        sa.CheckConstraint("reserved >= 0", name="stock_reserved_not_negative"),
        sa.CheckConstraint("reserved <= on_hand", name="stock_never_oversold"),
        postgresql_with={"fillfactor": "50"},
        comment="what orders share: locked in key order",
    )
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column(
            "operation_id", sa.Uuid, nullable=False, comment="of the reserve or the extend: it reserves once, for ever"
        ),
        sa.Column("line_id", sa.Text, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("location", sa.Text(collation="C"), nullable=False),
        sa.Column("sku", sa.Text(collation="C"), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False, comment="pieces that it holds, or held when it was closed"),
        sa.Column("state", sa.Text, nullable=False, comment="reserved, then released or consumed, once"),
        sa.Column(
            "restocked", sa.Integer, nullable=False, server_default="0", comment="shipped pieces on the shelf again"
        ),
        sa.PrimaryKeyConstraint("order_id", "operation_id", "line_id", name="reservations_pkey"),
        sa.CheckConstraint("quantity > 0", name="reservations_quantity_positive"),
        sa.CheckConstraint("state in ('reserved', 'released', 'consumed')", name="reservations_state_known"),
        sa.CheckConstraint("restocked between 0 and quantity", name="reservations_restocked_at_most_what_shipped"),
        sa.CheckConstraint("restocked = 0 or state = 'consumed'", name="reservations_restocked_after_shipping"),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "shipments",
        sa.Column("shipment_id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("reservation_id", sa.Uuid, comment="the operation of the attempt's reservation"),
        sa.Column("location", sa.Text(collation="C"), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("lines", postgresql.JSONB, nullable=False),
        sa.Column("ship_to", postgresql.JSONB, comment="personal"),
        sa.Column("carrier", sa.Text),
        sa.Column("tracking_number", sa.Text, comment="personal"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("shipped_at", sa.DateTime(timezone=True)),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("shipment_id", name="shipments_pkey"),
        sa.CheckConstraint(
            "status in ('on_hold', 'picking', 'shipped', 'delivered', 'cancelled')", name="shipments_status_known"
        ),
        postgresql_with={"fillfactor": "70"},
        comment="what the warehouse works from",
    )
    op.create_index("shipments_by_status", "shipments", ["store_id", "status", "created_at", "shipment_id"])
    op.create_index("shipments_by_age", "shipments", ["store_id", "created_at", "shipment_id"])


def downgrade() -> None:
    for table in ("shipments", "reservations", "stock", "stock_items", "fulfillments"):
        op.drop_table(table)
    drop_chassis_tables(op)
