"""The ledger, its lines and its operations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _amounts() -> list[sa.Column[int]]:
    return [
        sa.Column("authorized_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("captured_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("voided_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("refunded_minor", sa.BigInteger, nullable=False, server_default="0"),
    ]


def _promises(table: str) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint("captured_minor + voided_minor <= authorized_minor", name=f"{table}_within_authorized"),
        sa.CheckConstraint("refunded_minor <= captured_minor", name=f"{table}_refunded_within_captured"),
        sa.CheckConstraint(
            "authorized_minor >= 0 and captured_minor >= 0 and voided_minor >= 0 and refunded_minor >= 0",
            name=f"{table}_amounts_not_negative",
        ),
    ]


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "ledgers",
        *aggregate_columns(),
        sa.Column("currency", sa.Text, comment="ISO 4217; null until something was authorized or asked for"),
        sa.Column("gateway", sa.Text, comment="of the first authorization"),
        *_amounts(),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        *_promises("ledgers"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="ledgers_currency_is_iso_4217"),
        sa.CheckConstraint("currency is not null or authorized_minor = 0", name="ledgers_money_has_a_currency"),
        postgresql_with=AGGREGATE_STORAGE,
    )
    op.create_index("ledgers_by_store", "ledgers", ["store_id", "created_at", "key"])
    op.create_table(
        "ledger_lines",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("line_id", sa.Text, nullable=False),
        sa.Column("direction", sa.SmallInteger, nullable=False, server_default="1", comment="1, or -1 for a reversal"),
        *_amounts(),
        sa.PrimaryKeyConstraint("order_id", "line_id", name="ledger_lines_pkey"),
        *_promises("ledger_lines"),
        sa.CheckConstraint("direction in (1, -1)", name="ledger_lines_direction_is_a_sign"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text),
        sa.Column("refers_to", sa.Uuid, comment="a capture's or void's authorization, a refund's capture"),
        sa.Column("gateway", sa.Text),
        sa.Column("gateway_reference", sa.Text),
        sa.Column("code", sa.Text, nullable=False, server_default=""),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("recorded", sa.Text, comment="the outcome was stated, and what its gateway has reported since"),
        sa.Column(
            "with_capture",
            sa.Boolean,
            nullable=False,
            server_default="false",
            comment="an authorization and its capture in one",
        ),
        sa.Column(
            "at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), comment="of its last change"
        ),
        sa.PrimaryKeyConstraint("operation_id", name="operations_pkey"),
        sa.CheckConstraint("kind in ('authorize', 'capture', 'void', 'refund')", name="operations_kind_is_known"),
        sa.CheckConstraint(
            "state in ('asked', 'pending', 'succeeded', 'declined', 'failed')", name="operations_state_is_known"
        ),
        sa.CheckConstraint(
            "recorded in ('stated', 'unconfirmed', 'confirmed', 'contradicted')", name="operations_recorded_is_known"
        ),
        sa.CheckConstraint("amount_minor >= 0", name="operations_amount_not_negative"),
        comment="one row per operation id, for ever: its effect happens once",
    )
    op.create_index("operations_by_order", "operations", ["order_id"])
    op.create_index(
        "operations_open", "operations", ["order_id"], postgresql_where=sa.text("state in ('asked', 'pending')")
    )
    op.create_table(
        "gateway_accounts",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column(
            "account", sa.Text, nullable=False, comment="its name in the address that the gateway sends events to"
        ),
        sa.Column("url", sa.Text, comment="null: the gateway's own"),
        sa.Column("api_key", sa.Text, nullable=False, comment="a reference: env:NAME or file:/path, never a value"),
        sa.Column("webhook_secret", sa.Text, comment="a reference, as api_key"),
        sa.PrimaryKeyConstraint("store_id", "gateway", name="gateway_accounts_pkey"),
        sa.UniqueConstraint("gateway", "account", name="gateway_accounts_named_once"),
        sa.CheckConstraint(
            "api_key ~ '^(env|file):' and webhook_secret ~ '^(env|file):'",
            name="gateway_accounts_credentials_are_references",
        ),
    )


def downgrade() -> None:
    op.drop_table("gateway_accounts")
    op.drop_table("operations")
    op.drop_table("ledger_lines")
    op.drop_table("ledgers")
    drop_chassis_tables(op)
