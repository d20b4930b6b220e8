"""The page of disputes: charges that a buyer's bank has taken back, or asks about. Evidence is sent at the gateway."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from console import parked
from console.api.payments import ROWS, OfStore, listed, shared
from console.api.rendering import query
from console.api.serving import Pages
from console.domain.people import Person

STATES: Final = ("open", "won", "lost")


class DisputesAsked(OfStore):
    state: Literal["", "open", "won", "lost"] = ""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments/disputes")
    async def disputes(asked: Annotated[DisputesAsked, Query()], person: SignedIn) -> Response:
        common = await shared(pages, person, "disputes", asked)
        wanted = query({"state": asked.state, "cursor": asked.cursor, "limit": ROWS})
        body = await listed(pages, person, common, f"/v1/disputes?{wanted}")
        return pages.page(
            "disputes.html", **common, disputes=body["items"], next_cursor=body["next_cursor"], states=STATES,
            numbers=await parked.numbers_of(pages.app, person, {one["order_id"] for one in body["items"]}),
        )  # fmt: skip
