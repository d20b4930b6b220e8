"""API keys: who makes a request, for which store, and what the key allows.

A key with the scope `act_as` acts for a person whom its owner has authenticated, with at most its own scopes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import TypeAdapter

from chassis.batch.database import Database
from chassis.declare.app import ALL_SCOPES, Principal
from chassis.http.openapi import HEADER_PATTERN, shown_header
from chassis.http.problems import known
from contracts.base import CODE_PATTERN, Code, Id, is_code

log = structlog.get_logger("chassis.http.auth")

BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key, `tw_<id>_<secret>`.")
API_KEY: Final = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="api_key", description="The same key in a header of its own."
)
StoreHeader = Annotated[
    str | None, shown_header("X-Store-Id", CODE_PATTERN, "The store that an administrator's key acts for.")
]
ACT_AS: Final = "act_as"
"""The scope of a key that may act for persons. `*` does not include it: it lets the owner of a key name any actor."""
SUBJECT_PATTERN: Final = HEADER_PATTERN
"""A subject of OpenID Connect (Core 1.0, section 2): at most 255 ASCII characters."""
SCOPES_PATTERN: Final = "^[A-Za-z0-9._:* -]*$"
ActAsHeader = Annotated[
    str | None,
    shown_header("X-Act-As", SUBJECT_PATTERN, "The person for whom a key with the scope `act_as` acts: a subject."),
]
ActAsScopesHeader = Annotated[
    str | None,
    shown_header("X-Act-As-Scopes", SCOPES_PATTERN, "The person's scopes, separated by spaces. Those of the key that"
                 " are not among them do not apply."),
]  # fmt: skip


def security(  # both schemes are declared for the OpenAPI document; `Keys.principal` reads the request
    bearer: Annotated[Any, Security(BEARER)], api_key: Annotated[Any, Security(API_KEY)], x_store_id: StoreHeader = None,
    x_act_as: ActAsHeader = None, x_act_as_scopes: ActAsScopesHeader = None,
) -> None:  # fmt: skip
    """A dependency that documents how a request sends its API key, and for whom the key acts."""


_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
SECRET_CHARACTERS_MIN: Final = 40
_KEY: Final = re.compile(rf"tw_(?P<id>[0-9a-f]{{12}})_(?P<secret>[A-Za-z0-9_-]{{{SECRET_CHARACTERS_MIN},}})")
_NEW_KEY: TypeAdapter[Any] = TypeAdapter(tuple[Code | None, Id, tuple[Code | Literal["*"], ...]])


class Keys:
    """API keys: `tw_<id>_<secret>`. Stores the SHA-256 of the secret: it is random, so a slow hash would protect nothing."""

    CACHED_SECONDS = 30
    """Upper bound of the time for which a process that has used a key still accepts it after its revocation."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._cached: dict[str, tuple[float, Principal]] = {}
        self._lent: dict[str, Principal] = {}

    async def create(self, store_id: str | None, name: str, scopes: Sequence[str]) -> str:
        """Stores a new key and returns it: the secret cannot be read again.

        Raises ValueError (pydantic's) for an invalid store, name or scope.
        """
        key = f"tw_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
        await self.put(key, store_id, name, scopes)
        return key

    def lend(self, name: str, scopes: Sequence[str]) -> str:
        """Returns a key of all stores with which this process asks itself. No table has it, and no other process accepts it."""
        key = f"tw_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
        self._lent[key] = Principal(name, "", frozenset(scopes), True)
        return key

    async def put(self, key: str, store_id: str | None, name: str, scopes: Sequence[str]) -> None:
        """Stores a key that was made elsewhere, unless there is one of its id. Raises ValueError as `create`, and for a text
        that is no key."""
        _NEW_KEY.validate_python((store_id, name, tuple(scopes)))
        if (found := _KEY.fullmatch(key)) is None:
            raise ValueError(
                f"a key has the form tw_<12 hexadecimal digits>_<at least {SECRET_CHARACTERS_MIN} characters>"
            )
        async with self.database.transaction() as tx:
            await tx.execute(
                "insert into api_keys (id, store_id, name, secret_sha256, scopes) values ($1, $2, $3, $4, $5)"
                " on conflict (id) do nothing",
                found["id"], store_id, name, hashlib.sha256(found["secret"].encode()).digest(), sorted(set(scopes)),
            )  # fmt: skip

    async def revoke(self, identity: str) -> bool:
        """Revokes the key whose part between the underscores is `identity`. Returns whether it exists."""
        async with self.database.transaction() as tx:
            done: str = await tx.execute("update api_keys set revoked = true where id = $1", identity)
        return done != "UPDATE 0"

    async def all(self) -> Sequence[Any]:
        """Returns a row per key, oldest first, without the secrets."""
        async with self.database.connection() as connection:
            rows: Sequence[Any] = await connection.fetch(
                "select id, store_id, name, scopes, revoked, created_at from api_keys order by created_at, id"
            )
        return rows

    async def principal(self, request: Request, scope: str) -> Principal:
        """Returns the principal of a request, who has the scope. Raises Problem 401, 403 or 400.

        With an administrator's key, the header `X-Store-Id` names the store. For a key of a store only its form counts.
        What a person changes through a key is logged with both: not every change is journaled.
        """
        header, store_id = request.headers.get("authorization", ""), request.headers.get("x-store-id")
        token = header[7:].strip() if header[:7].lower() == "bearer " else request.headers.get("x-api-key", "")
        if not token:
            raise known("api_key_missing", "send `Authorization: Bearer <key>`; make one with `api-key create`")
        key = self._lent.get(token) or await self._known(token)
        who = acting(key, request.headers.get("x-act-as"), request.headers.get("x-act-as-scopes"))
        if not who.may(scope):
            raise known("scope_missing", f"this call needs the scope {scope}")
        if store_id is not None and not is_code(store_id):
            raise known("store_invalid", "X-Store-Id is 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        if who.via is not None and request.method not in _SAFE_METHODS:
            log.info("acted", actor=who.actor, via=who.via, method=request.method, path=request.scope["path"])
        return replace(who, store_id=store_id or "") if who.administrator else who

    async def _known(self, token: str) -> Principal:
        cached = self._cached.get(token)
        if cached is None or cached[0] < time.monotonic():
            cached = (time.monotonic() + self.CACHED_SECONDS, await self._look_up(token))
            if len(self._cached) > 10_000:
                self._cached.clear()
            self._cached[token] = cached
        return cached[1]

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


def acting(key: Principal, subject: str | None, scopes: str | None) -> Principal:
    """Returns the person for whom a key acts, with the scopes that both have; the key itself if no person is named.

    subject, scopes: the headers `X-Act-As` and `X-Act-As-Scopes`. Raises Problem 403 if the key may not act for a person, 400
    if one of the headers is missing or malformed: without the scopes, a person would have all of the key's.
    """
    if subject is None and scopes is None:
        return key
    if ACT_AS not in key.scopes:
        raise known("actor_forbidden", f"to act for a person the key needs the scope {ACT_AS}")
    if subject is None or not re.fullmatch(SUBJECT_PATTERN, subject):
        raise known("actor_invalid", "X-Act-As is 1 to 255 characters of printable ASCII")
    if scopes is None or not re.fullmatch(SCOPES_PATTERN, scopes):
        raise known("actor_invalid", "X-Act-As-Scopes is a list of scopes, separated by spaces; it may be empty")
    return replace(
        key, name=subject, scopes=_shared(key.scopes, frozenset(scopes.split())), kind="person", via=key.actor
    )


def _shared(of_key: frozenset[str], of_person: frozenset[str]) -> frozenset[str]:
    if ALL_SCOPES in of_key:
        return of_person
    return of_key if ALL_SCOPES in of_person else of_key & of_person
