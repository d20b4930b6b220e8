"""The page of one order: what its owners have of it now."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from sqlalchemy import text

from console.api.orders import PERSONAL
from console.api.serving import Pages, refusal
from console.api.shown import shown
from console.domain.people import Person
from console.listing import SHOWN

ROW = f"""
select {SHOWN}, authorized_minor, voided_minor, reserved, shipped, invoiced_minor, credited_minor, versions
from order_rows where order_id = :order_id and ordered_at is not null"""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/orders/{order_id}")
    async def order(order_id: str, person: SignedIn) -> Response:
        key = _key(order_id)
        rows = await pages.app.read(text(ROW).bindparams(order_id=key))
        if not rows or not person.sees(rows[0]["store_id"]):
            raise refusal("order_unknown", f"there is no order {key}")
        answers = await pages.owners.about(key, rows[0]["store_id"])
        order = shown(rows[0], answers, personal=person.may(PERSONAL))
        return pages.page("order.html", person=person, order=order, row=rows[0])


def _key(text_of_id: str) -> UUID:
    """Raises Problem 404."""
    try:
        return UUID(text_of_id)
    except ValueError:
        raise refusal("order_unknown", "the id of an order is a UUID") from None
