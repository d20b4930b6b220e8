"""Lists of orders and of drafts: filters, and the place after an id and a date."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from chassis.http.problems import Invalid, answers, invalid
from contracts.base import Timestamp
from contracts.money import Currency
from dintero_compat import drafts
from dintero_compat.api.desk import Asked, Desk
from dintero_compat.api.drafting import shown as shown_draft
from dintero_compat.api.ordering import Included
from dintero_compat.domain import searching
from dintero_compat.domain.searching import LAST, Place
from dintero_compat.domain.showing import PaymentStatus, Status
from dintero_compat.refusals import refused
from dintero_compat.responses import Drafts, Orders

ORDERS_MAX = 100
"""Orders of a page: each is read from orders and payments."""
AT_ONCE = 8
"""Orders that are read at a time."""
PAGES_MAX = 20
"""Pages that orders is asked for until a page is full."""
Limit = Annotated[int, Query(ge=1, le=1000, description=f"A page of orders has at most {ORDERS_MAX}.")]
AfterId = Annotated[UUID | None, Query(description="`id` of `last_evaluated_key`; with `starting_after_date`.")]
AfterDate = Annotated[Timestamp | None, Query(description="`created_at` of `last_evaluated_key`.")]
Since = Annotated[Timestamp | None, Query(alias="created_at.gte")]
Until = Annotated[Timestamp | None, Query(alias="created_at.lte")]


def place(at: datetime | None, id: UUID | None) -> Place | None:
    """Returns where a page begins; None: at the first one. Raises Problem 422."""
    if (at is None) != (id is None):
        raise invalid(Invalid("query", "/starting_after_id", "starting_after_id and starting_after_date come together"))
    return Place(at, id) if at is not None and id is not None else None


def key_of(last: Place) -> dict[str, str]:
    return {"id": str(last.id), "created_at": last.at.isoformat()}


def add_routes(router: APIRouter, desk: Desk) -> None:
    Viewer = Annotated[Asked, Depends(desk.asked("orders.view"))]

    @router.get(
        "/draft_orders",
        response_model=Drafts,
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown"),
    )
    async def list_drafts(
        asked: Viewer,
        status: Literal["open", "completed", "deleted"] | None = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = 10,
        starting_after_id: AfterId = None,
        starting_after_date: AfterDate = None,
    ) -> dict[str, Any]:
        """The drafts of the account, the newest first."""
        after = place(starting_after_date, starting_after_id)
        rows = await drafts.listed(
            desk.app, asked.account, status=status, after=after, since=since, until=until, limit=limit + 1
        )
        found: dict[str, Any] = {"draft_orders": [shown_draft(row) for row in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1]
            found["last_evaluated_key"] = key_of(Place(last.created_at, last.draft_id))
        return found

    @router.get(
        "/orders",
        response_model=Orders,
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown", "filter_uncovered", "owner_silent"),
    )
    async def list_orders(
        asked: Viewer,
        status: Status | None = None,
        payment_status: PaymentStatus | None = None,
        currency: Currency | None = None,
        since: Since = None,
        until: Until = None,
        include_events: Included = "false",
        items_discount_lines_discount_type: str | None = None,
        limit: Limit = 10,
        starting_after_id: AfterId = None,
        starting_after_date: AfterDate = None,
    ) -> dict[str, Any]:
        """The account's orders that fit all filters, the newest first; with `last_evaluated_key` if there may be more.

        `payment_status` is searched as orders has it, which follows payments within moments.
        """
        if items_discount_lines_discount_type is not None:
            raise refused("filter_uncovered", "orders are not searched by the type of a discount")
        after = place(starting_after_date, starting_after_id)
        query = searching.query(
            asked.account.aid, status=status, payment_status=payment_status, currency=currency, since=since, until=until,
            after=after,
        )  # fmt: skip
        places, last = await _found(asked, query, after, min(limit, ORDERS_MAX))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(key: UUID) -> dict[str, Any]:
            async with gate:
                return await desk.whole(asked, await desk.order(asked, str(key)), include_events)

        found: dict[str, Any] = {"orders": await asyncio.gather(*(one(found.id) for found in places))}
        if last is not None:
            found["last_evaluated_key"] = key_of(last)
        return found

    async def _found(
        asked: Asked, query: list[tuple[str, str | int]], after: Place | None, limit: int
    ) -> tuple[list[Place], Place | None]:
        """Returns the orders of a page, and where the next one begins; None: this is the last one."""
        places: list[Place] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            more = [("cursor", cursor)] if cursor is not None else []
            page = await desk.owners.read("orders", asked.who, "/v1/orders", [*query, ("limit", limit + 1), *more])
            places += searching.following(page["items"], after)
            cursor = page["next_cursor"]
            if len(places) > limit:
                return places[:limit], places[limit - 1]
            if cursor is None:
                return places, None
        reached = page["searched_back_to"]
        return places, Place(datetime.fromisoformat(reached), LAST) if reached else places[-1]
