"""The chassis' own tables, the same in every service's database: inbox, journal, outbox, parking, tasks, timers, leases."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType


class Xid8(UserDefinedType[Any]):
    """A 64-bit transaction id: a feed reads below the snapshot's horizon and misses nothing."""

    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "xid8"


def instant(name: str, **kw: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), **kw)


AGGREGATE_STORAGE: Final = {"fillfactor": "60", "toast_tuple_target": "8160"}
"""`postgresql_with` of a table of aggregates. A row is written several times within seconds: the next version finds
room on the same page, and leaves the indexes alone. Up to 8 kB a document stays in its row as it is: to compress it for each
version costs more than the bytes it saves."""


TODAY: Final = "(now() at time zone 'UTC')::date"
"""SQL: the day on which the transaction began. Its journal rows are of this day or a later one."""
TODAY_LATEST: Final = "(clock_timestamp() at time zone 'UTC')::date"
"""SQL, once a batch has decided: its journal rows are of this day or an earlier one."""


def aggregate_columns() -> list[Column[Any]]:
    """What every aggregate's row has, before the columns of its own. Its documents are JSON."""
    return [
        Column("key", Uuid, primary_key=True),
        Column("store_id", Text, nullable=False),
        Column("revision", Integer, nullable=False),
        Column("version", Integer, nullable=False),
        Column("doc", Text, nullable=False, comment="JSON"),
        Column(
            "answered",
            Text,
            nullable=False,
            comment="JSON: operation id -> revision of its answer, of the latest operations",
        ),
        instant("armed_at", nullable=True),
        Column(
            "journal_from", Date, nullable=False, server_default=text(TODAY), comment="first day of its journal rows"
        ),
        Column("journal_to", Date, nullable=False, server_default=text(TODAY_LATEST), comment="last day of them"),
    ]


def chassis_tables(metadata: MetaData) -> dict[str, Table]:
    """Declare the chassis' tables on `metadata`."""
    journal_id = Sequence("journal_id_seq", metadata=metadata)
    tables = [
        Table(
            "inbox",
            metadata,
            Column("id", Uuid, nullable=False),
            PrimaryKeyConstraint("id", name="inbox_pkey"),
            postgresql_partition_by="RANGE (id)",
            comment="48 bits of ce_time in ms, then a hash of (source, id): a message's effects happen once",
        ),
        Table(
            "journal",
            metadata,
            # A sequence, not an identity: those on partitioned tables came with PostgreSQL 17.
            Column("id", BigInteger, journal_id, server_default=journal_id.next_value(), nullable=False),
            Column("day", Date, nullable=False),
            Column("key", Uuid, nullable=False),
            Column("store_id", Text, nullable=False),
            Column("aggregate", Text, nullable=False),
            Column("revision", Integer, comment="counts every event of an aggregate; null on commands to others"),
            Column("version", Integer, comment="counts the published events of an aggregate"),
            Column("type", Text, nullable=False),
            Column("message_id", Uuid, nullable=False, comment="ce_id"),
            Column("operation_id", Uuid),
            Column("topic", Text, comment="null: private"),
            instant("at", nullable=False),
            Column("actor", Text, nullable=False),
            Column("via", Text, comment="the API key that acted for the person in `actor`"),
            Column("cause_type", Text, nullable=False),
            Column(
                "cause_id",
                Text,
                nullable=False,
                comment="ce_id of a record; else the id of a request, a timer, a report",
            ),
            Column("correlation_id", Text, nullable=False),
            Column("traceparent", Text),
            Column("xid", Xid8(), nullable=False, server_default=text("pg_current_xact_id()")),
            Column("payload", Text, nullable=False, comment="JSON"),
            PrimaryKeyConstraint("day", "id", name="journal_pkey"),
            Index("journal_key", "key", "id"),
            postgresql_partition_by="RANGE (day)",
        ),
        Table(
            "closed_operations",
            metadata,
            Column("aggregate", Text, nullable=False),
            Column("key", Uuid, nullable=False),
            Column("operation_id", Uuid, nullable=False),
            Column("revision", Integer, nullable=False, comment="of the event that answered it"),
            PrimaryKeyConstraint("aggregate", "key", "operation_id", name="closed_operations_pkey"),
            comment="operations that an aggregate's row no longer has in `answered`",
        ),
        Table(
            "outbox",
            metadata,
            Column("id", BigInteger, Identity(always=True), nullable=False),
            Column("day", Date, nullable=False),
            Column("journal_id", BigInteger, nullable=False),
            PrimaryKeyConstraint("id", name="outbox_pkey"),
        ),
        Table(
            "outbox_set_aside",
            metadata,
            Column("id", BigInteger, nullable=False),
            Column("key", Uuid, nullable=False),
            Column("day", Date, nullable=False),
            Column("journal_id", BigInteger, nullable=False),
            Column("cause", Text, nullable=False),
            PrimaryKeyConstraint("id", name="outbox_set_aside_pkey"),
            Index("outbox_set_aside_key", "key"),
            comment="rows that the broker refuses for themselves, and the later ones of their keys",
        ),
        Table(
            "parked",
            metadata,
            Column("id", BigInteger, Identity(always=True), nullable=False),
            Column("key", Uuid, comment="the aggregate that waits behind it; null: none"),
            Column("store_id", Text, comment="null: not readable"),
            Column("type", Text),
            Column("topic", Text, nullable=False),
            Column("partition", Integer),
            Column("offset", BigInteger),
            Column("record_key", LargeBinary),
            Column("headers", JSONB, nullable=False, comment="[[name, base64 of the value or null], ...]"),
            Column("value", LargeBinary),
            Column("value_bytes", Integer, comment="of the whole value, if only its beginning is stored"),
            Column(
                "fingerprint",
                LargeBinary,
                comment="of key, value and headers: another broker may assign the same offset to another record",
            ),
            Column("cause", Text, nullable=False),
            Column("detail", Text, nullable=False),
            Column("raised_at", Text, comment="module:line of our code that raised; null: no error of ours"),
            Column(
                "stack", Text, comment="the lines of our code that the error has passed, the one that raised it last"
            ),
            Column(
                "state", Text, nullable=False, server_default="waiting", comment="waiting replayed edited discarded"
            ),
            Column("version", Integer, nullable=False, server_default="1", comment="counts its changes"),
            Column("edited_from", BigInteger),
            Column("settled_by", Text),
            Column("reason", Text, comment="why it was discarded"),
            instant("parked_at", nullable=False, server_default=func.now()),
            instant("settled_at"),
            PrimaryKeyConstraint("id", name="parked_pkey"),
            Index("parked_waiting", "key", "id", postgresql_where=text("state = 'waiting'")),
            Index(
                "parked_groups",
                "cause",
                text("coalesce(raised_at, '')"),
                "id",
                # `raised_at` again: PostgreSQL does not read a column from an index that has only an expression of it
                postgresql_include=["raised_at", "key", "type", "store_id"],
                postgresql_where=text("state = 'waiting'"),
            ),
            Index(
                "parked_record",
                "topic",
                "partition",
                "offset",
                "fingerprint",
                unique=True,
                postgresql_where=text("edited_from is null"),
            ),
        ),
        Table(
            "parked_keys",
            metadata,
            Column("key", Uuid, nullable=False),
            Column("retries", SmallInteger, nullable=False, server_default="0"),
            instant("retry_at", comment="null: waits for a person"),
            instant("since", nullable=False, server_default=func.now()),
            PrimaryKeyConstraint("key", name="parked_keys_pkey"),
        ),
        Table(
            "timers",
            metadata,
            Column("key", Uuid, nullable=False),
            Column("aggregate", Text, nullable=False),
            instant("due_at", nullable=False),
            PrimaryKeyConstraint("aggregate", "key", name="timers_pkey"),
            Index("timers_due", "due_at"),
        ),
        Table(
            "tasks",
            metadata,
            Column("task_id", Uuid, nullable=False),
            Column("seq", BigInteger, Identity(always=True), nullable=False),
            Column("key", Uuid, nullable=False),
            Column("store_id", Text, nullable=False),
            Column("aggregate", Text, nullable=False),
            Column("kind", Text, nullable=False),
            Column("body", JSONB, nullable=False),
            Column("correlation_id", Text, nullable=False),
            Column("traceparent", Text),
            Column("tries", Integer, nullable=False, server_default="0"),
            Column("last_error", Text),
            Column("leased_by", Text),
            instant("lease_until"),
            instant("first_tried_at"),
            instant("run_at", nullable=False),
            Column(
                "beside", Boolean, nullable=False, server_default="false", comment="runs beside the others of its key"
            ),
            PrimaryKeyConstraint("task_id", name="tasks_pkey"),
            Index("tasks_key", "key", "seq"),
            Index("tasks_run_at", "run_at"),
        ),
        Table(
            "consumer_offsets",
            metadata,
            Column("topic", Text, nullable=False),
            Column("partition", Integer, nullable=False),
            Column("next_offset", BigInteger, nullable=False, server_default="0"),
            Column("tried_offset", BigInteger, comment="first offset of the batch that was last begun"),
            Column(
                "crashes", Integer, nullable=False, server_default="0", comment="batches begun there and never ended"
            ),
            PrimaryKeyConstraint("topic", "partition", name="consumer_offsets_pkey"),
            postgresql_with={"fillfactor": "50"},
        ),
        Table(
            "relay_positions",
            metadata,
            Column("topic", Text, nullable=False),
            Column("partition", Integer, nullable=False),
            Column("next_offset", BigInteger, nullable=False),
            PrimaryKeyConstraint("topic", "partition", name="relay_positions_pkey"),
            comment="offset up to which this database has its own events: a restored one reads on from here",
        ),
        Table(
            "unfolded",
            metadata,
            Column("day", Date, nullable=False),
            Column("after_id", BigInteger, nullable=False, comment="a journal id: the adopted events have higher ones"),
            PrimaryKeyConstraint("day", name="unfolded_pkey"),
            comment="days of the journal with adopted events that are not folded into shared rows yet",
        ),
        Table(
            "leases",
            metadata,
            Column("name", Text, nullable=False),
            Column("holder", Text, nullable=False),
            instant("until", nullable=False),
            PrimaryKeyConstraint("name", name="leases_pkey"),
        ),
        Table(
            "idempotency",
            metadata,
            Column("store_id", Text, nullable=False),
            Column("key", Text, nullable=False, comment="SHA-256 of principal, method, path and Idempotency-Key"),
            Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of query and body"),
            Column("status", SmallInteger),
            Column("headers", JSONB),
            Column("body", LargeBinary),
            instant("created_at", nullable=False, server_default=func.now()),
            PrimaryKeyConstraint("store_id", "key", name="idempotency_pkey"),
            Index("idempotency_created", "created_at"),
        ),
        Table(
            "api_keys",
            metadata,
            Column("id", Text, nullable=False),
            Column("store_id", Text, comment="null: an administrator's"),
            Column("name", Text, nullable=False),
            Column("secret_sha256", LargeBinary, nullable=False),
            Column("scopes", ARRAY(Text), nullable=False),
            Column("revoked", Boolean, nullable=False, server_default="false"),
            instant("created_at", nullable=False, server_default=func.now()),
            PrimaryKeyConstraint("id", name="api_keys_pkey"),
        ),
    ]
    return {table.name: table for table in tables}
