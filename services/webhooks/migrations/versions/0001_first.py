"""The first shape of the webhooks database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns

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
    op.create_table(
        "endpoints",
        *aggregate_columns(),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="of the last change: the dispatcher reads what changed",
        ),
        sa.CheckConstraint("status in ('pending', 'enabled', 'disabled', 'removed')", name="endpoints_status_known"),
        postgresql_with=AGGREGATE_STORAGE,
        comment="one row per endpoint; key = endpoint id",
    )
    op.create_index("endpoints_store", "endpoints", ["store_id", "created_at", "key"])
    op.create_index("endpoints_changed", "endpoints", ["changed_at"])
    op.create_table(
        "cursors",
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column(
            "position",
            sa.BigInteger,
            nullable=False,
            comment="what is at it or before it was delivered, or is not wanted, or is in `waiting`",
        ),
        sa.Column(
            "open",
            postgresql.ARRAY(sa.BigInteger),
            nullable=False,
            server_default="{}",
            comment="positions before it whose first delivery had not ended when it was written",
        ),
        sa.Column(
            "batches",
            postgresql.JSONB,
            nullable=False,
            server_default="[]",
            comment="which of the open positions are delivered together: a batch is written before it is sent",
        ),
        sa.Column(
            "moves",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="how often a person has set the position: what was delivered before a move no longer moves it",
        ),
        sa.Column("failing_since", sa.DateTime(timezone=True), comment="of the first failure behind the last success"),
        sa.Column("failed_in_a_row", sa.Integer, nullable=False, server_default="0"),
        sa.Column("succeeded_at", sa.DateTime(timezone=True)),
        sa.Column("breaker_because", sa.Text, comment="`failures` or `waiting`; null: it is closed"),
        sa.Column("breaker_since", sa.DateTime(timezone=True)),
        sa.Column(
            "notices_of",
            sa.Uuid,
            comment="the endpoint whose notices are delivered; null: the events of an endpoint are",
        ),
        sa.PrimaryKeyConstraint("endpoint_id", name="cursors_pkey"),
        comment="how far an endpoint has come in the feed",
    )
    op.create_index("cursors_shard", "cursors", ["shard"])
    op.create_table(
        "waiting",
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("lane", sa.Uuid, comment="the aggregate whose later events wait behind it; null: none"),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exhausted", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("last", sa.Text, nullable=False, comment="the outcome of the latest attempt"),
        sa.Column(
            "batch", sa.BigInteger, comment="the first position of the events that it is delivered with; null: none"
        ),
        sa.Column(
            "delivered",
            sa.Boolean,
            nullable=False,
            server_default="false",
            comment="it needs no more, but what comes later in its lane has to be read",
        ),
        sa.Column("event_id", sa.Text, comment="of the feed, which may no longer have it"),
        sa.Column("type", sa.Text),
        sa.Column("key", sa.Uuid),
        sa.PrimaryKeyConstraint("endpoint_id", "position", name="waiting_pkey"),
        comment="deliveries at or before the cursor of their endpoint that failed",
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("endpoint_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("key", sa.Uuid, nullable=False, comment="of the aggregate: mostly an order"),
        sa.Column("delivery_id", sa.Text, nullable=False, comment="webhook-id: the same in each attempt"),
        sa.Column("number", sa.SmallInteger, nullable=False, comment="1 on the first try"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("http_status", sa.SmallInteger),
        sa.Column("response", sa.Text, comment="at most 2 kB of it"),
        sa.Column("error", sa.Text),
        sa.Column("events", sa.SmallInteger, nullable=False, comment="that the request carried; each has a row"),
        sa.Column("notice", sa.Boolean, nullable=False, comment="it went to the endpoint's notify_url"),
        sa.Column("replay_id", sa.Uuid),
        sa.PrimaryKeyConstraint("at", "id", name="attempts_pkey"),
        postgresql_partition_by="RANGE (at)",
        comment="a partition per day, dropped after 90 days",
    )
    op.create_index("attempts_endpoint", "attempts", ["endpoint_id", "at"])
    op.create_index("attempts_store", "attempts", ["store_id", "at"])
    op.create_index("attempts_key", "attempts", ["key", "at"])
    op.create_index("attempts_event", "attempts", ["event_id"])
    op.execute("create table attempts_default partition of attempts default")
    op.create_table(
        "shards",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("holder", sa.Uuid, comment="the process that delivers; null: none"),
        sa.Column("until", sa.DateTime(timezone=True), comment="end of the lease"),
        sa.Column(
            "term",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="counts the holders: a process that was one earlier writes nothing",
        ),
        sa.PrimaryKeyConstraint("shard", name="shards_pkey"),
    )
    op.create_table(
        "dispatchers",
        sa.Column("holder", sa.Uuid, nullable=False),
        sa.Column(
            "until", sa.DateTime(timezone=True), nullable=False, comment="the process is running until then at least"
        ),
        sa.PrimaryKeyConstraint("holder", name="dispatchers_pkey"),
        comment="the processes that share the shards",
    )
    op.execute("insert into shards (shard) select * from generate_series(0, 15)")
    op.create_table(
        "replays",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("endpoint_id", sa.Uuid, nullable=False, comment="that of `cursors`"),
        sa.Column("notices_of", sa.Uuid, comment="as in `cursors`"),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False, comment="frozen when the replay began"),
        sa.Column(
            "position",
            sa.BigInteger,
            nullable=False,
            comment="the events up to it were delivered again, or are not wanted, or are open",
        ),
        sa.Column(
            "open",
            postgresql.ARRAY(sa.BigInteger),
            nullable=False,
            server_default="{}",
            comment="positions before it whose delivery had not ended when it was written",
        ),
        sa.Column("types", postgresql.ARRAY(sa.Text), nullable=False, comment="empty: those of the endpoint"),
        sa.Column("which", sa.Text, nullable=False),
        sa.Column(
            "positions",
            postgresql.ARRAY(sa.BigInteger),
            nullable=False,
            server_default="{}",
            comment="for `one`: of the request",
        ),
        sa.Column("as_new", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="running"),
        sa.Column("delivered", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("failed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="replays_pkey"),
        sa.CheckConstraint("which in ('all', 'failed', 'missing', 'one')", name="replays_which_known"),
        sa.CheckConstraint("status in ('running', 'paused', 'cancelled', 'finished')", name="replays_status_known"),
    )
    op.create_index("replays_endpoint", "replays", ["endpoint_id", "created_at"])


def downgrade() -> None:
    for table in ("replays", "dispatchers", "shards", "attempts", "waiting", "cursors", "endpoints"):
        op.drop_table(table)
    for table in ("order_facts", "feed_epochs", "feed_head", "feed"):
        op.drop_table(table)
    drop_chassis_tables(op)
