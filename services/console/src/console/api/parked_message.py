"""The page of one parked message: what it is, why it is parked, what waits behind it; replay, edit with a preview, discard."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse

from chassis.http.paging import ROW_MAX
from chassis.http.problems import Problem
from console import audit, parked
from console.api import requesting
from console.api.parked import Service
from console.api.refusals import refusal
from console.api.requesting import Failed, revealed
from console.api.serving import Pages, demand, form
from console.audit import Subject
from console.domain import bodies
from console.domain.parked import ACTIONS, EDIT_SCOPE, VIEW_SCOPE, cause_of, check_of, offered, request_of, value_of
from console.domain.people import PERSONAL, Person

ParkedId = Annotated[int, Path(ge=0, le=ROW_MAX)]
Message = Mapping[str, Any]


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/parked/{service}/{parked_id}")
    async def one(service: Service, parked_id: ParkedId, person: SignedIn, done: str = "") -> Response:
        return await _page(pages, person, service, await _message(pages, person, service, parked_id), done=done)

    @router.post("/parked/{service}/{parked_id}/reveal")
    async def reveal(service: Service, parked_id: ParkedId, person: SignedIn) -> Response:
        """Shows the whole body in the answer to this one request, which no address repeats; with a row in the audit."""
        message = await _message(pages, person, service, parked_id, personal=True)
        await revealed(pages, person, _subject(service, message))
        return await _page(pages, person, service, message)

    @router.post("/parked/{service}/{parked_id}/preview")
    async def preview(request: Request, service: Service, parked_id: ParkedId, person: SignedIn) -> Response:
        """What an edit would change. The service checks it, so a body that does not fit is refused here, with the place."""
        fields = await form(request)
        try:
            message = await _message(pages, person, service, parked_id, personal=True)
        except Problem as problem:
            return _try_again(pages, person, service, parked_id, "preview", fields, problem)
        failed = await _checked(pages, person, service, message, fields)
        if failed is not None:
            return await _page(pages, person, service, message, failed=failed)
        return _confirm(pages, person, service, message, fields)

    @router.post("/parked/{service}/{parked_id}/{action}")
    async def act(request: Request, service: Service, parked_id: ParkedId, action: str, person: SignedIn) -> Response:
        if action not in ACTIONS:
            raise refusal("action_unknown", f"{action} is no action of a parked message")
        fields = await form(request)
        here = f"/parked/{service}/{parked_id}?done={action}"
        if await audit.is_done(pages.app, requesting.nonce_of(fields), person):
            return RedirectResponse(here, 303)
        try:
            message = await _message(pages, person, service, parked_id, personal=action == "edit")
        except Problem as problem:
            if action != "edit":
                raise
            return _try_again(pages, person, service, parked_id, "edit", fields, problem)
        failed = await _requested(pages, person, service, message, action, fields)
        if failed is None:
            return RedirectResponse(here, 303)
        if action == "edit":
            if failed.status == 503:  # the same nonce: sent again, it is done once
                return _confirm(pages, person, service, message, fields, failed)
            message = await _message(pages, person, service, parked_id, personal=True)
        return await _page(pages, person, service, message, failed=failed)


def _subject(service: str, message: Message) -> Subject:
    return Subject("parked", f"{service}/{message['id']}", message["store_id"])


async def _message(pages: Pages, person: Person, service: str, parked_id: int, *, personal: bool = False) -> Message:
    """Returns a message that the person may see. personal: with personal values, if the person may see them. Raises Problem
    403, 404 and 503."""
    demand(person, VIEW_SCOPE)
    answer = await parked.find(pages.owners, person, service, parked_id, personal=personal)
    if answer.state == "nothing":
        raise refusal("message_unknown", f"{service} has no parked message {parked_id} in your stores")
    if answer.state != "answered":
        raise refusal("service_silent", f"{service}: {parked.why_silent(answer)}")
    found: Message = answer.body
    return found


async def _requested(
    pages: Pages, person: Person, service: str, message: Message, action: str, fields: Mapping[str, str]
) -> Failed | None:
    """Requests an action; returns why it is not done, None if it is."""
    demand(person.at(message["store_id"]), EDIT_SCOPE)
    try:
        wanted = request_of(action, service, message["id"], fields)
    except ValueError as error:
        return requesting.incomplete(action, fields, error)
    outcome = await requesting.request(pages, person, _subject(service, message), action, wanted, fields)
    return outcome if isinstance(outcome, Failed) else None


async def _checked(
    pages: Pages, person: Person, service: str, message: Message, fields: Mapping[str, str]
) -> Failed | None:
    """Returns why an edit would be refused, None if nothing is wrong with it."""
    demand(person.at(message["store_id"]), EDIT_SCOPE)
    if message["masked"]:
        raise refusal("action_forbidden", f"an edit needs the scope {PERSONAL}: the body has personal values")
    nonce, text = requesting.nonce_of(fields), value_of(fields)
    if why := bodies.why_not_json(text):
        return Failed("edit", fields, nonce, "It is not JSON", f"{why}; nothing was stored", 422)
    try:
        wanted = check_of(service, message["id"], fields)
    except ValueError as error:
        return requesting.incomplete("edit", fields, error)
    outcome = await pages.owners.send(wanted, message["store_id"], person, uuid4())
    if outcome.done:
        return None
    if outcome.status is None or outcome.status >= 500:
        return Failed("edit", fields, nonce, f"{service.capitalize()} does not answer", "nothing was stored", 503)
    return Failed("edit", fields, nonce, outcome.title, f"{outcome.detail}; nothing was stored", outcome.status)


async def _page(
    pages: Pages, person: Person, service: str, message: Message, *, done: str = "", failed: Failed | None = None
) -> Response:
    whole = bodies.pretty(message["value"] or "")
    mine = value_of(failed.fields) if failed is not None and failed.action == "edit" else None
    here = person.at(message["store_id"])
    values: dict[str, Any] = {
        "person": person, "service": service, "message": message, "cause": cause_of(message["cause"]), "failed": failed,
        "done": ACTIONS[done].title if done in ACTIONS else "",
        "beside": await parked.beside(pages.app, pages.owners, person, service, message),
        "actions": {name: ACTIONS[name] for name in offered(message) if here.may(EDIT_SCOPE)},
        "may_reveal": here.may(PERSONAL) and message["masked"],
        "body": bodies.bounded(whole), "whole": whole, "mine": mine,
        "editable": len(whole) <= bodies.EDIT_CHARACTERS_MAX and message["value_bytes"] is None,
        "changed": bodies.difference(whole, bodies.pretty(mine)) if mine is not None and failed is not None and failed.status == 412 else (),
        "nonce": lambda name: failed.nonce if failed and failed.action == name else uuid4(),
    }  # fmt: skip
    return pages.page("parked-message.html", failed.status if failed else 200, **values)


def _try_again(
    pages: Pages, person: Person, service: str, parked_id: int, step: str, fields: Mapping[str, str], problem: Problem
) -> Response:
    """The page that has the text of a person until the service answers. Raises the problem if it does answer."""
    if problem.status != 503:
        raise problem
    return pages.page(
        "parked-edit.html", 503, person=person, service=service, parked_id=parked_id, type=None, step=step, value=value_of(fields),
        version=fields.get("version", ""), nonce=requesting.nonce_of(fields), fields=fields, lines=None,
        failed=Failed(step, fields, requesting.nonce_of(fields), f"{service.capitalize()} does not answer", "nothing was done; send it again", 503),
    )  # fmt: skip


def _confirm(
    pages: Pages,
    person: Person,
    service: str,
    message: Message,
    fields: Mapping[str, str],
    failed: Failed | None = None,
) -> Response:
    """The page that shows an edit before it is made."""
    before, after = bodies.pretty(message["value"] or ""), bodies.pretty(value_of(fields))
    nonce: UUID = failed.nonce if failed else uuid4()
    return pages.page(
        "parked-edit.html", failed.status if failed else 200, person=person, service=service, parked_id=message["id"],
        type=message["type"], step="edit", failed=failed,
        value=value_of(fields), version=fields["version"], lines=bodies.difference(before, after), nonce=nonce, fields=fields,
    )  # fmt: skip
