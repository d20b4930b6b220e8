"""Each alert of docs/operations.md, made to fire: by what it is there for, through the code that sets its series.

The page's table is walked: an alert without a case here, or with a condition that cannot be evaluated, fails.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from chassis_counter import COMMANDS, SERVICE, World, plus
from chassis_topics import renew_topic
from prometheus_client import generate_latest

from chassis.batch.parking import Rejected
from chassis.batch.shell import Shell
from chassis.declare.app import Outcome
from chassis.kafka.consumer import Consumer
from chassis.kafka.record_batches import Unread
from chassis.process import watch
from chassis.process.app import App
from devservices import KafkaServer
from tests.waiting import patience

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text().partition("\nSeries of webhooks")[0]
"""Up to the series that a service adds itself."""
ALERTS = {
    series: condition
    for series, condition in re.findall(r"^\| `(tradewind_\w+)` \| .*? \| ([^|]+?) \| [^|]+ \|$", PAGE, re.MULTILINE)
    if condition != "-"
}
Series = Mapping[str, float]
"""What /metrics shows: name with labels -> value."""


def total(shown: Series, name: str, label: str = "") -> float:
    return sum(value for key, value in shown.items() if key.partition("{")[0] == name and label in key)


def fires(series: str, condition: str, before: Series, after: Series) -> bool:
    """Whether the condition as the page words it holds; how long it has to hold is the alert manager's part."""
    value, was = total(after, series), total(before, series)
    if "no_answer" in condition:
        return total(after, series, 'waiting="no_answer"') > 0
    if both := re.match(r"above (\d+) or below -(\d+)", condition):
        return value > float(both[1]) or value < -float(both[2])
    if least := re.match(r"(?:over|above) (\d+)", condition):
        return value > float(least[1])
    if re.match(r"rising|a jump|by step, above what it usually takes", condition):
        return value > was
    if condition.startswith("1 for"):
        return value == 1
    if condition.startswith("p99 over 1 s"):
        return total(after, f"{series}_bucket", 'le="1.0"') < 0.99 * total(after, f"{series}_count") > 0
    if re.match(r"0 for .* while the lag is not", condition):
        return value == was and total(after, "tradewind_consumer_lag") > 0
    raise AssertionError(f"no rule evaluates the condition of {series}: {condition}")


@dataclass
class Stage:
    """A worker whose loops run, without HTTP, on a real database; `kafka` where a case needs topics."""

    world: World
    app: App
    request: pytest.FixtureRequest
    stack: AsyncExitStack
    loops: list[asyncio.Task[None]] = field(default_factory=list)

    def shown(self) -> dict[str, float]:
        lines = generate_latest(self.app.metrics.registry).decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def runs(self, loop: Any) -> None:
        task = asyncio.create_task(loop)
        self.loops.append(task)
        self.stack.callback(task.cancel)

    async def until(self, condition: Callable[[], bool]) -> None:
        """A loop that has ended fails the test with its error."""
        async with patience():
            while not condition():
                for loop in self.loops:
                    if loop.done():
                        loop.result()
                await asyncio.sleep(0.05)

    async def stuck_consumer(self, *, dated_back_seconds: int = 0) -> Consumer:
        """A member of the group whose first batch never ends.

        The topic is made anew with the senders' times: a test before, on this broker, may have made it with the broker's, as
        services do.
        """
        kafka: KafkaServer = self.request.getfixturevalue("kafka")
        await renew_topic(kafka.bootstrap_servers, COMMANDS, **{"message.timestamp.type": "CreateTime"})
        settings = self.app.settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
        service = replace(SERVICE, intake=frozenset({COMMANDS}))
        consumer = Consumer(service, settings, self.app.database, self.app.shell, self.app.metrics)
        await consumer.start()
        self.stack.push_async_callback(consumer.broker.stop)
        async with patience():
            await consumer.joined.wait()
            await consumer._busy.acquire()
        self.stack.callback(consumer._busy.release)
        self.runs(watch.watch_lag(consumer))
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            for _ in range(3):
                at = int((time.time() - dated_back_seconds) * 1000)
                sent = await producer.send_and_wait(COMMANDS, b"{}", key=str(uuid4()).encode(), timestamp_ms=at)
                assert sent.timestamp == at, "the broker has replaced the time that the alert is about"
        return consumer


@pytest_asyncio.fixture
async def stage(world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(watch, "LAG_SECONDS", 0.1)
    processes = "select 'count.ask', 'no_answer', count(*), 700::float8 from counters having count(*) > 0"
    app = App(replace(SERVICE, processes=processes), world.settings, "worker")
    app.shell = world.shell = Shell(SERVICE, world.database, app.metrics)
    world.serve()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.database.close)
        yield Stage(world, app, request, stack)


Case = Callable[[Stage], Awaitable[Any]]


async def _observed(stage: Stage, *messages: Any, sql: str = "") -> None:
    await stage.world.take(*messages)
    if sql:
        await stage.world.do(sql)
    stage.runs(watch.observe(stage.app))


def _refused(stage: Stage) -> Rejected:
    entry = stage.world.from_topic(plus(uuid4()))
    assert entry.record is not None
    return Rejected(entry.record, entry.key, "bad_json", "no", entry.store_id, entry.type)


def _message(stage: Stage, play: str = "") -> Any:
    return stage.world.from_topic(plus(uuid4(), play=play))


async def _gap(stage: Stage, cause: str) -> None:
    reads = Consumer(SERVICE, stage.app.settings, stage.app.database, stage.app.shell, stage.app.metrics).reads
    reads._report(Unread(COMMANDS, 1, 5, 7, cause, "no"))


async def _clock(stage: Stage) -> None:
    host = time.time
    stage.request.getfixturevalue("monkeypatch").setattr(time, "time", lambda: host() + 60)
    stage.runs(watch.watch_clock(stage.app))


async def _paused(stage: Stage) -> None:
    consumer = await stage.stuck_consumer()
    await stage.world.take(_message(stage))
    await stage.world.do("update journal set at = at - interval '1 minute'")
    stage.app.service = consumer.service
    stage.runs(watch.watch_intake(stage.app, consumer))


async def _slow(stage: Stage) -> None:
    stage.app.metrics.batch([Outcome("done")], 1, 1.5)


OLD_EVENT = "update journal set at = at - interval '1 minute'"
ASIDE = (
    "insert into outbox_set_aside select o.id, j.key, o.day, o.journal_id, 'too large' from outbox o"
    " join journal j on (j.day, j.id) = (o.day, o.journal_id)"
)
LATE = "insert into timers (key, aggregate, due_at) select key, 'counters', now() - interval '1 minute' from counters"

# fmt: off
CASES: dict[str, Case] = {
    "tradewind_outbox_age_seconds":       lambda s: _observed(s, _message(s), sql=OLD_EVENT),
    "tradewind_outbox_rows":              lambda s: _observed(s, _message(s)),
    "tradewind_outbox_set_aside":         lambda s: _observed(s, _message(s), sql=ASIDE),
    "tradewind_parked_waiting":           lambda s: _observed(s, _refused(s)),
    "tradewind_parked_keys":              lambda s: _observed(s, _refused(s)),
    "tradewind_messages_parked_total":    lambda s: _observed(s, _refused(s)),
    "tradewind_batches_unreadable_total": lambda s: _gap(s, "batch_unreadable"),
    "tradewind_records_missing_total":    lambda s: _gap(s, "records_missing"),
    "tradewind_consumer_lag_age_seconds": lambda s: s.stuck_consumer(dated_back_seconds=120),
    "tradewind_consumer_lag":             lambda s: s.stuck_consumer(),
    "tradewind_messages_handled_total":   lambda s: s.stuck_consumer(),
    "tradewind_intake_paused":            _paused,
    "tradewind_clock_skew_seconds":       _clock,
    "tradewind_timers_overdue":           lambda s: _observed(s, _message(s), sql=LATE),
    "tradewind_tasks_open":               lambda s: _observed(s, _message(s, "ask")),
    "tradewind_processes":                lambda s: _observed(s, _message(s)),
    "tradewind_process_age_seconds":      lambda s: _observed(s, _message(s)),
    "tradewind_batch_seconds":            _slow,
}
# fmt: on


def test_the_page_names_alerts() -> None:
    assert len(ALERTS) > 15, "the table is written otherwise; this test reads it"
    assert set(CASES) <= set(ALERTS), "a case of an alert that the page no longer names"


@pytest.mark.real
@pytest.mark.asyncio
@pytest.mark.parametrize("series", ALERTS)
async def test_the_alert_fires(series: str, stage: Stage) -> None:
    """Promise 7: silence on a board means that all is well."""
    before = stage.shown()
    assert series.startswith("tradewind_messages_handled") or not fires(series, ALERTS[series], before, before)
    await CASES[series](stage)
    await stage.until(lambda: fires(series, ALERTS[series], before, stage.shown()))
