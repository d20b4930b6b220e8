"""What a receiver of the demo accepts, notices and finds missing; its sockets are real."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks import Webhook

from demo.deliveries import faults
from demo.receivers import Noted, Receiver
from devservices.errors import DevservicesError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ENDPOINT = uuid4()
HOST = "127.0.0.1"


def event(n: int, version: int = 1, source: str = "payments", subject: str = "o1") -> dict[str, Any]:
    return {"id": f"e{n}", "source": source, "type": f"{source}.done", "subject": subject, "version": version}


def noted(*deliveries: tuple[str, Mapping[str, Any]]) -> Noted:
    found = Noted()
    for delivery_id, one in deliveries:
        found.note(delivery_id, one)
    return found


def test_each_wanted_event_once_or_repeated_is_no_fault() -> None:
    got = noted(
        ("m1", event(1)), ("m1", event(1)), ("m2", event(2, 2)), ("m3", event(1, 1, "orders")), ("m4", event(3, subject="o2"))
    )  # fmt: skip
    assert faults(["payments/e1", "payments/e2", "orders/e1", "payments/e3"], got) == []


@pytest.mark.parametrize(
    ("deliveries", "fault"),
    [
        ([("m1", event(1))], "1 of 2 events did not come, as payments/e2"),
        (
            [("m1", event(1)), ("m2", event(2, 2)), ("m3", event(3, 3))],
            "1 events came that were not published, or that it",
        ),
        (
            [("m1", event(1)), ("m2", event(2, 2)), ("m3", event(2, 2))],
            "was redelivered with another webhook-id: 1 times",
        ),
        ([("m2", event(2, 2)), ("m1", event(1))], "came behind a later one of its order: 1 times"),
        ([("m1", event(1)), ("m1", event(2, 2))], "1 webhook-ids were those of other events"),
    ],
)
def test_what_a_receiver_finds_wrong(deliveries: list[tuple[str, Any]], fault: str) -> None:
    [found] = faults(["payments/e1", "payments/e2"], noted(*deliveries))
    assert fault in found


@pytest.mark.parametrize(
    ("types", "wanted"), [((), {"orders.placed", "payments.captured"}), (("payments.*",), {"payments.captured"})]
)
def test_a_receiver_wants_its_types(types: tuple[str, ...], wanted: set[str]) -> None:
    receiver = Receiver("one", types)
    assert {one for one in ("orders.placed", "payments.captured") if receiver.wants(one)} == wanted


async def _create(request: web.Request) -> web.Response:
    assert await request.json() == {"url": request.app["receiver"].url, "types": ["payments.*"]}
    return web.json_response({"endpoint_id": str(ENDPOINT), "secret": SECRET}, status=201)


async def _verify(request: web.Request) -> web.Response:
    if request.match_info["id"] != str(ENDPOINT):
        return web.json_response({"detail": "there is no such endpoint"}, status=404)
    return web.json_response({}, status=await sent(request.app["receiver"], {"type": "webhooks.verify"}))


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that has registered itself at a webhooks service."""
    receiver, service = Receiver("books", ("payments.*",)), web.Application()
    service["receiver"] = receiver
    service.add_routes([web.post("/v1/endpoints", _create), web.post("/v1/endpoints/{id}/verify", _verify)])
    runner = web.AppRunner(service)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    await receiver.start(HOST)
    async with aiohttp.ClientSession(f"http://{HOST}:{runner.addresses[0][1]}") as client:
        await receiver.register(client)
    yield receiver
    await receiver.stop()
    await runner.cleanup()


async def sent(
    receiver: Receiver, body: Mapping[str, Any], *, signed: Mapping[str, Any] | None = None, at: datetime | None = None
) -> int:
    """Sends an event as webhooks does, signed by the client of the standard; returns the status. signed: another body."""
    at, text = at or datetime.now(UTC), json.dumps(body)
    headers = {
        "webhook-id": f"m-{body.get('id')}",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(f"m-{body.get('id')}", at, json.dumps(signed or body)),
    }
    async with aiohttp.ClientSession() as client, client.post(receiver.url, data=text, headers=headers) as response:
        return response.status


@pytest.mark.asyncio
async def test_a_receiver_accepts_what_is_signed_and_nothing_else(receiver: Receiver) -> None:
    assert receiver.endpoint_id == UUID(str(ENDPOINT))
    assert receiver.noted.delivery_ids == {}  # the request of the verification is no event
    assert await sent(receiver, event(1)) == 204
    assert await sent(receiver, event(2), signed=event(3)) == 401
    assert await sent(receiver, event(2), at=datetime.now(UTC) - timedelta(minutes=6)) == 401
    assert receiver.noted.delivery_ids == {"payments/e1": "m-e1"}
    assert faults(["payments/e1"], receiver.noted) == ["a signature was wrong: 2 times"]


@pytest.mark.asyncio
async def test_a_receiver_dies_with_an_event_unanswered_and_comes_back_where_it_was(receiver: Receiver) -> None:
    url, dying = receiver.url, asyncio.create_task(receiver.die_once(2, 0.01))
    assert await sent(receiver, event(1)) == 204
    with pytest.raises(aiohttp.ClientError):
        await sent(receiver, event(2, 2))
    await dying
    assert receiver.url == url
    assert [await sent(receiver, event(2, 2)), await sent(receiver, event(3, 3))] == [204, 204]
    assert faults(["payments/e1", "payments/e2", "payments/e3"], receiver.noted) == []


@pytest.mark.asyncio
async def test_a_refusal_of_webhooks_ends_the_demo_with_its_reason(receiver: Receiver) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"detail": "the address is not public"}, status=422)

    service = web.Application()
    service.add_routes([web.post("/v1/endpoints", refuse)])
    runner = web.AppRunner(service)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    async with aiohttp.ClientSession(f"http://{HOST}:{runner.addresses[0][1]}") as client:
        with pytest.raises(DevservicesError, match="webhooks refused /v1/endpoints: the address is not public"):
            await receiver.register(client)
    await runner.cleanup()
