"""How an order is placed. A row: we ask, yes moves on, no leads to, skip leaves it out, what we wait for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from contracts import fulfillment, payments
from contracts.orders import Approved, Placed
from orders.domain import settle, undo
from orders.domain.amounts import payable, ships_anything
from orders.domain.order import Run
from orders.domain.story import STOCK_AGAIN_MAX_SECONDS, Process, Step, Story


def reserve(story: Story, run: Run, operation: UUID) -> fulfillment.Reserve:
    order = story.order
    assert order.content is not None and order.market is not None
    return fulfillment.Reserve(
        order_id=story.context.key, store_id=order.store_id, operation_id=operation, actor="orders",
        locations=order.market.locations,
        lines=tuple(
            fulfillment.WantedLine(line_id=line.line_id, sku=line.sku or "", quantity=line.quantity)
            for line in payable(order.content) if line.ships
        ),
    )  # fmt: skip


def authorize(story: Story, run: Run, operation: UUID) -> payments.Authorize:
    order = story.order
    assert order.content is not None and order.market is not None
    return payments.Authorize(
        order_id=story.context.key, store_id=order.store_id, operation_id=operation, actor="orders",
        gateway=order.market.gateway, currency=order.content.currency, reference=order.content.external_order_id,
        lines=tuple(line.money for line in payable(order.content)),
    )  # fmt: skip


def start(story: Story, run: Run, operation: UUID) -> fulfillment.Start:
    order = story.order
    assert order.content is not None
    story.note(start_asked=True, reserved=False)
    return fulfillment.Start(
        order_id=story.context.key, store_id=order.store_id, operation_id=operation, actor="orders",
        ship_to=order.content.ship_to,
    )  # fmt: skip


def nothing_ships(story: Story, run: Run) -> bool:
    assert story.order.content is not None
    return not ships_anything(story.order.content)


def is_free(story: Story, run: Run) -> bool:
    return story.order.grand_minor == 0


def approved_by_rule(story: Story, run: Run) -> bool:
    assert story.order.market is not None
    return story.order.market.auto_approve


def out_of_stock(story: Story, run: Run, event: fulfillment.OutOfStock) -> None:
    """By the market: cancel, or wait and ask as a new operation (the answer was a no), until its patience ends."""
    assert story.order.market is not None
    if story.order.market.on_short == "cancel":
        undo.begin(story, "out_of_stock")
        return
    tries = int(run.detail or 0)
    pause = min(30 * 2 ** min(tries, 10), STOCK_AGAIN_MAX_SECONDS)
    story.set(
        run,
        waits="stock",
        operation_id=None,
        due_at=story.due(run, pause),
        detail=str(tries + 1),
    )


def declined(story: Story, run: Run, event: payments.Declined) -> None:
    undo.begin(story, "declined")


def shipments_cancelled(story: Story, run: Run, event: Any) -> None:
    """The warehouse gave the order back without being asked to."""
    undo.begin(story, "out_of_stock")


def placed(story: Story, run: Run) -> None:
    assert story.order.market is not None
    story.state(Placed, status="placed", placed_at=story.context.now)
    if story.order.market.capture == "on_placement":
        settle.begin_rest(story)


def approved(story: Story, run: Run) -> None:
    market = story.order.market
    assert market is not None
    actor = story.context.actor if story.approving else "rule:auto_approve"
    story.state(Approved, status="approved", approved_at=story.context.now, actor=actor, answers=story.approving)
    if market.capture == "on_approval" or (market.capture == "per_shipment" and nothing_ships(story, run)):
        settle.begin_rest(story)


def fulfilled(story: Story, run: Run) -> None:
    if not nothing_ships(story, run):
        story.note(fulfilled=True)
        if story.order.fulfillment_status != "fulfilled":
            story.fulfillment_changed("fulfilled")


# fmt: off
PLACE = Process("place", (
    #    step         we ask               yes                             no -> then                                             left out when        while waiting         and then
    Step("reserve",   ask=reserve,   yes=fulfillment.Reserved,   no={fulfillment.OutOfStock: out_of_stock},               skip=nothing_ships),
    Step("authorize", ask=authorize, yes=payments.Authorized,    no={payments.Declined: declined},                        skip=is_free,                              then=placed),
    Step("approve",   ask=None,      yes=None,                                                                            skip=approved_by_rule, waits="approval",   then=approved),
    Step("fulfill",   ask=start,     yes=fulfillment.Fulfilled,  no={fulfillment.ShipmentsCancelled: shipments_cancelled}, skip=nothing_ships,                        then=fulfilled),
))
# fmt: on
