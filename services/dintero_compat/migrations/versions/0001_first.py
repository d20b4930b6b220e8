"""The first shape of the database."""

import sqlalchemy as sa
from alembic import op

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "accounts",
        sa.Column("aid", sa.Text, primary_key=True),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("ships", sa.Boolean, nullable=False, comment="whether the goods are reserved and shipped here"),
    )
    op.create_table(
        "drafts",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("draft_id", sa.Uuid, nullable=False),
        sa.Column("aid", sa.Text, nullable=False),
        sa.Column(
            "status",
            sa.Text,
            nullable=False,
            comment="completing: orders has been asked, and its answer is not recorded yet",
        ),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("number", sa.Text, comment="the order_id: reserved, stated, or given when the draft is completed"),
        sa.Column(
            "adds_to", sa.Uuid, comment="the order whose lines it changes; null: it becomes an order, or is open"
        ),
        sa.Column(
            "doc", sa.Text, nullable=False, comment="the draft as JSON; of a completed one without personal data"
        ),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column(
            "completed_at",
            sa.DateTime(timezone=True),
            comment="when its completion was first asked for: the order's date",
        ),
        sa.PrimaryKeyConstraint("store_id", "draft_id", name="drafts_pkey"),
        sa.CheckConstraint("status in ('open', 'completing', 'completed', 'deleted')", name="drafts_status_is_known"),
    )
    op.create_index("drafts_by_age", "drafts", ["store_id", "aid", "created_at", "draft_id"])
    op.create_index(
        "drafts_number",
        "drafts",
        ["store_id", "aid", "number"],
        unique=True,
        postgresql_where=sa.text("number is not null"),
    )
    op.create_index(
        "drafts_of_order",
        "drafts",
        ["store_id", "adds_to"],
        postgresql_where=sa.text("adds_to is not null"),
    )
    op.create_table(
        "statements",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False, comment="the payment system, as payments spells it"),
        sa.Column("payment_id", sa.Text, nullable=False),
        sa.Column("stated", sa.Text, nullable=False, comment="line_id -> minor units, as JSON"),
        sa.Column("covered", sa.Text, nullable=False, comment="the part of it that a reversal has booked"),
        sa.Column(
            "recorded", sa.Boolean, nullable=False, server_default=sa.false(), comment="payments has the other part"
        ),
        sa.PrimaryKeyConstraint("store_id", "order_id", "collection", "system", "payment_id", name="statements_pkey"),
        sa.CheckConstraint("collection in ('authorizations', 'captures')", name="statements_collection_is_known"),
    )
    op.create_table(
        "details",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("operation_id", sa.Uuid, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column(
            "body",
            sa.Text,
            nullable=False,
            comment="what a client stated of the operation beside its amounts, as JSON",
        ),
        sa.PrimaryKeyConstraint("store_id", "order_id", "collection", "operation_id", name="details_pkey"),
    )
    op.create_table(
        "events",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column(
            "kind",
            sa.Text,
            nullable=False,
            comment="api-event: a request that changed the order; service-event: stated by a client",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False, comment="the rest of the event as JSON"),
        sa.PrimaryKeyConstraint("store_id", "order_id", "event_id", name="events_pkey"),
        sa.CheckConstraint("kind in ('api-event', 'service-event')", name="events_kind_is_known"),
    )


def downgrade() -> None:
    for table in ("events", "details", "statements", "drafts", "accounts"):
        op.drop_table(table)
    drop_chassis_tables(op)
