"""The shape of invoicing's database on one page. The migration adds the triggers that keep documents from changing."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns, chassis_tables, instant

metadata = MetaData()
chassis_tables(metadata)

billings = Table(
    "billings",
    metadata,
    *aggregate_columns(),
    postgresql_with=AGGREGATE_STORAGE,
    comment="the documents of one order, as decisions see them",
)

sellers = Table(
    "sellers",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("address", JSONB, nullable=False),
    Column("vat_number", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("invoice_prefix", Text, nullable=False),
    Column("credit_prefix", Text, nullable=False),
    Column("number_format", Text, nullable=False),
    Column("number_reset", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1", comment="counts its changes"),
    PrimaryKeyConstraint("store_id", "code", name="sellers_pkey"),
    CheckConstraint("invoice_prefix <> credit_prefix", name="sellers_prefixes_differ"),
    CheckConstraint("number_reset in ('never', 'yearly')", name="sellers_number_reset"),
)

series = Table(
    "series",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("seller", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("series", Text, nullable=False, comment="what its numbers have before the sequence"),
    Column("last_number", BigInteger, nullable=False),
    instant("last_issued_at", nullable=False),
    Column("last_issued_on", Date, nullable=False),
    PrimaryKeyConstraint("store_id", "seller", "kind", "series", name="series_pkey"),
    CheckConstraint("kind in ('invoice', 'credit')", name="series_kind"),
    CheckConstraint("last_number >= 1", name="series_last_number"),
    postgresql_with={"fillfactor": "50"},  # updated by every batch: room for the new version on the same page
)

documents = Table(
    "documents",
    metadata,
    Column("document_id", Uuid, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("operation_id", Uuid, nullable=False),
    Column("seller", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("number", Text, nullable=False),
    instant("issued_at", nullable=False),
    Column("issued_on", Date, nullable=False, comment="the day in the seller's time zone"),
    Column("currency", Text, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("capture_id", Uuid, comment="of an invoice: what it invoices"),
    Column("invoice_id", Uuid, comment="of a credit note: what it credits"),
    Column("body", JSONB, nullable=False, comment="the whole event"),
    PrimaryKeyConstraint("document_id", name="documents_pkey"),
    UniqueConstraint("operation_id", name="documents_operation_id"),
    UniqueConstraint("store_id", "seller", "kind", "series", "sequence", name="documents_sequence"),
    UniqueConstraint("store_id", "seller", "number", name="documents_number"),
    CheckConstraint("kind in ('invoice', 'credit')", name="documents_kind"),
    CheckConstraint("(kind = 'invoice') = (capture_id is not null)", name="documents_invoice_has_capture"),
    CheckConstraint("(kind = 'credit') = (invoice_id is not null)", name="documents_credit_has_invoice"),
    CheckConstraint("net_minor >= 0 and vat_minor >= 0 and total_minor > 0", name="documents_amounts"),
    CheckConstraint("net_minor + vat_minor = total_minor", name="documents_adds_up"),
    CheckConstraint("sequence >= 1", name="documents_sequence_from_1"),
    Index("documents_capture", "capture_id", unique=True, postgresql_where=text("kind = 'invoice'")),
    Index("documents_credited", "invoice_id", postgresql_where=text("kind = 'credit'")),
    Index("documents_order", "store_id", "order_id"),
    Index("documents_listed", "store_id", "issued_at", "document_id"),
    comment="append-only: updates and deletes are refused",
)
