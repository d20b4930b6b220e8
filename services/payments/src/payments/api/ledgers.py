"""Reads the ledger of an order, and the ledgers of a store. Only commands move money."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from sqlalchemy import Select, select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Principal
from chassis.http.commands import etag
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers
from contracts.base import Timestamp
from payments.domain import vocabularies
from payments.domain.ledger import Ledger
from payments.responses import Books, Entry, LedgerShown, LedgerSummary
from payments.tables import entries, ledger_lines, ledgers, operations

LEDGERS = Cursors("payments", Timestamp, UUID)
ENTRIES = Cursors("entries", int, int)
ENTRIES_SHOWN = 500
TOTALS = ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor")


def add_routes(router: APIRouter, app: App) -> None:
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]

    @router.get("/payments", response_model=Page[LedgerSummary])
    async def list_ledgers(who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> Any:
        """The store's ledgers, newest first."""
        rows = await app.read(listed(who.store_id, LEDGERS.after(cursor), limit))
        found = LEDGERS.page(rows, limit, key=lambda row: (row["created_at"], row["key"]))
        return {"items": [shown(row) for row in found["items"]], "next_cursor": found["next_cursor"]}

    @router.get("/payments/{order_id}", response_model=LedgerShown, openapi_extra=answers("order_unknown"))
    async def one_ledger(order_id: UUID, who: Viewer, response: Response) -> Any:
        """The money of one order: totals, lines, and every operation with its state."""
        one = await _ledger(app, order_id, who.store_id)
        response.headers.update(etag(one["version"]))
        return shown(one) | {
            "lines": [_signed(row) for row in await _lines(app, order_id, who.store_id)],
            "operations": await _operations(app, order_id, who.store_id),
        }

    @router.get("/orders/{order_id}/ledger", response_model=Books, openapi_extra=answers("order_unknown"))
    async def books(order_id: UUID, who: Viewer, response: Response) -> Any:
        """The books of one order: its statuses in three vocabularies, balances per line, operations, and its first entries."""
        one = await _ledger(app, order_id, who.store_id)
        found = await app.read(entered(order_id, who.store_id, None, ENTRIES_SHOWN))
        page = ENTRIES.page(found, ENTRIES_SHOWN, key=_place)
        response.headers.update(etag(one["version"]))
        return (
            shown(one)
            | _statuses(Ledger.model_validate_json(one["doc"]))
            | {
                "lines": [_balances(row) for row in await _lines(app, order_id, who.store_id)],
                "operations": await _operations(app, order_id, who.store_id),
                "entries": page["items"],
                "entries_cursor": page["next_cursor"],
            }
        )

    @router.get("/orders/{order_id}/entries", response_model=Page[Entry])
    async def list_entries(order_id: UUID, who: Viewer, limit: Limit = 500, cursor: Cursor = None) -> Any:
        """The entries of one order, the oldest first."""
        found = await app.read(entered(order_id, who.store_id, ENTRIES.after(cursor), limit))
        return ENTRIES.page(found, limit, key=_place)


def _place(entry: RowMapping) -> tuple[int, int]:
    return entry["version"], entry["number"]


def _statuses(ledger: Ledger) -> dict[str, Any]:
    return {
        "payment_status": vocabularies.commercelayer_payment_status(ledger),
        "dintero_payment_status": vocabularies.dintero_payment_status(ledger),
        "dintero_transaction_status": vocabularies.dintero_transaction_status(ledger),
    }


def _balances(line: RowMapping) -> dict[str, Any]:
    if line["direction"] == -1:
        return _signed(line) | {"capturable_minor": 0, "refundable_minor": 0}
    left = line["authorized_minor"] - line["captured_minor"] - line["voided_minor"]
    return _signed(line) | {
        "capturable_minor": left,
        "refundable_minor": line["captured_minor"] - line["refunded_minor"] - line["reversed_minor"],
    }


def _signed(line: RowMapping) -> dict[str, Any]:
    """A line as it counts: the amounts of a reversal are negative."""
    return _without(line, "order_id", "store_id") | {name: line["direction"] * line[name] for name in TOTALS}


async def _ledger(app: App, order_id: UUID, store_id: str) -> RowMapping:
    rows = await app.read(select(ledgers).where(ledgers.c.key == order_id, ledgers.c.store_id == store_id))
    if not rows:
        raise Problem(404, "order_unknown", "No payment of this order", f"No ledger of order {order_id}.")
    return rows[0]


async def _lines(app: App, order_id: UUID, store_id: str) -> Sequence[RowMapping]:
    found = select(ledger_lines).where(ledger_lines.c.order_id == order_id, ledger_lines.c.store_id == store_id)
    return await app.read(found.order_by(ledger_lines.c.line_id))


async def _operations(app: App, order_id: UUID, store_id: str) -> list[dict[str, Any]]:
    found = select(operations).where(operations.c.order_id == order_id, operations.c.store_id == store_id)
    rows = await app.read(found.order_by(operations.c.at, operations.c.operation_id))
    return [_without(row, "order_id", "store_id") for row in rows]


def entered(order_id: UUID, store_id: str, after: tuple[Any, ...] | None, limit: int) -> Select[Any]:
    """The entries of an order; one row more than the limit."""
    found = select(entries).where(entries.c.order_id == order_id, entries.c.store_id == store_id)
    if after is not None:
        found = found.where(tuple_(entries.c.version, entries.c.number) > tuple_(*after))
    return found.order_by(entries.c.version, entries.c.number).limit(limit + 1)


def listed(store_id: str, start: tuple[Any, ...] | None, limit: int) -> Select[Any]:
    """Reads one row more than the limit: if it exists, there is a next page."""
    found = select(ledgers).where(ledgers.c.store_id == store_id)
    if start is not None:
        found = found.where(tuple_(ledgers.c.created_at, ledgers.c.key) < tuple_(*start))
    return found.order_by(ledgers.c.created_at.desc(), ledgers.c.key.desc()).limit(limit + 1)


def shown(row: RowMapping) -> dict[str, Any]:
    return {
        "order_id": row["key"],
        "currency": row["currency"],
        "gateway": row["gateway"],
        "totals": {name: row[name] for name in TOTALS},
        "version": row["version"],
        "created_at": row["created_at"],
    }


def _without(row: RowMapping, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
