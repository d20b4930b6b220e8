"""One-time links and sessions: rows that hold the SHA-256 of a random token, which only the browser has.

A token is random, so a slow hash would protect nothing. Every function takes the time: the caller's clock decides what is over.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from chassis.declare.app import App
from console import people
from console.domain.people import Person
from console.domain.unsent import UNSENT_MINUTES, Unsent
from console.people import PERSON, Identity

LINK_MINUTES: Final = 10
SEEN_EVERY: Final = timedelta(minutes=1)
"""A session notes its last request to the minute: a page costs no write."""

INVITE: Final = "insert into sign_in_links (token_sha256, person_id, expires_at) values ($1, $2, $3::timestamptz + make_interval(mins => $4))"
INVITED: Final = """
select p.name from sign_in_links l join people p on p.id = l.person_id
where l.token_sha256 = $1 and l.used_at is null and l.expires_at > $2"""
TAKE: Final = """
update sign_in_links set used_at = $2 where token_sha256 = $1 and used_at is null and expires_at > $2 returning person_id"""
BEGIN: Final = f"""
with old as (select unsent, unsent_at from sessions where token_sha256 = $3 and person_id = $2
    and unsent_at > $4::timestamptz - make_interval(mins => {UNSENT_MINUTES})),
  ended as (update sessions set ended_at = coalesce(ended_at, $4), unsent = null, unsent_at = null, id_token = null where token_sha256 = $3)
insert into sessions (token_sha256, person_id, created_at, seen_at, id_token, unsent, unsent_at)
values ($1, $2, $4, $4, $5, (select unsent from old), (select unsent_at from old))"""
ALIVE: Final = """s.ended_at is null and s.seen_at > $2::timestamptz - make_interval(mins => $3) and s.created_at > $2::timestamptz - make_interval(hours => $4)"""
FIND: Final = f"""
select {PERSON}, $2::timestamptz - s.seen_at as unseen,
  case when s.unsent_at > $2::timestamptz - make_interval(mins => {UNSENT_MINUTES}) then s.unsent::text end as unsent
from sessions s join people p on p.id = s.person_id
where s.token_sha256 = $1 and p.issuer in ('', $5) and {ALIVE}"""
SEE: Final = "update sessions set seen_at = $2 where token_sha256 = $1 and ended_at is null"
KEEP: Final = f"""
update sessions s set unsent = $5, unsent_at = $2 where s.token_sha256 = $1 and s.ended_at is null and not ({ALIVE}) returning 1"""
SENT: Final = "update sessions set unsent = null, unsent_at = null where token_sha256 = $1"
END: Final = """
with old as (select id_token from sessions where token_sha256 = $1 and ended_at is null),
  ended as (update sessions set ended_at = $2, id_token = null, unsent = null, unsent_at = null where token_sha256 = $1 and ended_at is null)
select id_token from old"""
END_ALL: Final = """
with links as (delete from sign_in_links where person_id = $1)
update sessions set ended_at = $2, id_token = null, unsent = null, unsent_at = null where person_id = $1 and ended_at is null returning 1"""
CLEAN: Final = f"""
with links as (delete from sign_in_links where expires_at < now() - interval '1 day'),
  old as (delete from sessions where created_at < now() - interval '30 days')
update sessions set unsent = null, unsent_at = null where unsent_at < now() - make_interval(mins => {UNSENT_MINUTES})
  and created_at >= now() - interval '30 days'"""


class Limits(NamedTuple):
    """When a session is over, and whose identities are accepted."""

    idle_minutes: int
    hours_max: int
    issuer: str
    """The identity provider; people of another one are out. Empty: there is none."""


class Session(NamedTuple):
    person: Person
    unsent: Unsent | None


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def invite(app: App, name: str, roles: Sequence[str], stores: Sequence[str] | None, now: datetime) -> str:
    """Lets a person in, or changes what the person of this name may; returns the token of a link that is valid once, for LINK_MINUTES."""
    token = secrets.token_urlsafe(32)
    who = Identity(
        "", name, name, roles=tuple(sorted(roles)), stores=tuple(sorted(stores)) if stores is not None else None
    )

    async def write(tx: Connection) -> None:
        await tx.execute(INVITE, digest(token), await people.let_in(tx, who, now), now, LINK_MINUTES)

    await app.write(write)
    return token


async def invited(app: App, link_token: str, now: datetime) -> str | None:
    """Returns the name of the person whom a link signs in. None: it signs no person in, or no longer."""
    rows = await app.fetch(INVITED, digest(link_token), now)
    return rows[0]["name"] if rows else None


async def begin(app: App, link_token: str, old: str, now: datetime) -> str | None:
    """Uses a link; returns the token of a new session. None: the link was used, is too old, or never was one.

    old: the token that the browser has. Its session ends: a token that was there before signing in never signs anyone in.
    """
    token = secrets.token_urlsafe(32)

    async def write(tx: Connection) -> bool:
        person_id = await tx.fetchval(TAKE, digest(link_token), now)
        if person_id is not None:
            await tx.execute(BEGIN, digest(token), person_id, digest(old), now, None)
        return person_id is not None

    return token if await app.write(write) else None


async def enter(app: App, who: Identity, id_token: str, old: str, now: datetime) -> str:
    """Begins the session of a person whom the identity provider has stated; returns its token. old: as of `begin`."""
    token = secrets.token_urlsafe(32)

    async def write(tx: Connection) -> None:
        await tx.execute(BEGIN, digest(token), await people.let_in(tx, who, now), digest(old), now, id_token)

    await app.write(write)
    return token


async def find(app: App, token: str, limits: Limits, now: datetime, *, seen: bool = True) -> Session | None:
    """Returns who has a session, with what they may now; None: it is over, or never was one. seen: whether the session is used by that."""
    rows: Sequence[Record] = await app.fetch(FIND, digest(token), now, *limits)
    if not rows:
        return None
    row = rows[0]
    if seen and row["unseen"] >= SEEN_EVERY:
        await app.fetch(SEE, digest(token), now)
    return Session(people.person(row), Unsent(*orjson.loads(row["unsent"])) if row["unsent"] else None)


async def keep(app: App, token: str, form: Unsent, limits: Limits, now: datetime) -> bool:
    """Stores a form with the session that it came too late for; returns whether there is one.

    Who was signed out, or never was in, leaves nothing here.
    """
    written = orjson.dumps(list(form)).decode()
    return bool(await app.fetch(KEEP, digest(token), now, limits.idle_minutes, limits.hours_max, written))


async def sent(app: App, token: str) -> None:
    """Deletes the form of a session: it was sent, or is not wanted any more."""
    await app.fetch(SENT, digest(token))


async def end(app: App, token: str, now: datetime) -> str | None:
    """Ends a session; returns the ID token that it began with. None: it began with a link, or was over."""
    rows = await app.fetch(END, digest(token), now)
    return rows[0]["id_token"] if rows else None


async def end_all(app: App, person_id: UUID, now: datetime) -> int:
    """Ends every session of a person, and unused links; returns how many sessions."""
    return len(await app.fetch(END_ALL, person_id, now))
