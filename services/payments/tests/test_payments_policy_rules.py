"""What the policy makes of answers that cannot be trusted, of gateways that are not set up, and of settings that do not fit."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from payments_gateways import NoAccounts
from payments_testgateway import FIRST, Order, Process, run, settings, shared
from pydantic import ValidationError

from chassis import crash
from chassis.declare.service import Attempt, TryAgain
from payments.domain.gateway import GatewayCall
from payments.gateways.policy import Policy
from payments.gateways.registry import Gateways
from payments.gateways.test import TestGateway
from tests.waiting import PATIENCE_SECONDS

__all__ = ["shared"]


# ----------------------------------------------------------------------------------- answers that cannot be trusted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>maintenance</html>"),
        (201, b'{"state": "succeeded"}'),
        (201, b'{"operation": "00000000-0000-0000-0000-000000000000", "state": "succeeded"}'),
        (201, b'{"operation": "{id}", "state": "maybe"}'),
        (201, b'{"operation": "{id}", "state": "succeeded", "amount_minor": 10.5}'),
        (301, b""),
        (400, b"{}"),
        (401, b"{}"),
        (404, b"{}"),
        (429, b"{}"),
        (500, b"{}"),
        (503, b"\xff\xfe"),
    ],
)
def test_what_does_not_say_yes_or_no_is_neither(status: int, body: bytes) -> None:
    """Also when asking: a 404 that the gateway did not write itself must not cause a second call."""

    async def story() -> None:
        asked: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head.split(b" ", 1)[0].decode())
            text = body.replace(b"{id}", str(c.operation_id).encode())
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(text), text)
            )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Policy(TestGateway(f"http://127.0.0.1:{port}", PATIENCE_SECONDS), settings())
        c = GatewayCall(
            operation_id=uuid4(), gateway="test", kind="capture", order_id=uuid4(), store_id="st_1",
            currency="EUR", amount_minor=1, refers_to=uuid4(),
        )  # fmt: skip
        for number, methods in ((1, ["POST", "GET"]), (2, ["GET"])):
            asked.clear()
            with pytest.raises(TryAgain):
                await client.run(c, Attempt(c.operation_id, c.order_id, number, FIRST, FIRST))
            assert asked == methods
        await client.close()
        server.close()

    run(story)


# ---------------------------------------------------------------------------------- which gateway, and crash points


def test_a_gateway_that_is_not_set_up_says_no_before_anything_was_tried() -> None:
    async def story() -> None:
        call = GatewayCall(
            operation_id=uuid4(), gateway="paypal", kind="authorize", order_id=uuid4(), store_id="st_1",
            currency="EUR", amount_minor=1,
        )  # fmt: skip
        gateways = Gateways({}, NoAccounts(), settings())
        outcome = await gateways.run(call, Attempt(call.operation_id, call.order_id, 1, FIRST, FIRST))
        assert (outcome.state, outcome.code) == ("not_set_up", "gateway_unknown")
        with pytest.raises(TryAgain, match="gateway_unknown: .* it was, before"):
            await gateways.run(call, Attempt(call.operation_id, call.order_id, 2, FIRST, FIRST))

    run(story)


@pytest.mark.parametrize("trouble", [None, "timed_out"])
def test_every_call_passes_both_crash_points(
    shared: Process, monkeypatch: pytest.MonkeyPatch, trouble: str | None
) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        if trouble:
            await order.trouble(capture=trouble)
        passed: list[tuple[str, int]] = []
        monkeypatch.setattr(crash, "point", lambda name: passed.append((name, len(order.captures()))))
        await order.once(c)
        assert passed == [("before_gateway_call", 0), ("after_gateway_call", 1)]
        await order.client.close()

    run(story)


# --------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "wrong", [{"gateway_lease_seconds": 20}, {"gateway_timeout_seconds": 10}, {"gateway_key_hours": 0.01}]
)
def test_knobs_that_do_not_fit_together_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        settings(**{"gateway_timeout_seconds": 8} | wrong)
