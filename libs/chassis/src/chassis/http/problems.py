"""Errors are answered as RFC 9457 problem+json, and each kind of problem has a page under /problems/.

A problem states what is wrong, where, and how to fix it. It never repeats input that may be personal, and never shows a
traceback, an error of the driver or SQL: only the log has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from chassis.batch.errors import CatchingUp, OutcomeUnknown, QueryTimedOut, is_transient
from chassis.declare.app import About, Members, Problems, Rendered

PROBLEM: Final = "application/problem+json"


_CURSOR = "Use next_cursor of the page before, unchanged, with the same list; leave the cursor out to begin anew."
PROBLEMS: Final[Problems] = MappingProxyType({
    # -- who asks
    "api_key_missing": About(401, "An API key is needed", "The request carries no API key.",
        "Send the header `Authorization: Bearer <key>`. An operator makes keys with `python -m <service> api-key create`."),
    "api_key_unknown": About(401, "No such API key", "The key is misspelt, revoked, or belongs to another service.",
        "Use a key of this service; `python -m <service> api-key list` shows those that exist."),
    "scope_missing": About(403, "The key does not have this scope", "The key is valid, but it may not make this call.",
        "Use a key with the scope that the detail names."),
    "actor_forbidden": About(403, "The key may not act for a person",
        "The request has `X-Act-As` or `X-Act-As-Scopes`, and its key does not have the scope `act_as`.",
        "Leave the headers out, or use a key with the scope `act_as`; `*` does not include it."),
    "actor_invalid": About(400, "It is not stated for whom the key acts", "`X-Act-As` or `X-Act-As-Scopes` is missing or cannot be read.",
        "Send both: the subject of the person, 1 to 255 characters of printable ASCII, and scopes separated by spaces."),
    "store_missing": About(400, "No store is named", "An administrator's key belongs to no store, and this call acts for one.",
        "Name the store in the header `X-Store-Id`."),
    "store_invalid": About(400, "No store has this code", "`X-Store-Id` is not a store's code.",
        "A code has 1 to 64 characters of `A-Z a-z 0-9 . _ : -`."),
    # -- what is sent
    "url_unreadable": About(400, "The address cannot be read", "Path or query are not UTF-8, or they hold a NUL.",
        "Percent-encode the UTF-8 bytes of each part, without %00."),
    "request_invalid": About(422, "The request does not validate", "A parameter or a field of the body has a wrong type or value.",
        "`errors` lists what is wrong, in `body`, `query`, `path` or `header`, with a JSON pointer (RFC 6901) into it;"
        " /openapi.json has the schema."),
    "request_unreadable": About(400, "The request cannot be read", "The body is not JSON text in UTF-8, or it is nested too deep.",
        "Send one JSON value with `Content-Type: application/json`."),
    "media_type_unsupported": About(415, "The body is not declared as JSON",
        "The request has a body, and its header `Content-Type` is missing or names another type than JSON.",
        "Send the header `Content-Type: application/json`."),
    "body_too_large": About(413, "The body is too large", "The body is larger than 1 MiB.", "Split the request."),
    "header_too_large": About(431, "The head of the request is too large", "Request line and headers exceed 32 KiB.",
        "Send fewer or shorter headers."),
    "request_too_slow": About(408, "The request did not arrive in time",
        "The head of a request has 10 s to arrive, its body 30 s.", "Send the request again, in one go."),
    "request_malformed": About(400, "This is no HTTP request", "The bytes on the connection are not HTTP/1.1.",
        "Use an HTTP client; for TLS, the address of the proxy in front of the service."),
    "connections_exhausted": About(503, "Too many connections", "The process serves as many connections as it may.",
        "Repeat the request in a moment; keep connections open and reuse them."),
    "cursor_invalid": About(400, "The cursor is not one of ours", "The cursor was changed, or it is of another list.", _CURSOR),
    "resource_unknown": About(404, "Not found", "Nothing is at this address, or it belongs to another store.",
        "/openapi.json lists the addresses; ids are those that the service has answered."),
    "query_parameter_unknown": About(400, "The query has a parameter that does not exist", "The route does not read this parameter.",
        "Check the spelling; /openapi.json lists the parameters of each route."),
    "if_match_invalid": About(400, "If-Match cannot be read", "The header is not a list of entity tags.",
        'Send the `ETag` of an answer unchanged, e.g. `If-Match: "7"`.'),
    "version_outdated": About(412, "The resource has another version", "It changed after the version that `If-Match` names.",
        "Read it again, check that the change still applies, and send the new `ETag`. `version` is the present one."),
    "method_unsupported": About(405, "The method is not allowed here", "The address exists, but not with this method.",
        "The header `Allow` of the answer lists the methods."),
    "idempotency_key_invalid": About(400, "The Idempotency-Key cannot be read",
        "The header is empty, too long, or has characters other than printable ASCII.", "Send 1 to 255 characters, e.g. a UUID."),
    "idempotency_key_reused": About(409, "The Idempotency-Key came with another request",
        "Query or body differ from those of the first request with this key.", "Use a new key for each request."),
    # -- the service itself
    "database_unavailable": About(503, "The database does not answer", "The database is away, or it catches up after a restore.",
        "Repeat the request in a moment, with the same Idempotency-Key."),
    "outcome_unknown": About(503, "The outcome of the request is not certain",
        "The connection to the database was lost during the commit.",
        "Repeat the request with the same Idempotency-Key: it takes effect once. Without a key, read the resource first."),
    "request_timed_out": About(503, "The request exceeds a time limit of the database",
        "The request alone exceeds a time limit of the database. Nothing was done.", "Make the request smaller."),
    "query_timed_out": About(503, "The query exceeds its time limit",
        "The database needs too long for this read, which was cancelled. Nothing was changed.",
        "Ask for less: a smaller `limit`, a narrower filter, or a single id. An operator can raise"
        " `<SERVICE>_DATABASE_READ_SECONDS_MAX`; if all reads are slow, the database is overloaded."),
    "service_failed": About(500, "A fault of the service", "The service failed for a cause that it does not handle.",
        "Report it to the operators with the time of the request; the log has the cause."),
    # -- parked messages
    "message_settled": About(409, "The message no longer waits", "It was replayed, edited or discarded before.",
        "`GET /v1/parked/{id}` shows its state."),
    "message_unreplayable": About(409, "The message cannot be replayed unchanged",
        "It is outside of the time that the inbox covers, or it contradicts the state of the service.",
        "Let the sender publish it again with a new `ce_id`, then discard this one."),
    "replay_stopped": About(409, "The replay stopped", "A message failed again, for the reason in the detail.",
        "Deploy the fix or edit the message, then replay. An edit with this answer was not stored."),
    "filter_missing": About(422, "No filter is given", "A bulk discard needs at least one filter.",
        "Name `ids`, `key` or `cause`."),
})  # fmt: skip


class Problem(Exception):
    """An answer that is a problem: `code` names its page. `more` are further members of the document."""

    def __init__(self, status: int, code: str, title: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.title, self.detail, self.more = status, code, title, detail, more
        self.headers: Mapping[str, str] = {}

    def rendered(self, instance: str = "", headers: Mapping[str, str] | None = None) -> Rendered:
        body = {"type": f"/problems/{self.code}", "title": self.title, "status": self.status, "detail": self.detail}
        if instance:
            body["instance"] = instance
        named = {"content-type": PROBLEM, **(headers or {})}
        if self.status == 503:
            named["retry-after"] = "1"
        return Rendered(self.status, named, orjson.dumps(body | self.more))


def known(code: str, detail: str, **more: Any) -> Problem:
    """Returns a problem of the chassis."""
    about = PROBLEMS[code]
    return Problem(about.status, code, about.title, detail, **more)


class Invalid(NamedTuple):
    """One value of a request that does not validate."""

    where: str
    """`body`, `query`, `path` or `header`; `value`: the JSON text in the field `value` of the body."""
    pointer: str
    """JSON pointer (RFC 6901) into it; empty: the whole of it."""
    what: str


def invalid(*found: Invalid) -> Problem:
    """Returns the problem of a request that does not validate: what is wrong, and where."""
    first = "; ".join(f"{one.where} {one.pointer}".rstrip() + f": {one.what}" for one in found[:3])
    return known("request_invalid", first, errors=[one._asdict() for one in found[:20]])


REPEAT = "repeat the request in a moment, with the same Idempotency-Key"


def unavailable(error: BaseException, what_to_do: str = REPEAT) -> Problem:
    """Returns the problem of a transient error: the same request may succeed in a moment.

    The problem never states that nothing was done: a part of the request may have been committed before the error.
    """
    if isinstance(error, OutcomeUnknown):
        return known(
            "outcome_unknown",
            "the connection to the database was lost during the commit; repeat the request with the same Idempotency-Key:"
            " it takes effect once. Without a key, read the resource first",
        )
    if isinstance(error, QueryTimedOut):
        return known("query_timed_out", f"{error}; ask for less, or repeat the request later")
    catching_up = isinstance(error, CatchingUp)
    title = "The restored database is catching up" if catching_up else PROBLEMS["database_unavailable"].title
    return Problem(503, "database_unavailable", title, what_to_do)


def respond(answer: Rendered) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


# -- what an operation can answer --------------------------------------------------------------------------------------

CODES: Final = "x-problems"
"""Member of an operation in the OpenAPI document: the codes of its problems."""
NEEDS_NOTHING: Final = "x-needs-nothing"


def answers(*codes: str) -> dict[str, Any]:
    """Returns `openapi_extra` of a route: its own problems, besides those that follow from its parameters."""
    return {CODES: list(codes)}


def alone() -> dict[str, Any]:
    """Returns `openapi_extra` of a route that reads neither the request nor the database."""
    return {NEEDS_NOTHING: True}


# -- every error of an application ------------------------------------------------------------------------------------


def install_problems(app: FastAPI, members: Members | None = None) -> None:
    """Answers every error with a problem. members: of `Service.problem_members`."""

    def shown(problem: Problem, request: Request, headers: Mapping[str, str] | None = None) -> Response:
        if members is not None:
            problem.more = {**members(problem.code, problem.detail, problem.more), **problem.more}
        return respond(problem.rendered(request.scope["path"], headers))

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return shown(error, request, error.headers)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return shown(invalid(*(_invalid(one, error.body) for one in error.errors())), request)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {
            404: "resource_unknown",
            405: "method_unsupported",
            413: "body_too_large",
            415: "media_type_unsupported",
        }.get(error.status_code, "request_unreadable")
        detail = f"{request.method} {request.scope['path']}: {error.detail}"
        headers = {"allow": _allowed(app, request)} if error.status_code == 405 else error.headers
        return shown(Problem(error.status_code, code, str(error.detail), detail), request, headers)

    async def on_any(request: Request, error: Exception) -> Response:
        problem = (
            unavailable(error) if is_transient(error) else known("service_failed", "the operators see it in the log")
        )
        return shown(problem, request)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_any)
    app.add_exception_handler(OSError, on_any)
    app.add_exception_handler(TimeoutError, on_any)


def _invalid(error: Mapping[str, Any], body: Any) -> Invalid:
    where, *path = error["loc"]
    names = _present(path, body, error["type"]) if where == "body" else path[:1]
    return Invalid(str(where), _pointer(names), error["msg"])


def invalid_value(findings: Iterable[Mapping[str, Any]], value: Any) -> Iterator[Invalid]:
    """Returns what pydantic has found wrong in a JSON value, with pointers into it."""
    for error in findings:
        yield Invalid("value", _pointer(_present(error["loc"], value, error["type"])), error["msg"])


def _pointer(names: Iterable[Any]) -> str:
    """Keys of a body come from the client: what has no form in UTF-8 is replaced."""
    escaped = (str(name).replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode() for name in names)
    return "".join(f"/{name}" for name in escaped)


def _present(path: Sequence[Any], value: Any, kind: str) -> Iterator[Any]:
    """Returns the keys and indices of a path that the body has, and the field that is missing. pydantic's path also names
    validators and members of unions, which are no part of the body."""
    for n, name in enumerate(path):
        if isinstance(value, Mapping) and (name in value or (kind == "missing" and n == len(path) - 1)):
            yield name
            value = value.get(name)
        elif isinstance(value, list) and isinstance(name, int) and name < len(value):
            yield name
            value = value[name]


def _allowed(app: FastAPI, request: Request) -> str:
    """Returns the methods of all routes that match the path: a route has only its own."""
    found: set[str] = set()
    for route in iter_route_contexts(app.routes):  # an included router is one of `app.routes`, without methods
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return ", ".join(sorted(found))


# -- the pages --------------------------------------------------------------------------------------------------------

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<h1>{title}</h1>
<p><code>{code}</code>, HTTP status {status}</p>
<h2>Why</h2><p>{why}</p>
<h2>What to do</h2><p>{remedy}</p>
</html>
"""


class Kind(BaseModel):
    code: str
    status: int
    title: str
    why: str
    remedy: str


class Kinds(BaseModel):
    items: list[Kind]


def pages(of_service: Problems) -> APIRouter:
    """Makes the routes of `/problems`: a page for each kind of problem, with its cause and its remedy. They need no API key."""
    router = APIRouter(tags=["problems"])
    every = {**PROBLEMS, **of_service}

    @router.get("/problems", response_model=Kinds, openapi_extra=alone())
    async def kinds() -> Any:
        """Every kind of problem that this service answers."""
        return {"items": [{"code": code, **about._asdict()} for code, about in sorted(every.items())]}

    @router.get("/problems/{code}", response_class=HTMLResponse, openapi_extra=answers("resource_unknown"))
    async def kind(code: str) -> Response:
        if (about := every.get(code)) is None:
            raise known("resource_unknown", "no problem has this code; /problems lists them")
        fields = {name: escape(str(value)) for name, value in about._asdict().items()}
        return Response(PAGE.format(code=escape(code), **fields), media_type="text/html")

    return router
