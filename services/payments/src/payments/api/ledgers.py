"""Reads the ledger of an order, and the ledgers of a store. Only commands move money."""

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
from payments.responses import LedgerShown, LedgerSummary
from payments.tables import ledger_lines, ledgers, operations

LEDGERS = Cursors("payments", Timestamp, UUID)
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
        rows = await app.read(select(ledgers).where(ledgers.c.key == order_id, ledgers.c.store_id == who.store_id))
        if not rows:
            raise Problem(404, "order_unknown", "No payment of this order", f"No ledger of order {order_id}.")
        lines = await app.read(
            select(ledger_lines)
            .where(ledger_lines.c.order_id == order_id, ledger_lines.c.store_id == who.store_id)
            .order_by(ledger_lines.c.line_id)
        )
        done = await app.read(
            select(operations)
            .where(operations.c.order_id == order_id, operations.c.store_id == who.store_id)
            .order_by(operations.c.at, operations.c.operation_id)
        )
        response.headers.update(etag(rows[0]["version"]))
        return shown(rows[0]) | {
            "lines": [_without(row, "order_id", "store_id") for row in lines],
            "operations": [_without(row, "order_id", "store_id") for row in done],
        }


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
