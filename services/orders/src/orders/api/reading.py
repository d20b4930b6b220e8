"""Routes that read orders: one with its timeline, and the list."""

from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Response
from sqlalchemy import literal, select, tuple_

from chassis import journal
from chassis.batch.aggregates import whole
from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import etag
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers, respond
from contracts.base import Id, Text, Timestamp
from orders.api.shown import plain, shown, words
from orders.domain.order import Order
from orders.responses import OrderRead, OrderSummary
from orders.tables import metadata, orders

UNSHOWN: Final = ("orders.progressed", "orders.merged")
"""Types of the journal that the timeline leaves out; `GET /v1/journal` has them."""
LISTED = Cursors("orders", Timestamp, UUID)


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")

    @router.get("/orders/{order_id}", response_model=OrderRead, openapi_extra=answers("order_unknown"))
    async def read(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The order, its processes, and the timeline: which message caused what, when."""
        rows = await app.read(
            select(orders.c.version, orders.c.doc, orders.c.content, orders.c.market).where(
                orders.c.key == order_id, orders.c.store_id == who.store_id
            )
        )
        if not rows:
            raise Problem(404, "order_unknown", "No such order", f"no order {order_id} in your store")
        state = Order.model_validate_json(whole(rows[0], ("content", "market")))
        parked_keys = metadata.tables["parked_keys"]
        parked = await app.read(select(parked_keys.c.key).where(parked_keys.c.key == order_id))
        version = rows[0]["version"]
        body = shown(order_id, state, version)
        if parked:
            body["waiting"] = "parked"
        return respond(as_json(200, body | {"timeline": await timeline(who, order_id)}, etag(version)))

    async def timeline(who: Principal, key: UUID) -> list[dict[str, Any]]:
        found = await journal.entries(app.read, "orders", who.store_id, key, without=UNSHOWN)
        bodies = [orjson.loads(entry.payload) for entry in found]
        return [
            {
                "at": entry.at.isoformat(), "type": entry.type, "version": entry.version,
                "operation_id": entry.operation_id and str(entry.operation_id), "message_id": str(entry.message_id),
                "caused_by": {"type": entry.cause_type, "id": str(entry.cause_id), "actor": entry.actor},
                "status": body.get("status"), "payment_status": body.get("payment_status"),
                "fulfillment_status": body.get("fulfillment_status"),
                **{name: body[name] for name in ("code", "detail", "resolution", "reason") if body.get(name)},
            }
            for entry, body in zip(found, bodies, strict=True)
        ]  # fmt: skip

    @router.get("/orders", response_model=Page[OrderSummary])
    async def listed(
        who: Annotated[Principal, Depends(view)],
        limit: Limit = 50,
        cursor: Cursor = None,
        status: Text | None = None,
        waiting: Text | None = None,
        external_order_id: Id | None = None,
    ) -> Response:
        """The store's orders, newest first."""
        o = orders.c
        names = ("key", "version", "external_order_id", "channel", "account", "status", "payment_status", "fulfillment_status",
                 "waiting", "currency", "grand_minor", "test", "cancel_cause", "ordered_at", "placed_at", "completed_at")  # fmt: skip
        query = select(*(o[name] for name in names)).where(o.store_id == who.store_id)
        for column, wanted in ((o.status, status), (o.waiting, waiting), (o.external_order_id, external_order_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        if (start := LISTED.after(cursor)) is not None:
            at, last = start
            query = query.where(
                tuple_(o.ordered_at, o.key)
                < tuple_(literal(at).cast(o.ordered_at.type), literal(last).cast(o.key.type))
            )
        rows = await app.read(query.order_by(o.ordered_at.desc(), o.key.desc()).limit(limit + 1))
        items = [
            {("order_id" if name == "key" else name): plain(row[name]) for name in names} | words(row) for row in rows
        ]
        return respond(as_json(200, LISTED.page(items, limit, lambda row: (row["ordered_at"], row["order_id"]))))
