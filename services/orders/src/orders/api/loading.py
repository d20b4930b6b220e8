"""Reads an order as it is stored, for routes that show it or a preview and change nothing."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from chassis.batch.aggregates import whole
from chassis.declare.app import App, Principal
from chassis.http.problems import Problem
from orders.api.problems import PROBLEMS
from orders.domain.state.order import Order
from orders.store import PARTS
from orders.tables import orders


async def load(app: App, who: Principal, order_id: UUID) -> tuple[Order, int]:
    """Returns an order of the principal's store, and its version. Raises Problem 404 `order_unknown`."""
    found = await load_all(app, who, [order_id])
    if not found:
        raise Problem(
            404, "order_unknown", PROBLEMS["order_unknown"].title, f"there is no order {order_id} in your store"
        )
    return found[order_id]


async def load_all(app: App, who: Principal, order_ids: Sequence[UUID]) -> dict[UUID, tuple[Order, int]]:
    """Returns those of these orders that the principal's store has, each with its version."""
    rows = await app.read(
        select(orders.c.key, orders.c.version, orders.c.doc, *(orders.c[part] for part in PARTS)).where(
            orders.c.key == any_(bindparam("keys", list(order_ids), type_=ARRAY(Uuid))),
            orders.c.store_id == who.store_id,
        )
    )
    return {row["key"]: (Order.model_validate_json(whole(row, PARTS)), row["version"]) for row in rows}
