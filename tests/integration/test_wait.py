"""What the process that answers leaves to another one, the worker: all that `?wait=` waits for, and the expiry of gift cards."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer

from contracts.base import Event
from contracts.gift_cards import GiftCardExpired
from contracts.registry import topic_of
from tests.integration.shop import Options, Shop
from tests.waiting import PATIENCE_SECONDS, patience

SHOP = Options(apart=True)


WAIT_SECONDS_MAX = 30
"""The longest wait that a request may ask for."""


async def until_reached(shop: Shop, path: str, word: str, body: Any) -> tuple[int, dict[str, Any]]:
    """Sends a write with a wait, and again with its key while the answer is that the order is not there yet."""
    key = uuid4().hex
    async with patience():
        while True:
            asked = f"{path}?wait={word}&timeout={WAIT_SECONDS_MAX}"
            status, order = await shop.call("orders", "POST", asked, body, key=key)
            if status != 202:
                return status, order


async def test_a_client_waits_until_its_order_got_there(shop: Shop) -> None:
    status, order = await until_reached(shop, "/v1/orders", "in_progress", shop.content())
    assert (status, order["status"]) == (201, "approved"), order
    assert order["payment_status"] in ("authorized", "paid"), "the warehouse may answer before the gateway"
    assert order["fulfillment_status"] == "in_progress" and order["placed_at"] and order["approved_at"]
    path = f"/v1/orders/{order['order_id']}/cancel"
    status, order = await until_reached(shop, path, "settled", {"reason": "changed their mind"})
    assert (status, order["status"], order["payment_status"]) == (200, "cancelled", "refunded"), order
    assert all(one["end"] for one in order["processes"] if one["kind"] == "undo")


async def test_fifty_clients_at_once_share_one_read(shop: Shop) -> None:
    async def one() -> tuple[int, dict[str, Any], float]:
        started_at = time.monotonic()
        status, order = await until_reached(shop, "/v1/orders", "placed", shop.content())
        return status, order, time.monotonic() - started_at

    found = await asyncio.gather(*(one() for _ in range(50)))
    assert {status for status, _, _ in found} == {201} and all(order["placed_at"] for _, order, _ in found)
    seconds = sorted(one for _, _, one in found)
    print(f"placed after p50 {seconds[25] * 1000:.0f} ms, p98 {seconds[48] * 1000:.0f} ms")


async def test_a_process_that_ends_answers_those_who_wait(shop: Shop) -> None:
    status, order = await until_reached(shop, "/v1/orders", "in_progress", shop.content())
    assert status == 201, order
    api, worker = shop.system.of("orders")
    assert shop._http is not None
    headers = {"authorization": f"Bearer {shop.keys['orders']}"}
    path = f"{api.url}/v1/orders/{order['order_id']}/archive?wait=fulfilled&timeout={WAIT_SECONDS_MAX}"
    started_at = time.monotonic()
    waiting = asyncio.create_task(_answer(shop, path, headers))

    async def archived() -> Any:
        return (await shop.order(order["order_id"]))["archived_at"]

    await shop.until(archived, "the write of the request that waits")
    assert not waiting.done()
    api.send(signal.SIGTERM)
    status, answer = await waiting
    assert (status, answer["fulfillment_status"]) == (202, "in_progress") and answer["archived_at"]
    assert time.monotonic() - started_at < WAIT_SECONDS_MAX, "it was not the time of the request that was over"
    assert await asyncio.to_thread(api.exit_status, PATIENCE_SECONDS) == 0
    assert worker.running
    await shop.restart(api)


async def test_a_gift_card_expires_at_its_time_and_its_liability_is_booked_off(shop: Shop) -> None:
    for seconds in (2, 10, 50):  # the request has to arrive before the card expires
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        body = {"currency": "EUR", "amount_minor": 50_00, "activate": True, "expires_at": expires_at.isoformat()}
        status, card = await shop.call("payments", "POST", "/v1/gift-cards", body)
        if status == 201:
            break
        assert card["type"] == "/problems/expiry_past", card
    assert (status, card.get("state")) == (201, "active"), card
    event = await _published(shop, GiftCardExpired, card["gift_card_id"])
    assert datetime.now(UTC) >= expires_at and (event["amount_minor"], event["currency"]) == (50_00, "EUR")
    _, card = await shop.call("payments", "GET", f"/v1/gift-cards/{card['gift_card_id']}")
    assert (card["state"], card["status"], card["balance_minor"]) == ("expired", "expired", 0)
    assert [(one["kind"], one["amount_minor"]) for one in card["movements"]] == [("expired", -50_00), ("issued", 50_00)]
    booked = await shop.rows(
        "payments",
        "select account, sum(direction * amount_minor)::bigint from entries where order_id = $1 group by 1",
        UUID(card["gift_card_id"]),
    )
    moved = {"gift_cards_issued": 50_00, "gift_card_liability": 0, "gift_cards_expired": -50_00}
    assert dict(tuple(row) for row in booked) == moved


async def _published(shop: Shop, kind: type[Event], key: str) -> Any:
    """The body of the first event of a key on its topic; waits for it."""
    servers = shop.kafka.bootstrap_servers
    consumer = AIOKafkaConsumer(topic_of(kind), bootstrap_servers=servers, auto_offset_reset="earliest")
    async with patience(), consumer:
        async for record in consumer:
            if record.key == key.encode() and dict(record.headers)["ce_type"] == kind.TYPE.encode():
                return json.loads(record.value)


async def _answer(shop: Shop, url: str, headers: dict[str, str]) -> tuple[int, Any]:
    assert shop._http is not None
    async with shop._http.post(url, headers=headers, timeout=None) as answer:
        return answer.status, await answer.json()
