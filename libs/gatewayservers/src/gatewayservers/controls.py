"""What servers in the shapes of real gateways share: a list of the money that moved, trouble on request, events to a webhook.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from gatewayservers import serving
from gatewayservers.faults import KINDS, Faults

WEBHOOKS: Final = ("early", "twice", "lost", "reordered")
"""Before the answer; two times; never; only together with the next one, and after it."""

Answer = tuple[int, dict[str, Any]]
Event = dict[str, Any]
"""As it is sent."""


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
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            for event in events:
                body = json.dumps(event).encode()
                headers = {"Content-Type": "application/json", **self._headers(event, body)}
                try:
                    async with session.post(self.url, data=body, headers=headers):
                        pass
                except (aiohttp.ClientError, TimeoutError):
                    continue  # a real gateway would send it again for hours; here it is lost

    async def stop(self, app: web.Application) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)


class Controls:
    """The routes of a server that no real gateway has."""

    def __init__(self, faults: Faults, moved: list[Moved], webhooks: Webhooks) -> None:
        self.faults, self.moved, self.webhooks = faults, moved, webhooks

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/charges", self._charges)
        app.router.add_put("/trouble/{order_id}", self._trouble)
        app.router.add_get("/health", self._health)
        app.on_cleanup.append(self.webhooks.stop)

    def is_silent(self, order_id: str) -> bool:
        """Whether every answer about the order is held back."""
        return any(self.faults.of(order_id, kind) == "silent" for kind in KINDS)

    async def _charges(self, request: web.Request) -> web.StreamResponse:
        order_id, now = request.query.get("order_id"), time.time()
        moved = [
            {"operation": m.operation, "kind": m.kind, "order_id": m.order_id, "amount_minor": m.amount,
             "currency": m.currency, "reference": m.reference}
            for m in self.moved
            if now >= m.settles_at and order_id in (None, m.order_id)
        ]  # fmt: skip
        return responded(200, {"charges": moved})

    async def _trouble(self, request: web.Request) -> web.StreamResponse:
        told, order_id = dict(await request.json()), UUID(request.match_info["order_id"])
        try:
            if "webhook" in told:
                self.webhooks.tell(str(order_id), told.pop("webhook"))
            self.faults.tell(order_id, told)
        except ValueError as error:
            return responded(400, {"error": {"message": str(error)}})
        return responded(200, told)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return responded(200, {"entries": len(self.moved)})


def responded(status: int, body: Any) -> web.Response:
    return web.json_response(body, status=status)


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """The options of every server that sends events."""
    arguments = serving.parser(f"python -m gatewayservers.{module}", description)
    arguments.add_argument("--webhook", help="where events are sent")
    arguments.add_argument("--webhook-secret", default="")
    return arguments
