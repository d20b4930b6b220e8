"""What the store asks of the database: the rows of a batch of any size, and keys in one order."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from fulfillment_play import STORE, line, uid

from chassis.declare.service import Change
from contracts.fulfillment import PlacedLine, Reserved, ShipmentPlan, Started, StockTotals
from fulfillment import store
from fulfillment.domain.folds import evolve
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.stock import FilledShelf, Stock, StockKey


class Connection:
    """Takes notes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[list[Any], ...]]] = []

    async def fetch(self, sql: str, *columns: list[Any]) -> list[tuple[Any, ...]]:
        self.asked.append((sql, columns))
        return [(*key[:3], 5, 2) for key in zip(*columns, strict=True)]


def started(order: UUID, lines: int) -> Change[Fulfillment]:
    """An order that one batch reserves and starts."""
    who: dict[str, Any] = {"order_id": order, "store_id": STORE, "operation_id": uid("op"), "totals": StockTotals()}
    placed: tuple[PlacedLine, ...] = tuple(line(n, f"S{n}", 1) for n in range(lines))
    plan = ShipmentPlan(shipment_id=uid(f"shipment {order}"), location="main", lines=placed)
    events = (Reserved(**who, lines=placed), Started(**who, shipments=(plan,)))
    after = Fulfillment()
    for event in events:
        after = evolve(after, event)
    return Change(order, STORE, Fulfillment(), after, events)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_batch_of_any_size_writes_all_its_reservations_and_shipments(size: int) -> None:
    written = store.rows([started(uid(str(n)), lines=3) for n in range(size)])
    assert [one.piece for one in written] == [store.RESERVATIONS, store.SHIPMENTS]
    assert [len(one.arguments[0]) for one in written] == [3 * size, size]


def test_a_batch_that_moves_no_pieces_writes_none() -> None:
    written = store.rows([Change(uid("o"), STORE, Fulfillment(), Fulfillment(), ())])
    assert [len(one.arguments) for one in written] == [store.RESERVATIONS.parameters, store.SHIPMENTS.parameters]
    assert not any(column for one in written for column in one.arguments)


def test_a_reservation_that_the_database_would_not_move_stops_the_batch() -> None:
    reservations, _ = store.rows([started(uid("o"), lines=3)])
    assert reservations.written == "reservations_written"
    assert isinstance(reservations.otherwise(), store.ReservationClosed)


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
    assert list(zip(*columns, strict=True)) == [(*key, False) for key in sorted(keys)]
    assert "order by s.store_id, s.location, s.sku\nfor update of s" in sql  # the lock is above the sort


def test_an_empty_shelf_is_locked_only_for_who_may_fill_it() -> None:
    full, empty = StockKey(STORE, "main", "A"), StockKey(STORE, "main", "B")
    tx = Connection()
    asyncio.run(store.load_stock(tx, sorted([full, empty, FilledShelf(*empty)])))  # type: ignore[arg-type, type-var]
    ((_, columns),) = tx.asked
    assert list(zip(*columns, strict=True)) == [(*full, False), (*empty, True)]


def test_stock_is_written_in_the_order_in_which_it_was_locked() -> None:
    keys = [StockKey(STORE, "main", sku) for sku in ("b", "A", "c")]
    assert store.stock_rows({key: Stock(3, 1) for key in keys}).arguments[2] == ("A", "b", "c")
