"""The page of one group of parked messages: the preview of its replay. A job replays it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from chassis.http.paging import ROW_MAX
from console import audit, group_jobs, parked
from console.api import requesting
from console.api.parked import Given, Service, chosen_store, groups_of, numbers_of
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.serving import Pages, demand, form
from console.audit import Subject
from console.domain.bulk import REPLAY
from console.domain.parked import EDIT_SCOPE, Group, cause_of
from console.domain.people import Person
from console.domain.wanted import reason_of
from contracts.base import Code, Text

ROWS: Final = 50


class AskedGroup(BaseModel):
    cause: Code
    line: Text = ""
    store: Annotated[Code | None, Given] = None


class Frozen(AskedGroup):
    """A group as its preview has frozen it."""

    id_max: int = Field(ge=0, le=ROW_MAX)
    """The newest message of the group when its preview was made: what is parked later is not in it."""
    count: int = Field(ge=0, le=ROW_MAX)


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/parked/{service}/group")
    async def preview(service: Service, asked: Annotated[AskedGroup, Query()], person: SignedIn) -> Response:
        """Freezes the group at the newest message that waits now."""
        group, store = Group(service, asked.cause, asked.line), chosen_store(person, asked.store)
        found = await parked.collect(pages.owners, person, store, "/v1/parked-groups", [service])
        counted = next((one for one in groups_of(found) if _is(one, group)), None)
        values: dict[str, Any] = {
            "person": person, "group": group, "store": store, "cause": cause_of(group.cause), "silent": found.silent, "counted": counted,
            "messages_max": group_jobs.JOB_MESSAGES_MAX,
        }  # fmt: skip
        if counted is None:
            return pages.page("parked-group.html", 503 if found.silent else 200, **values)
        path = group.path(id_max=counted["newest_id"], limit=ROWS)
        rows = parked.merged(await parked.collect(pages.owners, person, store, path, [service]))
        values |= {"rows": rows, "numbers": await numbers_of(pages, person, rows)}
        return pages.page("parked-group.html", **values, nonce=uuid4(), may_edit=person.at(store).may(EDIT_SCOPE))

    @router.post("/parked/{service}/group/replay")
    async def replay(request: Request, service: Service, person: SignedIn) -> Response:
        """Begins the job that replays a frozen group, and shows it."""
        fields = await form(request)
        store = chosen_store(person, fields.get("store"))
        demand(person.at(store), EDIT_SCOPE)
        try:
            frozen = Frozen.model_validate(fields)
        except ValueError:
            raise refusal("form_invalid", "it does not state the messages of its preview") from None
        group, reason, nonce = Group(service, frozen.cause, frozen.line), reason_of(fields), requesting.nonce_of(fields)
        subject = Subject("parked", f"{service}/{group.cause}/{group.line}", store)
        await audit.asked(pages.app, nonce, person, subject, REPLAY, reason)
        filters = query({"cause": group.cause, "line": group.line, "store": store})
        counted = group_jobs.Frozen(group, frozen.id_max, frozen.count)
        job_id = await group_jobs.begin(pages.app, nonce, person, store, counted, filters, reason)
        await audit.ended(pages.app, nonce, person, "done")
        return RedirectResponse(f"/jobs/{job_id}", 303)


def _is(counted: Mapping[str, Any], group: Group) -> bool:
    return (counted["cause"], counted["raised_at"] or "") == (group.cause, group.line)
