"""Tables of the database: what neither orders nor payments has. Orders and money are theirs."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    false,
    func,
    text,
)

from chassis.declare.tables import chassis_tables

metadata = MetaData()
chassis_tables(metadata)

accounts = Table(
    "accounts",
    metadata,
    Column("aid", Text, primary_key=True),
    Column("store_id", Text, nullable=False),
    Column("ships", Boolean, nullable=False, comment="whether the goods are reserved and shipped here"),
)
drafts = Table(
    "drafts",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("draft_id", Uuid, nullable=False),
    Column("aid", Text, nullable=False),
    Column(
        "status", Text, nullable=False, comment="completing: orders has been asked, and its answer is not recorded yet"
    ),
    Column("version", Integer, nullable=False),
    Column("number", Text, comment="the order_id: reserved, stated, or given when the draft is completed"),
    Column("adds_to", Uuid, comment="the order whose lines it changes; null: it becomes an order, or is open"),
    Column("doc", Text, nullable=False, comment="the draft as JSON; of a completed one without personal data"),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column(
        "completed_at", DateTime(timezone=True), comment="when its completion was first asked for: the order's date"
    ),
    PrimaryKeyConstraint("store_id", "draft_id", name="drafts_pkey"),
    CheckConstraint("status in ('open', 'completing', 'completed', 'deleted')", name="drafts_status_is_known"),
    Index("drafts_by_age", "store_id", "aid", "created_at", "draft_id"),
    Index("drafts_of_order", "store_id", "adds_to", postgresql_where=text("adds_to is not null")),
    Index("drafts_number", "store_id", "aid", "number", unique=True, postgresql_where=text("number is not null")),
)
statements = Table(
    "statements",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("collection", Text, nullable=False),
    Column("system", Text, nullable=False, comment="the payment system, as payments spells it"),
    Column("payment_id", Text, nullable=False),
    Column("stated", Text, nullable=False, comment="line_id -> minor units, as JSON"),
    Column("covered", Text, nullable=False, comment="the part of it that a reversal has booked"),
    Column("recorded", Boolean, nullable=False, server_default=false(), comment="payments has the other part"),
    PrimaryKeyConstraint("store_id", "order_id", "collection", "system", "payment_id", name="statements_pkey"),
    CheckConstraint("collection in ('authorizations', 'captures')", name="statements_collection_is_known"),
)
details = Table(
    "details",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("collection", Text, nullable=False),
    Column("operation_id", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("created_by", Text, nullable=False),
    Column("body", Text, nullable=False, comment="what a client stated of the operation beside its amounts, as JSON"),
    PrimaryKeyConstraint("store_id", "order_id", "collection", "operation_id", name="details_pkey"),
)
events = Table(
    "events",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column(
        "kind",
        Text,
        nullable=False,
        comment="api-event: a request that changed the order; service-event: stated by a client",
    ),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("created_by", Text, nullable=False),
    Column("body", Text, nullable=False, comment="the rest of the event as JSON"),
    PrimaryKeyConstraint("store_id", "order_id", "event_id", name="events_pkey"),
    CheckConstraint("kind in ('api-event', 'service-event')", name="events_kind_is_known"),
)
