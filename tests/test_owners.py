"""A write never touches a row of another order or store: every `on conflict ... do update` of the tree names its owner.

Either the conflict columns are the owner, or the update compares the owner's columns and returns the written rows, so the
caller can detect a refused row.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for top in ("libs", "services") for path in (ROOT / top).rglob("*.py") if "tests" not in path.parts
)
UPSERT = re.compile(r"insert into (\w+)(?: as \w+)? .*?on conflict \(([\w, ]+)\) do update set(.*?)(?=insert into|$)")

OWNED_BY_THEIR_CONFLICT: Final = {
    # table             conflict columns                   whose row it is
    "timers":           ("aggregate", "key"),              # the aggregate's
    "parked_keys":      ("key",),                          # the order's
    "closed_operations": ("aggregate", "key", "operation_id"),  # the aggregate\'s
    "consumer_offsets": ("topic", "partition"),            # no owner: positions of this service's consumer
    "relay_positions":  ("topic", "partition"),            # no owner: positions of this service's relay
    "leases":           ("name",),                         # the holder's, compared beside
    "waiting":          ("endpoint_id", "position"),       # the endpoint's
    "shards":           ("shard",),                        # the holder's, compared beside
    "dispatchers":      ("holder",),                       # the process' own
    "markets":          ("store_id", "code"),              # the store's
    "people":           ("issuer", "subject"),             # the person's
    "freshness":        ("process",),                      # the process' own
    "reports":          ("service", "address"),            # the process' own
    "flows":            ("one",),                          # no owner: the positions of all groups
    "series_rows":      ("series", "step_seconds", "begins_at"),  # no owner: values of the whole system
    "account_totals":   ("store_id", "currency", "account", "day"),  # the store's
    "sellers":          ("store_id", "code"),              # the store's
    "gateway_accounts": ("gateway", "account"),            # the store's, compared beside
    "series":           ("store_id", "seller", "kind", "series"),  # the store's
    "stock":            ("store_id", "location", "sku"),   # the store's
}  # fmt: skip
COMPARED: Final = {
    # table          columns that are compared, where they are no part of the conflict
    "tasks":         {"key", "store_id"},
    "operations":    {"order_id", "store_id"},
    "disputes":      {"order_id", "store_id"},
    "payment_sessions": {"order_id", "store_id"},
    "shipments":     {"order_id", "store_id"},
    "ledger_lines":  {"store_id"},  # the order is in the conflict
    "gift_card_balances": {"store_id"},  # the card is in the conflict
    "order_search":  {"store_id"},  # the order is in the conflict
    "reservations":  {"store_id"},  # the order is in the conflict
    "gateway_accounts": {"store_id"},
}  # fmt: skip


def statements(path: Path) -> Iterator[str]:
    """All string literals of a module: adjacent ones and the constant parts of f-strings joined, white space as one blank."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
        yield " ".join(text.lower().split())


def upserts(text: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Table, conflict columns, and what follows `set`."""
    for table, conflict, update in UPSERT.findall(text):
        yield table, tuple(conflict.split(", ")), update


def wrong(table: str, conflict: tuple[str, ...], update: str) -> str | None:
    """Why an upsert could overwrite a row of another owner; None if it cannot."""
    if table in OWNED_BY_THEIR_CONFLICT:
        return None if conflict == OWNED_BY_THEIR_CONFLICT[table] else f"{table}: its owner is not {conflict}"
    if table not in COMPARED:
        return f"{table}: add the owner of its rows to {Path(__file__).name}"
    condition, _, returned = update.partition(" where ")[2].partition(" returning ")
    compared = {left for left, right in re.findall(r"\w+\.(\w+) = excluded\.(\w+)", condition) if left == right}
    if missing := COMPARED[table] - compared:
        return f"{table}: the update does not compare {', '.join(sorted(missing))}"
    return None if returned else f"{table}: a refused row goes unnoticed; add `returning`"


def test_every_upsert_of_the_tree_writes_over_rows_of_its_owner_alone() -> None:
    found = {(path.name, one) for path in SOURCES for text in statements(path) for one in upserts(text)}
    assert {table for _, (table, _, _) in found} == {*OWNED_BY_THEIR_CONFLICT, *COMPARED}
    assert [f"{name}: {reason}" for name, one in sorted(found) if (reason := wrong(*one))] == []


def test_nobody_upserts_past_this_test() -> None:
    """The pattern above finds each `do update`, and SQLAlchemy builds none."""
    for path in SOURCES:
        source = path.read_text("utf-8").lower()
        assert "on_conflict_do_update" not in source, path
        counted = sum(text.count("do update set") for text in statements(path))
        assert counted == sum(1 for text in statements(path) for _ in upserts(text)), path


@pytest.mark.parametrize("sql", [
    "insert into parcels (parcel_id) values ($1) on conflict (parcel_id) do update set status = excluded.status",
    "insert into stock (sku) values ($1) on conflict (sku) do update set on_hand = excluded.on_hand",
    "insert into shipments as s (shipment_id) values ($1) on conflict (shipment_id) do update set status = excluded.status"
    " where s.order_id = excluded.order_id returning 1",
    "insert into shipments as s (shipment_id) values ($1) on conflict (shipment_id) do update set status = excluded.status"
    " where s.order_id = excluded.order_id and s.store_id = excluded.store_id",
])  # fmt: skip
def test_an_upsert_that_names_no_owner_is_found(sql: str) -> None:
    [one] = upserts(sql)
    assert wrong(*one)
