"""Asks the services that own what a page shows, each for a bounded time, and requests of them what a person wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import aiohttp
import httpx2
import orjson
import structlog

from console.domain.people import PERSONAL, Person
from console.domain.wanted import Wanted
from console.settings import Owner, Settings

log = structlog.get_logger("console.owners")

PATHS: Final[Mapping[str, str]] = {
    "orders": "/v1/orders/{order_id}",
    "payments": "/v1/payments/{order_id}",
    "fulfillment": "/v1/fulfillments/{order_id}",
    "invoicing": "/v1/invoices?order_id={order_id}&limit=100",
    "webhooks": "/v1/attempts?order_id={order_id}&limit=100",
}
"""What each owner is asked about an order."""
FILE_SECONDS_MAX: Final = 30.0
"""Between two pieces of a file."""
State = Literal["answered", "nothing", "silent", "unset"]


@dataclass(frozen=True, slots=True)
class Answer:
    state: State
    """`nothing`: the owner has nothing of the order; `silent`: no usable answer in time; `unset`: its address is not set."""
    body: Any = None
    why: str = ""
    """What was wrong, if it is silent."""
    status: int | None = None
    """The status of an answer that is not usable."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an owner answered to a request."""

    status: int | None
    """Null: nothing, or nothing in time."""
    code: str = ""
    """The code of the problem, if it is one."""
    detail: str = ""
    title: str = ""
    body: Any = None
    """The whole answer."""

    @property
    def done(self) -> bool:
        return self.status is not None and self.status < 300


class Itself(NamedTuple):
    """The console as one of those that are asked."""

    name: str
    routes: Callable[..., Any]
    """An ASGI application."""
    api_key: str


class Asked(NamedTuple):
    """A request as it is sent."""

    method: str
    url: str
    headers: dict[str, str]
    seconds_max: float
    """For the whole answer."""
    body: Any = None


def _headers(owner: Owner, store_id: str | None, person: Person, *, personal: bool = True) -> dict[str, str]:
    """The console's key acts for the person, with at most the scopes that the person has in the store.

    personal: whether personal data is asked for.
    """
    of_store = {"x-store-id": store_id} if store_id is not None else {}
    return of_store | {
        "authorization": f"Bearer {owner.api_key}",
        "x-act-as": person.subject,
        "x-act-as-scopes": " ".join(sorted(person.at(store_id).scopes - (set() if personal else {PERSONAL}))),
    }


class Owners:
    def __init__(self, settings: Settings, itself: Itself | None = None) -> None:
        self._owners = dict(settings.owners)
        self._itself = itself
        if itself is not None:
            self._owners[itself.name] = Owner("http://console", itself.api_key, ())
        self.ask_seconds_max = settings.ask_seconds_max
        self._session: aiohttp.ClientSession | None = None
        self._own: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=True))
            if self._itself is not None:
                transport = httpx2.ASGITransport(self._itself.routes, raise_app_exceptions=False)
                self._own = await stack.enter_async_context(httpx2.AsyncClient(transport=transport))
            yield

    async def about(self, order_id: UUID, store_id: str, person: Person, *, personal: bool) -> Mapping[str, Answer]:
        """Returns what each owner answers about an order; no answer takes longer than `ask_seconds_max`."""
        answers = await asyncio.gather(
            *(
                self.read(name, path.format(order_id=order_id), store_id, person, personal=personal)
                for name, path in PATHS.items()
            )
        )
        return dict(zip(PATHS, answers, strict=True))

    async def send(self, wanted: Wanted, store_id: str | None, person: Person, nonce: UUID) -> Outcome:
        """Requests something for a person. The nonce is the Idempotency-Key: sent again, it takes effect once."""
        name = wanted.owner
        owner = self._owners.get(name)
        if owner is None or self._session is None:
            return Outcome(None, detail=f"the address of {name} is not set: nothing was done")
        headers = {**_headers(owner, store_id, person), "idempotency-key": str(nonce)}
        if wanted.version is not None:
            headers["if-match"] = f'"{wanted.version}"'
        asked = Asked(wanted.method, f"{owner.url}{wanted.path}", headers, wanted.seconds_max, wanted.body)
        try:
            status, answer = await self._asked(name, asked, lambda status: status != 204)
        except aiohttp.ClientConnectorError:
            return Outcome(None, detail=f"{name} cannot be reached: nothing was done")
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            log.warning("owner_silent", owner=name, path=wanted.path, why=repr(error))
            return Outcome(None, detail=f"{name} has not answered: it may be done or not; sent again, it is done once")
        if status < 300:
            return Outcome(status, body=answer)
        problem = answer if isinstance(answer, dict) else {}
        code = str(problem.get("type", "")).rpartition("/")[2]
        return Outcome(status, code, str(problem.get("detail", "")), str(problem.get("title", "")), problem)

    async def read(
        self,
        name: str,
        path: str,
        store_id: str | None,
        person: Person,
        *,
        personal: bool = False,
        seconds_max: float | None = None,
    ) -> Answer:
        """Returns what one owner answers to a path.

        personal: whether personal data is asked for; else it is masked. seconds_max: null is `ask_seconds_max`.
        """
        owner: Owner | None = self._owners.get(name)
        if owner is None or self._session is None:
            return Answer("unset")
        headers, status = _headers(owner, store_id, person, personal=personal), None
        seconds = seconds_max if seconds_max is not None else self.ask_seconds_max
        try:
            status, body = await self._asked(
                name, Asked("GET", f"{owner.url}{path}", headers, seconds), lambda status: status == 200
            )
            if status == 404:
                return Answer("nothing")
            if status == 200:
                return Answer("answered", body)
            why = f"it answered {status}"
        except TimeoutError:
            why = f"no answer within {seconds:g} s"
        except (aiohttp.ClientError, ValueError) as error:
            why = f"it cannot be reached ({type(error).__name__})"
        log.warning("owner_silent", owner=name, path=path, why=why)
        return Answer("silent", why=why, status=status)

    async def streamed(self, name: str, path: str, store_id: str, person: Person) -> AsyncGenerator[bytes]:
        """Yields a file of an owner as it comes; nothing if it has none, or does not answer. An error in the middle is raised."""
        owner = self._owners.get(name)
        if owner is None or self._session is None:
            return
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.ask_seconds_max, sock_read=FILE_SECONDS_MAX)
        try:
            answer = await self._session.get(
                f"{owner.url}{path}", headers=_headers(owner, store_id, person), timeout=timeout
            )
        except (TimeoutError, aiohttp.ClientError) as error:
            log.warning("owner_silent", owner=name, path=path, why=repr(error))
            return
        async with answer:
            if answer.status != 200:
                log.warning("owner_silent", owner=name, path=path, why=f"it answered {answer.status}")
                return
            async for chunk in answer.content.iter_any():
                yield chunk

    async def _asked(self, name: str, asked: Asked, has_json: Callable[[int], bool]) -> tuple[int, Any]:
        """Returns the status of an answer and, of a status that has one, its JSON. Raises TimeoutError, aiohttp.ClientError, ValueError."""
        if self._itself is not None and name == self._itself.name:
            assert self._own is not None
            async with asyncio.timeout(asked.seconds_max):
                own = await self._own.request(asked.method, asked.url, headers=asked.headers, json=asked.body)
            return own.status_code, orjson.loads(own.content) if has_json(own.status_code) else None
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=asked.seconds_max)
        async with self._session.request(
            asked.method, asked.url, headers=asked.headers, json=asked.body, timeout=timeout
        ) as answer:
            return answer.status, orjson.loads(await answer.read()) if has_json(answer.status) else None
