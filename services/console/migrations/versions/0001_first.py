"""The first shape of the console's database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "order_rows",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("market", sa.Text, nullable=False),
        sa.Column("country", sa.Text),
        sa.Column("currency", sa.Text),
        sa.Column("grand_minor", sa.BigInteger, comment="without what is cancelled; null: not priced yet"),
        sa.Column("test", sa.Boolean, nullable=False),
        sa.Column(
            "ordered_at",
            sa.DateTime(timezone=True),
            comment="null: orders has stated nothing yet, and no list shows it",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), comment="of the first event of orders"),
        sa.Column("invoiced_at", sa.DateTime(timezone=True), comment="of its first invoice"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("payment_status", sa.Text, nullable=False),
        sa.Column("fulfillment_status", sa.Text, nullable=False),
        sa.Column("cancel_cause", sa.Text),
        sa.Column("placed_at", sa.DateTime(timezone=True)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.Column("tags", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("waiting", sa.Text, nullable=False, comment="one word; empty: settled"),
        sa.Column("step", sa.Text, nullable=False, comment="process.step; empty: no process waits"),
        sa.Column("since", sa.DateTime(timezone=True)),
        sa.Column("authorized_minor", sa.BigInteger, nullable=False),
        sa.Column("captured_minor", sa.BigInteger, nullable=False),
        sa.Column("voided_minor", sa.BigInteger, nullable=False),
        sa.Column("refunded_minor", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.Integer, nullable=False, comment="pieces"),
        sa.Column("shipped", sa.Integer, nullable=False, comment="pieces"),
        sa.Column("invoiced_minor", sa.BigInteger, nullable=False),
        sa.Column("credited_minor", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="of its newest event"),
        sa.Column(
            "versions",
            postgresql.JSONB,
            nullable=False,
            comment="service -> the version of its newest event in the row",
        ),
        sa.Column("memory", postgresql.JSONB, nullable=False, comment="what the fold keeps: console.domain.row"),
        sa.Column("words_by_kind", postgresql.JSONB, nullable=False, comment="what `words` is made of"),
        sa.Column("words", postgresql.TSVECTOR, nullable=False, comment="lexemes; personal ones have the weight A"),
        sa.Column("number_folded", sa.Text(collation="C"), nullable=False, comment="without case and accents"),
        sa.Column(
            "written_by",
            sa.BigInteger,
            nullable=False,
            comment="the transaction that wrote it last: `console.live.rows`",
        ),
        sa.PrimaryKeyConstraint("order_id", name="order_rows_pkey"),
        comment="one row per order, made of the events of all services",
    )
    op.create_index(
        "order_rows_waiting",
        "order_rows",
        ["store_id", "waiting", "since", "order_id"],
        postgresql_where=sa.text("waiting <> ''"),
    )
    op.create_index(
        "order_rows_by_status",
        "order_rows",
        ["store_id", "status", "ordered_at", "order_id"],
        postgresql_where=sa.text("ordered_at is not null"),
    )
    op.create_index(
        "order_rows_newest",
        "order_rows",
        ["store_id", "ordered_at", "order_id"],
        postgresql_where=sa.text("ordered_at is not null"),
    )
    op.create_index("order_rows_written", "order_rows", ["written_by"])
    op.create_index(
        "order_rows_words",
        "order_rows",
        ["words"],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": "256"},
    )
    op.create_index("order_rows_number", "order_rows", ["store_id", "number_folded"])
    op.create_table(
        "stores",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("store_id", name="stores_pkey"),
        comment="the stores that have orders",
    )
    op.create_table(
        "reports",
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), comment="of its newest answer"),
        sa.Column("why", sa.Text, nullable=False, comment="what was wrong when it was asked last; empty: nothing"),
        sa.Column("body", postgresql.JSONB, nullable=False, comment="its newest answer to GET /v1/operations"),
        sa.PrimaryKeyConstraint("service", "address", name="reports_pkey"),
        comment="what each process has under way",
    )
    op.create_table(
        "flows",
        sa.Column("one", sa.Boolean, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "body",
            postgresql.JSONB,
            nullable=False,
            comment="groups -> topic -> lag, produced, consumed; topics -> records per second",
        ),
        sa.PrimaryKeyConstraint("one", name="flows_pkey"),
        sa.CheckConstraint("one", name="flows_one"),
        comment="how far the groups of consumers are behind the topics",
    )
    op.create_table(
        "series_rows",
        sa.Column("series", sa.Text, nullable=False),
        sa.Column("step_seconds", sa.Integer, nullable=False, comment="between two values"),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False, comment="of the first value"),
        sa.Column("values", postgresql.ARRAY(sa.REAL), nullable=False, comment="null: nothing was answered then"),
        sa.PrimaryKeyConstraint("series", "step_seconds", "begins_at", name="series_rows_pkey"),
        comment="values over time, many in a row",
    )
    op.create_index("series_rows_old", "series_rows", ["step_seconds", "begins_at"])
    op.create_table(
        "people",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column(
            "issuer", sa.Text, nullable=False, comment="the identity provider; empty: was let in by a one-time link"
        ),
        sa.Column("subject", sa.Text, nullable=False, comment="in the journals: person:<subject>; of a link: the name"),
        sa.Column("name", sa.Text, nullable=False, comment="as shown"),
        sa.Column("roles", postgresql.ARRAY(sa.Text), nullable=False, comment="of a link"),
        sa.Column("stores", postgresql.ARRAY(sa.Text), comment="of a link; null: all"),
        sa.Column(
            "groups",
            postgresql.ARRAY(sa.Text),
            nullable=False,
            comment="as the identity provider stated at the last sign-in",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="people_pkey"),
        sa.UniqueConstraint("issuer", "subject", name="people_subject"),
        sa.CheckConstraint("cardinality(roles) > 0 or issuer <> ''", name="people_of_links_have_a_role"),
        comment="who was let in",
    )
    op.create_table(
        "role_grants",
        sa.Column("group_name", sa.Text, nullable=False, comment="as the identity provider states it"),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("stores", postgresql.ARRAY(sa.Text), comment="null: all"),
        sa.PrimaryKeyConstraint("group_name", "role", name="role_grants_pkey"),
        comment="what a group may: the file of `apply`, whole",
    )
    op.create_table(
        "sign_in_links",
        sa.Column("token_sha256", sa.LargeBinary, nullable=False),
        sa.Column("person_id", sa.Uuid, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("token_sha256", name="sign_in_links_pkey"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="sign_in_links_person", ondelete="CASCADE"),
        comment="one-time links",
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.LargeBinary, nullable=False),
        sa.Column("person_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="of its last request, to the minute"),
        sa.Column("ended_at", sa.DateTime(timezone=True), comment="signed out or revoked"),
        sa.Column("id_token", sa.Text, comment="for the sign-out at the identity provider; null: signed in by a link"),
        sa.Column(
            "unsent", postgresql.JSONB, comment="a form that was sent when the session was over: console.domain.unsent"
        ),
        sa.Column("unsent_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("token_sha256", name="sessions_pkey"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="sessions_person", ondelete="CASCADE"),
    )
    op.create_index("sessions_person", "sessions", ["person_id"])
    op.create_table(
        "freshness",
        sa.Column("process", sa.Text, nullable=False),
        sa.Column(
            "current_to", sa.DateTime(timezone=True), nullable=False, comment="every event before it is in the rows"
        ),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("process", name="freshness_pkey"),
        comment="how far each process that reads topics has come",
    )
    op.create_table(
        "audit",
        sa.Column("nonce", sa.Uuid, nullable=False, comment="of the form: the Idempotency-Key of the request"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person_id", sa.Uuid, nullable=False),
        sa.Column("person", sa.Text, nullable=False, comment="the name at that time"),
        sa.Column("store_id", sa.Text, comment="null: of no store, or of several"),
        sa.Column("subject_kind", sa.Text, nullable=False, comment="order, parked, endpoint, ..."),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Uuid, comment="that the subject belongs to; null: none"),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column(
            "outcome",
            sa.Text,
            nullable=False,
            comment="asked; done; silent; the code of the refusal; of a file `done: n rows`, or `broken: ...`",
        ),
        sa.Column("version", sa.Integer, comment="of the order, as its owner answered; null: it has not stated one"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("nonce", name="audit_pkey"),
        comment="every action that a person requested here",
    )
    op.create_index("audit_order", "audit", ["order_id", "at"])
    op.create_index("audit_newest", "audit", ["at", "nonce"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False, comment="empty: all stores, and what is of none"),
        sa.Column("person_id", sa.Uuid, nullable=False),
        sa.Column("person", sa.Text, nullable=False, comment="the name at that time"),
        sa.Column(
            "roles",
            postgresql.ARRAY(sa.Text),
            nullable=False,
            comment="of the person when it began: it has no others",
        ),
        sa.Column("filters", sa.Text, nullable=False, comment="the query of the list, or of the page of the group"),
        sa.Column(
            "parked_group",
            postgresql.JSONB,
            comment="of a replay: console.group_jobs.Frozen; null: it is of orders",
        ),
        sa.Column(
            "listed_to", sa.Text, comment="of a replay: where the list of its messages goes on; null: it has ended"
        ),
        sa.Column("state", sa.Text, nullable=False, comment="preview, running, paused, stopped, cancelled, done"),
        sa.Column("action", sa.Text, nullable=False, server_default="", comment="empty: a preview"),
        sa.Column("code", sa.Text, nullable=False, server_default="", comment="of the reason"),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("why", sa.Text, nullable=False, server_default="", comment="why it stopped, or waits for an answer"),
        sa.Column(
            "order_ids",
            postgresql.ARRAY(sa.Uuid),
            nullable=False,
            comment="of a preview; later `job_items` has them",
        ),
        sa.Column(
            "order_versions",
            postgresql.ARRAY(sa.Integer),
            nullable=False,
            server_default="{}",
            comment="of each of `order_ids` in the lists",
        ),
        sa.Column(
            "size",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="its rows of `job_items`; of a preview its orders",
        ),
        sa.Column("done", sa.Integer, nullable=False, server_default="0", comment="of these"),
        sa.Column("refused", sa.Integer, nullable=False, server_default="0", comment="of these"),
        sa.Column("whole", sa.Boolean, nullable=False, comment="whether these are all that fit"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("leased_by", sa.Text, comment="the process that does it"),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="jobs_pkey"),
        sa.CheckConstraint(
            "state in ('preview', 'running', 'paused', 'stopped', 'cancelled', 'done')", name="jobs_state"
        ),
        comment="actions for many orders, and replays of many parked messages",
    )
    op.create_index("jobs_newest", "jobs", ["created_at", "id"], postgresql_where=sa.text("state <> 'preview'"))
    op.create_index(
        "jobs_of_store", "jobs", ["store_id", "created_at", "id"], postgresql_where=sa.text("state <> 'preview'")
    )
    op.create_index("jobs_running", "jobs", ["started_at"], postgresql_where=sa.text("state = 'running'"))
    op.create_table(
        "job_items",
        sa.Column("job_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, comment="the order in which they are done"),
        sa.Column("order_id", sa.Uuid, comment="of a message: its key, which may be of no order; null: it has none"),
        sa.Column("version", sa.Integer, comment="of the order in the preview; null: a message"),
        sa.Column("parked_id", sa.BigInteger, comment="of a parked message, at the service of the job; null: an order"),
        sa.Column("state", sa.Text, nullable=False, comment="waits, done, refused"),
        sa.Column("code", sa.Text, nullable=False, comment="of the refusal"),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), comment="when it was done or refused"),
        sa.PrimaryKeyConstraint("job_id", "position", name="job_items_pkey"),
        sa.UniqueConstraint("job_id", "parked_id", name="job_items_message_once"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="job_items_job", ondelete="CASCADE"),
        sa.CheckConstraint("state in ('waits', 'done', 'refused')", name="job_items_state"),
        sa.CheckConstraint("order_id is not null or parked_id is not null", name="job_items_are_something"),
    )
    op.create_index(
        "job_items_order_once",
        "job_items",
        ["job_id", "order_id"],
        unique=True,
        postgresql_where=sa.text("parked_id is null"),
    )
    op.create_index("job_items_by_state", "job_items", ["job_id", "state", "position"])


def downgrade() -> None:
    for table in (
        "job_items",
        "jobs",
        "audit",
        "freshness",
        "sessions",
        "sign_in_links",
        "role_grants",
        "people",
        "series_rows",
        "flows",
        "reports",
        "stores",
        "order_rows",
    ):
        op.drop_table(table)
    drop_chassis_tables(op)
