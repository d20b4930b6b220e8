"""Services that the console asks, for tests: real HTTP servers with answers of the services' own models."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from console_world import NOW
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from chassis.process.app import App
from webhooks.api.attempts import AttemptShown, TestShown
from webhooks.api.replays import ReplayShown
from webhooks.api.responses import EndpointMade, EndpointRead, EndpointResumed
from webhooks.handlers import SERVICE
from webhooks.settings import Settings

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
REAL = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")
ENDPOINT = UUID("0197a000-0000-7000-8000-000000000001")
Answer = tuple[int, Any]


@dataclass
class Request:
    """As the service got it."""

    method: str
    path: str
    raw_path: str
    """As it was sent, with what is quoted."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass
class Owner:
    """Answers by method and path, and `default` to all others; records what is requested."""

    answers: dict[tuple[str, str], Answer | Callable[[Request], Answer]] = field(default_factory=dict)
    default: Answer = (404, {"type": "/problems/resource_unknown", "title": "Not found"})
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    holds: Callable[[Request], Awaitable[Any] | None] = lambda request: None
    """What the answer to a request waits for."""

    @property
    def writes(self) -> list[Request]:
        return [one for one in self.requests if one.method != "GET"]

    def asked(self, path: str) -> Request:
        """Returns the latest read of a path."""
        return next(one for one in reversed(self.requests) if (one.method, one.path) == ("GET", path))

    async def serve(self, request: web.Request) -> web.Response:
        sent = {name.lower(): value for name, value in request.headers.items()}
        body = await request.json() if request.can_read_body else None
        got = Request(request.method, request.path, request.raw_path.partition("?")[0], dict(request.query), sent, body)
        self.requests.append(got)
        if (held := self.holds(got)) is not None:
            await held
        found = self.answers.get((got.method, got.path), self.default)
        status, answer = found(got) if callable(found) else found
        return web.json_response(answer, status=status)


@asynccontextmanager
async def serving(owner: Owner) -> AsyncIterator[Owner]:
    server = web.Application()
    server.router.add_route("*", "/{path:.*}", owner.serve)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    owner.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield owner
    finally:
        await runner.cleanup()


def endpoint(**changed: Any) -> dict[str, Any]:
    """An endpoint as webhooks shows it."""
    values: dict[str, Any] = {
        "endpoint_id": ENDPOINT, "version": 3, "status": "enabled", "disabled_because": None, "failing_since": None, "created_at": NOW,
        "url": "https://erp.example.com/hooks", "types": ["orders.*"], "secrets": [
            {"id": uuid4(), "kind": "v1", "public_key": None, "created_at": NOW, "expires_at": None},
        ],
        "breaker": None, "last_success_at": NOW, "backlog": {"retries": 0, "or_more": False, "since": None},
    }  # fmt: skip
    return EndpointRead.model_validate(values | changed).model_dump(mode="json", by_alias=True)


def made(secret: str) -> dict[str, Any]:
    """The answer that has a new secret."""
    return EndpointMade.model_validate(endpoint() | {"secret": secret}).model_dump(mode="json", by_alias=True)


def resumed(events: int, or_more: bool = False) -> dict[str, Any]:
    to_deliver = {"events": events, "or_more": or_more}
    return EndpointResumed.model_validate(endpoint() | {"to_deliver": to_deliver}).model_dump(
        mode="json", by_alias=True
    )


def tested(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "url": "https://erp.example.com/hooks", "headers": {"webhook-id": "msg_1", "tradewind-test": "true"}, "body": '{"type": "orders.placed"}',
        "signed_text": "msg_1.1.{}", "http_status": 200, "response": "noted", "error": None, "duration_ms": 12,
    }  # fmt: skip
    return TestShown.model_validate(values | changed).model_dump(mode="json")


def attempt(**changed: Any) -> dict[str, Any]:
    """An attempt as webhooks lists it."""
    values: dict[str, Any] = {
        "id": uuid4(), "endpoint_id": ENDPOINT, "host": "erp.example.com", "event_id": "event-1", "type": "orders.placed", "subject": uuid4(),
        "webhook_id": "msg_1", "number": 1, "at": NOW, "duration_ms": 31, "outcome": "delivered", "http_status": 200,
        "response": "noted", "error": None, "events": 1, "notice": False, "replay_id": None,
    }  # fmt: skip
    return AttemptShown.model_validate(values | changed).model_dump(mode="json")


def replay(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "replay_id": uuid4(), "endpoint_id": ENDPOINT, "status": "running", "from": "from-cursor", "to": "to-cursor", "cursor": "cursor",
        "types": [], "only": "all", "as_new": False, "count": None, "or_more": False, "delivered": 7, "failed": 1, "created_at": NOW,
        "ended_at": None,
    }  # fmt: skip
    return ReplayShown.model_validate(values | changed).model_dump(mode="json", by_alias=True)


def page(*items: Any, next_cursor: str | None = None) -> Answer:
    return 200, {"items": list(items), "next_cursor": next_cursor}


@cache
def webhooks_document() -> dict[str, Any]:
    """The OpenAPI document of webhooks."""
    app: FastAPI = App(SERVICE, Settings(database_url="postgresql://127.0.0.1:1/none"), "api").asgi()
    return app.openapi()


def checked(document: dict[str, Any], request: Request) -> None:
    """Asserts that a service describes a request: its path, the names of its query, the shape of its body."""
    path = next(
        (one for one in document["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), request.raw_path)), None
    )
    assert path is not None, request.path
    operation = document["paths"][path].get(request.method.lower())
    assert operation is not None, f"{request.method} {path}"
    names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    assert request.query.keys() <= names, (path, request.query)
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator(schema | {"components": document["components"]}).validate(request.body)
    else:
        assert request.body is None, path
