"""One-time links and sessions: rows that hold the SHA-256 of a random token, which only the browser has.

A token is random, so a slow hash would protect nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import uuid4

from asyncpg import Connection, Record

from chassis.declare.app import App
from console.domain.people import Person

LINK_MINUTES: Final = 10
SEEN_EVERY: Final = timedelta(minutes=1)
"""A session notes its last request to the minute: a page costs no write."""

INVITE: Final = """
with person as (insert into people (id, name, roles, stores, created_at) values ($2, $3, $4, $5, now())
  on conflict (name) do update set roles = excluded.roles, stores = excluded.stores returning id)
insert into sign_in_links (token_sha256, person_id, expires_at)
select $1, id, now() + make_interval(mins => $6) from person"""
TAKE: Final = """
update sign_in_links set used_at = now() where token_sha256 = $1 and used_at is null and expires_at > now() returning person_id"""
BEGIN: Final = "insert into sessions (token_sha256, person_id, created_at, seen_at) values ($1, $2, now(), now())"
FIND: Final = """
select p.id, p.name, p.roles, p.stores, now() - s.seen_at as unseen
from sessions s join people p on p.id = s.person_id
where s.token_sha256 = $1 and s.ended_at is null and s.seen_at > now() - make_interval(mins => $2)
  and s.created_at > now() - make_interval(hours => $3)"""
SEE: Final = "update sessions set seen_at = now() where token_sha256 = $1 and ended_at is null"
END: Final = "update sessions set ended_at = now() where token_sha256 = $1 and ended_at is null"
CLEAN: Final = """
with links as (delete from sign_in_links where expires_at < now() - interval '1 day')
delete from sessions where created_at < now() - interval '30 days'"""


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def invite(app: App, name: str, roles: Sequence[str], stores: Sequence[str] | None) -> str:
    """Lets a person in, or changes what the person of this name may; returns the token of a link that is valid once, for LINK_MINUTES."""
    token = secrets.token_urlsafe(32)

    async def write(tx: Connection) -> None:
        given = sorted(stores) if stores is not None else None
        await tx.execute(INVITE, digest(token), uuid4(), name, sorted(roles), given, LINK_MINUTES)

    await app.write(write)
    return token


async def begin(app: App, link_token: str) -> str | None:
    """Uses a link; returns the token of a new session. None: the link was used, is too old, or never was one."""
    token = secrets.token_urlsafe(32)

    async def write(tx: Connection) -> bool:
        person_id = await tx.fetchval(TAKE, digest(link_token))
        if person_id is not None:
            await tx.execute(BEGIN, digest(token), person_id)
        return person_id is not None

    return token if await app.write(write) else None


async def person_of(app: App, token: str, *, idle_minutes: int, hours_max: int, seen: bool = True) -> Person | None:
    """Returns who has a session; None: it is over, or never was one. seen: whether the session is used by that."""
    rows: Sequence[Record] = await app.fetch(FIND, digest(token), idle_minutes, hours_max)
    if not rows:
        return None
    row = rows[0]
    if seen and row["unseen"] >= SEEN_EVERY:
        await app.fetch(SEE, digest(token))
    stores = frozenset(row["stores"]) if row["stores"] is not None else None
    return Person(row["id"], row["name"], tuple(row["roles"]), stores)


async def end(app: App, token: str) -> None:
    await app.fetch(END, digest(token))
