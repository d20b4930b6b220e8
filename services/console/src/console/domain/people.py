"""Who may do what: a person has roles, each in some stores or in all; a role is a set of scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from uuid import UUID

PERSONAL: Final = "personal.view"
PEOPLE: Final = "people.edit"
VIEWS: Final = frozenset({
    "orders.view", "payments.view", "fulfillment.view", "invoices.view", "webhooks.view", "events.view", "journal.view",
    "parked.view", "operations.view",
})  # fmt: skip
ROLES: Final[Mapping[str, frozenset[str]]] = {
    "viewer": VIEWS,
    "operator": VIEWS | {"orders.edit", "orders.cancel", "payments.capture", "parked.edit", "webhooks.edit", PERSONAL},
    "finance": VIEWS
    | {
        "payments.capture", "payments.refund", "payments.record", "payments.reconcile", "gift_cards.edit", "invoices.edit", "orders.force",
        "orders.export", PERSONAL,
    },
    "administrator": VIEWS
    | {
        "orders.edit", "orders.cancel", "orders.force", "orders.export", PERSONAL, "parked.edit",
        "fulfillment.ship", "stock.edit", "invoices.edit", "payments.capture", "payments.refund", "payments.record", "payments.reconcile",
        "gift_cards.edit", "webhooks.edit", PEOPLE, "audit.view",
    },
}  # fmt: skip
OF_ALL_STORES: Final = frozenset({"operations.view"})
"""Scopes that a role has only if it holds in all stores: what they show is about all of them."""
Stores = frozenset[str] | None
"""Null: all."""


class Grant(NamedTuple):
    """A role in some stores."""

    role: str
    stores: Stores

    @property
    def scopes(self) -> frozenset[str]:
        """Roles of a newer release have none here."""
        found = ROLES.get(self.role, frozenset())
        return found if self.stores is None else found - OF_ALL_STORES

    def holds_in(self, store_id: str | None) -> bool:
        """store_id: null for what belongs to no store, or to all: only a role in all stores holds there."""
        return self.stores is None or store_id in self.stores


@dataclass(frozen=True, slots=True)
class Person:
    """A person who is signed in."""

    id: UUID
    name: str
    """As pages show it."""
    subject: str
    """As journals have it, and the identity provider: 1 to 255 characters of printable ASCII."""
    grants: tuple[Grant, ...]

    def at(self, store_id: str | None) -> Person:
        """Returns the person with the roles that hold in one store: a role in one store gives nothing in another."""
        return replace(self, grants=tuple(one for one in self.grants if one.holds_in(store_id)))

    @property
    def scopes(self) -> frozenset[str]:
        """Those of any store."""
        return frozenset[str]().union(*(one.scopes for one in self.grants))

    def may(self, scope: str) -> bool:
        """Returns whether the person has a scope in any store; `person.at(store_id).may(scope)` is about one."""
        return scope in self.scopes

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(one.role for one in self.grants)

    @property
    def stores(self) -> Stores:
        """Returns every store that the person sees; null: all."""
        found = [one.stores for one in self.grants]
        return None if None in found else frozenset[str]().union(*(one for one in found if one is not None))

    def stores_with(self, scope: str) -> Stores:
        """Returns the stores in which the person has a scope; null: all."""
        return replace(self, grants=tuple(one for one in self.grants if scope in one.scopes)).stores

    def sees(self, store_id: str) -> bool:
        return any(one.holds_in(store_id) for one in self.grants)

    @property
    def actor(self) -> str:
        """As journals have it."""
        return f"person:{self.subject}"

    @property
    def described(self) -> tuple[str, ...]:
        """Each role with its stores, as the menu has them."""
        return tuple(f"{one.role}, {stated(one.stores)}" for one in self.grants)


def stated(stores: Stores) -> str:
    return "all stores" if stores is None else ", ".join(sorted(stores))


def united(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Returns each role once, with the stores of all its grants."""
    found: dict[str, Stores] = {}
    for role, stores in grants:
        before = found.get(role, frozenset())
        found[role] = None if stores is None or before is None else before | stores
    return tuple(Grant(role, found[role]) for role in sorted(found))
