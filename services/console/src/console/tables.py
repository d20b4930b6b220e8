"""The shape of the console's database on one page (the chassis' own tables: `chassis.declare.tables`)."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from chassis.declare.tables import chassis_tables, instant

metadata = MetaData()
chassis_tables(metadata)

order_rows = Table(
    "order_rows",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("market", Text, nullable=False),
    Column("country", Text),
    Column("currency", Text),
    Column("grand_minor", BigInteger, comment="without what is cancelled; null: not priced yet"),
    Column("test", Boolean, nullable=False),
    instant("ordered_at", comment="null: orders has stated nothing yet, and no list shows it"),
    instant("received_at", comment="of the first event of orders"),
    instant("invoiced_at", comment="of its first invoice"),
    Column("status", Text, nullable=False),
    Column("payment_status", Text, nullable=False),
    Column("fulfillment_status", Text, nullable=False),
    Column("cancel_cause", Text),
    instant("placed_at"),
    instant("completed_at"),
    instant("archived_at"),
    Column("tags", ARRAY(Text), nullable=False),
    Column("waiting", Text, nullable=False, comment="one word; empty: settled"),
    Column("step", Text, nullable=False, comment="process.step; empty: no process waits"),
    instant("since"),
    Column("authorized_minor", BigInteger, nullable=False),
    Column("captured_minor", BigInteger, nullable=False),
    Column("voided_minor", BigInteger, nullable=False),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("reserved", Integer, nullable=False, comment="pieces"),
    Column("shipped", Integer, nullable=False, comment="pieces"),
    Column("invoiced_minor", BigInteger, nullable=False),
    Column("credited_minor", BigInteger, nullable=False),
    instant("changed_at", nullable=False, comment="of its newest event"),
    Column("versions", JSONB, nullable=False, comment="service -> the version of its newest event in the row"),
    Column("memory", JSONB, nullable=False, comment="what the fold keeps: console.domain.row"),
    Column("words_by_kind", JSONB, nullable=False, comment="what `words` is made of"),
    Column("words", TSVECTOR, nullable=False, comment="lexemes; personal ones have the weight A"),
    Column("number_folded", Text(collation="C"), nullable=False, comment="without case and accents"),
    Column("written_by", BigInteger, nullable=False, comment="the transaction that wrote it last: `console.live.rows`"),
    PrimaryKeyConstraint("order_id", name="order_rows_pkey"),
    Index("order_rows_newest", "store_id", "ordered_at", "order_id", postgresql_where=text("ordered_at is not null")),
    Index(
        "order_rows_by_status",
        "store_id",
        "status",
        "ordered_at",
        "order_id",
        postgresql_where=text("ordered_at is not null"),
    ),
    Index("order_rows_waiting", "store_id", "waiting", "since", "order_id", postgresql_where=text("waiting <> ''")),
    Index("order_rows_number", "store_id", "number_folded"),
    Index("order_rows_words", "words", postgresql_using="gin", postgresql_with={"gin_pending_list_limit": "256"}),
    Index("order_rows_written", "written_by"),
    comment="one row per order, made of the events of all services",
)

stores = Table(
    "stores",
    metadata,
    Column("store_id", Text, nullable=False),
    PrimaryKeyConstraint("store_id", name="stores_pkey"),
    comment="the stores that have orders",
)

reports = Table(
    "reports",
    metadata,
    Column("service", Text, nullable=False),
    Column("address", Text, nullable=False),
    instant("asked_at", nullable=False),
    instant("answered_at", comment="of its newest answer"),
    Column("why", Text, nullable=False, comment="what was wrong when it was asked last; empty: nothing"),
    Column("body", JSONB, nullable=False, comment="its newest answer to GET /v1/operations"),
    PrimaryKeyConstraint("service", "address", name="reports_pkey"),
    comment="what each process has under way",
)

flows = Table(
    "flows",
    metadata,
    Column("one", Boolean, nullable=False),
    instant("at", nullable=False),
    Column(
        "body",
        JSONB,
        nullable=False,
        comment="groups -> topic -> lag, produced, consumed; topics -> records per second",
    ),
    PrimaryKeyConstraint("one", name="flows_pkey"),
    CheckConstraint("one", name="flows_one"),
    comment="how far the groups of consumers are behind the topics",
)

series_rows = Table(
    "series_rows",
    metadata,
    Column("series", Text, nullable=False),
    Column("step_seconds", Integer, nullable=False, comment="between two values"),
    instant("begins_at", nullable=False, comment="of the first value"),
    Column("values", ARRAY(REAL), nullable=False, comment="null: nothing was answered then"),
    PrimaryKeyConstraint("series", "step_seconds", "begins_at", name="series_rows_pkey"),
    Index("series_rows_old", "step_seconds", "begins_at"),
    comment="values over time, many in a row",
)

people = Table(
    "people",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("issuer", Text, nullable=False, comment="the identity provider; empty: was let in by a one-time link"),
    Column("subject", Text, nullable=False, comment="in the journals: person:<subject>; of a link: the name"),
    Column("name", Text, nullable=False, comment="as shown"),
    Column("roles", ARRAY(Text), nullable=False, comment="of a link"),
    Column("stores", ARRAY(Text), comment="of a link; null: all"),
    Column("groups", ARRAY(Text), nullable=False, comment="as the identity provider stated at the last sign-in"),
    instant("created_at", nullable=False),
    PrimaryKeyConstraint("id", name="people_pkey"),
    UniqueConstraint("issuer", "subject", name="people_subject"),
    CheckConstraint("cardinality(roles) > 0 or issuer <> ''", name="people_of_links_have_a_role"),
    comment="who was let in",
)

role_grants = Table(
    "role_grants",
    metadata,
    Column("group_name", Text, nullable=False, comment="as the identity provider states it"),
    Column("role", Text, nullable=False),
    Column("stores", ARRAY(Text), comment="null: all"),
    PrimaryKeyConstraint("group_name", "role", name="role_grants_pkey"),
    comment="what a group may: the file of `apply`, whole",
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("token_sha256", LargeBinary, nullable=False),
    Column("person_id", Uuid, nullable=False),
    instant("expires_at", nullable=False),
    instant("used_at"),
    PrimaryKeyConstraint("token_sha256", name="sign_in_links_pkey"),
    ForeignKeyConstraint(["person_id"], ["people.id"], name="sign_in_links_person", ondelete="CASCADE"),
    comment="one-time links",
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", LargeBinary, nullable=False),
    Column("person_id", Uuid, nullable=False),
    instant("created_at", nullable=False),
    instant("seen_at", nullable=False, comment="of its last request, to the minute"),
    instant("ended_at", comment="signed out or revoked"),
    Column("id_token", Text, comment="for the sign-out at the identity provider; null: signed in by a link"),
    Column("unsent", JSONB, comment="a form that was sent when the session was over: console.domain.unsent"),
    instant("unsent_at"),
    PrimaryKeyConstraint("token_sha256", name="sessions_pkey"),
    ForeignKeyConstraint(["person_id"], ["people.id"], name="sessions_person", ondelete="CASCADE"),
    Index("sessions_person", "person_id"),
)

freshness = Table(
    "freshness",
    metadata,
    Column("process", Text, nullable=False),
    instant("current_to", nullable=False, comment="every event before it is in the rows"),
    instant("written_at", nullable=False),
    PrimaryKeyConstraint("process", name="freshness_pkey"),
    comment="how far each process that reads topics has come",
)

audit = Table(
    "audit",
    metadata,
    Column("nonce", Uuid, nullable=False, comment="of the form: the Idempotency-Key of the request"),
    instant("at", nullable=False),
    Column("person_id", Uuid, nullable=False),
    Column("person", Text, nullable=False, comment="the name at that time"),
    Column("store_id", Text, comment="null: of no store, or of several"),
    Column("subject_kind", Text, nullable=False, comment="order, parked, endpoint, ..."),
    Column("subject_id", Text, nullable=False),
    Column("order_id", Uuid, comment="that the subject belongs to; null: none"),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", Text, nullable=False, comment="asked; done; silent; the code of the refusal"),
    Column("version", Integer, comment="of the order, as its owner answered; null: it has not stated one"),
    instant("ended_at"),
    PrimaryKeyConstraint("nonce", name="audit_pkey"),
    Index("audit_order", "order_id", "at"),
    Index("audit_newest", "at", "nonce"),
    comment="every action that a person requested here",
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False, comment="empty: all stores, and what is of none"),
    Column("person_id", Uuid, nullable=False),
    Column("person", Text, nullable=False, comment="the name at that time"),
    Column("roles", ARRAY(Text), nullable=False, comment="of the person when it began: it has no others"),
    Column("filters", Text, nullable=False, comment="the query of the list, or of the page of the group"),
    Column("parked_group", JSONB, comment="of a replay: console.domain.parked.Group and id_max; null: it is of orders"),
    Column("listed_to", Text, comment="of a replay: where the list of its messages goes on; null: it has ended"),
    Column("state", Text, nullable=False, comment="preview, running, paused, stopped, cancelled, done"),
    Column("action", Text, nullable=False, server_default="", comment="empty: a preview"),
    Column("code", Text, nullable=False, server_default="", comment="of the reason"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("why", Text, nullable=False, server_default="", comment="why it stopped, or waits for an answer"),
    Column("order_ids", ARRAY(Uuid), nullable=False, comment="of a preview; later `job_items` has them"),
    Column(
        "size", Integer, nullable=False, server_default="0", comment="its rows of `job_items`; of a preview its orders"
    ),
    Column("done", Integer, nullable=False, server_default="0", comment="of these"),
    Column("refused", Integer, nullable=False, server_default="0", comment="of these"),
    Column("whole", Boolean, nullable=False, comment="whether these are all that fit"),
    instant("created_at", nullable=False),
    instant("started_at"),
    instant("ended_at"),
    Column("leased_by", Text, comment="the process that does it"),
    instant("leased_until"),
    PrimaryKeyConstraint("id", name="jobs_pkey"),
    CheckConstraint("state in ('preview', 'running', 'paused', 'stopped', 'cancelled', 'done')", name="jobs_state"),
    Index("jobs_newest", "created_at", "id", postgresql_where=text("state <> 'preview'")),
    Index("jobs_of_store", "store_id", "created_at", "id", postgresql_where=text("state <> 'preview'")),
    Index("jobs_running", "started_at", postgresql_where=text("state = 'running'")),
    comment="actions for many orders, and replays of many parked messages",
)

job_items = Table(
    "job_items",
    metadata,
    Column("job_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False, comment="the order in which they are done"),
    Column("order_id", Uuid, comment="of a message: its key, which may be of no order; null: it has none"),
    Column("parked_id", BigInteger, comment="of a parked message, at the service of the job; null: an order"),
    Column("state", Text, nullable=False, comment="waits, done, refused"),
    Column("code", Text, nullable=False, comment="of the refusal"),
    Column("detail", Text, nullable=False),
    instant("at", comment="when it was done or refused"),
    PrimaryKeyConstraint("job_id", "position", name="job_items_pkey"),
    UniqueConstraint("job_id", "parked_id", name="job_items_message_once"),
    ForeignKeyConstraint(["job_id"], ["jobs.id"], name="job_items_job", ondelete="CASCADE"),
    CheckConstraint("state in ('waits', 'done', 'refused')", name="job_items_state"),
    CheckConstraint("order_id is not null or parked_id is not null", name="job_items_are_something"),
    Index("job_items_order_once", "job_id", "order_id", unique=True, postgresql_where=text("parked_id is null")),
    Index("job_items_by_state", "job_id", "state", "position"),
)
