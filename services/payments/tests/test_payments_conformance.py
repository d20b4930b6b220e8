"""What every gateway must do with money, over its shape. A new gateway joins `payments_conformance`, and passes or is not one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from payments_conformance import is_event, needs, shape
from payments_gateways import QUICK, Paying, Shape

from chassis.declare.service import TryAgain
from contracts.payments import (
    Authorized,
    Captured,
    Declined,
    Failed,
    Pending,
    Refunded,
    Voided,
)

__all__ = ["shape"]


async def test_money_goes_the_whole_way(shape: Shape) -> None:
    order = Paying(shape)
    is_event(await order.authorize(10_00), Authorized, amount_minor=10_00)
    is_event(await order.capture(10_00), Captured, amount_minor=10_00)
    is_event(await order.refund(10_00), Refunded, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 10_00)]


@pytest.mark.parametrize("trouble", [None, "late", "timed_out", "broken", "lost", "down"])
async def test_a_capture_that_is_asked_for_with_its_authorization_is_made_once(
    shape: Shape, trouble: str | None
) -> None:
    """A gateway that cannot do both in one request reports so, and the capture is asked for as an operation."""
    order = Paying(shape)
    await shape.trouble(order.order_id, authorize=trouble)
    authorized = await order.ask(order.authorizing(10_00, capture=True))
    assert isinstance(authorized, Authorized)
    if authorized.capture_id is None:
        is_event(await order.capture(10_00), Captured)
    is_event(await order.refund(4_00), Refunded)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 4_00)]


async def test_lines_that_were_added_after_the_payment_are_refunded(shape: Shape) -> None:
    """A reversal adds the line of what is paid back, and the replacing line: the gateway has neither."""
    order = Paying(shape)
    await order.authorize(10_00)
    await order.capture(10_00)
    is_event(await order.replace(10_00, cheaper=6_00), Refunded, amount_minor=4_00)
    is_event(await order.refund(6_00, line_id="2"), Refunded, amount_minor=6_00)
    moved = [one for one in await shape.moved(order.order_id) if one[0] == "refund"]
    assert moved == [("refund", 4_00), ("refund", 6_00)]


async def test_it_is_captured_and_refunded_in_parts_and_the_rest_is_voided(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    for part in (3_00, 4_00):
        is_event(await order.capture(part), Captured, amount_minor=part)
    is_event(await order.void(), Voided, amount_minor=3_00)
    first, second = order.ledger.captures
    for capture_id, part in ((first, 1_00), (first, 2_00), (second, 4_00)):
        is_event(await order.refund(part, capture_id), Refunded, amount_minor=part)
    moved = await shape.moved(order.order_id)
    assert sorted(amount for kind, amount in moved if kind == "capture") == [3_00, 4_00]
    assert [amount for kind, amount in moved if kind == "void"] == [3_00]
    assert sum(amount for kind, amount in moved if kind == "refund") == 7_00


async def test_a_part_is_voided_before_the_rest_is_captured(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    is_event(await order.void(4_00), Voided, amount_minor=4_00)
    is_event(await order.capture(6_00), Captured, amount_minor=6_00)
    moved = await shape.moved(order.order_id)
    assert sorted(moved) == [("authorize", 10_00), ("capture", 6_00), ("void", 4_00)]


async def test_all_is_voided(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    is_event(await order.void(), Voided, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("void", 10_00)]


async def test_where_one_capture_is_allowed_the_first_releases_the_rest_and_a_second_is_refused(shape: Shape) -> None:
    needs(shape, "one capture")
    order = Paying(shape)
    await order.authorize(10_00, shape.single_capture)
    is_event(await order.capture(7_00), Captured, amount_minor=7_00)
    is_event(await order.capture(1_00), Failed, code="gateway_refused")
    is_event(await order.void(), Voided, amount_minor=3_00)
    assert sorted(await shape.moved(order.order_id)) == [("authorize", 10_00), ("capture", 7_00), ("void", 3_00)]


async def test_a_declined_authorization_moves_nothing_and_a_new_one_may_succeed(shape: Shape) -> None:
    order = Paying(shape)
    await shape.trouble(order.order_id, authorize="declined")
    declined = await order.authorize(10_00)
    assert isinstance(declined, Declined) and declined.code and declined.code != "gateway_refused"
    assert await shape.moved(order.order_id) == []
    await shape.trouble(order.order_id, authorize=None)
    is_event(await order.authorize(10_00), Authorized)
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


@pytest.mark.parametrize("kind", ["capture", "void", "refund"])
async def test_what_the_gateway_refuses_has_failed_and_can_be_asked_for_again(shape: Shape, kind: str) -> None:
    needs(shape, "refusals")
    order = Paying(shape)
    await order.authorize(10_00)
    if kind == "refund":
        await order.capture(10_00)
    ask = {"capture": lambda: order.capture(10_00), "void": order.void, "refund": lambda: order.refund(10_00)}[kind]
    before = await shape.moved(order.order_id)
    await shape.trouble(order.order_id, **{kind: "declined"})
    is_event(await ask(), Failed, code="gateway_refused", command=kind)
    assert await shape.moved(order.order_id) == before
    await shape.trouble(order.order_id, **{kind: None})
    assert not isinstance(await ask(), Failed)


@pytest.mark.parametrize("trouble", ["timed_out", "broken", "lost", "down"])
@pytest.mark.parametrize("kind", ["authorize", "capture", "void", "refund"])
async def test_an_unclear_call_moves_its_amount_exactly_once(shape: Shape, kind: str, trouble: str) -> None:
    order = Paying(shape)
    await shape.trouble(order.order_id, **{kind: trouble})
    is_event(await order.authorize(10_00), Authorized)
    if kind == "void":
        is_event(await order.void(), Voided, amount_minor=10_00)
        assert await shape.moved(order.order_id) == [("authorize", 10_00), ("void", 10_00)]
        return
    is_event(await order.capture(10_00), Captured)
    is_event(await order.refund(4_00), Refunded)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 4_00)]


@pytest.mark.parametrize("late_ms", [0, QUICK.late_ms])
@pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
async def test_a_late_answer_is_pending_first_and_moves_its_amount_once(
    shape: Shape, kind: str, late_ms: float
) -> None:
    """Pending is an answer, and not what a quick client sees: it comes first also where the operation has succeeded meanwhile."""
    if kind == "capture":
        needs(shape, "late capture")
    shape.late(late_ms)
    order = Paying(shape)
    await shape.trouble(order.order_id, **{kind: "late"})
    await order.authorize(10_00)
    await order.capture(10_00)
    await order.refund(4_00)
    assert [event.command for event in order.events if isinstance(event, Pending)] == [kind]
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 4_00)]
    assert order.open_operations() == []


async def test_the_same_key_is_the_same_operation_also_at_the_same_time(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    call = order.calling("capture", 4_00)
    outcomes = await asyncio.gather(*(order.outcome(call) for _ in range(5)))
    assert {outcome.state for outcome in outcomes} == {"succeeded"}
    assert len({outcome.gateway_reference for outcome in outcomes}) == 1
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 4_00)]


async def test_a_worker_that_died_after_the_call_asks_and_does_not_call_again(shape: Shape) -> None:
    """Its successor has attempt 2. The gateway's books have the operation once, and the reports agree."""
    order = Paying(shape)
    await order.authorize(10_00)
    call = order.calling("capture", 10_00)
    first = await order.policy.run(call, order.attempt(call))
    assert await order.policy.run(call, order.attempt(call, number=2)) == first
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00)]


async def test_past_the_keys_lifetime_it_is_asked_and_never_called(shape: Shape) -> None:
    needs(shape, "expiring keys")
    order = Paying(shape)
    await order.authorize(10_00)
    call = order.calling("capture", 10_00)
    for number in (1, 2, 50):
        with pytest.raises(TryAgain, match="a person compares both sides"):
            await order.policy.run(call, order.attempt(call, number, timedelta(hours=23)))
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]
    done = await order.policy.run(call, order.attempt(call))
    assert await order.policy.run(call, order.attempt(call, 50, timedelta(hours=23))) == done


async def test_a_check_of_what_never_arrived_is_unknown_and_moves_nothing(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    lease = timedelta(seconds=order.knobs.gateway_lease_seconds)
    for kind in ("capture", "void"):
        call = order.calling(kind, 10_00)
        assert (await order.policy.check(call, order.attempt(call, 1, lease))).state == "unknown"
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", 500), ("ISK", 500), ("KWD", 5_120), ("TND", 10), ("HUF", 50_00)]
)
async def test_currencies_without_minor_units_and_with_three(shape: Shape, currency: str, amount: int) -> None:
    order = Paying(shape, currency)
    is_event(await order.authorize(amount), Authorized, amount_minor=amount, currency=currency)
    is_event(await order.capture(amount), Captured, amount_minor=amount)
    is_event(await order.refund(amount), Refunded, amount_minor=amount)


async def test_a_silent_gateway_is_asked_until_it_answers(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    await shape.trouble(order.order_id, capture="silent")
    capturing = asyncio.create_task(order.capture(10_00))
    tries = order.tries
    while order.tries < tries + 2:
        await asyncio.sleep(0.01)
    assert not capturing.done()
    await shape.trouble(order.order_id, capture=None)
    is_event(await capturing, Captured)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00)]


async def test_an_amount_over_the_gateways_limit_is_declined(shape: Shape) -> None:
    needs(shape, "limit")
    order = Paying(shape)
    is_event(await order.authorize(shape.amount_max + 1), Declined, code="amount_too_large")
