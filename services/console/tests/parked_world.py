"""A service that has parked messages, for tests of pages: it answers over HTTP as the chassis does, and notes what was requested."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web
from console_world import NOW, STORE

LINE = "payments.domain.ledger:71"
DETAIL = "ValueError in our code; the log of the service has the cause"


@dataclass
class ParkedMessages:
    """Body `{"fits": false}`: no schema of a message fits it. `{"works": false}`: it fails again."""

    name: str
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    away: bool = False
    changes_nothing: bool = False
    """Whether only its answers to changes are missing."""
    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    """What it has besides parked messages: path -> body."""
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def park(self, body: Any = None, **more: Any) -> int:
        parked_id = next(self.ids)
        row: dict[str, Any] = {
            "id": parked_id, "key": str(uuid4()), "store_id": STORE, "type": f"{self.name}.capture", "topic": f"{self.name}.commands.v1",
            "partition": 0, "offset": parked_id, "cause": "fault", "detail": DETAIL, "raised_at": LINE, "state": "waiting", "version": 1,
            "parked_at": (NOW + timedelta(seconds=parked_id)).isoformat(), "edited_from": None, "settled_by": None, "settled_at": None, "reason": None,
            "value": json.dumps({"name": "Ann"} if body is None else body), "value_bytes": None, "stack": [f"{LINE} capture"], "record_key": "k",
            "headers": [{"name": "ce_type", "value": f"{self.name}.capture"}], "behind": 0,
        }  # fmt: skip
        self.rows[parked_id] = row | {
            name: str(value) if isinstance(value, UUID) else value for name, value in more.items()
        }
        return parked_id

    def settle(self, parked_id: int, state: str, by: str) -> None:
        row = self.rows[parked_id]
        row |= {"state": state, "version": row["version"] + 1, "settled_by": by, "settled_at": NOW.isoformat()}

    def works(self, row: dict[str, Any]) -> bool:
        return not row["value"] or json.loads(row["value"]).get("works", True)

    # -- routes -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = web.Application(middlewares=[self._noted])
        server.router.add_get("/v1/parked-groups", self._groups)
        server.router.add_get("/v1/parked", self._list)
        server.router.add_get("/v1/parked/{id}", self._one)
        server.router.add_post("/v1/parked-replays", self._replay_many)
        server.router.add_post("/v1/parked/{id}/{action}", self._act)
        server.router.add_get("/{path:.*}", self._other)
        runner = web.AppRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name
        yield
        await runner.cleanup()

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        sent = {name.lower(): value for name, value in request.headers.items()}
        request["body"] = await request.json() if request.can_read_body else {}
        self.requests.append((f"{request.method} {request.path_qs}", sent, request["body"]))
        if self.away or (self.changes_nothing and request.method == "POST"):
            return _problem(503, "database_unavailable")
        answered: web.StreamResponse = await handler(request)
        return answered

    def _seen(self, request: web.Request) -> list[dict[str, Any]]:
        store = request.headers.get("x-store-id")
        return [row for row in self.rows.values() if store in (None, row["store_id"])]

    async def _groups(self, request: web.Request) -> web.Response:
        groups: dict[Any, list[dict[str, Any]]] = {}
        for row in self._seen(request):
            if row["state"] == "waiting" and row["cause"] != "waits":
                groups.setdefault((row["cause"], row["raised_at"]), []).append(row)
        items = [
            {"service": self.name, "cause": cause, "raised_at": line, "types": sorted({row["type"] for row in rows}), "count": len(rows), "or_more": False,
             "keys": len({row["key"] for row in rows}), "behind": 0, "oldest_at": rows[0]["parked_at"], "newest_at": rows[-1]["parked_at"],
             "newest_id": rows[-1]["id"], "detail": rows[-1]["detail"]}
            for (cause, line), rows in groups.items()
        ]  # fmt: skip
        return web.json_response({"items": items})

    async def _list(self, request: web.Request) -> web.Response:
        asked = request.query
        rows = [
            row for row in reversed(self._seen(request))
            if row["state"] == asked.get("state", "waiting") and asked.get("key") in (None, row["key"])
            and asked.get("cause") in (None, row["cause"]) and asked.get("raised_at") in (None, row["raised_at"] or "")
            and row["id"] <= int(asked.get("id_max", 2**62)) and row["id"] < int(asked.get("cursor", 2**62))
        ]  # fmt: skip
        limit = int(asked.get("limit", 50))
        further = str(rows[limit - 1]["id"]) if len(rows) > limit else None
        return web.json_response({"items": rows[:limit], "next_cursor": further})

    async def _one(self, request: web.Request) -> web.Response:
        row = next((row for row in self._seen(request) if row["id"] == int(request.match_info["id"])), None)
        if row is None:
            return _problem(404, "resource_unknown")
        masked = "personal.view" not in request.headers["x-act-as-scopes"].split()
        shown = row | {"masked": masked}
        if masked:
            shown["value"] = row["value"].replace("Ann", "***")
        return web.json_response(shown)

    async def _other(self, request: web.Request) -> web.Response:
        found = self.answers.get(request.path)
        return web.json_response(found) if found is not None else _problem(404, "resource_unknown")

    async def _replay_many(self, request: web.Request) -> web.Response:
        def replayed(parked_id: int) -> str:
            row = self.rows[parked_id]
            if row["state"] == "waiting" and self.works(row):
                self.settle(parked_id, "replayed", _actor(request))
            return "stopped" if row["state"] == "waiting" else str(row["state"])

        items = [{"id": one, "outcome": replayed(one), "detail": ""} for one in request["body"]["ids"]]
        return web.json_response({"items": items})

    async def _act(self, request: web.Request) -> web.Response:
        row, action = self.rows[int(request.match_info["id"])], request.match_info["action"]
        body = request["body"]
        wanted = request.headers.get("if-match")
        if wanted is not None and wanted != f'"{row["version"]}"':
            return _problem(412, "version_outdated", "The resource has another version")
        if row["state"] != "waiting":
            return _problem(409, "message_settled", "The message no longer waits", f"it is {row['state']}")
        if action == "edit":
            value = json.loads(body["value"])
            if not value.get("fits", True):
                return _problem(
                    422,
                    "request_invalid",
                    "The request does not validate",
                    "value /amount_minor: Input should be a valid integer",
                )
            if body.get("dry_run"):
                return web.json_response({"replayed": 0, "left": 1})
            row["value"] = body["value"]
        if action == "discard":
            row["reason"] = body["reason"]
        elif not self.works(row):
            return _problem(409, "replay_stopped", "The replay stopped", row["detail"])
        self.settle(row["id"], "discarded" if action == "discard" else "replayed", _actor(request))
        return web.json_response({"replayed": 1, "left": 0})


def _actor(request: web.Request) -> str:
    return f"person:{request.headers['x-act-as']}"


def _problem(status: int, code: str, title: str = "", detail: str = "") -> web.Response:
    body = {"type": f"/problems/{code}", "title": title, "detail": detail, "status": status}
    return web.json_response(body, status=status)
