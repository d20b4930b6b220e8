"""The webhooks service on a real PostgreSQL for tests: events as the services publish them, a client that speaks ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from aiokafka import ConsumerRecord

from chassis.kafka.attempts import Attempts
from chassis.kafka.decoding import Decoder
from chassis.process.app import App
from contracts.base import Event
from contracts.envelope import headers
from contracts.orders import NoteAdded
from tests.asgi import asgi_of
from webhooks.feed import begin
from webhooks.handlers import SERVICE


def noted(store: str, text: str = "call back", version: int = 1, order_id: UUID | None = None) -> NoteAdded:
    """An event with a personal field, `text`."""
    return NoteAdded(
        order_id=order_id or uuid4(), store_id=store, version=version, note_id=uuid4(), number=1, at=datetime.now(UTC),
        actor="api-key:ann", author="Ann", audience="internal", text=text, status="placed", payment_status="unpaid",
        fulfillment_status="unfulfilled",
    )  # fmt: skip


class Publisher:
    """Hands records to the service as its consumer does."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.decoder = Decoder(SERVICE, app.settings, app.database, app.metrics, Attempts())
        self._offset = 0

    def record(
        self, event: Event | bytes, *, type: str = "", key: UUID | None = None, store: str = "", **named: Any
    ) -> ConsumerRecord:
        if isinstance(event, Event):
            type, key, store, event = event.TYPE, event.key, event.store_id, event.model_dump_json().encode()
        self._offset += 1
        source = type.partition(".")[0]
        sent = headers(ce_id=str(uuid4()), source=source, type=type, time=datetime.now(UTC), subject=str(key),
                       store_id=store, correlation_id="c", **named)  # fmt: skip
        topic = f"{source}.events.v1"
        return ConsumerRecord(topic, 0, self._offset, 0, 0, str(key).encode(), event, None, 0, 0, sent)

    async def take(self, *records: ConsumerRecord) -> None:
        await self.app.shell.take(await self.decoder.decode(records))

    async def publish(self, *events: Event) -> None:
        await self.take(*(self.record(event) for event in events))

    async def begin(self, certificate: str) -> None:
        async with self.app.database.transaction() as tx:
            await begin(tx, certificate)


class Client:
    """Calls the service with one API key."""

    def __init__(self, app: App, key: str) -> None:
        self.asgi, self.key = asgi_of(app), key

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        status, body, _ = await self.answer(path, **query)
        return status, body

    async def call(
        self, method: str, path: str, body: Any = None, more: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        return await self.answer(path, method, b"" if body is None else json.dumps(body).encode(), more)

    async def answer(
        self, path: str, method: str = "GET", body: bytes = b"", more: Mapping[str, str] | None = None, **query: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        async with self.stream(path, "application/json", more, method, body, **query) as messages:
            start = await anext(messages)
            content = b"".join([message.get("body", b"") async for message in messages])
        named = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], json.loads(content), named

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        accept: str = "text/event-stream",
        more: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
        **query: Any,
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """The messages of an answer as they come; leaving the block disconnects."""
        sent: asyncio.Queue[Any] = asyncio.Queue()
        left = asyncio.Event()
        told = {
            "authorization": f"Bearer {self.key}",
            "accept": accept,
            "content-type": "application/json",
            **(more or {}),
        }
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "server": ("test", 80),
            "query_string": urlencode(query, doseq=True).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in told.items()], "client": ("test", 1),
        }  # fmt: skip
        asked = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            if asked:
                return asked.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def messages() -> AsyncIterator[Any]:
            while True:
                message = await sent.get()
                yield message
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    return

        running = asyncio.create_task(self.asgi(scope, receive, sent.put))
        try:
            yield messages()
        finally:
            left.set()
            await running


def events_of(chunks: list[bytes]) -> list[dict[str, str]]:
    """The events of a stream: fields by name. Comments are left out."""
    blocks = b"".join(chunks).decode().split("\n\n")
    return [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in blocks
        if block and not block.startswith(":")
    ]
