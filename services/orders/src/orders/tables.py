"""The shape of orders' database on one page (the chassis' own tables: `chassis.declare.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns, chassis_tables, instant

metadata = MetaData()
chassis_tables(metadata)

orders = Table(
    "orders",
    metadata,
    *aggregate_columns(),
    Column("content", Text, comment="JSON: what was sold; apart from doc, for it hardly changes"),
    Column("market", Text, comment="JSON: the terms that applied"),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("external_order_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("payment_status", Text, nullable=False),
    Column("fulfillment_status", Text, nullable=False),
    Column("waiting", Text, nullable=False, comment="one word; empty: settled"),
    Column("waiting_step", Text, nullable=False, comment="process.step; empty: no process waits"),
    instant("waiting_since"),
    Column("in_flight", Boolean, nullable=False, comment="one of our services owes an answer soon"),
    Column("currency", Text, nullable=False),
    Column("grand_minor", BigInteger, comment="without what is cancelled; null: not priced yet"),
    Column("test", Boolean, nullable=False),
    Column("cancel_cause", Text),
    instant("ordered_at", nullable=False),
    instant("placed_at"),
    instant("completed_at"),
    Column("metadata", Text, comment="JSON: what integrators attached; apart from doc, for it hardly changes"),
    instant("archived_at"),
    Column("reference", Text, comment="the id of the order in a system of the store"),
    Column("tags", ARRAY(Text), comment="null: none"),
    instant("waits_since", comment="for more than an answer of our own services"),
    instant("updated_at", nullable=False),
    instant("rested_at", comment="its last change while it was not in flight"),
    UniqueConstraint("store_id", "channel", "account", "external_order_id", name="orders_external"),
    CheckConstraint("grand_minor >= 0", name="orders_grand_not_negative"),
    # An update that changes no indexed column leaves all indexes alone (HOT): no index here has a column that changes with
    # each event. `waiting`, `in_flight` and what follows from them change once while an order passes through our services.
    Index("orders_open", "store_id", "ordered_at", "key", postgresql_where=text("waiting <> ''")),
    Index("orders_waits", "store_id", "waits_since", "key", postgresql_where=text("waits_since is not null")),
    Index("orders_approvals", "store_id", "waits_since", "key", postgresql_where=text("waiting = 'approval'")),
    Index("orders_rested", "store_id", "rested_at", "key", postgresql_where=text("rested_at is not null")),
    Index("orders_completed", "store_id", "completed_at", "key", postgresql_where=text("completed_at is not null")),
    Index("orders_in_flight", "store_id", "ordered_at", "key", postgresql_where=text("in_flight")),
    postgresql_with=AGGREGATE_STORAGE,
)

notes = Table(
    "notes",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False, comment="counts the notes of the order"),
    Column("store_id", Text, nullable=False),
    Column("note_id", Uuid, nullable=False, comment="the operation that added it"),
    instant("at", nullable=False),
    Column("actor", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("audience", Text, nullable=False, comment="internal customer"),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("order_id", "number", name="notes_pkey"),
    comment="append-only",
)

attachments = Table(
    "attachments",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False, comment="counts the attachments of the order"),
    Column("store_id", Text, nullable=False),
    Column("attachment_id", Uuid, nullable=False, comment="the operation that added it"),
    instant("at", nullable=False),
    Column("actor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("url", Text, nullable=False, comment="http or https"),
    PrimaryKeyConstraint("order_id", "number", name="attachments_pkey"),
    comment="append-only",
)

order_search = Table(
    "order_search",
    metadata,
    Column("key", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    instant("ordered_at", nullable=False),
    Column("amount_minor", BigInteger, nullable=False, comment="grand_minor; -1: not priced yet"),
    Column("number", Text(collation="C"), nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("words", TSVECTOR, nullable=False, comment="lexemes: see orders.domain.shown.searched"),
    PrimaryKeyConstraint("key", name="order_search_pkey"),
    Index("order_search_by_age", "store_id", "ordered_at", "key", postgresql_where=text("not archived")),
    Index("order_search_archived", "store_id", "ordered_at", "key", postgresql_where=text("archived")),
    Index("order_search_by_amount", "store_id", "amount_minor", "key"),
    Index("order_search_by_number", "store_id", "number"),
    Index("order_search_words", "words", postgresql_using="gin", postgresql_with={"gin_pending_list_limit": "256"}),
    comment="what an order is found by that its events do not change; written with its content",
)

order_marks = Table(
    "order_marks",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("mark", Text, nullable=False, comment="kind:word, e.g. exception:address_changed"),
    instant("ordered_at", nullable=False),
    Column("key", Uuid, nullable=False),
    PrimaryKeyConstraint("store_id", "mark", "ordered_at", "key", name="order_marks_pkey"),
    comment="rare states, in the order of the orders' age; those of statuses while the order is not in flight",
)

markets = Table(
    "markets",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("channel", Text, comment="null with account: the store's default"),
    Column("account", Text),
    Column("terms", JSONB, nullable=False),
    Column("version", Integer, nullable=False, server_default="1", comment="counts its changes"),
    PrimaryKeyConstraint("store_id", "code", name="markets_pkey"),
    CheckConstraint("(channel is null) = (account is null)", name="markets_channel_with_account"),
    Index("markets_found_by", "store_id", "channel", "account", unique=True, postgresql_nulls_not_distinct=True),
)
