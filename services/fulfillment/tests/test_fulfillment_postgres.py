"""The store and the shell on a real PostgreSQL: workers side by side, and what the tables themselves refuse."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from fulfillment_database import REAL, URL, audit, rows, together
from fulfillment_play import (
    STORE,
    cancel,
    count,
    deliver,
    extend,
    reduce,
    release,
    reserve,
    restock,
    resume,
    ship,
    start,
    suspend,
)

from chassis.batch.inbound import Inbound
from chassis.batch.shell import Shell
from chassis.batch.statements import write_rows
from chassis.declare.service import Change
from chassis.process.app import App
from contracts.base import Command
from contracts.fulfillment import (
    OutOfStock,
    PlacedLine,
    Released,
    Reserved,
    ShipmentPlan,
    ShipmentsCancelled,
    Started,
    StockTotals,
)
from contracts.limits import LOCATIONS_MAX, ORDER_LINES_MAX
from fulfillment import store
from fulfillment.domain.folds import evolve
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.handlers import SERVICE
from tests.waiting import patience, until

pytestmark = REAL


async def deadlocks(app: App) -> int:
    """A connection that ends has reported its statistics; an open one may do so seconds later."""
    others = """
        select from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"""
    await app.database.accept()

    async def alone() -> bool:
        return not await rows(app, others)

    await until(alone, "the end of the other connections")
    return int((await rows(app, "select deadlocks from pg_stat_database where datname = current_database()"))[0][0])


async def test_three_workers_sell_the_last_five_pieces_to_five_of_two_hundred_orders(app: App) -> None:
    """Promise 4."""
    await together(app.shell, count("hot", 5))
    wanted = [reserve(f"r{n}", ("hot", 1), order=f"o{n}") for n in range(200)]
    shells = [Shell(SERVICE, app.database, app.metrics) for _ in range(3)]
    made = await asyncio.gather(*(together(shells[n % 3], *wanted[n * 20 : n * 20 + 20]) for n in range(10)))
    events = [event for outcomes in made for outcome in outcomes for event in outcome.events]
    assert sum(isinstance(event, Reserved) for event in events) == 5
    assert sum(isinstance(event, OutOfStock) for event in events) == 195
    await audit(app)


async def test_workers_with_crossed_skus_wait_for_each_other_and_never_in_a_circle(app: App) -> None:
    before = await deadlocks(app)
    skus = [f"S{n}" for n in range(12)]
    await together(app.shell, *(count(sku, 10_000) for sku in skus))
    shells = [Shell(SERVICE, app.database, app.metrics) for _ in range(4)]

    async def work(n: int) -> None:
        order = skus if n % 2 else skus[::-1]
        for turn in range(25):
            goods = [(sku, 1) for sku in order]
            await together(
                shells[n], *(reserve(f"r{n}-{turn}-{k}", *goods, order=f"o{n}-{turn}-{k}") for k in range(4))
            )

    await asyncio.gather(*(work(n) for n in range(4)))
    await audit(app)
    assert await deadlocks(app) == before


async def test_whatever_three_workers_are_asked_the_tables_add_up(app: App) -> None:
    dice = random.Random(7)
    skus, both = [f"S{n}" for n in range(8)], ("north", "south")
    await together(app.shell, *(count(sku, dice.randint(0, 60), at=place) for sku in skus for place in both))

    def story(order: str) -> list[Command]:
        goods = [(dice.choice(skus), dice.randint(1, 3)) for _ in range(dice.randint(0, 4))]
        first = reserve(f"{order}r1", *goods, order=order, at=dice.choice([both, both[::-1]]))
        told: list[Command] = [
            first,
            first,
            reserve(f"{order}r2", *goods, order=order),
            start(f"{order}s1", order=order),
        ]
        if dice.random() < 0.3:
            again = reserve(f"{order}r3", *goods, order=order, at=both)
            told += [cancel(f"{order}c", order=order), again, start(f"{order}s2", order=order)]
        if dice.random() < 0.2:
            told.append(release(f"{order}u", order=order))
        more = (str(dice.randint(1, 5)), dice.choice(skus), dice.randint(1, 3))
        fewer = (str(dice.randint(1, 4)), dice.randint(1, 3))
        changes: list[Command] = [
            suspend(f"{order}h1", order=order),
            resume(f"{order}h2", f"{order}h1", order=order),
            extend(f"{order}e", more, order=order, at=both),
            reduce(f"{order}d", fewer, order=order),
        ]
        for change in dice.sample(changes, dice.randint(0, len(changes))):
            told.insert(dice.randint(1, len(told)), change)
        return told

    async def work(n: int) -> None:
        shell = Shell(SERVICE, app.database, app.metrics)
        for turn in range(8):
            messages = [m for k in range(15) for m in story(f"{n}-{turn}-{k}")]
            cut = dice.randint(1, len(messages) - 1)
            for part in (messages[:cut], messages[cut:]):
                await together(shell, *part)
            for row in await rows(app, "select shipment_id, order_id from shipments order by random() limit 10"):
                asked = (
                    ship(row[0], str(uuid4())),
                    deliver(row[0], str(uuid4())),
                    extend(str(uuid4()), ("1", dice.choice(skus), 1), at=both),
                    restock(str(uuid4()), ("1", 1), ("2", 2)),
                    reduce(str(uuid4()), ("1", 1)),
                )
                for message in asked:
                    mine = message.model_copy(update={"order_id": row["order_id"]})
                    await shell.handle([Inbound("http", mine.key, STORE, uuid4(), mine.TYPE, mine, str(uuid4()))])

    await asyncio.gather(*(work(n) for n in range(3)))
    counted = {row[0]: row[1] for row in await rows(app, "select state, count(*) from reservations group by state")}
    assert set(counted) == {"reserved", "released", "consumed"}
    await audit(app)


BROKEN: Sequence[tuple[str, str]] = (
    ("reserved is the sum", "update stock set reserved = reserved - 1 where reserved > 0"),
    ("the pieces of the shipments", "update reservations set state = 'consumed' where state = 'reserved'"),
    ("an open shipment's pieces", "delete from reservations where state = 'reserved'"),
    ("an open shipment's pieces", "update reservations set quantity = quantity + 1"),
    ("an open shipment's pieces", "update shipments set status = 'cancelled'"),
    ("a suspended order", "update shipments set status = 'on_hold'"),
    ("a fulfilled order", "update fulfillments set status = 'fulfilled' where status = 'started'"),
    ("a settled order", "update fulfillments set status = 'released' where status = 'started'"),
)


@pytest.mark.parametrize(("name", "damage"), BROKEN)
async def test_a_damaged_table_is_found_by_the_check(app: App, name: str, damage: str) -> None:
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    await audit(app)
    async with app.database.connection() as connection:
        await connection.execute(damage)
        found = await SERVICE.check(connection)  # type: ignore[misc]
    assert any(label.find(name) >= 0 and violated for label, _, violated in found), found


@pytest.mark.parametrize("oversold", ["reserved = on_hand + 1", "on_hand = -1", "reserved = -1"])
async def test_the_table_itself_refuses_to_oversell(app: App, oversold: str) -> None:
    await together(app.shell, count("A", 5))
    with pytest.raises(Exception, match="stock_"):
        await rows(app, f"update stock set {oversold}")


async def test_the_database_moves_no_reservation_twice(app: App) -> None:
    """Promise 4, below the domain: were a decision wrong, nothing of its transaction would stay."""
    order = uuid4()
    placed = (PlacedLine(line_id="1", sku="A", quantity=1, location="main"),)
    who: dict[str, Any] = {"order_id": order, "store_id": STORE, "operation_id": uuid4(), "totals": StockTotals()}
    reserved = Reserved(**who, lines=placed)
    before = Fulfillment()
    held = evolve(before, reserved)
    release_it = Change(order, STORE, held, held, (Released(**who, lines=placed),))
    async with app.database.transaction() as tx:
        await write_rows(tx, store.rows([Change(order, STORE, before, held, (reserved,))]))
        await write_rows(tx, store.rows([release_it]))
    with pytest.raises(store.ReservationClosed):
        async with app.database.transaction() as tx:
            await write_rows(tx, store.rows([release_it]))
    assert [row["state"] for row in await rows(app, "select state from reservations")] == ["released"]


@pytest.mark.parametrize(
    "theirs", [{"store_id": "st_2"}, {"order_id": uuid4()}], ids=["another store", "another order"]
)
async def test_a_reservation_and_a_shipment_of_another_order_or_store_are_never_written_over(
    app: App, theirs: dict[str, Any]
) -> None:
    """Promise 4, below the domain: ids that repeat reach no row of another owner."""
    placed = (PlacedLine(line_id="1", sku="A", quantity=1, location="main"),)
    plan = ShipmentPlan(shipment_id=uuid4(), location="main", lines=placed)
    mine: dict[str, Any] = {"order_id": uuid4(), "store_id": STORE}
    more: dict[str, Any] = {"operation_id": uuid4(), "totals": StockTotals()}

    def changes(owner: dict[str, Any]) -> tuple[Change[Fulfillment], Change[Fulfillment]]:
        """Reserve, start; then cancel: the statuses that the rows get."""
        reserved, started = Reserved(**owner, **more, lines=placed), Started(**owner, **more, shipments=(plan,))
        cancelled = ShipmentsCancelled(**owner, **more, lines=placed)
        held = evolve(evolve(Fulfillment(), reserved), started)
        whose = owner["order_id"], owner["store_id"]
        return (Change(*whose, Fulfillment(), held, (reserved, started)),
                Change(*whose, held, evolve(held, cancelled), (cancelled,)))  # fmt: skip

    async with app.database.transaction() as tx:
        await write_rows(tx, store.rows([changes(mine)[0]]))
    for change in changes(mine | theirs):
        with pytest.raises(store.ShipmentTaken):
            async with app.database.transaction() as tx:
                await write_rows(tx, store.rows([change])[1:])
    if "order_id" not in theirs:  # the order is part of a reservation's key
        with pytest.raises(store.ReservationClosed):
            async with app.database.transaction() as tx:
                await write_rows(tx, store.rows([changes(mine | theirs)[1]]))
    owners = "select order_id, store_id, status as state from shipments union all select order_id, store_id, state from reservations"
    assert [tuple(row) for row in await rows(app, owners)] == [
        (*mine.values(), "picking"),
        (*mine.values(), "reserved"),
    ]


async def test_an_empty_shelf_is_not_locked_and_counts_as_empty(app: App) -> None:
    """Another transaction holds the empty shelf; the order is answered all the same, from the shelf that has pieces."""
    await together(app.shell, count("tea", 0), count("tea", 3, at="second"))
    other = await asyncpg.connect(URL)  # without the time limits of the service's own connections
    try:
        async with other.transaction():
            await other.execute("select from stock where location = 'main' for update")
            async with patience():  # ends only a reservation that waits for the lock, on a slow machine too
                (outcome,) = await together(app.shell, reserve("r1", ("tea", 2), at=("main", "second")))
    finally:
        await other.close()
    (event,) = outcome.events
    assert isinstance(event, Reserved) and [line.location for line in event.lines] == ["second"]
    await together(app.shell, release("r2"))
    await audit(app)


async def test_two_workers_that_fill_an_empty_shelf_do_not_write_over_each_other(app: App) -> None:
    """Twenty orders shipped all there was; their pieces come back at once, while a person counts."""
    orders = [f"o{n}" for n in range(20)]
    await together(app.shell, count("tea", 20))
    for order in orders:
        await together(app.shell, reserve(f"r{order}", ("tea", 1), order=order), start(f"s{order}", order=order))
    for row in await rows(app, "select shipment_id, order_id from shipments"):
        await together(app.shell, ship(row[0], str(uuid4())).model_copy(update={"order_id": row["order_id"]}))
    assert [tuple(row) for row in await rows(app, "select on_hand, reserved from stock")] == [(0, 0)]
    shells = [Shell(SERVICE, app.database, app.metrics) for _ in range(4)]
    await asyncio.gather(
        *(together(shells[n % 4], restock(f"b{order}", ("1", 1), order=order)) for n, order in enumerate(orders))
    )
    assert [tuple(row) for row in await rows(app, "select on_hand, reserved from stock")] == [(20, 0)]
    await audit(app)


async def test_the_database_restocks_no_piece_twice(app: App) -> None:
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    (shipment,) = await rows(app, "select shipment_id from shipments")
    await together(app.shell, ship(shipment[0]))
    for damage in ("restocked = 3", "restocked = -1", "state = 'released', restocked = 1"):
        with pytest.raises(Exception, match="reservations_restocked"):
            await rows(app, f"update reservations set {damage}")


async def test_the_widest_order_at_the_most_locations_is_reserved(app: App) -> None:
    """1,000 lines x 20 locations, each line only at the last location: 20,000 shelves in one transaction."""
    skus = [f"s{n}" for n in range(ORDER_LINES_MAX)]
    locations = tuple(f"l{n:02}" for n in range(LOCATIONS_MAX))
    async with app.database.transaction() as tx:
        await tx.execute(
            "insert into stock select $1, l, s, case when l = $2 then 5 else 1 end, 0"
            " from unnest($3::text[]) l, unnest($4::text[]) s",
            STORE, locations[-1], list(locations), skus,
        )  # fmt: skip
    (outcome,) = await together(app.shell, reserve("wide", *((sku, 3) for sku in skus), at=locations))
    (event,) = outcome.events
    assert isinstance(event, Reserved)
    assert {line.location for line in event.lines} == {locations[-1]}
    assert event.totals.reserved == 3 * ORDER_LINES_MAX
