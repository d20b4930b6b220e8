"""Holds: an order that is held is asked nothing further, ships nothing and captures nothing until every hold is released."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from contracts.base import Code, Command, OrderKeyed, Personal, Text, Timestamp
from contracts.orders.event import OrderEvent

HOLD_REASONS: Final = ("fraud", "address", "payment", "stock", "manual", "marketplace")
"""The reasons that every store has. Its own are in `hold_reasons` of a market."""
WINDOW: Final = "window"
"""The reason of the hold that a market with `hold_window_seconds` places; no person uses it."""


class Hold(OrderKeyed, Command, type="orders.hold"):
    """Holds an order; several holds may be open at once. Answered by held."""

    reason: Code
    """One of `HOLD_REASONS`, or one of the market's own."""
    note: Annotated[Text, Personal()] = ""
    until: Timestamp | None = None
    """When it is released by itself; null: a person releases it. A time that has passed releases it at once."""


class Release(OrderKeyed, Command, type="orders.release"):
    """Ends one hold; answered by released. Releasing twice changes nothing."""

    hold_id: UUID


class Held(OrderEvent, type="orders.held"):
    hold_id: UUID
    reason: Code
    note: Annotated[Text, Personal()] = ""
    placed_by: Text
    since: Timestamp
    until: Timestamp | None = None


class Released(OrderEvent, type="orders.released"):
    hold_id: UUID
    reason: Code
    actor: Text
    """Who released it: a person, `timer`, or `rule:cancelled` when the order was cancelled."""
