"""Reads parked messages of the services: of all at once, or one message with what belongs to it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from chassis.declare.app import App
from console import itself
from console.domain.people import Person
from console.domain.words import folded
from console.owners import Answer, Owners
from console.settings import OWNERS

QUEUE_MAX: Final = 50
"""Messages of one key that a page shows."""
PARKING: Final = (*OWNERS, itself.NAME)
"""The services that park messages."""
NUMBERS: Final = """
select order_id, store_id, number from order_rows where order_id = any(cast(:keys as uuid[])) and ordered_at is not null"""
NUMBERED: Final = """
select o.order_id, o.store_id from stores as s join order_rows as o using (store_id)
where o.number_folded = :number and o.ordered_at is not null limit 20"""
ORDERS_MAX: Final = 3
"""Orders of one number, in several channels or stores, whose messages are listed."""


class Collected(NamedTuple):
    """What several services answered."""

    bodies: Mapping[str, Any]
    silent: Mapping[str, str]
    """Service -> why it has no answer here."""


def stores_of(person: Person) -> Sequence[str] | None:
    """Returns the stores of a person in their order; None: all, and messages whose store cannot be read."""
    return None if person.stores is None else sorted(person.stores)


async def collect(
    owners: Owners, person: Person, store_id: str | None, path: str, services: Sequence[str] = PARKING
) -> Collected:
    """Asks services for the same, all at once. store_id: null only for a person who sees all stores."""
    assert store_id is not None or stores_of(person) is None
    answers = await asyncio.gather(*(owners.read(name, path, store_id, person) for name in services))
    named = dict(zip(services, answers, strict=True))
    return Collected(
        {name: one.body for name, one in named.items() if one.state == "answered"},
        {name: why_silent(one) for name, one in named.items() if one.state != "answered"},
    )


def why_silent(answer: Answer) -> str:
    return "its address is not set" if answer.state == "unset" else answer.why


async def find(owners: Owners, person: Person, service: str, parked_id: int, *, personal: bool) -> Answer:
    """Returns a message of one of the person's stores. personal: with personal values, if the person may see them there."""
    stores: Sequence[str | None] = stores_of(person) or [None]
    path = f"/v1/parked/{parked_id}"
    answers = await asyncio.gather(
        *(owners.read(service, path, store_id, person, personal=personal) for store_id in stores)
    )
    rank = ("answered", "silent", "unset", "nothing")
    found = min(answers, key=lambda one: rank.index(one.state))
    if personal and found.state == "answered" and found.body["masked"] and found.body["store_id"]:
        # A role may show them in this store only.
        return await owners.read(service, path, found.body["store_id"], person, personal=True)
    return found


class Beside(NamedTuple):
    """What belongs to a message."""

    before: Sequence[Mapping[str, Any]]
    """Messages of its key that wait before it, in their order."""
    behind: Sequence[Mapping[str, Any]]
    original: Mapping[str, Any] | None
    """The message as it was before its edit."""
    number: str | None
    """The number of its order; null: its key is of no order in the lists."""


async def beside(app: App, owners: Owners, person: Person, service: str, message: Mapping[str, Any]) -> Beside:
    store_id, key, edited_from = message["store_id"], message["key"], message["edited_from"]

    async def ask(path: str | None) -> Any:
        if path is None:
            return None
        answer = await owners.read(service, path, store_id, person)
        return answer.body if answer.state == "answered" else None

    queue, original, numbers = await asyncio.gather(
        ask(f"/v1/parked?key={key}&limit={QUEUE_MAX}" if key else None),
        ask(f"/v1/parked/{edited_from}" if edited_from else None),
        numbers_of(app, person, [key] if key else []),
    )
    items = sorted(queue["items"], key=lambda one: one["id"]) if queue else []
    return Beside(
        [one for one in items if one["id"] < message["id"]],
        [one for one in items if one["id"] > message["id"]],
        original,
        numbers.get(key),
    )


async def of_order(owners: Owners, person: Person, order_id: UUID, store_id: str) -> Sequence[Mapping[str, Any]]:
    """Returns the messages of an order that wait, each with its service; the oldest first."""
    found = await collect(owners, person, store_id, f"/v1/parked?key={order_id}&limit={QUEUE_MAX}")
    return merged(found)[::-1]


def merged(found: Collected) -> Sequence[Mapping[str, Any]]:
    """Returns the messages of several lists, each with its service; the newest first."""
    rows = [{"service": name, **one} for name, body in found.bodies.items() for one in body["items"]]
    return sorted(rows, key=lambda one: (one["parked_at"], one["id"]), reverse=True)


async def numbers_of(app: App, person: Person, keys: Collection[str]) -> Mapping[str, str]:
    """Returns the number of each key that is an order of the lists which the person may see."""
    if not keys:
        return {}
    rows = await app.read(text(NUMBERS).bindparams(keys=sorted(keys)))
    return {str(row["order_id"]): row["number"] for row in rows if person.sees(row["store_id"])}


async def orders_named(app: App, person: Person, name: str) -> Sequence[UUID]:
    """Returns the orders that a person means by an id or by a whole number; at most ORDERS_MAX."""
    try:
        return [UUID(name)]
    except ValueError:
        rows = await app.read(text(NUMBERED).bindparams(number=folded(name)))
    return [row["order_id"] for row in rows if person.sees(row["store_id"])][:ORDERS_MAX]
