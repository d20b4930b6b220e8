"""The gateway `manual` on a real PostgreSQL: an order waits for its money, which statements of a bank bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from asyncpg import ConnectionDoesNotExistError, Record
from payments_database import URL
from payments_settled import balances, imported, row, violated

from chassis.batch.database import Database
from payments.domain.gateway import GatewayCall, follow_up_id
from payments.domain.statements import Row, Statement
from payments.gateways.manual import Manual
from payments.gateways.port import Unclear

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]


class Bank:
    """An order that is paid by transfers, and the bank that sends statements."""

    def __init__(self, database: Database, store_id: str) -> None:
        self.database, self.store_id, self.order_id, self.days = database, store_id, uuid4(), 0
        self.gateway = Manual(self.fetch, 14)

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Record]:
        async with self.database.connection() as connection:
            rows: Sequence[Record] = await connection.fetch(statement, *arguments)
            return rows

    def call(self, kind: Any, amount: int, reference: str | None = None, refers_to: UUID | None = None) -> GatewayCall:
        return GatewayCall(
            operation_id=uuid4(), gateway="manual", kind=kind, order_id=self.order_id, store_id=self.store_id, currency="EUR",
            amount_minor=amount, refers_to=refers_to, reference=reference,
        )  # fmt: skip

    async def states(self, statement: Statement) -> dict[str, int]:
        return dict((await imported(self.database, self.store_id, statement, gateway="manual")).states)

    def statement(self, *rows: Row) -> Statement:
        self.days += 1
        total = sum(one.net_minor for one in rows)
        return Statement(f"day {self.days}", "DE02", "EUR", rows, opening_minor=0, closing_minor=total)

    async def state(self, call: GatewayCall) -> str | None:
        known = await self.gateway.by_key(call)
        return known and known.state


@pytest_asyncio.fixture
async def bank(database: Database) -> Bank:
    """In a store that no other test has."""
    return Bank(database, f"st_{uuid4().hex[:8]}")


def transfer(amount: int, text: str) -> Row:
    return row(1, amount, text, kind="transfer")


async def test_an_order_is_paid_in_parts_and_too_much_waits_for_a_person(bank: Bank) -> None:
    """Received 120.01: 120.00 for the order, and a cent that is owed to the buyer."""
    authorization = bank.call("authorize", 12_000, "A-1")
    assert await bank.state(authorization) is None
    for _ in range(2):  # the same call again expects the same money
        assert (await bank.gateway.call(authorization)).state == "pending"
    first = bank.statement(transfer(11_999, "Order A-1"))
    for _ in range(2):
        assert await bank.states(first) == {"matched": 1}
    assert await bank.state(authorization) == "pending"
    assert await bank.states(bank.statement(transfer(2, "A-2"))) == {"unmatched": 1}
    assert await bank.states(bank.statement(transfer(2, "A-1"))) == {"overpaid": 1}
    assert await bank.state(authorization) == "succeeded"
    assert (
        await bank.gateway.call(bank.call("capture", 12_000, refers_to=authorization.operation_id))
    ).state == "succeeded"
    assert await balances(bank.database, bank.store_id) == {
        "bank EUR": 12_003, "gateway_clearing EUR": -12_000, "suspense EUR": -3}  # fmt: skip
    assert await violated(bank.database) == {}


async def test_a_refund_waits_until_the_bank_has_paid_it_out(bank: Bank) -> None:
    authorization, back = bank.call("authorize", 500, "A-1"), bank.call("refund", 200, refers_to=uuid4())
    await bank.gateway.call(authorization)
    await bank.states(bank.statement(transfer(500, "A-1")))
    assert (await bank.gateway.call(back)).gateway_reference == "A-1"
    assert await bank.state(back) == "pending"
    assert await bank.states(bank.statement(transfer(-200, "refund A-1"))) == {"matched": 1}
    assert await bank.state(back) == "succeeded"
    assert await balances(bank.database, bank.store_id) == {"bank EUR": 300, "gateway_clearing EUR": -300}
    assert await violated(bank.database) == {}


async def test_an_order_whose_money_does_not_come_is_declined_unless_a_part_has_come(bank: Bank) -> None:
    late, partly = bank.call("authorize", 500, "A-1"), bank.call("authorize", 500, "A-2")
    for call in (late, partly):
        await bank.gateway.call(call)
    await bank.states(bank.statement(transfer(1, "A-2")))
    await bank.fetch(
        "update expected_transfers set expires_at = now() - interval '1 s' where store_id = $1", bank.store_id
    )
    found = await bank.gateway.by_reference(late)
    assert found is not None and (found.state, found.code) == ("refused", "transfer_expired")
    assert await bank.state(partly) == "pending"
    assert await bank.states(bank.statement(transfer(500, "A-1"))) == {"unmatched": 1}


async def test_a_transfer_that_completes_an_order_wakes_the_task_that_asks_for_it(bank: Bank) -> None:
    authorization = bank.call("authorize", 500, "A-1")
    await bank.gateway.call(authorization)
    await bank.fetch(
        "insert into tasks (task_id, key, store_id, aggregate, kind, body, correlation_id, run_at)"
        " values ($1, $2, $3, 'ledgers', 'gateway', '{}', 'c', now() + interval '1 day')",
        follow_up_id(authorization.operation_id), bank.order_id, bank.store_id,
    )  # fmt: skip
    await bank.states(bank.statement(transfer(500, "A-1")))
    [due] = await bank.fetch(
        "delete from tasks where key = $1 returning run_at <= clock_timestamp() as due", bank.order_id
    )
    assert due["due"]


async def test_a_database_that_is_away_leaves_the_outcome_open(bank: Bank) -> None:
    async def away(statement: str, *arguments: Any) -> Sequence[Record]:
        raise ConnectionDoesNotExistError("gone")

    with pytest.raises(Unclear):
        await Manual(away, 14).call(bank.call("authorize", 1, "A-1"))
