"""The shape of the payments database on one page. The ledger's promises are check constraints: a second pair of eyes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

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
    Column("reverses", Text, comment="the line that a reversal takes its amounts off"),
    *_amounts(),
    Column("reversed_minor", BigInteger, nullable=False, server_default="0", comment="taken off by reversals"),
    PrimaryKeyConstraint("order_id", "line_id", name="ledger_lines_pkey"),
    *_promises("ledger_lines"),
    CheckConstraint("direction in (1, -1)", name="ledger_lines_direction_is_a_sign"),
    CheckConstraint("(direction = -1) = (reverses is not null)", name="ledger_lines_reversal_names_its_line"),
    CheckConstraint(
        "reversed_minor >= 0 and refunded_minor + reversed_minor <= captured_minor",
        name="ledger_lines_reversed_within_captured",
    ),
    CheckConstraint(
        "direction = 1 or (voided_minor = 0 and refunded_minor = 0 and reversed_minor = 0)",
        name="ledger_lines_reversal_is_final",
    ),
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
    Column(
        "refers_to",
        Uuid,
        comment="a capture's or void's authorization, a refund's or reversal's capture, a return's session",
    ),
    Column("gateway", Text),
    Column("account", Text, comment="of an authorization: the store's account at the gateway; null: its first"),
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
    CheckConstraint(
        "kind in ('authorize', 'capture', 'void', 'refund', 'reverse', 'prepay', 'return')",
        name="operations_kind_is_known",
    ),
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
    Index(
        "operations_by_reference",
        "store_id",
        "gateway_reference",
        postgresql_where=text("gateway_reference is not null"),
    ),
    Index("operations_open", "order_id", postgresql_where=text("state in ('asked', 'pending')")),
    comment="one row per operation id, for ever: its effect happens once",
)

payment_sessions = Table(
    "payment_sessions",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("authorization_id", Uuid, comment="the operation that waits for the buyer; null: not asked for yet"),
    Column("code", Text, nullable=False, server_default="", comment="why it was declined"),
    Column("return_url", Text, nullable=False),
    Column("cancel_url", Text),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column(
        "gateway", Text, comment="which it asks itself, before the order does; null: it is that of an authorization"
    ),
    Column("account", Text),
    Column("prepayment", Text, comment="what has become of what was paid before the order asked; null: nothing was"),
    Column(
        "held_minor", BigInteger, nullable=False, server_default="0", comment="of it neither taken over nor given back"
    ),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="of its last change"),
    CheckConstraint("state in ('open', 'completed', 'expired', 'cancelled')", name="payment_sessions_state_is_known"),
    CheckConstraint(
        "prepayment in ('held', 'taken', 'returning', 'returned', 'retained')",
        name="payment_sessions_prepayment_is_known",
    ),
    CheckConstraint("held_minor between 0 and amount_minor", name="payment_sessions_held_within_amount"),
    Index("payment_sessions_open_once", "order_id", unique=True, postgresql_where=text("state = 'open'")),
    Index("payment_sessions_by_order", "order_id"),
    Index("payment_sessions_retained", "store_id", postgresql_where=text("prepayment = 'retained'")),
    Index("payment_sessions_by_time", "store_id", "created_at", "session_id"),
)

disputes = Table(
    "disputes",
    metadata,
    Column("dispute_id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("account", Text),
    Column("reference", Text, nullable=False, comment="what the gateway calls it"),
    Column("state", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("withheld_minor", BigInteger, nullable=False, comment="by the gateway, and not released or lost"),
    Column("reason", Text, nullable=False, comment="in the words of the gateway"),
    Column("due_at", DateTime(timezone=True), comment="until when the gateway takes evidence"),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="of its last change"),
    CheckConstraint("state in ('open', 'won', 'lost')", name="disputes_state_is_known"),
    CheckConstraint("withheld_minor between 0 and amount_minor", name="disputes_withheld_within_amount"),
    Index("disputes_by_store", "store_id", "opened_at", "dispute_id"),
    Index("disputes_by_reference", "store_id", "reference"),
)

storefronts = Table(
    "storefronts",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("origin", Text, nullable=False, comment="scheme, host and port that buyers are sent back to"),
    PrimaryKeyConstraint("store_id", "origin", name="storefronts_pkey"),
)

gateway_accounts = Table(
    "gateway_accounts",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("account", Text, nullable=False, comment="its name in the address that the gateway sends events to"),
    Column("url", Text, comment="null: the gateway's own"),
    Column("credentials", JSONB, nullable=False, comment="name -> a reference: env:NAME or file:/path, never a value"),
    Column("settings", JSONB, nullable=False, comment="name -> value; no secrets"),
    Column("webhook_secret", Text, comment="a reference, as the credentials"),
    Column("number", BigInteger, Identity(always=True), nullable=False, comment="the lowest of a store is its first"),
    PrimaryKeyConstraint("gateway", "account", name="gateway_accounts_pkey"),
    Index("gateway_accounts_by_store", "store_id", "gateway", "number"),
    CheckConstraint(
        "not jsonb_path_exists(credentials, '$.* ? (!(@ like_regex \"^(env|file):\"))') and webhook_secret ~ '^(env|file):'",
        name="gateway_accounts_credentials_are_references",
    ),
)

gateway_events = Table(
    "gateway_events",
    metadata,
    Column("gateway", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("event_id", Text, nullable=False, comment="the gateway's; of an unreadable event the hash of its body"),
    Column("store_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("subject", Text, nullable=False, comment="the gateway's id of the object that changed"),
    Column("payment", Text, comment="the gateway's reference of the authorization"),
    Column("operation_id", Uuid, comment="named by the object; it may not be recorded here yet"),
    Column("unreadable", Text, nullable=False, server_default="", comment="why it could not be read"),
    Column(
        "asks", Text, nullable=False, server_default="", comment="what its gateway is to be asked: dispute, refunds"
    ),
    Column("ask_at", DateTime(timezone=True), comment="when its payment is queried next; null: never again"),
    Column("asked_at", DateTime(timezone=True), comment="when the gateway was asked"),
    PrimaryKeyConstraint("gateway", "account", "event_id", name="gateway_events_pkey"),
    Index("gateway_events_by_store", "store_id", "received_at", "gateway", "account", "event_id"),
    Index("gateway_events_to_ask", "ask_at", postgresql_where=text("ask_at is not null")),
    comment="what an event states, without the event: that may hold personal data and stays at the gateway",
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
    Column("order_id", Uuid, nullable=False, comment="or the id of a settlement or gift card"),
    Column("store_id", Text, nullable=False),
    Column(
        "version",
        Integer,
        nullable=False,
        comment="of the event that booked it; a settlement's: the place of the row",
    ),
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


settlements = Table(
    "settlements",
    metadata,
    Column(
        "key", Uuid, primary_key=True, comment="derived from store, gateway, account and statement id: imported once"
    ),
    Column("store_id", Text, nullable=False),
    Column(
        "gateway", Text, nullable=False, comment="of the operations that it is about; manual: the statement of a bank"
    ),
    Column("account", Text, nullable=False),
    Column("statement_id", Text, nullable=False, comment="the sender's"),
    Column("format", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("begins_on", Date),
    Column("ends_on", Date),
    Column("opening_minor", BigInteger),
    Column("closing_minor", BigInteger),
    Column("stated_minor", BigInteger, nullable=False, comment="the payout, or the change of the balance"),
    Column("content_sha256", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("imported_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("settlements_by_store", "store_id", "imported_at", "key"),
)

settlement_rows = Table(
    "settlement_rows",
    metadata,
    Column("settlement_id", Uuid, nullable=False),
    Column("place", Integer, nullable=False, comment="counts the rows of the settlement from 1"),
    Column("store_id", Text, nullable=False),
    Column("number", Integer, nullable=False, comment="of the row in the report"),
    Column("kind", Text, nullable=False),
    Column("row_id", Text, nullable=False, comment="the sender's name of the row, or empty"),
    Column("names", ARRAY(Text), nullable=False, comment="under which an operation was sought"),
    Column("gross_minor", BigInteger, nullable=False),
    Column("fee_minor", BigInteger, nullable=False),
    Column("net_minor", BigInteger, nullable=False),
    Column("booked_on", Date),
    Column("exchanged_currency", Text),
    Column("exchanged_minor", BigInteger, comment="the gross before it was exchanged"),
    Column("exchange_rate", Text, comment="as the report states it"),
    Column("state", Text, nullable=False),
    Column("operation_id", Uuid, comment="that it is about"),
    Column("order_id", Uuid),
    Column("payout", Text, comment="the statement id of the settlement that a bank's row has paid"),
    Column(
        "allotted_minor", BigInteger, nullable=False, comment="of a transfer: what it pays of what the order waits for"
    ),
    Column("settles", Boolean, nullable=False, comment="it is the row of its operation"),
    Column("open", Boolean, nullable=False, comment="a person has to explain it"),
    Column("text", Text, nullable=False, comment="of a row that cannot be read"),
    Column("problem", Text, nullable=False, server_default=""),
    Column("resolution", Text),
    Column("reason", Text, nullable=False, server_default=""),
    Column("resolved_by", Text),
    Column("resolved_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("settlement_id", "place", name="settlement_rows_pkey"),
    CheckConstraint("gross_minor - fee_minor = net_minor", name="settlement_rows_net_is_gross_less_fee"),
    CheckConstraint("resolution in ('match', 'fee', 'dismiss')", name="settlement_rows_resolution_is_known"),
    CheckConstraint("not open or resolution is null", name="settlement_rows_resolved_is_not_open"),
    CheckConstraint("not settles or operation_id is not null", name="settlement_rows_settles_an_operation"),
    Index("settlement_rows_settled_once", "operation_id", unique=True, postgresql_where=text("settles")),
    Index("settlement_rows_open", "store_id", "settlement_id", "place", postgresql_where=text("open")),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("key", Uuid, primary_key=True, comment="of a nightly one: derived from store, gateway, account and period"),
    Column("store_id", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("begins_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False, comment="the first moment after the period"),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="listing"),
    Column("place", Text, nullable=False, server_default="", comment="how far its state is done: a cursor, or an id"),
    Column("listed", BigInteger, nullable=False, server_default="0", comment="movements in the gateway's list"),
    Column("orders", BigInteger, nullable=False, server_default="0", comment="compared"),
    Column("found", BigInteger, nullable=False, server_default="0", comment="differences"),
    Column("gone", BigInteger, nullable=False, server_default="0", comment="earlier differences that are no more"),
    Column("tries", Integer, nullable=False, server_default="0", comment="since the last step that was done"),
    Column("error", Text, nullable=False, server_default="", comment="why the last step was not done"),
    Column("run_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("leased_by", Text),
    Column("lease_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint(
        "state in ('listing', 'comparing', 'closing', 'done', 'failed')", name="reconciliations_state_is_known"
    ),
    CheckConstraint("begins_at < ends_at", name="reconciliations_period_has_a_length"),
    CheckConstraint(
        "(ended_at is null) = (state in ('listing', 'comparing', 'closing'))", name="reconciliations_ends_once"
    ),
    Index("reconciliations_by_store", "store_id", "created_at", "key"),
    Index("reconciliations_open", "run_at", postgresql_where=text("ended_at is null")),
)

reconciled_rows = Table(
    "reconciled_rows",
    metadata,
    Column("reconciliation_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("names", ARRAY(Text), nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("order_id", Uuid, comment="null: no order has its names, or several have"),
    Column("ambiguous", Boolean, nullable=False, comment="several orders have its name"),
    PrimaryKeyConstraint("reconciliation_id", "kind", "reference", name="reconciled_rows_pkey"),
    Index("reconciled_rows_by_order", "reconciliation_id", "order_id"),
    comment="a gateway's list while it is compared",
)

reconciled_orders = Table(
    "reconciled_orders",
    metadata,
    Column("reconciliation_id", Uuid, nullable=False),
    Column("order_id", Uuid, nullable=False),
    PrimaryKeyConstraint("reconciliation_id", "order_id", name="reconciled_orders_pkey"),
    comment="whose movements are compared: of the list, and of our ledgers in the period",
)

reconciled_differences = Table(
    "reconciled_differences",
    metadata,
    Column("reconciliation_id", Uuid, nullable=False),
    Column("difference_id", Uuid, nullable=False),
    PrimaryKeyConstraint("reconciliation_id", "difference_id", name="reconciled_differences_pkey"),
    comment="what was found, until the differences that were not are closed",
)

differences = Table(
    "differences",
    metadata,
    *aggregate_columns(),
    Column("status", Text),
    Column("kind", Text),
    Column("gateway", Text),
    Column("account", Text),
    Column("order_id", Uuid),
    Column("at", DateTime(timezone=True), comment="of the movement that is in question"),
    Column("found_at", DateTime(timezone=True), comment="first"),
    CheckConstraint(
        "status in ('open', 'applying', 'applied', 'dismissed', 'gone')", name="differences_status_is_known"
    ),
    Index("differences_by_store", "store_id", "found_at", "key"),
    Index("differences_by_order", "order_id", postgresql_where=text("order_id is not null")),
    Index("differences_open", "store_id", "gateway", "account", "at", postgresql_where=text("status = 'open'")),
    postgresql_with=AGGREGATE_STORAGE,
    comment="one row per difference; key = difference id",
)

expected_transfers = Table(
    "expected_transfers",
    metadata,
    Column("operation_id", Uuid, primary_key=True),
    Column("store_id", Text, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reference", Text, nullable=False, comment="what the payer was asked to write"),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("moved_minor", BigInteger, nullable=False, server_default="0", comment="has arrived, or was paid out"),
    Column("expires_at", DateTime(timezone=True), comment="null: a refund waits until it is paid"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("kind in ('authorize', 'refund')", name="expected_transfers_kind_is_known"),
    CheckConstraint("moved_minor between 0 and amount_minor", name="expected_transfers_moved_within_amount"),
    Index("expected_transfers_by_order", "order_id"),
    Index("expected_transfers_open", "store_id", "created_at", postgresql_where=text("moved_minor < amount_minor")),
)

allotments = Table(
    "allotments",
    metadata,
    Column("settlement_id", Uuid, nullable=False),
    Column("place", Integer, nullable=False),
    Column("operation_id", Uuid, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("settlement_id", "place", "operation_id", name="allotments_pkey"),
    CheckConstraint("amount_minor > 0", name="allotments_amount_is_positive"),
    Index("allotments_by_operation", "operation_id"),
    comment="what a transfer pays of what orders wait for; its row may pay several",
)

gift_cards = Table(
    "gift_cards",
    metadata,
    *aggregate_columns(),
    Column("currency", Text),
    Column("state", Text, nullable=False),
    Column("code_sha256", Text, comment="of the store and the code; null: it has to be replaced"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("state in ('inactive', 'active', 'expired')", name="gift_cards_state_is_known"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="gift_cards_currency_is_iso_4217"),
    Index("gift_cards_by_store", "store_id", "created_at", "key"),
    Index("gift_cards_by_code", "store_id", "code_sha256", unique=True),
    postgresql_with=AGGREGATE_STORAGE,
)

gift_card_balances = Table(
    "gift_card_balances",
    metadata,
    Column("store_id", Text, nullable=False),
    Column("gift_card_id", Uuid, nullable=False),
    Column("currency", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("expired", Boolean, nullable=False),
    Column("activated", Boolean, nullable=False, comment="it has ever been active: its balance is a liability"),
    Column("balance_minor", BigInteger, nullable=False),
    Column("used_minor", BigInteger, nullable=False, comment="redeemed by orders and not given back"),
    Column("expires_at", DateTime(timezone=True)),
    Column("single_use", Boolean, nullable=False),
    Column("moved", Integer, nullable=False, comment="how many movements it has"),
    PrimaryKeyConstraint("gift_card_id", name="gift_card_balances_pkey"),
    CheckConstraint("balance_minor >= 0 and used_minor >= 0", name="gift_card_balances_not_negative"),
    postgresql_with={"fillfactor": "70"},
    comment="shared by all orders that are paid with the card; a redemption locks the row",
)

gift_card_movements = Table(
    "gift_card_movements",
    metadata,
    Column("gift_card_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("number", Integer, nullable=False, comment="counts the movements of the card from 1"),
    Column("kind", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False, comment="negative: taken off"),
    Column("balance_minor", BigInteger, nullable=False, comment="after it"),
    Column("order_id", Uuid, comment="null: a movement of the card itself"),
    Column("operation_id", Uuid),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("gift_card_id", "number", name="gift_card_movements_pkey"),
    CheckConstraint(
        "kind in ('issued', 'adjusted', 'redeemed', 'restored', 'expired')", name="gift_card_movements_kind_is_known"
    ),
    comment="append-only; numbers have no gap",
)
