"""Asks orders and payments over HTTP, for the owner of a request's key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import structlog

from chassis.declare.app import App, Principal
from dintero_compat.refusals import order_unknown, refused
from dintero_compat.settings import Settings

log = structlog.get_logger("dintero_compat.owners")


Query = Sequence[tuple[str, str | int]]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


class Owners:
    def __init__(self, app: App) -> None:
        settings = cast(Settings, app.settings)
        self._owners = settings.owners
        self._timeout = aiohttp.ClientTimeout(total=settings.ask_seconds_max)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def read(self, name: str, who: Principal, path: str, query: Query = ()) -> Any:
        """Returns what an owner answers; None if it has nothing there. Raises Problem 403, 409, 422, 503."""
        answer = await self._ask(name, "GET", path, who, query=query)
        return None if answer.status == 404 else _usable(name, answer)

    async def write(
        self, name: str, who: Principal, path: str, body: Any = None, *, key: str | None = None, method: str = "POST"
    ) -> Any:
        """Returns what an owner answers to a request that changes something.

        key: the Idempotency-Key. Raises Problem 403, 404, 409, 412, 422, 503.
        """
        answer = await self._ask(name, method, path, who, body=body, key=key)
        if answer.status == 404:
            raise order_unknown()
        return _usable(name, answer)

    async def _ask(
        self,
        name: str,
        method: str,
        path: str,
        who: Principal,
        *,
        body: Any = None,
        key: str | None = None,
        query: Query = (),
    ) -> Answer:
        owner = self._owners.get(name)
        if owner is None or self._session is None:
            raise refused("owner_silent", f"DINTERO_COMPAT_{name.upper()}_URL and its API key are not set")
        headers = {
            "authorization": f"Bearer {owner.api_key}",
            "x-store-id": who.store_id,
            "x-act-as": quote(who.name, safe=" ")[:255],
            "x-act-as-scopes": " ".join(sorted(who.scopes)),
        }
        if key is not None:
            headers["idempotency-key"] = key
        try:
            async with self._session.request(
                method, f"{owner.url}{path}", headers=headers, json=body, params=list(query)
            ) as response:
                return Answer(response.status, await response.json(content_type=None))
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            log.warning("owner_silent", owner=name, path=path, why=repr(error))
            raise refused("owner_silent", f"{name} has not answered; send the same request again") from error


def _usable(name: str, answer: Answer) -> Any:
    if answer.status < 300:
        return answer.body
    problem = answer.body if isinstance(answer.body, dict) else {}
    code, detail = str(problem.get("type", "")).rpartition("/")[2], str(problem.get("detail", ""))
    if answer.status == 401 or answer.status >= 500:
        log.warning("owner_unusable", owner=name, status=answer.status, code=code, detail=detail)
        raise refused("owner_silent", f"{name} answered {answer.status}; send the same request again")
    more = {name: problem[name] for name in ("line", "allowed_minor", "errors", "version") if name in problem}
    raise refused("request_refused", detail, status=answer.status, cause=code, owner=name, **more)
