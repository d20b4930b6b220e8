"""Orders whose shipping stops and goes on, that get pieces and give some back, while fulfillment dies and is restarted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.base import Command, to_json
from contracts.envelope import headers
from contracts.fulfillment import Extend, LinePieces, Reduce, Restock, Resume, Suspend, WantedLine
from contracts.ids import derived
from contracts.registry import topic_of
from tests.integration.shop import AMPLE, SKUS, Options, Shop

SHOP = Options(static_members=True, settings={"FULFILLMENT_RELAY_LEASE_SECONDS": "1"})
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

    await shop.until(answered, f"{answers} of {len(orders)} orders", 90)
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
    (member,) = shop.system.of("fulfillment")
    await shop.restart(member, crash_at=f"fulfillment.{point}")
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
    assert await asyncio.to_thread(member.exit_status, 90) == 137, f"fulfillment never came to {point}"
    await shop.restart(member)


async def test_after_all_changes_every_promise_holds(shop: Shop) -> None:
    await shop.until_at_rest()
    await shop.assert_promises()
