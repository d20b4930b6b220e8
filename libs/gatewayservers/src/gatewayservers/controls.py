"""What the servers share: a list of the money that moved, trouble on request, events to a webhook.

GET  /charges?order_id=O         the money that really moved, one entry per time: what a test counts
PUT  /trouble/{order_id}         {"capture": "timed_out"}, the words of `faults`; {"webhook": "early"}, those of `WEBHOOKS`
GET  /health
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware

from gatewayservers import serving
from gatewayservers.faults import KINDS, Faults

WEBHOOKS: Final = ("early", "twice", "lost", "reordered")
"""Before the answer; two times; never; only together with the next one, and after it."""

Answer = tuple[int, dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Event = dict[str, Any]
"""As it is sent."""


class Refused(Exception):
    """An answer that is an error. Each gateway has its own shape of it."""

    answer: Answer


@dataclass(frozen=True)
class Errors:
    """What a gateway answers when something goes wrong with itself, in its shape."""

    down: Answer
    """Nothing was done."""
    broken: Answer
    """It was done."""
    late: Answer
    """The answer of a proxy, after the gateway held its own back."""


@dataclass
class Moved:
    """Money that moved, or will have moved at `settles_at`."""

    operation: str
    kind: str
    order_id: str
    amount: int
    currency: str
    reference: str
    settles_at: float = 0
    at: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: f"txn_{uuid4().hex[:24]}")


class Webhooks:
    """Sends a gateway's events to one address, in the order and as often as the trouble of their order has it."""

    def __init__(self, url: str | None, headers: Callable[[Event, bytes], Mapping[str, str]]) -> None:
        """headers: of an event and the body that it is sent as; its signature is among them."""
        self.url, self._headers = url, headers
        self._trouble: dict[str, str | None] = {}
        self._withheld: dict[str, list[Event]] = defaultdict(list)
        self._sending: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def tell(self, order_id: str, trouble: str | None) -> None:
        """Raises ValueError for a word that is not in `WEBHOOKS`."""
        if trouble not in (*WEBHOOKS, None):
            raise ValueError(f"webhook: {WEBHOOKS}")
        self._trouble[order_id] = trouble

    async def notify(self, events: list[Event], order_id: str) -> None:
        """Sends events; without trouble after the answer."""
        trouble = self._trouble.get(order_id)
        if self.url is None or not events or trouble == "lost":
            return
        if trouble == "reordered" and not self._withheld[order_id]:
            self._withheld[order_id] = events
            return
        due = [*events, *self._withheld.pop(order_id, ())] * (2 if trouble == "twice" else 1)
        if trouble == "early":
            await self._send(due)
            return
        task = asyncio.create_task(self._send(due))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, events: list[Event]) -> None:
        assert self.url is not None
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        for event in events:
            body = json.dumps(event).encode()
            headers = {"Content-Type": "application/json", **self._headers(event, body)}
            try:
                async with self._session.post(self.url, data=body, headers=headers):
                    pass
            except (aiohttp.ClientError, TimeoutError):
                continue  # a real gateway would send it again for hours; here it is lost

    async def stop(self, app: web.Application) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


class Routes:
    """The routes of tests, which no real gateway has."""

    def __init__(self, faults: Faults, moved: Callable[[], Iterable[Moved]], webhooks: Webhooks) -> None:
        self.faults, self._moved, self.webhooks = faults, moved, webhooks

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/charges", self._charges)
        app.router.add_put("/trouble/{order_id}", self._trouble)
        app.router.add_get("/health", self._health)
        app.on_cleanup.append(self.webhooks.stop)

    async def _charges(self, request: web.Request) -> web.StreamResponse:
        order_id, now = request.query.get("order_id"), time.time()
        moved = [
            {"operation": m.operation, "kind": m.kind, "order_id": m.order_id, "amount_minor": m.amount,
             "currency": m.currency, "reference": m.reference}
            for m in self._moved()
            if now >= m.settles_at and order_id in (None, m.order_id)
        ]  # fmt: skip
        return responded(200, {"charges": moved})

    async def _trouble(self, request: web.Request) -> web.StreamResponse:
        try:
            told, order_id = dict(await request.json()), UUID(request.match_info["order_id"])
            if "webhook" in told:
                self.webhooks.tell(str(order_id), told.pop("webhook"))
            self.faults.tell(order_id, told)
        except (ValueError, TypeError) as error:
            return responded(400, {"error": {"message": str(error)}})
        return responded(200, told)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return responded(200, {"entries": sum(1 for _ in self._moved())})


class Controls(Routes):
    """Routes of tests, and requests that go wrong when a test wants it."""

    def __init__(self, faults: Faults, moved: list[Moved], webhooks: Webhooks, errors: Errors) -> None:
        super().__init__(faults, lambda: moved, webhooks)
        self._errors = errors

    def answered(self, rejected: Callable[[web.Request], Answer | None]) -> Middleware:
        """Wraps every request: latency and credentials for those of the gateway's API, and refusals as answers.

        rejected: the answer to a request whose credentials are wrong; null: they are right.
        """

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/v1/"):
                await self.faults.latency()
                if (no := rejected(request)) is not None:
                    return responded(*no)
            try:
                return await handler(request)
            except Refused as refused:
                return responded(*refused.answer)

        return answer

    async def written(
        self,
        kind: str,
        order_id: str,
        key: str,
        write: Callable[[str | None], Answer],
        events: list[Event],
        saved: Callable[[Answer], None] = lambda answer: None,
    ) -> web.StreamResponse:
        """A request that moves money, as the trouble of its order has it.

        key: the same for all requests of one operation. write: executes it under that trouble. events: of the gateway's book, those that
        it adds are sent. saved: receives the answer before the events are sent, also one that is held back then.
        """
        trouble, is_first = self.faults.of(order_id, kind), self.faults.is_first(key)
        if trouble == "lost" and is_first:
            return await self.held()
        if trouble == "down" and is_first:
            return responded(*self._errors.down)
        before = len(events)
        answer = write(trouble)
        is_done = answer[0] in (200, 202)
        if trouble == "broken" and is_first and is_done:
            answer = self._errors.broken
        saved(answer)
        await self.webhooks.notify(events[before:], order_id)
        if trouble == "silent" or (trouble == "timed_out" and is_first and is_done):
            return await self.held()
        return responded(*answer)

    async def held(self) -> web.StreamResponse:
        """An answer that is held back until no client waits for it."""
        await self.faults.hold()
        return responded(*self._errors.late)

    def is_silent(self, order_id: str) -> bool:
        """Whether every answer about the order is held back."""
        return any(self.faults.of(order_id, kind) == "silent" for kind in KINDS)


def responded(status: int, body: Any) -> web.Response:
    return web.json_response(body, status=status)


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """The options of every server that sends events."""
    arguments = serving.parser(f"python -m gatewayservers.{module}", description)
    arguments.add_argument("--webhook", help="where events are sent")
    arguments.add_argument("--webhook-secret", default="")
    return arguments
