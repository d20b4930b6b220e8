"""What payments shows over HTTP: the ledger of an order, and the ledgers of a store. Money moves by commands alone."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Select, select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.app import App
from chassis.http import Principal, Problem, after, page
from payments.tables import ledger_lines, ledgers, operations

TOTALS = ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor")


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1/payments", tags=["payments"])
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]

    @router.get("")
    async def list_ledgers(
        who: Viewer, limit: Annotated[int, Query(ge=1, le=500)] = 50, cursor: str | None = None
    ) -> dict[str, Any]:
        """The store's ledgers, oldest first."""
        rows = await app.read(listed(who.store_id, beyond(cursor), limit))
        found = page(rows, limit, key=lambda row: (row["created_at"], row["key"]))
        return {"items": [shown(row) for row in found["items"]], "next_cursor": found["next_cursor"]}

    @router.get("/{order_id}")
    async def one_ledger(order_id: UUID, who: Viewer) -> dict[str, Any]:
        """One order's money: totals, lines, and every operation with what became of it."""
        rows = await app.read(select(ledgers).where(ledgers.c.key == order_id, ledgers.c.store_id == who.store_id))
        if not rows:
            raise Problem(404, "unknown_order", "No payment is known of this order", f"No ledger of order {order_id}.")
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
        return shown(rows[0]) | {
            "lines": [_without(row, "order_id", "store_id") for row in lines],
            "operations": [_without(row, "order_id", "store_id") for row in done],
        }

    return router


def beyond(cursor: str | None) -> tuple[datetime, UUID] | None:
    values = after(cursor)
    if values is None:
        return None
    try:
        created_at, order_id = values
        return datetime.fromisoformat(created_at), UUID(order_id)
    except (ValueError, TypeError, AttributeError):
        raise Problem(
            400, "bad_cursor", "The cursor is not one of ours", "use next_cursor of the page before"
        ) from None


def listed(store_id: str, start: tuple[datetime, UUID] | None, limit: int) -> Select[Any]:
    """One row more than asked for tells whether there is a next page."""
    found = select(ledgers).where(ledgers.c.store_id == store_id)
    if start is not None:
        found = found.where(tuple_(ledgers.c.created_at, ledgers.c.key) > tuple_(*start))
    return found.order_by(ledgers.c.created_at, ledgers.c.key).limit(limit + 1)


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
