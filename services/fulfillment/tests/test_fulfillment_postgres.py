"""The store, the shell and HTTP on a real PostgreSQL: `FULFILLMENT_TEST_DATABASE_URL` names an empty database."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
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
    uid,
)

from chassis.batch.inbound import Inbound
from chassis.batch.shell import Shell
from chassis.batch.statements import write_rows
from chassis.declare.app import Outcome
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
from contracts.registry import MESSAGES
from contracts.snapshot import Address
from fulfillment import store
from fulfillment.domain.folds import evolve
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.stock import Stock, StockKey, StockSet
from fulfillment.handlers import SERVICE
from fulfillment.handlers import STOCK as SHELF
from fulfillment.settings import Settings
from tests.databases import empty, migrated

URL = os.environ.get("FULFILLMENT_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="FULFILLMENT_TEST_DATABASE_URL is not set")]
TABLES = ("fulfillments", "stock_items", "stock", "reservations", "shipments", "journal", "outbox", "idempotency")


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    """The service without its background, on emptied tables."""
    await migrated(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL), "api")
    async with app.database.transaction() as tx:
        await empty(tx, TABLES)
    shell = asyncio.create_task(app.shell.run())
    yield app
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()


async def together(shell: Shell, *messages: Command) -> list[Outcome]:
    """One transaction."""
    ids = [uuid4() for _ in messages]
    outcomes = await shell.handle(
        [Inbound("http", m.key, m.store_id, i, m.TYPE, m, str(i)) for m, i in zip(messages, ids, strict=True)]
    )
    assert {outcome.status for outcome in outcomes} <= {"done"}, outcomes
    return outcomes


async def rows(app: App, sql: str, *values: Any) -> list[Any]:
    async with app.database.connection() as connection:
        return await connection.fetch(sql, *values)


async def audit(app: App) -> None:
    """The tables keep their promises, and the journal makes the same stock and the same states again."""
    async with app.database.connection() as connection:
        assert [found for found in await SERVICE.check(connection) if found[2]] == []  # type: ignore[misc]
    types = {**MESSAGES, StockSet.TYPE: StockSet}
    states: dict[UUID, Any] = {}
    stock: dict[StockKey, Stock] = {}
    for row in await rows(app, "select key, store_id, aggregate, type, payload::text from journal order by id"):
        event: Any = types[row["type"]].model_validate_json(row["payload"])
        aggregate = next(a for a in SERVICE.aggregates if a.table == row["aggregate"])
        before = states.get(row["key"], aggregate.initial(row["key"], row["store_id"]))
        states[row["key"]] = aggregate.evolve(before, event)
        for key in SHELF.touched(event):
            stock[key] = SHELF.evolve(stock.get(key), key, event)
    for aggregate in SERVICE.aggregates:
        for row in await rows(app, f"select key, doc::text from {aggregate.table}"):
            folded = states[row["key"]]
            expected = aggregate.compact(folded) if aggregate.compact is not None else folded
            assert aggregate.state.model_validate_json(row["doc"]) == expected
    now = await rows(app, "select store_id, location, sku, on_hand, reserved from stock")
    assert {StockKey(row[0], row[1], row[2]): Stock(row[3], row[4]) for row in now} == stock


async def deadlocks(app: App) -> int:
    await asyncio.sleep(0)
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
    await asyncio.sleep(1.1)  # PostgreSQL reports its statistics about once a second
    assert await deadlocks(app) == before
    await audit(app)


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


# -- HTTP -------------------------------------------------------------------------------------------------------------


class Client:
    """Speaks ASGI to the service with a key of one store."""

    def __init__(self, app: App, key: str) -> None:
        self.asgi, self.key = app.asgi(), key

    async def __call__(
        self, method: str, path: str, body: Any = None, if_match: str = "", **query: Any
    ) -> tuple[int, Any]:
        sent: list[Any] = []
        headers = [(b"authorization", f"Bearer {self.key}".encode()), (b"content-type", b"application/json")]
        headers += [(b"if-match", if_match.encode())] if if_match else []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": quote(path).encode(), "query_string": urlencode(query).encode(), "root_path": "",
            "headers": headers, "server": ("test", 80), "client": ("test", 1),
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": json.dumps(body).encode() if body is not None else b""}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.asgi(scope, receive, send)
        return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


async def client(app: App, *scopes: str, store: str = STORE) -> Client:
    return Client(app, await app.keys.create(store, "test", scopes or ("*",)))


async def test_stock_is_counted_and_read_also_under_an_sku_with_slashes(app: App) -> None:
    call = await client(app)
    row = {"location": "main", "sku": "A/B c", "on_hand": 7, "reserved": 0, "available": 7, "version": 1}
    assert await call("PUT", "/v1/stock/main/A/B c", {"on_hand": 7}) == (200, row)
    assert await call("GET", "/v1/stock/main/A/B c") == (200, row)
    assert (await call("GET", "/v1/stock/main/other"))[0] == 404
    assert (await (await client(app, store="st_2"))("GET", "/v1/stock/main/A/B c"))[0] == 404


async def test_a_count_is_set_only_at_the_version_that_if_match_names(app: App) -> None:
    """The version counts the changes of the count; what orders reserve does not change it."""
    call = await client(app)
    path = "/v1/stock/main/V"
    for precondition in ("*", '"1"'):
        assert (await call("PUT", path, {"on_hand": 7}, if_match=precondition))[0] == 412
    assert (await call("GET", path))[0] == 404
    assert [(await call("PUT", path, {"on_hand": n}))[1]["version"] for n in (7, 8)] == [1, 2]
    await together(app.shell, reserve("v1", ("V", 2)))
    status, problem = await call("PUT", path, {"on_hand": 9}, if_match='"1"')
    assert (status, problem["type"], problem["version"]) == (412, "/problems/version_outdated", 2)
    status, row = await call("PUT", path, {"on_hand": 9}, if_match='"2"')
    assert (status, row["on_hand"], row["version"]) == (200, 9, 3)
    [listed] = (await call("GET", "/v1/stock"))[1]["items"]
    assert listed == (await call("GET", path))[1] == row | {"reserved": 2, "available": 7}


async def test_a_thousand_counts_come_in_one_request_and_each_refusal_is_named(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("held", 5), reserve("r1", ("held", 2)))
    items = [{"location": "main", "sku": f"Q{n}", "on_hand": n} for n in range(999)]
    status, said = await call(
        "PUT", "/v1/stock", {"items": [*items, {"location": "main", "sku": "held", "on_hand": 1}]}
    )
    assert (status, said["set"], [no["code"] for no in said["refused"]]) == (200, 999, ["stock_reserved"])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while len(seen) < 1_000:
        _, page = await call("GET", "/v1/stock", limit=300, **cursor)
        seen += [item["sku"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert len(set(seen)) == 1_000
    assert seen == sorted(seen)
    assert (await call("PUT", "/v1/stock", {"items": items[:1] * 2}))[0] == 422


async def test_the_fulfillments_of_a_store_are_listed_newest_first_each_once_with_totals_and_version(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 50))
    for n in range(5):
        await together(app.shell, reserve(f"r{n}", ("A", 1 + n), order=f"o{n}"))
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while not seen or cursor["cursor"]:
        _, page = await call("GET", "/v1/fulfillments", limit=2, **cursor)
        seen += page["items"]
        cursor = {"cursor": page["next_cursor"]}
        await together(app.shell, reserve(f"later {len(seen)}", ("A", 1), order=f"later {len(seen)}"))
    assert [(one["status"], one["totals"]) for one in seen] == [
        ("reserved", {"reserved": n, "shipped": 0}) for n in (5, 4, 3, 2, 1)
    ]
    for one in seen:
        _, whole = await call("GET", f"/v1/fulfillments/{one['order_id']}")
        assert {name: whole[name] for name in ("order_id", "version", "status", "totals")} == {
            name: one[name] for name in ("order_id", "version", "status", "totals")
        }
    stranger = await client(app, store="st_other")
    assert (await stranger("GET", "/v1/fulfillments"))[1]["items"] == []


async def test_a_shipment_is_shipped_and_delivered_once(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    _, page = await call("GET", "/v1/shipments", status="picking")
    (shipment,) = page["items"]
    path = f"/v1/shipments/{shipment['shipment_id']}"
    status, problem = await call("POST", f"{path}/deliver")
    assert (status, problem["type"]) == (409, "/problems/shipment_not_shipped")
    for carrier in ("DHL", "UPS"):  # the second message has another carrier
        status, said = await call("POST", f"{path}/ship", {"carrier": carrier, "tracking_number": "T1"})
        assert (status, said["status"], said["carrier"], said["tracking_number"]) == (200, "shipped", "DHL", "T1")
    for _ in range(2):
        status, said = await call("POST", f"{path}/deliver")
        assert (status, said["status"]) == (200, "delivered")
    _, kept = await call("GET", path)
    assert kept["shipped_at"] and kept["delivered_at"] and kept["lines"] == said["lines"]
    _, order = await call("GET", f"/v1/fulfillments/{shipment['order_id']}")
    assert (order["status"], order["totals"]) == ("fulfilled", {"reserved": 0, "shipped": 2})
    await audit(app)


async def test_the_warehouse_sees_where_a_shipment_goes_and_a_changed_address(app: App) -> None:
    call = await client(app)
    paris, lyon = ({"line1": "1 Way", "city": city, "country": "FR"} for city in ("Paris", "Lyon"))
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1", to=Address.model_validate(paris)))
    for stated in (paris, lyon):
        _, page = await call("GET", "/v1/shipments", status="picking")
        (shipment,) = page["items"]
        assert {name: value for name, value in shipment["ship_to"].items() if value is not None} == stated
        _, alone = await call("GET", f"/v1/shipments/{shipment['shipment_id']}")
        assert alone["ship_to"] == shipment["ship_to"]
        await together(app.shell, start("s2", to=Address.model_validate(lyon)))
    await audit(app)


async def test_a_cancelled_shipment_is_not_sent(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"), cancel("c1"))
    _, page = await call("GET", "/v1/shipments", status="cancelled")
    status, problem = await call("POST", f"/v1/shipments/{page['items'][0]['shipment_id']}/ship")
    assert (status, problem["type"]) == (409, "/problems/shipment_cancelled")


async def test_a_shipment_on_hold_is_listed_as_such_and_does_not_ship(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"), suspend("h1"))
    assert (await call("GET", "/v1/shipments", status="picking"))[1]["items"] == []
    (shipment,) = (await call("GET", "/v1/shipments", status="on_hold"))[1]["items"]
    path = f"/v1/shipments/{shipment['shipment_id']}"
    status, problem = await call("POST", f"{path}/ship")
    _, order = await call("GET", f"/v1/fulfillments/{shipment['order_id']}")
    (suspension,) = order["suspensions"]
    assert (status, problem["type"]) == (409, "/problems/shipment_on_hold")
    assert suspension["since"][:19] in problem["detail"]
    assert suspension["suspension_id"] == str(uid("h1"))
    await together(app.shell, resume("h2", "h1"))
    status, said = await call("POST", f"{path}/ship")
    assert (status, said["status"]) == (200, "shipped")
    await audit(app)


async def test_what_was_added_is_shown_with_what_was_there_and_restocked_pieces_are_stated(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 9), reserve("r1", ("A", 2)), start("s1"))
    await together(app.shell, extend("e1", ("1", "A", 3)))
    (shipment,) = (await call("GET", "/v1/shipments"))[1]["items"]
    assert [line["quantity"] for line in shipment["lines"]] == [5]
    _, shipped = await call("POST", f"/v1/shipments/{shipment['shipment_id']}/ship")
    assert shipped["lines"] == shipment["lines"]
    await together(app.shell, restock("b1", ("1", 4)))
    _, order = await call("GET", f"/v1/fulfillments/{shipment['order_id']}")
    assert (order["totals"], [line["quantity"] for line in order["restocked"]]) == ({"reserved": 0, "shipped": 5}, [4])
    assert (await call("GET", "/v1/stock/main/A"))[1]["on_hand"] == 8
    await audit(app)


async def test_an_emptied_shipment_is_refused_also_when_the_document_has_no_room_for_it(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"), reduce("d1", ("1", 2)))
    (shipment,) = (await call("GET", "/v1/shipments", status="cancelled"))[1]["items"]
    for action in ("ship", "deliver"):
        status, problem = await call("POST", f"/v1/shipments/{shipment['shipment_id']}/{action}")
        assert (status, problem["type"]) == (409, "/problems/shipment_cancelled")
    await audit(app)


async def test_a_key_without_the_scope_and_a_key_of_another_store_see_and_move_nothing(app: App) -> None:
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    _, page = await (await client(app))("GET", "/v1/shipments")
    path = f"/v1/shipments/{page['items'][0]['shipment_id']}"
    viewer, stranger = await client(app, "fulfillment.view"), await client(app, store="st_2")
    assert (await viewer("POST", f"{path}/ship"))[0] == 403
    assert (await viewer("PUT", "/v1/stock/main/A", {"on_hand": 9}))[0] == 403
    assert (await stranger("POST", f"{path}/ship"))[0] == (await stranger("GET", path))[0] == 404
    assert (
        (await stranger("GET", "/v1/shipments"))[1]["items"] == (await stranger("GET", "/v1/stock"))[1]["items"] == []
    )


async def test_a_cursor_of_another_list_is_refused(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), count("B", 5))
    _, page = await call("GET", "/v1/stock", limit=1)
    assert (await call("GET", "/v1/shipments", cursor=page["next_cursor"]))[0] == 400


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
            async with asyncio.timeout(30):  # ends only a reservation that waits for the lock, on a slow machine too
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
