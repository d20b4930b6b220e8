"""The overview: what is polled and stored, and the page; on a real PostgreSQL, needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from console_world import STORE, Browser, Life, Publisher, emptied
from reports_world import body, report

from chassis.process.app import App
from console import recording, reporting, throughput
from console.api.overview import cells
from console.api.rendering import Templates
from console.assets import Assets
from console.domain.offsets import Flow
from console.domain.operations import Report, values_of
from console.domain.overview import PLOTS
from console.domain.people import Grant, Person
from console.domain.series import HOUR, MINUTE, POLL, Point
from console.live.hub import Audience
from console.live.operations import OperationsSource
from console.live.watcher import Watcher
from console.owners import Owners
from console.polling import Poller
from console.settings import Owner, Settings
from contracts import invoicing, orders
from contracts.snapshot import Address, Buyer
from tests.waiting import PATIENCE_SECONDS, patience

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "inbox", "leases", "reports", "flows", "series_rows")


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    async with emptied(TABLES) as app:
        yield app


@pytest.fixture
def publisher(app: App) -> Publisher:
    return Publisher(app)


@pytest_asyncio.fixture
async def browser(app: App) -> Browser:
    browser = Browser(app)
    await browser.sign_in()
    return browser


def figure(page: str, label: str) -> str:
    """The figure of a label, and what is beside it, without markup."""
    [found] = re.findall(rf"<dt>(?:<a[^>]*>)?{label}(?:</a>)?</dt>(.*?)</div>", page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found).split())


# -- the page ---------------------------------------------------------------------------------------------------------


async def test_a_system_without_orders_states_what_to_do_next(browser: Browser) -> None:
    page = await browser.get("/")
    assert page.status == 200
    for part in ("No order has arrived yet", "POST /v1/orders", "nothing has been read yet", "CONSOLE_ORDERS_URL"):
        assert part in page.text
    assert figure(page.text, "Lag") == "– Kafka does not answer"
    assert page.text.count("No value yet") == len(PLOTS)


async def test_the_figures_are_those_of_the_processes_that_answer(
    app: App, publisher: Publisher, browser: Browser
) -> None:
    await publisher.publish(Life().received())
    since = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    held = {"step": "place.reserve", "waiting": "no_answer", "count": 1_234, "oldest_since": since}
    waits = {"waiting": 3, "keys": 2, "oldest_since": since}
    back = {"step": "return", "waiting": "person", "count": 1, "oldest_since": since}
    hooks = {"breakers_open": 2, "deliveries_waiting": 40}
    shown = [
        report(address="10.0.0.1:80", process="a:1", processes={"counted_at": since, "items": [held]}, parked=waits),
        report(address="10.0.0.2:80", process="a:2", processes={"counted_at": since, "items": [held]}, parked=waits),
        report("webhooks", "10.0.0.3:80", process="h:1", gauges=hooks),
        report("webhooks", "10.0.0.4:80", process="h:2", gauges=hooks),
        report("webhooks", "10.0.0.5:80", process="h:2", gauges=hooks),  # the same process, by another address
        report("payments", "10.0.0.6:80", process="p:2", processes={"counted_at": since, "items": [back]}),
        report("payments", silent_seconds=30, outbox={"rows": 77, "oldest_since": since, "set_aside": 0}),
    ]
    await recording.report(app, shown, datetime.now(UTC))
    flows = {
        "orders": {"payments.events.v1": Flow(600, 5.0, 15.0), "invoicing.events.v1": Flow(0, 0.0, 0.0)},
        "console": {"orders.events.v1": Flow(30, 5.0, 5.0)},
    }
    await recording.flowed(app, flows, {"payments.events.v1": 5.0}, datetime.now(UTC))
    page = (await browser.get("/")).text
    assert figure(page, "Under way") == "1,235 oldest 3 min ago"
    assert figure(page, "Parked").endswith("3 2 orders wait behind")
    assert figure(page, "Endpoints failing").endswith("4 80 deliveries wait")
    assert figure(page, "Lag") == "630 records to handle"
    assert figure(page, "Outbox") == "0 all is published", "payments is silent: what it had is not what it has"
    assert "payments is silent" in page and "orders is silent" not in page
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    assert "orders 600 5.0 15.0 1 min" in rows
    assert "console 30 5.0 5.0 not shrinking" in rows
    assert "place.reserve no answer 1,234 3 min ago" in rows and "return payments person 1 3 min ago" in rows
    assert '<a href="/payments/sessions?prepayment=retained"><code>return</code>' in page, "what a person has to settle"
    assert "No order has arrived yet" not in page and "nothing has been read yet" not in page


async def test_a_page_without_a_worker_states_how_old_it_is(app: App, browser: Browser) -> None:
    await recording.report(app, [report()], datetime.now(UTC))
    await app.fetch(
        "update reports set asked_at = asked_at - interval '1 minute', answered_at = answered_at - interval '1 minute'"
    )
    page = (await browser.get("/")).text
    assert "1 min ago" in page and "orders is silent" not in page


async def test_people_of_single_stores_begin_at_their_orders(app: App) -> None:
    browser = Browser(app)
    await browser.sign_in("administrator", stores=[STORE])
    page = await browser.get("/")
    assert (page.status, page.location) == (303, "/orders")
    assert ">Overview</a>" not in (await browser.get("/orders")).text


async def test_an_unknown_span_is_refused(browser: Browser) -> None:
    page = await browser.get("/?span=2h")
    assert page.status == 400 and "span" in page.text


async def test_plots_have_their_values_as_a_table_a_gap_and_no_style_of_their_own(app: App, browser: Browser) -> None:
    at = MINUTE.floor(datetime.now(UTC)) - timedelta(minutes=20)
    answered = [n for n in range(300) if not 100 <= n < 200]  # silent for 200 s
    await recording.keep(app, [Point("lag.orders", POLL, at + timedelta(seconds=2 * n), 10_000 + n) for n in answered])
    await recording.keep(app, [Point("orders.in", MINUTE, at + timedelta(minutes=n), 7) for n in range(10)])
    page = (await browser.get("/")).text
    assert page.count('class="plot"') == len(PLOTS) and "style=" not in page
    [lag] = re.findall(r'<figure class="panel" id="lag">.*?</figure>', page, re.DOTALL)
    assert lag.count('class="gap"') == 2, "the silence, and the time since"
    assert "orders: 10,300, at most 10,300; payments: nothing" in re.sub(r"10,299|1\.03e\+04", "10,300", lag)
    assert re.search(r"<tr><th scope=\"row\">[^<]+</th><td class=\"amount\">1.03e\+04|10,29\d", lag)
    [per_minute] = re.findall(r'<figure class="panel" id="orders">.*?</figure>', page, re.DOTALL)
    assert per_minute.count('<td class="amount">7</td>') == 10
    for span in ("24h", "30d"):
        assert (await browser.get(f"/?span={span}")).status == 200


# -- what is stored -----------------------------------------------------------------------------------------------------


async def test_values_are_added_to_a_row_and_later_ones_replace_earlier_ones(app: App) -> None:
    at = datetime(2026, 11, 21, 10, tzinfo=UTC)

    async def keep(*values: tuple[int, float]) -> None:
        await recording.keep(
            app, [Point("lag.orders", POLL, at + timedelta(seconds=2 * n), value) for n, value in values]
        )

    await keep((0, 1), (1, 2))
    await keep((1, 3), (3, 4), (300, 5))
    found = await recording.values(app, ["lag.orders", "lag.payments"], POLL, at - timedelta(seconds=2), 6)
    assert found == {"lag.orders": [None, 1, 3, None, 4, None], "lag.payments": [None] * 6}
    assert [len(row["values"]) for row in await app.fetch("select values from series_rows")] == [300, 300]


async def test_a_minute_has_the_peak_of_its_values_and_an_hour_that_of_its_minutes(app: App) -> None:
    hour = HOUR.floor(datetime.now(UTC)) - timedelta(hours=2)
    values = {"lag.orders": lambda n: n % 900, "topic.a": lambda n: float(n % 2)}
    points = [
        Point(name, POLL, hour + timedelta(seconds=2 * n), of(n)) for name, of in values.items() for n in range(1_800)
    ]
    await recording.keep(app, [point for point in points if point.at.minute != 5])
    async with aiohttp.ClientSession() as session:
        poller = Poller(app, session, Owners(cast(Settings, app.settings)))
        for minute in range(1, 61):
            await poller.keep(hour + timedelta(minutes=minute, seconds=3))
    found = await recording.values(app, list(values), MINUTE, hour, 60)
    assert found["lag.orders"][:7] == [29, 59, 89, 119, 149, None, 209]
    assert found["topic.a"][0] == 0.5, "the mean of a rate"
    hours = await recording.values(app, list(values), HOUR, hour, 1)
    assert hours == {"lag.orders": [899], "topic.a": [0.5]}


async def test_old_values_are_deleted_and_others_stay(app: App) -> None:
    now = datetime.now(UTC)
    ages = {POLL: timedelta(hours=26), MINUTE: timedelta(days=31), HOUR: timedelta(days=41)}
    await recording.keep(app, [Point("lag.orders", step, now - age, 1) for step, age in ages.items()])
    await recording.keep(app, [Point("lag.orders", step, now - step.kept, 1) for step in ages])
    await recording.prune(app)
    assert [row[0] for row in await app.fetch("select step_seconds from series_rows order by 1")] == [2, 60, 3_600]


async def test_one_process_of_a_deployment_polls(app: App) -> None:
    first, second = uuid4(), uuid4()
    assert await recording.leased(app, first) and not await recording.leased(app, second)
    assert await recording.leased(app, first)
    await app.fetch("update leases set until = now() - interval '1 second'")
    assert await recording.leased(app, second) and not await recording.leased(app, first)
    await recording.released(app, second)
    assert await recording.leased(app, first)


async def test_a_process_that_is_not_asked_any_more_is_left_out_after_a_minute(app: App) -> None:
    now = datetime.now(UTC)
    await recording.report(app, [report(address="10.0.0.1:80"), report(address="10.0.0.2:80")], now)
    silent = Report("orders", "10.0.0.1:80", now, None, "no answer within 1.5 s", {})
    await recording.report(app, [silent], now)
    kept, gone = await recording.reports(app)
    assert (kept.why, kept.answered_at is None, kept.body["service"]) == ("no answer within 1.5 s", False, "orders")
    later = now + timedelta(minutes=2)
    await recording.report(app, [replace(silent, asked_at=later)], later)
    assert [one.address for one in await recording.reports(app)] == [kept.address], gone


async def test_orders_are_counted_by_the_minute_of_their_events(app: App, publisher: Publisher) -> None:
    minute = MINUTE.floor(publisher.at) + timedelta(minutes=1)
    for n in range(4):
        publisher.at = minute + timedelta(seconds=10 * n)
        life = Life(number=f"A-{n}")
        await publisher.publish(life.received(test=n == 3))
        if n < 2:
            done = {"completed_at": minute + timedelta(seconds=75), "grand_minor": 20_00, "currency": "EUR"}
            await publisher.publish(
                issued(life, minute + timedelta(seconds=60 + 20 * n)), life.next(orders.Completed, **done)
            )
    found = {
        (point.series, point.at): point.value
        for point in await throughput.points(app, minute, minute + timedelta(minutes=3))
    }
    after = minute + timedelta(minutes=1)
    assert [found["orders.in", at] for at in (minute, after)] == [3, 0], "without the test order"
    assert [found["orders.out", at] for at in (minute, after)] == [0, 2]
    invoiced = sorted(row[0] for row in await app.fetch(
        "select extract(epoch from invoiced_at - received_at)::float8 from order_rows where invoiced_at is not null"))  # fmt: skip
    assert (found["invoiced.p50", after], found["invoiced.p99", after]) == tuple(invoiced)
    assert ("invoiced.p50", minute) not in found


def issued(life: Life, at: datetime) -> Any:
    seller = invoicing.Seller(code="shop", name="Shop", address=Address(), vat_number="X", time_zone="Europe/Vienna")
    return life.next(
        invoicing.Issued, invoice_id=uuid4(), capture_id=uuid4(), series="R", number=f"R{life.number}", sequence=1, issued_at=at,
        order_number=life.number, order_placed_at=at, price_basis="gross", buyer=Buyer(), issued_on=at.date(), currency="EUR", net_minor=20_00, vat_minor=0, total_minor=20_00, vat=(), lines=(), seller=seller,
    )  # fmt: skip


# -- who is asked -----------------------------------------------------------------------------------------------------


async def test_each_process_is_asked_with_the_key_and_one_that_does_not_answer_costs_no_other_its_report() -> None:
    asked: list[tuple[str, str]] = []

    async def operations(request: web.Request) -> web.Response:
        asked.append((request.headers["authorization"], request.headers["host"]))
        return web.json_response(body("orders"))

    async def another_release(_: web.Request) -> web.Response:
        return web.json_response({"service": "payments"})

    good, odd, shut = web.Application(), web.Application(), web.Application()
    good.router.add_get("/v1/operations", operations)
    odd.router.add_get("/v1/operations", another_release)
    runners = [web.AppRunner(one) for one in (good, odd, shut)]
    ports = []
    for runner in runners:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    owners = {
        "orders": Owner(urls[0], "key", (f"http://localhost:{ports[0]}", "http://127.0.0.1:1")),
        "payments": Owner(urls[1], "key", (urls[1],)),
        "invoicing": Owner(urls[2], "key", (urls[2],)),
        "webhooks": Owner("http://nowhere.invalid", "key", ("http://nowhere.invalid",)),
    }
    try:
        async with aiohttp.ClientSession() as session:
            found = await reporting.ask_all(session, owners)
    finally:
        for runner in runners:
            await runner.cleanup()
    assert asked == [("Bearer key", f"localhost:{ports[0]}")]
    assert [(one.service, one.answered_at is not None) for one in found] == [
        ("orders", True), ("orders", False), ("payments", False), ("invoicing", False), ("webhooks", False),
    ]  # fmt: skip
    assert "cannot be reached" in found[1].why and found[2].why == "its answer is of another release"
    assert found[3].why == "it answered 404" and "no address" in found[4].why
    assert values_of(found, {}, {}) == {
        "outbox.orders": 0, "parked.orders": 0, "tasks.orders": 0, "processes.orders": 0
    }  # fmt: skip


def test_processes_are_named_one_by_one_or_found_by_the_address_of_the_service() -> None:
    base = {
        "orders_url": "http://orders:8000",
        "orders_api_key": "k",
        "payments_url": "http://p",
        "payments_api_key": "k",
    }
    settings = Settings(database_url="postgresql://x", orders_process_urls="http://a:1, http://b:2/,", **base)
    assert settings.owners["orders"].process_urls == ("http://a:1", "http://b:2")
    assert settings.owners["payments"].process_urls == ("http://p",)
    with pytest.raises(ValueError, match="orders_process_urls"):
        Settings(database_url="postgresql://x", orders_process_urls="http://a:1,not a url", **base)


# -- live -------------------------------------------------------------------------------------------------------------


async def test_an_open_page_receives_its_figures_when_the_processes_were_asked_again(
    app: App, browser: Browser
) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    source = OperationsSource(app, lambda: cells(app, Templates(Assets(), now), now()))
    person = Person(uuid4(), "ann", "ann", (Grant("viewer", None),))
    assert list(await source.admitted(person, {"operations:", "operations:x"})) == ["operations:"]
    assert (
        list(await source.admitted(replace(person, grants=(Grant("viewer", frozenset({STORE})),)), {"operations:"}))
        == []
    )
    watcher = Watcher(person, frozenset({"operations:"}), "")
    audience = Audience(source.name)
    audience.join(watcher)
    running = asyncio.create_task(source.run(audience))
    try:
        for rows in (3, 4):
            await recording.report(
                app, [report(outbox={"rows": rows, "oldest_since": None, "set_aside": 0})], datetime.now(UTC)
            )
            async with patience():
                received = ""
                while f">{rows}</dd>" not in received:
                    await watcher.wait(PATIENCE_SECONDS)
                    received = json.loads(re.findall(r"^data: (.*)$", watcher.take().decode(), re.MULTILINE)[-1])[
                        "cells"
                    ]["outbox"]
    finally:
        running.cancel()
