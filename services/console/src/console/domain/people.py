"""Who may do what: a person has roles and stores, a role is a set of scopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

VIEWS: Final = frozenset({
    "orders.view", "payments.view", "fulfillment.view", "invoices.view", "webhooks.view", "events.view", "journal.view",
    "parked.view",
})  # fmt: skip
ROLES: Final[Mapping[str, frozenset[str]]] = {
    "viewer": VIEWS,
    "operator": VIEWS | {"orders.edit", "orders.cancel", "parked.edit", "webhooks.edit", "personal.view"},
    "finance": VIEWS | {"orders.refund", "orders.force", "orders.export", "invoices.edit", "personal.view"},
    "administrator": VIEWS
    | {
        "orders.edit", "orders.cancel", "orders.refund", "orders.force", "orders.export", "personal.view", "parked.edit",
        "fulfillment.ship", "stock.edit", "invoices.edit", "webhooks.edit",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    """A person who is signed in."""

    id: UUID
    name: str
    roles: tuple[str, ...]
    stores: frozenset[str] | None
    """Null: all."""

    @property
    def scopes(self) -> frozenset[str]:
        """Roles of a newer release have no scopes here."""
        return frozenset[str]().union(*(ROLES.get(role, frozenset()) for role in self.roles))

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    def sees(self, store_id: str) -> bool:
        return self.stores is None or store_id in self.stores

    @property
    def actor(self) -> str:
        """As journals have it."""
        return f"person:{self.name}"
