"""The pages of one group of parked messages: the preview of its replay, and how far the replay came."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from console import audit, parked
from console.api import requesting
from console.api.parked import Given, Service, chosen_store, groups_of, numbers_of
from console.api.refusals import refusal
from console.api.serving import Pages, demand, form
from console.audit import Subject
from console.domain.parked import EDIT_SCOPE, Group, cause_of
from console.domain.people import Person
from console.domain.wanted import Wanted, reason_of
from contracts.base import Code, Text

ROWS: Final = 50
REPLAYED_AT_ONCE: Final = 20
"""Messages of one request: a service answers in much less time than a request may take."""
REPLAY_SECONDS_MAX: Final = 4.0
"""No further request is sent then: the page states how far it came, and a button goes on."""


class AskedGroup(BaseModel):
    cause: Code
    line: Text = ""
    store: Annotated[Code | None, Given] = None


class Carried(BaseModel):
    """A frozen group, and how far its replay came: a form carries it from request to request."""

    id_max: int = Field(ge=0, lt=2**63)
    """The newest message of the group when its preview was made: what is parked later is not in it."""
    count: int = Field(ge=0)
    """Messages of the preview."""
    replayed: int = Field(0, ge=0)
    stopped: int = Field(0, ge=0)
    """Failed again, or one of its key before it did."""
    cursor: str = Field("", max_length=500)
    """Where the list goes on; empty: at its beginning, or it has ended."""


class Progress(Carried):
    failures: list[Any] = []
    """Messages of this request that are not through: `id`, `outcome` and `detail` of each."""
    why: str = ""
    """Why the service has not answered."""

    def count_in(self, items: Sequence[Mapping[str, Any]]) -> None:
        """A message that another person has settled meanwhile is neither replayed here nor stopped."""
        failures = [one for one in items if one["outcome"] in ("stopped", "unreplayable")]
        self.replayed += sum(one["outcome"] == "replayed" for one in items)
        self.stopped += len(failures)
        self.failures += failures


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
        }  # fmt: skip
        if counted is None:
            return pages.page("parked-group.html", 503 if found.silent else 200, **values)
        path = group.path(id_max=counted["newest_id"], limit=ROWS)
        rows = parked.merged(await parked.collect(pages.owners, person, store, path, [service]))
        values |= {"rows": rows, "numbers": await numbers_of(pages, person, rows)}
        return pages.page("parked-group.html", **values, nonce=uuid4(), may_edit=person.at(store).may(EDIT_SCOPE))

    @router.post("/parked/{service}/group/replay")
    async def replay(request: Request, service: Service, person: SignedIn) -> Response:
        fields = await form(request)
        group, store = (
            Group(service, fields.get("cause", ""), fields.get("line", "")),
            chosen_store(person, fields.get("store")),
        )
        demand(person.at(store), EDIT_SCOPE)
        progress = await _replayed(pages, person, group, store, fields)
        return pages.page(
            "parked-group.html", 503 if progress.why else 200, person=person, group=group, store=store, cause=cause_of(group.cause),
            silent={service: progress.why} if progress.why else {}, counted=None, progress=progress, nonce=uuid4(),
            carried=progress.model_dump(include={*Carried.model_fields}),
        )  # fmt: skip


def _is(counted: Mapping[str, Any], group: Group) -> bool:
    return (counted["cause"], counted["raised_at"] or "") == (group.cause, group.line)


async def _replayed(
    pages: Pages, person: Person, group: Group, store: str | None, fields: Mapping[str, str]
) -> Progress:
    """Replays a frozen group for at most REPLAY_SECONDS_MAX; with a row in the audit. Raises Problem 400."""
    try:
        progress = Progress(**Carried.model_validate(fields).model_dump())
    except ValueError:
        raise refusal("form_invalid", "it does not state the messages of its preview") from None
    nonce, reason = requesting.nonce_of(fields), reason_of(fields)
    subject = Subject("parked", f"{group.service}/{group.cause}/{group.line}", store)
    await audit.asked(pages.app, nonce, person, subject, "replay_group", reason)
    ends_at, goes_on = monotonic() + REPLAY_SECONDS_MAX, True
    while goes_on and not progress.why:
        progress.why = await _replay_next(pages, person, group, store, progress, reason)
        goes_on = bool(progress.cursor) and monotonic() < ends_at
    await audit.ended(pages.app, nonce, person, "silent" if progress.why else "done")
    return progress


async def _replay_next(
    pages: Pages, person: Person, group: Group, store: str | None, progress: Progress, reason: str
) -> str:
    """Replays the next messages of the list; returns why the service has not done it, empty if it has."""
    path = group.path(id_max=progress.id_max, limit=REPLAYED_AT_ONCE, cursor=progress.cursor or None)
    listed = await pages.owners.read(group.service, path, store, person)
    if listed.state != "answered":
        return parked.why_silent(listed) or "it does not list the group"
    if ids := [one["id"] for one in listed.body["items"]]:
        wanted = Wanted(group.service, "POST", "/v1/parked-replays", {"ids": ids}, reason)
        outcome = await pages.owners.send(wanted, store, person, uuid4())
        if not outcome.done:
            return outcome.detail or "it has not answered"
        progress.count_in(outcome.body["items"])
    progress.cursor = listed.body["next_cursor"] or ""
    return ""
