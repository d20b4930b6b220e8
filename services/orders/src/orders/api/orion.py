"""Orion's paths: thin routes on the functions of `/v1/orders`."""

from typing import Annotated, Final, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import etag
from chassis.http.problems import answers, respond
from contracts.orders import FulfillmentStatus, PaymentStatus
from orders.api.listing import Asked, Reached, listed
from orders.api.reading import read_order
from orders.responses.listed import OrderPage, OrderStats
from orders.responses.order import OrderRead, ShipmentStatus
from orders.search import Filter, Search

COUNTED: Final = {
    "status": get_args(Reached),
    "payment_status": get_args(PaymentStatus),
    "fulfillment_status": get_args(FulfillmentStatus),
    "waiting": ("approval", "exception", "stock", "warehouse"),
}
"""What the statistics count; the words of the house, not Orion's."""


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/api/v1/admin", tags=["orion"])
    view = app.principal("orders.view")

    @router.get("/orders", response_model=OrderPage, openapi_extra=answers("filter_unavailable"))
    async def list_orders(who: Annotated[Principal, Depends(view)], asked: Annotated[Asked, Query()]) -> Response:
        """As `GET /v1/orders`."""
        return await listed(app, who, asked)

    @router.get("/orders/stats", response_model=OrderStats)
    async def stats(who: Annotated[Principal, Depends(view)]) -> Response:
        """How many orders have each status, each counted up to 1,000; archived ones are left out."""
        body: dict[str, dict[str, dict[str, int | bool]]] = {}
        for column, found in COUNTED.items():
            body[column] = {}
            for word in found:
                value, capped = await Search(who.store_id, Filter(words={column: [word]}), "newest").count(app.read)
                body[column][word] = {"value": value, "capped": capped}
        return respond(as_json(200, body))

    @router.get("/orders/{order_id:uuid}", response_model=OrderRead, openapi_extra=answers("order_unknown"))
    async def read(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """As `GET /v1/orders/{order_id}`."""
        body = await read_order(app, who, order_id)
        return respond(as_json(200, body, etag(body["version"])))

    @router.get(
        "/orders/{order_id:uuid}/shipment-status", response_model=ShipmentStatus, openapi_extra=answers("order_unknown")
    )
    async def shipments(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The shipments of an order, from its own state."""
        body = await read_order(app, who, order_id)
        return respond(as_json(200, {name: body[name] for name in ShipmentStatus.model_fields}))

    return router
