"""Who requested what, when, with which reason, and what the owner answered: a row is written before the request is sent."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Connection

from chassis.declare.app import App
from console.domain.people import Person

ASKED: Final = """
insert into audit (nonce, at, person_id, person, store_id, subject_kind, subject_id, order_id, action, reason, outcome)
values ($1, now(), $2, $3, $4, $5, $6, $7, $8, $9, 'asked')
on conflict (nonce) do nothing"""
ENDED: Final = "update audit set outcome = $2, ended_at = now() where nonce = $1 and person_id = $3"


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


async def ended(app: App, nonce: UUID, person: Person, outcome: str) -> None:
    await app.fetch(ENDED, nonce, outcome, person.id)
