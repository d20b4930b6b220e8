"""Reads an order as it is stored, for routes that show it or a preview and change nothing."""

from uuid import UUID

from sqlalchemy import select

from chassis.batch.aggregates import whole
from chassis.declare.app import App, Principal
from chassis.http.problems import Problem
from orders.api.problems import PROBLEMS
from orders.domain.state.order import Order
from orders.store import PARTS
from orders.tables import orders


async def load(app: App, who: Principal, order_id: UUID) -> tuple[Order, int]:
    """Returns an order of the principal's store, and its version. Raises Problem 404 `order_unknown`."""
    rows = await app.read(
        select(orders.c.version, orders.c.doc, *(orders.c[part] for part in PARTS)).where(
            orders.c.key == order_id, orders.c.store_id == who.store_id
        )
    )
    if not rows:
        raise Problem(
            404, "order_unknown", PROBLEMS["order_unknown"].title, f"there is no order {order_id} in your store"
        )
    return Order.model_validate_json(whole(rows[0], PARTS)), rows[0]["version"]
