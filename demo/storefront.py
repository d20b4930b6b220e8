"""The storefront of the demo: the buyers of some orders, by rule, pay in a session before their order is sent.

An order takes the money over when it asks for its authorization. A cart that cost more gets the rest back by itself. What was
paid for an order that is then out of stock, the storefront gives back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import aiohttp
import asyncpg

from demo.gift_cards import worth
from demo.payment_methods import ACCOUNT, CARD_MINOR_MAX, GATEWAYS, Method, method_of
from demo.retail import ACCOUNT as SOLD_BY
from demo.retail import CHANNEL, CURRENCY, OrderId, RetailOrder, id_of
from devservices.errors import DevservicesError
from system.installation import STORE, Installation

CONNECTIONS: Final = 8
PAUSE_SECONDS: Final = 0.3
ORIGIN: Final = "https://shop.example"
TABLES: Final[Mapping[str, Any]] = {"storefronts": [{"store": STORE, "origins": [ORIGIN]}]}
"""Configuration of payments: buyers are sent to no other origin."""
WITH_BUYER: Final[Collection[Method]] = ("test", "card")
"""A transfer or a marketplace is not paid in a session."""
SURPLUS_MINOR: Final = 100
UNSETTLED: Final = """
select session_id, order_id, prepayment from payment_sessions
where state = 'open' or prepayment in ('held', 'returning')"""
CANCELLED: Final = "select key from orders where key = any($1) and status = 'cancelled'"


class Session(NamedTuple):
    method: Method
    """How it is paid."""
    pence: int
    number: str
    """The external id of its order."""


def session_of(key: UUID, order: RetailOrder, methods: Collection[Method]) -> Session | None:
    """The session in which the order is paid before it is sent; None: it has none.

    The last digit of the fourth group of the order id's hex digits decides: 0, or 8, where the cart cost a pound more. A session is
    for what no gift card pays.
    """
    method, digit = method_of(key, order, methods), str(key)[22]
    due = order.total_minor - worth(key, order)
    if method not in WITH_BUYER or digit not in "08" or not due:
        return None
    more = SURPLUS_MINOR if digit == "8" and due + SURPLUS_MINOR <= CARD_MINOR_MAX else 0
    return Session(method, due + more, order.external_order_id)


def sessions_of(run: Iterable[RetailOrder], order_id: OrderId, methods: Collection[Method]) -> dict[UUID, Session]:
    """Order id -> its session."""
    keys = ((id_of(order, STORE, order_id), order) for order in run)
    return {key: session for key, order in keys if (session := session_of(key, order, methods))}


async def open_sessions(installation: Installation, sessions: Mapping[UUID, Session]) -> None:
    """Opens them; each asks its gateway at once. Raises DevservicesError."""
    limit = asyncio.Semaphore(CONNECTIONS)
    async with installation.client("payments", CONNECTIONS) as client:

        async def one(key: UUID, session: Session) -> None:
            method, pence, number = session
            body = {
                "order_id": str(key), "amount_minor": pence, "currency": CURRENCY, "gateway": GATEWAYS[method],
                "account": ACCOUNT if method == "card" else None, "return_url": f"{ORIGIN}/thanks",
                "origin": {"channel": CHANNEL, "account": SOLD_BY, "external_order_id": number},
            }  # fmt: skip
            headers = {"idempotency-key": f"session-{key}"}
            async with limit, client.post("/v1/payment-sessions", json=body, headers=headers) as response:
                if response.status != 201:
                    raise DevservicesError(f"payments refused a session: {(await response.text())[:500]}")

        await asyncio.gather(*(one(key, session) for key, session in sessions.items()))


class Storefront:
    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.done = False
        """Each session is closed, and an order has its money, or the buyer has it back."""

    async def run(self) -> None:
        """Returns when it is done."""
        payments = await asyncpg.connect(self.installation.system.dsn("payments"))
        orders = await asyncpg.connect(self.installation.system.dsn("orders"))
        try:
            async with self.installation.client("payments", 1) as client:
                while rows := await payments.fetch(UNSETTLED):
                    held = {row["order_id"]: row["session_id"] for row in rows if row["prepayment"] == "held"}
                    for row in await orders.fetch(CANCELLED, [*held]):
                        await self._give_back(client, held[row["key"]])
                    await asyncio.sleep(PAUSE_SECONDS)
            self.done = True
        finally:
            await payments.close()
            await orders.close()

    async def _give_back(self, client: aiohttp.ClientSession, session_id: UUID) -> None:
        """A request without an answer is repeated in the next round. Raises DevservicesError if it is refused."""
        headers = {"idempotency-key": f"return-{session_id}"}
        try:
            async with client.post(f"/v1/payment-sessions/{session_id}/return", json={}, headers=headers) as response:
                if 400 <= response.status < 500:
                    raise DevservicesError(f"payments did not give back: {(await response.text())[:500]}")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
