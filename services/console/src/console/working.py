"""Does the jobs: takes the lease of one, requests its orders of their owner, notes each result.

An order whose result was not noted before the process ended is requested again with the same nonce: its owner answers as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, cast
from uuid import UUID

import orjson
import structlog
from asyncpg import Connection, Record

from chassis.declare.app import App
from chassis.work.loops import delayed
from console import jobs, people
from console.domain.bulk import BULK, requests_of, still
from console.domain.people import Person
from console.freshness import PROCESS
from console.owners import Outcome, Owners
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
DETAIL_CHARACTERS_MAX: Final = 300

TAKE: Final = """
update jobs set leased_by = $1, leased_until = now() + make_interval(secs => $2)
where id = (select id from jobs where state = 'running' and (leased_until is null or leased_until < now() or leased_by = $1)
  order by leased_by is distinct from $1, started_at limit 1 for update skip locked)
returning id, store_id, person_id, action, code, reason, roles"""
PERSON: Final = f"""
select {people.PERSON}, exists (select from sessions as s where s.person_id = p.id and s.ended_at is null
  and s.created_at > now() - make_interval(hours => $2)) as signed_in from people as p where p.id = $1"""
NEXT: Final = """
select o.position, o.order_id, coalesce(r.memory -> 'holds', '[]')::text as holds
from job_orders as o left join order_rows as r using (order_id)
where o.job_id = $1 and o.state = 'waits' order by o.position limit $2"""
NOTE: Final = """
update job_orders as o set state = u.state, code = u.code, detail = u.detail, at = now()
from unnest($2::int[], $3::text[], $4::text[], $5::text[]) as u(position, state, code, detail)
where o.job_id = $1 and o.position = u.position and o.state = 'waits'"""
EXPLAIN: Final = "update jobs set why = $2 where id = $1 and why <> $2"
STOP: Final = "update jobs set state = 'stopped', why = $2, leased_until = null where id = $1 and state = 'running'"
END: Final = """
update jobs set state = 'done', why = '', ended_at = now(), leased_until = null where id = $1 and state = 'running'
  and not exists (select from job_orders where job_id = $1 and state = 'waits')"""


Did = Literal["worked", "nothing", "silence"]
"""What a step did: a chunk; nothing, as no job runs; a chunk of which orders has not answered all."""


class Result(NamedTuple):
    state: str
    code: str = ""
    detail: str = ""


class Silent(NamedTuple):
    """The owner has not answered: the order stays as it is."""

    detail: str


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
        orders = await self._app.fetch(NEXT, job["id"], CHUNK_ORDERS)
        if not orders:
            await self._app.fetch(END, job["id"])
            return "worked"
        results = await asyncio.gather(*(self._requested(job, person, order) for order in orders))
        silent = [result.detail for result in results if isinstance(result, Silent)]
        await self._note(job["id"], orders, results)
        await self._app.fetch(EXPLAIN, job["id"], silent[0] if silent else "")
        return "silence" if silent else "worked"

    async def _person(self, job: Record) -> Person | str:
        """Returns for whom the job acts, with what they might do at its start and still may; else why it stops."""
        rows = await self._app.fetch(PERSON, job["person_id"], self._hours_max)
        if not rows:
            return "the person who began it is no longer let in"
        row = rows[0]
        person = still(people.person(row).at(job["store_id"]), job["roles"])
        scope = BULK[job["action"]].scope
        if not row["signed_in"]:
            return f"{person.name} is signed out: the job goes on when they have signed in and resume it"
        if not person.may(scope):
            return f"{person.name} no longer has a role with {scope} for {job['store_id']} that they had at its start"
        return person

    async def _requested(self, job: Record, person: Person, order: Record) -> Result | Silent:
        fields = {"code": job["code"], "reason": job["reason"]}
        holds = orjson.loads(order["holds"])
        wanted = requests_of(job["id"], job["action"], order["order_id"], fields, holds)
        result: Result | Silent = Result("refused", "hold_unknown", "no hold is open")
        for nonce, request in wanted:
            async with self._at_once:
                outcome = await self._owners.send(request, job["store_id"], person, nonce)
            result = _result(outcome)
            if result != Result("done"):
                break
        return result

    async def _note(self, job_id: UUID, orders: Sequence[Record], results: Sequence[Result | Silent]) -> None:
        ended = [
            (order["position"], *result)
            for order, result in zip(orders, results, strict=True)
            if isinstance(result, Result)
        ]
        if not ended:
            return

        async def write(tx: Connection) -> None:
            await tx.execute(NOTE, job_id, *(list(column) for column in zip(*ended, strict=True)))

        await self._app.write(write)


def _result(outcome: Outcome) -> Result | Silent:
    """An owner that fails, or does not accept the console's own key, has not decided on the order."""
    if outcome.done:
        return Result("done")
    if outcome.status is None or outcome.status >= 500 or outcome.status in (401, 403, 429):
        return Silent((outcome.detail or f"orders answers {outcome.status}")[:DETAIL_CHARACTERS_MAX])
    return Result("refused", outcome.code[:100] or str(outcome.status), outcome.detail[:DETAIL_CHARACTERS_MAX])


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def work() -> None:
        owners = Owners(cast(Settings, app.settings))
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
