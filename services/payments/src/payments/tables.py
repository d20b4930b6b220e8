"""The shape of the payments database on one page. The ledger's promises are check constraints: a second pair of eyes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns, chassis_tables
from payments.domain.books import ACCOUNTS

metadata = MetaData()
chassis_tables(metadata)


def _amounts() -> list[Column[int]]:
    """Minor units, cumulative: gross amounts that only grow."""
    return [
        Column("authorized_minor", BigInteger, nullable=False, server_default="0"),
        Column("captured_minor", BigInteger, nullable=False, server_default="0"),
        Column("voided_minor", BigInteger, nullable=False, server_default="0"),
        Column("refunded_minor", BigInteger, nullable=False, server_default="0"),
    ]


def _promises(table: str) -> list[CheckConstraint]:
    """Nothing is negative, nothing is captured or voided that was not authorized, nothing refunded that was not captured."""
    return [
        CheckConstraint("captured_minor + voided_minor <= authorized_minor", name=f"{table}_within_authorized"),
        CheckConstraint("refunded_minor <= captured_minor", name=f"{table}_refunded_within_captured"),
        CheckConstraint(
            "authorized_minor >= 0 and captured_minor >= 0 and voided_minor >= 0 and refunded_minor >= 0",
            name=f"{table}_amounts_not_negative",
        ),
    ]


ledgers = Table(
    "ledgers",
    metadata,
    *aggregate_columns(),
    Column("currency", Text, comment="ISO 4217; null until something was authorized or asked for"),
    Column("gateway", Text, comment="of the first authorization"),
    *_amounts(),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    *_promises("ledgers"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="ledgers_currency_is_iso_4217"),
    CheckConstraint("currency is not null or authorized_minor = 0", name="ledgers_money_has_a_currency"),
    Index("ledgers_by_store", "store_id", "created_at", "key"),
    postgresql_with=AGGREGATE_STORAGE,
)

ledger_lines = Table(
    "ledger_lines",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("line_id", Text, nullable=False),
    Column("direction", SmallInteger, nullable=False, server_default="1", comment="1, or -1 for a reversal"),
    *_amounts(),
    PrimaryKeyConstraint("order_id", "line_id", name="ledger_lines_pkey"),
    *_promises("ledger_lines"),
    CheckConstraint("direction in (1, -1)", name="ledger_lines_direction_is_a_sign"),
    postgresql_with={"fillfactor": "50"},  # authorized, then captured: room for the new version on the same page
)

operations = Table(
    "operations",
    metadata,
    Column("operation_id", Uuid, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text),
    Column("refers_to", Uuid, comment="a capture's or void's authorization, a refund's capture"),
    Column("gateway", Text),
    Column("gateway_reference", Text),
    Column("code", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("recorded", Text, comment="the outcome was stated, and what its gateway has reported since"),
    Column("system", Text, comment="where an operation of elsewhere happened"),
    Column("payment_id", Text, comment="what that system calls it"),
    Column(
        "with_capture",
        Boolean,
        nullable=False,
        server_default="false",
        comment="an authorization and its capture in one",
    ),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="of its last change"),
    PrimaryKeyConstraint("operation_id", name="operations_pkey"),
    CheckConstraint("kind in ('authorize', 'capture', 'void', 'refund')", name="operations_kind_is_known"),
    CheckConstraint(
        "state in ('asked', 'pending', 'succeeded', 'declined', 'failed')", name="operations_state_is_known"
    ),
    CheckConstraint(
        "recorded in ('stated', 'unconfirmed', 'confirmed', 'contradicted')", name="operations_recorded_is_known"
    ),
    CheckConstraint("amount_minor >= 0", name="operations_amount_not_negative"),
    Index("operations_by_order", "order_id"),
    Index(
        "operations_by_payment",
        "store_id",
        "system",
        "kind",
        "payment_id",
        unique=True,
        postgresql_where=text("payment_id is not null"),
    ),
    Index("operations_open", "order_id", postgresql_where=text("state in ('asked', 'pending')")),
    comment="one row per operation id, for ever: its effect happens once",
)

gateway_accounts = Table(
    "gateway_accounts",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("account", Text, nullable=False, comment="its name in the address that the gateway sends events to"),
    Column("url", Text, comment="null: the gateway's own"),
    Column("api_key", Text, nullable=False, comment="a reference: env:NAME or file:/path, never a value"),
    Column("webhook_secret", Text, comment="a reference, as api_key"),
    PrimaryKeyConstraint("store_id", "gateway", name="gateway_accounts_pkey"),
    UniqueConstraint("gateway", "account", name="gateway_accounts_named_once"),
    CheckConstraint(
        "api_key ~ '^(env|file):' and webhook_secret ~ '^(env|file):'",
        name="gateway_accounts_credentials_are_references",
    ),
)


def _day_of_an_account() -> list[Column[Any]]:
    """Minor units: the sums of the debits of an account, and of its credits."""
    return [
        Column("store_id", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("account", Text, nullable=False),
        Column("day", Date, nullable=False, comment="UTC"),
        Column("debit_minor", BigInteger, nullable=False),
        Column("credit_minor", BigInteger, nullable=False),
    ]


entries = Table(
    "entries",
    metadata,
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("version", Integer, nullable=False, comment="of the order's event that booked it"),
    Column("number", Integer, nullable=False, comment="counts the entries of the event from 0"),
    Column("operation_id", Uuid, nullable=False),
    Column("line_id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("direction", SmallInteger, nullable=False, comment="1: debit, -1: credit"),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, comment="of its event in the journal"),
    PrimaryKeyConstraint("order_id", "version", "number", name="entries_pkey"),
    CheckConstraint(f"account in {ACCOUNTS}", name="entries_account_is_in_the_chart"),
    CheckConstraint("direction in (1, -1)", name="entries_direction_is_a_sign"),
    CheckConstraint("amount_minor > 0", name="entries_amount_is_positive"),
    Index("entries_by_time", "store_id", "at"),
    comment="append-only; the entries of an operation that a statement adds balance in each currency",
)

account_totals = Table(
    "account_totals",
    metadata,
    *_day_of_an_account(),
    PrimaryKeyConstraint("store_id", "currency", "account", "day", name="account_totals_pkey"),
    comment="the entries of each account and day, without those whose sums are in account_deltas",
    postgresql_with={"fillfactor": "70"},
)

account_deltas = Table(
    "account_deltas",
    metadata,
    *_day_of_an_account(),
    comment="written with the entries that it sums, so that no batch waits for a row of account_totals; few and short-lived",
)
