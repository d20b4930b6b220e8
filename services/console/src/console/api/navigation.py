"""The sections of the bar, in their order."""

from __future__ import annotations

from typing import Final, NamedTuple


class Section(NamedTuple):
    name: str
    """As a page names it that belongs to it: `{% set section = "orders" %}`."""
    title: str
    path: str
    scope: str
    """Who lacks it does not see the section."""
    route: tuple[str, str] | None = None
    """A service and a route of it: without the route the section is not shown. Null: the console needs none."""


KEYS: Final = (
    ("/", "search"), ("j", "next row"), ("k", "row before"), ("Enter", "open the row"), ("a", "approve the order"),
    ("c", "cancel the order"), ("r", "show what has changed in the list"), ("p", "pause and go on"), ("?", "these keys"),
)  # fmt: skip
"""What a key does on every page, or on a page that has it."""
GO: Final = {
    "overview": "v", "orders": "o", "processes": "p", "parked": "k", "webhooks": "w", "topics": "t", "jobs": "j", "audit": "u",
    "markets": "m", "payments": "b",
}  # fmt: skip
"""Section -> the key that opens it after `g`."""
SECTIONS: Final = (
    Section("overview", "Overview", "/", "operations.view"),
    Section("orders", "Orders", "/orders", "orders.view"),
    Section("processes", "Processes", "/processes", "orders.view"),
    Section("parked", "Parked", "/parked", "parked.view"),
    Section("payments", "Payments", "/payments", "payments.view", route=("payments", "/v1/accounts")),
    Section("webhooks", "Webhooks", "/webhooks", "webhooks.view"),
    Section("topics", "Topics", "/topics", "events.view"),
    Section("jobs", "Jobs", "/jobs", "orders.view"),
    Section("audit", "Audit", "/audit", "audit.view"),
    Section("markets", "Markets", "/markets", "orders.view", route=("orders", "/v1/markets")),
)  # fmt: skip
