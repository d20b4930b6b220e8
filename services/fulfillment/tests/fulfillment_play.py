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

from chassis.declare.service import Change
from contracts.base import Command, Event
from contracts.deciding import Context, Effect, Refusal
from contracts.fulfillment import (
    CancelShipments,
    Delivered,
    Fulfilled,
    OutOfStock,
    PlacedLine,
    Release,
    Released,
    Reserve,
    Reserved,
    ShipmentPlan,
    ShipmentsCancelled,
    Shipped,
    ShortLine,
    Start,
    Started,
    StockTotals,
    TooLate,
    WantedLine,
)
from contracts.snapshot import Address
from fulfillment.domain.fulfillment import Deliver, Fulfillment, Ship
from fulfillment.domain.stock import SetStock, Stock, StockKey, stock_item_id
from fulfillment.handlers import SERVICE
from fulfillment.handlers import STOCK as SHELF
from fulfillment.store import ReservationRow, reservation_rows, shipment_rows

STORE = "st_1"
NAMES = UUID(int=1)


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


def is_too_late(operation: str, *shipments: UUID, reserved: int, shipped: int, order: str = "o1") -> TooLate:
    return TooLate(**_fact(operation, reserved, shipped, order), shipped=shipments)


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
        """Decide on the messages in one transaction; returns the effects of each, none for an operation that is recorded."""
        before = {m.key: self.states.get(m.key, _aggregate(m).initial(m.key, m.store_id)) for m in messages}
        keys = {key for m in messages for key in SHELF.needs(before[m.key], m)}
        shares: dict[StockKey, Stock | None] = {key: self.stock.get(key) for key in sorted(keys)}
        states, events = dict(before), {key: list[Event]() for key in before}
        effects: list[list[Effect]] = []
        for message in messages:
            self.received += 1
            if (message.key, message.operation_id) in self.answered:
                effects.append([])
                continue
            named = set(SHELF.needs(states[message.key], message))
            assert named <= keys, "the batch would be split here: take the rest apart"
            context = Context(
                now=datetime(2026, 11, 21, tzinfo=UTC),
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
        return effects

    def _save_rows(self, change: Change[Fulfillment]) -> None:
        for row in reservation_rows(change):
            key = (row.order_id, row.operation_id, row.line_id)
            if (old := self.reservations.get(key)) is not None:  # the upsert's `where`
                assert (old.state, row.state) in {("reserved", "released"), ("reserved", "consumed")}, "moved twice"
                assert old[:-1] == row[:-1]
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
        open_or_gone = {"picking": "reserved", "cancelled": "released", "shipped": "consumed", "delivered": "consumed"}
        for shipment in state.shipments:
            row = self.shipment_rows[shipment.shipment_id]
            assert (row[1], row[4], row[5], row[7]) == (order, shipment.location, shipment.status, shipment.carrier)
            assert shipment.reservation_id is not None
            for line in shipment.lines:
                reservation = self.reservations[order, shipment.reservation_id, line.line_id]
                assert reservation.state == open_or_gone[shipment.status]

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


def _aggregate(message: Command) -> Any:
    return next(a for a in SERVICE.aggregates if any(handler.message is type(message) for handler in a.handlers))


def _audit(state: Fulfillment) -> None:
    open_shipments = [shipment for shipment in state.shipments if shipment.status == "picking"]
    if state.status in ("none", "released", "cancelled", "fulfilled"):
        assert not state.held and not open_shipments and not state.starts
    if state.status == "reserved":
        assert not open_shipments
    if state.status == "started":
        assert open_shipments and state.starts and not state.lines
    if state.status in ("released", "cancelled"):
        assert not any(shipment.has_shipped for shipment in state.shipments)


def of(effects: Iterable[Iterable[Effect]], kind: type[Effect]) -> list[Any]:
    return [effect for made in effects for effect in made if isinstance(effect, kind)]
