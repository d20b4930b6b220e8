"""HTTP -> shell: API keys with scopes, idempotency keys, what is read of a request at all. Needs only PostgreSQL."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import unquote_to_bytes

import orjson
from asyncpg import Connection
from fastapi import Depends, Header, Request, Response, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.batch.database import Database, is_transient, overtaxes
from chassis.batch.idempotency import KeyReused
from chassis.batch.inbound import Idempotency, Inbound, Outcome, Rendered
from chassis.batch.unit_of_work import StoreDiffers
from chassis.http.problems import PROBLEMS, Problem, known, respond, unavailable
from contracts.base import Code, Command, Id, is_code
from contracts.envelope import traceparent
from contracts.ids import derived

if TYPE_CHECKING:
    from chassis.batch.shell import Shell

BODY_BYTES_MAX = 1024 * 1024


def as_json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Rendered:
    """`body` as JSON; a row's column names are strings of SQLAlchemy's own class, which orjson takes only when asked to."""
    written = orjson.dumps(body, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    return Rendered(status, {"content-type": "application/json", **(headers or {})}, written)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, uuid.UUID):  # the driver's own class
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class Readable:
    """ASGI middleware: what no route has to check. Path and query are UTF-8 without NUL, else 400; a body over
    BODY_BYTES_MAX is answered 413, and no more of it than that is ever kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if not all(map(_is_text, (scope.get("raw_path") or b"", scope["query_string"]))):
            unreadable = known("url_unreadable", "path and query are percent-encoded UTF-8 without NUL")
            return await respond(unreadable.rendered())(scope, receive, send)
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:
                raise HTTPException(413, f"The body is larger than {BODY_BYTES_MAX} bytes")
            return message

        await self.app(scope, counted, send)


def _is_text(encoded: bytes) -> bool:
    """Whether a part of a URL stands for text that the database can keep. A server replaces what it cannot decode."""
    try:
        return "\0" not in unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        return False


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
BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key, `tw_<id>_<secret>`.")
API_KEY: Final = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="api_key", description="The same key in a header of its own."
)
StoreHeader = Annotated[
    str | None, Header(alias="X-Store-Id", description="The store that an administrator's key acts for.")
]


def security(  # both schemes are declared for the OpenAPI document; `Keys.principal` reads the request
    bearer: Annotated[Any, Security(BEARER)], api_key: Annotated[Any, Security(API_KEY)], x_store_id: StoreHeader = None
) -> None:
    """A dependency: documents how a request shows its API key."""


_NEW_KEY: TypeAdapter[Any] = TypeAdapter(tuple[Code | None, Id, tuple[Code | Literal["*"], ...]])


class Keys:
    """API keys: `tw_<id>_<secret>`, SHA-256 of the secret stored (it is random, so a slow hash would protect nothing)."""

    KEPT_SECONDS = 30
    """A revoked key may work for so long in a process that has seen it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._known: dict[str, tuple[float, Principal]] = {}

    async def create(self, store_id: str | None, name: str, scopes: Sequence[str]) -> str:
        """Make a key; it is shown this once. Raises ValueError (pydantic's) for a store, a name or a scope that is none."""
        _NEW_KEY.validate_python((store_id, name, tuple(scopes)))
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
        header, store_id = request.headers.get("authorization", ""), request.headers.get("x-store-id", "")
        token = header[7:].strip() if header[:7].lower() == "bearer " else request.headers.get("x-api-key", "")
        if not token:
            raise known("api_key_missing", "send `Authorization: Bearer <key>`; make one with `api-key create`")
        cached = self._known.get(token)
        if cached is None or cached[0] < time.monotonic():
            cached = (time.monotonic() + self.KEPT_SECONDS, await self._look_up(token))
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[token] = cached
        who = cached[1]
        if ALL_SCOPES not in who.scopes and scope not in who.scopes:
            raise known("scope_missing", f"this call needs the scope {scope}")
        if not who.administrator:
            return who
        if store_id and not is_code(store_id):
            raise known("store_invalid", "X-Store-Id is 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        return Principal(who.name, store_id, who.scopes, True)

    async def _look_up(self, token: str) -> Principal:
        parts = token.split("_", 2)
        row = None
        if len(parts) == 3 and parts[0] == "tw" and "\0" not in token:
            async with self.database.connection() as connection:
                row = await connection.fetchrow("select * from api_keys where id = $1 and not revoked", parts[1])
        given = hashlib.sha256(parts[2].encode() if len(parts) == 3 else b"").digest()
        if row is None or not hmac.compare_digest(given, row["secret_sha256"]):
            raise known("api_key_unknown", "it may be revoked, or belong to another service")
        return Principal(row["name"], row["store_id"] or "", frozenset(row["scopes"]), row["store_id"] is None)


# -- requests ---------------------------------------------------------------------------------------------------------


def _documented(
    idempotency_key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="1 to 255 characters: a repeated request has its effect once."),
    ] = None,
) -> None:
    """A dependency: documents the header, which `idempotency_key` reads and checks."""


COMMAND: Final = [Depends(_documented)]
"""`dependencies` of a route that runs a command."""


def _documented_version(
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", description="The `ETag` of an earlier answer: 412 if it changed since then."),
    ] = None,
) -> None:
    """A dependency: documents the header, which `if_match` reads and checks."""


CHANGE: Final = [*COMMAND, Depends(_documented_version)]
"""`dependencies` of a route that changes an aggregate whose version it shows."""


def idempotency_key(request: Request) -> str | None:
    """The request's Idempotency-Key. Raises Problem 400."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= 255 and key.isprintable()):
        raise known("idempotency_key_invalid", "send 1 to 255 printable characters")
    return key


def identity(request: Request, who: Principal) -> str | None:
    """The request's identity, with the store: SHA-256 of principal, method, path and Idempotency-Key; null without a key."""
    key = idempotency_key(request)
    if not key:
        return None
    return hashlib.sha256("\n".join((who.name, request.method, request.scope["path"], key)).encode()).hexdigest()


async def fingerprint(request: Request) -> bytes:
    """Query and body: whether the request that has the identity of an earlier one is the same."""
    return hashlib.sha256(request.scope["query_string"] + b"\n" + await request.body()).digest()


def operation_id(request: Request, who: Principal, key: uuid.UUID, retention_days: int) -> uuid.UUID:
    """The operation that a request asks of the aggregate `key`.

    With an Idempotency-Key it is a function of store, aggregate, the request's identity and the period of `retention_days`
    that it falls into. After its retention a key is therefore another operation, and a restored database, which has lost
    the stored answer, recognises the request by its operation within the same period. Without a key it is random.
    """
    asked = identity(request, who)
    if asked is None:
        return uuid.uuid4()
    period = int(time.time() // (retention_days * 86_400))
    return derived(key, f"{who.store_id}|{asked}|{period}")


_ETAG: Final = re.compile(r'\s*(?:W/)?"([^"]*)"\s*')


def if_match(request: Request) -> frozenset[int] | None:
    """The versions that `If-Match` names; null without the header or for `*`. Raises Problem 400.

    A weak tag and one that is no version match nothing (RFC 9110, 13.1.1).
    """
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    tags = [(part, _ETAG.fullmatch(part)) for part in header.split(",")]
    if not all(tag for _, tag in tags):
        raise known("if_match_invalid", 'send the `ETag` of an answer, e.g. `"7"`, or `*`')
    strong = (tag[1] for part, tag in tags if tag is not None and not part.lstrip().startswith("W/"))
    return frozenset(int(version) for version in strong if re.fullmatch("[0-9]{1,10}", version))


def etag(version: int) -> dict[str, str]:
    """The header that names an aggregate's version."""
    return {"etag": f'"{version}"'}


Answer = Callable[[Outcome], tuple[int, Any] | tuple[int, Any, Mapping[str, str]]]


async def obey(shell: Shell, request: Request, who: Principal, message: Command, answer: Answer) -> Response:
    """Run a command through the shell and render its outcome; with an Idempotency-Key, once.

    The command's operation is what `operation_id` makes of the request; it is the message's identity, too.
    """
    path, operation = request.scope["path"], message.operation_id
    key = identity(request, who)
    idempotency = Idempotency(who.store_id, key, await fingerprint(request)) if key else None

    def render(outcome: Outcome) -> Rendered:
        if outcome.refusal is not None:
            code = outcome.refusal.code
            about = {**PROBLEMS, **shell.service.problems}[code]
            present = {"version": outcome.version} if code == "version_outdated" else {}
            refused = Problem(about.status, code, about.title, outcome.refusal.detail, **present)
            return refused.rendered(path, etag(outcome.version) if present else None)
        status, body, *more = answer(outcome)
        return as_json(status, body, {**etag(outcome.version), **(more[0] if more else {})})

    inbound = Inbound(
        "http", message.key, message.store_id, operation, message.TYPE, message, str(operation),
        traceparent(request.headers.get("traceparent")), actor=who.actor, idempotency=idempotency, render=render,
        if_versions=if_match(request),
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
        raise known("idempotency_key_reused", "use a new key per request")
    if outcome.error is not None and overtaxes(outcome.error):
        raise known("request_timed_out", "nothing was done; make the request smaller")
    if isinstance(outcome.error, StoreDiffers):
        raise known("resource_unknown", "there is nothing of that id in your store")
    raise known("service_failed", "nothing was done; the operators see it in the log")


Write = Callable[[Connection], Awaitable[Any]]
