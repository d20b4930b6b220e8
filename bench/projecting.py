"""The console's own processes: how fast events are folded, how soon they are in the lists, what that costs the others, what 200
watchers cost, and how long the lists of a million orders take to be made anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import asyncpg
import psutil

from bench.measure import MIB
from bench.rounds import throughput
from bench.shop import COMMITTED_AT, STALLED_SECONDS, Shop, Stalled, report_of
from bench.workload import STORE
from console.api.serving import SESSION
from contracts.ids import message_id
from system.processes import CONSOLE, SAGA, Member

WATCHERS: Final = 200
LISTED_RATE: Final = 100
"""Orders per second."""
SETTLING_SECONDS: Final = 3.0
INBOX: Final = f"select id, {COMMITTED_AT} as at from inbox"
PUBLISHED: Final = f"""
select key, store_id, message_id::text as ce_id, at as time, {COMMITTED_AT} as at from journal
where version is not null and at >= to_timestamp($1)"""


@dataclass(frozen=True)
class Projected:
    """The figures of one run."""

    folded_per_second: float
    """By one process that does nothing else, into a table of all orders."""
    cpu_us_per_folded: float
    """That of the process; the CPU of PostgreSQL is apart."""
    listed_p50_ms: float
    """From the commit of an event in its service to that of the row in the lists."""
    listed_p99_ms: float
    slowed_percent: float
    """Orders per second that the console costs the others."""
    watchers_mib: float
    """Memory of a process with 200 watchers."""
    watchers_cpu_percent: float
    rebuilt_seconds: float


def projected(shop: Shop, dsn: str, orders: int, seconds: float, rebuilt: int) -> Projected:
    """dsn: a database of the console with many orders; it is made anew at the end. orders: in each turn with and without the console.
    rebuilt: orders of the rebuild."""
    slowed = _slowed(shop, orders)
    listed, memory, watching = _listed(shop, seconds)
    per_second, cpu = _folded(shop, dsn)
    return Projected(
        per_second, cpu, statistics.median(listed), _p99(listed), slowed, memory, watching, _rebuilt(shop, dsn, rebuilt)
    )


def _p99(values: list[float]) -> float:
    return sorted(values)[round((len(values) - 1) * 0.99)]


# -- folding ----------------------------------------------------------------------------------------------------------


def _folded(shop: Shop, dsn: str) -> tuple[float, float]:
    """Events per second from the first commit to the last one, and us of CPU of each; the topics have those of all orders so far."""
    with shop.running(CONSOLE, CONSOLE_DATABASE_URL=dsn), shop.metered() as cost:
        _read_to_the_end(shop, dsn)
    at = sorted(row["at"] for row in asyncio.run(rows(dsn, INBOX)))
    return len(at) / (at[-1] - at[0]), cost.cpu_seconds[CONSOLE] * 1e6 / len(at)


def _read_to_the_end(shop: Shop, dsn: str) -> None:
    """Returns when no further event has been read for SETTLING_SECONDS. Raises Stalled if none ever is."""
    read, since = 0, time.monotonic()
    while not read or time.monotonic() - since < SETTLING_SECONDS:
        [row] = asyncio.run(rows(dsn, "select coalesce(sum(next_offset), 0)::bigint as n from consumer_offsets"))
        if row["n"] != read:
            read, since = row["n"], time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            raise Stalled(f"the console read nothing for {STALLED_SECONDS:.0f} s (logs: {shop.logs})")
        time.sleep(0.1)


async def rows(dsn: str, statement: str, *values: Any) -> list[Any]:
    """Reads a database by a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


# -- beside the others ------------------------------------------------------------------------------------------------


def _slowed(shop: Shop, orders: int) -> float:
    """Percent of orders per second that the console costs: with and without it by turns, twice each."""
    alone, beside = [], []
    for turn in range(2):
        with shop.running(*SAGA, CONSOLE):
            beside.append(throughput(shop, f"beside-{turn}", orders, orders // 5).per_second)
            _read_to_the_end(shop, shop.system.dsn(CONSOLE))
        with shop.running(*SAGA):
            alone.append(throughput(shop, f"alone-{turn}", orders, orders // 5).per_second)
        with shop.running(CONSOLE):
            _read_to_the_end(shop, shop.system.dsn(CONSOLE))
    return max(0.0, 100 * (1 - statistics.mean(beside) / statistics.mean(alone)))


def _listed(shop: Shop, seconds: float) -> tuple[list[float], float, float]:
    """At LISTED_RATE orders per second: ms from the commit of each event to that of its row; MiB and percent of a core of a
    further process that serves the watchers of the list."""
    with shop.running(*SAGA, CONSOLE):
        pages = shop.system.add(CONSOLE, role="api")
        shop.system.wait_ready([pages])
        began = time.time()
        memory, percent = asyncio.run(_watched(shop, pages, seconds))
        shop.settled()
        _read_to_the_end(shop, shop.system.dsn(CONSOLE))
    listed = {row["id"]: row["at"] for row in shop.fetch(CONSOLE, INBOX)}
    found = []
    for name in SAGA:
        for row in shop.fetch(name, PUBLISHED, began):
            known_as = message_id(row["time"], name, row["store_id"], row["key"], row["ce_id"])
            found.append((listed[known_as] - row["at"]) * 1000)
    return found, memory, percent


async def _watched(shop: Shop, pages: Member, seconds: float) -> tuple[float, float]:
    process = psutil.Process(pages.pid)
    async with aiohttp.ClientSession(
        pages.url,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as browser:
        cookie = await signed_in(shop, browser)
        report_of(
            await asyncio.to_thread(shop.snapshots, "seen", 1)
        )  # the store has an order, so that its list may be watched
        await asyncio.to_thread(shop.settled)
        opened: asyncio.Queue[int] = asyncio.Queue()

        async def watch() -> None:
            async with browser.get(f"/live?{urlencode({'channel': f'list:{STORE}'})}", headers=cookie) as stream:
                opened.put_nowait(stream.status)
                async for _ in stream.content:
                    pass

        watchers = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
        statuses = {await opened.get() for _ in watchers}
        assert statuses == {200}, f"a stream was answered {statuses}"
        before, started = process.cpu_times(), time.monotonic()
        await asyncio.to_thread(
            lambda: report_of(shop.snapshots("listed", int(LISTED_RATE * seconds), rate=LISTED_RATE))
        )
        after, took = process.cpu_times(), time.monotonic() - started
        memory = process.memory_full_info().pss / MIB
        assert not any(one.done() for one in watchers), "a stream has ended"
        for one in watchers:
            one.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
    return memory, 100 * (after.user + after.system - before.user - before.system) / took


async def signed_in(shop: Shop, browser: aiohttp.ClientSession, **environment: str) -> dict[str, str]:
    """Signs in by a link, as an administrator. Returns the header of the session."""
    said = await asyncio.to_thread(shop.system.run, CONSOLE, "sign-in", "--name", "bench", **environment)
    token = said.split("token=", 1)[1].split()[0]
    async with browser.post("/sign-in", data={"token": token}, headers={"sec-fetch-site": "same-origin"}, allow_redirects=False) as answer:  # fmt: skip
        return {"cookie": f"{SESSION}={answer.cookies[SESSION].value}"}


# -- made anew --------------------------------------------------------------------------------------------------------


def _rebuilt(shop: Shop, dsn: str, orders: int) -> float:
    """Seconds of `python -m console rebuild` over so many orders of one store; their owners are imitated."""
    with _owners(orders) as url:
        asked = {f"CONSOLE_{name.upper()}_{what}": value for name in SAGA for what, value in (("URL", url), ("API_KEY", "bench"))}  # fmt: skip
        environment = {**shop.system.environment(CONSOLE), **asked, "CONSOLE_DATABASE_URL": dsn}
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", CONSOLE, "rebuild", "--store", STORE],
            env=os.environ | environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        took = time.monotonic() - began
    [row] = asyncio.run(rows(dsn, "select count(*) as n from order_rows where store_id = $1", STORE))
    assert row["n"] >= orders, f"{row['n']} rows of {orders} orders"
    return took


@contextmanager
def _owners(orders: int) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.owners", "--orders", str(orders)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
