"""The page of exceptions of payments: where the books and a gateway differ, with what payments proposes."""

from typing import Annotated, Final, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from console import parked
from console.api import requesting
from console.api.payments import ROWS, Given, OfStore, check, listed, shared
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import Failed
from console.api.serving import Pages, form
from console.audit import Subject
from console.domain.payments import CORRECTIONS, PROPOSALS, RECONCILE, correction_of
from console.domain.people import Person
from contracts.base import Code

STATES: Final = ("open", "applying", "applied", "dismissed", "gone")


class DifferencesAsked(OfStore):
    status: Literal["open", "applying", "applied", "dismissed", "gone"] = "open"
    order: Annotated[UUID | None, Given] = None
    """Only those of an order."""
    done: str = ""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments/differences")
    async def differences(asked: Annotated[DifferencesAsked, Query()], person: SignedIn) -> Response:
        return await _list(pages, person, asked)

    @router.post("/payments/{store_id}/differences/{difference_id}/{action}")
    async def correct(request: Request, store_id: Code, difference_id: UUID, action: str, person: SignedIn) -> Response:
        check(person, store_id, RECONCILE)
        if action not in CORRECTIONS:
            raise refusal("action_unknown", f"{action} is no action of a difference")
        fields = {**await form(request), "difference_id": str(difference_id)}
        asked = DifferencesAsked(store=store_id)
        try:
            wanted = correction_of(action, difference_id, fields)
        except ValueError as error:
            return await _list(pages, person, asked, requesting.incomplete(f"{action}_difference", fields, error))
        subject = Subject("difference", str(difference_id), store_id)
        outcome = await requesting.request(pages, person, subject, f"{action}_difference", wanted, fields)
        if isinstance(outcome, Failed):
            return await _list(pages, person, asked, outcome)
        return RedirectResponse(f"/payments/differences?{query({'store': store_id, 'done': action})}", 303)


async def _list(pages: Pages, person: Person, asked: DifferencesAsked, failed: Failed | None = None) -> Response:
    common = await shared(pages, person, "differences", asked)
    path = f"/v1/differences?{query({'status': asked.status, 'order_id': asked.order, 'cursor': asked.cursor, 'limit': ROWS})}"
    body = await listed(pages, person, common, path)
    items = body["items"]
    return pages.page(
        "differences.html", failed.status if failed else 200, **common, differences=items, next_cursor=body["next_cursor"], states=STATES,
        corrections=CORRECTIONS, proposals=PROPOSALS, failed=failed, done=CORRECTIONS.get(asked.done), nonce=uuid4,
        numbers=await parked.numbers_of(pages.app, person, {one["order_id"] for one in items if one["order_id"]}),
    )  # fmt: skip
