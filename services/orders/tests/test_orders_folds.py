"""An event is folded once: in the decision that states it, or in the batch, and never in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from orders_play import ORDER, STORE, Play, content, line, market

from chassis.batch.aggregates import Slot
from chassis.batch.inbound import Inbound
from chassis.batch.unit_of_work import Batch
from contracts.base import Event
from contracts.snapshot import OrderContent
from orders.domain.state import folding, order
from orders.handlers import ORDERS, SERVICE


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often an event of each type is folded from now on."""
    counted: Counter[str] = Counter()

    def counting(fold: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def wrapped(state: order.Order, event: Event) -> Any:
            counted[event.TYPE] += 1
            return fold(state, event)

        return wrapped

    for model, fold in folding._FOLDS.items():
        monkeypatch.setitem(folding._FOLDS, model, counting(fold))  # type: ignore[arg-type]
    return counted


def completed(play: Play) -> None:
    play.receives(content(line("1"), line("2")), market()).reserved().authorized().started().captured().issued()
    play.shipped().fulfilled()


def cancelled_and_placed_anew(play: Play) -> None:
    play.paid_and_in_the_warehouse().receives(content(lifecycle="cancelled"), seconds=1)
    play.shipments_cancelled().credited().refunded().receives(content(), seconds=2)
    play.resolves("order_reinstated", "accept").reserved()


def waiting_for_a_person(play: Play) -> None:
    unpriced: OrderContent = content(line(total=None))
    play.receives(unpriced, market()).receives(content(), seconds=1).reserved().authorized().started()
    play.captured().rejected().wakes().issued()


@pytest.mark.parametrize("story", [completed, cancelled_and_placed_anew, waiting_for_a_person])
def test_a_batch_folds_each_event_once(play: Play, folds: Counter[str], story: Callable[[Play], None]) -> None:
    story(play)
    folds.clear()  # the play folds its journal again
    start = order.initial(ORDER, STORE)
    slot = Slot(ORDERS, ORDER, STORE, start, start, 0, 0, 0, {}, None)
    rows: Counter[str] = Counter()
    for message, context in play.received:
        batch: Any = Batch(SERVICE, None, context.now)  # type: ignore[arg-type]
        batch.slots["orders", ORDER], batch._shares = slot, context.shares
        kind = type(message).__name__ if not hasattr(message, "TYPE") else message.TYPE
        aggregate = "orders" if SERVICE.handler_of(type(message), None) is None else None
        batch.decide(
            Inbound("topic", ORDER, STORE, context.message_id, kind, message, "c", actor=context.actor, aggregate=aggregate), 0
        )  # fmt: skip
        rows.update(row.type for row in batch._journal if row.revision is not None)
    assert slot.state == play.order and slot.revision == rows.total() > 10
    assert folds == rows
