"""The ledger, its lines, its operations and its books."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.declare.migrations import create_chassis_tables, drop_chassis_tables
from chassis.declare.tables import AGGREGATE_STORAGE, aggregate_columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Once per statement, over all rows that it has added: a trigger per row costs as much as the insert.
BOOKED = """
create function entries_are_booked() returns trigger language plpgsql as $$
declare
    uneven uuid;
begin
    select operation_id into uneven from booked
    group by operation_id, currency having sum(direction * amount_minor) <> 0 limit 1;
    if found then
        raise exception 'the entries of operation % do not balance', uneven using errcode = 'check_violation';
    end if;
    insert into account_deltas (store_id, currency, account, day, debit_minor, credit_minor)
    select store_id, currency, account, (at at time zone 'UTC')::date,
        coalesce(sum(amount_minor) filter (where direction = 1), 0),
        coalesce(sum(amount_minor) filter (where direction = -1), 0)
    from booked group by 1, 2, 3, 4;
    return null;
end $$"""
NEVER_CHANGE = """
create function entries_never_change() returns trigger language plpgsql as $$
begin
    raise exception 'an entry never changes: book the reverse' using errcode = 'restrict_violation';
end $$"""


def _amounts() -> list[sa.Column[int]]:
    return [
        sa.Column("authorized_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("captured_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("voided_minor", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("refunded_minor", sa.BigInteger, nullable=False, server_default="0"),
    ]


def _promises(table: str) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint("captured_minor + voided_minor <= authorized_minor", name=f"{table}_within_authorized"),
        sa.CheckConstraint("refunded_minor <= captured_minor", name=f"{table}_refunded_within_captured"),
        sa.CheckConstraint(
            "authorized_minor >= 0 and captured_minor >= 0 and voided_minor >= 0 and refunded_minor >= 0",
            name=f"{table}_amounts_not_negative",
        ),
    ]


def upgrade() -> None:
    create_chassis_tables(op)
    op.create_table(
        "ledgers",
        *aggregate_columns(),
        sa.Column("currency", sa.Text, comment="ISO 4217; null until something was authorized or asked for"),
        sa.Column("gateway", sa.Text, comment="of the first authorization"),
        *_amounts(),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        *_promises("ledgers"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="ledgers_currency_is_iso_4217"),
        sa.CheckConstraint("currency is not null or authorized_minor = 0", name="ledgers_money_has_a_currency"),
        postgresql_with=AGGREGATE_STORAGE,
    )
    op.create_index("ledgers_by_store", "ledgers", ["store_id", "created_at", "key"])
    op.create_table(
        "ledger_lines",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("line_id", sa.Text, nullable=False),
        sa.Column("direction", sa.SmallInteger, nullable=False, server_default="1", comment="1, or -1 for a reversal"),
        sa.Column("reverses", sa.Text, comment="the line that a reversal takes its amounts off"),
        *_amounts(),
        sa.Column(
            "reversed_minor", sa.BigInteger, nullable=False, server_default="0", comment="taken off by reversals"
        ),
        sa.PrimaryKeyConstraint("order_id", "line_id", name="ledger_lines_pkey"),
        *_promises("ledger_lines"),
        sa.CheckConstraint("direction in (1, -1)", name="ledger_lines_direction_is_a_sign"),
        sa.CheckConstraint("(direction = -1) = (reverses is not null)", name="ledger_lines_reversal_names_its_line"),
        sa.CheckConstraint(
            "reversed_minor >= 0 and refunded_minor + reversed_minor <= captured_minor",
            name="ledger_lines_reversed_within_captured",
        ),
        sa.CheckConstraint(
            "direction = 1 or (voided_minor = 0 and refunded_minor = 0 and reversed_minor = 0)",
            name="ledger_lines_reversal_is_final",
        ),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text),
        sa.Column(
            "refers_to",
            sa.Uuid,
            comment="a capture's or void's authorization, a refund's or reversal's capture, a return's session",
        ),
        sa.Column("gateway", sa.Text),
        sa.Column(
            "account", sa.Text, comment="of an authorization: the store's account at the gateway; null: its first"
        ),
        sa.Column("gateway_reference", sa.Text),
        sa.Column("code", sa.Text, nullable=False, server_default=""),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("recorded", sa.Text, comment="the outcome was stated, and what its gateway has reported since"),
        sa.Column("system", sa.Text, comment="where an operation of elsewhere happened"),
        sa.Column("payment_id", sa.Text, comment="what that system calls it"),
        sa.Column(
            "with_capture",
            sa.Boolean,
            nullable=False,
            server_default="false",
            comment="an authorization and its capture in one",
        ),
        sa.Column(
            "at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), comment="of its last change"
        ),
        sa.PrimaryKeyConstraint("operation_id", name="operations_pkey"),
        sa.CheckConstraint(
            "kind in ('authorize', 'capture', 'void', 'refund', 'reverse', 'prepay', 'return')",
            name="operations_kind_is_known",
        ),
        sa.CheckConstraint(
            "state in ('asked', 'pending', 'succeeded', 'declined', 'failed')", name="operations_state_is_known"
        ),
        sa.CheckConstraint(
            "recorded in ('stated', 'unconfirmed', 'confirmed', 'contradicted')", name="operations_recorded_is_known"
        ),
        sa.CheckConstraint("amount_minor >= 0", name="operations_amount_not_negative"),
        comment="one row per operation id, for ever: its effect happens once",
    )
    op.create_index("operations_by_order", "operations", ["order_id"])
    op.create_index(
        "operations_by_payment",
        "operations",
        ["store_id", "system", "kind", "payment_id"],
        unique=True,
        postgresql_where=sa.text("payment_id is not null"),
    )
    op.create_index(
        "operations_by_reference",
        "operations",
        ["store_id", "gateway_reference"],
        postgresql_where=sa.text("gateway_reference is not null"),
    )
    op.create_index(
        "operations_open", "operations", ["order_id"], postgresql_where=sa.text("state in ('asked', 'pending')")
    )
    op.create_table(
        "payment_sessions",
        sa.Column("session_id", sa.Uuid, primary_key=True),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column(
            "authorization_id", sa.Uuid, comment="the operation that waits for the buyer; null: not asked for yet"
        ),
        sa.Column("code", sa.Text, nullable=False, server_default="", comment="why it was declined"),
        sa.Column("return_url", sa.Text, nullable=False),
        sa.Column("cancel_url", sa.Text),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "gateway",
            sa.Text,
            comment="which it asks itself, before the order does; null: it is that of an authorization",
        ),
        sa.Column("account", sa.Text),
        sa.Column(
            "prepayment", sa.Text, comment="what has become of what was paid before the order asked; null: nothing was"
        ),
        sa.Column(
            "held_minor",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="of it neither taken over nor given back",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column(
            "at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), comment="of its last change"
        ),
        sa.CheckConstraint(
            "state in ('open', 'completed', 'expired', 'cancelled')", name="payment_sessions_state_is_known"
        ),
        sa.CheckConstraint(
            "prepayment in ('held', 'taken', 'returning', 'returned', 'retained')",
            name="payment_sessions_prepayment_is_known",
        ),
        sa.CheckConstraint("held_minor between 0 and amount_minor", name="payment_sessions_held_within_amount"),
    )
    op.create_index(
        "payment_sessions_open_once",
        "payment_sessions",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("payment_sessions_by_order", "payment_sessions", ["order_id"])
    op.create_index(
        "payment_sessions_retained",
        "payment_sessions",
        ["store_id"],
        postgresql_where=sa.text("prepayment = 'retained'"),
    )
    op.create_index("payment_sessions_by_time", "payment_sessions", ["store_id", "created_at", "session_id"])
    op.create_table(
        "disputes",
        sa.Column("dispute_id", sa.Uuid, primary_key=True),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("account", sa.Text),
        sa.Column("reference", sa.Text, nullable=False, comment="what the gateway calls it"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("withheld_minor", sa.BigInteger, nullable=False, comment="by the gateway, and not released or lost"),
        sa.Column("reason", sa.Text, nullable=False, comment="in the words of the gateway"),
        sa.Column("due_at", sa.DateTime(timezone=True), comment="until when the gateway takes evidence"),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column(
            "at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now(), comment="of its last change"
        ),
        sa.CheckConstraint("state in ('open', 'won', 'lost')", name="disputes_state_is_known"),
        sa.CheckConstraint("withheld_minor between 0 and amount_minor", name="disputes_withheld_within_amount"),
    )
    op.create_index("disputes_by_store", "disputes", ["store_id", "opened_at", "dispute_id"])
    op.create_index("disputes_by_reference", "disputes", ["store_id", "reference"])
    op.create_table(
        "storefronts",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False, comment="scheme, host and port that buyers are sent back to"),
        sa.PrimaryKeyConstraint("store_id", "origin", name="storefronts_pkey"),
    )
    op.create_table(
        "gateway_accounts",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column(
            "account", sa.Text, nullable=False, comment="its name in the address that the gateway sends events to"
        ),
        sa.Column("url", sa.Text, comment="null: the gateway's own"),
        sa.Column(
            "credentials", JSONB, nullable=False, comment="name -> a reference: env:NAME or file:/path, never a value"
        ),
        sa.Column("settings", JSONB, nullable=False, comment="name -> value; no secrets"),
        sa.Column("webhook_secret", sa.Text, comment="a reference, as the credentials"),
        sa.Column(
            "number",
            sa.BigInteger,
            sa.Identity(always=True),
            nullable=False,
            comment="the lowest of a store is its first",
        ),
        sa.PrimaryKeyConstraint("gateway", "account", name="gateway_accounts_pkey"),
        sa.CheckConstraint(
            "not jsonb_path_exists(credentials, '$.* ? (!(@ like_regex \"^(env|file):\"))') and webhook_secret ~ '^(env|file):'",
            name="gateway_accounts_credentials_are_references",
        ),
    )
    op.create_index("gateway_accounts_by_store", "gateway_accounts", ["store_id", "gateway", "number"])
    op.create_table(
        "gateway_events",
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column(
            "event_id", sa.Text, nullable=False, comment="the gateway's; of an unreadable event the hash of its body"
        ),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("subject", sa.Text, nullable=False, comment="the gateway's id of the object that changed"),
        sa.Column("payment", sa.Text, comment="the gateway's reference of the authorization"),
        sa.Column("operation_id", sa.Uuid, comment="named by the object; it may not be recorded here yet"),
        sa.Column("unreadable", sa.Text, nullable=False, server_default="", comment="why it could not be read"),
        sa.Column(
            "asks",
            sa.Text,
            nullable=False,
            server_default="",
            comment="what its gateway is to be asked: dispute, refunds",
        ),
        sa.Column("ask_at", sa.DateTime(timezone=True), comment="when its payment is queried next; null: never again"),
        sa.Column("asked_at", sa.DateTime(timezone=True), comment="when the gateway was asked"),
        sa.PrimaryKeyConstraint("gateway", "account", "event_id", name="gateway_events_pkey"),
        comment="what an event states, without the event: that may hold personal data and stays at the gateway",
    )
    op.create_index(
        "gateway_events_by_store", "gateway_events", ["store_id", "received_at", "gateway", "account", "event_id"]
    )
    op.create_index(
        "gateway_events_to_ask", "gateway_events", ["ask_at"], postgresql_where=sa.text("ask_at is not null"),
    )  # fmt: skip
    op.create_table(
        "entries",
        sa.Column("order_id", sa.Uuid, nullable=False, comment="or the id of a settlement or gift card"),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column(
            "version",
            sa.Integer,
            nullable=False,
            comment="of the event that booked it; a settlement's: the place of the row",
        ),
        sa.Column("number", sa.Integer, nullable=False, comment="counts the entries of the event from 0"),
        sa.Column("operation_id", sa.Uuid, nullable=False),
        sa.Column("line_id", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("direction", sa.SmallInteger, nullable=False, comment="1: debit, -1: credit"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="of its event in the journal"),
        sa.PrimaryKeyConstraint("order_id", "version", "number", name="entries_pkey"),
        sa.CheckConstraint(
            "account in ('customer', 'authorized', 'receivable', 'gateway_clearing', 'marketplace_clearing', 'fees',"
            " 'refunds_payable', 'prepayments', 'gift_card_liability', 'gift_cards_issued', 'gift_cards_expired', 'disputed',"
            " 'chargebacks', 'in_transit', 'bank', 'suspense', 'exchange', 'rounding')",
            name="entries_account_is_in_the_chart",
        ),
        sa.CheckConstraint("direction in (1, -1)", name="entries_direction_is_a_sign"),
        sa.CheckConstraint("amount_minor > 0", name="entries_amount_is_positive"),
        comment="append-only; the entries of an operation that a statement adds balance in each currency",
    )
    op.create_index("entries_by_time", "entries", ["store_id", "at"])
    op.create_table(
        "account_totals",
        *_day_of_an_account(),
        sa.PrimaryKeyConstraint("store_id", "currency", "account", "day", name="account_totals_pkey"),
        comment="the entries of each account and day, without those whose sums are in account_deltas",
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "account_deltas",
        *_day_of_an_account(),
        comment="written with the entries that it sums, so that no batch waits for a row of account_totals; few and short-lived",
    )
    op.execute(BOOKED)
    op.execute(
        "create trigger entries_are_booked after insert on entries referencing new table as booked"
        " for each statement execute function entries_are_booked()"
    )
    op.execute(NEVER_CHANGE)
    op.execute(
        "create trigger entries_never_change before update or delete or truncate on entries"
        " for each statement execute function entries_never_change()"
    )
    op.create_table(
        "settlements",
        sa.Column(
            "key",
            sa.Uuid,
            primary_key=True,
            comment="derived from store, gateway, account and statement id: imported once",
        ),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column(
            "gateway",
            sa.Text,
            nullable=False,
            comment="of the operations that it is about; manual: the statement of a bank",
        ),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("statement_id", sa.Text, nullable=False, comment="the sender's"),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("begins_on", sa.Date),
        sa.Column("ends_on", sa.Date),
        sa.Column("opening_minor", sa.BigInteger),
        sa.Column("closing_minor", sa.BigInteger),
        sa.Column("stated_minor", sa.BigInteger, nullable=False, comment="the payout, or the change of the balance"),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("settlements_by_store", "settlements", ["store_id", "imported_at", "key"])
    op.create_table(
        "settlement_rows",
        sa.Column("settlement_id", sa.Uuid, nullable=False),
        sa.Column("place", sa.Integer, nullable=False, comment="counts the rows of the settlement from 1"),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, comment="of the row in the report"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("row_id", sa.Text, nullable=False, comment="the sender's name of the row, or empty"),
        sa.Column("names", sa.ARRAY(sa.Text), nullable=False, comment="under which an operation was sought"),
        sa.Column("gross_minor", sa.BigInteger, nullable=False),
        sa.Column("fee_minor", sa.BigInteger, nullable=False),
        sa.Column("net_minor", sa.BigInteger, nullable=False),
        sa.Column("booked_on", sa.Date),
        sa.Column("exchanged_currency", sa.Text),
        sa.Column("exchanged_minor", sa.BigInteger, comment="the gross before it was exchanged"),
        sa.Column("exchange_rate", sa.Text, comment="as the report states it"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("operation_id", sa.Uuid, comment="that it is about"),
        sa.Column("order_id", sa.Uuid),
        sa.Column("payout", sa.Text, comment="the statement id of the settlement that a bank's row has paid"),
        sa.Column(
            "allotted_minor",
            sa.BigInteger,
            nullable=False,
            comment="of a transfer: what it pays of what the order waits for",
        ),
        sa.Column("settles", sa.Boolean, nullable=False, comment="it is the row of its operation"),
        sa.Column("open", sa.Boolean, nullable=False, comment="a person has to explain it"),
        sa.Column("text", sa.Text, nullable=False, comment="of a row that cannot be read"),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.Column("resolution", sa.Text),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("resolved_by", sa.Text),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("settlement_id", "place", name="settlement_rows_pkey"),
        sa.CheckConstraint("gross_minor - fee_minor = net_minor", name="settlement_rows_net_is_gross_less_fee"),
        sa.CheckConstraint("resolution in ('match', 'fee', 'dismiss')", name="settlement_rows_resolution_is_known"),
        sa.CheckConstraint("not open or resolution is null", name="settlement_rows_resolved_is_not_open"),
        sa.CheckConstraint("not settles or operation_id is not null", name="settlement_rows_settles_an_operation"),
    )
    op.create_index(
        "settlement_rows_settled_once",
        "settlement_rows",
        ["operation_id"],
        unique=True,
        postgresql_where=sa.text("settles"),
    )
    op.create_index(
        "settlement_rows_open",
        "settlement_rows",
        ["store_id", "settlement_id", "place"],
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "expected_transfers",
        sa.Column("operation_id", sa.Uuid, primary_key=True),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False, comment="what the payer was asked to write"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column(
            "moved_minor", sa.BigInteger, nullable=False, server_default="0", comment="has arrived, or was paid out"
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), comment="null: a refund waits until it is paid"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("kind in ('authorize', 'refund')", name="expected_transfers_kind_is_known"),
        sa.CheckConstraint("moved_minor between 0 and amount_minor", name="expected_transfers_moved_within_amount"),
    )
    op.create_index("expected_transfers_by_order", "expected_transfers", ["order_id"])
    op.create_index(
        "expected_transfers_open",
        "expected_transfers",
        ["store_id", "created_at"],
        postgresql_where=sa.text("moved_minor < amount_minor"),
    )
    op.create_table(
        "allotments",
        sa.Column("settlement_id", sa.Uuid, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("operation_id", sa.Uuid, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("settlement_id", "place", "operation_id", name="allotments_pkey"),
        sa.CheckConstraint("amount_minor > 0", name="allotments_amount_is_positive"),
        comment="what a transfer pays of what orders wait for; its row may pay several",
    )
    op.create_index("allotments_by_operation", "allotments", ["operation_id"])
    op.create_table(
        "gift_cards",
        *aggregate_columns(),
        sa.Column("currency", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("code_sha256", sa.Text, comment="of the store and the code; null: it has to be replaced"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("state in ('inactive', 'active', 'expired')", name="gift_cards_state_is_known"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="gift_cards_currency_is_iso_4217"),
        postgresql_with=AGGREGATE_STORAGE,
    )
    op.create_index("gift_cards_by_store", "gift_cards", ["store_id", "created_at", "key"])
    op.create_index("gift_cards_by_code", "gift_cards", ["store_id", "code_sha256"], unique=True)
    op.create_table(
        "gift_card_balances",
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("gift_card_id", sa.Uuid, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("expired", sa.Boolean, nullable=False),
        sa.Column(
            "activated", sa.Boolean, nullable=False, comment="it has ever been active: its balance is a liability"
        ),
        sa.Column("balance_minor", sa.BigInteger, nullable=False),
        sa.Column("used_minor", sa.BigInteger, nullable=False, comment="redeemed by orders and not given back"),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("single_use", sa.Boolean, nullable=False),
        sa.Column("moved", sa.Integer, nullable=False, comment="how many movements it has"),
        sa.PrimaryKeyConstraint("gift_card_id", name="gift_card_balances_pkey"),
        sa.CheckConstraint("balance_minor >= 0 and used_minor >= 0", name="gift_card_balances_not_negative"),
        postgresql_with={"fillfactor": "70"},
        comment="shared by all orders that are paid with the card; a redemption locks the row",
    )
    op.create_table(
        "gift_card_movements",
        sa.Column("gift_card_id", sa.Uuid, nullable=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False, comment="counts the movements of the card from 1"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False, comment="negative: taken off"),
        sa.Column("balance_minor", sa.BigInteger, nullable=False, comment="after it"),
        sa.Column("order_id", sa.Uuid, comment="null: a movement of the card itself"),
        sa.Column("operation_id", sa.Uuid),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("gift_card_id", "number", name="gift_card_movements_pkey"),
        sa.CheckConstraint(
            "kind in ('issued', 'adjusted', 'redeemed', 'restored', 'expired')",
            name="gift_card_movements_kind_is_known",
        ),
        comment="append-only; numbers have no gap",
    )
    _create_reconciliations()


def _day_of_an_account() -> list[sa.Column[Any]]:
    return [
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False, comment="UTC"),
        sa.Column("debit_minor", sa.BigInteger, nullable=False),
        sa.Column("credit_minor", sa.BigInteger, nullable=False),
    ]


def _create_reconciliations() -> None:
    def instant(name: str, **more: Any) -> sa.Column[Any]:
        return sa.Column(name, sa.DateTime(timezone=True), **more)

    op.create_table(
        "reconciliations",
        sa.Column(
            "key",
            sa.Uuid,
            primary_key=True,
            comment="of a nightly one: derived from store, gateway, account and period",
        ),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("store_id", "gateway", "account")),
        instant("begins_at", nullable=False),
        instant("ends_at", nullable=False, comment="the first moment after the period"),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="listing"),
        sa.Column(
            "place", sa.Text, nullable=False, server_default="", comment="how far its state is done: a cursor, or an id"
        ),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0", comment=comment)
            for name, comment in (
                ("listed", "movements in the gateway's list"),
                ("orders", "compared"),
                ("found", "differences"),
                ("gone", "earlier differences that are no more"),
            )
        ),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0", comment="since the last step that was done"),
        sa.Column("error", sa.Text, nullable=False, server_default="", comment="why the last step was not done"),
        instant("run_at", nullable=False, server_default=sa.func.now()),
        sa.Column("leased_by", sa.Text),
        instant("lease_until"),
        instant("created_at", nullable=False, server_default=sa.func.now()),
        instant("ended_at"),
        sa.CheckConstraint(
            "state in ('listing', 'comparing', 'closing', 'done', 'failed')", name="reconciliations_state_is_known"
        ),
        sa.CheckConstraint("begins_at < ends_at", name="reconciliations_period_has_a_length"),
        sa.CheckConstraint(
            "(ended_at is null) = (state in ('listing', 'comparing', 'closing'))", name="reconciliations_ends_once"
        ),
    )
    op.create_index("reconciliations_by_store", "reconciliations", ["store_id", "created_at", "key"])
    op.create_index("reconciliations_open", "reconciliations", ["run_at"], postgresql_where=sa.text("ended_at is null"))
    op.create_table(
        "reconciled_rows",
        sa.Column("reconciliation_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("names", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        instant("at", nullable=False),
        sa.Column("order_id", sa.Uuid, comment="null: no order has its names, or several have"),
        sa.Column("ambiguous", sa.Boolean, nullable=False, comment="several orders have its name"),
        sa.PrimaryKeyConstraint("reconciliation_id", "kind", "reference", name="reconciled_rows_pkey"),
        comment="a gateway's list while it is compared",
    )
    op.create_index("reconciled_rows_by_order", "reconciled_rows", ["reconciliation_id", "order_id"])
    for table, named, comment in (
        (
            "reconciled_orders",
            "order_id",
            "whose movements are compared: of the list, and of our ledgers in the period",
        ),
        (
            "reconciled_differences",
            "difference_id",
            "what was found, until the differences that were not are closed",
        ),
    ):
        op.create_table(
            table,
            sa.Column("reconciliation_id", sa.Uuid, nullable=False),
            sa.Column(named, sa.Uuid, nullable=False),
            sa.PrimaryKeyConstraint("reconciliation_id", named, name=f"{table}_pkey"),
            comment=comment,
        )
    op.create_table(
        "differences",
        *aggregate_columns(),
        *(sa.Column(name, sa.Text) for name in ("status", "kind", "gateway", "account")),
        sa.Column("order_id", sa.Uuid),
        instant("at", comment="of the movement that is in question"),
        instant("found_at", comment="first"),
        sa.CheckConstraint(
            "status in ('open', 'applying', 'applied', 'dismissed', 'gone')", name="differences_status_is_known"
        ),
        postgresql_with=AGGREGATE_STORAGE,
        comment="one row per difference; key = difference id",
    )
    op.create_index("differences_by_store", "differences", ["store_id", "found_at", "key"])
    op.create_index(
        "differences_by_order", "differences", ["order_id"], postgresql_where=sa.text("order_id is not null")
    )
    op.create_index(
        "differences_open",
        "differences",
        ["store_id", "gateway", "account", "at"],
        postgresql_where=sa.text("status = 'open'"),
    )


def downgrade() -> None:
    op.drop_table("gift_card_movements")
    op.drop_table("gift_card_balances")
    op.drop_table("gift_cards")
    for table in (
        "differences", "reconciled_differences", "reconciled_orders", "reconciled_rows", "reconciliations",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_table("allotments")
    op.drop_table("expected_transfers")
    op.drop_table("settlement_rows")
    op.drop_table("settlements")
    op.drop_table("gateway_events")
    op.drop_table("gateway_accounts")
    op.drop_table("storefronts")
    op.drop_table("disputes")
    op.drop_table("payment_sessions")
    op.drop_table("account_deltas")
    op.drop_table("account_totals")
    op.drop_table("entries")
    op.execute("drop function entries_are_booked(), entries_never_change()")
    op.drop_table("operations")
    op.drop_table("ledger_lines")
    op.drop_table("ledgers")
    drop_chassis_tables(op)
