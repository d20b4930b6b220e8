"""`?wait=<word>&timeout=<seconds>` on writes: the answer comes when the order got there, or after the timeout with 202.

The write is committed first, and once. The wait then reads the order's row: one loop per process reads the rows of all
waiters in one statement, so that it finds what any process commits, and orders without a waiter cost nothing. See
`docs/decisions/0020-a-wait-polls.md`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import Depends, Query, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import ARRAY, Uuid, any_, bindparam, select

from chassis.batch.aggregates import whole
from chassis.batch.errors import is_transient
from chassis.declare.app import App
from chassis.http.bodies import as_json
from chassis.http.commands import etag
from chassis.http.problems import respond
from orders.api.shown import shown
from orders.domain.shown.reached import COLUMNS, Word, has_ended, has_reached
from orders.domain.state.order import Order
from orders.responses.order import OrderShown
from orders.store import PARTS
from orders.tables import orders

POLL_SECONDS: Final = 0.05
"""Time between two reads of the rows that requests wait for; on average a wait ends half of it late."""
TIMEOUT_SECONDS: Final = 5.0
TIMEOUT_SECONDS_MAX: Final = 30.0
WAITERS_MAX: Final = 200
"""Requests of a process that wait at a time, of the connections that it serves. A further one is answered without a wait."""

READ_OVER_SECONDS: Final = 0.2

POLLED: Final = select(orders.c.key, *(orders.c[name] for name in COLUMNS)).where(
    orders.c.key == any_(bindparam("keys", type_=ARRAY(Uuid)))
)

log = structlog.get_logger("orders.api.waits")


def _documented(
    wait: Annotated[
        Word | None, Query(description="Answer when the order got there; `settled`: when only a person can move it.")
    ] = None,
    timeout: Annotated[
        float,
        Query(ge=0, le=TIMEOUT_SECONDS_MAX, allow_inf_nan=False, description="Seconds to wait at most, then 202."),
    ] = TIMEOUT_SECONDS,
) -> None:
    """A dependency that checks and documents both parameters, before the write."""


class Waiter:
    def __init__(self, word: Word) -> None:
        self.word = word
        self.over = asyncio.Event()

    def see(self, order: Mapping[Any, Any]) -> None:
        if has_reached(order, self.word) or has_ended(order):
            self.over.set()


class Waits:
    """The requests of a process that wait for their orders."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.reads = 0
        self._waiters: dict[UUID, set[Waiter]] = {}
        self._count = 0
        self._loop: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._count

    async def until(self, key: UUID, order: Mapping[str, Any], word: Word, seconds: float, request: Request) -> None:
        """Returns when the order got to the word, or the time is over. order: its COLUMNS after the write.

        Returns earlier if it cannot get there any more, the client has disconnected, the process ends, or WAITERS_MAX others
        wait.
        """
        waiter = Waiter(word)
        waiter.see(order)
        if not waiter.over.is_set() and seconds and self._count < WAITERS_MAX:
            ends = {asyncio.create_task(waiter.over.wait()), asyncio.create_task(_disconnected(request))}
            self._add(key, waiter)
            try:
                await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._remove(key, waiter)
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)

    def _add(self, key: UUID, waiter: Waiter) -> None:
        self._waiters.setdefault(key, set()).add(waiter)
        self._count += 1
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._poll(), name="waits")

    def _remove(self, key: UUID, waiter: Waiter) -> None:
        self._count -= 1
        self._waiters[key].discard(waiter)
        if not self._waiters[key]:
            del self._waiters[key]

    async def _poll(self) -> None:
        """Reads the rows until no request waits. An error of the database ends no wait: the next read may succeed."""
        while self._waiters:
            await asyncio.sleep(POLL_SECONDS)
            if self.app.ending:
                for waiter in (one for some in self._waiters.values() for one in some):
                    waiter.over.set()
                continue
            keys = [*self._waiters]
            try:
                rows = await self.app.read(POLLED.params(keys=keys))
            except Exception as error:
                log.warning(
                    "wait_read_failed", error=repr(error), waiters=self._count, exc_info=not is_transient(error)
                )
                continue
            self.reads += 1
            for row in rows:
                for waiter in self._waiters.get(UUID(str(row["key"])), ()):
                    waiter.see(row)


async def _disconnected(request: Request) -> None:
    """Returns when the client has disconnected. The rest of its body is read over, piece by piece."""
    message = await request.receive()
    while message["type"] != "http.disconnect":
        await asyncio.sleep(READ_OVER_SECONDS)
        message = await request.receive()


def waiting_route(waits: Waits) -> type[APIRoute]:
    """Returns the class of orders' routes: those that write and answer with an order take `wait` and `timeout`."""

    class Route(APIRoute):
        def __init__(self, path: str, endpoint: Callable[..., Any], **about: Any) -> None:
            model = about.get("response_model")
            self.waits = about.get("methods") != {"GET"} and isinstance(model, type) and issubclass(model, OrderShown)
            if self.waits:
                about["dependencies"] = [*(about.get("dependencies") or ()), Depends(_documented)]
                status, about_it = (
                    (200, "got there") if about.get("status_code") == 202 else (202, "did not get there in time")
                )
                about["responses"] = {status: {"model": model, "description": f"With `wait`: the order {about_it}."}}
            super().__init__(path, endpoint, **about)

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            if not self.waits:
                return handle

            async def handle_and_wait(request: Request) -> Response:
                started_at = time.monotonic()
                answer = await handle(request)
                word: Any = request.query_params.get("wait")
                if word is None or answer.status_code >= 300:
                    return answer
                seconds = float(request.query_params.get("timeout", TIMEOUT_SECONDS)) - (time.monotonic() - started_at)
                body = json.loads(bytes(answer.body))
                key = UUID(body["order_id"])
                await waits.until(key, body, word, max(seconds, 0), request)
                version = await _refresh(waits.app, key, body)
                got_there = 200 if answer.status_code == 202 else answer.status_code
                more = {"location": answer.headers["location"]} if "location" in answer.headers else {}
                status = got_there if has_reached(body, word) else 202
                return respond(as_json(status, body, {**etag(version), **more}))

            return handle_and_wait

    return Route


async def _refresh(app: App, key: UUID, body: dict[str, Any]) -> int:
    """Writes the order as it is now over the body of an answer; returns its version. If the database does not answer, the
    body stays as the write left it: the write took effect, and its answer is no error."""
    try:
        (row,) = await app.read(
            select(orders.c.version, orders.c.doc, *(orders.c[part] for part in PARTS)).where(orders.c.key == key)
        )
    except Exception as error:
        log.warning("wait_answer_failed", error=repr(error), exc_info=not is_transient(error))
        return int(body["version"])
    body |= shown(key, Order.model_validate_json(whole(row, PARTS)), row["version"])
    version: int = row["version"]
    return version
