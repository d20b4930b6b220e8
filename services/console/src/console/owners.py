"""Asks the services that own what a page shows, each for a bounded time, and requests of them what a person wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import aiohttp
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
    def __init__(self, settings: Settings) -> None:
        self._owners = settings.owners
        self.ask_seconds_max = settings.ask_seconds_max
        self._timeout = aiohttp.ClientTimeout(total=settings.ask_seconds_max)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=self._timeout, auto_decompress=True) as session:
            self._session = session
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
        url, timeout = f"{owner.url}{wanted.path}", aiohttp.ClientTimeout(total=wanted.seconds_max)
        try:
            async with self._session.request(
                wanted.method, url, headers=headers, json=wanted.body, timeout=timeout
            ) as response:
                answer = await response.json() if response.status != 204 else None
        except aiohttp.ClientConnectorError:
            return Outcome(None, detail=f"{name} cannot be reached: nothing was done")
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            log.warning("owner_silent", owner=name, path=wanted.path, why=repr(error))
            return Outcome(None, detail=f"{name} has not answered: it may be done or not; sent again, it is done once")
        if response.status < 300:
            return Outcome(response.status, body=answer)
        problem = answer if isinstance(answer, dict) else {}
        code = str(problem.get("type", "")).rpartition("/")[2]
        return Outcome(response.status, code, str(problem.get("detail", "")), str(problem.get("title", "")), problem)

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
        timeout = aiohttp.ClientTimeout(total=seconds_max) if seconds_max is not None else self._timeout
        try:
            async with self._session.get(f"{owner.url}{path}", headers=headers, timeout=timeout) as response:
                if response.status == 404:
                    return Answer("nothing")
                if response.status == 200:
                    return Answer("answered", orjson.loads(await response.read()))
                status, why = response.status, f"it answered {response.status}"
        except TimeoutError:
            why = f"no answer within {timeout.total:g} s"
        except (aiohttp.ClientError, ValueError) as error:
            why = f"it cannot be reached ({type(error).__name__})"
        log.warning("owner_silent", owner=name, path=path, why=why)
        return Answer("silent", why=why, status=status)
