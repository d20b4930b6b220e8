"""The route that reads what several orders wait for: a list of orders shows it beside each."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.problems import respond
from orders.api.loading import load_all
from orders.api.shown import shown_actions, shown_processes
from orders.domain.shown.views import waiting
from orders.domain.state.order import Order
from orders.responses.order import OrderWaitsList
from orders.tables import metadata

ORDERS_MAX: Final = 100
Keys = Annotated[list[UUID], Query(alias="order_id", min_length=1, max_length=ORDERS_MAX)]


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")

    @router.get("/processes", response_model=OrderWaitsList)
    async def list_processes(who: Annotated[Principal, Depends(view)], order_ids: Keys) -> Response:
        """What each of these orders waits for: its open processes, with the number of asks and the last refusal, and what a
        person can do. In the order of the request; orders that the store does not have are left out."""
        found = await load_all(app, who, order_ids)
        parked = await _parked(app, order_ids)
        items = [_item(key, *found[key], is_parked=key in parked) for key in dict.fromkeys(order_ids) if key in found]
        return respond(as_json(200, {"items": items}))


async def _parked(app: App, keys: list[UUID]) -> set[UUID]:
    """The orders of which a message is parked."""
    parked_keys = metadata.tables["parked_keys"]
    some = select(parked_keys.c.key).where(parked_keys.c.key == any_(bindparam("keys", keys, type_=ARRAY(Uuid))))
    return {row["key"] for row in await app.read(some)}


def _item(key: UUID, order: Order, version: int, *, is_parked: bool) -> dict[str, Any]:
    return {
        "order_id": str(key),
        "version": version,
        "waiting": "parked" if is_parked else waiting(order),
        "processes": [one for one in shown_processes(order) if not one["end"]],
        "legal_actions": shown_actions(order),
    }
