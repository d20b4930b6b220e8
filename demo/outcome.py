"""The result of every order, read from the services' databases and topics after the run."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import aiohttp
import orjson

from contracts.registry import TOPICS
from demo.expected import ActualRow
from demo.report import CAUSES, REASONS
from devservices.databases import fetch
from system.installation import Installation
from system.topics import records

ORDERS = """
select key, status, waiting, cancel_cause, completed_at is not null as completed, grand_minor from orders"""
LEDGERS = "select key, gateway, authorized_minor, captured_minor, voided_minor, refunded_minor from ledgers"
PREPAID = """
select order_id, count(*) filter (where kind = 'prepay') as prepayments,
  coalesce(sum(amount_minor) filter (where kind = 'prepay'), 0)::bigint as prepaid_minor,
  coalesce(sum(amount_minor) filter (where kind = 'return'), 0)::bigint as given_back_minor
from operations where kind in ('prepay', 'return') and state = 'succeeded' group by order_id"""
DOCUMENTS = """
select order_id, coalesce(sum(total_minor) filter (where kind = 'invoice'), 0)::bigint as invoiced_minor,
  coalesce(sum(total_minor) filter (where kind = 'credit'), 0)::bigint as credited_minor,
  coalesce(sum(vat_minor) filter (where kind = 'invoice'), 0)::bigint as invoiced_vat_minor,
  coalesce(sum(vat_minor) filter (where kind = 'credit'), 0)::bigint as credited_vat_minor,
  count(*) filter (where kind = 'credit') as credit_notes
from documents group by order_id"""
STOCK = "select sku, on_hand from stock"
BALANCES = """
select account, sum(debit_minor - credit_minor)::bigint as minor
from (select * from account_totals union all select * from account_deltas) as days group by account
having sum(debit_minor - credit_minor) <> 0 or account = 'prepayments'"""
PARKED = "select key, retry_at is null as for_a_person from parked_keys"
# Reason to wait in the orders service -> reason in the report; reasons that are not here keep their name.
REASON_OF: Final = {
    "answer": "no_answer",
    "outcomes": "no_answer",
    "snapshot": "no_answer",
    "payment": "no_answer",
    "": "no_answer",
}
EVENTS: Final = [topic.name for topic in TOPICS.values() if not topic.addressed]
_DUPLICATES: Final = re.compile(r"^tradewind_duplicates_removed_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass
class Published:
    """What the services have published of all orders."""

    completed_at: dict[UUID, datetime] = field(default_factory=dict)
    """`ce_time` of each order's first `orders.completed`."""
    changes: defaultdict[UUID, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Order id -> the counts and sums of `expected.Changes` that follow from its edits, refunds and reversals."""
    events: dict[str, str] = field(default_factory=dict)
    """`<source>/<id>` of each event -> its type."""


async def published(installation: Installation) -> Published:
    found = Published()
    async for record in records(installation.system.kafka.bootstrap_servers, EVENTS):
        named = dict(record.headers)
        event = f"{named['ce_source'].decode()}/{named['ce_id'].decode()}"
        found.events[event] = sys.intern(named["ce_type"].decode())
        match named["ce_type"]:
            case b"orders.completed":
                at = datetime.fromisoformat(named["ce_time"].decode())
                found.completed_at.setdefault(UUID(record.key.decode()), at)
            case b"orders.edited":
                found.changes[UUID(record.key.decode())].update(edited(orjson.loads(record.value)))
            case b"payments.reversed":
                amount = orjson.loads(record.value)["amount_minor"]
                found.changes[UUID(record.key.decode())].update(reversals=1, reversed_minor=amount)
            case b"orders.refund_settled":
                amount = orjson.loads(record.value)["amount_minor"]
                found.changes[UUID(record.key.decode())].update(refunds=1, refunds_minor=amount)
    return found


def edited(event: Mapping[str, Any]) -> Counter[str]:
    """What an `orders.edited` adds to the counts and sums of its order; nothing if no edit caused it."""
    if event.get("edit_id") is None:
        return Counter()
    found = Counter(edits=1)
    rows: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in event.get("lines", ()):
        if row["kind"] in ("reversal", "replacement", "added"):
            rows[row["line_id"]].append(row)
    for changed in rows.values():
        difference = sum(row["amount_minor"] for row in changed)
        if [row["kind"] for row in changed] == ["reversal"]:
            found.update(lines_cancelled=1, lines_cancelled_minor=-difference)
        else:
            found["added_minor"] += max(difference, 0)
    return found


async def actual_rows(installation: Installation, changes: Mapping[UUID, Mapping[str, int]]) -> dict[str, ActualRow]:
    """Every order of the orders service, and every parked one, by order id. changes: of `Published`."""
    orders = await fetch(installation.system.dsn("orders"), ORDERS)
    payments = installation.system.dsn("payments")
    parked: dict[UUID, bool] = {}
    found = _Found(
        {row["key"]: row for row in await fetch(payments, LEDGERS)},
        {row["order_id"]: row for row in await fetch(payments, PREPAID)},
        {row["order_id"]: row for row in await fetch(installation.system.dsn("invoicing"), DOCUMENTS)},
        parked,
    )
    for name in installation.system.names:
        for row in await fetch(installation.system.dsn(name), PARKED):
            parked[row["key"]] = parked.get(row["key"], True) and row["for_a_person"]
    rows = {str(row["key"]): _row(row["key"], row, found, changes.get(row["key"], {})) for row in orders}
    for key in parked:  # its snapshot was rejected: the orders service has no row for it
        rows.setdefault(str(key), _row(key, None, found, {}))
    return rows


async def stock(installation: Installation) -> dict[str, int]:
    """SKU -> pieces in stock."""
    return {row["sku"]: row["on_hand"] for row in await fetch(installation.system.dsn("fulfillment"), STOCK)}


async def balances(installation: Installation) -> dict[str, int]:
    """Account of payments' books -> its balance. Without accounts at zero, except `prepayments` if anything was booked there."""
    return {row["account"]: row["minor"] for row in await fetch(installation.system.dsn("payments"), BALANCES)}


class _Found(NamedTuple):
    """Rows of the other services, by order id."""

    ledgers: Mapping[UUID, Any]
    prepaid: Mapping[UUID, Any]
    documents: Mapping[UUID, Any]
    parked: Mapping[UUID, bool]
    """Whether it waits for a person."""


def _row(key: UUID, order: Any, found: _Found, changes: Mapping[str, int]) -> ActualRow:
    ledger, document, prepaid = found.ledgers.get(key), found.documents.get(key), found.prepaid.get(key)
    if key in found.parked:
        actual, settled = "waiting:parked", found.parked[key]
    else:
        actual, settled = _end(order)
    return ActualRow(
        actual=actual,
        authorized_minor=ledger["authorized_minor"] if ledger else 0,
        captured_minor=ledger["captured_minor"] if ledger else 0,
        voided_minor=ledger["voided_minor"] if ledger else 0,
        refunded_minor=ledger["refunded_minor"] if ledger else 0,
        invoiced_minor=document["invoiced_minor"] if document else 0,
        credited_minor=document["credited_minor"] if document else 0,
        edits=changes.get("edits", 0),
        added_minor=changes.get("added_minor", 0),
        lines_cancelled=changes.get("lines_cancelled", 0),
        lines_cancelled_minor=changes.get("lines_cancelled_minor", 0),
        refunds=changes.get("refunds", 0),
        refunds_minor=changes.get("refunds_minor", 0),
        credit_notes=document["credit_notes"] if document else 0,
        reversals=changes.get("reversals", 0),
        reversed_minor=changes.get("reversed_minor", 0),
        prepayments=prepaid["prepayments"] if prepaid else 0,
        prepaid_minor=prepaid["prepaid_minor"] if prepaid else 0,
        given_back_minor=prepaid["given_back_minor"] if prepaid else 0,
        total_minor=order["grand_minor"] if order else None,
        invoiced_vat_minor=document["invoiced_vat_minor"] if document else 0,
        credited_vat_minor=document["credited_vat_minor"] if document else 0,
        gateway=ledger["gateway"] if ledger else None,
        settled=settled,
    )


def _end(order: Any) -> tuple[str, bool]:
    """How the order ended, and whether it is settled."""
    waiting = order["waiting"]
    if not waiting and order["status"] == "cancelled" and order["cancel_cause"] in CAUSES:
        return f"cancelled:{order['cancel_cause']}", True
    if not waiting and order["status"] != "cancelled" and order["completed"]:
        return "completed", True
    reason = REASON_OF.get(waiting, waiting)
    if reason not in REASONS:
        reason = "exception"
    return f"waiting:{reason}", reason in ("approval", "stock", "exception")


async def duplicates_removed(installation: Installation) -> int:
    """The number of redeliveries that the inboxes rejected, over all processes since their start."""
    system = installation.system
    total = 0.0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
        for member in (member for name in system.names for member in system.of(name)):
            async with client.get(f"{member.url}/metrics") as response:
                total += sum(float(found) for found in _DUPLICATES.findall(await response.text()))
    return round(total)
