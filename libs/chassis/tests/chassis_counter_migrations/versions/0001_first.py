"""The counter's tables, and the constraint that some tests run into."""

import sqlalchemy as sa
from alembic import op

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import aggregate_columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table("counters", *aggregate_columns(), sa.Column("total", sa.BigInteger, nullable=False))
    op.create_check_constraint("counters_below_1000", "counters", "total < 1000")
    op.create_table("labels", *aggregate_columns())
    op.create_table(
        "pots", sa.Column("name", sa.Text, primary_key=True), sa.Column("filled", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "received",
        sa.Column("n", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("key", sa.Uuid, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_check_constraint("received_below_1000", "received", "amount < 1000")


def downgrade() -> None:
    op.drop_table("received")
    op.drop_table("pots")
    op.drop_table("labels")
    op.drop_table("counters")
    drop_chassis_tables(op)
