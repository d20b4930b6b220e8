"""The page of payment sessions: what storefronts have opened so that buyers pay, and how each ended."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from console import parked
from console.api.payments import ROWS, OfStore, listed, shared
from console.api.rendering import query
from console.api.serving import Pages
from console.domain.people import Person

STATES: Final = ("open", "completed", "expired", "cancelled")


class SessionsAsked(OfStore):
    state: Literal["", "open", "completed", "expired", "cancelled"] = ""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments/sessions")
    async def payment_sessions(asked: Annotated[SessionsAsked, Query()], person: SignedIn) -> Response:
        common = await shared(pages, person, "payment-sessions", asked)
        wanted = query({"state": asked.state, "cursor": asked.cursor, "limit": ROWS})
        body = await listed(pages, person, common, f"/v1/payment-sessions?{wanted}")
        return pages.page(
            "payment-sessions.html", **common, sessions=body["items"], next_cursor=body["next_cursor"], states=STATES,
            numbers=await parked.numbers_of(pages.app, person, {one["order_id"] for one in body["items"]}),
        )  # fmt: skip
