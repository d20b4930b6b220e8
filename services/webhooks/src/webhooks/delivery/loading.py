"""Reads endpoints, and how far they have come, from the database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from chassis.declare.app import App
from webhooks.delivery.line import Failing, Line, Place
from webhooks.delivery.outgoing import Outgoing
from webhooks.domain.breaker import Breaker
from webhooks.domain.deliveries import Progress, Waiting
from webhooks.domain.endpoint import Endpoint, notified
from webhooks.domain.lanes import QUEUED_MAX, Lanes
from webhooks.vault import Vault
from webhooks.window import Window

CHANGED_SECONDS: Final = 90
"""A change is committed this long after the time that it states, at most: the time limit of a transaction, and a margin."""

_ENDPOINTS: Final = """
select c.endpoint_id, c.notices_of, e.store_id, e.revision, e.doc, c.shard, c.position, c.open, c.batches, c.moves,
  c.failing_since, c.failed_in_a_row, c.succeeded_at, c.breaker_because, c.breaker_since
from cursors c join endpoints e on e.key = coalesce(c.notices_of, c.endpoint_id)
where (e.status = 'enabled' or c.notices_of is not null) and """
OF_SHARDS: Final = _ENDPOINTS + "c.shard = any($1::int2[])"
OF_IDS: Final = _ENDPOINTS + "c.endpoint_id = any($1::uuid[])"
CHANGED: Final = """
select key, revision, clock_timestamp() as now from endpoints where changed_at > $1::timestamptz - make_interval(secs => $2)"""
WAITING: Final = """
select endpoint_id, position, lane, tries, next_at, exhausted, last, batch, delivered from waiting
where endpoint_id = any($1::uuid[]) and (not exhausted or lane is not null) order by position"""


class Changed(NamedTuple):
    endpoint_id: UUID
    revision: int
    now: datetime


class Stored(NamedTuple):
    """An endpoint, or the notices about one, as they are stored."""

    row: Record
    waiting: list[Waiting]

    @property
    def id(self) -> UUID:
        """Names the deliveries: see `endpoint.notices_id`."""
        endpoint_id: UUID = self.row["endpoint_id"]
        return endpoint_id

    @property
    def endpoint(self) -> Endpoint:
        endpoint = Endpoint.model_validate_json(self.row["doc"])
        return endpoint if self.row["notices_of"] is None else notified(endpoint)


async def changed(app: App, since: datetime) -> list[Changed]:
    """Returns the endpoints that were changed since a time, and some from before it."""
    rows = await app.fetch(CHANGED, since, CHANGED_SECONDS)
    return [Changed(row["key"], row["revision"], row["now"]) for row in rows]


async def of_shards(app: App, shards: Collection[int]) -> list[Stored]:
    return await _stored(app, OF_SHARDS, sorted(shards))


async def of_ids(app: App, ids: Collection[UUID]) -> list[Stored]:
    return await _stored(app, OF_IDS, sorted(ids))


async def _stored(app: App, statement: str, argument: list[Any]) -> list[Stored]:
    async def work(tx: Connection) -> list[Stored]:
        await tx.execute("set transaction isolation level repeatable read")
        stored = {row["endpoint_id"]: Stored(row, []) for row in await tx.fetch(statement, argument)}
        for row in await tx.fetch(WAITING, list(stored)):
            stored[row["endpoint_id"]].waiting.append(Waiting(*tuple(row)[1:]))
        return list(stored.values())

    found: list[Stored] = await app.write(work)
    return found


async def line(stored: Stored, term: int, window: Window, vault: Vault, now: datetime) -> Line:
    """Returns an endpoint as its process delivers to it."""
    row, endpoint = stored.row, stored.endpoint
    config, batch_max = endpoint.config, endpoint.config.batch.max
    found = await window.at(row["open"])
    opened = {position: found[position] for position in sorted(found)}
    batches = [tuple(one for one in batch if one in opened) for batch in row["batches"]]
    failing = Failing(row["failing_since"], row["failed_in_a_row"], row["succeeded_at"])
    lanes = Lanes(
        Progress(row["position"], tuple(opened), tuple(filter(None, batches))),
        stored.waiting,
        [event.key for event in opened.values()],
        per_order=config.order == "per_order",
        holds=config.exhausted == "hold",
        batch_max=batch_max,
        records=batch_max > 1,
        queued_max=max(QUEUED_MAX, batch_max * config.in_flight),
    )
    place = Place(stored.id, row["notices_of"], row["store_id"], row["shard"], term, row["moves"], row["revision"])
    breaker = Breaker.resumed(failing.failures, failing.since, now)
    outgoing = Outgoing(place.of, endpoint, vault, delivers_as=place.id)
    made = Line(place, endpoint, outgoing, lanes, failing, breaker)
    made.events.update(opened)
    if row["breaker_because"] == "waiting" and lanes.is_full:
        made.full_since = row["breaker_since"]
    return made
