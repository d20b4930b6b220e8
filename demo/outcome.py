"""The result of every order, read from the services' databases and topics after the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import aiohttp

from demo.oracle import ActualRow
from demo.report import CAUSES, REASONS
from devservices.databases import fetch
from system.installation import Installation
from system.topics import records

ORDERS = """
select key, status, waiting, cancel_cause, completed_at is not null as completed, grand_minor from orders"""
LEDGERS = "select key, authorized_minor, captured_minor, voided_minor, refunded_minor from ledgers"
DOCUMENTS = """
select order_id, coalesce(sum(total_minor) filter (where kind = 'invoice'), 0)::bigint as invoiced_minor,
  coalesce(sum(total_minor) filter (where kind = 'credit'), 0)::bigint as credited_minor,
  coalesce(sum(vat_minor) filter (where kind = 'invoice'), 0)::bigint as invoiced_vat_minor
from documents group by order_id"""
PARKED = "select key, retry_at is null as for_a_person from parked_keys"
# Reason to wait in the orders service -> reason in the report; reasons that are not here keep their name.
REASON_OF: Final = {
    "answer": "no_answer",
    "outcomes": "no_answer",
    "snapshot": "no_answer",
    "payment": "no_answer",
    "": "no_answer",
}
EVENTS: Final = "orders.events.v1"
_DUPLICATES: Final = re.compile(r"^tradewind_duplicates_removed_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


async def actual_rows(installation: Installation) -> dict[str, ActualRow]:
    """Every order of the orders service, and every parked one, by order id."""
    orders = await fetch(installation.system.dsn("orders"), ORDERS)
    ledgers = {row["key"]: row for row in await fetch(installation.system.dsn("payments"), LEDGERS)}
    documents = {row["order_id"]: row for row in await fetch(installation.system.dsn("invoicing"), DOCUMENTS)}
    parked: dict[UUID, bool] = {}
    for name in installation.system.names:
        for row in await fetch(installation.system.dsn(name), PARKED):
            parked[row["key"]] = parked.get(row["key"], True) and row["for_a_person"]
    rows = {str(row["key"]): _row(row["key"], row, ledgers, documents, parked) for row in orders}
    for key in parked:  # its snapshot was rejected: the orders service has no row for it
        rows.setdefault(str(key), _row(key, None, ledgers, documents, parked))
    return rows


def _row(
    key: UUID, order: Any, ledgers: Mapping[UUID, Any], documents: Mapping[UUID, Any], parked: Mapping[UUID, bool]
) -> ActualRow:
    ledger, document = ledgers.get(key), documents.get(key)
    if key in parked:
        actual, settled = "waiting:parked", parked[key]
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
        total_minor=order["grand_minor"] if order else None,
        invoiced_vat_minor=document["invoiced_vat_minor"] if document else 0,
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


async def completed_at(installation: Installation) -> dict[UUID, datetime]:
    """`ce_time` of every order's first `orders.completed` on the topic, by order id."""
    found: dict[UUID, datetime] = {}
    async for record in records(installation.system.kafka.bootstrap_servers, [EVENTS]):
        named = dict(record.headers)
        if named.get("ce_type") == b"orders.completed":
            found.setdefault(UUID(record.key.decode()), datetime.fromisoformat(named["ce_time"].decode()))
    return found


async def duplicates_removed(installation: Installation) -> int:
    """The number of redeliveries that the inboxes rejected, over all processes since their start."""
    system = installation.system
    total = 0.0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
        for member in (member for name in system.names for member in system.of(name)):
            async with client.get(f"{member.url}/metrics") as response:
                total += sum(float(found) for found in _DUPLICATES.findall(await response.text()))
    return round(total)
