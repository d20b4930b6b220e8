"""A restored database applies from its own topic what orders did to the shelf: all together, in any order of reading."""

from __future__ import annotations

import random
from uuid import uuid4

import pytest

from contracts.fulfillment import Extended, PlacedLine, Reduced, Released, Reserved, Restocked, Shipped
from fulfillment.domain import stock
from fulfillment.domain.stock import Stock, StockKey

KEY = StockKey("shop", "main", "A")


def moved(kind: type, pieces: int) -> Reserved | Extended | Reduced | Released | Shipped | Restocked:
    line = PlacedLine(line_id="1", sku="A", location="main", quantity=pieces)
    common = {"order_id": uuid4(), "store_id": "shop", "operation_id": uuid4(), "lines": (line,)}
    return kind(**common, **({"shipment_id": uuid4(), "location": "main"} if kind is Shipped else {}))


@pytest.mark.parametrize("seed", range(20))
def test_what_was_forgotten_adds_up_in_any_order(seed: int) -> None:
    """The last five pieces went from order to order: read partition by partition, they seem to be reserved twice over."""
    events = [event for _ in range(6) for event in (moved(Reserved, 5), moved(Released, 5))]
    events += [moved(Reserved, 2), moved(Extended, 3), moved(Reduced, 1), moved(Shipped, 4), moved(Restocked, 2)]
    expected: Stock | None = Stock(5, 0)
    for event in events:
        expected = stock.evolve(expected, KEY, event)
    random.Random(seed).shuffle(events)
    assert stock.adopt(Stock(5, 0), KEY, events) == expected == Stock(3, 0)


def test_what_orders_hold_was_surely_there_where_a_count_was_lost_with_the_backup() -> None:
    assert stock.adopt(Stock(2, 1), KEY, [moved(Reserved, 6)]) == Stock(7, 7)
    assert stock.adopt(None, KEY, [moved(Reserved, 3), moved(Shipped, 3)]) == Stock(0, 0)


def test_giving_back_more_than_was_reserved_is_not_believed() -> None:
    with pytest.raises(AssertionError, match="more was given back"):
        stock.adopt(Stock(5, 1), KEY, [moved(Released, 2)])
