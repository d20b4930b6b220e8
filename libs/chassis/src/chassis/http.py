"""HTTP -> shell: API keys with scopes, idempotency keys, RFC 9457 problems, key-set pages. Needs only PostgreSQL."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import orjson
from asyncpg import Connection
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.batch import StoreDiffers
from chassis.database import CatchingUp, Database, OutcomeUnknown, is_transient, overtaxes
from chassis.idempotency import KeyReused
from chassis.inbound import Idempotency, Inbound, Outcome, Rendered
from contracts.base import Command
from contracts.envelope import traceparent
from contracts.ids import derived

if TYPE_CHECKING:
    from chassis.shell import Shell

BODY_BYTES_MAX = 1024 * 1024
PROBLEM = "application/problem+json"
Problems = Mapping[str, tuple[int, str]]
"""Refusal code -> (HTTP status, title)."""


class Problem(Exception):
    """RFC 9457: `code` names a page that the service serves under /problems/."""

    def __init__(self, status: int, code: str, title: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.title, self.detail, self.more = status, code, title, detail, more

    def rendered(self, instance: str = "") -> Rendered:
        body = {"type": f"/problems/{self.code}", "title": self.title, "status": self.status, "detail": self.detail}
        if instance:
            body["instance"] = instance
        headers = {"content-type": PROBLEM}
        if self.status == 503:
            headers["retry-after"] = "1"
        return Rendered(self.status, headers, orjson.dumps(body | self.more))


REPEAT = "repeat the request in a moment, with the same Idempotency-Key"


def unavailable(error: BaseException, what_to_do: str = REPEAT) -> Problem:
    """For a transient error: the same request may succeed in a moment.

    It never says that nothing was done: a part of the request may have been committed before the error.
    """
    if isinstance(error, OutcomeUnknown):
        return Problem(
            503, "outcome_unknown", "The request may have been carried out, or not",
            "the connection to the database was lost during the commit; repeat the request with the same Idempotency-Key:"
            " it takes effect once. Without a key, read first what came of it",
        )  # fmt: skip
    catching_up = isinstance(error, CatchingUp)
    title = "The restored database is catching up" if catching_up else "The database does not answer"
    return Problem(503, "unavailable", title, what_to_do)


def respond(answer: Rendered) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def as_json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Rendered:
    return Rendered(status, {"content-type": "application/json", **(headers or {})}, orjson.dumps(body, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class BodyLimit:
    """ASGI middleware: a body over BODY_BYTES_MAX is answered 413, and no more of it than that is ever kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                raise HTTPException(413, f"The body is larger than {BODY_BYTES_MAX} bytes")
            return message

        await self.app(scope, counted, send)


def install_problems(app: FastAPI) -> None:
    """Every error leaves as problem+json, with what, where and how to mend it; never with input that may be personal."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return respond(error.rendered(request.url.path))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()[:20]]
        problem = Problem(422, "invalid_request", "The request does not validate",
                          "; ".join(f"{one['where']}: {one['what']}" for one in found[:3]), errors=found)  # fmt: skip
        return respond(problem.rendered(request.url.path))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(error.status_code, "http_error")
        problem = Problem(
            error.status_code, code, str(error.detail), f"{request.method} {request.url.path}: {error.detail}"
        )
        return respond(problem.rendered(request.url.path))

    async def on_any(request: Request, error: Exception) -> Response:
        if is_transient(error):
            problem = unavailable(error)
        else:
            problem = Problem(500, "fault", "A fault of the service", "the operators see it in the log")
        return respond(problem.rendered(request.url.path))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_any)
    app.add_exception_handler(OSError, on_any)
    app.add_exception_handler(TimeoutError, on_any)


# -- API keys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. A key belongs to one store; an administrator's to none."""

    name: str
    store_id: str
    scopes: frozenset[str]
    administrator: bool = False

    @property
    def actor(self) -> str:
        return f"api-key:{self.name}"


ALL_SCOPES = "*"


class Keys:
    """API keys: `tw_<id>_<secret>`, SHA-256 of the secret stored (it is random, so a slow hash would protect nothing)."""

    KEPT_SECONDS = 30
    """A revoked key may work for so long in a process that has seen it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._known: dict[str, tuple[float, Principal]] = {}

    async def create(self, store_id: str | None, name: str, scopes: Sequence[str]) -> str:
        """Make a key; it is shown this once."""
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        async with self.database.transaction() as tx:
            await tx.execute(
                "insert into api_keys (id, store_id, name, secret_sha256, scopes) values ($1, $2, $3, $4, $5)",
                identity, store_id, name, hashlib.sha256(secret.encode()).digest(), sorted(set(scopes)),
            )  # fmt: skip
        return f"tw_{identity}_{secret}"

    async def revoke(self, identity: str) -> bool:
        """Whether there was such a key. `identity` is what stands between the underscores of a key."""
        async with self.database.transaction() as tx:
            done: str = await tx.execute("update api_keys set revoked = true where id = $1", identity)
        return done != "UPDATE 0"

    async def all(self) -> Sequence[Any]:
        """A row per key, the oldest first; never a secret."""
        async with self.database.connection() as connection:
            rows: Sequence[Any] = await connection.fetch(
                "select id, store_id, name, scopes, revoked, created_at from api_keys order by created_at, id"
            )
        return rows

    async def principal(self, request: Request, scope: str) -> Principal:
        """Who asks, if they may. Raises Problem 401 or 403. An administrator names the store in `X-Store-Id`."""
        header = request.headers.get("authorization", "")
        token = header[7:].strip() if header[:7].lower() == "bearer " else request.headers.get("x-api-key", "")
        if not token:
            raise Problem(
                401,
                "no_api_key",
                "An API key is needed",
                "send `Authorization: Bearer <key>`; make one with `api-key create`",
            )
        known = self._known.get(token)
        if known is None or known[0] < time.monotonic():
            known = (time.monotonic() + self.KEPT_SECONDS, await self._look_up(token))
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[token] = known
        who = known[1]
        if ALL_SCOPES not in who.scopes and scope not in who.scopes:
            raise Problem(
                403, "scope_missing", "The key does not have this scope", f"this call needs the scope {scope}"
            )
        if who.administrator:
            return Principal(who.name, request.headers.get("x-store-id", ""), who.scopes, True)
        return who

    async def _look_up(self, token: str) -> Principal:
        parts = token.split("_", 2)
        row = None
        if len(parts) == 3 and parts[0] == "tw" and "\0" not in token:
            async with self.database.connection() as connection:
                row = await connection.fetchrow("select * from api_keys where id = $1 and not revoked", parts[1])
        given = hashlib.sha256(parts[2].encode() if len(parts) == 3 else b"").digest()
        if row is None or not hmac.compare_digest(given, row["secret_sha256"]):
            raise Problem(
                401, "bad_api_key", "The API key is not known", "it may be revoked, or belong to another service"
            )
        return Principal(row["name"], row["store_id"] or "", frozenset(row["scopes"]), row["store_id"] is None)


# -- pages ------------------------------------------------------------------------------------------------------------


class Page(TypedDict):
    items: list[Any]
    next_cursor: str | None


def page(rows: Sequence[Any], limit: int, key: Callable[[Any], Sequence[Any]]) -> Page:
    """`rows` were read with `limit + 1`: one too many says that there is a next page."""
    shown = list(rows[:limit])
    cursor = None
    if len(rows) > limit:
        cursor = base64.urlsafe_b64encode(orjson.dumps(list(key(shown[-1])), default=str)).decode().rstrip("=")
    return {"items": shown, "next_cursor": cursor}


def after(cursor: str | None) -> list[Any] | None:
    """The key values that a cursor stands for, as JSON values; None at the beginning. Raises Problem 400."""
    if cursor is None:
        return None
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(values, list) and values:
            return values
    except (ValueError, binascii.Error):
        pass
    raise Problem(400, "bad_cursor", "The cursor is not one of ours", "use next_cursor of the page before, unchanged")


# -- requests ---------------------------------------------------------------------------------------------------------


def idempotency_key(request: Request) -> str | None:
    """The request's Idempotency-Key. Raises Problem 400."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise Problem(400, "bad_idempotency_key", "Idempotency-Key has a bad length", "send 1 to 255 characters")
    return key


async def fingerprint(request: Request) -> bytes:
    """Method, path and body: whether it is the same request that comes again with its key."""
    return hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + await request.body()).digest()


async def operation_id(request: Request, who: Principal, key: uuid.UUID) -> uuid.UUID:
    """The operation that a request asks of the aggregate `key`.

    With an Idempotency-Key it is a function of store, aggregate, Idempotency-Key, method, path and body: the request asks
    for the same operation again even if its stored answer is gone (a restored database), while the same Idempotency-Key
    on another order or another request is another operation. Without one it is random.
    """
    asked = idempotency_key(request)
    if not asked:
        return uuid.uuid4()
    return derived(key, f"{who.store_id}|{(await fingerprint(request)).hex()}|{asked}")


Answer = Callable[[Outcome], tuple[int, Any] | tuple[int, Any, Mapping[str, str]]]


async def obey(
    shell: Shell, request: Request, who: Principal, message: Command, answer: Answer, problems: Problems,
    *, correlation_id: str | None = None,
) -> Response:  # fmt: skip
    """Run a command through the shell and render its outcome; with an Idempotency-Key, once.

    The command's operation is what `operation_id` makes of the request; it is the message's identity, too.
    """
    path, identity = request.url.path, message.operation_id
    key = idempotency_key(request)
    idempotency = Idempotency(who.store_id, key, await fingerprint(request)) if key else None

    def render(outcome: Outcome) -> Rendered:
        if outcome.refusal is not None:
            status, title = problems.get(outcome.refusal.code, (409, outcome.refusal.code.replace("_", " ")))
            return Problem(status, outcome.refusal.code, title, outcome.refusal.detail).rendered(path)
        return as_json(*answer(outcome))

    inbound = Inbound(
        "http", message.order_id, message.store_id, identity, message.TYPE, message, correlation_id or str(identity),
        traceparent(request.headers.get("traceparent")), actor=who.actor, idempotency=idempotency, render=render,
    )  # fmt: skip
    try:
        outcome = await shell.submit(inbound)
    except Exception as error:
        if is_transient(error):
            raise unavailable(error) from error
        raise
    if outcome.answer is not None:
        return respond(outcome.answer)
    if isinstance(outcome.error, KeyReused):
        raise Problem(
            409, "idempotency_key_reused", "The Idempotency-Key came with another request", "use a new key per request"
        )
    if outcome.error is not None and overtaxes(outcome.error):
        raise Problem(
            503, "request_timed_out", "The request takes the database too long", "nothing was done; make the request smaller"
        )  # fmt: skip
    if isinstance(outcome.error, StoreDiffers):
        raise Problem(404, "not_found", "Not found", "there is nothing of that id in your store")
    raise Problem(500, "fault", "A fault of the service", "nothing was done; the operators see it in the log")


Write = Callable[[Connection], Awaitable[Any]]
