"""Health, metrics and operations of a process: what it waits for, and why it is not ready."""

import asyncio
import dataclasses
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from chassis_client import Client
from chassis_counter import SERVICE, STORE, World, plus
from prometheus_client import Gauge
from structlog.testing import capture_logs

from chassis.batch.parking import Rejected
from chassis.kafka.consumer import Consumer
from chassis.process import watch
from chassis.process.app import App
from chassis.process.observer import READ_SECONDS, Observer
from tests.waiting import patience

pytestmark = pytest.mark.real


@pytest.mark.parametrize("seconds", [-172_800, -30, 30, 3_600])
async def test_a_host_whose_clock_differs_from_the_databases_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    host = time.time
    assert (await client("GET", "/health/ready")).status == 200
    monkeypatch.setattr(time, "time", lambda: host() + seconds)
    answer = await client("GET", "/health/ready")
    assert (answer.status, answer.json["for"]) == (503, "clock")
    assert ("behind" if seconds < 0 else "ahead of") in answer.json["detail"]
    text = (await client("GET", "/metrics")).body.decode()
    [skew] = [line.split()[1] for line in text.splitlines() if line.startswith("tradewind_clock_skew_seconds{")]
    assert float(skew) == pytest.approx(seconds, abs=10)
    with capture_logs() as logged:
        watching = asyncio.create_task(watch.watch_clock(client.app))
        async with patience():
            while not logged:
                await asyncio.sleep(0.01)
        watching.cancel()
    assert (logged[0]["event"], logged[0]["log_level"]) == ("clock_differs", "error")
    monkeypatch.undo()
    assert (await client("GET", "/health/ready")).status == 200


async def test_health_and_metrics_need_no_key_and_an_api_is_ready_without_a_broker(client: Client) -> None:
    assert (await client("GET", "/health/live")).json == {"status": "live"}
    assert (await client("GET", "/health/ready")).json == {"status": "ready", "consuming": False}
    text = (await client("GET", "/metrics")).body.decode()
    assert 'tradewind_outbox_age_seconds{service="counter"}' in text


async def test_operations_show_what_waits_since_when_and_for_what(client: Client, world: World) -> None:
    processes = "select 'count.ask', 'no_answer', count(*), 700::float8 from counters"
    client.app.observer = Observer(dataclasses.replace(SERVICE, processes=processes), client.app.database)
    create = client.app.keys.create
    operator, tenant = await create(None, "console", ["operations.view"]), await create(STORE, "till", ["orders.view"])
    assert (await client("GET", "/v1/operations", key=tenant)).json["type"] == "/problems/scope_missing"
    await world.tell(plus(uuid4(), play="ask"), plus(uuid4()))
    unreadable = world.from_topic(plus(uuid4()))
    assert unreadable.record is not None
    await world.take(Rejected(unreadable.record, unreadable.key, "bad_json", "no", STORE, unreadable.type))
    await world.do("update journal set at = at - interval '1 minute'")
    since = datetime.now(UTC)
    Gauge("tradewind_doors_open", "A gauge of the service", ("service",), registry=client.app.registry).labels(
        "counter"
    ).set(3)

    shown = (await client("GET", "/v1/operations", key=operator)).json
    assert (shown["service"], shown["role"], shown["ready"], shown["consumer"]) == ("counter", "api", True, None)
    assert shown["started_at"] < shown["at"] and set(shown["versions"]) == {"tradewind", "python", "postgresql"}
    at = datetime.fromisoformat(shown["at"])
    assert shown["outbox"]["rows"] == 1 and shown["outbox"]["set_aside"] == 0
    assert at - datetime.fromisoformat(shown["outbox"]["oldest_since"]) >= timedelta(minutes=1)
    assert (shown["parked"]["waiting"], shown["parked"]["keys"], shown["tasks_open"]) == (1, 1, 1)
    assert abs(datetime.fromisoformat(shown["parked"]["oldest_since"]) - since) < timedelta(minutes=1)
    [under_way] = shown["processes"]["items"]
    counted = datetime.fromisoformat(shown["processes"]["counted_at"])
    assert counted - datetime.fromisoformat(under_way.pop("oldest_since")) == timedelta(seconds=700)
    assert under_way == {"step": "count.ask", "waiting": "no_answer", "count": 1}
    reads = next(pool for pool in shown["pools"] if pool["name"] == "reads")
    assert shown["gauges"] == {"doors_open": 3.0}, "without those of the chassis"
    assert 0 == reads["in_use"] < reads["connections"] <= reads["connections_max"]

    await world.do("delete from parked_keys")
    assert (await client("GET", "/v1/operations", key=operator)).json["at"] == shown["at"], "read every two seconds"
    client.app.observer._read_at -= READ_SECONDS
    client.app.consumer = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics)
    later = (await client("GET", "/v1/operations", key=operator)).json
    assert later["at"] > shown["at"] and later["processes"]["counted_at"] == shown["processes"]["counted_at"]
    assert later["parked"] == {"waiting": 1, "keys": 0, "oldest_since": None}
    assert later["consumer"] == {
        "group": "counter", "joined": False, "lag": 0, "oldest_since": None, "intake_paused": False, "trouble": None,
    }  # fmt: skip


async def test_without_a_database_a_service_says_that_it_waits(world: World) -> None:
    away = App(
        SERVICE, world.settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"}), "api"
    )
    client = Client(away)
    ready = await client("GET", "/health/ready")
    assert (ready.status, ready.json["for"]) == (503, "database")
    refused = await client("GET", "/v1/parked", key="tw_a_b")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    await away.database.close()


async def test_a_process_whose_topics_cannot_be_read_or_whose_start_failed_is_not_ready(client: Client) -> None:
    """Promise 7: with the reason, until it is over."""
    app = client.app
    app.start_failed = "ValueError('the own topic does not fit')"
    answer = await client("GET", "/health/ready")
    assert (answer.status, answer.json["for"], answer.json["detail"]) == (503, "topics", app.start_failed)
    app.start_failed = None
    app.consumer = Consumer(SERVICE, app.settings, app.database, app.shell, app.metrics)
    assert (await client("GET", "/health/ready")).status == 200
    app.consumer.reads.trouble = "UnicodeDecodeError()"
    answer = await client("GET", "/health/ready")
    assert (answer.status, answer.json["detail"]) == (503, "UnicodeDecodeError()")
    app.consumer = None
