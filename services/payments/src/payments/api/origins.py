"""Whose order it is that payments does not have yet: its id is computed from its store and its origin, so the origin shows that.

A ledger belongs for ever to the store that opens it. Without this check a key could open that of another store's future order,
whose commands would then be parked.
"""

from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from chassis.declare.app import App, Principal
from chassis.http.problems import Problem, known
from contracts.base import Code, Id
from contracts.ids import order_id as computed
from payments.tables import ledgers

REFUSALS: Final = ("resource_unknown", "order_origin_missing")


class OrderOrigin(BaseModel):
    """Where the order was or will be sold: with the store of the key, its id is computed from this (docs/order-ids.md)."""

    model_config = ConfigDict(extra="forbid")

    channel: Code
    account: Code
    external_order_id: Id


Origin = Annotated[
    OrderOrigin | None,
    Field(
        description="Needed if payments does not have the order yet: shows that the order is one of the key's store."
    ),
]


async def check_order(app: App, who: Principal, order_id: UUID, origin: OrderOrigin | None) -> None:
    """Raises Problem 404, 422 unless the order is one of the store's: by its origin, or because payments has it.

    Another store's order and an unknown one are refused alike, so that a refusal discloses neither.
    """
    if origin is None:
        if not await has_order(app, who, order_id):
            raise Problem(
                422, "order_origin_missing", "The origin of the order is missing",
                "Payments has no order of this id in your store: state `origin` with its `channel`, `account` and `external_order_id`.",
            )  # fmt: skip
    elif order_id != computed(who.store_id, origin.channel, origin.account, origin.external_order_id):
        raise known("resource_unknown", "an order of this origin in your store has another id")


async def has_order(app: App, who: Principal, order_id: UUID) -> bool:
    """Returns whether payments has a ledger of the order in the store of the key."""
    mine = (ledgers.c.key == order_id) & (ledgers.c.store_id == who.store_id)
    return bool(await app.read(select(ledgers.c.key).where(mine)))
