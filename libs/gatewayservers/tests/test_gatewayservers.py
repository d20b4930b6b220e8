"""The servers that gateways are tested against have books that can be trusted, and Stripe's idempotency."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from gatewayservers.faults import Faults, Times
from gatewayservers.serving import listening
from gatewayservers.stripe import DECLINES, Server

ORDER = UUID(int=7)
AUTHORIZE = {
    "amount": "1000", "currency": "eur", "capture_method": "manual", "confirm": "true", "payment_method": "pm_card_visa",
    "metadata[order_id]": str(ORDER), "metadata[operation_id]": "op",
}  # fmt: skip


class Client:
    def __init__(self, url: str, session: aiohttp.ClientSession, faults: Faults) -> None:
        self.url, self.session, self.faults = url, session, faults

    async def post(self, path: str, key: str, **form: str) -> tuple[int, Any]:
        headers = {"Idempotency-Key": key}
        async with self.session.post(self.url + path, data=form, headers=headers) as answer:
            return answer.status, await answer.json()

    async def moved(self) -> list[tuple[str, int]]:
        async with self.session.get(f"{self.url}/charges") as answer:
            return [(one["kind"], one["amount_minor"]) for one in (await answer.json())["charges"]]


@pytest.fixture
async def stripe() -> AsyncIterator[Client]:
    faults = Faults(Times(latency_ms=0, hold_ms=1))
    async with listening(Server(faults, "sk").app()) as url:
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk"}) as session:
            yield Client(url, session, faults)


async def test_a_repeated_key_has_the_first_answer_and_no_second_effect(stripe: Client) -> None:
    first = await stripe.post("/v1/payment_intents", "k", **AUTHORIZE)
    assert first[0] == 200 and await stripe.post("/v1/payment_intents", "k", **AUTHORIZE) == first
    status, other = await stripe.post("/v1/payment_intents", "k", **AUTHORIZE | {"amount": "2000"})
    assert (status, other["error"]["type"]) == (400, "idempotency_error")
    assert await stripe.moved() == [("authorize", 10_00)]


@pytest.mark.parametrize(
    ("trouble", "status", "moved"), [("broken", 500, 1), ("timed_out", 504, 1), ("lost", 504, 0), ("down", 503, 0)]
)
async def test_a_trouble_states_whether_the_money_moved(stripe: Client, trouble: str, status: int, moved: int) -> None:
    stripe.faults.tell(ORDER, {"authorize": trouble})
    assert (await stripe.post("/v1/payment_intents", "k", **AUTHORIZE))[0] == status
    assert len(await stripe.moved()) == moved
    again, _ = await stripe.post("/v1/payment_intents", "k", **AUTHORIZE)
    assert again == (500 if trouble == "broken" else 200), "an error that was answered is repeated, as Stripe does"
    assert await stripe.moved() == [("authorize", 10_00)]


async def test_it_never_captures_more_than_it_holds_nor_refunds_more_than_it_took(stripe: Client) -> None:
    _, intent = await stripe.post("/v1/payment_intents", "a", **AUTHORIZE)
    path = f"/v1/payment_intents/{intent['id']}/capture"
    assert (await stripe.post(path, "c1", amount_to_capture="600", final_capture="false"))[0] == 200
    assert (await stripe.post(path, "c2", amount_to_capture="401"))[0] == 400
    assert (await stripe.post(path, "c3", amount_to_capture="0"))[0] == 200
    assert (await stripe.post("/v1/refunds", "r1", payment_intent=intent["id"], amount="601"))[0] == 400
    assert await stripe.moved() == [("authorize", 10_00), ("capture", 6_00), ("void", 4_00)]


async def test_a_decline_moves_nothing(stripe: Client) -> None:
    status, body = await stripe.post("/v1/payment_intents", "a", **AUTHORIZE | {"payment_method": DECLINES})
    assert (status, body["error"]["code"]) == (402, "card_declined")
    assert await stripe.moved() == []
