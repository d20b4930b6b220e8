"""The people whom the console has let in, and what the groups of the identity provider may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID, uuid4

import orjson
from asyncpg import Connection, Record
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from chassis.declare.app import App
from console.domain.people import ROLES, Grant, Person, united
from contracts.base import Code

GROUP_CHARACTERS_MAX: Final = 256
PERSON: Final = """p.id, p.name, p.subject, p.roles, p.stores, p.issuer, coalesce((
  select jsonb_agg(jsonb_build_array(g.role, g.stores)) from role_grants g where g.group_name = any(p.groups)), '[]')::text as granted"""
"""The columns of `people p` that `person` reads."""
LET_IN: Final = """
insert into people (id, issuer, subject, name, roles, stores, groups, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (issuer, subject) do update
  set name = excluded.name, roles = excluded.roles, stores = excluded.stores, groups = excluded.groups
returning id"""
LISTED: Final = f"""
select {PERSON}, p.groups, count(s.token_sha256) as sessions, max(s.seen_at) as seen_at from people p
left join sessions s on s.person_id = p.id and s.ended_at is null
  and s.seen_at > $1::timestamptz - make_interval(mins => $2) and s.created_at > $1::timestamptz - make_interval(hours => $3)
group by p.id order by count(s.token_sha256) = 0, max(s.seen_at) desc, p.name, p.id limit 500"""
GRANT: Final = "insert into role_grants (group_name, role, stores) values ($1, $2, $3)"


class Identity(NamedTuple):
    """Who was let in, by whom."""

    issuer: str
    """The identity provider; empty: a one-time link."""
    subject: str
    name: str
    groups: tuple[str, ...] = ()
    """As the identity provider states them."""
    roles: tuple[str, ...] = ()
    """As a link grants them."""
    stores: tuple[str, ...] | None = None
    """As a link grants them; null: all."""


def person(row: Record) -> Person:
    if row["issuer"]:
        grants = [Grant(role, _stores(stores)) for role, stores in orjson.loads(row["granted"])]
    else:
        grants = [Grant(role, _stores(row["stores"])) for role in row["roles"]]
    return Person(row["id"], row["name"], row["subject"], united(grants))


def _stores(listed: Sequence[str] | None) -> frozenset[str] | None:
    return frozenset(listed) if listed is not None else None


async def let_in(tx: Connection, who: Identity, now: datetime) -> UUID:
    """Returns the id of a person, after writing what was stated of them."""
    found: UUID = await tx.fetchval(LET_IN, uuid4(), *who[:3], who.roles, who.stores, who.groups, now)
    return found


async def find(app: App, person_id: str) -> UUID | None:
    """Returns the id of a person; None if nothing has this id."""
    try:
        rows = await app.fetch("select id from people where id = $1", UUID(person_id))
    except ValueError:
        return None
    return rows[0]["id"] if rows else None


async def of_name(app: App, name: str) -> Sequence[UUID]:
    """Returns the ids of everybody who is shown by a name, or whom journals have by it."""
    return [row["id"] for row in await app.fetch("select id from people where $1 in (name, subject)", name)]


class Seen(NamedTuple):
    """A row of the page of people."""

    person: Person
    issuer: str
    groups: Sequence[str]
    sessions: int
    """That are not over."""
    seen_at: datetime | None
    """The last request of one of them; null: there is none."""


async def listed(app: App, now: datetime, idle_minutes: int, hours_max: int) -> Sequence[Seen]:
    """Returns everybody who was let in, those with a session first; at most 500."""
    rows = await app.fetch(LISTED, now, idle_minutes, hours_max)
    return [Seen(person(row), row["issuer"], row["groups"], row["sessions"], row["seen_at"]) for row in rows]


# -- apply ------------------------------------------------------------------------------------------------------------


class RoleGrant(BaseModel):
    """What a group of the identity provider may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: Annotated[str, Field(min_length=1, max_length=GROUP_CHARACTERS_MAX)]
    role: str
    stores: Annotated[list[Code], Field(min_length=1)] | None = None
    """Null: all."""

    @field_validator("role")
    @classmethod
    def _role_exists(cls, role: str) -> str:
        if role not in ROLES:
            raise ValueError(f"there are the roles {', '.join(sorted(ROLES))}")
        return role


_FILE: Final = TypeAdapter(dict[str, list[RoleGrant]])


async def apply(tx: Connection, wanted: Mapping[str, Any]) -> Sequence[str]:
    """`role_grants:` a list of {group, role, stores}. It replaces all grants: one that the file lacks ends."""
    if set(wanted) != {"role_grants"}:
        raise ValueError("the file has one list, role_grants")
    grants = _FILE.validate_python(dict(wanted))["role_grants"]
    if len({(one.group, one.role) for one in grants}) < len(grants):
        raise ValueError("a group has a role twice: list its stores in one entry")
    await tx.execute("delete from role_grants")
    await tx.executemany(GRANT, [(one.group, one.role, one.stores) for one in grants])
    return [f"{one.group}: {one.role} in {', '.join(one.stores or ['all stores'])}" for one in grants]
