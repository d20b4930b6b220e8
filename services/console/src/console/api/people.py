"""The people whom the console has let in, what each may, and the end of their sessions."""

from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from console import audit, people, sessions
from console.api.refusals import refusal
from console.api.requesting import nonce_of
from console.api.serving import Pages, form
from console.audit import Subject
from console.domain.people import PEOPLE, Person


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/people")
    async def listed(person: SignedIn, done: str = "") -> Response:
        _check(person)
        found = await people.listed(pages.app, pages.clock(), pages.limits.idle_minutes, pages.limits.hours_max)
        named = next((one.person.name for one in found if str(one.person.id) == done), "")
        return pages.page("people.html", person=person, people=found, done=named, nonce=uuid4)

    @router.post("/people/{person_id}/sign-out")
    async def sign_out(request: Request, person_id: str, person: SignedIn) -> Response:
        """Ends all sessions of a person. What the person may ends elsewhere: with the group, or by a link with other roles."""
        _check(person)
        found = await people.find(pages.app, person_id)
        if found is None:
            raise refusal("person_unknown", "there is no person of this id")
        fields = await form(request)
        nonce, reason = nonce_of(fields), fields.get("reason", "").strip()[:500]
        await audit.asked(pages.app, nonce, person, Subject("person", str(found), None), "sign_out", reason)
        await sessions.end_all(pages.app, found, pages.clock())
        await audit.ended(pages.app, nonce, person, "done")
        return RedirectResponse(f"/people?done={found}", 303)


def _check(person: Person) -> None:
    """People have no store, so neither has who manages them. Raises Problem 403."""
    if not person.at(None).may(PEOPLE):
        raise refusal("action_forbidden", f"it needs the scope {PEOPLE} in all stores")
