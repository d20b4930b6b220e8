"""Disputes of a store's payments."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, tuple_

from chassis.declare.app import App, Principal
from chassis.http.paging import Cursor, Cursors, Limit, Page
from contracts.base import Timestamp
from payments.tables import disputes

DISPUTES = Cursors("disputes", Timestamp, UUID)
State = Literal["open", "won", "lost"]


class DisputeShown(BaseModel):
    """Amounts are minor units of `currency`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    dispute_id: UUID
    order_id: UUID
    gateway: str
    account: str | None
    reference: str
    """What the gateway calls it."""
    state: State
    currency: str
    amount_minor: int
    withheld_minor: int
    """What the gateway withholds: neither released nor lost."""
    reason: str
    """In the words of the gateway."""
    due_at: Timestamp | None
    """Until when the gateway takes evidence."""
    opened_at: Timestamp
    at: Timestamp
    """Time of its last change."""


def add_routes(router: APIRouter, app: App) -> None:
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]

    @router.get("/disputes", response_model=Page[DisputeShown])
    async def list_disputes(
        who: Viewer, state: State | None = None, order_id: UUID | None = None, limit: Limit = 50, cursor: Cursor = None
    ) -> Any:
        """The store's disputes, newest first. Evidence is sent at the gateway."""
        keys = (disputes.c.opened_at, disputes.c.dispute_id)
        found = select(disputes).where(disputes.c.store_id == who.store_id)
        if state is not None:
            found = found.where(disputes.c.state == state)
        if order_id is not None:
            found = found.where(disputes.c.order_id == order_id)
        if (start := DISPUTES.after(cursor)) is not None:
            found = found.where(tuple_(*keys) < tuple_(*start))
        rows = await app.read(found.order_by(*(key.desc() for key in keys)).limit(limit + 1))
        return DISPUTES.page(rows, limit, key=lambda row: (row["opened_at"], row["dispute_id"]))
