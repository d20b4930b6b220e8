"""Reduces the four databases of a store to what is equal in two runs: without times, generated ids and numbers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from orders.domain.state.order import Order
from tests.integration.shop import Shop

ORDERS = """
select key::text, external_order_id as number, status, payment_status, fulfillment_status, waiting, cancel_cause, currency,
  grand_minor, completed_at is not null as completed, doc from orders where store_id = $1"""
EVENTS = """
select key::text, type, count(*) as times from journal where store_id = $1 and topic is not null group by 1, 2 order by 2"""
LEDGERS = """
select key::text, currency, gateway, authorized_minor, captured_minor, voided_minor, refunded_minor from ledgers
where store_id = $1"""
LEDGER_LINES = """
select order_id::text as key, line_id, direction, authorized_minor, captured_minor, voided_minor, refunded_minor
from ledger_lines where store_id = $1 order by 2"""
OPERATIONS = """
select order_id::text as key, kind, state, amount_minor, currency, code from operations where store_id = $1
order by 2, 3, 4, 6"""
RESERVATIONS = """
select order_id::text as key, line_id, location, sku, quantity, state from reservations where store_id = $1 order by 2, 6"""
SHIPMENTS = """
select order_id::text as key, location, status,
  (select jsonb_agg(l - 'reservation_id' order by l->>'line_id') from jsonb_array_elements(lines) l)::text as lines
from shipments where store_id = $1 order by 2, 3, 4"""
STOCK = "select location, sku, on_hand, reserved from stock where store_id = $1 order by 1, 2"
DOCUMENTS = """
select order_id::text as key, kind, seller, currency, net_minor, vat_minor, total_minor, (body->'lines')::text as lines,
  (body->'vat')::text as vat from documents where store_id = $1 order by 2, 7"""
SERIES = "select seller, kind, last_number from series where store_id = $1 order by 1, 2"


async def canonical(shop: Shop) -> dict[str, Any]:
    """Keyed by the external number of the order, which both runs share."""
    view: dict[str, Any] = {}
    numbers: dict[str, str] = {}
    for row in await shop.rows("orders", ORDERS, shop.store):
        order = Order.model_validate_json(row["doc"])
        numbers[row["key"]] = row["number"]
        view[row["number"]] = {name: row[name] for name in row.keys() if name not in ("key", "number", "doc")} | {  # noqa: SIM118
            "processes": sorted((run.id, run.kind, run.waits, run.end) for run in order.runs.values()),
            "exceptions": sorted(order.exceptions),
            "money": order.facts.money.model_dump(),
        }
    for service, name, sql in (
        *((service, f"{service} events", EVENTS) for service in shop.system.names),
        ("payments", "ledger", LEDGERS),
        ("payments", "ledger lines", LEDGER_LINES),
        ("payments", "operations", OPERATIONS),
        ("fulfillment", "reservations", RESERVATIONS),
        ("fulfillment", "shipments", SHIPMENTS),
        ("invoicing", "documents", DOCUMENTS),
    ):
        for row in await shop.rows(service, sql, shop.store):
            if row["key"] in numbers:  # the journal of fulfillment also has shelves
                view[numbers[row["key"]]].setdefault(name, []).append(list(row.values())[1:])
    view["stock"] = [list(row) for row in await shop.rows("fulfillment", STOCK, shop.store)]
    view["series"] = [list(row) for row in await shop.rows("invoicing", SERIES, shop.store)]
    return view


def digest(view: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(view, sort_keys=True, default=str).encode()).hexdigest()


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The first three differing entries, for the failure message."""
    told = [f"{name}: {one.get(name)}\n   != {other.get(name)}" for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]  # fmt: skip
    return "\n".join(told[:3])
