"""API keys: who makes a request, for which store, and what the key allows."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import TypeAdapter

from chassis.batch.database import Database
from chassis.declare.app import Principal
from chassis.http.openapi import shown_header
from chassis.http.problems import known
from contracts.base import CODE_PATTERN, Code, Id, is_code

BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key, `tw_<id>_<secret>`.")
API_KEY: Final = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="api_key", description="The same key in a header of its own."
)
StoreHeader = Annotated[
    str | None, shown_header("X-Store-Id", CODE_PATTERN, "The store that an administrator's key acts for.")
]


def security(  # both schemes are declared for the OpenAPI document; `Keys.principal` reads the request
    bearer: Annotated[Any, Security(BEARER)], api_key: Annotated[Any, Security(API_KEY)], x_store_id: StoreHeader = None
) -> None:
    """A dependency that documents how a request sends its API key."""


_NEW_KEY: TypeAdapter[Any] = TypeAdapter(tuple[Code | None, Id, tuple[Code | Literal["*"], ...]])


class Keys:
    """API keys: `tw_<id>_<secret>`. Stores the SHA-256 of the secret: it is random, so a slow hash would protect nothing."""

    CACHED_SECONDS = 30
    """Upper bound of the time for which a process that has used a key still accepts it after its revocation."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._cached: dict[str, tuple[float, Principal]] = {}

    async def create(self, store_id: str | None, name: str, scopes: Sequence[str]) -> str:
        """Stores a new key and returns it: the secret cannot be read again.

        Raises ValueError (pydantic's) for an invalid store, name or scope.
        """
        _NEW_KEY.validate_python((store_id, name, tuple(scopes)))
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        async with self.database.transaction() as tx:
            await tx.execute(
                "insert into api_keys (id, store_id, name, secret_sha256, scopes) values ($1, $2, $3, $4, $5)",
                identity, store_id, name, hashlib.sha256(secret.encode()).digest(), sorted(set(scopes)),
            )  # fmt: skip
        return f"tw_{identity}_{secret}"

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
        """Returns the principal of a request whose key has the scope. Raises Problem 401, 403 or 400.

        With an administrator's key, the header `X-Store-Id` names the store. For a key of a store only its form counts.
        """
        header, store_id = request.headers.get("authorization", ""), request.headers.get("x-store-id")
        token = header[7:].strip() if header[:7].lower() == "bearer " else request.headers.get("x-api-key", "")
        if not token:
            raise known("api_key_missing", "send `Authorization: Bearer <key>`; make one with `api-key create`")
        cached = self._cached.get(token)
        if cached is None or cached[0] < time.monotonic():
            cached = (time.monotonic() + self.CACHED_SECONDS, await self._look_up(token))
            if len(self._cached) > 10_000:
                self._cached.clear()
            self._cached[token] = cached
        who = cached[1]
        if not who.may(scope):
            raise known("scope_missing", f"this call needs the scope {scope}")
        if store_id is not None and not is_code(store_id):
            raise known("store_invalid", "X-Store-Id is 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        return Principal(who.name, store_id or "", who.scopes, True) if who.administrator else who

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
