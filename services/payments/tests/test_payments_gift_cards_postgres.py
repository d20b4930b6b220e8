"""Gift cards over HTTP and in batches, on a real PostgreSQL: `PAYMENTS_TEST_DATABASE_URL` names an empty database."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from payments_database import URL, own_tables
from payments_play import STORE, lines

from chassis.batch.adoption import Adopted, adopt
from chassis.batch.database import Database
from chassis.batch.inbound import Inbound
from chassis.batch.unit_of_work import Batch
from chassis.declare.app import Principal
from chassis.kafka import recovery
from chassis.process.app import App
from contracts.base import Event
from contracts.gift_cards import GiftCardTender
from contracts.payments import Authorize, Authorized, Declined, Refund, Void
from contracts.registry import MESSAGES
from payments.codes import hash_of
from payments.handlers import SERVICE
from payments.invariants import check
from payments.settings import Settings
from tests.databases import empty
from tests.test_hostile_requests import Client

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]
ORDERS = Principal("orders", STORE, frozenset(), kind="system")


async def _app(running: AsyncExitStack) -> App:
    app = App(SERVICE, Settings(database_url=URL), "api")
    shell = asyncio.create_task(app.shell.run())

    async def stop() -> None:
        shell.cancel()
        await asyncio.gather(shell, return_exceptions=True)
        await app.database.close()

    running.push_async_callback(stop)
    return app


@pytest_asyncio.fixture
async def apps(database: Database) -> AsyncIterator[list[App]]:
    """Two processes on one database."""
    async with AsyncExitStack() as running:
        yield [await _app(running), await _app(running)]


class Desk:
    """A person of a store, over HTTP."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        encoded = {name: value.encode() for name, value in headers.items()}
        sent = json.dumps(body).encode() if body is not None else b""
        status, answer = await self.client(method, f"/v1/{path}", sent, **encoded)
        return status, json.loads(answer)

    async def issue(self, amount: int, **more: Any) -> Any:
        body = {"currency": "EUR", "amount_minor": amount, "activate": True} | more
        status, card = await self("POST", "gift-cards", body)
        assert status == 201, card
        return card


async def desk_of(app: App, store: str = STORE) -> Desk:
    scopes = ["payments.view", "gift_cards.edit", "gift_cards.check"]
    return Desk(Client(app, await app.keys.create(store, f"desk {uuid4()}", scopes)))


async def pay(app: App, amounts: Any, *cards: UUID | str, order: UUID | None = None, **more: Any) -> list[Event]:
    command = Authorize(
        order_id=order or uuid4(), store_id=STORE, operation_id=uuid4(), actor="orders", gateway="marketplace", currency="EUR",
        lines=lines(amounts), reference="A-1", gift_cards=tuple(GiftCardTender(gift_card_id=UUID(str(card)), **more) for card in cards),
        capture=True,
    )  # fmt: skip
    outcome = await app.submit(ORDERS, command)
    assert outcome.error is None, outcome.error
    return [*outcome.events]


async def violated(app: App) -> list[str]:
    async with app.database.transaction() as tx:
        return [name for name, _, violated in await check(tx) if violated]


async def test_the_life_of_a_card_over_http(apps: list[App]) -> None:
    app, order = apps[0], uuid4()
    desk, other = await desk_of(app), await desk_of(app, "st_other")
    new = {"currency": "EUR", "amount_minor": 50_00}
    status, card = await desk("POST", "gift-cards", new, idempotency_key="one")
    assert (status, card["state"], len(card["code"])) == (201, "inactive", 24)
    assert await desk("POST", "gift-cards", new, idempotency_key="one") == (
        201,
        {k: v for k, v in card.items() if k != "code"},
    )
    one, code = f"gift-cards/{card['gift_card_id']}", card["code"]
    assert (await other("GET", one))[0] == 404
    assert (await other("POST", f"{one}/activate"))[0] == 404
    status, found = await desk("POST", "gift-card-checks", {"code": code.lower().replace("-", " ")})
    assert (status, found["gift_card_id"], found["status"]) == (200, card["gift_card_id"], "inactive")
    for who, wrong in ((other, code), (desk, "0000")):
        status, problem = await who("POST", "gift-card-checks", {"code": wrong})
        assert (status, problem["type"]) == (404, "/problems/gift_card_unknown")

    assert (await desk("POST", f"{one}/activate", if_match='"1"'))[0] == 412
    assert (await desk("POST", f"{one}/activate", if_match=f'"{card["version"]}"'))[1]["state"] == "active"
    _, paid = await pay(app, {"1": 20_00}, card["gift_card_id"], order=order)
    assert isinstance(paid, Authorized) and paid.capture_id is not None
    back = Refund(
        order_id=order, store_id=STORE, operation_id=uuid4(), actor="orders", capture_id=paid.capture_id, currency="EUR",
        lines=lines(5_00),
    )  # fmt: skip
    await app.submit(ORDERS, back)
    status, problem = await desk("POST", f"{one}/adjust", {"amount_minor": -35_01, "reason": "r"})
    assert (status, problem["type"], problem["allowed_minor"]) == (409, "/problems/gift_card_insufficient", 35_00)
    assert (await desk("POST", f"{one}/adjust", {"amount_minor": 1_00, "reason": "r"}))[1]["balance_minor"] == 36_00
    _, shown = await desk("GET", one)
    assert [(m["kind"], m["amount_minor"], m["balance_minor"], m["order_id"]) for m in shown["movements"]] == [
        ("adjusted", 1_00, 36_00, None), ("restored", 5_00, 35_00, str(order)), ("redeemed", -20_00, 30_00, str(order)),
        ("issued", 50_00, 50_00, None),
    ]  # fmt: skip
    assert (shown["status"], shown["balance_minor"]) == ("active", 36_00)
    for listed, count in (("active", 1), ("redeemed", 0)):
        assert len((await desk("GET", f"gift-cards?status={listed}"))[1]["items"]) == count

    status, replaced = await desk("POST", f"{one}/code")
    assert replaced["code"] not in (None, code) and (await desk("POST", "gift-card-checks", {"code": code}))[0] == 404
    assert (await desk("POST", "gift-card-checks", {"code": replaced["code"]}))[0] == 200
    assert await violated(app) == []
    await nowhere(app, code, replaced["code"])


async def nowhere(app: App, *codes: str) -> None:
    """No row of any table has a code, in any spelling."""
    async with app.database.transaction() as tx:
        tables = await tx.fetch("select tablename from pg_tables where schemaname = 'public'")
        for table in (row["tablename"] for row in tables):
            for code in codes:
                spelt = [f"%{code}%", f"%{code.replace('-', '')}%"]
                found = await tx.fetchval(f'select count(*) from "{table}" t where t::text ilike any($1)', spelt)
                assert found == 0, table
        hashed = await tx.fetchval("select count(*) from gift_cards where code_sha256 = $1", hash_of(STORE, codes[-1]))
        assert hashed == 1, "the search above would find it"


async def test_fifty_orders_at_once_spend_what_the_card_has_and_not_more(apps: list[App]) -> None:
    """Two processes, whose batches lock the same balance."""
    card = (await (await desk_of(apps[0])).issue(10_00))["gift_card_id"]
    events = await asyncio.gather(*(pay(apps[n % 2], 70, card, amount_minor=70) for n in range(50)))
    ends = Counter(one[-1].code if isinstance(one[-1], Declined) else type(one[-1]).__name__ for one in events)
    assert ends == {"Authorized": 14, "gift_card_insufficient": 36}
    _, shown = await (await desk_of(apps[1]))("GET", f"gift-cards/{card}")
    assert shown["balance_minor"] == 20 and len(shown["movements"]) == 15
    assert await violated(apps[0]) == []


async def test_crossed_cards_wait_for_each_other_in_no_circle_and_a_void_gives_back(apps: list[App]) -> None:
    desk = await desk_of(apps[0])
    cards = [(await desk.issue(100_00))["gift_card_id"] for _ in range(3)]
    orders = [uuid4() for _ in range(40)]
    turned = ([*cards[n % 3 :], *cards[: n % 3]][:: 1 if n % 2 else -1] for n in range(40))
    paid = await asyncio.gather(
        *(pay(apps[n % 2], {"1": 3_00}, *named, order=orders[n], amount_minor=1_00) for n, named in enumerate(turned))
    )
    assert {type(one[-1]) for one in paid} == {Authorized}
    for card in cards:
        assert (await desk("GET", f"gift-cards/{card}"))[1]["balance_minor"] == 60_00
    assert await violated(apps[0]) == []


async def test_a_void_and_a_redemption_at_once_keep_the_balance(apps: list[App]) -> None:
    card = (await (await desk_of(apps[0])).issue(20_00))["gift_card_id"]
    orders = [uuid4() for _ in range(20)]

    async def pays_and_voids(n: int) -> None:
        command = Authorize(
            order_id=orders[n], store_id=STORE, operation_id=uuid4(), actor="orders", gateway="marketplace", currency="EUR",
            lines=lines(1_00), reference="A-1", gift_cards=(GiftCardTender(gift_card_id=UUID(card)),),
        )  # fmt: skip
        await apps[n % 2].submit(ORDERS, command)
        undo = Void(
            order_id=orders[n], store_id=STORE, operation_id=uuid4(), actor="orders",
            authorization_id=command.operation_id,
        )  # fmt: skip
        if n % 4:
            await apps[(n + 1) % 2].submit(ORDERS, undo)

    await asyncio.gather(*(pays_and_voids(n) for n in range(20)))
    assert (await (await desk_of(apps[0]))("GET", f"gift-cards/{card}"))[1]["balance_minor"] == 15_00
    assert await violated(apps[0]) == []


async def test_a_restored_database_has_the_balances_that_the_published_events_make(
    apps: list[App], database: Database
) -> None:
    """Orders' events are read before those of the cards. Only the code, which is in no event, has to be replaced."""
    app, desk = apps[0], await desk_of(apps[0])
    first = await desk.issue(20_00)
    second = await desk.issue(9_00, expires_at="2199-01-01T00:00:00Z")
    for amount in (1_00, 22_00):
        await pay(app, amount, first["gift_card_id"], second["gift_card_id"])
    await desk("POST", f"gift-cards/{first['gift_card_id']}/adjust", {"amount_minor": 50, "reason": "r"})
    before = (await desk("GET", "gift-cards"))[1]["items"]
    async with database.transaction() as tx:
        lost = await tx.fetch(
            "delete from journal where day >= current_date - 1 and aggregate in ('ledgers', 'gift_cards')"
            " and key in (select key from ledgers union all select key from gift_cards)"
            " returning aggregate, key, version, type, store_id, message_id::text, payload, at, topic"
        )
        await tx.execute("alter table entries disable trigger entries_never_change")
        await empty(tx, own_tables())
        await tx.execute("alter table entries enable trigger entries_never_change")
    published = sorted(
        (row for row in lost if row["topic"]), key=lambda row: (row["aggregate"] != "ledgers", row["version"])
    )
    own = []
    for row in published:
        body = MESSAGES[row["type"]].model_validate_json(row["payload"])
        inbound = Inbound("topic", row["key"], row["store_id"], uuid4(), row["type"], body, "c", actor="recovery")
        own.append(Adopted(inbound, row["message_id"], row["at"]))
    async with database.transaction() as tx:
        last = await tx.fetchval("select last_value from journal_id_seq")
        assert await adopt(Batch(SERVICE, tx, datetime.now(UTC)), own) == len(own)
        days = sorted({row["at"].astimezone(UTC).date() for row in published})
        await tx.execute(
            "insert into unfolded (day, after_id) select day, $2 from unnest($1::date[]) as u(day)", days, last
        )
    await recovery._fold_shares(SERVICE, database)
    assert await violated(app) == []
    after = (await desk("GET", "gift-cards"))[1]["items"]
    shown = ("gift_card_id", "balance_minor", "status", "expires_at", "initial_minor")
    of = [{one["gift_card_id"]: [one[name] for name in shown] for one in items} for items in (before, after)]
    assert of[0] == of[1] and sorted(one["balance_minor"] for one in after) == [50, 6_00]
    assert (await desk("POST", "gift-card-checks", {"code": first["code"]}))[0] == 404
    assert (await desk("POST", f"gift-cards/{first['gift_card_id']}/code"))[1]["code"] is not None


BROKEN = {
    "the balance of a gift card is the sum of its movements": "update gift_card_balances set balance_minor = balance_minor + 1",
    "a movement follows the one before it": "update gift_card_movements set balance_minor = 7 where number = 2",
    "what an order has redeemed of a gift card is what its ledger has":
        "update operations set amount_minor = amount_minor + 1 where gateway = 'gift_card' and kind = 'authorize'",
    "what orders have redeemed of a gift card is what is used of it": "update gift_card_balances set used_minor = used_minor + 1",
    "the liability is what the active gift cards have, and what orders hold of them":
        "update gift_card_balances set activated = false",
    "a gift card and its balance agree": "update gift_card_balances set active = false",
}  # fmt: skip


async def test_each_check_finds_what_it_is_for(apps: list[App]) -> None:
    card = (await (await desk_of(apps[0])).issue(20_00))["gift_card_id"]
    await pay(apps[0], 1_00, card)
    assert await violated(apps[0]) == []
    async with apps[0].database.connection() as connection:
        for name, statement in BROKEN.items():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(statement)
            assert name in [found for found, _, violated in await check(connection) if violated]
            await transaction.rollback()


async def test_a_card_with_a_time_of_expiry_has_a_timer(apps: list[App]) -> None:
    card = await (await desk_of(apps[0])).issue(20_00, expires_at="2199-01-01T00:00:00Z")
    async with apps[0].database.connection() as connection:
        due = "select due_at from timers where aggregate = 'gift_cards' and key = $1"
        assert (await connection.fetchval(due, UUID(card["gift_card_id"]))).year == 2199
