"""The page of one order: what its owners have of it now, and what the person can request for it."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from console import audit, parked
from console.api import requesting
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import Failed, revealed
from console.api.serving import Pages, Part, form
from console.api.shown import shown
from console.domain.acting import ACTIONS, PIECES, request_of
from console.domain.payments import AMOUNT, RECONCILE, RECORD, RECORDED, VIEW
from console.domain.people import PERSONAL, Person
from console.domain.resending import CHOSEN
from console.listing import SHOWN
from console.live import rows
from console.owners import Outcome

ROW = f"""
select {SHOWN}, authorized_minor, voided_minor, reserved, shipped, invoiced_minor, credited_minor,
  pg_current_snapshot()::text as position
from order_rows where order_id = :order_id and ordered_at is not null"""

DONE = {name: action.title for name, action in ACTIONS.items()} | {"resend": "Resend", "record": "Record a payment"}
BOOKS, RECORDS = "/v1/orders/{order_id}/ledger", "/v1/orders/{order_id}/payments/{collection}"
"""Routes of payments: without them the page has no link to the books, and no form that records a payment."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/orders/{order_id}")
    async def order(order_id: str, person: SignedIn, done: str = "", part: Part = "") -> Response:
        return await order_page(pages, await row_of(pages, person, order_id), person, done=done, part=part)

    @router.post("/orders/{order_id}/reveal")
    async def reveal(order_id: str, person: SignedIn) -> Response:
        """Shows personal data in the answer to this one request, which no address repeats."""
        row = await row_of(pages, person, order_id)
        await revealed(pages, person, audit.of_order(row["order_id"], row["store_id"]))
        return await order_page(pages, row, person, personal=True)

    @router.post("/orders/{order_id}/actions/{action}")
    async def act(request: Request, order_id: str, action: str, person: SignedIn) -> Response:
        row = await row_of(pages, person, order_id)
        outcome = await requested(pages, row, person, action, await form(request))
        if isinstance(outcome, Failed):
            return await order_page(pages, row, person, failed=outcome)
        return RedirectResponse(f"/orders/{row['order_id']}?done={action}", 303)


async def requested(
    pages: Pages, row: RowMapping, person: Person, action: str, fields: Mapping[str, str]
) -> Outcome | Failed:
    """Requests an action of an order; returns the answer of orders, or why it is not done. Raises Problem 403 or 404."""
    if action not in ACTIONS:
        raise refusal("action_unknown", f"{action} is no action of an order")
    if not person.at(row["store_id"]).may(ACTIONS[action].scope):
        raise refusal("action_forbidden", f"it needs the scope {ACTIONS[action].scope}")
    try:
        wanted = request_of(action, row["order_id"], fields)
    except ValueError as error:
        return requesting.incomplete(action, fields, error)
    subject = audit.of_order(row["order_id"], row["store_id"])
    return await requesting.request(pages, person, subject, action, wanted, fields)


async def order_page(
    pages: Pages,
    row: RowMapping,
    person: Person,
    *,
    done: str = "",
    failed: Failed | None = None,
    personal: bool = False,
    part: str = "",
) -> Response:
    """personal: whether personal data is revealed."""
    here = person.at(row["store_id"])
    answers, waiting, has_books, records = await asyncio.gather(
        pages.owners.about(row["order_id"], row["store_id"], person, personal=personal),
        parked.of_order(pages.owners, person, row["order_id"], row["store_id"]),
        pages.bar.offered("payments", BOOKS),
        pages.bar.offered("payments", RECORDS),
    )
    order = shown(row, answers, personal=personal)
    mine = {name: action for name, action in ACTIONS.items() if here.may(action.scope)}
    values: dict[str, Any] = {
        "person": person, "order": order, "row": row, "done": DONE.get(done, ""), "failed": failed,
        "actions": mine, "CHOSEN": CHOSEN, "revealed": personal, "may_reveal": here.may(PERSONAL), "PIECES": PIECES,
        "nonce": lambda name: failed.nonce if failed and failed.action == name else uuid4(), "parked": waiting,
        "may_see_books": has_books and here.may(VIEW), "may_reconcile": here.may(RECONCILE), "may_record": records and here.may(RECORD),
        "recorded": RECORDED, "AMOUNT": AMOUNT,
        "position": query({rows.NAME: row["position"]}), "catching_up": order.version > (row["orders_version"] or 0),
    }  # fmt: skip
    return pages.page("order.html", failed.status if failed else 200, part=part, **values)


async def row_of(pages: Pages, person: Person, order_id: str) -> RowMapping:
    """Returns the row of an order that the person may see. Raises Problem 404."""
    try:
        key = UUID(order_id)
    except ValueError:
        raise refusal("order_unknown", "the id of an order is a UUID") from None
    found = await pages.app.read(text(ROW).bindparams(order_id=key))
    if not found or not person.sees(found[0]["store_id"]):
        raise refusal("order_unknown", f"there is no order {key}")
    return found[0]
