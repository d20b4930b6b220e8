"""The row of an order as the lists of its owners state it, for a rebuild. It is the row that their events have made, but for:

- `since` of a row that waits for an answer: the beginning of its present step, not of the process
- `changed_at`: the last change in orders
- `received_at`, `invoiced_at`: null; the minute of their orders was counted long ago
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from console.domain import words
from console.domain.fold import sold
from console.domain.row import Memory, OrderRow, Words
from console.domain.waits import waits
from contracts.orders import MarketTerms
from contracts.snapshot import OrderContent

Item = Mapping[str, Any]
"""An item of `GET /v1/orders?content=true`."""


class Elsewhere(NamedTuple):
    """What the other services list of an order."""

    payments: Mapping[str, int] | None = None
    """`version` and the sums, minor units."""
    fulfillment: Mapping[str, int] | None = None
    """`version`, and pieces `reserved` and `shipped`."""
    tracking: Sequence[str] = ()
    documents: Sequence[Mapping[str, Any]] = ()
    """Oldest first: `version`, `kind`, `number`, `total_minor`."""


def row_of(store_id: str, item: Item, elsewhere: Elsewhere) -> OrderRow:
    market = MarketTerms.model_validate(item["market"])
    row = OrderRow(
        order_id=UUID(item["order_id"]), store_id=store_id, number=item["number"], channel=item["channel"],
        account=item["account"], market=market.code, status=item["status"], payment_status=item["payment_status"],
        fulfillment_status=item["fulfillment_status"], cancel_cause=item["cancel_cause"], placed_at=_time(item["placed_at"]),
        completed_at=_time(item["completed_at"]), archived_at=_time(item["archived_at"]), tags=tuple(item["tags"]),
        changed_at=_time(item["updated_at"]), versions={"orders": item["version"]},
        memory=_memory(item, item["open"], market),
        words=Words(reference=words.whole([item["reference"]])),
    )  # fmt: skip
    row = sold(row, OrderContent.model_validate(item["order"]), item["grand_minor"])
    waiting, step = waits(row)
    return _joined(row._replace(waiting=waiting, step=step, since=_since(row, waiting, item)), elsewhere)


def _memory(item: Item, opened: Mapping[str, Any], market: MarketTerms) -> Memory:
    return Memory(
        holds=tuple(sorted(one["hold_id"] for one in opened["holds"])),
        exceptions=tuple(sorted(one["code"] for one in opened["exceptions"])),
        failed=tuple(sorted(opened["refused"])),
        stuck=opened["stuck"],
        refunds=tuple(opened["refunds"]),
        edit=opened["edit"],
        capture=market.capture,
        capture_up_to_minor=market.capture_up_to_minor,
        started=item["placed_at"] is not None,
    )


def _since(row: OrderRow, waiting: str, item: Item) -> datetime | None:
    """Since when it waits: what is open states it, else the process that waits, else the order was made then."""
    if not waiting:
        return None
    opened = {"hold": "holds", "exception": "exceptions"}.get(waiting)
    begins = [one["since"] for one in item["open"][opened]] if opened else []
    return _time(min(begins, default=None) or item["since"]) or row.changed_at


def _joined(row: OrderRow, elsewhere: Elsewhere) -> OrderRow:
    versions = dict(row.versions)
    change: dict[str, Any] = {}
    for service, values in (("payments", elsewhere.payments), ("fulfillment", elsewhere.fulfillment)):
        if values is not None and values["version"]:
            versions[service] = values["version"]
            change |= {name: value for name, value in values.items() if name != "version"}
    documents = elsewhere.documents
    if documents:
        versions["invoicing"] = max(one["version"] for one in documents)
        for kind, column in (("invoice", "invoiced_minor"), ("credit", "credited_minor")):
            change[column] = sum(one["total_minor"] for one in documents if one["kind"] == kind)
    found = row.words._replace(
        tracking=words.joined((), words.whole(elsewhere.tracking)),
        documents=words.joined((), words.whole(one["number"] for one in documents)),
    )
    return row._replace(versions=versions, words=found, **change)


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value is not None else None
