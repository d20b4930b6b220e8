"""The first shape: orders, markets, and the chassis' tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns, instant

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "orders",
        *aggregate_columns(),
        sa.Column("content", sa.Text, comment="JSON: what was sold; apart from doc, for it hardly changes"),
        sa.Column("market", sa.Text, comment="JSON: the terms that applied"),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("external_order_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("payment_status", sa.Text, nullable=False),
        sa.Column("fulfillment_status", sa.Text, nullable=False),
        sa.Column("waiting", sa.Text, nullable=False, comment="one word; empty: settled"),
        sa.Column("waiting_step", sa.Text, nullable=False, comment="process.step; empty: no process waits"),
        instant("waiting_since"),
        sa.Column("in_flight", sa.Boolean, nullable=False, comment="one of our services owes an answer soon"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("grand_minor", sa.BigInteger, comment="without what is cancelled; null: not priced yet"),
        sa.Column("test", sa.Boolean, nullable=False),
        sa.Column("cancel_cause", sa.Text),
        instant("ordered_at", nullable=False),
        instant("placed_at"),
        instant("completed_at"),
        sa.Column(
            "metadata", sa.Text, comment="JSON: what integrators attached; apart from doc, for it hardly changes"
        ),
        instant("archived_at"),
        sa.Column("reference", sa.Text, comment="the id of the order in a system of the store"),
        sa.Column("tags", ARRAY(sa.Text), comment="null: none"),
        instant("waits_since", comment="for more than an answer of our own services"),
        instant("updated_at", nullable=False),
        instant("rested_at", comment="its last change while it was not in flight"),
        sa.UniqueConstraint("store_id", "channel", "account", "external_order_id", name="orders_external"),
        sa.CheckConstraint("grand_minor >= 0", name="orders_grand_not_negative"),
        postgresql_with=AGGREGATE_STORAGE,
    )
    for name, column, condition in (
        ("orders_open", "ordered_at", "waiting <> ''"),
        ("orders_in_flight", "ordered_at", "in_flight"),
        ("orders_waits", "waits_since", "waits_since is not null"),
        ("orders_approvals", "waits_since", "waiting = 'approval'"),
        ("orders_rested", "rested_at", "rested_at is not null"),
        ("orders_completed", "completed_at", "completed_at is not null"),
    ):
        op.create_index(name, "orders", ["store_id", column, "key"], postgresql_where=sa.text(condition))
    # If an order does not fit into its row, what was sold is stored here, and the next versions refer to it.
    op.execute("alter table orders alter column content set storage external")
    op.execute("alter table orders alter column market set storage external")
    op.execute("alter table orders alter column metadata set storage external")
    op.execute("alter table orders alter column doc set storage main")
    op.create_table(
        "notes",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, comment="counts the notes of the order"),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("note_id", sa.Uuid, nullable=False, comment="the operation that added it"),
        instant("at", nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False, comment="internal customer"),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("order_id", "number", name="notes_pkey"),
        comment="append-only",
    )
    op.create_table(
        "attachments",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, comment="counts the attachments of the order"),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("attachment_id", sa.Uuid, nullable=False, comment="the operation that added it"),
        instant("at", nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False, comment="http or https"),
        sa.PrimaryKeyConstraint("order_id", "number", name="attachments_pkey"),
        comment="append-only",
    )
    op.create_table(
        "order_search",
        sa.Column("key", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        instant("ordered_at", nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False, comment="grand_minor; -1: not priced yet"),
        sa.Column("number", sa.Text(collation="C"), nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.Column("words", TSVECTOR, nullable=False, comment="lexemes: see orders.domain.shown.searched"),
        sa.PrimaryKeyConstraint("key", name="order_search_pkey"),
        comment="what an order is found by that its events do not change; written with its content",
    )
    age = ["store_id", "ordered_at", "key"]
    op.create_index("order_search_by_age", "order_search", age, postgresql_where=sa.text("not archived"))
    op.create_index("order_search_archived", "order_search", age, postgresql_where=sa.text("archived"))
    op.create_index("order_search_by_amount", "order_search", ["store_id", "amount_minor", "key"])
    op.create_index("order_search_by_number", "order_search", ["store_id", "number"])
    # A search reads the list of pending entries from its beginning: it is short.
    op.create_index(
        "order_search_words", "order_search", ["words"], postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": "256"},
    )  # fmt: skip
    op.create_table(
        "order_marks",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("mark", sa.Text, nullable=False, comment="kind:word, e.g. exception:address_changed"),
        instant("ordered_at", nullable=False),
        sa.Column("key", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("store_id", "mark", "ordered_at", "key", name="order_marks_pkey"),
        comment="rare states, in the order of the orders' age; those of statuses while the order is not in flight",
    )
    op.create_table(
        "markets",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, comment="null with account: the store's default"),
        sa.Column("account", sa.Text),
        sa.Column("terms", JSONB, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1", comment="counts its changes"),
        sa.PrimaryKeyConstraint("store_id", "code", name="markets_pkey"),
        sa.CheckConstraint("(channel is null) = (account is null)", name="markets_channel_with_account"),
    )
    op.create_index(
        "markets_found_by",
        "markets",
        ["store_id", "channel", "account"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    op.drop_table("markets")
    op.drop_table("attachments")
    op.drop_table("notes")
    op.drop_table("order_marks")
    op.drop_table("order_search")
    op.drop_table("orders")
    drop_chassis_tables(op)
