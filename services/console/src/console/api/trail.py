"""The page of the audit: what persons requested here, newest first. Only administrators see what others did."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ARRAY, bindparam, text
from sqlalchemy import Text as SqlText

from console import trail
from console.api.filters import Moment, field_of, linked
from console.api.orders import seen_stores
from console.api.serving import Pages, demand
from console.domain import words
from console.domain.people import Person
from console.trail import Filters
from contracts.base import Text

SCOPE = "audit.view"
OUTCOMES = ("done", "silent", "asked", "broken")
"""Besides the codes of refusals. `broken`: a file whose receiver, or whose source, was gone before its end."""
KEYS = text(
    "select order_id from order_rows where store_id = any(:stores) and number_folded = :number limit 100"
).bindparams(bindparam("stores", type_=ARRAY(SqlText)))
PAGE_OF = {"order": "/orders/{id}", "endpoint": "/webhooks/{store}/{id}", "job": "/jobs/{id}"}
"""Kind of a subject -> its page."""


class TrailAsked(BaseModel):
    """The filters; empty: any."""

    model_config = ConfigDict(extra="forbid")

    person: Text = ""
    action: Text = ""
    outcome: Text = ""
    order: Text = ""
    """Its number or its id."""
    since: Moment = None
    until: Moment = None
    cursor: str | None = None


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/audit")
    async def audit(asked: Annotated[TrailAsked, Query()], person: SignedIn) -> Response:
        demand(person, SCOPE)
        stores = [one for one in await seen_stores(pages, person) if person.at(one).may(SCOPE)]
        sees_all = person.at(None).may(SCOPE)
        filters = Filters(
            person=asked.person.strip() or None, action=asked.action.strip() or None, outcome=asked.outcome.strip() or None,
            orders=await _orders(pages, stores, asked.order.strip()), since=asked.since, until=asked.until,
        )  # fmt: skip
        page = await trail.page(pages.app, None if sees_all else stores, filters, asked.cursor)
        return pages.page(
            "audit.html", person=person, asked=asked, rows=page.rows, found=page, link=linked("/audit", asked),
            outcomes=OUTCOMES, field_of=field_of, address_of=_address_of, filtered=any(one is not None for one in filters),
        )  # fmt: skip


async def _orders(pages: Pages, stores: list[str], order: str) -> list[UUID] | None:
    """Returns the ids of the orders that are named by an id or a number; None without a name."""
    if not order:
        return None
    try:
        return [UUID(order)]
    except ValueError:
        rows = await pages.app.read(KEYS.bindparams(stores=stores, number=words.folded(order)))
        return [row["order_id"] for row in rows]


def _address_of(row: Any) -> str:
    """Returns the page of what a row is about; empty: it has none."""
    pattern = PAGE_OF.get(row["subject_kind"], "")
    return pattern.format(id=row["subject_id"], store=row["store_id"])
