"""What every gateway must do with a buyer: who confirms, pays, leaves, or pays late; and an authorization whose time is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from payments_conformance import is_event, needs, shape
from payments_gateways import FIRST, RETURN_URL, Paying, Shape

from chassis import crash
from contracts.deciding import Reported, Task, Wake
from contracts.payments import (
    Authorized,
    Declined,
    Failed,
    Pending,
    Voided,
)
from payments.domain.gateway import GatewayCall
from payments.gateways.port import Action
from tests.waiting import patience

__all__ = ["shape"]


async def test_a_buyer_who_has_to_confirm_is_pending_with_what_the_storefront_needs(shape: Shape) -> None:
    needs(shape, "buyers")
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, shape.needs_buyer))
    action = await wait_for_action(order)
    secret = action.client_secret or action.redirect_url
    assert action.kind == "confirm" and secret and secret not in repr(action)
    assert [type(event) for event in order.events][-1] is Pending
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await authorizing, Authorized, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


async def test_a_buyer_who_does_not_pass_is_declined(shape: Shape) -> None:
    needs(shape, "buyers")
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, shape.needs_buyer))
    await wait_for_action(order)
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/fail")
    assert isinstance(await authorizing, Declined)
    assert await shape.moved(order.order_id) == []


async def test_without_a_token_the_buyer_pays_at_the_gateway(shape: Shape) -> None:
    needs(shape, "payment page")
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, None))
    assert (await wait_for_action(order)).kind == "pay"
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await authorizing, Authorized)


async def test_a_buyer_is_sent_back_to_where_the_storefront_said_before(shape: Shape) -> None:
    needs(shape, "return URL")
    order = Paying(shape)
    order.opens_session(10_00)
    authorizing = asyncio.create_task(order.authorize(10_00, shape.page_of))
    assert (await wait_for_action(order)).redirect_url is not None
    [payment] = shape.server.payments
    assert shape.server.return_urls == [RETURN_URL]
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await authorizing, Authorized)


@pytest.mark.parametrize("trouble", [None, "timed_out", "broken"])
async def test_a_buyer_who_leaves_is_declined_and_cannot_pay_any_more(shape: Shape, trouble: str | None) -> None:
    needs(shape, "buyers")
    order = await left_by_its_buyer(shape)
    [payment] = shape.server.payments
    await shape.trouble(order.order_id, void=trouble)
    is_event(await order.abandon(), Declined, code="payment_abandoned")
    assert not order.open_operations()
    async with aiohttp.ClientSession() as session, session.post(f"{shape.url}/buyers/{payment}/confirm") as response:
        assert response.status == 400, "the gateway takes no payment on it"
    assert await shape.moved(order.order_id) == []


@pytest.mark.parametrize("capture", [False, True])
async def test_a_buyer_who_pays_after_the_time_gets_it_back(shape: Shape, capture: bool) -> None:
    """Cancelled where the gateway still holds it, refunded where it has taken it: before the authorization is declined."""
    needs(shape, "buyers")
    order = await left_by_its_buyer(shape, capture)
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await order.abandon(), Declined, code="payment_abandoned")
    is_captured = capture and shape.captures_at_once
    given_back = (
        [("authorize", 10_00), ("capture", 10_00), ("refund", 10_00)]
        if is_captured
        else [("authorize", 10_00), ("void", 10_00)]
    )
    assert await shape.moved(order.order_id) == given_back
    assert order.ledger.captured_minor == order.ledger.refunded_minor == (10_00 if is_captured else 0)


async def left_by_its_buyer(shape: Shape, capture: bool = False) -> Paying:
    """An order whose authorization waits for the buyer, and no worker is at it."""
    order = Paying(shape)
    order.decide(order.authorizing(10_00, shape.waits_with, capture=capture))
    await order.run(order.tasks.pop())
    assert isinstance(order.events[-1], Pending) and order.events[-1].expires_at is not None
    return order


async def wait_for_action(order: Paying) -> Action:
    async with patience():
        while True:
            for operation_id, operation in order.ledger.operations.items():
                if operation.state == "pending":
                    call = order.ledger.call(order.order_id, "st_1", operation_id, operation)
                    if action := await order.shape.gateway.action(call):
                        return action
            await asyncio.sleep(0.01)


async def test_an_authorization_that_has_expired_refuses_its_capture_and_says_so(shape: Shape) -> None:
    needs(shape, "expiry")
    order = Paying(shape)
    authorized = await order.authorize(10_00)
    assert isinstance(authorized, Authorized)
    await shape.post(f"/expire/{authorized.gateway_reference}")
    failed = await order.capture(10_00)
    is_event(failed, Failed, code="authorization_expired")
    is_event(await order.void(4_00), Voided, amount_minor=4_00)
    is_event(await order.void(), Voided, amount_minor=6_00)
    is_event(await order.authorize(10_00), Authorized)


# ------------------------------------------------------------------------------------------------------- a worker that dies


POINTS = ("before_gateway_call", "after_gateway_call")


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_dies_while_it_opens_the_buyers_payment_takes_it_once(
    shape: Shape, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    needs(shape, "buyers")
    order = Paying(shape)
    order.decide(order.authorizing(10_00, shape.waits_with))
    await run_after_a_death(order, order.tasks.pop(), point, monkeypatch)
    assert isinstance(order.events[-1], Pending)
    await shape.post(f"/buyers/{shape.server.payments[-1]}/confirm")
    await order.settle()
    is_event(order.events[-1], Authorized, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


@pytest.mark.parametrize("pays", [False, True])
@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_dies_while_it_cancels_what_a_buyer_has_left_gives_back_once(
    shape: Shape, monkeypatch: pytest.MonkeyPatch, point: str, pays: bool
) -> None:
    needs(shape, "buyers")
    order = await left_by_its_buyer(shape)
    if pays:
        await shape.post(f"/buyers/{shape.server.payments[-1]}/confirm")
    order.decide(Wake(FIRST + timedelta(days=2)))
    [task] = order.tasks
    order.tasks.clear()
    await run_after_a_death(order, task, point, monkeypatch)
    await order.settle()
    is_event(order.events[-1], Declined, code="payment_abandoned")
    assert order.open_operations() == []
    assert await shape.moved(order.order_id) == ([("authorize", 10_00), ("void", 10_00)] if pays else [])


class Died(BaseException):
    """As a process that ends: nothing catches it."""


async def run_after_a_death(order: Paying, task: Task, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker dies at the point; its successor runs the task as the second attempt, and reports."""

    def die(name: str) -> None:
        if name == point:
            raise Died

    call = task.body
    assert isinstance(call, GatewayCall)
    with monkeypatch.context() as patched:
        patched.setattr(crash, "point", die)
        with pytest.raises(Died):
            await order.policy.run(call, order.attempt(call))
    outcome = await order.outcome(call, tries=1)
    order.decide(Reported(task_id=task.task_id, kind=task.kind, asked=call, outcome=outcome))
