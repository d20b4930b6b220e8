"""Fulfillment without a database: plays for its tests, and an in-memory shell that keeps the shell's promises.

A play: `given` messages, `when` a message, `then` exactly these effects, in this order. A batch (`together`) decides one
by one on one locked set of stock, as the real shell does, and keeps the rows as the tables' upserts would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from pydantic import TypeAdapter

from chassis.declare.service import Change
from contracts.base import Command, Event
from contracts.deciding import Context, Effect, Refusal
from contracts.fulfillment import (
    CancelShipments,
    Delivered,
    Extend,
    Extended,
    Fulfilled,
    LinePieces,
    OutOfStock,
    PlacedLine,
    Reduce,
    Reduced,
    Release,
    Released,
    Reserve,
    Reserved,
    Restock,
    Restocked,
    Resume,
    Resumed,
    ShipmentPlan,
    ShipmentsCancelled,
    Shipped,
    ShortLine,
    Start,
    Started,
    StockTotals,
    Suspend,
    Suspended,
    TooLate,
    WantedLine,
)
from contracts.snapshot import Address
from fulfillment.domain.decisions import Deliver, Ship
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.stock import FilledShelf, SetStock, Stock, StockKey, stock_item_id
from fulfillment.handlers import SERVICE
from fulfillment.handlers import STOCK as SHELF
from fulfillment.store import ReservationRow, reservation_rows, shipment_rows

STORE = "st_1"
NAMES = UUID(int=1)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLACED = TypeAdapter(tuple[PlacedLine, ...])


def uid(name: str) -> UUID:
    """The id that a test calls by a name."""
    return uuid5(NAMES, name)


# -- messages, as short as a test wants them --------------------------------------------------------------------------

Goods = tuple[str, int]


def _who(operation: str, order: str) -> dict[str, Any]:
    return {"order_id": uid(order), "store_id": STORE, "operation_id": uid(operation), "actor": "orders"}


def count(sku: str, on_hand: int, at: str = "main", store: str = STORE) -> SetStock:
    key = stock_item_id(store, at, sku)
    operation = uid(f"count {sku} {at}")
    return SetStock(
        stock_item_id=key,
        store_id=store,
        operation_id=operation,
        actor="api-key:test",
        location=at,
        sku=sku,
        on_hand=on_hand,
    )


def reserve(operation: str, *goods: Goods, order: str = "o1", at: tuple[str, ...] = ("main",)) -> Reserve:
    lines = tuple(WantedLine(line_id=str(n), sku=sku, quantity=pieces) for n, (sku, pieces) in enumerate(goods, 1))
    return Reserve(**_who(operation, order), lines=lines, locations=at)


def release(operation: str, order: str = "o1") -> Release:
    return Release(**_who(operation, order))


def start(operation: str, order: str = "o1", to: Address | None = None) -> Start:
    return Start(**_who(operation, order), ship_to=to)


def cancel(operation: str, order: str = "o1") -> CancelShipments:
    return CancelShipments(**_who(operation, order))


def ship(shipment: UUID, operation: str = "w1", order: str = "o1", carrier: str | None = None) -> Ship:
    return Ship(**_who(operation, order), shipment_id=shipment, carrier=carrier)


def deliver(shipment: UUID, operation: str = "w2", order: str = "o1") -> Deliver:
    return Deliver(**_who(operation, order), shipment_id=shipment)


def suspend(operation: str, order: str = "o1") -> Suspend:
    return Suspend(**_who(operation, order))


def resume(operation: str, suspension: str, order: str = "o1") -> Resume:
    return Resume(**_who(operation, order), suspension_id=uid(suspension))


More = tuple[str, str, int]
"""A line, its SKU, and pieces."""


def extend(
    operation: str, *more: More, order: str = "o1", at: tuple[str, ...] = ("main",), to: Address | None = None
) -> Extend:
    lines = tuple(WantedLine(line_id=line_id, sku=sku, quantity=pieces) for line_id, sku, pieces in more)
    return Extend(**_who(operation, order), lines=lines, locations=at, ship_to=to)


def reduce(operation: str, *fewer: tuple[str, int], order: str = "o1") -> Reduce:
    return Reduce(**_who(operation, order), lines=_pieces_of(fewer))


def restock(operation: str, *back: tuple[str, int], order: str = "o1") -> Restock:
    return Restock(**_who(operation, order), lines=_pieces_of(back))


def _pieces_of(lines: Iterable[tuple[str, int]]) -> tuple[LinePieces, ...]:
    return tuple(LinePieces(line_id=line_id, quantity=pieces) for line_id, pieces in lines)


# -- what is expected -------------------------------------------------------------------------------------------------


def line(n: int, sku: str, pieces: int, at: str = "main") -> PlacedLine:
    return PlacedLine(line_id=str(n), sku=sku, location=at, quantity=pieces)


def short(n: int, sku: str, wanted: int, available: int) -> ShortLine:
    return ShortLine(line_id=str(n), sku=sku, wanted=wanted, available=available)


def _fact(operation: str, reserved: int, shipped: int, order: str) -> dict[str, Any]:
    totals = StockTotals(reserved=reserved, shipped=shipped)
    return {"order_id": uid(order), "store_id": STORE, "operation_id": uid(operation), "totals": totals}


def is_reserved(
    operation: str, *lines: PlacedLine, again: bool = False, order: str = "o1", shipped: int = 0
) -> Reserved:
    held = sum(line.quantity for line in lines) - shipped
    return Reserved(**_fact(operation, held, shipped, order), lines=lines, again=again)


def is_short(operation: str, *lines: ShortLine, order: str = "o1") -> OutOfStock:
    return OutOfStock(**_fact(operation, 0, 0, order), short=lines)


def is_released(operation: str, *lines: PlacedLine, order: str = "o1", shipped: int = 0) -> Released:
    return Released(**_fact(operation, 0, shipped, order), lines=lines)


def is_started(
    operation: str,
    *plans: ShipmentPlan,
    order: str = "o1",
    reserved: int = 0,
    shipped: int = 0,
    to: Address | None = None,
) -> Started:
    return Started(**_fact(operation, reserved, shipped, order), shipments=plans, ship_to=to)


def is_cancelled(operation: str, *lines: PlacedLine, order: str = "o1") -> ShipmentsCancelled:
    return ShipmentsCancelled(**_fact(operation, 0, 0, order), lines=lines)


def is_too_late(
    operation: str,
    *shipments: UUID,
    reserved: int,
    shipped: int,
    order: str = "o1",
    lines: tuple[PlacedLine, ...] = (),
) -> TooLate:
    return TooLate(**_fact(operation, reserved, shipped, order), shipped=shipments, lines=lines)


def is_shipped(
    plan: ShipmentPlan, operation: str = "w1", reserved: int = 0, shipped: int = 0, carrier: str | None = None
) -> Shipped:
    return Shipped(
        **_fact(operation, reserved, shipped, "o1"),
        shipment_id=plan.shipment_id,
        location=plan.location,
        lines=plan.lines,
        carrier=carrier,
    )


def is_suspended(operation: str, *shipments: UUID, reserved: int = 0, shipped: int = 0) -> Suspended:
    return Suspended(**_fact(operation, reserved, shipped, "o1"), since=NOW, shipped=shipments)


def is_resumed(operation: str, suspension: str, *open: str, reserved: int = 0, shipped: int = 0) -> Resumed:
    ended, others = uid(suspension), tuple(map(uid, open))
    return Resumed(**_fact(operation, reserved, shipped, "o1"), suspension_id=ended, open=others)


def is_extended(
    operation: str,
    *lines: PlacedLine,
    reserved: int,
    shipped: int = 0,
    shipments: Iterable[ShipmentPlan] = (),
    to: Address | None = None,
) -> Extended:
    fact = _fact(operation, reserved, shipped, "o1")
    return Extended(**fact, lines=lines, shipments=tuple(shipments), ship_to=to)


def is_reduced(
    operation: str,
    *lines: PlacedLine,
    reserved: int = 0,
    shipped: int = 0,
    shipments: Iterable[ShipmentPlan] = (),
) -> Reduced:
    return Reduced(**_fact(operation, reserved, shipped, "o1"), lines=lines, shipments=tuple(shipments))


def is_restocked(operation: str, *lines: PlacedLine, reserved: int = 0, shipped: int = 0) -> Restocked:
    return Restocked(**_fact(operation, reserved, shipped, "o1"), lines=lines)


def is_fulfilled(operation: str, order: str = "o1", shipped: int = 0) -> Fulfilled:
    return Fulfilled(**_fact(operation, 0, shipped, order))


def is_delivered(shipment: UUID, operation: str = "w2", shipped: int = 0) -> Delivered:
    return Delivered(**_fact(operation, 0, shipped, "o1"), shipment_id=shipment)


# -- the shell in memory ----------------------------------------------------------------------------------------------


@dataclass
class House:
    """States, stock and rows of one service. `together` is one transaction."""

    states: dict[UUID, Any] = field(default_factory=dict)
    stock: dict[StockKey, Stock] = field(default_factory=dict)
    journal: list[Event] = field(default_factory=list)
    answered: set[tuple[UUID, UUID]] = field(default_factory=set)
    reservations: dict[tuple[UUID, UUID, str], ReservationRow] = field(default_factory=dict)
    shipment_rows: dict[UUID, tuple[Any, ...]] = field(default_factory=dict)
    said: list[Effect] = field(default_factory=list)
    received: int = 0
    transactions: int = 0

    # -- a play

    def given(self, *messages: Command) -> None:
        for message in messages:
            self.together(message)

    def when(self, message: Command) -> None:
        self.said = self.together(message)[0]

    def then(self, *expected: Effect) -> None:
        said = [e.model_copy(update={"version": 0}) if isinstance(e, Event) else e for e in self.said]
        assert said == list(expected)

    def then_refused(self, code: str) -> None:
        assert [effect.code for effect in self.said if isinstance(effect, Refusal)] == [code]
        assert len(self.said) == 1

    def then_stock(self, sku: str, on_hand: int, reserved: int, at: str = "main") -> None:
        assert self.stock[StockKey(STORE, at, sku)] == Stock(on_hand, reserved)

    def order(self, name: str = "o1") -> Fulfillment:
        state = self.states.get(uid(name), Fulfillment())
        assert isinstance(state, Fulfillment)
        return state

    def plans(self, name: str = "o1") -> list[ShipmentPlan]:
        return [
            ShipmentPlan(shipment_id=shipment.shipment_id, location=shipment.location, lines=shipment.lines)
            for shipment in self.order(name).shipments
            if shipment.status != "cancelled"
        ]

    # -- a batch

    def together(self, *messages: Command) -> list[list[Effect]]:
        """Decide on the messages in one transaction; returns the effects of each, none for an operation that is recorded.

        As in the shell, a message that needs a row that was not locked begins another transaction with the rest.
        """
        before = {m.key: self.states.get(m.key, _aggregate(m).initial(m.key, m.store_id)) for m in messages}
        keys = {key for m in messages for key in SHELF.needs(before[m.key], m)}
        shelves = sorted(key for key in keys if isinstance(key, StockKey))
        unlocked = {key for key in shelves if self._is_empty(key) and FilledShelf(*key) not in keys}
        shares: dict[StockKey, Stock | None] = {
            key: None if key in unlocked else self.stock.get(key) for key in shelves
        }
        states, events = dict(before), {key: list[Event]() for key in before}
        effects: list[list[Effect]] = []
        rest: tuple[Command, ...] = ()
        self.transactions += 1
        for n, message in enumerate(messages):
            if (message.key, message.operation_id) in self.answered:
                effects.append([])
                continue
            named = set(SHELF.needs(states[message.key], message))
            if not named <= keys:
                assert events[message.key], f"{message.TYPE} does not name what it needs before it is loaded"
                rest = messages[n:]
                break
            self.received += 1
            context = Context(
                now=NOW,
                key=message.key,
                store_id=message.store_id,
                message_id=uid(f"message {self.received}"),
                shares=shares,
            )
            aggregate = _aggregate(message)
            decide = next(handler.decide for handler in aggregate.handlers if handler.message is type(message))
            made = decide(states[message.key], message, context)
            assert made == decide(states[message.key], message, context), "deciding again decides the same"
            for event in made:
                if not isinstance(event, Event):
                    continue
                states[message.key] = aggregate.evolve(states[message.key], event)
                for key in SHELF.touched(event):
                    assert key in named, f"{event.TYPE} touches {key}, which is not locked for {message.TYPE}"
                    assert key not in unlocked, (
                        f"{event.TYPE} changes an empty shelf that others may fill meanwhile: {key}"
                    )
                    shares[key] = SHELF.evolve(shares[key], key, event)
                if event.operation_id is not None and not isinstance(message, SetStock):
                    self.answered.add((message.key, event.operation_id))
                events[message.key].append(event)
                self.journal.append(event)
            effects.append(made)
        for key, happened in events.items():
            if happened:
                # What is stored is read again: a document that does not survive that is no state.
                states[key] = type(states[key]).model_validate_json(states[key].model_dump_json())
                if isinstance(states[key], Fulfillment):
                    self._save_rows(Change(key, STORE, before[key], states[key], tuple(happened)))
        self.states |= states
        self.stock |= {key: stock for key, stock in shares.items() if stock is not None}
        return effects + (self.together(*rest) if rest else [])

    def _is_empty(self, key: StockKey) -> bool:
        return key in self.stock and self.stock[key].on_hand == 0

    def _save_rows(self, change: Change[Fulfillment]) -> None:
        for row in reservation_rows(change):
            key = (row.order_id, row.operation_id, row.line_id)
            if (old := self.reservations.get(key)) is not None:
                assert _may_follow(old, row), "moved twice"
                assert old[:6] == row[:6]
            assert row.restocked in range(row.quantity + 1) and (row.state == "consumed" or not row.restocked)
            self.reservations[key] = row
        for shipment in shipment_rows(change):
            self.shipment_rows[shipment[0]] = shipment

    # -- what must hold after any messages

    def audit(self) -> None:
        """The promises of the tables, on the rows that a database would hold."""
        open_pieces: dict[StockKey, int] = {}
        for row in self.reservations.values():
            if row.state == "reserved":
                key = StockKey(row.store_id, row.location, row.sku)
                open_pieces[key] = open_pieces.get(key, 0) + row.quantity
        for key, stock in self.stock.items():
            assert 0 <= stock.reserved <= stock.on_hand
            assert stock.reserved == open_pieces.pop(key, 0)
        assert not open_pieces
        for key, state in self.states.items():
            if isinstance(state, Fulfillment):
                _audit(state)
                self._audit_shipments(key, state)

    def _audit_shipments(self, order: UUID, state: Fulfillment) -> None:
        """The warehouse's rows agree with the order's state, and so do the reservations behind them."""
        for shipment in state.shipments:
            row = self.shipment_rows[shipment.shipment_id]
            assert (row[1], row[4], row[5], row[8]) == (order, shipment.location, shipment.status, shipment.carrier)
            assert PLACED.validate_json(row[6]) == shipment.lines
            assert shipment.reservation_id is not None
        rows = [row for row in self.reservations.values() if row.order_id == order]
        for wanted, parts in (("reserved", state.held_parts), ("consumed", state.shipped_parts)):
            there = {
                (part.operation_id, line.line_id): (line, part.restocked.get(line.line_id, 0))
                for part in parts
                for line in part.lines
            }
            assert there == {
                (row.operation_id, row.line_id): (
                    PlacedLine(line_id=row.line_id, sku=row.sku, location=row.location, quantity=row.quantity),
                    row.restocked,
                )
                for row in rows
                if row.state == wanted
            }

    def replayed(self) -> tuple[dict[UUID, Any], dict[StockKey, Stock]]:
        """What folding the whole journal makes of nothing."""
        states: dict[UUID, Any] = {}
        stock: dict[StockKey, Stock] = {}
        for event in self.journal:
            aggregate = next(a for a in SERVICE.aggregates if isinstance(self.states[event.key], a.state))
            state = states.get(event.key, aggregate.initial(event.key, event.store_id))
            states[event.key] = aggregate.evolve(state, event)
            for key in SHELF.touched(event):
                stock[key] = SHELF.evolve(stock.get(key), key, event)
        return states, stock


def _may_follow(old: ReservationRow, row: ReservationRow) -> bool:
    """The `where` of the upsert."""
    if row.quantity > old.quantity:
        return False
    if old.state == "reserved":
        return row.state != "reserved" or row.quantity < old.quantity
    return old.state == row.state == "consumed" and row.restocked > old.restocked


def _aggregate(message: Command) -> Any:
    return next(a for a in SERVICE.aggregates if any(handler.message is type(message) for handler in a.handlers))


def _audit(state: Fulfillment) -> None:
    open_shipments = [shipment for shipment in state.shipments if shipment.is_open]
    if state.status in ("none", "released", "cancelled", "fulfilled"):
        assert not state.held and not open_shipments and not state.starts
    if state.status == "reserved":
        assert not open_shipments
    if state.status == "started":
        assert open_shipments and not state.parts
    if state.status in ("released", "cancelled"):
        assert not any(shipment.has_shipped for shipment in state.shipments)
    assert len({shipment.location for shipment in open_shipments}) == len(open_shipments)
    assert {shipment.status for shipment in open_shipments} <= {"on_hold" if state.suspensions else "picking"}
    assert all(shipment.parts for shipment in state.shipments if shipment.status != "cancelled")


def of(effects: Iterable[Iterable[Effect]], kind: type[Effect]) -> list[Any]:
    return [effect for made in effects for effect in made if isinstance(effect, kind)]
