"""How many orders a minute has brought and completed, and how long they took from their arrival to their invoice.

A minute is counted once the lists have every event of it, from their rows: a console that was away counts the last hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from chassis.declare.app import App
from console.domain.series import MINUTE, Point, percentile

BACK: Final = timedelta(hours=1)
"""Older minutes are not counted any more."""
# A row that has something of a minute has changed since: the index of `changed_at` finds it. A document may be dated after the
# event that states it by as much as it takes to issue the one before.
RECENT: Final = "from order_rows where changed_at >= $1::timestamptz - interval '10 seconds' and not test"
RECEIVED: Final = f"""
select date_trunc('minute', received_at) as minute, count(*) as value {RECENT} and received_at >= $1 and received_at < $2
group by 1"""
COMPLETED: Final = f"""
select date_trunc('minute', completed_at) as minute, count(*) as value {RECENT} and completed_at >= $1 and completed_at < $2
group by 1"""
INVOICED: Final = f"""
select date_trunc('minute', invoiced_at) as minute, array_agg(extract(epoch from invoiced_at - received_at)::float8) as value
{RECENT} and invoiced_at >= $1 and invoiced_at < $2 and received_at is not null group by 1"""


def whole_minutes(counted_to: datetime | None, current_to: datetime) -> tuple[datetime, datetime]:
    """Returns the begin of the first minute to count and the end of the last; both are equal if there is none."""
    ends_at = MINUTE.floor(current_to)
    return min(max(counted_to or ends_at - BACK, ends_at - BACK), ends_at), ends_at


async def points(app: App, begins_at: datetime, ends_at: datetime) -> list[Point]:
    """Returns the values of each minute from `begins_at` on."""
    received, completed, invoiced = [
        {row["minute"]: row["value"] for row in await app.fetch(sql, begins_at, ends_at)}
        for sql in (RECEIVED, COMPLETED, INVOICED)
    ]
    minutes = int((ends_at - begins_at) / timedelta(minutes=1))
    return list(_points((begins_at + timedelta(minutes=n) for n in range(minutes)), received, completed, invoiced))


def _points(
    minutes: Iterable[datetime], received: Mapping[datetime, int], completed: Mapping[datetime, int],
    invoiced: Mapping[datetime, Sequence[float]],
) -> Iterable[Point]:  # fmt: skip
    for at in minutes:
        yield Point("orders.in", MINUTE, at, received.get(at, 0))
        yield Point("orders.out", MINUTE, at, completed.get(at, 0))
        for name, share in (("invoiced.p50", 0.5), ("invoiced.p99", 0.99)):
            if (seconds := percentile(invoiced.get(at, ()), share)) is not None:
                yield Point(name, MINUTE, at, seconds)
