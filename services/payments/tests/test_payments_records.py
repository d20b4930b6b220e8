"""Recording mode over HTTP, on a real PostgreSQL: `PAYMENTS_TEST_DATABASE_URL` names an empty database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from asyncpg import Connection
from payments_database import URL

from chassis.batch.database import Database
from chassis.process.app import App
from payments.handlers import SERVICE
from payments.invariants import check
from payments.settings import Settings
from system import lines
from tests.future_orders import FutureOrder, future_order
from tests.test_hostile_requests import Client

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]

STORE = "st_1"


class Till:
    """Records payments of a store."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def record(self, order: FutureOrder, what: str, payment_id: str, amount: int, **more: Any) -> tuple[int, Any]:
        headers = {name: value.encode() for name, value in more.pop("headers", {}).items()}
        body = {"gateway": "psp", "payment_id": payment_id, "currency": "EUR",
                "lines": [{"line_id": "1", "amount_minor": amount}], "origin": order.origin} | more  # fmt: skip
        path = f"/v1/orders/{order.id}/payments/{what}"
        status, answer = await self.client("POST", path, json.dumps(body).encode(), **headers)
        return status, json.loads(answer)

    async def list(self, order: FutureOrder, what: str) -> list[Any]:
        status, answer = await self.client("GET", f"/v1/orders/{order.id}/payments/{what}")
        assert status == 200
        found: list[Any] = json.loads(answer)["items"]
        return found


@pytest_asyncio.fixture
async def app(database: Database) -> AsyncIterator[App]:
    app = App(SERVICE, Settings(database_url=URL), "api")
    shell = asyncio.create_task(app.shell.run())
    yield app
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()


@pytest_asyncio.fixture
async def till(app: App) -> Till:
    return Till(Client(app, await app.keys.create(STORE, f"till {uuid4()}", ["payments.view", "payments.record"])))


async def test_the_money_of_an_order_is_recorded_once_and_refused_beyond_what_is_there(app: App, till: Till) -> None:
    order, other, psp = future_order(STORE), future_order(STORE), f"psp_{uuid4().hex[:8]}"
    named = {"gateway": psp}
    status, early = await till.record(order, "captures", "C", 10_00, **named)
    assert (status, early["type"]) == (409, "/problems/authorization_unknown")
    status, first = await till.record(order, "authorizations", "A", 30_00, headers={"idempotency_key": "one"}, **named)
    assert status == 200 and not first["repeated"] and first["totals"]["authorized_minor"] == 30_00
    status, again = await till.record(order, "authorizations", "A", 30_00, headers={"idempotency_key": "two"}, **named)
    assert (status, again) == (200, first | {"repeated": True})
    assert (await till.record(order, "captures", "C", 10_00, **named))[0] == 200
    for amount, code, members in ((20_01, "exceeds_capturable", {"line": "1", "allowed_minor": 20_00}),):
        status, problem = await till.record(order, "captures", "D", amount, **named)
        assert (status, problem["type"]) == (409, f"/problems/{code}") and members.items() <= problem.items()
    status, problem = await till.record(order, "refunds", "R", 10_01, **named)
    assert (status, problem["type"], problem["allowed_minor"]) == (409, "/problems/exceeds_refundable", 10_00)
    status, problem = await till.record(order, "captures", "C", 9_00, **named)
    assert (status, problem["type"]) == (409, "/problems/payment_differs")
    moved = {"lines": [{"line_id": "1", "amount_minor": 9_00}, {"line_id": "2", "amount_minor": 1_00}]}
    status, problem = await till.record(order, "captures", "C", 0, **moved, **named)
    assert (status, problem["type"], problem["line"]) == (409, "/problems/payment_differs", "1")
    status, problem = await till.record(other, "authorizations", "A", 30_00, **named)
    assert (status, problem["type"]) == (409, "/problems/payment_taken") and str(order.id) in problem["detail"]
    status, problem = await till.record(order, "refunds", "R", 5_00, **named, headers={"if_match": '"1"'})
    assert (status, problem["type"]) == (412, "/problems/version_outdated")
    assert (await till.record(order, "refunds", "R", 5_00, **named))[0] == 200
    assert (await till.record(order, "captures", "F", 5_00, success=False, code="expired", **named))[0] == 200
    assert [(one["state"], one["amount_minor"]) for one in await till.list(order, "captures")] == [
        ("succeeded", 10_00),
        ("failed", 5_00),
    ]
    async with app.database.transaction() as tx:
        assert [name for name, _, violated in await check(tx) if violated] == []


async def test_the_same_payment_stated_fifty_times_at_once_is_booked_once(till: Till) -> None:
    order, psp = future_order(STORE), f"psp_{uuid4().hex[:8]}"
    stated = (till.record(order, "authorizations", "A", 30_00, gateway=psp) for _ in range(50))
    answers = await asyncio.gather(*stated)
    assert {status for status, _ in answers} == {200}
    assert sorted(answer["repeated"] for _, answer in answers) == [False] + [True] * 49
    assert len(await till.list(order, "authorizations")) == 1


async def test_a_line_is_reversed_and_its_replacement_paid_as_the_worked_example_states(app: App, till: Till) -> None:
    """Table, balances and statuses as they are shown; the request once more changes nothing."""
    order, psp = future_order(STORE), f"psp_{uuid4().hex[:8]}"
    sold = {"lines": [{"line_id": "1", "amount_minor": 398_00, "quantity": 2}]}
    assert (await till.record(order, "authorizations", "A", 0, gateway=psp, captured=True, **sold))[0] == 200
    body = {
        "currency": "EUR",
        "reversals": [{"line_id": "2", "reverses": "1", "quantity": 2, "amount_minor": 398_00}],
        "lines": [{"line_id": "3", "amount_minor": 298_00, "quantity": 1}],
        "refund_line_id": "4",
    }
    path = f"/v1/orders/{order.id}/reversals"

    async def ask(key: bytes, **more: Any) -> tuple[int, Any]:
        status, answer = await till.client("POST", path, json.dumps(body | more).encode(), idempotency_key=key)
        return status, json.loads(answer)

    status, problem = await ask(b"x")
    assert (status, problem["type"]) == (403, "/problems/scope_missing") and "payments.refund" in problem["detail"]
    status, problem = await ask(b"y", recorded=True, currency="SEK")
    assert (status, problem["type"]) == (409, "/problems/currency_differs")
    status, done = await ask(b"z", recorded=True)
    assert status == 200 and (done["amount_minor"], done["refund_minor"], done["charge_id"]) == (398_00, 100_00, None)
    assert await ask(b"z", recorded=True) == (200, done)
    status, problem = await ask(b"other", recorded=True)
    assert (status, problem["type"], problem["line"]) == (409, "/problems/exceeds_reversible", "1")
    status, answer = await till.client("GET", f"/v1/orders/{order.id}/ledger")
    books = json.loads(answer)
    assert status == 200 and [
        (line["line_id"], line["reverses"], line["authorized_minor"], line["captured_minor"], line["refunded_minor"],
         line["refundable_minor"])
        for line in books["lines"]
    ] == [
        ("1", None, 398_00, 398_00, 0, 0),
        ("2", "1", -398_00, -398_00, 0, 0),
        ("3", None, 298_00, 298_00, 0, 298_00),
        ("4", None, 100_00, 100_00, 100_00, 0),
    ]  # fmt: skip
    assert (books["dintero_payment_status"], books["dintero_transaction_status"]) == (
        "partially_refunded", "PARTIALLY_REFUNDED",
    )  # fmt: skip
    async with app.database.transaction() as tx:
        assert [name for name, _, violated in await check(tx) if violated] == []
        await _the_checker_holds_reversed_lines_to_their_documents(tx, order)


async def _the_checker_holds_reversed_lines_to_their_documents(tx: Connection, order: FutureOrder) -> None:
    """What is paid of each line, and a minor unit that a reversal would not have taken off."""
    here = {"key": str(order.id), "not_invoiced": False, "unbilled": None}
    documents = {str(order.id): {"3": (298_00,)}}

    async def disagreements() -> list[str]:
        return lines.money_agrees([here], lines.by_line(await tx.fetch(lines.PAID)), documents).examples

    assert await disagreements() == []
    broken = "update ledgers set doc = replace(doc::text, '\"reversed_minor\":39800', '\"reversed_minor\":39799')"
    savepoint = tx.transaction()
    await savepoint.start()
    await tx.execute(f"{broken} where key = $1", order.id)
    assert await disagreements() == [f"{order.id} line 1 paid 1 documents 0"]
    await savepoint.rollback()
