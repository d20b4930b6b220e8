"""Loops beside the work: they update gauges, compare clocks, measure the lag, and pause the intake."""

import asyncio

import structlog

from chassis.batch.errors import is_transient
from chassis.journal import OUTBOX_AGE
from chassis.kafka.consumer import Consumer
from chassis.process.observer import READ_SECONDS, Observation
from chassis.process.parts import Parts
from chassis.telemetry import Metrics

log = structlog.get_logger("chassis.process.watch")


async def observe(app: Parts) -> None:
    """Update the gauges every two seconds; those of running processes, which have to be counted, every fifteen."""
    while True:
        try:
            _show(app.metrics, await app.observer.latest())
        except Exception as error:
            if not is_transient(error):
                raise  # a database that is away delays a gauge; any other error is a fault
        await asyncio.sleep(READ_SECONDS)  # gauges: nothing waits for them


def _show(metrics: Metrics, observed: Observation) -> None:
    read = observed.read
    metrics.outbox_rows.set(read.outbox_rows)
    metrics.outbox_age.set(read.outbox_age_seconds)
    metrics.set_aside.set(read.set_aside)
    metrics.parked_waiting.set(read.parked)
    metrics.parked_keys.set(read.parked_keys)
    metrics.timers_overdue.set(read.timers_overdue)
    metrics.tasks_open.set(read.tasks)
    metrics.under_way(observed.under_way)


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


LAG_SECONDS = 2.0
"""Between two measurements of the lag."""


async def watch_lag(consumer: Consumer) -> None:
    """Measure the lag every two seconds, independent of all other work."""
    while True:
        await consumer.measure_lag()
        await asyncio.sleep(LAG_SECONDS)


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
