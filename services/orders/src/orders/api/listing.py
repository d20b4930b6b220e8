"""The list of a store's orders."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from sqlalchemy import literal, select, tuple_

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import respond
from contracts.base import Id, Text, Timestamp
from orders.api.shown import plain, words
from orders.responses import OrderSummary
from orders.tables import orders

LISTED: Final = Cursors("orders", Timestamp, UUID)


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")

    @router.get("/orders", response_model=Page[OrderSummary])
    async def listed(
        who: Annotated[Principal, Depends(view)],
        limit: Limit = 50,
        cursor: Cursor = None,
        status: Text | None = None,
        waiting: Text | None = None,
        external_order_id: Id | None = None,
        archived: bool | None = None,
    ) -> Response:
        """The store's orders, newest first. Archived ones are left out unless `archived` asks for them, an id names them, or the
        list is one of orders that wait."""
        o = orders.c
        names = ("key", "version", "external_order_id", "channel", "account", "status", "payment_status", "fulfillment_status",
                 "waiting", "currency", "grand_minor", "test", "cancel_cause", "ordered_at", "placed_at", "completed_at",
                 "archived_at", "reference", "tags")  # fmt: skip
        query = select(*(o[name] for name in names)).where(o.store_id == who.store_id)
        for column, wanted in ((o.status, status), (o.waiting, waiting), (o.external_order_id, external_order_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        if archived is not None or (waiting is None and external_order_id is None):
            query = query.where(o.archived_at.is_not(None) if archived else o.archived_at.is_(None))
        if (start := LISTED.after(cursor)) is not None:
            at, last = start
            query = query.where(
                tuple_(o.ordered_at, o.key)
                < tuple_(literal(at).cast(o.ordered_at.type), literal(last).cast(o.key.type))
            )
        rows = await app.read(query.order_by(o.ordered_at.desc(), o.key.desc()).limit(limit + 1))
        items = [
            {("order_id" if name == "key" else name): plain(row[name]) for name in names}
            | words(row)
            | {"tags": row["tags"] or []}
            for row in rows
        ]
        return respond(as_json(200, LISTED.page(items, limit, lambda row: (row["ordered_at"], row["order_id"]))))
