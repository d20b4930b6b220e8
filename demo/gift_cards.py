"""The demo's gift cards, by rule: one order in eight has a card of its own. It pays the whole order or half of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from demo.retail import CURRENCY, OrderId, RetailOrder, id_of
from demo.trouble import hundredth_of, trouble_of
from devservices.errors import DevservicesError
from system.installation import STORE, Installation

CONNECTIONS: Final = 8
ONE_IN: Final = 8


def worth(key: UUID, order: RetailOrder) -> int:
    """Returns the pence of the order's card; 0: it has none.

    Whether it has one follows from the second group of the order id's hex digits. The card pays everything where the number
    that decides on trouble is even and brings none, otherwise half, rounded down: then the gateway is asked for the rest.
    """
    if int(str(key)[9:13], 16) % ONE_IN:
        return 0
    pays_all = trouble_of(key) is None and hundredth_of(key) % 2 == 0
    return order.total_minor if pays_all else order.total_minor // 2


def cards_of(run: Iterable[RetailOrder], order_id: OrderId) -> dict[UUID, int]:
    """Order id -> pence of its card."""
    keys = ((id_of(order, STORE, order_id), order) for order in run)
    return {key: pence for key, order in keys if (pence := worth(key, order))}


async def issue(installation: Installation, cards: Mapping[UUID, int]) -> dict[UUID, str]:
    """Issues and activates the cards. Returns order id -> id of its card. Raises DevservicesError."""
    limit = asyncio.Semaphore(CONNECTIONS)
    async with installation.client("payments", CONNECTIONS) as client:

        async def one(key: UUID, pence: int) -> str:
            body = {"currency": CURRENCY, "amount_minor": pence, "activate": True}
            headers = {"idempotency-key": f"card-{key}"}
            async with limit, client.post("/v1/gift-cards", json=body, headers=headers) as response:
                answer = await response.json()
                if response.status != 201:
                    raise DevservicesError(f"payments refused a gift card: {str(answer)[:500]}")
                return str(answer["gift_card_id"])

        issued = await asyncio.gather(*(one(key, pence) for key, pence in cards.items()))
    return dict(zip(cards, issued, strict=True))
