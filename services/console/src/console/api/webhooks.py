"""The pages of webhooks: the endpoints of a store, and one of them with what was sent and what can be requested for it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ARRAY, Uuid, bindparam, text

from console.api import requesting
from console.api.asking import ask, found
from console.api.filters import Moment, field_of, linked
from console.api.orders import seen_stores
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import Failed
from console.api.serving import Pages, demand, form
from console.audit import Subject
from console.domain import words
from console.domain.endpoints import (
    ACTIONS,
    EVENT_TYPES,
    OVERLAP_HOURS,
    SCOPE,
    counted_before_resuming,
    state_of,
    wanted_of,
)  # fmt: skip
from console.domain.people import Person
from contracts.base import Code, Text

VIEW = "webhooks.view"
ENDPOINTS = 100
"""That a page of the list has."""
ATTEMPTS = 50
REPLAYS = 5
Outcome = Literal["delivered", "failed", "returned", "exhausted"]
NUMBERS = text("select order_id, number from order_rows where store_id = :store and order_id = any(:keys)").bindparams(
    bindparam("keys", type_=ARRAY(Uuid))
)
KEY = text("select order_id from order_rows where store_id = :store and number_folded = :number limit 1")
NO_ORDER = UUID(int=0)


class EndpointsAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    store: Code | Literal[""] = ""
    cursor: str | None = None


class AttemptsAsked(BaseModel):
    """The filters of the attempts of an endpoint; empty: any."""

    model_config = ConfigDict(extra="forbid")

    status: Outcome | Literal[""] = ""
    type: Text = ""
    order: Text = ""
    """Its number or its id."""
    since: Moment = None
    until: Moment = None
    cursor: str | None = None
    done: str = ""
    """The action that led here."""


def path_of(store_id: str, endpoint_id: UUID) -> str:
    return f"/webhooks/{store_id}/{endpoint_id}"


def subject_of(store_id: str, endpoint_id: UUID) -> Subject:
    return Subject("endpoint", str(endpoint_id), store_id)


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/webhooks")
    async def endpoints(asked: Annotated[EndpointsAsked, Query()], person: SignedIn) -> Response:
        demand(person, VIEW)
        stores = await seen_stores(pages, person)
        store = asked.store or next(iter(stores), "")
        if asked.store and not person.sees(asked.store):
            raise refusal("store_unknown", f"{asked.store} is none of your stores")
        path = "/v1/endpoints?" + query({"limit": ENDPOINTS, "cursor": asked.cursor})
        page = await ask(pages, "webhooks", path, store, person, "store_unknown") if store else {}
        return pages.page(
            "endpoints.html", person=person, store=store, stores=stores, asked=asked, link=linked("/webhooks", asked),
            endpoints=page.get("items", ()), next_cursor=page.get("next_cursor"), state_of=state_of, path_of=path_of,
        )  # fmt: skip

    @router.get("/webhooks/{store_id}/{endpoint_id}")
    async def endpoint(
        store_id: Code, endpoint_id: UUID, asked: Annotated[AttemptsAsked, Query()], person: SignedIn
    ) -> Response:
        return await endpoint_page(pages, person, store_id, endpoint_id, asked)

    @router.post("/webhooks/{store_id}/{endpoint_id}/actions/{action}")
    async def act(request: Request, store_id: Code, endpoint_id: UUID, action: str, person: SignedIn) -> Response:
        check(person, store_id, SCOPE)
        if action not in ACTIONS:
            raise refusal("action_unknown", f"{action} is no action of an endpoint")
        fields = await form(request)
        if action == "resume" and fields.get("step") == "count":
            return await _counted(pages, person, store_id, endpoint_id, fields)
        try:
            wanted = wanted_of(action, endpoint_id, fields)
        except ValueError as error:
            failed = requesting.incomplete(action, fields, error)
            return await endpoint_page(pages, person, store_id, endpoint_id, failed=failed)
        outcome = await requesting.request(pages, person, subject_of(store_id, endpoint_id), action, wanted, fields)
        if isinstance(outcome, Failed):
            return await endpoint_page(pages, person, store_id, endpoint_id, failed=outcome)
        if action == "test":
            return await endpoint_page(pages, person, store_id, endpoint_id, tested=outcome.body)
        if action == "rotate":  # the only answer that has the secret: nothing else shows it again
            return await endpoint_page(pages, person, store_id, endpoint_id, secret=outcome.body["secret"])
        return RedirectResponse(f"{path_of(store_id, endpoint_id)}?done={action}", 303)


def check(person: Person, store_id: str, scope: str) -> None:
    """Raises Problem: 404 for a store that the person may not see, as for one that does not exist; 403 without the scope in it."""
    if not person.sees(store_id):
        raise refusal("endpoint_unknown", f"{store_id} has no such endpoint")
    demand(person.at(store_id), scope)


async def _counted(
    pages: Pages, person: Person, store_id: str, endpoint_id: UUID, fields: Mapping[str, str]
) -> Response:
    """Counts what would be sent if the endpoint were resumed; nothing is changed, so nothing is audited."""
    kept = {"action": "resume", "fields": fields}
    try:
        wanted = counted_before_resuming(endpoint_id, fields)
    except ValueError as error:
        failed = requesting.incomplete("resume", fields, error)
        return await endpoint_page(pages, person, store_id, endpoint_id, failed=failed)
    outcome = await pages.owners.send(wanted, store_id, person, uuid4())
    if not outcome.done:
        failed = requesting.failure("resume", fields, wanted, outcome)
        return await endpoint_page(pages, person, store_id, endpoint_id, failed=failed)
    return await endpoint_page(pages, person, store_id, endpoint_id, counted=kept | outcome.body["to_deliver"])


async def endpoint_page(
    pages: Pages,
    person: Person,
    store_id: str,
    endpoint_id: UUID,
    asked: AttemptsAsked | None = None,
    *,
    failed: Failed | None = None,
    **results: Any,
) -> Response:
    """results: what an action has brought, by its name in the template."""
    check(person, store_id, VIEW)
    asked = asked or AttemptsAsked()
    wanted = await _attempts_path(pages, store_id, endpoint_id, asked)
    of_endpoint, of_attempts, of_replays = await asyncio.gather(*(
        pages.owners.read("webhooks", path, store_id, person)
        for path in (
            f"/v1/endpoints/{endpoint_id}", wanted, f"/v1/replays?{query({'endpoint': endpoint_id, 'limit': REPLAYS})}",
        )
    ))  # fmt: skip
    endpoint = found("webhooks", of_endpoint, "endpoint_unknown")
    attempts = found("webhooks", of_attempts, "endpoint_unknown")
    state = state_of(endpoint)
    offered = (
        {name: one for name, one in ACTIONS.items() if state in one.states} if person.at(store_id).may(SCOPE) else {}
    )
    values: dict[str, Any] = {
        "person": person, "store_id": store_id, "endpoint": endpoint, "state": state, "actions": offered,
        "path": path_of(store_id, endpoint_id), "asked": asked, "link": linked(path_of(store_id, endpoint_id), asked),
        "attempts": attempts["items"], "next_cursor": attempts["next_cursor"], "outcomes": get_args(Outcome),
        "numbers": await numbers_of(pages, store_id, attempts["items"]), "types": EVENT_TYPES, "overlaps": OVERLAP_HOURS,
        "replays": of_replays.body["items"] if of_replays.state == "answered" else (), "field_of": field_of,
        "done": {"change": "Change"}.get(asked.done) or (ACTIONS[asked.done].title if asked.done in ACTIONS else ""), "failed": failed,
        "nonce": lambda name: failed.nonce if failed and failed.action == name else uuid4(),
    }  # fmt: skip
    results = {"counted": None, "tested": None, "secret": None} | results
    return pages.page("endpoint.html", failed.status if failed else 200, **values, **results)


async def _attempts_path(pages: Pages, store_id: str, endpoint_id: UUID, asked: AttemptsAsked) -> str:
    filters = {
        "endpoint": endpoint_id, "status": asked.status, "type": asked.type.strip(), "limit": ATTEMPTS, "cursor": asked.cursor,
        "order_id": await _order_id(pages, store_id, asked.order.strip()),
        "since": asked.since and asked.since.isoformat(), "until": asked.until and asked.until.isoformat(),
    }  # fmt: skip
    return f"/v1/attempts?{query(filters)}"


async def _order_id(pages: Pages, store_id: str, order: str) -> UUID | None:
    """Returns the id of an order that is named by its id or its number; NO_ORDER if there is none, None without a name."""
    if not order:
        return None
    try:
        return UUID(order)
    except ValueError:
        rows = await pages.app.read(KEY.bindparams(store=store_id, number=words.folded(order)))
        return rows[0]["order_id"] if rows else NO_ORDER


async def numbers_of(pages: Pages, store_id: str, attempts: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Returns the number of each order that attempts are about, by its id."""
    keys = list({UUID(one["subject"]) for one in attempts})
    rows = await pages.app.read(NUMBERS.bindparams(store=store_id, keys=keys)) if keys else ()
    return {str(row["order_id"]): row["number"] for row in rows}
