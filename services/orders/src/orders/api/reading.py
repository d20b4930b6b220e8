"""Routes that read one order: as it is now, and its timeline."""

from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Response
from sqlalchemy import select

from chassis import journal
from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import etag
from chassis.http.paging import Cursor, Cursors, Limit, Page, PageOfRows, RowNumber
from chassis.http.problems import answers, respond
from orders.api import annotations
from orders.api.loading import load
from orders.api.shown import shown
from orders.domain.state.annotations import NONE
from orders.responses.order import OrderRead, Step
from orders.tables import attachments, metadata, notes

UNSHOWN: Final = ("orders.progressed", "orders.merged", "orders.process_closed", "orders.refund_adopted")
"""Types of the journal that the timeline leaves out; `GET /v1/journal` has them."""
TIMELINE_STEPS: Final = 50
"""Latest steps that an order is shown with; `/timeline` has those before."""
STEPS: Final = Cursors("timeline", RowNumber)


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")

    @router.get("/orders/{order_id}", response_model=OrderRead, openapi_extra=answers("order_unknown"))
    async def read(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The order, its processes, and the latest steps of the timeline: which message caused what, when."""
        body = await read_order(app, who, order_id)
        return respond(as_json(200, body, etag(body["version"])))

    @router.get("/orders/{order_id}/timeline", response_model=Page[Step], openapi_extra=answers("order_unknown"))
    async def read_timeline(
        who: Annotated[Principal, Depends(view)], order_id: UUID, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The steps of an order, newest first."""
        page = await _timeline(app, who, order_id, cursor, limit)
        if not page["items"]:
            await load(app, who, order_id)  # raises Problem 404 if the store has no such order
        return respond(as_json(200, page))


async def read_order(app: App, who: Principal, order_id: UUID) -> dict[str, Any]:
    """Returns an order as `OrderRead`. Raises Problem 404."""
    state, version = await load(app, who, order_id)
    parked_keys = metadata.tables["parked_keys"]
    parked = await app.read(select(parked_keys.c.key).where(parked_keys.c.key == order_id))
    body = shown(order_id, state, version)
    if parked:
        body["waiting"] = "parked"
    own = state.annotations or NONE
    attached = {
        table.name: await annotations.latest(app, table, who.store_id, order_id) if count else []
        for table, count in ((notes, own.notes), (attachments, own.attachments))
    }
    steps = await _timeline(app, who, order_id, None, TIMELINE_STEPS)
    return body | attached | {"timeline": steps["items"][::-1], "timeline_next_cursor": steps["next_cursor"]}


async def _timeline(app: App, who: Principal, key: UUID, cursor: str | None, limit: int) -> PageOfRows:
    (before,) = STEPS.after(cursor) or (None,)
    found = await journal.entries(
        app.read, "orders", who.store_id, key, before=before, latest=True, limit=limit + 1, without=UNSHOWN
    )
    page = STEPS.page(found[::-1], limit, lambda entry: (entry.id,))
    return {**page, "items": [_step(entry) for entry in page["items"]]}


def _step(entry: journal.Entry) -> dict[str, Any]:
    body = orjson.loads(entry.payload)
    return {
        "at": entry.at.isoformat(), "type": entry.type, "version": entry.version,
        "operation_id": entry.operation_id and str(entry.operation_id), "message_id": str(entry.message_id),
        "caused_by": {"type": entry.cause_type, "id": entry.cause_id, "actor": entry.actor},
        "status": body.get("status"), "payment_status": body.get("payment_status"),
        "fulfillment_status": body.get("fulfillment_status"),
        **{name: body[name] for name in ("code", "detail", "resolution", "reason") if body.get(name)},
    }  # fmt: skip
