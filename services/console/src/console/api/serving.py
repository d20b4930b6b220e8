"""What every page has in common: who asks, headers, and errors as pages.

A request that changes something has to come from a page of ours: browsers state it in `Sec-Fetch-Site`, older ones in
`Origin`. `same-site` is not enough: a cookie does not distinguish ports.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from chassis.batch.errors import QueryTimedOut, is_transient
from chassis.declare.app import About, App, Problems
from chassis.http.problems import Problem, known, unavailable
from console import sessions
from console.api.cells import Cells
from console.api.rendering import Clock, Templates
from console.assets import Assets
from console.domain.people import Person
from console.live.hub import Hub
from console.live.rows import RowsSource
from console.owners import Owners
from console.settings import Settings
from contracts.limits import CHARGED_LINES_MAX

log = structlog.get_logger("console.api")

SESSION: Final = "__Host-session"
NEXT: Final = "__Host-next"
"""Where a person was going when the session was over."""
NEXT_SECONDS: Final = 3_600
FIELDS_MAX: Final = CHARGED_LINES_MAX + 20
"""A form has one per line of an order, and a few others."""
SAFE: Final = frozenset({"GET", "HEAD"})
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
PROBLEMS: Final[Problems] = {
    "cross_origin": About(403, "Not from a page of the console", "Another site, or another port, has sent the request. Nothing was done.",
        "Use the form on the console's own page."),
    "action_unknown": About(404, "No such action", "An order has no action of this name.", "Use a form of its page."),
    "action_forbidden": About(403, "You may not do this", "None of your roles has the scope. Nothing was done.",
        "Ask whoever runs the console for another role."),
    "filter_invalid": About(400, "A filter cannot be used", "The address names a value that the filter does not have.",
        "Choose one in the form of the page."),
    "filter_too_wide": About(400, "Too many orders fit", "Some would be missing. Nothing was done.",
        "Narrow the search, or the time in which the orders were made."),
    "job_unknown": About(404, "No such job", "No store that you may see has a job of this id. A preview is stored for an hour.",
        "The page of jobs lists them; a list of orders begins one."),
    "job_not_yours": About(403, "Another person has begun this job", "It acts for that person, so only they resume it. Nothing was done.",
        "Begin a job of your own with the same filters."),
    "job_ended": About(409, "The job has ended", "It was done or cancelled meanwhile. Nothing was done.", "Begin another one."),
    "form_invalid": About(400, "The form cannot be read", "It has more fields than any form of the console.",
        "Load the page again, and send its form."),
    "link_used": About(410, "The link does not work any more", "It was used, is older than 10 minutes, or is not complete.",
        "An operator prints a new one: `python -m console sign-in`."),
    "channel_unknown": About(404, "Nothing to watch", "None of the channels exists, or you may see none of them.",
        "Load the page again."),
    "order_unknown": About(404, "No such order", "No store that you may see has an order of this id.",
        "Search for its number; a new order appears within a second."),
    "store_unknown": About(404, "No such store", "You may see no store of this name, or it has no orders.",
        "Choose one from the list of stores."),
    "too_many_streams": About(429, "Too many open pages", "The process serves as many live pages as it may.",
        "The page works without being live: load it again to see changes."),
}  # fmt: skip


class SignInNeeded(Exception):
    """There is no session, or it is over."""


class Pages:
    """What the pages share."""

    def __init__(self, app: App, clock: Clock) -> None:
        self.app, self.settings = app, cast(Settings, app.settings)
        self.assets = Assets()
        self.templates = Templates(self.assets, clock)
        self.owners = Owners(self.settings)
        rows = RowsSource(app, Cells(app, self.templates))
        self.hub = Hub(app, {"order": rows, "list": rows})

    async def person(self, request: Request) -> Person:
        """Returns who asks. Raises SignInNeeded."""
        found = await self.session(request.cookies.get(SESSION, ""))
        if found is None:
            raise SignInNeeded
        request.state.person = found
        return found

    async def session(self, token: str, *, seen: bool = True) -> Person | None:
        """Returns who has a session. seen: whether that is a sign of life of the person; a stream is none."""
        limits = {"idle_minutes": self.settings.session_idle_minutes, "hours_max": self.settings.session_hours_max}
        return await sessions.person_of(self.app, token, **limits, seen=seen) if token else None

    def page(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.templates.render(template, **values), status_code, {"cache-control": "no-store"})

    def problem(self, request: Request, problem: Problem) -> HTMLResponse:
        person = getattr(request.state, "person", None)
        about = PROBLEMS.get(problem.code)
        answer = self.page(
            "problem.html", problem.status, person=person, title=problem.title, status=problem.status,
            reason=HTTPStatus(problem.status).phrase, detail=problem.detail, remedy=about.remedy if about else "",
        )  # fmt: skip
        if problem.status == 503:
            answer.headers["retry-after"] = "1"
        return answer


def refusal(code: str, detail: str) -> Problem:
    about = PROBLEMS[code]
    return Problem(about.status, code, about.title, detail)


def route_of(pages: Pages) -> type[APIRoute]:
    """Returns the class of routes that answer with pages, also if they fail."""

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answered(request: Request) -> Response:
                try:
                    if request.method not in SAFE:
                        check_origin(request)
                    return await handle(request)
                except SignInNeeded:
                    return _to_sign_in(request)
                except Problem as problem:
                    return pages.problem(request, problem)
                except RequestValidationError as error:
                    return pages.problem(request, _unreadable(error))
                except Exception as error:
                    if isinstance(error, QueryTimedOut):
                        return pages.problem(request, known("query_timed_out", f"{error}; narrow the time"))
                    if is_transient(error):
                        return pages.problem(request, unavailable(error, "load the page again in a moment"))
                    log.error("page_failed", path=request.url.path, error=repr(error), exc_info=True)
                    return pages.problem(request, known("service_failed", "the operators see it in the log"))

            async def with_headers(request: Request) -> Response:
                response = await answered(request)
                response.headers.update(HEADERS)
                return response

            return with_headers

    return PageRoute


def check_origin(request: Request) -> None:
    """Raises Problem 403 unless the request comes from a page of the console."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
        raise refusal("cross_origin", f"the browser states that the request is {site[:20]}")
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host", ""):
        raise refusal("cross_origin", "the browser states no origin, or another one")


def _to_sign_in(request: Request) -> Response:
    answer = RedirectResponse("/sign-in", 303)
    if request.method in SAFE:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        answer.set_cookie(
            NEXT, quote(wanted[:2_000], safe=""), NEXT_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
        )
    return answer


def _unreadable(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:2]) or "the request"
    return refusal("filter_invalid", f"{name}: {first['msg']}")


async def form(request: Request) -> dict[str, str]:
    """Returns the fields of a form; of a repeated one the last. Raises Problem 400 if it has too many."""
    body = (await request.body()).decode("utf-8", "replace").replace("\0", "")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise refusal("form_invalid", f"it has more than {FIELDS_MAX} fields") from None
