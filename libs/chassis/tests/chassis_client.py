"""A client that hands requests to the counter's ASGI application as a server would; the database is real."""

import dataclasses
import json
from typing import Annotated, Any
from uuid import UUID

from chassis_counter import plus
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import text

from chassis.declare.app import Principal
from chassis.http.commands import CHANGE
from chassis.process.app import App


def routes(app: App) -> APIRouter:
    router = APIRouter()
    Editor = Annotated[Principal, Depends(app.principal("counter.edit"))]

    @router.post("/v1/count/{key}/{amount}", dependencies=CHANGE)
    async def count(request: Request, who: Editor, key: UUID, amount: int, play: str = "") -> Response:
        operation = app.operation_id(request, who, key)
        command = plus(key, amount, play=play, store_id=who.store_id, operation_id=operation)
        return await app.execute(request, who, command, lambda outcome: (201, {"total": outcome.state.total}, {"location": f"/v1/count/{key}"}))  # fmt: skip

    @router.put("/v1/note")
    async def note(body: dict[str, Any], who: Editor) -> dict[str, Any]:
        return {"keys": len(body)}

    @router.post("/v1/written")
    async def written() -> None:
        await app.database.transaction()

    @router.get("/v1/slow")
    async def slow(who: Editor) -> list[Any]:
        return list(await app.read(text("select pg_sleep(60)")))

    @router.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("the name of a customer")

    return router


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, app: App) -> None:
        self.app, self.asgi = app, app.asgi()

    async def __call__(self, method: str, path: str, *, key: str = "", body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            named["authorization"] = f"Bearer {key}"
        plain, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": plain,
            "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        chunks = [body[n : n + 65_536] for n in range(0, len(body), 65_536)] or [b""]
        sent: list[Any] = []

        async def receive() -> Any:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await self.asgi(scope, receive, send)
        except Exception:
            if not sent:  # a server logs what was raised after the answer
                raise
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))
