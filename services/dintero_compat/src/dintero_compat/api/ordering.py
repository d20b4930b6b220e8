"""One order: read, cancelled, closed and opened again; its events and its comments."""

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Body, Depends, Query, Request
from pydantic import BaseModel, ConfigDict

from chassis.http.commands import COMMAND, idempotency_key
from chassis.http.problems import answers, known
from contracts.base import Text
from contracts.orders.annotations import NoteText
from dintero_compat import events
from dintero_compat.api.desk import Asked, Desk, OrderId, deletion_of
from dintero_compat.domain import shapes, showing
from dintero_compat.domain.happening import OURS, Include, ServiceEvent
from dintero_compat.refusals import refused
from dintero_compat.responses import CommentShown, EventShown, EventsShown, OrderShown

READS = answers("account_unknown", "order_unknown", "owner_silent")
CHANGES = answers("account_unknown", "order_unknown", "order_ended", "request_refused", "owner_silent")
UPDATES = answers("account_unknown", "order_unknown", "option_uncovered", "request_refused", "owner_silent")
CANCEL_SECONDS = 5
"""How long a cancel waits until it can no longer be refused; then it is answered with the order as it is."""
Included = Annotated[
    Include,
    Query(description="`api-event`: requests that changed the order; `service-event`: what services state of it."),
]


class Cancel(BaseModel):
    model_config = ConfigDict(extra="ignore")

    cancelled_reason: Text = "customer"


class Comment(BaseModel):
    model_config = ConfigDict(extra="ignore")

    comment: NoteText


def add_routes(router: APIRouter, desk: Desk) -> None:
    Viewer = Annotated[Asked, Depends(desk.asked("orders.view"))]
    Editor = Annotated[Asked, Depends(desk.asked("orders.edit"))]
    Canceller = Annotated[Asked, Depends(desk.asked("orders.cancel"))]

    @router.get("/orders/{order_id}", response_model=OrderShown, response_model_exclude_unset=True, openapi_extra=READS)
    async def read_order(asked: Viewer, order_id: OrderId, include_events: Included = "false") -> dict[str, Any]:
        """An order with its payments, from orders and payments as they are now."""
        return await desk.whole(asked, await desk.order(asked, order_id), include_events)

    @router.put(
        "/orders/{order_id}",
        dependencies=COMMAND,
        response_model=OrderShown,
        response_model_exclude_unset=True,
        openapi_extra=UPDATES,
    )
    async def update_order(
        request: Request, asked: Editor, order_id: OrderId, body: shapes.OrderUpdate
    ) -> dict[str, Any]:
        """Set `courier_id`, `delivery_id` and `pickup_at`; null removes one. Lines and addresses are changed by edits of orders."""
        if body.model_extra:
            raise refused("option_uncovered", f"not covered: {', '.join(sorted(body.model_extra)[:5])}"[:200])
        order = await desk.order(asked, order_id)
        wanted = {showing.METADATA: body.model_dump(mode="json", exclude_unset=True)}
        path = f"/v1/orders/{order['order_id']}/metadata"
        return await _changed(request, asked, order, path, wanted, method="PATCH")

    @router.post(
        "/orders/{order_id}/cancel",
        response_model=OrderShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=CHANGES,
    )
    async def cancel_order(
        request: Request, asked: Canceller, order_id: OrderId, body: Annotated[Cancel, Body(default_factory=Cancel)]
    ) -> dict[str, Any]:
        """Cancel the order. What is captured goes back: where the money moves elsewhere, record its refund."""
        order = await desk.order(asked, order_id)
        causes = {word: cause for cause, word in showing.CANCELLED_REASONS.items()}
        wanted = {"cause": causes.get(body.cancelled_reason, "customer"), "reason": body.cancelled_reason}
        path = f"/v1/orders/{order['order_id']}/cancel?wait=cancelled&timeout={CANCEL_SECONDS}"
        return await _changed(request, asked, order, path, wanted)

    @router.post(
        "/orders/{order_id}/close",
        response_model=OrderShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=CHANGES,
    )
    async def close_order(request: Request, asked: Editor, order_id: OrderId) -> dict[str, Any]:
        """Archive the order: `closed`."""
        return await _put_away(request, asked, order_id, "archive")

    @router.post(
        "/orders/{order_id}/open",
        response_model=OrderShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=CHANGES,
    )
    async def open_order(request: Request, asked: Editor, order_id: OrderId) -> dict[str, Any]:
        """Show a closed order in all lists again: `open`."""
        return await _put_away(request, asked, order_id, "unarchive")

    @router.get(
        "/orders/{order_id}/events", response_model=EventsShown, response_model_exclude_unset=True, openapi_extra=READS
    )
    async def list_events(asked: Viewer, order_id: OrderId) -> dict[str, Any]:
        """The events of an order, the oldest first, and their combined state."""
        return await desk.events(asked, await desk.order(asked, order_id), "true")

    @router.post(
        "/orders/{order_id}/events",
        response_model=EventShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=READS,
    )
    async def add_event(request: Request, asked: Editor, order_id: OrderId, body: ServiceEvent) -> dict[str, Any]:
        """Append what a service states about the order, e.g. `ready_for_pickup`. It changes nothing else."""
        order = await desk.order(asked, order_id)
        key = UUID(order["order_id"])
        event_id = desk.app.operation_id(request, asked.who, key)
        account = asked.account
        event = body.model_dump(mode="json", exclude=set(OURS))
        await events.add(desk.app, account, key, event_id, "service-event", asked.who.actor, event)
        stored = await events.one(desk.app, account, key, event_id)
        if {name: stored[name] for name in stored.keys() - OURS} != event:
            raise known("idempotency_key_reused", "use a new key per request")
        return stored

    @router.post(
        "/orders/{order_id}/comments",
        response_model=CommentShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=CHANGES,
    )
    async def add_comment(request: Request, asked: Editor, order_id: OrderId, body: Comment) -> dict[str, Any]:
        """Add a comment: a note of the order."""
        order = await desk.order(asked, order_id)
        path = f"/v1/orders/{order['order_id']}/notes"
        wanted = {"text": body.comment, "author": asked.who.name}
        note = await desk.owners.write("orders", asked.who, path, wanted, key=idempotency_key(request))
        await desk.happened(request, asked, order, f"comment {note['note_id']}")
        return {"id": note["note_id"], "comment": body.comment, "created_by": asked.who.name}

    @router.delete(
        "/orders/{order_id}/comments/{comment_id}",
        response_model=CommentShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=answers("account_unknown", "order_unknown", "comment_unknown", "owner_silent"),
    )
    async def delete_comment(request: Request, asked: Editor, order_id: OrderId, comment_id: UUID) -> dict[str, Any]:
        """Delete a comment: it is not shown any more. Its note stays at orders, where notes are append-only."""
        order = await desk.order(asked, order_id)
        for one in await desk.comments(asked, order):
            if one["id"] == str(comment_id):
                await desk.happened(request, asked, order, deletion_of(one["id"]))
                return one
        raise refused("comment_unknown", "none of the comments that are shown has this id")

    async def _put_away(request: Request, asked: Asked, name: str, action: str) -> dict[str, Any]:
        order = await desk.order(asked, name)
        if order["status"] == "cancelled":
            raise refused("order_ended", "the order is cancelled")
        return await _changed(request, asked, order, f"/v1/orders/{order['order_id']}/{action}")

    async def _changed(
        request: Request,
        asked: Asked,
        order: dict[str, Any],
        path: str,
        wanted: dict[str, Any] | None = None,
        method: str = "POST",
    ) -> dict[str, Any]:
        """Requests a change of orders, and returns the order as it is after it."""
        key = idempotency_key(request)
        await desk.owners.write("orders", asked.who, path, wanted, key=key, method=method)
        named = desk.app.operation_id(request, asked.who, UUID(order["order_id"])) if key is not None else uuid4()
        await desk.happened(request, asked, order, f"{request.scope['path']} {named}")
        return await desk.whole(asked, await desk.order(asked, order["order_id"]))
