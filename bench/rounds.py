"""The measurements. Each needs a prepared shop and returns plain numbers; `session` determines their order."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg

from bench.measure import Cost
from bench.shop import COMMITTED_AT, STALLED_SECONDS, Shop, Stalled, report_of
from bench.workload import Series


@dataclass
class Throughput:
    orders: int
    per_second: float
    """From the first snapshot's Kafka timestamp to the commit of the last invoice."""
    at_end_over_start: float
    """The rate of the last tenth of the invoices divided by that of the first."""
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0


def throughput(shop: Shop, series: str, orders: int, warm_up: int, *, hot: bool = False) -> Throughput:
    """Snapshots as fast as the broker accepts them, after a completed warm-up. The services are running."""
    start = shop.invoiced()
    if warm_up:
        report_of(shop.snapshots(f"{series}-warm", warm_up, hot=hot))
        shop.wait_invoiced(start + warm_up)
        shop.settled()
    shop.checkpoint()
    with shop.metered() as cost:
        load = shop.snapshots(series, orders, hot=hot)
        shop.wait_invoiced(start + warm_up + orders)
        load_report = report_of(load)
    return _rates(shop, start + warm_up, orders, load_report["first_received"], cost)


def backlog(shop: Shop, series: str, orders: int) -> Throughput:
    """Publishes the snapshots, then starts the services. Measured from their start."""
    first = shop.invoiced()
    report_of(shop.snapshots(series, orders))
    shop.checkpoint()
    began = time.time()
    with shop.running(), shop.metered() as cost:
        shop.wait_invoiced(first + orders)
        shop.settled()
    return _rates(shop, first, orders, began, cost)


def _rates(shop: Shop, before: int, orders: int, began: float, cost: Cost) -> Throughput:
    rows = shop.fetch(
        "invoicing",
        f"select {COMMITTED_AT} as at from documents where kind = 'invoice' and sequence > $1 order by sequence",
        before,
    )
    at = [row["at"] for row in rows]
    assert len(at) == orders, f"{len(at)} invoices of {orders} orders"
    tenth = orders // 10
    first, last = at[tenth - 1] - at[0], at[-1] - at[-tenth]
    took = max(at) - began
    return Throughput(orders, orders / took, first / last if last else 0.0, cost, took)


@dataclass
class Latency:
    p50_ms: float
    p99_ms: float
    late_ms_max: float
    """The load process's maximum delay behind its schedule."""


def latency(shop: Shop, series: str, rate: float, seconds: float, warm_up_seconds: float) -> Latency:
    """Snapshots on schedule. Measured from an order's scheduled time to the commit of its invoice."""
    start = shop.invoiced()
    skipped, count = int(rate * warm_up_seconds), int(rate * (warm_up_seconds + seconds))
    load_report = report_of(shop.snapshots(series, count, rate=rate))
    shop.wait_invoiced(start + count)
    names = Series(series)
    due = {names.key(n): load_report["first_received"] + n / rate for n in range(skipped, count)}
    rows = shop.fetch("invoicing", f"select order_id, {COMMITTED_AT} as at from documents where sequence > $1", start)
    took = sorted((row["at"] - due[row["order_id"]]) * 1000 for row in rows if row["order_id"] in due)
    assert len(took) == count - skipped, f"{len(took)} of {count - skipped} orders have an invoice"
    return Latency(statistics.median(took), took[int(len(took) * 0.99)], load_report["late_ms_max"])


@dataclass
class Accepted:
    orders: int
    per_second: float
    p50_ms: float
    p99_ms: float
    connections: int


def http(shop: Shop, series: str, seconds: float, connections: int = 64) -> Accepted:
    """`POST /v1/orders` to the running orders service."""
    load_report = report_of(
        shop.load(
            "http", "--url", shop.system.url("orders"), "--series", series, "--seconds", str(seconds),
            "--connections", str(connections), BENCH_API_KEY=shop.keys["orders"],
        )
    )  # fmt: skip
    assert not load_report["refused"], f"refused: {load_report['refused']}"
    return Accepted(
        load_report["accepted"], load_report["per_second"], load_report["p50_ms"], load_report["p99_ms"], connections
    )


def relay(shop: Shop, rows: int) -> float:
    """Rows per second from a full outbox of orders to the broker's last acknowledgement. No other service runs.

    The rows point to journal rows of earlier runs, so sizes and topics are realistic. The benchmark holds the relay's
    lease until the process is ready.
    """
    return asyncio.run(_relay(shop, rows))


HOLD = """
insert into leases (name, holder, until) values ('relay', 'bench', now() + interval '1 hour')
on conflict (name) do update set holder = excluded.holder, until = excluded.until"""
FILL = """
insert into outbox (day, journal_id)
select j.day, j.id from (select day, id from journal where topic is not null order by id desc limit $1) j,
  generate_series(1, (select 1 + $1 / greatest(count(*), 1) from journal where topic is not null)) limit $1"""


async def _relay(shop: Shop, rows: int) -> float:
    connection = await asyncpg.connect(shop.system.dsn("orders"))
    try:
        await connection.execute(HOLD)
        await connection.execute(FILL, rows)
        await connection.execute("analyze outbox; analyze journal; checkpoint")
        last = await connection.fetchval("select max(id) from outbox")
        member = await asyncio.to_thread(shop.system.add, "orders")
        await asyncio.to_thread(shop.system.wait_ready, [member])
        began = time.perf_counter()
        await connection.execute("delete from leases where name = 'relay'")
        while await connection.fetchval("select exists (select from outbox where id = $1)", last):
            if time.perf_counter() - began > STALLED_SECONDS:
                raise Stalled(f"the relay did not publish {rows} rows in {STALLED_SECONDS:.0f} s")
            await asyncio.sleep(0.01)
        took = time.perf_counter() - began
        left = await connection.fetchval("select count(*) from outbox")
        assert not left, f"{left} rows are left"
        return rows / took
    finally:
        await asyncio.to_thread(shop.system.stop)
        await connection.close()


def slow_gateway(shop: Shop, series: str, orders: int, latency_ms: int) -> float:
    """Orders per second if every authorization and capture is an HTTP call of `latency_ms`."""
    gateway = shop.system.add(
        "testgateway",
        command=[sys.executable, "-m", "gatewayservers.plain", "--port", "{port}", "--latency-ms", str(latency_ms)],
    )
    shop.market("test")
    try:
        with shop.running(PAYMENTS_TEST_GATEWAY_URL=gateway.url):
            return throughput(shop, series, orders, orders // 10).per_second
    finally:
        with suppress(Exception):
            shop.market()
