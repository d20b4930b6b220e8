"""Pages of a replay: from when on, how many events that is, and how far it is. The count freezes what is sent."""

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from console.api import requesting
from console.api.asking import ask
from console.api.filters import Moment, field_of
from console.api.refusals import refusal
from console.api.requesting import Failed
from console.api.serving import Pages, form
from console.api.webhooks import VIEW, check, path_of, subject_of
from console.audit import Subject
from console.domain.endpoints import EVENT_TYPES, ONLY, SCOPE, Only, state_of
from console.domain.people import Person
from console.domain.replaying import ACTIONS, begun, changed, counted
from console.domain.wanted import Fields
from contracts.base import Code, Text


class ReplayAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    begin: Moment = Field(None, alias="from")
    end: Moment = Field(None, alias="to")
    """Null: where the endpoint is now."""
    type: Text = ""
    """Empty: every type that the endpoint wants."""
    only: Only = "all"
    as_new: bool = False


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/webhooks/{store_id}/{endpoint_id}/replay")
    async def prepare(
        store_id: Code, endpoint_id: UUID, asked: Annotated[ReplayAsked, Query()], person: SignedIn
    ) -> Response:
        check(person, store_id, SCOPE)
        if asked.begin is None:
            return await _form(pages, person, store_id, endpoint_id, asked)
        wanted = counted(endpoint_id, asked.begin, asked.end, asked.type.strip(), asked.only, asked.as_new)
        outcome = await pages.owners.send(wanted, store_id, person, uuid4())
        if not outcome.done:
            failed = requesting.failure("replay", {}, wanted, outcome)
            return await _form(pages, person, store_id, endpoint_id, asked, failed=failed)
        return await _form(pages, person, store_id, endpoint_id, asked, preview=outcome.body)

    @router.post("/webhooks/{store_id}/{endpoint_id}/replay")
    async def begin(request: Request, store_id: Code, endpoint_id: UUID, person: SignedIn) -> Response:
        check(person, store_id, SCOPE)
        fields = await form(request)
        try:
            wanted = begun(endpoint_id, fields)
        except ValueError as error:
            failed = requesting.incomplete("replay", fields, error)
            return await _form(pages, person, store_id, endpoint_id, ReplayAsked(), failed=failed)
        outcome = await requesting.request(pages, person, subject_of(store_id, endpoint_id), "replay", wanted, fields)
        if isinstance(outcome, Failed):
            return await _form(
                pages, person, store_id, endpoint_id, ReplayAsked(), failed=outcome, preview=_kept(fields)
            )
        return RedirectResponse(f"{path_of(store_id, endpoint_id)}/replays/{outcome.body['replay_id']}", 303)

    @router.get("/webhooks/{store_id}/{endpoint_id}/replays/{replay_id}")
    async def replay(store_id: Code, endpoint_id: UUID, replay_id: UUID, person: SignedIn, done: str = "") -> Response:
        return await _page(pages, person, store_id, endpoint_id, replay_id, done=done)

    @router.post("/webhooks/{store_id}/{endpoint_id}/replays/{replay_id}/actions/{action}")
    async def act(
        request: Request, store_id: Code, endpoint_id: UUID, replay_id: UUID, action: str, person: SignedIn
    ) -> Response:
        check(person, store_id, SCOPE)
        if action not in ACTIONS:
            raise refusal("action_unknown", f"{action} is no action of a replay")
        fields = await form(request)
        subject = Subject("replay", str(replay_id), store_id)
        outcome = await requesting.request(pages, person, subject, action, changed(action, replay_id, fields), fields)
        if isinstance(outcome, Failed):
            return await _page(pages, person, store_id, endpoint_id, replay_id, failed=outcome)
        return RedirectResponse(f"{path_of(store_id, endpoint_id)}/replays/{replay_id}?done={action}", 303)


def _kept(fields: Fields) -> dict[str, Any]:
    """Returns the preview of a form whose request was not done: the same set is offered again."""
    types = fields.get("types", "").split()
    return {
        "from": fields.get("from"), "to": fields.get("to"), "only": fields.get("only"), "types": types,
        "as_new": fields.get("as_new") == "true", "count": fields.get("count"), "or_more": False,
    }  # fmt: skip


async def _form(
    pages: Pages,
    person: Person,
    store_id: str,
    endpoint_id: UUID,
    asked: ReplayAsked,
    *,
    preview: dict[str, Any] | None = None,
    failed: Failed | None = None,
) -> Response:
    endpoint = await ask(pages, "webhooks", f"/v1/endpoints/{endpoint_id}", store_id, person, "endpoint_unknown")
    return pages.page(
        "replay-new.html", failed.status if failed else 200, person=person, store_id=store_id, endpoint=endpoint,
        state=state_of(endpoint), path=path_of(store_id, endpoint_id), asked=asked, preview=preview, failed=failed,
        field_of=field_of, choices=ONLY, types=EVENT_TYPES, nonce=failed.nonce if failed else uuid4(),
    )  # fmt: skip


async def _page(
    pages: Pages,
    person: Person,
    store_id: str,
    endpoint_id: UUID,
    replay_id: UUID,
    *,
    done: str = "",
    failed: Failed | None = None,
) -> Response:
    check(person, store_id, VIEW)
    replay = await ask(pages, "webhooks", f"/v1/replays/{replay_id}", store_id, person, "replay_unknown")
    if replay["endpoint_id"] != str(endpoint_id):
        raise refusal("replay_unknown", "another endpoint has the replay")
    may = person.at(store_id).may(SCOPE)
    return pages.page(
        "replay.html", failed.status if failed else 200, person=person, store_id=store_id, replay=replay,
        path=path_of(store_id, endpoint_id), failed=failed, done=ACTIONS[done].title if done in ACTIONS else "",
        actions={name: one for name, one in ACTIONS.items() if may and replay["status"] in one.statuses},
        nonce=lambda name: failed.nonce if failed and failed.action == name else uuid4(),
    )  # fmt: skip
