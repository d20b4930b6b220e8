"""Does the jobs: takes the lease of one, requests its orders or messages of their owner, notes each result.

What has no result noted before the process ended is requested again with the same nonce: its owner answers as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, cast
from uuid import UUID

import orjson
import structlog
from asyncpg import Connection, Record

from chassis.declare.app import App
from chassis.work.loops import delayed
from console import group_jobs, itself, jobs, people
from console.domain.bulk import OF_JOBS, requests_of, still
from console.domain.people import Person
from console.freshness import PROCESS
from console.outcomes import Result, Silent, result_of
from console.owners import Owners
from console.settings import Settings

log = structlog.get_logger("console.working")

POLL_SECONDS: Final = 0.5
LEASE_SECONDS: Final = 30
"""Longer than a chunk takes. Too short: two processes request the same orders, which has one effect and costs twice."""
CHUNK_ORDERS: Final = 200
"""Requested before the job and the rights of the person are read again."""
AT_ONCE: Final = 16
"""Requests that wait for an answer at a time."""
SILENT_SECONDS_MAX: Final = 30
CLEAN_EVERY: Final = 600

TAKE: Final = """
update jobs set leased_by = $1, leased_until = now() + make_interval(secs => $2)
where id = (select id from jobs where state = 'running' and (leased_until is null or leased_until < now() or leased_by = $1)
  order by leased_until nulls first, started_at limit 1 for update skip locked)
returning id, store_id, person_id, action, code, reason, roles, parked_group::text, listed_to, size"""
"""Takes the job whose last chunk is the longest ago: a few orders do not wait for the end of a replay of 100,000 messages."""
PERSON: Final = f"""
select {people.PERSON}, exists (select from sessions as s where s.person_id = p.id and s.ended_at is null
  and s.created_at > now() - make_interval(hours => $2)) as signed_in from people as p where p.id = $1"""
NEXT: Final = """
select o.position, o.order_id, o.version, coalesce(r.memory -> 'holds', '[]')::text as holds
from job_items as o left join order_rows as r using (order_id)
where o.job_id = $1 and o.state = 'waits' order by o.position limit $2"""
NOTE: Final = """
with noted as (
  update job_items as o set state = u.state, code = u.code, detail = u.detail, at = now()
  from unnest($2::int[], $3::text[], $4::text[], $5::text[]) as u(position, state, code, detail)
  where o.job_id = $1 and o.position = u.position and o.state = 'waits' returning o.state)
update jobs set done = done + (select count(*) from noted where state = 'done'),
  refused = refused + (select count(*) from noted where state = 'refused') where id = $1"""
EXPLAIN: Final = "update jobs set why = $2 where id = $1 and why <> $2"
STOP: Final = "update jobs set state = 'stopped', why = $2, leased_until = null where id = $1 and state = 'running'"
END: Final = """
update jobs set state = 'done', why = '', ended_at = now(), leased_until = null where id = $1 and state = 'running'
  and listed_to is null and not exists (select from job_items where job_id = $1 and state = 'waits')"""


Did = Literal["worked", "nothing", "silence"]
"""What a step did: a chunk; nothing, as no job runs; a chunk of which the owner has not answered all."""


class Worker:
    """holder: the process, as leases name it."""

    def __init__(self, app: App, owners: Owners, holder: str = PROCESS) -> None:
        self._app, self._owners, self._holder = app, owners, holder
        self._hours_max = cast(Settings, app.settings).session_hours_max
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def step(self) -> Did:
        """Does a chunk of one job."""
        taken = await self._app.fetch(TAKE, self._holder, LEASE_SECONDS)
        if not taken:
            return "nothing"
        job = taken[0]
        person = await self._person(job)
        if isinstance(person, str):
            await self._app.fetch(STOP, job["id"], person)
            log.warning("job_stopped", job_id=str(job["id"]), why=person)
            return "worked"
        if job["listed_to"] is not None:
            silent = await group_jobs.list_on(self._app, self._owners, job, person)
        else:
            silent = await self._done(job, person)
        await self._app.fetch(EXPLAIN, job["id"], silent)
        return "silence" if silent else "worked"

    async def _done(self, job: Record, person: Person) -> str:
        """Does the next chunk of a job, or ends it; returns why an owner has not answered, empty if all have."""
        items: Sequence[Record]
        results: Sequence[Result | Silent]
        if job["parked_group"] is not None:
            items = await self._app.fetch(group_jobs.NEXT, job["id"], group_jobs.CHUNK_MESSAGES)
            results = await group_jobs.requested(self._owners, job, person, items)
        else:
            items = await self._app.fetch(NEXT, job["id"], CHUNK_ORDERS)
            results = await asyncio.gather(*(self._requested(job, person, order) for order in items))
        if not items:
            await self._app.fetch(END, job["id"])
        await self._note(job["id"], items, results)
        return next((one.detail for one in results if isinstance(one, Silent)), "")

    async def _person(self, job: Record) -> Person | str:
        """Returns for whom the job acts, with what they might do at its start and still may; else why it stops."""
        rows = await self._app.fetch(PERSON, job["person_id"], self._hours_max)
        if not rows:
            return "the person who began it is no longer let in"
        row = rows[0]
        store = job["store_id"] or None
        person = still(people.person(row).at(store), job["roles"])
        scope = OF_JOBS[job["action"]].scope
        if not row["signed_in"]:
            return f"{person.name} is signed out: the job goes on when they have signed in and resume it"
        if not person.may(scope):
            return f"{person.name} no longer has a role with {scope} for {store or 'all stores'} that they had at its start"
        return person

    async def _requested(self, job: Record, person: Person, order: Record) -> Result | Silent:
        fields = {"code": job["code"], "reason": job["reason"], "version": str(order["version"])}
        holds = orjson.loads(order["holds"])
        wanted = requests_of(job["id"], job["action"], order["order_id"], fields, holds)
        result: Result | Silent = Result("refused", "hold_unknown", "no hold is open")
        for nonce, request in wanted:
            async with self._at_once:
                outcome = await self._owners.send(request, job["store_id"], person, nonce)
            result = result_of("orders", outcome)
            if result != Result("done"):
                break
        if isinstance(result, Result) and result.code == "version_outdated":
            return result._replace(detail="the order has moved on since the preview; nothing was done")
        return result

    async def _note(self, job_id: UUID, items: Sequence[Record], results: Sequence[Result | Silent]) -> None:
        ended = [
            (item["position"], *result)
            for item, result in zip(items, results, strict=True)
            if isinstance(result, Result)
        ]
        if not ended:
            return

        async def write(tx: Connection) -> None:
            await tx.execute(NOTE, job_id, *(list(column) for column in zip(*ended, strict=True)))

        await self._app.write(write)


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def work() -> None:
        owners = Owners(cast(Settings, app.settings), itself.parked_messages(app))
        worker, steps, silences = Worker(app, owners), 0, 0
        async with owners.running():
            while True:
                did: Did = "nothing"
                with delayed("jobs"):
                    if steps % CLEAN_EVERY == 0:
                        await jobs.clean(app)
                    steps += 1
                    did = await worker.step()
                silences = silences + 1 if did == "silence" else 0
                await asyncio.sleep(_pause_seconds(did, silences))

    return {"jobs": work}


def _pause_seconds(did: Did, silences: int) -> float:
    """silences: how many steps in a row had no answer."""
    if did == "silence":
        return min(2.0 ** min(silences - 1, 10), SILENT_SECONDS_MAX)
    return 0.0 if did == "worked" else POLL_SECONDS
