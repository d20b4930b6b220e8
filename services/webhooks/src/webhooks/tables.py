"""Tables of the webhooks database: the feed, its head, and facts of orders."""

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
    Table,
    Text,
    Uuid,
    text,
)

from chassis.declare.tables import chassis_tables, instant

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
