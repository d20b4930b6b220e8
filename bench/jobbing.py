"""What a person does in the console, on the real system beside a million orders in its lists: a job that asks again for the payments of all
waiting orders, and the tasks of one order, one group of parked messages, one endpoint.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bench import helping
from bench.browsing import Browser, browsing
from bench.helping import GROUP_MESSAGES
from bench.projecting import rows
from bench.shop import STALLED_SECONDS, Shop, Stalled, report_of
from bench.workload import CHANNEL, STORE, Series
from chassis.http.auth import ACT_AS
from console.parked_orders import PAGE_KEYS, PAGES_MAX
from contracts.payments import RECORDED
from system.processes import CONSOLE, SAGA, WEBHOOKS

TASKS: Final = 40
"""Orders, groups and messages on which each task is done."""
SERIES: Final = Series("tasks")
WARM_UP: Final = 2
"""Orders before them, which warm the caches."""
LISTED: Final = f"select count(*) as n from order_rows where waiting = $1 and channel = '{CHANNEL}'"
MARKED: Final = "select count(*) as n from order_rows where waiting = 'parked'"
PENDING: Final = "select count(*) as n from orders where waiting = 'answer' and not in_flight"
JOB: Final = """
select j.state, j.why, extract(epoch from j.ended_at - j.started_at)::float8 as seconds, count(*) filter (where o.state = 'done') as done,
  count(*) filter (where o.state <> 'waits') as ended
from jobs as j left join job_items as o on o.job_id = j.id where j.id = $1::uuid group by j.id"""


@dataclass(frozen=True)
class JobRun:
    """A job of `orders` orders, and the tasks of a person."""

    orders: int
    listed_seconds: float
    """From the first snapshot until the lists show that all of them wait."""
    preview_ms: float
    """The page that freezes and counts them."""
    seconds: float
    """From its start to its end."""
    tasks_ms: Mapping[str, list[float]]
    """Task -> milliseconds of the server for each time it was done, all its requests together."""


def measured(shop: Shop, dsn: str, orders: int, parked: int, deliveries: int) -> JobRun:
    """dsn: a database of the console that has the lists of many orders already. parked: messages in orders. deliveries: to one endpoint."""
    keys = shop.system.api_keys(None, ("*", ACT_AS))
    shop.market(gateway=RECORDED)  # a gateway that is never asked, so the orders wait as long as the measurement takes
    with _running(shop, dsn, keys) as url:
        began = time.monotonic()
        report_of(shop.snapshots("asked", orders))
        _wait(shop.system.dsn("orders"), PENDING, "n", orders)
        _wait(dsn, LISTED, "n", orders, "answer")
        listed = time.monotonic() - began
        preview_ms, job_id = asyncio.run(_started(shop, dsn, url))
        ended = _wait(dsn, JOB, "ended", orders, job_id)
        while ended["state"] == "running":
            time.sleep(0.05)
            [ended] = asyncio.run(rows(dsn, JOB, job_id))
    assert ended["done"] == orders, f"{ended['done']} of {orders} done: {ended['state']} {ended['why']}"
    shop.market(approval="manual")
    helped = asyncio.run(
        helping.prepared(
            shop.system.dsn("orders"), shop.system.dsn(WEBHOOKS), dsn, parked, deliveries, SERIES, WARM_UP + TASKS
        )
    )
    shop.checkpoint()
    with _running(shop, dsn, keys) as url:
        report_of(shop.snapshots(SERIES.name, WARM_UP + TASKS))
        _wait(dsn, LISTED, "n", WARM_UP + TASKS, "approval")
        new = (WARM_UP + TASKS) * (GROUP_MESSAGES + 1)  # their messages are parked, and no list has them yet
        _wait(dsn, MARKED, "n", min(parked + new, PAGE_KEYS * PAGES_MAX) - new)
        tasks_ms = asyncio.run(_tasks(shop, dsn, url, helped))
    return JobRun(orders, listed, preview_ms, ended["seconds"], tasks_ms)


@contextmanager
def _running(shop: Shop, dsn: str, keys: Mapping[str, str]) -> Iterator[str]:
    """Runs all services, of webhooks only what answers; yields the address of the console."""
    with shop.running(*SAGA):
        shop.system.wait_ready([shop.system.add(WEBHOOKS, role="api")])
        owners = {
            f"CONSOLE_{name.upper()}_{what}": value
            for name in (*SAGA, WEBHOOKS)
            for what, value in (("URL", shop.system.url(name)), ("API_KEY", keys[name]))
        }
        console = shop.system.add(CONSOLE, CONSOLE_DATABASE_URL=dsn, **owners)
        shop.system.wait_ready([console])
        yield console.url


def _wait(dsn: str, statement: str, count: str, number: int, *values: Any) -> Any:
    """Returns the row when its count has reached the number. Raises Stalled if it does not grow for STALLED_SECONDS."""
    seen, seen_at = -1, time.monotonic()
    while True:
        [row] = asyncio.run(rows(dsn, statement, *values))
        if row[count] >= number:
            return row
        if row[count] != seen:
            seen, seen_at = row[count], time.monotonic()
        elif time.monotonic() - seen_at > STALLED_SECONDS:
            raise Stalled(f"{seen} of {number}, no more for {STALLED_SECONDS:.0f} s")
        time.sleep(0.1)


async def _started(shop: Shop, dsn: str, url: str) -> tuple[float, str]:
    """Requests the preview and starts the job. Returns the preview's milliseconds, and the id of the job."""
    async with browsing(shop, dsn, url) as browser:
        began = time.perf_counter()
        page = await browser.get("/jobs/new", waiting="answer", channel=CHANNEL, action="ask")
        milliseconds = (time.perf_counter() - began) * 1000
        job_id = page.split('action="/jobs/', 1)[1].split("/", 1)[0]
        await browser.post(f"/jobs/{job_id}/start", action="ask", reason="the gateway is back")
    return milliseconds, job_id


async def _tasks(shop: Shop, dsn: str, url: str, helped: helping.Help) -> Mapping[str, list[float]]:
    """Returns the milliseconds of each task, done TASKS times."""
    found: dict[str, list[float]] = {}
    async with browsing(shop, dsn, url) as browser:

        async def timed(task: str, requests: Callable[[], Awaitable[Any]]) -> Any:
            began = time.perf_counter()
            answer = await requests()
            found.setdefault(task, []).append((time.perf_counter() - began) * 1000)
            return answer

        for n in range(WARM_UP + TASKS):
            if n == WARM_UP:
                found.clear()
            key = SERIES.key(n)
            number = SERIES.external_id(n)
            await timed("find_by_number", partial(browser.get, "/orders", q=number, jump="true"))
            await timed("why_it_is_stuck", partial(browser.get, f"/orders/{key}"))
            if n % 2:
                await timed("approve_the_next", partial(_approved, browser))
            else:
                tail = await timed("tail", partial(browser.get, "/topics/tail", order=str(key)))
                first = asyncio.create_task(browser.first_event(tail))
                began = time.perf_counter()
                await timed(
                    "cancel", partial(browser.post, f"/orders/{key}/actions/cancel", reason="as the buyer asks")
                )
                found.setdefault("first_of_the_tail", []).append(((await first) - began) * 1000)
            await timed("which_message", partial(browser.get, f"/orders/{key}/messages"))
            await timed("resend_what_was_missed", partial(helped.resend_what_was_missed, browser, key))
            await timed("replay_since_yesterday", partial(helped.replay_since_yesterday, browser))
            await timed("edit_and_replay", partial(helped.edit_and_replay, browser, n))
            await timed("replay_a_group", partial(helped.replay_a_group, browser, n))
    return found


async def _approved(browser: Browser) -> None:
    page = await browser.get("/orders/next", store=STORE, view="approval", channel=CHANNEL)
    key = page.split('action="/orders/', 1)[1].split("/", 1)[0]
    await browser.post(f"/orders/{key}/actions/approve")
