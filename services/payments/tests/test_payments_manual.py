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
from payments import explaining
from payments.domain.gateway import GatewayCall, follow_up_id
from payments.domain.statements import Row, Statement
from payments.explaining import Explained, Unresolvable
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


async def test_a_void_of_money_that_has_arrived_waits_until_the_bank_has_paid_it_back(bank: Bank) -> None:
    """As a refund does: else what the buyer is owed is in no list, and its payment matches nothing."""
    authorization, unpaid = bank.call("authorize", 500, "A-1"), bank.call("authorize", 300, "A-2")
    for call in (authorization, unpaid):
        await bank.gateway.call(call)
    await bank.states(bank.statement(transfer(500, "A-1")))
    back = bank.call("void", 200, refers_to=authorization.operation_id)
    for _ in range(2):
        assert (await bank.gateway.call(back)).state == "pending"
    assert await bank.states(bank.statement(transfer(-200, "back A-1"))) == {"matched": 1}
    assert await bank.state(back) == "succeeded"
    nothing = bank.call("void", 300, refers_to=unpaid.operation_id)  # a person has stated that it is authorized
    assert (await bank.gateway.call(nothing)).state == "succeeded"
    assert await balances(bank.database, bank.store_id) == {"bank EUR": 300, "gateway_clearing EUR": -300}
    assert await violated(bank.database) == {}


async def test_a_person_states_which_orders_a_transfer_without_their_names_pays(bank: Bank) -> None:
    one, two, other = (
        bank.call("authorize", amount, name) for amount, name in ((500, "A-1"), (300, "A-2"), (90, "A-3"))
    )
    for call in (one, two, other):
        await bank.gateway.call(call)
    store_id, rows = bank.store_id, bank.statement(transfer(850, "thanks"))
    statement = (await imported(bank.database, store_id, rows, gateway="manual")).settlement_id

    async def states(call: GatewayCall, is_fee: bool = False) -> None:
        stated = Explained("match", call.operation_id, "they called", is_fee, "person:ann")
        async with bank.database.transaction() as tx:
            await explaining.resolve(tx, store_id, statement, 1, stated)

    for _ in range(2):  # the same again allots nothing more
        await states(one)
    assert (await bank.state(one), await bank.state(two)) == ("succeeded", "pending")
    assert (await balances(bank.database, store_id))["suspense EUR"] == -350
    assert await violated(bank.database) == {}
    with pytest.raises(Unresolvable) as refused:
        await states(bank.call("authorize", 1))
    assert refused.value.code == "operation_unknown"
    for _ in range(2):
        await states(two)
    await states(other)
    assert (await bank.state(two), await bank.state(other)) == ("succeeded", "pending")
    assert await balances(bank.database, store_id) == {"bank EUR": 850, "gateway_clearing EUR": -850}
    with pytest.raises(Unresolvable) as refused:
        await states(one)
    assert refused.value.code == "row_resolved"
    short = bank.statement(transfer(38, "x"))
    statement = (await imported(bank.database, store_id, short, gateway="manual")).settlement_id
    await states(other, is_fee=True)
    assert await bank.state(other) == "succeeded"
    assert await balances(bank.database, store_id) == {
        "bank EUR": 888, "fees EUR": 2, "gateway_clearing EUR": -890}  # fmt: skip
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
