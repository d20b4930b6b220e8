"""Asks the owners of an order what they have of it now: all at once, each for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import aiohttp
import structlog

from console.settings import Owner, Settings

log = structlog.get_logger("console.owners")

PATHS: Final[Mapping[str, str]] = {
    "orders": "/v1/orders/{order_id}",
    "payments": "/v1/payments/{order_id}",
    "fulfillment": "/v1/fulfillments/{order_id}",
    "invoicing": "/v1/invoices?order_id={order_id}&limit=100",
    "webhooks": "/v1/attempts?order_id={order_id}&limit=20",
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


class Owners:
    def __init__(self, settings: Settings) -> None:
        self._owners = settings.owners
        self._timeout = aiohttp.ClientTimeout(total=settings.ask_seconds_max)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=self._timeout, auto_decompress=True) as session:
            self._session = session
            yield

    async def about(self, order_id: UUID, store_id: str) -> Mapping[str, Answer]:
        """Returns what each owner answers about an order; no answer takes longer than `ask_seconds_max`."""
        answers = await asyncio.gather(
            *(self._ask(name, path.format(order_id=order_id), store_id) for name, path in PATHS.items())
        )
        return dict(zip(PATHS, answers, strict=True))

    async def _ask(self, name: str, path: str, store_id: str) -> Answer:
        owner: Owner | None = self._owners.get(name)
        if owner is None or self._session is None:
            return Answer("unset")
        headers = {"authorization": f"Bearer {owner.api_key}", "x-store-id": store_id}
        try:
            async with self._session.get(f"{owner.url}{path}", headers=headers) as response:
                if response.status == 404:
                    return Answer("nothing")
                if response.status == 200:
                    return Answer("answered", await response.json())
                why = f"it answered {response.status}"
        except TimeoutError:
            why = f"no answer within {self._timeout.total:g} s"
        except (aiohttp.ClientError, ValueError) as error:
            why = f"it cannot be reached ({type(error).__name__})"
        log.warning("owner_silent", owner=name, path=path, why=why)
        return Answer("silent", why=why)
