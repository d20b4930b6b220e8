"""What every page has in common: who asks, headers, and errors as pages.

A request that changes something has to come from a page of ours: browsers state it in `Sec-Fetch-Site`, older ones in
`Origin`. `same-site` is not enough: a cookie does not distinguish ports.
"""

from __future__ import annotations

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
from chassis.declare.app import About, App, Problems
from chassis.http.problems import Problem, known, unavailable
from chassis.kafka.inspection import Inspector
from console import sessions
from console.api.bar import Bar
from console.api.cells import Cells
from console.api.rendering import Clock, Templates
from console.assets import Assets
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
PROBLEMS: Final[Problems] = {
    "cross_origin": About(403, "Not from a page of the console", "Another site, or another port, has sent the request. Nothing was done.",
        "Use the form on the console's own page."),
    "action_unknown": About(404, "No such action", "An order has no action of this name.", "Use a form of its page."),
    "action_forbidden": About(403, "You may not do this", "None of your roles has the scope. Nothing was done.",
        "Ask whoever runs the console for another role."),
    "delivery_unknown": About(404, "No such delivery", "The event was not sent to the endpoint, or longer than 90 days ago.",
        "Choose one from the page of the endpoint."),
    "endpoint_unknown": About(404, "No such endpoint", "No store that you may see has an endpoint of this id.",
        "Choose one from the list of endpoints."),
    "filter_invalid": About(400, "A filter cannot be used", "The address names a value that the filter does not have.",
        "Choose one in the form of the page."),
    "filter_too_wide": About(400, "Too many orders fit", "Some would be missing. Nothing was done.",
        "Narrow the search, or the time in which the orders were made."),
    "job_unknown": About(404, "No such job", "No store that you may see has a job of this id. A preview is stored for an hour.",
        "The page of jobs lists them; a list of orders begins one."),
    "job_not_yours": About(403, "Another person has begun this job", "It acts for that person, so only they resume it. Nothing was done.",
        "Begin a job of your own with the same filters."),
    "job_ended": About(409, "The job has ended", "It was done or cancelled meanwhile. Nothing was done.", "Begin another one."),
    "id_token_invalid": About(502, "The identity provider's answer is not accepted",
        "Its ID token is not signed by it, not for this console, not of this sign-in, or expired. No session has begun.",
        "Sign in again. If it stays so, whoever runs the console compares CONSOLE_OIDC_ISSUER, CONSOLE_OIDC_CLIENT_ID and the clocks."),
    "provider_silent": About(503, "The identity provider does not answer", "It cannot be reached, or has no answer in time. No session has begun.",
        "Try again in a moment. Until then whoever runs the console prints one-time links: `python -m console sign-in`."),
    "provider_unusable": About(502, "The identity provider cannot be used", "Its answer, or how the console is registered there, is wrong.",
        "Whoever runs the console compares the settings CONSOLE_OIDC_* with the provider, and reads the log; one-time links go on working."),
    "role_missing": About(403, "You have no role here", "The identity provider has signed you in, but none of your groups has a role in the console.",
        "Ask whoever runs the console to grant one of your groups a role: `python -m console apply`."),
    "sign_in_outdated": About(400, "This sign-in is over", "It began in another browser, or more than 10 minutes ago, or it has ended.",
        "Sign in again from the page of this console."),
    "sign_in_refused": About(403, "The identity provider has not signed you in", "It has refused, or you have stopped.",
        "Sign in again, or ask whoever runs the provider to let you use this console."),
    "person_unknown": About(404, "No such person", "No person of this id was ever let in.", "Choose one on the page of people."),
    "form_invalid": About(400, "The form cannot be read", "It has more fields than any form of the console.",
        "Load the page again, and send its form."),
    "message_unknown": About(404, "No such message", "No store that you may see has a parked message of this id.",
        "Choose one from the list of parked messages."),
    "broker_silent": About(503, "Kafka does not answer", "The messages on topics cannot be read now. Everything else works.",
        "Load the page again in a moment. If it stays so, whoever runs the console checks CONSOLE_KAFKA_BOOTSTRAP_SERVERS."),
    "record_unknown": About(404, "No such message", "The topic has no record at this offset, or not any more, or it is of a store that you may not see.",
        "Go back to the messages of the topic; a topic retains them for some days."),
    "link_used": About(410, "The link does not work any more", "It was used, is older than 10 minutes, or is not complete.",
        "An operator prints a new one: `python -m console sign-in`."),
    "channel_unknown": About(404, "Nothing to watch", "None of the channels exists, or you may see none of them.",
        "Load the page again."),
    "order_unknown": About(404, "No such order", "No store that you may see has an order of this id.",
        "Search for its number; a new order appears within a second."),
    "service_silent": About(503, "A service does not answer", "The page shows what another service has, and that one has not answered. Nothing was done.",
        "Load the page again in a moment; see the health of the service."),
    "service_unset": About(503, "A service is not set up", "The console has no address or no API key of the service whose data the page shows.",
        "Whoever runs the console sets them, and starts it again."),
    "replay_unknown": About(404, "No such replay", "The endpoint has no replay of this id.", "Choose one from the page of the endpoint."),
    "store_unknown": About(404, "No such store", "You may see no store of this name, or it has no orders.",
        "Choose one from the list of stores."),
    "too_many_streams": About(429, "Too many open pages", "The process serves as many live pages as it may.",
        "The page works without being live: load it again to see changes."),
}  # fmt: skip


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
        self.owners = Owners(self.settings)
        self.bar = Bar(app, self.owners)
        self.inspector = Inspector(self.settings, int(self.settings.ask_seconds_max * 1_000))
        self.tail = Tail(self.inspector)
        rows = RowsSource(app, Cells(app, self.templates))
        self.hub = Hub(app, {"order": rows, "list": rows})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.owners.running():
            try:
                yield
            finally:
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


def refusal(code: str, detail: str) -> Problem:
    about = PROBLEMS[code]
    return Problem(about.status, code, about.title, detail)


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


async def form_text(request: Request) -> str:
    """Returns a form as the browser sent it."""
    return (await request.body()).decode("utf-8", "replace").replace("\0", "")
