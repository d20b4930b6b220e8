"""An order of any width that is accepted runs to its end: none of its later messages is too large to be published.

`saga_world` checks the size of every message. Each shape is grown to the largest order that the door takes.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic_core import PydanticCustomError
from saga_orders import snapshot
from saga_world import BEGIN, STORE, Record, World

from contracts.ids import order_id
from contracts.limits import LOCATIONS_MAX, ORDER_LINES_MAX
from contracts.orders import Approve, Cancel, CaptureOption, MarketTerms
from contracts.snapshot import OrderContent, fitting

LOCATIONS = tuple(f"location-{n}-".ljust(64, "x") for n in range(LOCATIONS_MAX))
PRICE = 10**9
SHAPES: dict[str, dict[str, Any]] = {
    "many short lines": {},
    "ordinary lines": {"sku": "S-1234567", "title": "t" * 60},
    "long titles": {"sku": "S", "title": "\u4e2d" * 2_000},
    "control characters": {"sku": "S", "title": "\x01" * 900},
    "the sku is the title": {"sku": "\u4e2d" * 190},
    "the id is the title": {"sku": None, "requires_shipping": False, "id": "\U0001f600" * 190},
}


def wide(lines: int, shape: dict[str, Any]) -> OrderContent:
    told = {"sku": "S", **shape}
    name = told.pop("id", "")
    return OrderContent.model_validate(
        {
            "external_order_id": "1",
            "placed_at": BEGIN,
            "currency": "EUR",
            "buyer": {"name": "\x01" * 500, "company": "\x02" * 500},
            "ship_to": {"line1": "\x03" * 500, "city": "\x04" * 500},
            "bill_to": {"line1": "\x05" * 500, "city": "\x06" * 500},
            "lines": [
                {"external_line_id": f"{n}{name}", "quantity": {"ordered": 100_000}, "line_total_minor": PRICE,
                 "tax": [{"rate": f"{n % 100}.{n % 9999 + 1:04d}"}], **told}
                for n in range(lines)
            ],
            "totals": {"shipping_minor": 495, "grand_minor": lines * PRICE + 495},
        }
    )  # fmt: skip


def is_taken(content: OrderContent) -> bool:
    try:
        fitting(content)
    except PydanticCustomError:
        return False
    return True


def widest(shape: dict[str, Any]) -> OrderContent:
    low, high = 1, ORDER_LINES_MAX + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_taken(wide(middle, shape)) else (low, middle)
    return wide(low, shape)


@pytest.mark.parametrize("cancelled", [False, True], ids=["invoiced", "credited"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_widest_order_of_a_shape_runs_to_its_end(shape: str, cancelled: bool) -> None:
    content = widest(SHAPES[shape])
    capture: CaptureOption = "per_shipment" if shape in ("ordinary lines", "the id is the title") else "on_placement"
    world = World()
    world.markets["a"] = MarketTerms(code="m", capture=capture, seller="acme", locations=LOCATIONS)
    for n, line in enumerate(content.lines):
        world.count_stock(LOCATIONS[n % LOCATIONS_MAX], line.sku or "", 10**9)
    key = order_id(STORE, "bol", "a", "1")
    message = snapshot(content, "a", world.now, 0)
    world.publish(Record(world.name(), message.TYPE, key, message.model_dump_json()))
    settle(world)
    assert ask(world, Approve, key) is None
    if cancelled:
        assert ask(world, Cancel, key) is None
    while picking := world.picking():
        world.ship(*picking[0])
        settle(world)
    order = world.orders.states()[key]
    assert (order.status, order.open_runs) == ("cancelled" if cancelled else "approved", [])
    billed = world.invoicing.states()[key] if world.invoicing.states() else None
    if not cancelled:
        assert billed is not None
        assert sum(one.total_minor for one in billed.invoices.values()) == content.totals.grand_minor


def ask(world: World, word: type[Any], key: UUID) -> object:
    refusal = world.request(word(order_id=key, store_id=STORE, operation_id=world.name(), actor="person:ann"))
    settle(world)
    return refusal


def settle(world: World) -> None:
    while queues := world.waiting_queues():
        world.deliver(queues[0])
