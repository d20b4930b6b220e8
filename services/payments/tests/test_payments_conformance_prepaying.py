"""What every gateway must do with what a buyer pays in a session before the order asks for it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from payments_conformance import is_event, needs, shape
from payments_gateways import FIRST, Paying, Shape
from test_payments_conformance_buyers import POINTS, run_after_a_death

from contracts.deciding import Wake
from contracts.payments import Authorized, Captured, PrepaymentReceived, PrepaymentReturned, Refunded, Voided

__all__ = ["shape"]


async def prepaid(shape: Shape, amount: int) -> tuple[Paying, UUID]:
    """A session that its buyer has paid."""
    order = Paying(shape)
    session_id = order.opens_session(amount, shape.name)
    await order.run(order.tasks.pop())
    if order.open_operations():  # it waits for the buyer
        [payment] = shape.server.payments
        await shape.post(f"/buyers/{payment}/confirm")
        await order.settle()
    is_event(order.events[-1], PrepaymentReceived, amount_minor=amount)
    return order, session_id


async def test_the_order_takes_over_what_was_paid_and_captures_voids_and_refunds_it(shape: Shape) -> None:
    needs(shape, "buyers")
    order, session_id = await prepaid(shape, 10_00)
    is_event(await order.authorize(10_00), Authorized, amount_minor=10_00, session_id=session_id)
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]
    is_event(await order.capture(6_00), Captured, amount_minor=6_00)
    is_event(await order.void(), Voided, amount_minor=4_00)
    is_event(await order.refund(6_00), Refunded, amount_minor=6_00)
    assert Counter(dict(await shape.moved(order.order_id))) >= Counter(authorize=10_00, capture=6_00, refund=6_00)


async def test_what_was_paid_too_much_is_never_captured(shape: Shape) -> None:
    needs(shape, "buyers")
    order, _ = await prepaid(shape, 12_00)
    order.decide(order.authorizing(10_00))
    await order.settle()
    is_event(order.events[-1], PrepaymentReturned, amount_minor=2_00)
    is_event(await order.capture(10_00), Captured, amount_minor=10_00)
    moved = await shape.moved(order.order_id)
    assert sum(amount for kind, amount in moved if kind == "capture") == 10_00
    assert not order.open_operations()


async def test_what_was_paid_too_little_is_one_of_two_authorizations(shape: Shape) -> None:
    needs(shape, "buyers")
    order, session_id = await prepaid(shape, 7_00)
    is_event(await order.authorize(10_00), Authorized, amount_minor=3_00, session_id=None)
    assert [one for one in await shape.moved(order.order_id) if one[0] == "authorize"] == [
        ("authorize", 7_00),
        ("authorize", 3_00),
    ]
    assert {one.session_id for one in order.ledger.authorizations.values()} == {session_id, None}
    assert order.ledger.authorized_minor == 10_00


@pytest.mark.parametrize("trouble", [None, "timed_out", "broken", "lost"])
async def test_what_no_order_takes_over_is_given_back_once(shape: Shape, trouble: str | None) -> None:
    needs(shape, "buyers")
    order, _ = await prepaid(shape, 10_00)
    await shape.trouble(order.order_id, void=trouble)
    is_event(await order.abandon(), PrepaymentReturned, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("void", 10_00)]
    assert order.ledger.totals().authorized_minor == 0 and not order.open_operations()


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_dies_while_a_session_asks_or_gives_back_does_each_once(
    shape: Shape, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    needs(shape, "buyers")
    order = Paying(shape)
    session_id = order.opens_session(10_00, shape.name)
    await run_after_a_death(order, order.tasks.pop(), point, monkeypatch)
    if order.open_operations():
        await shape.post(f"/buyers/{shape.server.payments[-1]}/confirm")
        await order.settle()
    is_event(order.events[-1], PrepaymentReceived, session_id=session_id)
    order.decide(Wake(FIRST + timedelta(days=2)))
    await run_after_a_death(order, order.tasks.pop(), point, monkeypatch)
    await order.settle()
    is_event(order.events[-1], PrepaymentReturned, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("void", 10_00)]
