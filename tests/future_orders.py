"""Orders that payments does not have yet: their ids, with the origins that show whose they are."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID, uuid4

from contracts.ids import order_id


class FutureOrder(NamedTuple):
    id: UUID
    origin: dict[str, str]
    """Member `origin` of a request."""


def future_order(store: str, number: str = "", channel: str = "api", account: str = "default") -> FutureOrder:
    """number: its external id; another one for each order unless stated."""
    number = number or f"A-{uuid4().hex}"
    origin = {"channel": channel, "account": account, "external_order_id": number}
    return FutureOrder(order_id(store, **origin), origin)
