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


SECTIONS: Final = (
    Section("orders", "Orders", "/orders", "orders.view"),
    Section("jobs", "Jobs", "/jobs", "orders.view"),
)  # fmt: skip
