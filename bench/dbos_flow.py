"""The peer's four steps: reserve, authorize, capture, invoice. Each is one transaction with DBOS's checkpoint in it; the capture
also writes the shipment.

The statements are optimized for one order at a time: a line needs no round trip of its own, stock rows are locked in one
order, and the invoice series is locked last.
"""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import text

from bench.workload import SELLER, STORE

RESERVE: Final = (
    text(
        "insert into orders (key, store_id, external_order_id, status, payment_status, currency, grand_minor, content)"
        " values (cast(:key as uuid), :store, :external, 'placing', 'unpaid', :currency, :grand, cast(:content as jsonb))"
    ),
    text(
        "select sku from stock where store_id = :store and location = 'main' and sku = any(:skus) and reserved < on_hand"
        " order by sku for update"
    ),
    text(
        "with wanted as (select sku, sum(quantity) as quantity from unnest(cast(:skus as text[]), cast(:quantities as int[]))"
        " as u(sku, quantity) group by sku)"
        " update stock s set reserved = s.reserved + w.quantity from wanted w"
        " where s.store_id = :store and s.location = 'main' and s.sku = w.sku"
    ),
    text(
        "insert into reservations (order_id, line_id, sku, quantity, state) select cast(:key as uuid), line_id, sku, quantity,"
        " 'reserved' from unnest(cast(:line_ids as text[]), cast(:skus as text[]), cast(:quantities as int[]))"
        " as u(line_id, sku, quantity)"
    ),
)
AUTHORIZE: Final = (
    text(
        "insert into ledgers (key, currency, authorized_minor, captured_minor) values (cast(:key as uuid), :currency, :grand, 0)"
    ),
    text(
        "insert into ledger_lines (order_id, line_id, authorized_minor, captured_minor) select cast(:key as uuid), u.*, 0"
        " from unnest(cast(:money_ids as text[]), cast(:amounts as bigint[])) as u"
    ),
    text(
        "insert into operations (operation_id, order_id, kind, state, amount_minor)"
        " values (cast(:operation as uuid), cast(:key as uuid), 'authorize', 'succeeded', :grand)"
    ),
)
CAPTURE: Final = (
    text("update ledgers set captured_minor = authorized_minor where key = cast(:key as uuid)"),
    text("update ledger_lines set captured_minor = authorized_minor where order_id = cast(:key as uuid)"),
    text(
        "insert into operations (operation_id, order_id, kind, state, amount_minor)"
        " values (cast(:operation as uuid), cast(:key as uuid), 'capture', 'succeeded', :grand)"
    ),
    text(
        "update orders set status = 'approved', payment_status = 'paid', fulfillment_status = 'in_progress'"
        " where key = cast(:key as uuid)"
    ),
    text(
        "insert into shipments (shipment_id, order_id, store_id, location, status, lines)"
        " values (cast(:shipment as uuid), cast(:key as uuid), :store, 'main', 'picking', cast(:lines as jsonb))"
    ),
)
INVOICE: Final = (
    text(
        "with taken as (update series set last_number = last_number + 1,"
        " last_issued_at = greatest(clock_timestamp(), last_issued_at)"
        " where store_id = :store and seller = :seller returning last_number, last_issued_at)"
        " insert into documents (document_id, order_id, seller, sequence, number, issued_at, net_minor, vat_minor, total_minor,"
        " body) select cast(:operation as uuid), cast(:key as uuid), :seller, last_number, 'INV-' || last_number,"
        " last_issued_at, :net, :vat, :grand, cast(:body as jsonb) from taken returning sequence"
    ),
)


def reserve(key: str, order: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    lines = order["lines"]
    skus = [line["sku"] for line in lines]
    values = {
        "key": key, "store": STORE, "external": order["external_order_id"], "currency": order["currency"],
        "grand": _grand(order), "content": json.dumps(order), "skus": skus,
        "line_ids": [line["external_line_id"] for line in lines],
        "quantities": [line["quantity"]["ordered"] for line in lines],
    }  # fmt: skip
    return [(statement, values) for statement in RESERVE]


def authorize(key: str, order: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    money = [(line["external_line_id"], line["line_total_minor"]) for line in order["lines"]]
    if shipping := order["totals"]["shipping_minor"]:
        money.append(("shipping", shipping))
    values = {
        "key": key, "currency": order["currency"], "grand": _grand(order), "money_ids": [line for line, _ in money],
        "amounts": [amount for _, amount in money], "operation": _operation(key, "authorize"),
    }  # fmt: skip
    return [(statement, values) for statement in AUTHORIZE]


def capture(key: str, order: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    lines = [
        {"line_id": line["external_line_id"], "sku": line["sku"], "quantity": line["quantity"]["ordered"]}
        for line in order["lines"]
    ]
    values = {
        "key": key, "store": STORE, "grand": _grand(order), "operation": _operation(key, "capture"),
        "shipment": _operation(key, "shipment"), "lines": json.dumps(lines),
    }  # fmt: skip
    return [(statement, values) for statement in CAPTURE]


def invoice(key: str, order: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """VAT of 20 %, contained in the gross total, rounded half up once per document."""
    grand = _grand(order)
    vat = (grand * 20 * 2 + 120) // 240
    body = {"lines": order["lines"], "buyer": order["buyer"], "ship_to": order["ship_to"], "vat": {"20.00": vat}}
    values = {
        "key": key, "store": STORE, "seller": SELLER, "grand": grand, "net": grand - vat, "vat": vat,
        "operation": _operation(key, "invoice"), "body": json.dumps(body),
    }  # fmt: skip
    return [(statement, values) for statement in INVOICE]


def _grand(order: dict[str, Any]) -> int:
    grand: int = order["totals"]["grand_minor"]
    return grand


def _operation(key: str, kind: str) -> str:
    return str(uuid5(NAMESPACE_OID, f"{key}/{kind}"))
