"""The shelf: how many pieces of one SKU lie at one location of a store, and how many of them orders hold.

`reserved <= on_hand` always. Only events move it: a count sets `on_hand`; reserved and extended hold; released, reduced and
cancelled give back; shipped takes off the shelf what was held, restocked puts it there again. The table has the same
checks: asserted on both sides of the write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from uuid import UUID

from contracts.base import Addressed, Code, Command, Document, Event, Id, PrivateEvent, Quantity
from contracts.deciding import Context, Effect, Refusal
from contracts.fulfillment import (
    Extended,
    PlacedLine,
    Reduced,
    Released,
    Reserved,
    Restocked,
    ShipmentsCancelled,
    Shipped,
)
from contracts.ids import derived

STOCK_NAMESPACE: Final = UUID("6c0d7c3e-9a55-5b7e-8a0e-3f2f4f1f8f10")
"""Namespace of the keys of stock items."""


class StockKey(NamedTuple):
    """Sorts as the table does (byte order), so every worker locks in one order."""

    store_id: str
    location: str
    sku: str


class FilledShelf(NamedTuple):
    """Named beside the `StockKey` of a shelf that a decision may put pieces on: its row is locked also while it is empty.

    Sorts behind that key. It has no state of its own.
    """

    store_id: str
    location: str
    sku: str
    filled: bool = True


class Stock(NamedTuple):
    """Pieces. An SKU that was never counted has none."""

    on_hand: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        return max(self.on_hand - self.reserved, 0)


# -- how events move it ---------------------------------------------------------------------------------------------


def touched(event: Event) -> Iterable[StockKey]:
    """The keys that an event changes, sorted."""
    match event:
        case StockSet():
            return (StockKey(event.store_id, event.location, event.sku),)
        case (
            Reserved(again=False) | Extended() | Reduced() | Released() | ShipmentsCancelled() | Shipped() | Restocked()
        ):
            return sorted(_pieces(event.store_id, event.lines))
        case _:
            return ()


def evolve(stock: Stock | None, key: StockKey, event: Event) -> Stock:
    """What one key's stock is after `event`, which touches it."""
    on_hand, reserved = stock or Stock()
    match event:
        case StockSet(on_hand=counted):
            on_hand = counted
        case _:
            on_hand, reserved = _moved(on_hand, reserved, key, event)
    assert 0 <= reserved <= on_hand, f"{event.TYPE} would leave {reserved} reserved of {on_hand} on hand at {key}"
    return Stock(on_hand, reserved)


def adopt(stock: Stock | None, key: StockKey, events: Iterable[Event]) -> Stock:
    """After a restore: what the events of several orders, in any order, did to it all together.

    Counts are not published. Where a lost one had put more on the shelf, what orders hold of it was surely there.
    """
    on_hand, reserved = stock or Stock()
    for event in events:
        on_hand, reserved = _moved(on_hand, reserved, key, event)
    assert reserved >= 0, f"more was given back than reserved at {key}"
    return Stock(max(on_hand, reserved), reserved)


def _moved(on_hand: int, reserved: int, key: StockKey, event: Event) -> tuple[int, int]:
    """What an order's event makes of a shelf's pieces."""
    match event:
        case Reserved(again=False, lines=lines) | Extended(lines=lines):
            return on_hand, reserved + _pieces(key.store_id, lines)[key]
        case Released(lines=lines) | Reduced(lines=lines) | ShipmentsCancelled(lines=lines):
            return on_hand, reserved - _pieces(key.store_id, lines)[key]
        case Shipped(lines=lines):
            pieces = _pieces(key.store_id, lines)[key]
            return on_hand - pieces, reserved - pieces
        case Restocked(lines=lines):
            return on_hand + _pieces(key.store_id, lines)[key], reserved
        case _:
            raise AssertionError(f"{event.TYPE} does not move stock")


_summed: tuple[str, object, dict[StockKey, int]] = ("", None, {})


def _pieces(store_id: str, lines: tuple[PlacedLine, ...]) -> dict[StockKey, int]:
    """Pieces by key; lines of the same SKU add up.

    The last sum is cached, because the fold of one event asks for it once per key: an order of 600 lines would else be read
    600 times.
    """
    global _summed
    store, last, sums = _summed
    if last is lines and store == store_id:
        return sums
    sums = {}
    for line in lines:
        key = StockKey(store_id, line.location, line.sku)
        sums[key] = sums.get(key, 0) + line.quantity
    _summed = (store_id, lines, sums)
    return sums


# -- counting it ----------------------------------------------------------------------------------------------------


class StockItemKeyed(Addressed, key="stock_item_id"):
    """Declares the key of a message about one SKU at one location, see `stock_item_id`."""

    stock_item_id: UUID


class SetStock(StockItemKeyed, Command, type="fulfillment.set_stock"):
    """Sets the pieces on hand to what a person or a stock system counted."""

    location: Code
    sku: Id
    on_hand: Quantity


class StockSet(StockItemKeyed, PrivateEvent, type="fulfillment.stock_set"):
    location: Code
    sku: Id
    on_hand: Quantity
    reserved: Quantity
    """What orders held at that moment: unchanged by the count."""


class StockItem(Document):
    """The last count of one SKU at one location; its history is the journal. What lies there now is the share `stock`."""

    schema_version: int = 1
    location: str = ""
    sku: str = ""
    on_hand: int = 0
    reserved: int = 0


def stock_item_id(store_id: str, location: str, sku: str) -> UUID:
    """The key of the aggregate. Only the last part may hold `|`, so no two items share a name.

    >>> stock_item_id("s", "main", "85123A") == stock_item_id("s", "main", "85123A")
    True
    """
    return derived(STOCK_NAMESPACE, f"{store_id}|{location}|{sku}")


def new_stock_item(key: UUID, store_id: str) -> StockItem:
    return StockItem()


def set_stock(item: StockItem, command: SetStock, context: Context) -> list[Effect]:
    """A count below what orders hold is refused: a person cancels an order first, or counts again."""
    held = context.shares.get(StockKey(context.store_id, command.location, command.sku)) or Stock()
    if command.on_hand < held.reserved:
        return [Refusal("stock_reserved", f"orders hold {held.reserved} of {command.sku} at {command.location}")]
    return [
        StockSet(
            stock_item_id=context.key,
            store_id=context.store_id,
            operation_id=command.operation_id,
            location=command.location,
            sku=command.sku,
            on_hand=command.on_hand,
            reserved=held.reserved,
        )
    ]


def evolve_item(item: StockItem, event: StockSet) -> StockItem:
    counted = {"location": event.location, "sku": event.sku, "on_hand": event.on_hand, "reserved": event.reserved}
    return item.model_copy(update=counted)
