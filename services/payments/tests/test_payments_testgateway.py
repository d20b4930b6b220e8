"""The gateway that tests and the demo pay at: its own arithmetic, what it does when it is killed, and the rule of the demo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from payments_testgateway import Order, Process, order_with, run, shared, start

from gatewayservers.faults import demo_trouble

__all__ = ["shared", "start"]


# ---------------------------------------------------------------------------------------------------- nothing wrong


def test_money_goes_the_whole_way(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized(10_00)
        c = order.call("capture", 7_00, a)
        first = await order.once(c)
        assert (first.state, first.amount_minor) == ("succeeded", 7_00)
        assert first.gateway_reference
        assert (await order.once(order.call("refund", 7_00, c))).state == "succeeded"
        assert (await order.once(order.call("void", 3_00, a))).state == "succeeded"
        assert shared.moved(order.order_id) == [
            ("authorize", 10_00),
            ("capture", 7_00),
            ("refund", 7_00),
            ("void", 3_00),
        ]
        await order.client.close()

    run(story)


def test_the_same_key_is_the_same_operation(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        answers = await asyncio.gather(*(order.once(c) for _ in range(5)))
        assert len({answer.gateway_reference for answer in answers}) == 1
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_key_used_for_something_else_is_no_answer_to_either(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized(10_00)
        c = order.call("capture", 4_00, a)
        await order.once(c)
        outcome = await order.once(c.model_copy(update={"amount_minor": 5_00}))
        # 409: unclear, so it was asked, and returns what really happened; the ledger finds the amounts differ.
        assert outcome.amount_minor == 4_00
        assert order.captures() == [4_00]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("kind", ["capture", "void"])
def test_the_gateway_does_its_own_arithmetic(shared: Process, kind: str) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized(10_00)
        assert (await order.once(order.call("capture", 7_00, a))).state == "succeeded"
        outcome = await order.once(order.call(kind, 3_01, a))
        assert (outcome.state, outcome.code) == ("refused", "amount_exceeded")
        await order.client.close()

    run(story)


def test_nothing_is_captured_of_what_the_gateway_never_authorized(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        outcome = await order.once(order.call("capture", 1, order.call("authorize")))
        assert (outcome.state, outcome.code) == ("refused", "unknown_reference")
        await order.client.close()

    run(story)


def test_charges_are_listed_by_order(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized()
        url = f"{shared.url}/charges?order_id={order.order_id}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            charges = (await response.json())["charges"]
        assert [(c["operation"], c["kind"], c["amount_minor"]) for c in charges] == [
            (str(a.operation_id), "authorize", 10_00)
        ]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"kind": "steal"}', b'{"kind":"capture","order_id":"x"}', b"\xff"])
def test_what_does_not_read_is_refused_without_harm(shared: Process, body: bytes) -> None:
    async def story() -> None:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(f"{shared.url}/operations", data=body) as response:
                assert response.status == 400
            async with session.get(f"{shared.url}/operations/k") as response:
                assert response.status == 404

    run(story)


# --------------------------------------------------------------------------------------------- killed and restarted


@pytest.mark.parametrize("trouble", ["timed_out", "late"])
def test_a_gateway_killed_in_between_knows_what_it_charged(start: Callable[..., Process], trouble: str) -> None:
    async def story() -> None:
        process = start()
        order = Order(process)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture=trouble)
        calling = asyncio.create_task(order.once(c))
        while not order.captures():
            await asyncio.sleep(0.005)
        process.kill()  # it has charged; its answer is lost
        await asyncio.gather(calling, return_exceptions=True)
        process.start()
        assert (await order.until_known(c, first=2)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_line_that_was_cut_off_is_forgotten(start: Callable[..., Process]) -> None:
    """It was never answered, so nothing is lost; and the lines after it must read."""

    async def story() -> None:
        process = start()
        order = Order(process)
        a = await order.authorized()
        process.kill()
        with process.ledger.open("ab") as file:
            file.write(b'{"key": "half')
        process.start()
        assert (await order.until_known(order.call("capture", 5_00, a))).state == "succeeded"
        process.kill()
        process.start()
        assert (await order.until_known(order.call("capture", 5_00, a))).state == "succeeded"
        assert order.captures() == [5_00, 5_00]
        await order.client.close()

    run(story)


# ----------------------------------------------------------------------------------------------- the demo's trouble


@pytest.mark.parametrize(
    ("n", "kind", "expected"),
    [
        (0, "authorize", "declined"), (3, "authorize", "declined"), (4, "authorize", None), (3, "capture", None),
        (4, "capture", "late"), (7, "capture", "late"), (8, "capture", "timed_out"), (11, "capture", "timed_out"),
        (12, "capture", None), (99, "capture", None), (5, "refund", None), (9, "void", None),
    ],
)  # fmt: skip
def test_the_demos_trouble_follows_from_the_order_id(n: int, kind: str, expected: str | None) -> None:
    assert demo_trouble(str(order_with(n)), kind) == expected


def test_the_demos_orders_end_as_the_rule_says(start: Callable[..., Process]) -> None:
    async def story() -> None:
        process = start("--trouble", "demo")
        declined = Order(process, order_with(2))
        assert (await declined.once(declined.call("authorize"))).state == "refused"
        for n in (5, 9, 50):
            order = Order(process, order_with(n))
            c = order.call("capture", of=await order.authorized())
            assert (await order.until_known(c)).state == "succeeded"
            assert order.captures() == [10_00]
            await order.client.close()
        await declined.client.close()

    run(story)
