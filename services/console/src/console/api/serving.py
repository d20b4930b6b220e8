"""What every page has in common: who asks, headers, and errors as pages.

A request that changes something has to come from a page of ours: browsers state it in `Sec-Fetch-Site`, older ones in
`Origin`. `same-site` is not enough: a cookie does not distinguish ports.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Annotated, Any, Final, cast
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from fastapi import Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from chassis.batch.errors import QueryTimedOut, is_transient
from chassis.declare.app import App
from chassis.http.problems import Problem, known, unavailable
from chassis.kafka.inspection import Inspector
from console import itself, sessions
from console.api.bar import Bar
from console.api.cells import Cells
from console.api.refusals import PROBLEMS, refusal
from console.api.rendering import Clock, Templates
from console.assets import Assets
from console.domain import uploads
from console.domain.people import Person
from console.domain.unsent import UNSENT_CHARACTERS_MAX, Unsent
from console.live.hub import Hub
from console.live.rows import RowsSource
from console.owners import Owners
from console.sessions import Session
from console.settings import Settings
from console.tailing import Tail
from contracts.limits import CHARGED_LINES_MAX

log = structlog.get_logger("console.api")

SESSION: Final = "__Host-session"
NEXT: Final = "__Host-next"
"""Where a person was going when the session was over."""
NEXT_SECONDS: Final = 3_600
ADDRESS_CHARACTERS_MAX: Final = 2_000
FIELDS_MAX: Final = CHARGED_LINES_MAX + 20
"""A form has one per line of an order, and a few others."""
SAFE: Final = frozenset({"GET", "HEAD"})
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
UNSENT: Final[ContextVar[Unsent | None]] = ContextVar("unsent", default=None)
"""The form that waits on the page of this request, if one does."""
Part = Annotated[str, Header(alias="x-fragment", max_length=40)]
"""The part of the page that a script loads anew; empty: all of it."""


class SignInNeeded(Exception):
    """There is no session, or it is over."""


class Pages:
    """What the pages share."""

    def __init__(self, app: App, clock: Clock) -> None:
        self.app, self.settings, self.clock = app, cast(Settings, app.settings), clock
        self.limits = sessions.Limits(
            self.settings.session_idle_minutes, self.settings.session_hours_max, self.settings.oidc_issuer
        )
        self.assets = Assets()
        self.templates = Templates(self.assets, clock)
        self.owners = Owners(self.settings, itself.parked_messages(app))
        self.bar = Bar(app, self.owners)
        self.inspector = Inspector(self.settings, int(self.settings.ask_seconds_max * 1_000))
        self.tail = Tail(self.inspector)
        rows = RowsSource(app, Cells(app, self.templates))
        self.hub = Hub(app, {"order": rows, "list": rows})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.owners.running():
            learning = asyncio.create_task(self.bar.learn())
            try:
                yield
            finally:
                learning.cancel()
                await self.bar.close()
                await self.inspector.close()

    async def person(self, request: Request) -> Person:
        """Returns who asks. Raises SignInNeeded, Problem 403 for a person without any role."""
        token = request.cookies.get(SESSION, "")
        found = await self.session(token)
        if found is None:
            raise SignInNeeded
        person, unsent = found
        request.state.person = person
        if not person.grants:
            raise refusal("role_missing", f"you are signed in as {person.name}")
        if unsent is not None and request.method not in SAFE and request.url.path == unsent.path:
            await sessions.sent(self.app, token)
        elif unsent is not None and request.url.path == urlsplit(unsent.page).path:
            UNSENT.set(unsent)
        return person

    async def session(self, token: str, *, seen: bool = True) -> Session | None:
        """Returns who has a session. seen: whether that is a sign of life of the person; a stream is none."""
        return await sessions.find(self.app, token, self.limits, self.clock(), seen=seen) if token else None

    def page(
        self, template: str, status_code: int = 200, *, person: Person | None, part: str = "", **values: Any
    ) -> HTMLResponse:
        """part: only the block of the template that has this name; see `Part`."""
        bar = self.bar.of(person) if person is not None else ()
        text = self.templates.render(template, part=part, unsent=UNSENT.get(), person=person, bar=bar, **values)
        return HTMLResponse(text, status_code, {"cache-control": "no-store"})

    async def to_sign_in(self, request: Request) -> Response:
        """Redirects to the sign-in, which redirects back. A form that was sent too late is stored with the session that is over."""
        if request.method in SAFE:
            wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        else:
            wanted = page_of_form(request)
            await self._keep(request, wanted)
        answer = RedirectResponse("/sign-in", 303)
        set_cookie(answer, NEXT, quote(wanted[:ADDRESS_CHARACTERS_MAX], safe=""), NEXT_SECONDS)
        return answer

    async def _keep(self, request: Request, page: str) -> None:
        if uploads.has_files(request.headers.get("content-type", "")):
            return  # the person chooses the file again
        token, body = request.cookies.get(SESSION, ""), await form_text(request)
        if token and page and len(body) <= UNSENT_CHARACTERS_MAX:
            await sessions.keep(self.app, token, Unsent(page, request.url.path, body), self.limits, self.clock())

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


def demand(person: Person, scope: str) -> None:
    """Raises Problem 403 if the person lacks a scope."""
    if not person.may(scope):
        raise refusal("action_forbidden", f"it needs the scope {scope}")


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
                    return await pages.to_sign_in(request)
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
                UNSENT.set(None)
                response = await answered(request)
                response.headers.update(HEADERS)
                response.headers.setdefault("cache-control", "no-store")
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


def page_of_form(request: Request) -> str:
    """Returns the address of the page whose form was sent: browsers state it for pages of the same origin. Empty: unknown."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host", ""):
        return ""
    return own_address(referer.path + (f"?{referer.query}" if referer.query else ""))


def own_address(text: str) -> str:
    """Returns a path of ours, as it is; empty for anything that a browser may take for the address of another site."""
    own = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if own else ""


def set_cookie(answer: Response, name: str, value: str, seconds: int | None = None) -> None:
    """seconds: null: until the browser is closed."""
    answer.set_cookie(name, value, seconds, path="/", secure=True, httponly=True, samesite="lax")


def delete_cookie(answer: Response, name: str) -> None:
    answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def _unreadable(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:2]) or "the request"
    return refusal("filter_invalid", f"{name}: {first['msg']}")


async def form(request: Request) -> dict[str, str]:
    """Returns the fields of a form; of a repeated one the last. Raises Problem 400 if it has too many."""
    try:
        return dict(parse_qsl(await form_text(request), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise refusal("form_invalid", f"it has more than {FIELDS_MAX} fields") from None


async def form_with_files(request: Request) -> dict[str, bytes]:
    """Returns the fields of a form that may have files, as their bytes. Raises Problem 400."""
    if not uploads.has_files(request.headers.get("content-type", "")):
        return {name: text.encode() for name, text in (await form(request)).items()}
    try:
        return uploads.parts(request.headers["content-type"], await request.body(), FIELDS_MAX)
    except ValueError as error:
        raise refusal("form_invalid", str(error)) from None


async def form_text(request: Request) -> str:
    """Returns a form as the browser sent it."""
    return (await request.body()).decode("utf-8", "replace").replace("\0", "")
