"""What the store asks of the database: so many statements for a batch of any size, and keys in one order."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from fulfillment_play import STORE, line, uid

from chassis.service import Change
from contracts.fulfillment import PlacedLine, Reserved, ShipmentPlan, Started, StockTotals
from fulfillment import store
from fulfillment.domain.fulfilment import Fulfilment, evolve
from fulfillment.domain.stock import Stock, StockKey


class Connection:
    """Takes notes; claims to have written every row, less `short_by`."""

    def __init__(self, short_by: int = 0) -> None:
        self.asked: list[tuple[str, tuple[list[Any], ...]]] = []
        self.short_by = short_by

    async def execute(self, sql: str, *columns: list[Any]) -> str:
        self.asked.append((sql, columns))
        return f"INSERT 0 {len(columns[0]) - self.short_by}"

    async def fetch(self, sql: str, *columns: list[Any]) -> list[tuple[Any, ...]]:
        self.asked.append((sql, columns))
        return [(*key, 5, 2) for key in zip(*columns, strict=True)]


def started(order: UUID, lines: int) -> Change[Fulfilment]:
    """An order that one batch reserves and starts."""
    who: dict[str, Any] = {"order_id": order, "store_id": STORE, "operation_id": uid("op"), "totals": StockTotals()}
    placed: tuple[PlacedLine, ...] = tuple(line(n, f"S{n}", 1) for n in range(lines))
    plan = ShipmentPlan(shipment_id=uid(f"shipment {order}"), location="main", lines=placed)
    events = (Reserved(**who, lines=placed), Started(**who, shipments=(plan,)))
    after = Fulfilment()
    for event in events:
        after = evolve(after, event)
    return Change(order, STORE, Fulfilment(), after, events)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_batch_of_any_size_writes_its_reservations_and_shipments_in_one_statement_each(size: int) -> None:
    tx = Connection()
    asyncio.run(store.save_rows(tx, [started(uid(str(n)), lines=3) for n in range(size)]))  # type: ignore[arg-type]
    assert [len(columns[0]) for _, columns in tx.asked] == [3 * size, size]
    assert ["reservations" in sql for sql, _ in tx.asked] == [True, False]


def test_a_batch_that_moves_no_pieces_asks_nothing_of_the_database() -> None:
    tx = Connection()
    asyncio.run(store.save_rows(tx, [Change(uid("o"), STORE, Fulfilment(), Fulfilment(), ())]))  # type: ignore[arg-type]
    assert tx.asked == []


def test_a_reservation_that_the_database_would_not_move_stops_the_batch() -> None:
    with pytest.raises(store.ReservationClosed, match="1 of 3"):
        asyncio.run(store.save_rows(Connection(short_by=1), [started(uid("o"), lines=3)]))  # type: ignore[arg-type]


def test_crossed_skus_are_locked_in_one_order_whoever_asks() -> None:
    keys = [StockKey(STORE, place, sku) for sku in ("b", "A", "é", "10") for place in ("south", "north")]
    locked: list[Any] = []
    for asked in (keys, keys[::-1]):
        tx = Connection()
        found = asyncio.run(store.load_stock(tx, asked))  # type: ignore[arg-type]
        assert found == dict.fromkeys(keys, Stock(5, 2))
        locked.append(tx.asked)
    assert locked[0] == locked[1]
    ((sql, columns),) = locked[0]
    assert list(zip(*columns, strict=True)) == sorted(keys)
    assert "order by s.store_id, s.location, s.sku\nfor update of s" in sql  # the lock stands above the sort


def test_stock_is_written_in_the_order_in_which_it_was_locked() -> None:
    tx = Connection()
    keys = [StockKey(STORE, "main", sku) for sku in ("b", "A", "c")]
    asyncio.run(store.save_stock(tx, {key: Stock(3, 1) for key in keys}))  # type: ignore[arg-type]
    ((_, columns),) = tx.asked
    assert columns[2] == ["A", "b", "c"]
