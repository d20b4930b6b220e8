"""Tables of the webhooks database: the feed and its head, facts of orders, endpoints and what was delivered to them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns, chassis_tables, instant

metadata = MetaData()
chassis_tables(metadata)

PARTITION_ROWS: Final = 1_000_000
"""Positions of a partition of the feed."""

feed = Table(
    "feed",
    metadata,
    Column("position", BigInteger, nullable=False, comment="1..n without a gap, in the order of the commits"),
    Column("event_id", Text, nullable=False, comment="ce_id"),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("key", Uuid, nullable=False, comment="of the aggregate: mostly an order"),
    Column("version", Integer, comment="counts the events of the aggregate at its service; null: none is stated"),
    instant("time", nullable=False, comment="when the event happened"),
    instant("at", nullable=False, comment="when it was written here: grows with the position"),
    Column("correlation_id", Text, nullable=False),
    Column("body", Text, nullable=False, comment="JSON, as it was published"),
    PrimaryKeyConstraint("position", name="feed_pkey"),
    Index("feed_store", "store_id", "position"),
    Index("feed_key", "key", "position"),
    Index("feed_event", "event_id"),
    postgresql_partition_by="RANGE (position)",
)

feed_head = Table(
    "feed_head",
    metadata,
    Column("one", Boolean, nullable=False, server_default=text("true"), comment="there is one row"),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("position", BigInteger, nullable=False, server_default="0", comment="of the last event"),
    Column("certificate", Text, nullable=False, server_default="", comment="of the data that the epoch began on"),
    PrimaryKeyConstraint("one", name="feed_head_pkey"),
    CheckConstraint("one", name="feed_head_one"),
)

feed_epochs = Table(
    "feed_epochs",
    metadata,
    Column("epoch", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False, comment="the head when the epoch began"),
    PrimaryKeyConstraint("epoch", name="feed_epochs_pkey"),
    comment="an epoch begins whenever the database may have lost rows: positions behind its head are given anew",
)

order_facts = Table(
    "order_facts",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("market", Text, nullable=False),
    PrimaryKeyConstraint("order_id", name="order_facts_pkey"),
    comment="what only `orders.received` states of an order",
)

endpoints = Table(
    "endpoints",
    metadata,
    *aggregate_columns(),
    Column("status", Text, nullable=False),
    instant("created_at", nullable=False),
    instant("changed_at", nullable=False, comment="of the last change: the dispatcher reads what changed"),
    Index("endpoints_store", "store_id", "created_at", "key"),
    Index("endpoints_changed", "changed_at"),
    CheckConstraint("status in ('pending', 'enabled', 'disabled', 'removed')", name="endpoints_status_known"),
    postgresql_with=AGGREGATE_STORAGE,
    comment="one row per endpoint; key = endpoint id",
)

cursors = Table(
    "cursors",
    metadata,
    Column("endpoint_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column(
        "position",
        BigInteger,
        nullable=False,
        comment="what is at it or before it was delivered, or is not wanted, or is in `waiting`",
    ),
    Column(
        "open",
        ARRAY(BigInteger),
        nullable=False,
        server_default="{}",
        comment="positions before it whose first delivery had not ended when it was written",
    ),
    Column(
        "batches",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="which of the open positions are delivered together: a batch is written before it is sent",
    ),
    Column(
        "moves",
        Integer,
        nullable=False,
        server_default="0",
        comment="how often a person has set the position: what was delivered before a move no longer moves it",
    ),
    instant("failing_since", comment="of the first failure behind the last success"),
    Column("failed_in_a_row", Integer, nullable=False, server_default="0"),
    instant("succeeded_at"),
    Column("breaker_because", Text, comment="`failures` or `waiting`; null: it is closed"),
    instant("breaker_since"),
    Column("notices_of", Uuid, comment="the endpoint whose notices are delivered; null: the events of an endpoint are"),
    PrimaryKeyConstraint("endpoint_id", name="cursors_pkey"),
    Index("cursors_shard", "shard"),
    comment="how far an endpoint has come in the feed",
)

waiting = Table(
    "waiting",
    metadata,
    Column("endpoint_id", Uuid, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("lane", Uuid, comment="the aggregate whose later events wait behind it; null: none"),
    Column("tries", SmallInteger, nullable=False),
    instant("next_at", nullable=False),
    Column("exhausted", Boolean, nullable=False, server_default="false"),
    Column("last", Text, nullable=False, comment="the outcome of the latest attempt"),
    Column("batch", BigInteger, comment="the first position of the events that it is delivered with; null: none"),
    Column(
        "delivered",
        Boolean,
        nullable=False,
        server_default="false",
        comment="it needs no more, but what comes later in its lane has to be read",
    ),
    Column("event_id", Text, comment="of the feed, which may no longer have it"),
    Column("type", Text),
    Column("key", Uuid),
    PrimaryKeyConstraint("endpoint_id", "position", name="waiting_pkey"),
    comment="deliveries at or before the cursor of their endpoint that failed",
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("endpoint_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("key", Uuid, nullable=False, comment="of the aggregate: mostly an order"),
    Column("delivery_id", Text, nullable=False, comment="webhook-id: the same in each attempt"),
    Column("number", SmallInteger, nullable=False, comment="1 on the first try"),
    instant("at", nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("http_status", SmallInteger),
    Column("response", Text, comment="at most 2 kB of it"),
    Column("error", Text),
    Column("events", SmallInteger, nullable=False, comment="that the request carried; each has a row"),
    Column("notice", Boolean, nullable=False, comment="it went to the endpoint's notify_url"),
    Column("replay_id", Uuid),
    PrimaryKeyConstraint("at", "id", name="attempts_pkey"),
    Index("attempts_endpoint", "endpoint_id", "at"),
    Index("attempts_store", "store_id", "at"),
    Index("attempts_key", "key", "at"),
    Index("attempts_event", "event_id"),
    postgresql_partition_by="RANGE (at)",
    comment="a partition per day, dropped after 90 days",
)

shards = Table(
    "shards",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("holder", Uuid, comment="the process that delivers; null: none"),
    instant("until", comment="end of the lease"),
    Column(
        "term",
        Integer,
        nullable=False,
        server_default="0",
        comment="counts the holders: a process that was one earlier writes nothing",
    ),
    PrimaryKeyConstraint("shard", name="shards_pkey"),
)

dispatchers = Table(
    "dispatchers",
    metadata,
    Column("holder", Uuid, nullable=False),
    instant("until", nullable=False, comment="the process is running until then at least"),
    PrimaryKeyConstraint("holder", name="dispatchers_pkey"),
    comment="the processes that share the shards",
)

replays = Table(
    "replays",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("endpoint_id", Uuid, nullable=False, comment="that of `cursors`"),
    Column("notices_of", Uuid, comment="as in `cursors`"),
    Column("store_id", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False, comment="frozen when the replay began"),
    Column(
        "position",
        BigInteger,
        nullable=False,
        comment="the events up to it were delivered again, or are not wanted, or are open",
    ),
    Column(
        "open",
        ARRAY(BigInteger),
        nullable=False,
        server_default="{}",
        comment="positions before it whose delivery had not ended when it was written",
    ),
    Column("types", ARRAY(Text), nullable=False, comment="empty: those of the endpoint"),
    Column("which", Text, nullable=False),
    Column("positions", ARRAY(BigInteger), nullable=False, server_default="{}", comment="for `one`: of the request"),
    Column("as_new", Boolean, nullable=False),
    Column("status", Text, nullable=False, server_default="running"),
    Column("delivered", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("actor", Text, nullable=False),
    instant("created_at", nullable=False),
    instant("ended_at"),
    PrimaryKeyConstraint("id", name="replays_pkey"),
    Index("replays_endpoint", "endpoint_id", "created_at"),
    CheckConstraint("which in ('all', 'failed', 'missing', 'one')", name="replays_which_known"),
    CheckConstraint("status in ('running', 'paused', 'cancelled', 'finished')", name="replays_status_known"),
)
