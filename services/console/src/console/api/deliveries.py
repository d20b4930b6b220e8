"""The page of one delivery, with its request and each answer; and what is sent once more, from there or from an order."""

import asyncio
from typing import Annotated
from urllib.parse import quote
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import RowMapping

from console.api import requesting
from console.api.asking import found
from console.api.order import order_page, row_of
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import Failed
from console.api.serving import Pages, demand, form
from console.api.webhooks import VIEW, check, numbers_of, path_of, subject_of
from console.audit import Subject
from console.domain.deliveries import deliveries
from console.domain.endpoints import SCOPE
from console.domain.people import Person
from console.domain.resending import chosen, nonce_of_each, resent
from console.domain.wanted import Fields
from contracts.base import Code, Id

ATTEMPTS = 100
"""How many of a delivery its page shows."""


class DeliveryAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    event: Id
    notice: bool = False
    """Whether it went to `notify_url`."""
    done: str = ""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/webhooks/{store_id}/{endpoint_id}/delivery")
    async def delivery(
        store_id: Code, endpoint_id: UUID, asked: Annotated[DeliveryAsked, Query()], person: SignedIn
    ) -> Response:
        return await _page(pages, person, store_id, endpoint_id, asked)

    @router.post("/webhooks/{store_id}/{endpoint_id}/delivery")
    async def resend(
        request: Request, store_id: Code, endpoint_id: UUID, asked: Annotated[DeliveryAsked, Query()], person: SignedIn
    ) -> Response:
        check(person, store_id, SCOPE)
        fields = await form(request)
        try:
            wanted = resent(fields.get("attempt", ""), fields)
        except ValueError as error:
            failed = requesting.incomplete("resend", fields, error)
            return await _page(pages, person, store_id, endpoint_id, asked, failed=failed)
        outcome = await requesting.request(pages, person, subject_of(store_id, endpoint_id), "resend", wanted, fields)
        if isinstance(outcome, Failed):
            return await _page(pages, person, store_id, endpoint_id, asked, failed=outcome)
        return RedirectResponse(f"{address_of(store_id, endpoint_id, asked.event, asked.notice)}&done=resend", 303)

    @router.post("/orders/{order_id}/resend")
    async def resend_of_order(request: Request, order_id: str, person: SignedIn) -> Response:
        row = await row_of(pages, person, order_id)
        demand(person.at(row["store_id"]), SCOPE)
        failed = await _resent(pages, person, row, await form(request))
        if failed is not None:
            return await order_page(pages, row, person, failed=failed)
        return RedirectResponse(f"/orders/{row['order_id']}?done=resend", 303)


async def _resent(pages: Pages, person: Person, row: RowMapping, fields: Fields) -> Failed | None:
    """Requests to send what is ticked, one after the other, oldest first; returns why the first that is refused is not done."""
    try:
        wanted = [(endpoint, attempt, resent(attempt, fields)) for endpoint, attempt in chosen(fields)]
    except ValueError as error:
        return requesting.incomplete("resend", fields, error)
    nonce = requesting.nonce_of(fields)
    for endpoint, attempt, one in reversed(wanted):
        subject = Subject("endpoint", endpoint, row["store_id"], row["order_id"])
        mine = {**fields, "nonce": str(nonce_of_each(nonce, attempt))}
        outcome = await requesting.request(pages, person, subject, "resend", one, mine)
        if isinstance(outcome, Failed):  # the nonce of the form: those that are done are not done twice
            return outcome._replace(fields=fields, nonce=nonce)
    return None


def address_of(store_id: str, endpoint_id: UUID | str, event_id: str, notice: bool = False) -> str:
    return f"/webhooks/{store_id}/{endpoint_id}/delivery?{query({'event': event_id, 'notice': notice or None})}"


async def _page(
    pages: Pages, person: Person, store_id: str, endpoint_id: UUID, asked: DeliveryAsked, failed: Failed | None = None
) -> Response:
    check(person, store_id, VIEW)
    attempts = f"/v1/attempts?{query({'endpoint': endpoint_id, 'event_id': asked.event, 'limit': ATTEMPTS})}"
    event = f"/v1/events/{quote(asked.event, safe='')}"
    of_endpoint, of_attempts, of_event = await asyncio.gather(
        pages.owners.read("webhooks", f"/v1/endpoints/{endpoint_id}", store_id, person),
        pages.owners.read("webhooks", attempts, store_id, person),
        pages.owners.read("webhooks", event, store_id, person),
    )
    endpoint = found("webhooks", of_endpoint, "endpoint_unknown")
    tried = found("webhooks", of_attempts, "endpoint_unknown")["items"]
    mine = [one for one in deliveries(tried) if bool(one.latest["notice"]) == asked.notice]
    if not mine:
        raise refusal("delivery_unknown", f"event {asked.event} was not sent to this endpoint in the last 90 days")
    return pages.page(
        "delivery.html", failed.status if failed else 200, person=person, store_id=store_id, endpoint=endpoint,
        path=path_of(store_id, endpoint_id), delivery=mine[0], event=of_event.body if of_event.state == "answered" else None,
        address=address_of(store_id, endpoint_id, asked.event, asked.notice), may_resend=person.at(store_id).may(SCOPE), failed=failed,
        numbers=await numbers_of(pages, store_id, tried[:1]), nonce=failed.nonce if failed else uuid4(),
        done=asked.done == "resend", why_no_event=of_event.why,
    )  # fmt: skip
