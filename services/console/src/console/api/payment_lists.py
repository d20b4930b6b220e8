"""Lists of what payments has of a store by its state, the newest first: payment sessions, gift cards, disputes."""

from typing import Annotated, Final, Literal, get_args

from fastapi import APIRouter, Depends, Query, Response

from console import parked
from console.api.payments import ROWS, OfStore, listed, shared
from console.api.rendering import query
from console.api.serving import Pages
from console.domain.people import Person

Session = Literal["open", "completed", "expired", "cancelled"]
Card = Literal["active", "inactive", "redeemed", "expired"]
Dispute = Literal["open", "won", "lost"]
ANY: Final = ""


class SessionsAsked(OfStore):
    state: Session | Literal[""] = ANY
    prepayment: Literal["retained", ""] = ANY
    """Retained: what gateways refuse to give back."""


class CardsAsked(OfStore):
    status: Card | Literal[""] = ANY


class DisputesAsked(OfStore):
    state: Dispute | Literal[""] = ANY


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments/sessions")
    async def sessions(asked: Annotated[SessionsAsked, Query()], person: SignedIn) -> Response:
        return await _page(pages, person, "payment-sessions", asked, "state", get_args(Session))

    @router.get("/payments/gift-cards")
    async def cards(asked: Annotated[CardsAsked, Query()], person: SignedIn) -> Response:
        return await _page(pages, person, "gift-cards", asked, "status", get_args(Card))

    @router.get("/payments/disputes")
    async def disputes(asked: Annotated[DisputesAsked, Query()], person: SignedIn) -> Response:
        return await _page(pages, person, "disputes", asked, "state", get_args(Dispute))


async def _page(
    pages: Pages, person: Person, name: str, asked: OfStore, field: str, states: tuple[str, ...]
) -> Response:
    """name: of the tab, of the template, and of the collection of payments. field: has the state, in the page's address and in the API."""
    common = await shared(pages, person, name, asked)
    state = getattr(asked, field)
    retained = {"prepayment": asked.prepayment} if isinstance(asked, SessionsAsked) else {}
    wanted = query({field: state, **retained, "cursor": asked.cursor, "limit": ROWS})
    body = await listed(pages, person, common, f"{common['tab'].route}?{wanted}")
    orders = {one["order_id"] for one in body["items"] if one.get("order_id")}
    return pages.page(
        f"{name}.html", **common, rows=body["items"], next_cursor=body["next_cursor"], field=field, state=state, states=states,
        numbers=await parked.numbers_of(pages.app, person, orders),
    )  # fmt: skip
