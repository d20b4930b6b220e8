"""Loops beside the work: they update gauges, compare clocks, measure the lag, and pause the intake."""

import asyncio
import time

import structlog

from chassis.batch.errors import is_transient
from chassis.journal import OUTBOX_AGE
from chassis.kafka.consumer import Consumer
from chassis.process.parts import Parts

log = structlog.get_logger("chassis.process.watch")

OBSERVED = f"""
select (select count(*) from (select 1 from outbox limit 100000) o) as outbox_rows,
  (select count(*) from outbox_set_aside) as set_aside,
  ({OUTBOX_AGE}) as outbox_age,
  (select count(*) from parked where state = 'waiting') as parked,
  (select count(*) from parked_keys) as parked_keys,
  (select count(*) from timers where due_at < now() - interval '10 seconds') as overdue,
  (select count(*) from (select 1 from tasks limit 100000) t) as tasks"""

COUNT_SECONDS = 15
"""Between two counts of running processes."""


async def observe(app: Parts) -> None:
    """Update the gauges every two seconds; running processes, which have to be counted, every fifteen."""
    metrics = app.metrics
    counted_at = float("-inf")
    while True:
        try:
            async with app.database.queries.connection() as connection:
                row = await connection.fetchrow(OBSERVED)
                if app.service.processes is not None and time.monotonic() - counted_at > COUNT_SECONDS:
                    metrics.under_way(await connection.fetch(app.service.processes))
                    counted_at = time.monotonic()
            assert row is not None
            metrics.outbox_rows.set(row["outbox_rows"])
            metrics.outbox_age.set(row["outbox_age"])
            metrics.set_aside.set(row["set_aside"])
            metrics.parked_waiting.set(row["parked"])
            metrics.parked_keys.set(row["parked_keys"])
            metrics.timers_overdue.set(row["overdue"])
            metrics.tasks_open.set(row["tasks"])
        except Exception as error:
            if not is_transient(error):
                raise  # a database that is away delays a gauge; any other error is a fault
        await asyncio.sleep(2)  # gauges: nothing waits for them


CLOCK_SECONDS = 2.0
"""Between two readings of the database's clock."""


async def watch_clock(app: Parts) -> None:
    """Read the database's clock every two seconds; log when the host's clock begins or ceases to differ from it."""
    differed = False
    while True:
        try:
            clock = await app.database.read_clock()
            await app.certify()
            if clock.differs and not differed:
                log.error("clock_differs", detail=clock.explained())
            elif differed and not clock.differs:
                log.warning("clock_agrees_again", skew_seconds=round(clock.skew, 3))
            differed = clock.differs
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(CLOCK_SECONDS)


async def watch_lag(consumer: Consumer) -> None:
    """Measure the lag every two seconds, independent of all other work."""
    while True:
        await consumer.measure_lag()
        await asyncio.sleep(2)


async def watch_offsets(consumer: Consumer) -> None:
    """Commit what was handled once a second, and as soon as no more records come."""
    while True:
        await asyncio.sleep(0.2)
        await consumer.commit_if_due()


async def watch_intake(app: Parts, consumer: Consumer) -> None:
    """Pause intake topics while the outbox is old or enough processes run, so that started orders finish first."""
    settings, in_flight = app.settings, app.service.in_flight
    while app.service.intake:
        await asyncio.sleep(0.2)
        try:
            async with app.database.connection() as connection:
                age = await connection.fetchval(OUTBOX_AGE)
                running = await connection.fetchval(in_flight, settings.intake_in_flight_max) if in_flight else 0
        except Exception as error:
            if not is_transient(error):
                raise
            continue
        consumer.pause_intake(age > settings.intake_outbox_age_seconds_max or running >= settings.intake_in_flight_max)
