"""A request that waits for its order to get as far as it asks."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from orders_database import REAL, Client, digital, handle, inbound, place

from chassis.process.app import App
from contracts.orders import Cancel
from orders.api.waits import POLL_SECONDS, TIMEOUT_SECONDS_MAX, WAITERS_MAX, Waits
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = REAL
LONG = 10 * PATIENCE_SECONDS
"""A wait that ends by its own time limit has failed."""


async def seconds_of(call: Any) -> tuple[float, Any]:
    started_at = time.monotonic()
    return (found := await call) and (time.monotonic() - started_at, found)


async def test_a_request_waits_until_another_one_moves_the_order(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a", lifecycle="awaiting_payment")
    waiting = asyncio.create_task(
        call("POST", f"/v1/orders/{key}/notes", {"text": "x"}, query="wait=cancelled&timeout=30")
    )

    async def written() -> bool:
        return bool((await call("GET", f"/v1/orders/{key}"))[1]["note_count"] == 1)

    await until(written, "the note of the request that waits")
    assert not waiting.done()
    assert (await call("POST", f"/v1/orders/{key}/cancel"))[0] == 202
    status, answer = await waiting
    assert (status, answer["status"], answer["note_count"]) == (201, "cancelled", 1) and answer["note_id"]


async def test_after_the_timeout_the_answer_states_how_far_the_order_is(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    told = json.loads(digital("W-1").model_dump_json())
    seconds, (status, answer) = await seconds_of(
        call("POST", "/v1/orders", told, query="wait=placed&timeout=0.4", idempotency_key="k")
    )
    assert (status, answer["status"], answer["waiting"]) == (202, "placing", "answer") and seconds >= 0.4
    status, again = await call("POST", "/v1/orders", told, query="timeout=0&wait=paid", idempotency_key="k")
    assert (status, again["order_id"]) == (202, answer["order_id"]), "other parameters of the wait are the same request"
    assert (await call("POST", "/v1/orders", told, idempotency_key="k"))[0] == 201
    assert (await call("POST", "/v1/orders", told, query="wait=placed&timeout=0", idempotency_key="other"))[0] == 202


async def test_what_is_reached_or_cannot_be_reached_is_answered_at_once(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    gone, test = await place(app, 2, "a", lifecycle="awaiting_payment")
    await call("GET", f"/v1/orders/{gone}")  # the first request of a process is slow: it makes the OpenAPI document
    seconds, (status, answer) = await seconds_of(
        call("POST", f"/v1/orders/{gone}/cancel", query="wait=cancelled&timeout=30")
    )
    assert (status, answer["status"]) == (200, "cancelled") and answer["operation_id"] and seconds < TIMEOUT_SECONDS_MAX
    seconds, (status, answer) = await seconds_of(
        call("POST", f"/v1/orders/{gone}/archive", query="wait=placed&timeout=30")
    )
    assert status == 202 and answer["archived_at"] and seconds < TIMEOUT_SECONDS_MAX
    seconds, (status, problem) = await seconds_of(
        call("POST", f"/v1/orders/{test}/approve", query="wait=approved&timeout=30")
    )
    assert (status, problem["type"]) == (409, "/problems/order_not_awaiting_approval") and seconds < TIMEOUT_SECONDS_MAX


@pytest.mark.parametrize(
    "query", ["wait=shipped", "wait=", "wait=placed&timeout=31", "wait=placed&timeout=-1", "wait=placed&timeout=nan"]
)
async def test_a_wait_that_is_wrong_is_refused_before_the_write(app: App, query: str) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    assert (await call("POST", f"/v1/orders/{key}/archive", query=query))[0] == 422
    assert (await call("GET", f"/v1/orders/{key}"))[1]["archived_at"] is None


class Caller:
    """A request whose client may disconnect."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


ROW = {"status": "placing", "payment_status": "unpaid", "fulfillment_status": "unfulfilled", "waiting": "answer",
       "placed_at": None, "completed_at": None}  # fmt: skip


async def test_waiters_share_a_read_are_bounded_and_leave_when_their_clients_do(app: App) -> None:
    found = Waits(app)
    keys = await place(app, 50, "a")

    async def wait(key: UUID, caller: Any, seconds: float = LONG) -> None:
        await found.until(key, ROW, "placed", seconds, caller)

    callers = [Caller() for _ in range(WAITERS_MAX)]
    tasks = [asyncio.create_task(wait(keys[n % 50], caller)) for n, caller in enumerate(callers)]
    seconds, _ = await seconds_of(until(lambda: found.reads >= 3, "three reads of the rows"))
    assert len(found) == WAITERS_MAX and found.reads <= 1 + seconds / POLL_SECONDS
    # One more is answered without a wait.
    await asyncio.wait_for(wait(keys[0], Caller()), PATIENCE_SECONDS)
    for caller in callers[:150]:
        caller.gone.set()
    await asyncio.wait_for(asyncio.gather(*tasks[:150]), PATIENCE_SECONDS)
    assert len(found) == 50 and not any(task.done() for task in tasks[150:])
    app.end_soon()
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_SECONDS)
    assert len(found) == 0
    await until(lambda: found._loop is not None and found._loop.done(), "the end of the reads: there is no waiter")


async def test_an_error_of_the_database_ends_no_wait(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    found, read, failures = Waits(app), app.read, iter(range(3))
    (key,) = await place(app, 1, "a", lifecycle="awaiting_payment")

    async def flaky(statement: Any) -> Any:
        if next(failures, None) is not None:
            raise ConnectionError("the database is away")
        return await read(statement)

    monkeypatch.setattr(app, "read", flaky)
    waiting = asyncio.create_task(found.until(key, ROW, "cancelled", LONG, Caller()))  # type: ignore[arg-type]
    await handle(app, inbound(Cancel(order_id=key, store_id="a", operation_id=uuid4(), actor="test"), key, "a"))
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)
    assert found.reads == 1
