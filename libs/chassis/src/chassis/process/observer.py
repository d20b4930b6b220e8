"""Reads what waits in the database of a service: for the gauges, and for `GET /v1/operations`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from chassis.batch.database import Database
from chassis.declare.service import Service
from chassis.journal import OUTBOX_AGE

READ_SECONDS: Final = 2.0
"""Between two reads."""
COUNT_SECONDS: Final = 15.0
"""Between two counts of what is under way: they read many rows."""
READ: Final = f"""
select clock_timestamp() as at, current_setting('server_version') as postgresql,
  (select count(*) from (select 1 from outbox limit 100000) o) as outbox_rows,
  (select count(*) from outbox_set_aside) as set_aside,
  ({OUTBOX_AGE}) as outbox_age_seconds,
  (select count(*) from parked where state = 'waiting') as parked,
  (select count(*) from parked_keys) as parked_keys,
  (select min(since) from parked_keys) as parked_since,
  (select count(*) from timers where due_at < now() - interval '10 seconds') as timers_overdue,
  (select count(*) from (select 1 from tasks limit 100000) t) as tasks"""


class Read(NamedTuple):
    """The columns of `READ`."""

    at: datetime
    postgresql: str
    outbox_rows: int
    set_aside: int
    outbox_age_seconds: float
    parked: int
    parked_keys: int
    parked_since: datetime | None
    timers_overdue: int
    tasks: int


class UnderWay(NamedTuple):
    """The columns of `Service.processes`."""

    step: str
    waiting: str
    number: int
    age_seconds: float
    """Age of the oldest one."""


class Observation(NamedTuple):
    read: Read
    under_way: Sequence[UnderWay]
    counted_at: datetime

    def oldest_since(self, one: UnderWay) -> datetime:
        return self.counted_at - timedelta(seconds=one.age_seconds)


class Observer:
    def __init__(self, service: Service, database: Database) -> None:
        self._service, self._database = service, database
        self._last: Observation | None = None
        self._read_at = self._counted_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def latest(self) -> Observation:
        """Returns an observation that is at most READ_SECONDS old, its counts at most COUNT_SECONDS. Raises QueryTimedOut, or a
        transient error."""
        async with self._one_at_a_time:
            if self._last is None or time.monotonic() - self._read_at >= READ_SECONDS:
                self._last = await self._observe()
                self._read_at = time.monotonic()
            return self._last

    async def _observe(self) -> Observation:
        async with self._database.queries.connection() as connection:
            row = await connection.fetchrow(READ)
            assert row is not None
            read = Read(*row)
            if self._last is not None and time.monotonic() - self._counted_at < COUNT_SECONDS:
                return self._last._replace(read=read)
            rows = await connection.fetch(self._service.processes) if self._service.processes is not None else ()
        self._counted_at = time.monotonic()
        return Observation(read, [UnderWay(*row) for row in rows], read.at)
