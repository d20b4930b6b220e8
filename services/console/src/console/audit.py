"""Who requested what, when, with which reason, and what the owner answered: a row is written before the request is sent."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from asyncpg import Connection

from chassis.declare.app import App
from console.domain.people import Person

ASKED: Final = """
insert into audit (nonce, at, person_id, person, store_id, order_id, action, reason, outcome)
values ($1, now(), $2, $3, $4, $5, $6, $7, 'asked')
on conflict (nonce) do nothing"""
ENDED: Final = "update audit set outcome = $2, ended_at = now() where nonce = $1 and person_id = $3"


async def asked(app: App, nonce: UUID, person: Person, store_id: str, order_id: UUID, action: str, reason: str) -> None:
    """A nonce that is sent again has the row of its first request."""

    async def write(tx: Connection) -> None:
        await tx.execute(ASKED, nonce, person.id, person.name, store_id, order_id, action, reason)

    await app.write(write)


async def ended(app: App, nonce: UUID, person: Person, outcome: str) -> None:
    await app.fetch(ENDED, nonce, outcome, person.id)
