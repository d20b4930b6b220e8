"""Writes what was attempted, and how far endpoints have come: one transaction for all that ended since the last."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg import Connection

from chassis.declare.app import App
from webhooks.delivery import replay
from webhooks.delivery.line import Failing, Line, Opened
from webhooks.delivery.replay import Replay
from webhooks.delivery.shards import Shards
from webhooks.domain.deliveries import Changes, Waiting


class Attempt(NamedTuple):
    """A request, in the order of the columns that ATTEMPTED names."""

    id: UUID
    endpoint_id: UUID
    store_id: str
    position: int
    event_id: str
    type: str
    key: UUID
    delivery_id: str
    number: int
    at: datetime
    duration_ms: int
    outcome: str
    """`delivered`, `failed`, `returned` (does not count), or `exhausted`: the last one."""
    http_status: int | None
    response: str
    error: str | None
    events: int
    """That the request carried."""
    notice: bool
    """Whether it went to `notify_url`."""
    replay_id: UUID | None = None


class _Written(NamedTuple):
    """What a flush writes of one endpoint; taken at one moment, so a flush that is repeated writes the same."""

    line: Line
    changes: Changes
    failing: tuple[datetime | None, int, datetime | None]
    opened: Opened


ATTEMPTED: Final = """
insert into attempts (id, endpoint_id, store_id, position, event_id, type, key, delivery_id, number, at, duration_ms, outcome,
  http_status, response, error, events, notice, replay_id)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::uuid[], $8::text[],
  $9::int2[], $10::timestamptz[], $11::int[], $12::text[], $13::int2[], $14::text[], $15::text[], $16::int2[],
  $17::bool[], $18::uuid[])
on conflict do nothing"""
PROGRESSED: Final = """
update cursors c set position = u.position, open = u.open::bigint[], batches = u.batches::jsonb,
  failing_since = u.failing_since, failed_in_a_row = u.failed_in_a_row, succeeded_at = u.succeeded_at,
  breaker_because = u.breaker_because, breaker_since = u.breaker_since
from unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::int[], $8::timestamptz[],
    $9::text[], $10::timestamptz[])
  as u(endpoint_id, moves, position, open, batches, failing_since, failed_in_a_row, succeeded_at, breaker_because, breaker_since)
where c.endpoint_id = u.endpoint_id and c.moves = u.moves
returning c.endpoint_id"""
# What the event is is stored, too: a row may outlive the event in the feed.
WAITED: Final = """
insert into waiting (endpoint_id, position, lane, tries, next_at, exhausted, last, batch, delivered, event_id, type, key)
select u.*, f.event_id, f.type, f.key
from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::int2[], $5::timestamptz[], $6::bool[], $7::text[], $8::bigint[], $9::bool[])
  as u(endpoint_id, position, lane, tries, next_at, exhausted, last, batch, delivered) left join feed f on f.position = u.position
on conflict (endpoint_id, position) do update set lane = excluded.lane, tries = excluded.tries, next_at = excluded.next_at,
  exhausted = excluded.exhausted, last = excluded.last, batch = excluded.batch, delivered = excluded.delivered"""
ENDED: Final = """
delete from waiting w using unnest($1::uuid[], $2::bigint[]) as u(endpoint_id, position)
where w.endpoint_id = u.endpoint_id and w.position = u.position"""


class Batch(NamedTuple):
    """What one flush writes."""

    attempts: Sequence[Attempt]
    written: Sequence[_Written]
    replays: Sequence[replay.Written]


def batch_of(attempts: Sequence[Attempt], lines: Iterable[Line], replays: Iterable[Replay]) -> Batch:
    """Takes what has changed."""
    return Batch(
        attempts,
        [_Written(line, line.lanes.changes(), _stored(line.failing), line.opened) for line in lines],
        [replay.written(one) for one in replays],
    )


def _stored(failing: Failing) -> tuple[datetime | None, int, datetime | None]:
    return failing.since, failing.failures, failing.succeeded_at


async def flush(app: App, shards: Shards, batch: Batch) -> Collection[Line]:
    """Write a batch; returns the endpoints of which nothing was written, because another process or a person has taken over.

    An attempt was made in any case, so it is recorded in any case.
    """

    async def work(tx: Connection) -> Collection[Line]:
        if batch.attempts:
            await tx.execute(ATTEMPTED, *_columns(batch.attempts, len(Attempt._fields)))
        if not batch.written and not batch.replays:
            return ()
        held = await shards.held_until_commit(tx, _leases(batch))
        ours = sorted((one for one in batch.written if one.line.place.lease in held), key=lambda one: one.line.id.int)
        rows = await tx.fetch(PROGRESSED, *_columns([_progress(one) for one in ours], 10))
        moved = {row["endpoint_id"] for row in rows}
        ours = [one for one in ours if one.line.id in moved]
        if waited := [(one.line.id, *row) for one in ours for row in one.changes.written]:
            await tx.execute(WAITED, *_columns(waited, 1 + len(Waiting._fields)))
        if replays := [one for one in batch.replays if one.replay.line.place.lease in held]:
            await replay.write(tx, replays)
        if ended := [(one.line.id, position) for one in ours for position in one.changes.deleted]:
            await tx.execute(ENDED, *_columns(ended, 2))
        return {one.line for one in batch.written} - {one.line for one in ours}

    lost: Collection[Line] = await app.write(work)
    return lost


def _leases(batch: Batch) -> set[tuple[int, int]]:
    lines = [*(one.line for one in batch.written), *(one.replay.line for one in batch.replays)]
    return {line.place.lease for line in lines}


def _progress(one: _Written) -> tuple[Any, ...]:
    progress = one.changes.progress
    is_open, batches = replay.array_text(progress.open), orjson.dumps(progress.batches).decode()
    return one.line.id, one.line.place.moves, progress.cursor, is_open, batches, *one.failing, *one.opened


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    return [[row[n] for row in rows] for n in range(count)]
