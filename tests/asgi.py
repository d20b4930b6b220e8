"""HTTP applications that run in the process of a test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI

from chassis.process.app import App


@lru_cache(maxsize=1)
def asgi_of(app: App) -> FastAPI:
    """The application, made once for all clients of a test: making it takes 0.1 s of CPU."""
    return app.asgi()


async def asked(
    asgi: FastAPI, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: Any = None, query: str = ""
) -> tuple[int, Any]:
    """Sends one request, with `body` as JSON; returns the status and the JSON of the answer. Raises what the application raises."""
    sent: list[Any] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": quote(path).encode(), "query_string": query.encode(), "root_path": "",
        "headers": [*headers], "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode() if body is not None else b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await asgi(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))
