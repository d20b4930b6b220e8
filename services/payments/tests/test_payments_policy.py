"""The policy of gateways, over a real process: unclear outcomes are asked for, and nothing is ever charged twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from payments_testgateway import Order, Process, run, shared, slow, start

from chassis.declare.service import TryAgain

__all__ = ["shared", "slow", "start"]


# ---------------------------------------------------------------------------------------------------------- trouble


def test_a_declined_authorization_is_a_no(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        await order.trouble(authorize="declined")
        outcome = await order.once(order.call("authorize"))
        assert (outcome.state, outcome.code, outcome.reason) == ("refused", "card_declined", "the test gateway refuses")
        assert shared.moved(order.order_id) == []
        await order.client.close()

    run(story)


def test_a_late_capture_is_pending_until_it_has_succeeded(slow: Process) -> None:
    async def story() -> None:
        order = Order(slow)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="late")
        assert (await order.once(c)).state == "pending"
        with pytest.raises(TryAgain, match="still pending"):
            await order.once(c.model_copy(update={"ask_only": True}))
        await order.client.close()

    run(story)


def test_a_late_capture_is_charged_once(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="late")
        assert (await order.until_known(c)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("trouble", ["timed_out", "broken"])
def test_a_capture_that_succeeded_unheard_is_charged_exactly_once(shared: Process, trouble: str) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture=trouble)
        outcome = await order.once(c)  # the call is unclear; the same attempt asks and receives the outcome
        assert (outcome.state, outcome.amount_minor) == ("succeeded", 10_00)
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("trouble", ["lost", "down"])
def test_a_call_that_was_never_carried_out_is_made_again(shared: Process, trouble: str) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture=trouble)
        with pytest.raises(TryAgain, match="has no record"):
            await order.once(c)
        assert order.captures() == []
        assert (await order.once(c, number=2)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_gateway_that_stays_silent_is_asked_until_it_answers_and_charges_once(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared, gateway_timeout_seconds=0.1)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="silent")
        number = 0
        while number < 3 or not order.captures():  # a limit this short may end before the call has arrived
            with pytest.raises(TryAgain):
                await order.once(c, number := number + 1)
        with pytest.raises(TryAgain):
            await order.check(c)
        await order.trouble(capture=None)
        patient = Order(shared, order.order_id)
        assert (await patient.check(c)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()
        await patient.client.close()

    run(story)


def test_a_check_moves_nothing_and_believes_unknown_once_no_call_can_be_under_way(slow: Process) -> None:
    async def story() -> None:
        order = Order(slow)
        c = order.call("capture", of=await order.authorized())
        lease = timedelta(seconds=order.knobs.gateway_lease_seconds)
        with pytest.raises(TryAgain, match="may still arrive"):
            await order.check(c, age=lease - timedelta(seconds=1))
        assert (await order.check(c, age=lease)).state == "unknown"
        assert order.captures() == []
        await order.trouble(capture="late")
        assert (await order.once(c)).state == "pending"
        with pytest.raises(TryAgain, match="still pending"):
            await order.check(c, age=lease)
        await order.client.close()

    run(story)


def test_a_partial_void_releases_its_amount_at_the_gateway_and_the_rest_can_be_captured(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        authorization = await order.authorized()
        part = order.call("void", of=authorization).model_copy(update={"amount_minor": 4_00})
        assert (await order.once(part)).amount_minor == 4_00
        whole = order.call("capture", of=authorization)
        assert whole.amount_minor == 10_00 and (await order.once(whole)).code == "amount_exceeded"
        rest = order.call("capture", of=authorization).model_copy(
            update={"amount_minor": 6_00, "operation_id": uuid4()}
        )
        assert (await order.once(rest)).state == "succeeded"
        await order.client.close()

    run(story)


def test_a_gateway_that_is_not_there_is_not_a_no(start: Callable[..., Process]) -> None:
    async def story() -> None:
        process = start()
        order = Order(process)
        c = order.call("capture", of=await order.authorized())
        process.kill()
        for number in (1, 2):
            with pytest.raises(TryAgain):
                await order.once(c, number)
        process.start()
        assert (await order.until_known(c, first=3)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_worker_that_died_after_the_call_does_not_call_again(shared: Process) -> None:
    """Its successor has attempt 2 and asks first: here the gateway would refuse any second call."""

    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        first = await order.once(c)
        posted: list[str] = []
        request = order.gateway._http.request

        async def watched(method: str, *args: Any, **more: Any) -> Any:
            posted.append(method)
            return await request(method, *args, **more)

        order.gateway._http.request = watched  # type: ignore[method-assign]
        assert await order.once(c, number=2) == first
        assert posted == ["GET"]
        await order.client.close()

    run(story)


# ------------------------------------------------------------------------------------------------- a key's lifetime


def test_past_the_keys_lifetime_it_is_asked_by_reference_and_never_called(start: Callable[..., Process]) -> None:
    """The gateway deleted the key: a second call with it would charge again. Seen here first, then avoided."""

    async def story() -> None:
        process = start("--key-seconds", "0.2")
        order = Order(process)
        a = await order.authorized(30_00)
        c = order.call("capture", 10_00, a)
        assert (await order.once(c)).state == "succeeded"
        await asyncio.sleep(0.25)
        assert (await order.once(c)).state == "succeeded"
        assert order.captures() == [10_00, 10_00], "the danger is real: this gateway charges again"
        assert (await order.once(c, number=5, age=timedelta(hours=24))).state == "succeeded"
        assert order.captures() == [10_00, 10_00]
        await order.client.close()

    run(story)


def test_past_the_keys_lifetime_an_unknown_operation_waits_for_a_person(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        for number in (1, 2, 50):
            with pytest.raises(TryAgain, match="a person compares both sides"):
                await order.once(c, number, timedelta(hours=23))
        assert order.captures() == []
        assert (await order.once(c, 2, timedelta(hours=22))).state == "succeeded"
        await order.client.close()

    run(story)


def test_a_pending_operation_is_followed_past_the_keys_lifetime(start: Callable[..., Process]) -> None:
    async def story() -> None:
        process = start("--key-seconds", "0.1")
        order = Order(process)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="late")
        assert (await order.until_known(c)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)
