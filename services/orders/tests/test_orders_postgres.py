"""The store of orders on a real PostgreSQL: what counts against the limit of the intake, and whom corrected terms wake."""

from __future__ import annotations

from orders_database import REAL, execute, handle, inbound, place, put_market
from orders_play import NOW

from chassis.process.app import App
from contracts import payments
from contracts.payments import MoneyTotals
from orders import store

pytestmark = REAL

LIMIT = 300


async def used(app: App) -> int:
    async with app.database.connection() as connection:
        count: int = await connection.fetchval(store.IN_FLIGHT, LIMIT)
        return count


async def woken(app: App) -> list[float]:
    """Seconds until each timer that is armed."""
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            "select extract(epoch from due_at - clock_timestamp())::float8 from timers order by 1"
        )
    return [row[0] for row in rows]


# -- intake -----------------------------------------------------------------------------------------------------------


async def test_commands_that_were_just_asked_count_in_full(app: App) -> None:
    await place(app, 200, "a")
    await place(app, 50, "b")
    assert await used(app) == 250


async def test_one_store_with_a_slow_gateway_uses_a_quarter_of_the_limit_and_nothing_after_five_minutes(
    app: App,
) -> None:
    await place(app, LIMIT + 50, "a")
    await execute(app, "update orders set waiting_since = now() - interval '6 seconds'")
    assert await used(app) == LIMIT // 4
    await place(app, 10, "b")
    assert await used(app) == LIMIT // 4 + 10
    await execute(app, "update orders set waiting_since = now() - interval '301 seconds'")
    assert await used(app) == 0


async def test_bank_transfers_that_are_pending_at_a_gateway_use_nothing_of_the_limit(app: App) -> None:
    await put_market(app, "a", gateway="test")
    keys = await place(app, LIMIT + 10, "a")
    async with app.database.connection() as connection:
        asked = await connection.fetch("select key, operation_id from journal where type = 'payments.authorize'")
    operations = {row["key"]: row["operation_id"] for row in asked}
    assert len(operations) == len(keys)
    await handle(app, *(
        inbound(payments.Pending(
            order_id=key, store_id="a", version=1, operation_id=operations[key], currency="EUR", totals=MoneyTotals(),
            command="authorize", since=NOW,
        ), key, "a")
        for key in keys
    ))  # fmt: skip
    assert await used(app) == 0


# -- corrected terms --------------------------------------------------------------------------------------------------


async def test_a_corrected_market_wakes_the_orders_that_wait_a_hundred_a_second_and_no_other(app: App) -> None:
    await put_market(app, "a", currency="GBP")
    waiting = await place(app, 250, "a")
    await put_market(app, "a", currency="GBP")  # the same again
    await place(app, 3, "b", lifecycle="awaiting_payment")
    assert await woken(app) == []
    await put_market(app, "a", currency="EUR")
    due = await woken(app)
    assert len(due) == len(waiting) and [sum(n - 1 < one <= n for one in due) for n in range(3)] == [100, 100, 50]


async def test_a_corrected_market_wakes_a_rejected_invoice_and_no_other_exception_of_what_is_placed(app: App) -> None:
    await put_market(app, "a", seller="wrong")
    keys = await place(app, 2, "a")
    await execute(app, "update orders set status = 'approved', waiting = 'exception', waiting_step = 'place.fulfill'")
    await execute(app, "update orders set waiting_step = 'settle.invoice' where key = $1", keys[0])
    await execute(app, "delete from timers")
    await put_market(app, "a", seller="acme")
    async with app.database.connection() as connection:
        assert [row["key"] for row in await connection.fetch("select key from timers")] == [keys[0]]


async def test_a_woken_order_starts_with_the_corrected_terms(app: App) -> None:
    await put_market(app, "a", currency="GBP")
    (key,) = await place(app, 1, "a")
    await put_market(app, "a", currency="EUR")
    assert await app.timers.fire() == 1
    async with app.database.connection() as connection:
        row = await connection.fetchrow("select status, waiting, market from orders where key = $1", key)
    assert row is not None and (row["status"], row["waiting"]) == ("placing", "answer") and '"EUR"' in row["market"]
