"""The page of one gift card, with its movements and what a person does with it. `payment_lists` has the list."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from console import parked
from console.api import requesting
from console.api.asking import found
from console.api.payments import check, tabs_of
from console.api.refusals import refusal
from console.api.requesting import Failed
from console.api.serving import Pages, form
from console.audit import Subject
from console.domain.gift_cards import ACTIONS, EDIT, offered, request_of
from console.domain.payments import VIEW
from console.domain.people import Person
from contracts.base import Code


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments/{store_id}/gift-cards/{gift_card_id}")
    async def one(store_id: Code, gift_card_id: UUID, person: SignedIn, done: str = "") -> Response:
        check(person, store_id, VIEW)
        return await _page(pages, person, store_id, gift_card_id, done=done)

    @router.post("/payments/{store_id}/gift-cards/{gift_card_id}/{action}")
    async def act(request: Request, store_id: Code, gift_card_id: UUID, action: str, person: SignedIn) -> Response:
        check(person, store_id, EDIT)
        if action not in ACTIONS:
            raise refusal("action_unknown", f"{action} is no action of a gift card")
        fields = await form(request)
        try:
            wanted = request_of(action, gift_card_id, fields)
        except ValueError as error:
            failed = requesting.incomplete(action, fields, error)
            return await _page(pages, person, store_id, gift_card_id, failed=failed)
        subject = Subject("gift_card", str(gift_card_id), store_id)
        outcome = await requesting.request(pages, person, subject, action, wanted, fields)
        if isinstance(outcome, Failed):
            return await _page(pages, person, store_id, gift_card_id, failed=outcome)
        return RedirectResponse(f"/payments/{store_id}/gift-cards/{gift_card_id}?done={action}", 303)


async def _page(
    pages: Pages, person: Person, store_id: str, gift_card_id: UUID, *, done: str = "", failed: Failed | None = None
) -> Response:
    answer = await pages.owners.read("payments", f"/v1/gift-cards/{gift_card_id}", store_id, person)
    if answer.state == "nothing":
        raise refusal("gift_card_unknown", f"{store_id} has no such gift card")
    card = found("payments", answer, "gift_card_unknown")
    orders = {one["order_id"] for one in card["movements"] if one["order_id"]}
    return pages.page(
        "gift-card.html", failed.status if failed else 200, person=person, store=store_id, card=card, failed=failed,
        done=ACTIONS[done].title if done in ACTIONS else "", tabs=await tabs_of(pages, person, store_id),
        actions={name: ACTIONS[name] for name in offered(card)} if person.at(store_id).may(EDIT) else {},
        numbers=await parked.numbers_of(pages.app, person, orders),
        nonce=lambda name: failed.nonce if failed and failed.action == name else uuid4(),
    )  # fmt: skip
