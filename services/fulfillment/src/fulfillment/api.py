"""HTTP of fulfillment: stock, the shipments of the warehouse, the fulfillment of an order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from pydantic import Field, model_validator
from sqlalchemy import select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.batch.errors import is_transient
from chassis.declare.app import About, App, Outcome, Principal, Problems
from chassis.http.commands import CHANGE, etag
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers, known, unavailable
from contracts.base import Code, Frozen, Id, Quantity, Text, Timestamp
from fulfillment.domain.decisions import Deliver, Ship
from fulfillment.domain.fulfillment import Fulfillment, Shipment, ShipmentStatus
from fulfillment.domain.stock import SetStock, StockItem, stock_item_id
from fulfillment.responses import (
    CountsWritten,
    FulfillmentShown,
    FulfillmentSummary,
    ShipmentRow,
    ShipmentShown,
    StockShown,
)
from fulfillment.tables import FULFILLMENTS, SHIPMENTS, STOCK, STOCK_ITEMS

PROBLEMS: Final[Problems] = {
    "stock_reserved": About(409, "Fewer pieces than orders hold", "Orders hold more pieces than were counted.",
        "Count again, or cancel orders that hold pieces, then set the count."),
    "shipment_not_shipped": About(409, "The shipment has not left yet", "Only a shipment that has left can arrive.",
        "`POST /v1/shipments/{id}/ship` first."),
    "shipment_on_hold": About(409, "The shipment is on hold", "Its order is suspended: it is held, or being changed.",
        "Do not send it yet; `GET /v1/shipments?status=picking` lists what is to be sent. Once the order is resumed, ship it "
        "with a new Idempotency-Key: the old one repeats this answer."),
    "shipment_cancelled": About(409, "The shipment was cancelled", "Its pieces went back to stock.",
        "Do not send it; `GET /v1/shipments?status=picking` lists what is to be sent."),
    "shipment_unknown": About(404, "No such shipment", "This store has no shipment of this id.",
        "`GET /v1/shipments` lists the shipments."),
    "stock_unknown": About(404, "No such stock", "This SKU was never counted at this location.",
        "`PUT /v1/stock/{location}/{sku}` sets its count."),
    "order_unknown": About(404, "No such order", "The fulfillment service has received nothing for this order.",
        "Read the order in the orders service: it may wait before its goods are reserved."),
}  # fmt: skip
_LIST_FULFILLMENTS: Final = Cursors("fulfillments", Timestamp, UUID)
_LIST_STOCK: Final = Cursors("stock", Code, Id)
_LIST_SHIPMENTS: Final = {order: Cursors(f"shipments.{order}", Timestamp, UUID) for order in ("newest", "oldest")}
_SHIPMENTS: Final = select(SHIPMENTS, FULFILLMENTS.c.version).join(
    FULFILLMENTS, FULFILLMENTS.c.key == SHIPMENTS.c.order_id
)
"""Shipments, each with the version of its order's fulfillment."""
_STOCK: Final = select(STOCK, STOCK_ITEMS.c.revision.label("version")).join(
    STOCK_ITEMS,
    (STOCK_ITEMS.c.store_id == STOCK.c.store_id)
    & (STOCK_ITEMS.c.location == STOCK.c.location)
    & (STOCK_ITEMS.c.sku == STOCK.c.sku),
)
"""What lies at a location, with the version of its count."""
BULK_ITEMS_MAX: Final = 1_000


class Count(Frozen, extra="forbid"):
    on_hand: Quantity


class CountOf(Count):
    location: Code
    sku: Id


class Counts(Frozen, extra="forbid"):
    items: Annotated[tuple[CountOf, ...], Field(max_length=BULK_ITEMS_MAX)]

    @model_validator(mode="after")
    def each_shelf_once(self) -> "Counts":
        if len({(item.location, item.sku) for item in self.items}) != len(self.items):
            raise ValueError("items: each location and sku may be listed once")
        return self


class Parcel(Frozen, extra="forbid"):
    carrier: Text | None = None
    tracking_number: Text | None = None


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1")
    Viewer = Annotated[Principal, Depends(app.principal("fulfillment.view"))]
    Warehouse = Annotated[Principal, Depends(app.principal("fulfillment.ship"))]
    Counter = Annotated[Principal, Depends(app.principal("stock.edit"))]
    Sku = Annotated[Id, Path(description="May hold `/`.")]

    # -- stock ----------------------------------------------------------------------------------------------------

    @router.get("/stock", response_model=Page[StockShown])
    async def list_stock(who: Viewer, location: Code | None = None, limit: Limit = 50, cursor: Cursor = None) -> Any:
        """What lies at each location, by location and SKU."""
        query = _STOCK.where(STOCK.c.store_id == who.store_id)
        if location is not None:
            query = query.where(STOCK.c.location == location)
        if (last := _LIST_STOCK.after(cursor)) is not None:
            query = query.where(tuple_(STOCK.c.location, STOCK.c.sku) > tuple_(*last))
        rows = await app.read(query.order_by(STOCK.c.location, STOCK.c.sku).limit(limit + 1))
        return _LIST_STOCK.page([_stock(row) for row in rows], limit, key=lambda row: (row["location"], row["sku"]))

    @router.put("/stock", response_model=CountsWritten, openapi_extra=answers("outcome_unknown"))
    async def set_many(who: Counter, body: Counts) -> Any:
        """Set up to 1,000 counts, each independently of the others. Setting is idempotent: send the file again if in doubt.

        The answer has the number of counts that were set, and each item that was refused with the reason.
        """
        outcomes = await _together(app, who, [_set(who, uuid4(), i.location, i.sku, i.on_hand) for i in body.items])
        refused = [
            {"location": item.location, "sku": item.sku, "code": no.code, "detail": no.detail}
            for item, outcome in zip(body.items, outcomes, strict=True)
            if (no := outcome.refusal) is not None
        ]
        return {"set": len(outcomes) - len(refused), "refused": refused}

    @router.get("/stock/{location}/{sku:path}", response_model=StockShown, openapi_extra=answers("stock_unknown"))
    async def get_stock(who: Viewer, location: Code, sku: Sku, response: Response) -> Any:
        here = (STOCK.c.store_id == who.store_id) & (STOCK.c.location == location) & (STOCK.c.sku == sku)
        rows = await app.read(_STOCK.where(here))
        if not rows:
            raise Problem(404, "stock_unknown", "No such stock", f"{sku} was never counted at {location}")
        response.headers.update(etag(rows[0]["version"]))
        return _stock(rows[0])

    @router.put(
        "/stock/{location}/{sku:path}",
        response_model=StockShown,
        openapi_extra=answers("stock_reserved"),
        dependencies=CHANGE,
    )
    async def set_stock(request: Request, who: Counter, location: Code, sku: Sku, body: Count) -> Response:
        def answer(outcome: Outcome) -> tuple[int, dict[str, Any]]:
            item: StockItem = outcome.state
            return 200, _pieces(item.location, item.sku, item.on_hand, item.reserved, outcome.version)

        operation = app.operation_id(request, who, stock_item_id(who.store_id, location, sku))
        command = _set(who, operation, location, sku, body.on_hand)
        return await app.execute(request, who, command, answer)

    # -- shipments ------------------------------------------------------------------------------------------------

    @router.get("/shipments", response_model=Page[ShipmentRow])
    async def list_shipments(
        who: Viewer,
        status: ShipmentStatus | None = None,
        order: Annotated[Literal["newest", "oldest"], Query(description="Which come first.")] = "newest",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Any:
        """The store's shipments. A warehouse reads those with `status=picking&order=oldest`; those `on_hold` must not ship."""
        cursors = _LIST_SHIPMENTS[order]
        query = _SHIPMENTS.where(SHIPMENTS.c.store_id == who.store_id)
        if status is not None:
            query = query.where(SHIPMENTS.c.status == status)
        at, number = SHIPMENTS.c.created_at, SHIPMENTS.c.shipment_id
        if (last := cursors.after(cursor)) is not None:
            place, end = tuple_(at, number), tuple_(*last)
            query = query.where(place < end if order == "newest" else place > end)
        sorted_by = (at.desc(), number.desc()) if order == "newest" else (at, number)
        rows = await app.read(query.order_by(*sorted_by).limit(limit + 1))
        return cursors.page(
            [_shipment(row) for row in rows], limit, key=lambda row: (row["created_at"], row["shipment_id"])
        )

    @router.get("/shipments/{shipment_id}", response_model=ShipmentRow, openapi_extra=answers("shipment_unknown"))
    async def get_shipment(who: Viewer, shipment_id: UUID, response: Response) -> Any:
        row = await _find(app, who, shipment_id)
        response.headers.update(etag(row["version"]))
        return _shipment(row)

    @router.post(
        "/shipments/{shipment_id}/ship", response_model=ShipmentShown, dependencies=CHANGE,
        openapi_extra=answers("shipment_unknown", "shipment_cancelled", "shipment_on_hold"),
    )  # fmt: skip
    async def ship(
        request: Request, who: Warehouse, shipment_id: UUID, body: Annotated[Parcel, Body(default_factory=Parcel)]
    ) -> Response:
        """Report that the parcel has left. A repeated report changes nothing and returns the shipment as it is."""
        row = await _find_to_move(app, who, shipment_id)
        command = Ship(
            order_id=row["order_id"],
            store_id=who.store_id,
            operation_id=app.operation_id(request, who, row["order_id"]),
            actor=who.actor,
            shipment_id=shipment_id,
            carrier=body.carrier,
            tracking_number=body.tracking_number,
        )
        return await app.execute(request, who, command, _as_it_is_now(row))

    @router.post(
        "/shipments/{shipment_id}/deliver", response_model=ShipmentShown, dependencies=CHANGE,
        openapi_extra=answers("shipment_unknown", "shipment_cancelled", "shipment_not_shipped"),
    )  # fmt: skip
    async def deliver(request: Request, who: Warehouse, shipment_id: UUID) -> Response:
        """Report that the parcel has arrived. A repeated report changes nothing."""
        row = await _find_to_move(app, who, shipment_id)
        command = Deliver(
            order_id=row["order_id"],
            store_id=who.store_id,
            operation_id=app.operation_id(request, who, row["order_id"]),
            actor=who.actor,
            shipment_id=shipment_id,
        )
        return await app.execute(request, who, command, _as_it_is_now(row))

    # -- orders ---------------------------------------------------------------------------------------------------

    @router.get("/fulfillments", response_model=Page[FulfillmentSummary])
    async def list_fulfillments(who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> Any:
        """The fulfillments of the store's orders, newest first."""
        table = FULFILLMENTS.c
        query = select(table.key, table.version, table.doc, table.created_at).where(table.store_id == who.store_id)
        if (last := _LIST_FULFILLMENTS.after(cursor)) is not None:
            query = query.where(tuple_(table.created_at, table.key) < tuple_(*last))
        rows = await app.read(query.order_by(table.created_at.desc(), table.key.desc()).limit(limit + 1))
        page = _LIST_FULFILLMENTS.page(rows, limit, key=lambda row: (row["created_at"], row["key"]))
        return {**page, "items": [_summary(row) for row in page["items"]]}

    @router.get("/fulfillments/{order_id}", response_model=FulfillmentShown, openapi_extra=answers("order_unknown"))
    async def get_fulfillment(who: Viewer, order_id: UUID, response: Response) -> Any:
        here = (FULFILLMENTS.c.key == order_id) & (FULFILLMENTS.c.store_id == who.store_id)
        rows = await app.read(select(FULFILLMENTS.c.doc, FULFILLMENTS.c.version).where(here))
        if not rows:
            raise Problem(404, "order_unknown", "No such order", f"nothing was received for {order_id}")
        version = rows[0]["version"]
        response.headers.update(etag(version))
        return {**_fulfillment(order_id, Fulfillment.model_validate_json(rows[0]["doc"])), "version": version}

    return router


# -- rows and states as JSON ------------------------------------------------------------------------------------------


def _pieces(location: str, sku: str, on_hand: int, reserved: int, version: int) -> dict[str, Any]:
    counts = {"on_hand": on_hand, "reserved": reserved, "available": on_hand - reserved}
    return {"location": location, "sku": sku, **counts, "version": version}


def _stock(row: RowMapping) -> dict[str, Any]:
    return _pieces(row["location"], row["sku"], row["on_hand"], row["reserved"], row["version"])


def _shipment(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("store_id", "reservation_id")}


def _as_it_is_now(row: RowMapping) -> Callable[[Outcome], tuple[int, dict[str, Any]]]:
    """Returns the answer to ship and deliver: the shipment after the decision."""

    def answer(outcome: Outcome) -> tuple[int, dict[str, Any]]:
        state: Fulfillment = outcome.state
        shipment = state.shipment(row["shipment_id"])
        assert shipment is not None, "an unknown shipment is a refusal"
        return 200, {"order_id": str(row["order_id"]), "version": outcome.version, **_shipment_of(shipment)}

    return answer


def _shipment_of(shipment: Shipment) -> dict[str, Any]:
    shown = shipment.model_dump(mode="json", exclude={"reservation_id", "parts"})
    return {**shown, "lines": [line.model_dump() for line in shipment.lines]}


def _summary(row: RowMapping) -> dict[str, Any]:
    state = Fulfillment.model_validate_json(row["doc"])
    return {
        "order_id": row["key"], "version": row["version"], "status": state.status, "totals": state.totals,
        "created_at": row["created_at"],
    }  # fmt: skip


def _fulfillment(order_id: UUID, state: Fulfillment) -> dict[str, Any]:
    return {
        "order_id": str(order_id),
        "status": state.status,
        "totals": state.totals.model_dump(),
        "lines": [line.model_dump() for line in state.held],
        "shipments": [_shipment_of(shipment) for shipment in state.shipments],
        "restocked": [line.model_dump() for line in state.restocked],
        "suspensions": [one.model_dump(mode="json") for one in state.suspensions],
    }


# -- helpers ----------------------------------------------------------------------------------------------------------


async def _find(app: App, who: Principal, shipment_id: UUID) -> RowMapping:
    here = (SHIPMENTS.c.shipment_id == shipment_id) & (SHIPMENTS.c.store_id == who.store_id)
    rows = await app.read(_SHIPMENTS.where(here))
    if not rows:
        raise Problem(404, "shipment_unknown", "No such shipment", f"{shipment_id} is not a shipment of this store")
    return rows[0]


async def _find_to_move(app: App, who: Principal, shipment_id: UUID) -> RowMapping:
    """A cancelled shipment stays cancelled, also when the order's document has no room for it any more."""
    row = await _find(app, who, shipment_id)
    if row["status"] == "cancelled":
        about = PROBLEMS["shipment_cancelled"]
        raise Problem(
            about.status, "shipment_cancelled", about.title, "its pieces went back to stock: do not send them"
        )
    return row


def _set(who: Principal, operation: UUID, location: str, sku: str, on_hand: int) -> SetStock:
    return SetStock(
        stock_item_id=stock_item_id(who.store_id, location, sku),
        store_id=who.store_id,
        operation_id=operation,
        actor=who.actor,
        location=location,
        sku=sku,
        on_hand=on_hand,
    )


async def _together(app: App, who: Principal, commands: Sequence[SetStock]) -> list[Outcome]:
    """Submits them all at once, so that a few transactions handle them. Raises Problem if one was not done."""
    submitted = (app.submit(who, command) for command in commands)
    done: list[Outcome] = []
    for result in await asyncio.gather(*submitted, return_exceptions=True):
        if isinstance(result, Outcome) and result.status == "done":
            done.append(result)
        elif isinstance(result, Outcome) or not is_transient(result):
            raise known("service_failed", "some counts may be set; the operators see it in the log")
        else:
            raise unavailable(result, "some counts may be set; send all of it again") from result
    return done
