"""Jobs that replay a group of parked messages: exactly those that waited when its preview was made, the oldest first.

The preview is the id of the newest message: what is parked later has a higher one. The job first lists the messages of its
service into its own rows, page by page, then has them replayed. Both go on where they were when a process has ended: the place
in the list is written with the rows of a page, and a request that is sent again replays nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from chassis.declare.app import App
from console import parked
from console.domain.bulk import REPLAY
from console.domain.parked import Group
from console.domain.people import Person
from console.domain.wanted import Wanted
from console.outcomes import DETAIL_CHARACTERS_MAX, Result, Silent, result_of
from console.owners import Owners
from contracts.ids import derived

JOB_MESSAGES_MAX: Final = 100_000
PAGE_ROWS: Final = 500
NEWEST_POSITION: Final = 2**31 - 1
REPLAYED_AT_ONCE: Final = 20
"""Messages of one request: a service answers in much less time than a request may take."""
CHUNK_MESSAGES: Final = 80
"""Replayed before the job and the rights of the person are read again."""

BEGIN: Final = """
insert into jobs (id, store_id, person_id, person, roles, filters, parked_group, listed_to, state, action, reason, order_ids, whole,
  created_at, started_at)
values ($1, $2, $3, $4, $5, $6, $7, '', 'running', $8, $9, '{}', true, now(), now()) on conflict (id) do nothing"""
"""Sent twice, it is one job."""
LISTED: Final = f"""
with job as (
  update jobs set listed_to = $2, size = size + cardinality($4::bigint[]), whole = $5 where id = $1 and listed_to = $3 returning id, size)
insert into job_items (job_id, position, order_id, parked_id, state, code, detail)
select job.id, {NEWEST_POSITION} - job.size + cardinality($4::bigint[]) - u.nth + 1, u.key, u.parked_id, 'waits', '', ''
from job, unnest($4::bigint[], $6::uuid[]) with ordinality as u(parked_id, key, nth)"""
"""The list begins with the newest, so the positions go down. A page that another process has written meanwhile is not written again."""
NEXT: Final = """
select position, parked_id from job_items where job_id = $1 and state = 'waits' order by position limit $2"""


class Frozen(NamedTuple):
    """A group as a preview has frozen it."""

    group: Group
    id_max: int
    """The newest message."""
    messages: int
    """How many waited then."""


async def begin(
    app: App, nonce: UUID, person: Person, store_id: str | None, frozen: Frozen, filters: str, reason: str
) -> UUID:
    """Begins the replay of a frozen group; returns the id of the job, the same for the same form."""
    job_id = derived(nonce, f"{REPLAY}|{person.id}")
    stored = orjson.dumps({**frozen.group._asdict(), "id_max": frozen.id_max, "messages": frozen.messages}).decode()

    async def write(tx: Connection) -> None:
        await tx.execute(
            BEGIN, job_id, store_id or "", person.id, person.name, list(person.at(store_id).roles), filters, stored, REPLAY, reason
        )  # fmt: skip

    await app.write(write)
    return job_id


async def list_on(app: App, owners: Owners, job: Record, person: Person) -> str:
    """Lists the next messages of a job; returns why its service has not answered, empty if it has."""
    stored: Mapping[str, Any] = orjson.loads(job["parked_group"])
    group = Group(stored["service"], stored["cause"], stored["line"])
    rows = min(PAGE_ROWS, JOB_MESSAGES_MAX - job["size"])
    path = group.path(id_max=stored["id_max"], limit=rows, cursor=job["listed_to"] or None)
    answer = await owners.read(group.service, path, job["store_id"] or None, person)
    if answer.state != "answered":
        why = parked.why_silent(answer) or "it does not list the group"
        return f"{group.service}: {why}"[:DETAIL_CHARACTERS_MAX]
    items, further = answer.body["items"], answer.body["next_cursor"]
    whole = not further or job["size"] + len(items) < JOB_MESSAGES_MAX
    keys = [None if one["key"] is None else UUID(one["key"]) for one in items]
    ids = [one["id"] for one in items]
    await app.fetch(LISTED, job["id"], further if whole else None, job["listed_to"], ids, whole, keys)
    return ""


async def requested(
    owners: Owners, job: Record, person: Person, messages: Sequence[Record]
) -> Sequence[Result | Silent]:
    """Has some messages replayed; returns the result of each."""
    chunks = [messages[start : start + REPLAYED_AT_ONCE] for start in range(0, len(messages), REPLAYED_AT_ONCE)]
    service = orjson.loads(job["parked_group"])["service"]
    answers = await asyncio.gather(*(_replayed(owners, job, service, person, chunk) for chunk in chunks))
    return [result for results in answers for result in results]


async def _replayed(
    owners: Owners, job: Record, service: str, person: Person, messages: Sequence[Record]
) -> Sequence[Result | Silent]:
    ids = [one["parked_id"] for one in messages]
    nonce = derived(job["id"], ",".join(map(str, ids)))
    wanted = Wanted(service, "POST", "/v1/parked-replays", {"ids": ids}, job["reason"])
    outcome = await owners.send(wanted, job["store_id"] or None, person, nonce)
    if not outcome.done:
        return [result_of(service, outcome)] * len(messages)
    told = {one["id"]: one for one in outcome.body["items"]}
    return [_of(told[one]) for one in ids]


def _of(told: Mapping[str, Any]) -> Result:
    match told["outcome"]:
        case "replayed":
            return Result("done")
        case "stopped":
            return Result("refused", "replay_stopped", told["detail"][:DETAIL_CHARACTERS_MAX])
        case "unreplayable":
            return Result("refused", "message_unreplayable", told["detail"][:DETAIL_CHARACTERS_MAX])
        case "unknown":
            return Result("refused", "message_unknown", told["detail"][:DETAIL_CHARACTERS_MAX])
        case settled:
            return Result("refused", "message_settled", f"it was {settled} meanwhile")
