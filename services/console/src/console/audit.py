"""Who requested what, when, with which reason, and what the owner answered: a row is written before the request is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Connection

from chassis.declare.app import App
from console.domain.people import Person

ASKED: Final = """
insert into audit (nonce, at, person_id, person, store_id, subject_kind, subject_id, order_id, action, reason, outcome)
values ($1, now(), $2, $3, $4, $5, $6, $7, $8, $9, 'asked')
on conflict (nonce) do nothing"""
ENDED: Final = "update audit set outcome = $2, ended_at = now(), version = $4 where nonce = $1 and person_id = $3"
AWAITED: Final = """
select order_id, max(version) as version from audit
where order_id = any($1::uuid[]) and at > now() - interval '1 hour' and version is not null group by order_id"""

DONE: Final = "select from audit where nonce = $1 and person_id = $2 and outcome = 'done'"


class Subject(NamedTuple):
    """What an action is requested for."""

    kind: str
    """`order`, `parked`, `endpoint`, ..."""
    id: str
    store_id: str | None
    """Null: of no store, or of several."""
    order_id: UUID | None = None
    """The order that it belongs to, if it belongs to one."""


def of_order(order_id: UUID, store_id: str) -> Subject:
    return Subject("order", str(order_id), store_id, order_id)


async def asked(app: App, nonce: UUID, person: Person, subject: Subject, action: str, reason: str) -> None:
    """A nonce that is sent again has the row of its first request."""

    async def write(tx: Connection) -> None:
        await tx.execute(
            ASKED, nonce, person.id, person.name, subject.store_id, subject.kind, subject.id, subject.order_id, action, reason
        )  # fmt: skip

    await app.write(write)


async def is_done(app: App, nonce: UUID, person: Person) -> bool:
    """Returns whether the request of a form was sent before, and done."""
    return bool(await app.fetch(DONE, nonce, person.id))


async def ended(app: App, nonce: UUID, person: Person, outcome: str, version: int | None = None) -> None:
    """version: of the order after the action."""
    await app.fetch(ENDED, nonce, outcome, person.id, version)


async def awaited(app: App, keys: Collection[UUID]) -> Mapping[UUID, int]:
    """Returns the version that each order has at least, by the answers to the actions of the last hour."""
    return {row["order_id"]: row["version"] for row in await app.fetch(AWAITED, list(keys))}
