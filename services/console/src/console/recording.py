"""What the poller keeps: the newest report of each process, the flows of the groups, and values over time; and who polls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from asyncpg import Connection

from chassis.declare.app import App
from console.domain.offsets import Flow
from console.domain.operations import Report
from console.domain.series import STEPS, Point, Step, rows, window

LEASE_SECONDS: Final = 10.0
"""Another process polls if the one that does has not renewed its lease for that long."""
LEASED: Final = """
insert into leases (name, holder, until) values ('poller', $1, clock_timestamp() + make_interval(secs => $2))
on conflict (name) do update set holder = excluded.holder, until = excluded.until
  where leases.holder = excluded.holder or leases.until < clock_timestamp()
returning true"""
RELEASED: Final = "delete from leases where name = 'poller' and holder = $1"

REPORTED: Final = """
insert into reports (service, address, asked_at, answered_at, why, body)
select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::jsonb[])
on conflict (service, address) do update set asked_at = excluded.asked_at, why = excluded.why,
  answered_at = coalesce(excluded.answered_at, reports.answered_at),
  body = case when excluded.answered_at is null then reports.body else excluded.body end"""
# An address that is not asked any more: the process has gone, and its name with it.
UNASKED: Final = "delete from reports where asked_at < $1::timestamptz - interval '1 minute'"
REPORTS: Final = (
    "select service, address, asked_at, answered_at, why, body::text from reports order by service, address"
)

POLLED: Final = "select max(asked_at) as at from reports"

FLOWED: Final = """
insert into flows (one, at, body) values (true, $1, $2::jsonb)
on conflict (one) do update set at = excluded.at, body = excluded.body"""
FLOWS: Final = "select at, body::text from flows"

# A row is written again with more values: a place that has none now keeps the value that it had.
KEPT: Final = """
insert into series_rows as r (series, step_seconds, begins_at, values) values ($1, $2, $3, $4)
on conflict (series, step_seconds, begins_at) do update set values = (
  select array_agg(coalesce(n, o) order by place)
  from unnest(excluded.values, r.values) with ordinality as u (n, o, place))"""
READ: Final = """
select series, begins_at, values from series_rows
where series = any($1::text[]) and step_seconds = $2 and begins_at >= $3 and begins_at < $4"""
ALL: Final = "select distinct series from series_rows where step_seconds = $1 and begins_at >= $2 and begins_at < $3"
PRUNED: Final = "delete from series_rows where step_seconds = $1 and begins_at < clock_timestamp() - $2::interval"


# -- who polls --------------------------------------------------------------------------------------------------------


async def leased(app: App, holder: UUID) -> bool:
    """Returns whether this process polls for the next LEASE_SECONDS: one of a deployment does."""
    return bool(await app.fetch(LEASED, str(holder), LEASE_SECONDS))


async def released(app: App, holder: UUID) -> None:
    await app.fetch(RELEASED, str(holder))


# -- now --------------------------------------------------------------------------------------------------------------


async def report(app: App, reports: Sequence[Report], at: datetime) -> None:
    """A process that has not answered keeps what it answered before, and when."""
    columns = zip(*((one.service, one.address, one.asked_at, one.answered_at, one.why, orjson.dumps(one.body).decode())
                    for one in reports), strict=True)  # fmt: skip
    if reports:
        await app.fetch(REPORTED, *map(list, columns))
    await app.fetch(UNASKED, at)


async def polled_at(app: App) -> datetime | None:
    """Returns when the processes were asked last; null: never."""
    [row] = await app.fetch(POLLED)
    at: datetime | None = row["at"]
    return at


async def reports(app: App) -> list[Report]:
    return [Report(**{**row, "body": orjson.loads(row["body"])}) for row in await app.fetch(REPORTS)]


async def flowed(
    app: App, flows: Mapping[str, Mapping[str, Flow]], topics: Mapping[str, float | None], at: datetime
) -> None:
    groups = {
        group: {topic: [one.lag, one.produced, one.consumed] for topic, one in by_topic.items()}
        for group, by_topic in flows.items()
    }
    await app.fetch(FLOWED, at, orjson.dumps({"groups": groups, "topics": topics}).decode())


async def flows(app: App) -> tuple[datetime | None, dict[str, dict[str, Flow]], dict[str, float | None]]:
    """Returns when the broker answered last, the flow by group and topic, and the records per second by topic."""
    found = await app.fetch(FLOWS)
    if not found:
        return None, {}, {}
    body: Mapping[str, Any] = orjson.loads(found[0]["body"])
    groups = {
        group: {topic: Flow(*one) for topic, one in by_topic.items()} for group, by_topic in body["groups"].items()
    }
    return found[0]["at"], groups, body["topics"]


# -- values over time -------------------------------------------------------------------------------------------------


async def keep(app: App, points: Sequence[Point]) -> None:
    async def write(tx: Connection) -> None:
        await tx.executemany(KEPT, rows(points))

    if points:
        await app.write(write)


async def values(
    app: App, series: Sequence[str], step: Step, begins_at: datetime, count: int
) -> dict[str, list[float | None]]:
    """Returns `count` values of each series, null where it has none."""
    first, _ = step.place(begins_at)
    behind = begins_at + timedelta(seconds=count * step.seconds)
    by_series: dict[str, dict[datetime, Sequence[float | None]]] = {one: {} for one in series}
    for row in await app.fetch(READ, list(series), step.seconds, first, behind):
        by_series[row["series"]][row["begins_at"]] = row["values"]
    return {one: window(found, step, begins_at, count) for one, found in by_series.items()}


async def names(app: App, step: Step, begins_at: datetime, ends_at: datetime) -> list[str]:
    """Returns the series that have values in a window, or near it."""
    first, _ = step.place(begins_at)
    return [row["series"] for row in await app.fetch(ALL, step.seconds, first, ends_at)]


async def prune(app: App) -> None:
    for step in STEPS:
        await app.fetch(PRUNED, step.seconds, step.kept + timedelta(seconds=step.row_seconds))
