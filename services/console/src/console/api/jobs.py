"""Pages of jobs: the preview of one, the list, the results of its orders or messages; start, pause, resume and cancel."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from console import audit, jobs
from console.api import requesting
from console.api.orders import seen_stores, store_of
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import Failed
from console.api.serving import Pages, Part, form
from console.audit import Subject
from console.domain import bulk
from console.domain.people import PERSONAL, Person
from console.jobs import MOVES, RUNNING, Job
from console.listing import Asked

Move = Literal["pause", "resume", "cancel"]
Shown = Literal["all", "waits", "done", "refused"]


class AskedJob(Asked):
    action: str = ""
    """That the form has chosen already."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/jobs")
    async def newest(person: SignedIn, cursor: str | None = None) -> Response:
        stores = sorted(person.stores) if person.stores is not None else None
        page = await jobs.newest(pages.app, stores, cursor)
        return pages.page(
            "jobs.html", person=person, jobs=page["items"], next_cursor=page["next_cursor"], titles=_titles()
        )

    @router.get("/jobs/new")
    async def preview(asked: Annotated[AskedJob, Query()], person: SignedIn) -> Response:
        """Freezes the orders that fit now. The preview is stored: its address shows the same orders an hour long."""
        store = store_of(asked, await seen_stores(pages, person))
        if store is None:
            raise refusal("store_unknown", "no store has orders yet")
        if not bulk.offered(person.at(store)):
            raise refusal("action_forbidden", "none of your roles has an action for orders")
        filters = query(asked.model_dump(mode="json", exclude_defaults=True, exclude={"cursor", "action", "column"}))
        job_id = await jobs.freeze(pages.app, person, store, asked, filters, personal=person.at(store).may(PERSONAL))
        return await _preview(pages, person, await _job(pages, person, str(job_id)), {"action": asked.action})

    @router.get("/jobs/{job_id}")
    async def one(
        job_id: str, person: SignedIn, show: Shown = "all", cursor: str | None = None, part: Part = ""
    ) -> Response:
        job = await _job(pages, person, job_id)
        if job.state == "preview":
            return await _preview(pages, person, job, {})
        return await _page(pages, person, job, show=show, cursor=cursor, part=part)

    @router.post("/jobs/{job_id}/start")
    async def start(request: Request, job_id: str, person: SignedIn) -> Response:
        job, fields = await _job(pages, person, job_id), await form(request)
        action = fields.get("action", "")
        if action not in bulk.BULK:
            raise refusal("action_unknown", "choose what is to be done with the orders")
        _check(person, job, action)
        try:
            bulk.complete(action, fields)
        except ValueError as error:
            return await _preview(pages, person, job, fields, requesting.incomplete(action, fields, error))
        if job.state == "preview":
            nonce = requesting.nonce_of(fields)
            await audit.asked(pages.app, nonce, person, _subject(job), f"start_{action}", fields.get("reason", ""))
            await jobs.start(pages.app, job.id, person.at(job.store_id), action, fields)
            await audit.ended(pages.app, nonce, person, "done")
        return RedirectResponse(f"/jobs/{job.id}", 303)

    @router.post("/jobs/{job_id}/{move}")
    async def move(request: Request, job_id: str, move: Move, person: SignedIn) -> Response:
        job, fields = await _job(pages, person, job_id), await form(request)
        if job.state not in RUNNING:
            raise refusal("job_ended", f"it is {job.state}")
        _check(person, job, job.action)
        if move == "resume" and job.person_id != person.id:
            raise refusal("job_not_yours", f"{job.person} has begun it")
        nonce = requesting.nonce_of(fields)
        await audit.asked(pages.app, nonce, person, _subject(job), f"{move}_job", fields.get("reason", ""))
        done = await jobs.move(pages.app, job.id, move)
        await audit.ended(pages.app, nonce, person, "done" if done else "job_ended")
        return RedirectResponse(f"/jobs/{job.id}", 303)


async def _job(pages: Pages, person: Person, job_id: str) -> Job:
    """Returns a job that the person may see; a preview only of their own. Raises Problem 404."""
    try:
        key = UUID(job_id)
    except ValueError:
        raise refusal("job_unknown", "the id of a job is a UUID") from None
    job = await jobs.one(pages.app, key)
    if job is None or not job.is_seen_by(person) or (job.state == "preview" and job.person_id != person.id):
        raise refusal("job_unknown", f"there is no job {key}")
    return job


async def _preview(
    pages: Pages, person: Person, job: Job, fields: Mapping[str, str], failed: Failed | None = None
) -> Response:
    actions = bulk.offered(person.at(job.store_id))
    chosen = fields.get("action", "")
    return pages.page(
        "job-new.html", failed.status if failed else 200, person=person, job=job, actions=actions, failed=failed, fields=fields,
        chosen=chosen if chosen in actions else "", nonce=uuid4(), first=await jobs.first_orders(pages.app, job.id),
        orders_max=jobs.JOB_ORDERS_MAX, hours=jobs.PREVIEW_HOURS,
    )  # fmt: skip


async def _page(pages: Pages, person: Person, job: Job, *, show: Shown, cursor: str | None, part: str) -> Response:
    states = jobs.STATES if show == "all" else (show,)
    page = await jobs.results(pages.app, job, states, cursor)
    here = person.at(job.store_id or None)
    moves = [
        name
        for name, (_, before) in MOVES.items()
        if job.state in before and here.may(bulk.OF_JOBS[job.action].scope) and (name != "resume" or job.person_id == person.id)
    ]  # fmt: skip
    values: dict[str, Any] = {
        "person": person, "job": job, "action": bulk.OF_JOBS[job.action], "moves": moves, "nonce": uuid4, "show": show,
        "shows": get_args(Shown), "results": page["items"], "next_cursor": page["next_cursor"], "running": job.state in RUNNING,
    }  # fmt: skip
    return pages.page("job.html", part=part, **values)


def _check(person: Person, job: Job, action: str) -> None:
    scope = bulk.OF_JOBS[action].scope
    if not person.at(job.store_id or None).may(scope):
        raise refusal("action_forbidden", f"it needs the scope {scope}")


def _subject(job: Job) -> Subject:
    return Subject("job", str(job.id), job.store_id or None)


def _titles() -> Mapping[str, str]:
    return {name: action.title for name, action in bulk.OF_JOBS.items()}
