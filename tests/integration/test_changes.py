"""Orders whose shipping stops and goes on, that get pieces and give some back, while fulfillment dies and is restarted; and what
people and rules stop: holds and approval."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.base import Command, to_json
from contracts.envelope import headers
from contracts.fulfillment import Extend, LinePieces, Reduce, Restock, Resume, Suspend, WantedLine
from contracts.ids import derived
from contracts.registry import topic_of
from tests.integration.shop import AMPLE, SKUS, Options, Shop

SHOP = Options(
    static_members=True,
    markets={
        "small": {"approval": "manual", "currency": "GBP", "approve_below_minor": 5_000},
        "trusted": {"approval": "manual", "approve_gateways": ["marketplace"]},
        "other": {"approval": "manual", "approve_gateways": ["test"]},
    },
    settings={"FULFILLMENT_RELAY_LEASE_SECONDS": "1"},
)
POINTS = ("before_commit", "after_commit", "after_produce_before_delete")
ORDERS = 6
SKU = SKUS[0]
NAMES = uuid.UUID(int=19)


def command(kind: type[Command], order: str, **more: Any) -> Command:
    """Its operation is a function of the order and the kind: asked again, it is the same operation."""
    operation = derived(NAMES, f"{order}|{kind.TYPE}")
    return kind(order_id=uuid.UUID(order), store_id="shop", operation_id=operation, actor="orders", **more)


async def ask(shop: Shop, commands: Iterable[Command]) -> None:
    """Publishes each command twice, as two messages of one operation."""
    producer = await shop.producer()
    for one in commands:
        for _ in range(2):
            named = headers(
                ce_id=uuid.uuid4().hex, source="orders", type=one.TYPE, time=datetime.now(UTC), subject=str(one.key),
                store_id=one.store_id, correlation_id=str(one.key),
            )  # fmt: skip
            await producer.send_and_wait(
                topic_of(type(one)), to_json(one).encode(), key=str(one.key).encode(), headers=named
            )


async def until_answered(shop: Shop, orders: Sequence[str], *answers: str) -> None:
    """Each order has each answer once, and nothing of it is left to be published or read."""
    keys = [uuid.UUID(order) for order in orders]

    async def answered() -> bool:
        rows = await shop.rows(
            "fulfillment",
            "select type, count(*), count(distinct key) from journal where key = any($1) and type = any($2) group by 1",
            keys, list(answers),
        )  # fmt: skip
        return {tuple(row) for row in rows} == {(answer, len(orders), len(orders)) for answer in answers}

    await shop.until(answered, f"{answers} of {len(orders)} orders")
    await shop.until_at_rest(orders)


@pytest.mark.parametrize("point", POINTS)
async def test_fulfillment_dies_while_placed_orders_change(point: str, shop: Shop) -> None:
    """Promises 1 and 4: each change has one effect, nothing ships under a suspension, no piece is lost or made."""
    orders = [await shop.place([(SKU, 3, 900)]) for _ in range(ORDERS)]
    await shop.until_at_rest(orders)
    await restarted_at(point, shop, orders)
    await until_answered(shop, orders, "fulfillment.suspended", "fulfillment.extended", "fulfillment.reduced")
    held = [one for one in await shop.shipments("on_hold") if one["order_id"] in orders]
    assert [[line["quantity"] for line in one["lines"]] for one in held] == [[4]] * ORDERS
    for one in held:
        status, problem = await shop.call("fulfillment", "POST", f"/v1/shipments/{one['shipment_id']}/ship", {})
        assert (status, problem["type"]) == (409, "/problems/shipment_on_hold")

    await ask(shop, (command(Resume, one, suspension_id=command(Suspend, one).operation_id) for one in orders))
    await until_answered(shop, orders, "fulfillment.resumed")
    assert await shop.ship_all(orders) == ORDERS
    await ask(shop, (command(Restock, one, lines=(LinePieces(line_id="1", quantity=1),)) for one in orders))
    await until_answered(shop, orders, "fulfillment.fulfilled", "fulfillment.restocked")
    shelf = await shop.stock(SKU)
    (gone,) = await shop.rows(
        "fulfillment", "select sum(quantity - restocked) from reservations where state = 'consumed'"
    )
    assert (shelf["on_hand"], shelf["reserved"]) == (AMPLE - gone[0], 0)
    assert gone[0] % (3 * ORDERS) == 0, "of each order four pieces shipped and one came back"


async def restarted_at(point: str, shop: Shop, orders: Sequence[str]) -> None:
    """Asks for all changes at once; fulfillment dies at the point and is restarted."""
    members = shop.system.of("fulfillment")
    await shop.arm(members, point)
    wanted = (WantedLine(line_id="1", sku=SKU, quantity=2),)
    for order in orders:
        await ask(
            shop,
            (
                command(Suspend, order),
                command(Extend, order, lines=wanted, locations=("main",)),
                command(Reduce, order, lines=(LinePieces(line_id="1", quantity=1),)),
            ),
        )
    await shop.until_dead_and_restarted(members, point)


async def hold(shop: Shop, order: str, **more: str) -> str:
    status, held = await shop.call("orders", "POST", f"/v1/orders/{order}/holds", {"reason": "fraud", **more})
    assert status == 201, held
    found: str = held["hold_id"]
    return found


async def release(shop: Shop, order: str, hold_id: str) -> None:
    status, answer = await shop.call("orders", "POST", f"/v1/orders/{order}/holds/{hold_id}/release")
    assert status == 200, answer


async def test_a_held_order_ships_and_is_completed_after_its_release_by_a_person_or_by_time(shop: Shop) -> None:
    person, timer = orders = [await shop.place([(SKU, 1, 900)]) for _ in range(2)]
    await shop.until_at_rest(orders)
    hold_id = await hold(shop, person)
    await hold(shop, timer, until=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    await shop.until_at_rest(orders)
    (held,) = [one for one in await shop.shipments("on_hold") if one["order_id"] == person]
    status, problem = await shop.call("fulfillment", "POST", f"/v1/shipments/{held['shipment_id']}/ship", {})
    assert (status, problem["type"]) == (409, "/problems/shipment_on_hold")

    async def is_released() -> bool:
        return not (await shop.order(timer))["holds"]

    await shop.until(is_released, "the release by its timer")
    await shop.until_at_rest(orders)
    assert await shop.ship_all(orders) == 1
    await shop.until_at_rest(orders)
    assert (await shop.order(timer))["completed_at"] and (await shop.order(person))["waiting"] == "hold"
    await release(shop, person, hold_id)
    await shop.until_at_rest(orders)
    assert await shop.ship_all(orders) == 1
    await shop.until_at_rest(orders)
    assert (await shop.order(person))["completed_at"]


async def test_a_markets_rule_approves_below_an_amount_and_by_gateway_the_others_wait_in_the_queue(shop: Shop) -> None:
    asked = (("small", 4_999), ("small", 5_000), ("trusted", 900), ("other", 900))
    orders = [await shop.place([(SKU, 1, minor)], account=account) for account, minor in asked]
    await shop.until_at_rest(orders)
    told = [await shop.order(order) for order in orders]
    assert [one["status"] for one in told] == ["approved", "placed", "approved", "placed"]
    _, large, _, other = orders
    _, queue = await shop.call("orders", "GET", "/v1/approvals")
    assert {one["order_id"] for one in queue["items"]} == {large, other}
    _, queue = await shop.call("orders", "GET", "/v1/approvals?market=other")
    assert [one["order_id"] for one in queue["items"]] == [other]

    hold_id = await hold(shop, other)
    status, problem = await shop.approve(other)
    assert (status, problem["type"]) == (409, "/problems/order_held")
    _, queue = await shop.call("orders", "GET", "/v1/approvals")
    assert [one["order_id"] for one in queue["items"]] == [large]
    await release(shop, other, hold_id)
    for order in (large, other):
        assert (await shop.approve(order))[0] == 200
    await shop.until_at_rest(orders)
    assert await shop.ship_all(orders) == len(orders)
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/fulfilled": len(orders)}


async def test_after_all_changes_every_promise_holds(shop: Shop) -> None:
    await shop.until_at_rest()
    await shop.assert_promises()
