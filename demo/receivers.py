"""The receivers of the demo: servers of an integrator that get webhooks, verify each signature and note each event.

One of them is down for a while in the middle of the run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import orjson
from aiohttp import web

from devservices.errors import DevservicesError
from system.installation import Installation

WANTED: Final[Mapping[str, tuple[str, ...]]] = {"archive": (), "books": ("payments.*", "invoicing.*")}
"""Receiver -> the types of events that it wants; none: all."""
DIES: Final = "books"
DOWN_SECONDS: Final = 3.0
SIGNED_SECONDS_MAX: Final = 300
"""How old a signature may be."""


class Noted:
    """The events that a receiver has accepted, in the order in which they came."""

    def __init__(self) -> None:
        self.delivery_ids: dict[str, str] = {}
        """`<source>/<id>` of each event -> its webhook-id. All of them, as they are compared with all that was published: 0.25 kB
        each, 92 MiB for 20,000 orders. A receiver that runs for ever stores those of a day."""
        self.faults: Counter[str] = Counter()
        """What must not happen -> how often it did."""
        self._versions: dict[tuple[str, str], int] = {}

    def note(self, delivery_id: str, event: Mapping[str, Any]) -> None:
        """An event may come twice, with the same webhook-id, and never behind a later one of its source and order."""
        if self.delivery_ids.setdefault(f"{event['source']}/{event['id']}", delivery_id) != delivery_id:
            self.faults["an event was redelivered with another webhook-id"] += 1
        of = event["source"], event["subject"]
        if event["version"] < self._versions.get(of, 0):
            self.faults["an event came behind a later one of its order"] += 1
        self._versions[of] = event["version"]


class Receiver:
    def __init__(self, name: str, types: tuple[str, ...]) -> None:
        self.name, self.types = name, types
        self.noted = Noted()
        self.endpoint_id: UUID | None = None
        self._key = b""
        self._dies_with = 0
        """Events; 0: it lives."""
        self._dying = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._host, self._port = "", 0

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}/{self.name}"

    def wants(self, event_type: str) -> bool:
        return not self.types or f"{event_type.partition('.')[0]}.*" in self.types

    async def start(self, host: str) -> None:
        """Listens on a free port, or on that of the earlier start."""
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, host, self._port).start()
        self._runner, self._host, self._port = runner, host, runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends its connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def register(self, client: aiohttp.ClientSession) -> None:
        """Makes it an endpoint. Raises DevservicesError if webhooks refuses."""
        made = await _post(client, "/v1/endpoints", {"url": self.url, "types": self.types})
        self.endpoint_id = UUID(made["endpoint_id"])
        self._key = base64.b64decode(made["secret"].removeprefix("whsec_"))
        await _post(client, f"/v1/endpoints/{self.endpoint_id}/verify", {})

    async def die_once(self, events: int, down_seconds: float) -> None:
        """Is down for `down_seconds` as soon as it has this many events; the sender never learns that it has the last one."""
        self._dies_with = events
        await self._dying.wait()
        await self.stop()
        await asyncio.sleep(down_seconds)
        await self.start(self._host)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if not self._is_signed(request.headers, body):
            self.noted.faults["a signature was wrong"] += 1
            return web.Response(status=401)
        event = orjson.loads(body)
        if event["type"] != "webhooks.verify":
            self.noted.note(request.headers["webhook-id"], event)
            if len(self.noted.delivery_ids) == self._dies_with:
                self._dies_with = 0
                self._dying.set()
                assert request.transport is not None
                request.transport.abort()
        return web.Response(status=204)

    def _is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        sent = headers["webhook-timestamp"]
        text = f"{headers['webhook-id']}.{sent}.".encode() + body
        expected = b"v1," + base64.b64encode(hmac.digest(self._key, text, hashlib.sha256))
        signed = any(hmac.compare_digest(one.encode(), expected) for one in headers["webhook-signature"].split())
        return signed and abs(time.time() - int(sent)) <= SIGNED_SECONDS_MAX


@asynccontextmanager
async def receiving(installation: Installation, orders: int) -> AsyncIterator[list[Receiver]]:
    """The receivers, registered and verified. `DIES` dies when it has as many events as there are orders."""
    receivers = [Receiver(name, types) for name, types in WANTED.items()]
    host = await _own_address(installation.system.url("webhooks"))
    dying: list[asyncio.Task[None]] = []
    try:
        async with installation.client("webhooks") as client:
            for receiver in receivers:
                await receiver.start(host)
                await receiver.register(client)
        dying += [asyncio.create_task(one.die_once(orders, DOWN_SECONDS)) for one in receivers if one.name == DIES]
        yield receivers
    finally:
        for task in dying:
            task.cancel()
        await asyncio.gather(*dying, return_exceptions=True)
        for receiver in receivers:
            await receiver.stop()


async def _own_address(url: str) -> str:
    """The address under which the service at `url` reaches this process, as a connected UDP socket states it; nothing is sent."""
    service = urlsplit(url)
    assert service.hostname is not None, url
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(service.hostname, service.port or 80), family=socket.AF_INET
    )
    try:
        return str(transport.get_extra_info("sockname")[0])
    finally:
        transport.close()


async def _post(client: aiohttp.ClientSession, path: str, body: Mapping[str, Any]) -> Any:
    async with client.post(path, json=body) as response:
        answer = await response.json(content_type=None)
    if response.status >= 400:
        raise DevservicesError(f"webhooks refused {path}: {answer.get('detail', answer)}")
    return answer
