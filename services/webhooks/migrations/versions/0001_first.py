"""The first shape of the webhooks database."""

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
        "feed",
        sa.Column("position", sa.BigInteger, nullable=False, comment="1..n without a gap, in the order of the commits"),
        sa.Column("event_id", sa.Text, nullable=False, comment="ce_id"),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("key", sa.Uuid, nullable=False, comment="of the aggregate: mostly an order"),
        sa.Column(
            "version", sa.Integer, comment="counts the events of the aggregate at its service; null: none is stated"
        ),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False, comment="when the event happened"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it was written here: grows with the position",
        ),
        sa.Column("correlation_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False, comment="JSON, as it was published"),
        sa.PrimaryKeyConstraint("position", name="feed_pkey"),
        postgresql_partition_by="RANGE (position)",
    )
    op.create_index("feed_store", "feed", ["store_id", "position"])
    op.create_index("feed_key", "feed", ["key", "position"])
    op.create_index("feed_event", "feed", ["event_id"])
    op.execute("create table feed_default partition of feed default")
    for number in range(3):  # later ones are made ahead of the head
        first = number * 1_000_000
        op.execute(f"create table feed_{number} partition of feed for values from ({first}) to ({first + 1_000_000})")
    op.create_table(
        "feed_head",
        sa.Column("one", sa.Boolean, nullable=False, server_default=sa.text("true"), comment="there is one row"),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("position", sa.BigInteger, nullable=False, server_default="0", comment="of the last event"),
        sa.Column(
            "certificate", sa.Text, nullable=False, server_default="", comment="of the data that the epoch began on"
        ),
        sa.PrimaryKeyConstraint("one", name="feed_head_pkey"),
        sa.CheckConstraint("one", name="feed_head_one"),
    )
    op.execute("insert into feed_head default values")
    op.create_table(
        "feed_epochs",
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False, comment="the head when the epoch began"),
        sa.PrimaryKeyConstraint("epoch", name="feed_epochs_pkey"),
        comment="an epoch begins whenever the database may have lost rows: positions behind its head are given anew",
    )
    op.create_table(
        "order_facts",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("market", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="order_facts_pkey"),
        comment="what only `orders.received` states of an order",
    )


def downgrade() -> None:
    for table in ("order_facts", "feed_epochs", "feed_head", "feed"):
        op.drop_table(table)
    drop_chassis_tables(op)
