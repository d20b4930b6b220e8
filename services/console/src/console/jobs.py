"""Jobs: an action that a person requests for many orders. A job is a row, and a row for each of its orders.

A preview freezes the orders that fit the filters of a list; the job does exactly these. `console.working` does them.
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
insert into jobs (id, store_id, person_id, person, roles, filters, state, order_ids, whole, created_at)
values ($1, $2, $3, $4, $5, $6, 'preview', $7, $8, now())"""
START: Final = """
with job as (
  update jobs set state = 'running', action = $2, code = $3, reason = $4, started_at = now(), roles = $5
  where id = $1 and state = 'preview' and person_id = $6 returning id, order_ids)
insert into job_orders (job_id, position, order_id, state, code, detail)
select job.id, u.position, u.order_id, 'waits', '', '' from job, unnest(job.order_ids) with ordinality as u(order_id, position)"""
"""Started twice, it is started once."""
EMPTY: Final = "update jobs set order_ids = '{}' where id = $1 and state <> 'preview'"
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
j.created_at, j.started_at, j.ended_at"""
COUNTED: Final = f"""
select {COLUMNS}, c.* from jobs as j cross join lateral (
  select case when j.state = 'preview' then cardinality(j.order_ids) else count(*) end as orders,
    count(*) filter (where o.state = 'done') as done, count(*) filter (where o.state = 'refused') as refused
  from job_orders as o where o.job_id = j.id) as c"""
ONE: Final = f"{COUNTED} where j.id = :id"
NEWEST: Final = f"""{COUNTED} where j.state <> 'preview' and j.store_id = any(:stores) and (cast(:at as timestamptz) is null
  or (j.created_at, j.id) < (:at, cast(:after as uuid))) order by j.created_at desc, j.id desc limit :rows"""
FIRST_OF_PREVIEW: Final = f"""
select {listing.SHOWN} from unnest((select order_ids[1:10] from jobs where id = :id)) with ordinality as u(order_id, position)
join order_rows using (order_id) order by u.position"""
RESULTS: Final = """
select o.position, o.order_id, r.number, o.state, o.code, o.detail, o.at
from job_orders as o left join order_rows as r using (order_id)
where o.job_id = :id and o.state = any(:states) and o.position > :after order by o.position limit :rows"""
STATES: Final = ("waits", "done", "refused")
"""States of an order in a job."""
LIST: Final = Cursors("console.jobs", Timestamp, UUID)
RESULT_LIST: Final = Cursors("console.job", Code, int)


class Frozen(NamedTuple):
    order_ids: Sequence[UUID]
    whole: bool
    """Whether these are all that fit."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as pages show it. `orders`, `done` and `refused` are counts."""

    id: UUID
    store_id: str
    person_id: UUID
    person: str
    roles: Sequence[str]
    filters: str
    """The query of the list."""
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
    orders: int
    done: int
    refused: int

    @property
    def left(self) -> int:
        return self.orders - self.done - self.refused


async def freeze(app: App, person: Person, store_id: str, asked: Asked, filters: str, *, personal: bool) -> UUID:
    """Makes a preview: notes which orders fit now, in the order of the list."""
    frozen = await _fitting(app, store_id, asked, personal=personal)
    job_id = uuid4()

    async def write(tx: Connection) -> None:
        await tx.execute(
            FREEZE, job_id, store_id, person.id, person.name, list(person.at(store_id).roles), filters, frozen.order_ids, frozen.whole
        )  # fmt: skip

    await app.write(write)
    return job_id


async def _fitting(app: App, store_id: str, asked: Asked, *, personal: bool) -> Frozen:
    found: dict[UUID, None] = {}
    asked = asked.model_copy(update={"cursor": None})
    columns = f"order_id, {listing.SORTS[asked.sorted_by].column}"
    for _ in range(PREVIEW_READS_MAX):
        page = await listing.find(
            app.read, store_id, asked, personal=personal, rows=JOB_ORDERS_MAX - len(found), shown=columns
        )
        found |= dict.fromkeys(
            row["order_id"] for row in page.rows
        )  # one that has moved back in the list is there once
        if page.next_cursor is None:
            return Frozen(list(found), not page.too_many)
        if len(found) == JOB_ORDERS_MAX:
            break
        asked = asked.model_copy(update={"cursor": page.next_cursor})
    return Frozen(list(found), False)


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


async def newest(app: App, stores: Sequence[str], cursor: str | None) -> PageOfRows:
    """Returns a page of the jobs of some stores. Raises Problem 400."""
    at, after = LIST.after(cursor) or (None, None)
    rows = await app.read(text(NEWEST).bindparams(stores=list(stores), at=at, after=after, rows=PAGE_ROWS + 1))
    return LIST.page([Job(**row) for row in rows], PAGE_ROWS, key=lambda job: (job.created_at, job.id))


async def results(app: App, job_id: UUID, states: Sequence[str], cursor: str | None) -> PageOfRows:
    """Returns a page of the orders of a job, in the order in which they are done. Raises Problem 400."""
    name = "all" if len(states) > 1 else states[0]
    of, after = RESULT_LIST.after(cursor) or (name, 0)
    if of != name:
        after = 0
    rows = await app.read(text(RESULTS).bindparams(id=job_id, states=list(states), after=after, rows=PAGE_ROWS + 1))
    return RESULT_LIST.page(rows, PAGE_ROWS, key=lambda row: (name, row["position"]))


async def first_orders(app: App, job_id: UUID) -> Sequence[RowMapping]:
    """Returns the first ten orders of a preview, as lists show them."""
    return await app.read(text(FIRST_OF_PREVIEW).bindparams(id=job_id))


async def clean(app: App) -> None:
    await app.fetch(CLEAN, PREVIEW_HOURS, JOB_DAYS)
