"""The first shape of invoicing's database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NEVER_CHANGE = """
create function documents_never_change() returns trigger language plpgsql as $$
begin
    raise exception 'document % was issued and never changes: credit it instead', old.number
        using errcode = 'restrict_violation';
end $$"""


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "billings",
        *aggregate_columns(),
        postgresql_with=AGGREGATE_STORAGE,
        comment="the documents of one order, as decisions see them",
    )
    op.create_table(
        "sellers",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("address", JSONB, nullable=False),
        sa.Column("vat_number", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("invoice_prefix", sa.Text, nullable=False),
        sa.Column("credit_prefix", sa.Text, nullable=False),
        sa.Column("number_format", sa.Text, nullable=False),
        sa.Column("number_reset", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1", comment="counts its changes"),
        sa.PrimaryKeyConstraint("store_id", "code", name="sellers_pkey"),
        sa.CheckConstraint("invoice_prefix <> credit_prefix", name="sellers_prefixes_differ"),
        sa.CheckConstraint("number_reset in ('never', 'yearly')", name="sellers_number_reset"),
    )
    op.create_table(
        "series",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("seller", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("series", sa.Text, nullable=False, comment="what its numbers have before the sequence"),
        sa.Column("last_number", sa.BigInteger, nullable=False),
        sa.Column("last_issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_issued_on", sa.Date, nullable=False),
        sa.PrimaryKeyConstraint("store_id", "seller", "kind", "series", name="series_pkey"),
        sa.CheckConstraint("kind in ('invoice', 'credit')", name="series_kind"),
        sa.CheckConstraint("last_number >= 1", name="series_last_number"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "documents",
        sa.Column("document_id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("operation_id", sa.Uuid, nullable=False),
        sa.Column("seller", sa.Text, nullable=False),
        sa.Column("series", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_on", sa.Date, nullable=False, comment="the day in the seller's time zone"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("net_minor", sa.BigInteger, nullable=False),
        sa.Column("vat_minor", sa.BigInteger, nullable=False),
        sa.Column("total_minor", sa.BigInteger, nullable=False),
        sa.Column("capture_id", sa.Uuid, comment="of an invoice: what it invoices"),
        sa.Column("invoice_id", sa.Uuid, comment="of a credit note: what it credits"),
        sa.Column("body", JSONB, nullable=False, comment="the whole event"),
        sa.PrimaryKeyConstraint("document_id", name="documents_pkey"),
        sa.UniqueConstraint("operation_id", name="documents_operation_id"),
        sa.UniqueConstraint("store_id", "seller", "kind", "series", "sequence", name="documents_sequence"),
        sa.UniqueConstraint("store_id", "seller", "number", name="documents_number"),
        sa.CheckConstraint("kind in ('invoice', 'credit')", name="documents_kind"),
        sa.CheckConstraint("(kind = 'invoice') = (capture_id is not null)", name="documents_invoice_has_capture"),
        sa.CheckConstraint("(kind = 'credit') = (invoice_id is not null)", name="documents_credit_has_invoice"),
        sa.CheckConstraint("net_minor >= 0 and vat_minor >= 0 and total_minor > 0", name="documents_amounts"),
        sa.CheckConstraint("net_minor + vat_minor = total_minor", name="documents_adds_up"),
        sa.CheckConstraint("sequence >= 1", name="documents_sequence_from_1"),
        comment="append-only: updates and deletes are refused",
    )
    op.create_index(
        "documents_capture", "documents", ["capture_id"], unique=True, postgresql_where=sa.text("kind = 'invoice'")
    )
    op.create_index("documents_credited", "documents", ["invoice_id"], postgresql_where=sa.text("kind = 'credit'"))
    op.create_index("documents_order", "documents", ["store_id", "order_id"])
    op.create_index("documents_listed", "documents", ["store_id", "issued_at", "document_id"])
    op.execute(NEVER_CHANGE)
    op.execute(
        "create trigger documents_never_change before update or delete on documents"
        " for each row execute function documents_never_change()"
    )


def downgrade() -> None:
    for table in ("documents", "series", "sellers", "billings"):
        op.drop_table(table)
    op.execute("drop function documents_never_change()")
    drop_chassis_tables(op)
