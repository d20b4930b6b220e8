"""A cancelled order that is placed anew ships and is paid as it is stated now; one that has shipped stays cancelled."""

from __future__ import annotations

from typing import get_args
from uuid import UUID

import pytest
from saga_play import Saga
from saga_world import STORE

from contracts import orders
from contracts.ids import order_id
from contracts.orders import CaptureOption, EditChanges, LineEdit, MarketTerms
from contracts.snapshot import Line, OrderContent, Quantities, Tax, Totals
from orders.domain.processes import edited
from orders.domain.state.order import Order


def content(saga: Saga, price_minor: int, **more: str) -> OrderContent:
    """A piece that ships, and a service that does not and that costs nothing."""
    lines = (
        Line(external_line_id="1", sku="A", quantity=Quantities(ordered=1), line_total_minor=price_minor, tax=(Tax(rate="17"),)),
        Line(external_line_id="2", quantity=Quantities(ordered=1), line_total_minor=0, tax=(Tax(rate="17"),), requires_shipping=False),
    )  # fmt: skip
    totals = Totals(grand_minor=price_minor)
    at = saga.world.now
    return OrderContent(external_order_id="1", placed_at=at, currency="EUR", lines=lines, totals=totals, **more)


def market_of_one(capture: CaptureOption) -> tuple[Saga, UUID]:
    """A market with stock, and the id of its order."""
    saga = Saga()
    saga.world.count_stock("main", "A", 5)
    saga.world.markets["a"] = MarketTerms(
        code="m", approval="automatic", seller="acme", gateway="test", capture=capture
    )
    return saga, order_id(STORE, "bol", "a", "1")


@pytest.mark.parametrize("capture", [one for one in get_args(CaptureOption) if one != "manual"])
def test_an_order_that_was_complete_without_a_piece_is_placed_anew(capture: CaptureOption) -> None:
    """It is free, and an edit takes away all that ships: that completes it. It is cancelled, and comes back with a price."""
    saga, key = market_of_one(capture)
    world = saga.world
    saga.known[key] = ("a", content(saga, 0))

    def order() -> Order:
        found = world.orders.states()[key]
        assert isinstance(found, Order)
        return found

    def tell(price_minor: int, seconds: int) -> None:
        saga.tell(key, content(saga, price_minor), seconds)
        saga.drain()

    tell(0, 0)
    without = EditChanges(lines=(LineEdit(line_id="1", quantity=0),))
    assert saga.ask(orders.OpenEdit, key, changes=without) is None
    (run,) = edited.of_order(order())
    assert saga.ask(orders.ConfirmEdit, key, edit_id=edited.data_of(run).edit_id) is None
    saga.drain()
    assert order().completed_at is not None and order().fulfillment_status == "not_required"
    assert saga.ask(orders.Cancel, key, cause="customer") is None
    saga.drain()
    tell(1999, 1)
    reinstated = order().exceptions["order_reinstated"].exception_id
    assert saga.ask(orders.Resolve, key, exception_id=reinstated, resolution="accept") is None
    saga.drain()
    (parcel,) = world.picking()
    world.ship(*parcel)
    saga.ends()
    assert (order().status, order().payment_status, order().fulfillment_status) == ("approved", "paid", "fulfilled")
    assert order().facts.money.captured_minor == 1999 and order().completed_at is not None
    assert [one.status for one in order().facts.shipments.values()] == ["cancelled", "shipped"]


@pytest.mark.parametrize("capture", [one for one in get_args(CaptureOption) if one != "manual"])
def test_an_order_that_has_shipped_and_was_refunded_stays_cancelled(capture: CaptureOption) -> None:
    """The buyer has the goods: nothing ships, and no money is taken, by any capture option."""
    saga, key = market_of_one(capture)
    world = saga.world

    def order() -> Order:
        found = world.orders.states()[key]
        assert isinstance(found, Order)
        return found

    saga.known[key] = ("a", content(saga, 1999))
    saga.tell(key, content(saga, 1999), 0)
    saga.drain()
    world.ship(*world.picking()[0])
    saga.drain()
    assert saga.ask(orders.Refund, key, goodwill_minor=1999) is None
    saga.drain()
    assert (order().status, order().payment_status, order().fulfillment_status) == (
        "cancelled",
        "refunded",
        "fulfilled",
    )
    saga.tell(key, content(saga, 2999), 1)
    saga.drain()
    raised = order().exceptions["order_reinstated"].exception_id
    refusal = saga.ask(orders.Resolve, key, exception_id=raised, resolution="accept")
    assert refusal is not None and refusal.code == "goods_shipped"
    saga.ends()
    assert (order().status, order().facts.money.captured_minor, world.picking()) == ("cancelled", 1999, [])
