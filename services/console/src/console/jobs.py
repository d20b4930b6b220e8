"""Jobs: an action that a person requests for many orders, or the replay of a group of parked messages. A job is a row, and a row
for each of its orders or messages.

A preview freezes the orders that fit the filters of a list; the job does exactly these. `console.working` does them.
`console.group_jobs` has what is particular to a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from asyncpg import Connection
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App
from chassis.http.paging import Cursors, PageOfRows
from console import listing
from console.domain.bulk import BULK
from console.domain.people import Person
from console.listing import Asked
from contracts.base import Code, Timestamp

JOB_ORDERS_MAX: Final = 10_000
PREVIEW_READS_MAX: Final = 10
"""Each reads LOOK_BACK rows at most: a preview of a rare combination of filters ends, and states how far it has searched."""
PREVIEW_HOURS: Final = 1
JOB_DAYS: Final = 90
PAGE_ROWS: Final = 100
RUNNING: Final = frozenset({"running", "paused", "stopped"})
"""States of a job that has begun and not ended."""

FREEZE: Final = """
insert into jobs (id, store_id, person_id, person, roles, filters, state, order_ids, order_versions, size, whole, created_at)
values ($1, $2, $3, $4, $5, $6, 'preview', $7, $8, cardinality($7::uuid[]), $9, now())"""
START: Final = """
with job as (
  update jobs set state = 'running', action = $2, code = $3, reason = $4, started_at = now(), roles = $5
  where id = $1 and state = 'preview' and person_id = $6 returning id, order_ids, order_versions)
insert into job_items (job_id, position, order_id, version, state, code, detail)
select job.id, u.position, u.order_id, u.version, 'waits', '', ''
from job, unnest(job.order_ids, job.order_versions) with ordinality as u(order_id, version, position)"""
"""Started twice, it is started once."""
EMPTY: Final = "update jobs set order_ids = '{}', order_versions = '{}' where id = $1 and state <> 'preview'"
MOVE: Final = """
update jobs set state = $2, why = '', ended_at = case when $2 = 'cancelled' then now() end, leased_until = null
where id = $1 and state = any($3::text[]) returning id"""
MOVES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "pause": ("paused", ("running",)),
    "resume": ("running", ("paused", "stopped")),
    "cancel": ("cancelled", ("running", "paused", "stopped")),
}
"""What a person does with a job: its state after, and the states before."""
CLEAN: Final = """
delete from jobs where (state = 'preview' and created_at < now() - make_interval(hours => $1))
  or ended_at < now() - make_interval(days => $2)"""
COLUMNS: Final = """j.id, j.store_id, j.person_id, j.person, j.roles, j.filters, j.state, j.action, j.code, j.reason, j.why, j.whole,
j.created_at, j.started_at, j.ended_at, j.size, j.done, j.refused, j.parked_group ->> 'service' as service,
j.listed_to is not null as listing"""
ONE: Final = f"select {COLUMNS} from jobs as j where j.id = :id"
_BEFORE: Final = """(j.created_at, j.id) < (coalesce(cast(:at as timestamptz), 'infinity'),
  coalesce(cast(:after as uuid), 'ffffffff-ffff-ffff-ffff-ffffffffffff'))"""
NEWEST: Final = f"""
select {COLUMNS} from jobs as j where j.state <> 'preview' and {_BEFORE}
order by j.created_at desc, j.id desc limit :rows"""
NEWEST_OF_STORES: Final = f"""
select j.* from unnest(cast(:stores as text[])) as s(store_id) cross join lateral (
  select {COLUMNS} from jobs as j where j.store_id = s.store_id and j.state <> 'preview' and {_BEFORE}
  order by j.created_at desc, j.id desc limit :rows) as j
order by j.created_at desc, j.id desc limit :rows"""
"""By the index of each store: a person of some stores does not read past the jobs of all others."""
FIRST_OF_PREVIEW: Final = f"""
select {listing.SHOWN} from unnest((select order_ids[1:10] from jobs where id = :id)) with ordinality as u(order_id, position)
join order_rows using (order_id) order by u.position"""
RESULTS: Final = """
select i.position, i.order_id, i.parked_id, i.state, i.code, i.detail, i.at,
  (select r.number from order_rows as r where r.order_id = i.order_id and :store in (r.store_id, '')) as number
from (select * from job_items where job_id = :id and position > :after {of_state} order by position limit :rows) as i
order by i.position"""
"""The key of a message may be an order of another store: its number is that store's."""
ALL_RESULTS: Final = RESULTS.format(of_state="")
RESULTS_OF_STATE: Final = RESULTS.format(of_state="and state = :state")
STATES: Final = ("waits", "done", "refused")
"""States of an order or a message in a job."""
LIST: Final = Cursors("console.jobs", Timestamp, UUID)
RESULT_LIST: Final = Cursors("console.job", Code, int)


class Frozen(NamedTuple):
    versions: Mapping[UUID, int]
    """Order -> its version in the lists, in the order of the list."""
    whole: bool
    """Whether these are all that fit."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as pages show it. `size`, `done` and `refused` are counts."""

    id: UUID
    store_id: str
    """Empty: all stores, and what is of none."""
    person_id: UUID
    person: str
    roles: Sequence[str]
    filters: str
    """The query of the list, or of the page of the group."""
    state: str
    action: str
    code: str
    reason: str
    why: str
    """Why it does not go on; empty: it does, or a person has paused it."""
    whole: bool
    created_at: Any
    started_at: Any
    ended_at: Any
    size: int
    done: int
    refused: int
    service: str | None
    """Whose parked messages are replayed; null: it is of orders."""
    listing: bool
    """Whether its messages are still being listed: there may be more than `size`."""

    @property
    def left(self) -> int:
        return self.size - self.done - self.refused

    @property
    def has_left_out(self) -> bool:
        """Whether its group is longer than a job may be: the older messages are not in it."""
        return self.service is not None and not self.whole

    @property
    def noun(self) -> str:
        return ("order" if self.service is None else "message") + ("" if self.size == 1 else "s")

    def is_seen_by(self, person: Person) -> bool:
        return person.sees(self.store_id) if self.store_id else person.stores is None


async def freeze(app: App, person: Person, store_id: str, asked: Asked, filters: str, *, personal: bool) -> UUID:
    """Makes a preview: notes which orders fit now, in the order of the list."""
    frozen = await _fitting(app, store_id, asked, personal=personal)
    job_id = uuid4()

    async def write(tx: Connection) -> None:
        await tx.execute(
            FREEZE, job_id, store_id, person.id, person.name, list(person.at(store_id).roles), filters, list(frozen.versions),
            list(frozen.versions.values()), frozen.whole,
        )  # fmt: skip

    await app.write(write)
    return job_id


async def _fitting(app: App, store_id: str, asked: Asked, *, personal: bool) -> Frozen:
    found: dict[UUID, int] = {}
    asked = asked.model_copy(update={"cursor": None})
    columns = f"order_id, {listing.SORTS[asked.sorted_by].column}, {listing.VERSION}"
    for _ in range(PREVIEW_READS_MAX):
        page = await listing.find(
            app.read, store_id, asked, personal=personal, rows=JOB_ORDERS_MAX - len(found), shown=columns
        )
        # One that has moved back in the list is there once.
        found |= {row["order_id"]: row["orders_version"] for row in page.rows}
        if page.next_cursor is None:
            return Frozen(found, not page.too_many)
        if len(found) == JOB_ORDERS_MAX:
            break
        asked = asked.model_copy(update={"cursor": page.next_cursor})
    return Frozen(found, False)


async def start(app: App, job_id: UUID, person: Person, action: str, fields: Mapping[str, str]) -> None:
    """Starts a preview of this person; one that was started before stays as it is."""

    async def write(tx: Connection) -> None:
        code = fields.get("code", "") if BULK[action].codes else ""  # the form has the field for every action
        reason = fields.get("reason", "").strip()
        await tx.execute(START, job_id, action, code, reason, list(person.roles), person.id)
        await tx.execute(EMPTY, job_id)

    await app.write(write)


async def move(app: App, job_id: UUID, word: str) -> bool:
    """Pauses, resumes or cancels a job; returns whether its state allowed that."""
    after, before = MOVES[word]
    return bool(await app.fetch(MOVE, job_id, after, list(before)))


async def one(app: App, job_id: UUID) -> Job | None:
    rows = await app.read(text(ONE).bindparams(id=job_id))
    return Job(**rows[0]) if rows else None


async def newest(app: App, stores: Sequence[str] | None, cursor: str | None) -> PageOfRows:
    """Returns a page of the jobs of some stores; null: of all. Raises Problem 400."""
    at, after = LIST.after(cursor) or (None, None)
    wanted = text(NEWEST) if stores is None else text(NEWEST_OF_STORES).bindparams(stores=list(stores))
    rows = await app.read(wanted.bindparams(at=at, after=after, rows=PAGE_ROWS + 1))
    return LIST.page([Job(**row) for row in rows], PAGE_ROWS, key=lambda job: (job.created_at, job.id))


async def results(app: App, job: Job, states: Sequence[str], cursor: str | None) -> PageOfRows:
    """Returns a page of the orders or messages of a job, in the order in which they are done. Raises Problem 400."""
    name = "all" if len(states) > 1 else states[0]
    of, after = RESULT_LIST.after(cursor) or (name, 0)
    if of != name:
        after = 0
    wanted = text(ALL_RESULTS) if len(states) > 1 else text(RESULTS_OF_STATE).bindparams(state=states[0])
    wanted = wanted.bindparams(id=job.id, store=job.store_id, after=after, rows=PAGE_ROWS + 1)
    return RESULT_LIST.page(await app.read(wanted), PAGE_ROWS, key=lambda row: (name, row["position"]))


async def first_orders(app: App, job_id: UUID) -> Sequence[RowMapping]:
    """Returns the first ten orders of a preview, as lists show them."""
    return await app.read(text(FIRST_OF_PREVIEW).bindparams(id=job_id))


async def clean(app: App) -> None:
    await app.fetch(CLEAN, PREVIEW_HOURS, JOB_DAYS)
