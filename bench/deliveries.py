"""The feed and the deliveries of webhooks: how fast events get in, out by HTTP and out to receivers, and what that costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import psutil

from bench.http_load import Client
from bench.measure import MIB
from bench.receivers import Receivers, receiving
from bench.shop import COMMITTED_AT, STALLED_SECONDS, Shop, Stalled, report_of
from bench.workload import STORE
from system.processes import KEYS, SAGA
from webhooks.domain.config import Config
from webhooks.domain.endpoint import Endpoint, Secret, shard_of
from webhooks.domain.signing import new_secret
from webhooks.vault import Vault

BODY_BYTES: Final = 1_000
"""About the size of an event's body."""
LIVE: Final = 20
ANSWER_MS: Final = 20
PACED_PER_SECOND: Final = 50
"""Events, each delivered to every receiver."""
PAGE: Final = 1_000
PER_STORE: Final = 500
"""Endpoints: the most that a store may have."""
SETTLING_SECONDS: Final = 5.0

FED: Final = """
with head as (update feed_head set position = position + $1 where one returning position - $1 as before)
insert into feed (position, event_id, source, type, store_id, key, version, time, correlation_id, body, at)
select head.before + n, gen_random_uuid()::text, 'orders', 'orders.placed', $2, gen_random_uuid(), 1, clock_timestamp(),
  'bench', $3, clock_timestamp() - $4::interval
from head, generate_series(1, $1) as n
returning event_id"""


@dataclass
class Measured:
    """The figures of one run."""

    fed_per_second: float
    cpu_us_per_fed: float
    """That of the process; the CPU of PostgreSQL is apart."""
    read_per_second: float
    cpu_us_per_read: float
    sent_p50_ms: float
    """From the commit in orders to the arrival at a receiver."""
    sent_p99_ms: float
    delivered_per_second: float
    cpu_us_per_delivery: float
    """That of the process, its log of attempts included; the CPU of PostgreSQL is apart."""
    postgres_us_per_delivery: float
    dead_over_live: float
    """p99 of nine receivers while a tenth is dead, over their p99 while it is not there."""
    rows_per_pending: float
    caught_up_per_second: float
    memory_mib: float
    idle_cpu_percent: float


def measured(shop: Shop, orders: int, events: int, paced_seconds: float, behind: int, endpoints: int) -> Measured:
    """All measurements, in this order: each leaves a feed that the next one begins at the end of."""
    with shop.running(*SAGA):
        report_of(shop.snapshots("fed", orders))
        shop.settled()
    with shop.running("webhooks"):
        with shop.metered() as feeding:
            fed = _fed(shop)
        with shop.metered() as reading:
            read = _read(shop)
        us_per_event = 1e6 / _head(shop)
    with shop.running():
        sent = _sent(shop, paced_seconds)
    with shop.running("webhooks"):
        delivered = _delivered(shop, events)
        live = _paced_p99(shop, paced_seconds, 9, dead=0)
        beside = _paced_p99(shop, paced_seconds, 10, dead=1)
        caught_up = _caught_up(shop, behind, paced_seconds)
    asyncio.run(_insert_endpoints(shop, endpoints))
    with shop.running("webhooks"):
        memory, idle = _idle(shop)
    return Measured(
        fed, feeding.cpu_seconds["webhooks"] * us_per_event, read, reading.cpu_seconds["webhooks"] * us_per_event,
        statistics.median(sent), _p99(sent), *delivered, beside.p99_ms / live.p99_ms, beside.rows_per_pending,
        caught_up, memory, idle,
    )  # fmt: skip


# -- the feed ---------------------------------------------------------------------------------------------------------


def _fed(shop: Shop) -> float:
    """Events per second that the consumer writes, from its first batch to its last one; the topics are full."""
    counted: list[tuple[float, int]] = []
    while not counted or time.monotonic() - counted[-1][0] < SETTLING_SECONDS:
        position = _head(shop)
        if position and (not counted or position != counted[-1][1]):
            counted.append((time.monotonic(), position))
        time.sleep(0.05)
    (began, first), (ended, last) = counted[0], counted[-1]
    return (last - first) / (ended - began)


def _head(shop: Shop) -> int:
    return int(shop.fetch("webhooks", "select position from feed_head")[0]["position"])


def _read(shop: Shop) -> float:
    """Events per second over HTTP, page after page from the oldest one on."""

    async def read() -> float:
        client, cursor, count, began = (
            Client(shop.system.url("webhooks"), shop.keys["webhooks"]),
            "",
            0,
            time.monotonic(),
        )
        while items := (page := await client.request("GET", f"/v1/events?limit={PAGE}{cursor}", 200))["items"]:
            count += len(items)
            cursor = f"&after={page['next_cursor']}"
        client.close()
        return count / (time.monotonic() - began)

    return asyncio.run(read())


# -- deliveries -------------------------------------------------------------------------------------------------------


@contextmanager
def _endpoints(shop: Shop, receivers: Receivers, first: int = 0, **config: Any) -> Iterator[list[UUID]]:
    """An endpoint per receiver, enabled; removed at the end."""

    async def create() -> list[UUID]:
        client = Client(shop.system.url("webhooks"), shop.keys["webhooks"])
        made = []
        for url in receivers.urls()[first:]:
            shown = await client.request("POST", "/v1/endpoints", 201, {"url": url, **config})
            await client.request("POST", f"/v1/endpoints/{shown['endpoint_id']}/verify", 200, {})
            made.append(UUID(shown["endpoint_id"]))
        client.close()
        return made

    async def remove(made: Sequence[UUID]) -> None:
        client = Client(shop.system.url("webhooks"), shop.keys["webhooks"])
        for endpoint_id in made:
            await client.request("DELETE", f"/v1/endpoints/{endpoint_id}", 200)
        client.close()

    made = asyncio.run(create())
    time.sleep(SETTLING_SECONDS)  # the dispatcher has read them
    yield made
    asyncio.run(remove(made))


def _sent(shop: Shop, seconds: float) -> list[float]:
    """Milliseconds from the commit of an event in orders to its arrival, at a rate of some 200 events per second."""
    with receiving(1, 0) as receivers, _endpoints(shop, receivers, types=["orders.*"]):
        rate = 40
        report_of(shop.snapshots("sent", int(rate * seconds), rate=rate))
        shop.settled()
        time.sleep(SETTLING_SECONDS)
        [arrived] = receivers.report()
    rows = shop.fetch(
        "orders",
        f"select message_id::text as id, {COMMITTED_AT} as at from journal where message_id = any($1::uuid[])",
        [UUID(event_id) for event_id in arrived.at],
    )
    assert len(rows) == len(arrived.at) > rate * seconds, f"{len(arrived.at)} events arrived, {len(rows)} are journaled"
    return [(arrived.at[row["id"]] - row["at"]) * 1000 for row in rows]


def _delivered(shop: Shop, events: int) -> tuple[float, float, float]:
    """Deliveries per second to receivers that take ANSWER_MS, and CPU of the process and of PostgreSQL of one, in us."""
    with receiving(LIVE, ANSWER_MS) as receivers, _endpoints(shop, receivers):
        with shop.metered() as cost:
            began = time.time()
            asyncio.run(_feed(shop, events))
            arrived = _until(receivers, events * LIVE)
            time.sleep(1)  # the last outcomes are written
    took = max(max(one.values()) for one in arrived) - began
    per_delivery = 1e6 / (events * LIVE)
    return (
        events * LIVE / took,
        cost.cpu_seconds["webhooks"] * per_delivery,
        cost.cpu_seconds["postgres"] * per_delivery,
    )


@dataclass
class _Paced:
    p99_ms: float
    rows_per_pending: float


def _paced_p99(shop: Shop, seconds: float, count: int, dead: int) -> _Paced:
    """From an event's commit in the feed to its arrival, at PACED_PER_SECOND events for each of the receivers that live."""
    with receiving(count, ANSWER_MS, dead) as receivers, _endpoints(shop, receivers) as made:
        written = asyncio.run(_feed_paced(shop, seconds))
        arrived = _until(receivers, len(written) * (count - dead))
        before = _backlog(shop, made[0])  # its first attempts have timed out: their rows are of the past
        asyncio.run(_feed_paced(shop, seconds / 2))
        after = _backlog(shop, made[0])
    took = [(at - written[event_id]) * 1000 for one in arrived for event_id, at in one.items()]
    pending = after.pending - before.pending
    assert not dead or pending > len(written) / 4, f"the dead receiver has {after.pending} pending deliveries"
    return _Paced(_p99(took), (after.rows - before.rows) / pending if dead else 0)


class _Backlog(NamedTuple):
    rows: int
    pending: int
    """Events that an endpoint has not got."""


def _backlog(shop: Shop, endpoint_id: UUID) -> _Backlog:
    [row] = shop.fetch(
        "webhooks",
        "select (select count(*) from waiting where endpoint_id = $1) as rows, (select position from feed_head) - position as behind"
        " from cursors where endpoint_id = $1",
        endpoint_id,
    )
    return _Backlog(row["rows"], row["behind"] + row["rows"])


def _caught_up(shop: Shop, behind: int, seconds: float) -> float:
    """Deliveries per second of one endpoint that is far behind, in its first seconds."""
    since = datetime.now(UTC) - timedelta(hours=1)
    asyncio.run(_feed(shop, behind, older_by=timedelta(minutes=30)))
    with receiving(1, 0) as receivers, _endpoints(shop, receivers, in_flight=16) as made:
        asyncio.run(_enable(shop, made[0], since))
        receivers.report()
        time.sleep(seconds)
        [arrived] = receivers.report()
    times = sorted(arrived.at.values())
    return (len(times) - 1) / (times[-1] - times[0])


async def _enable(shop: Shop, endpoint_id: UUID, since: datetime) -> None:
    client = Client(shop.system.url("webhooks"), shop.keys["webhooks"])
    await client.request("POST", f"/v1/endpoints/{endpoint_id}/enable", 200, {"from": since.isoformat()})
    client.close()


async def _feed(shop: Shop, count: int, older_by: timedelta = timedelta()) -> dict[str, float]:
    """Writes events into the feed, as the consumer does; returns when each was committed, epoch seconds."""
    connection = await asyncpg.connect(shop.system.dsn("webhooks"))
    body = '{"filler":"' + "x" * BODY_BYTES + '"}'
    written: dict[str, float] = {}
    for first in range(0, count, 1_000):
        ids = await connection.fetch(FED, min(1_000, count - first), STORE, body, older_by)
        written |= dict.fromkeys((row["event_id"] for row in ids), time.time())
    await connection.close()
    return written


async def _feed_paced(shop: Shop, seconds: float) -> dict[str, float]:
    connection = await asyncpg.connect(shop.system.dsn("webhooks"))
    body = '{"filler":"' + "x" * BODY_BYTES + '"}'
    began, written = time.monotonic(), dict[str, float]()
    for n in range(int(seconds * PACED_PER_SECOND)):
        await asyncio.sleep(max(0.0, began + n / PACED_PER_SECOND - time.monotonic()))
        [row] = await connection.fetch(FED, 1, STORE, body, timedelta())
        written[row["event_id"]] = time.time()
    await connection.close()
    return written


def _until(receivers: Receivers, count: int) -> list[dict[str, float]]:
    """Returns event id -> arrival of each receiver that got any, once `count` have arrived. Raises Stalled."""
    arrived: list[dict[str, float]] = [{} for _ in range(receivers.count)]
    grown_at = time.monotonic()
    while sum(map(len, arrived)) < count:
        time.sleep(0.2)
        for all_of_one, new in zip(arrived, receivers.report(), strict=True):
            if new.at:
                grown_at = time.monotonic()
            all_of_one |= {event_id: at for event_id, at in new.at.items() if event_id not in all_of_one}
        if time.monotonic() - grown_at > STALLED_SECONDS:
            raise Stalled(f"{sum(map(len, arrived))} of {count} deliveries have arrived")
    return [one for one in arrived if one]


# -- many endpoints ---------------------------------------------------------------------------------------------------


async def _insert_endpoints(shop: Shop, count: int) -> None:
    """Endpoints as the service stores them; nothing is written to the feed that they would get."""
    now, vault = datetime.now(UTC), Vault(KEYS["webhooks"]["WEBHOOKS_SECRET_KEYS"].split())
    made = [endpoint_row(uuid4(), f"store-{n // PER_STORE}", n, now, vault) for n in range(count)]
    rows, cursors = zip(*made, strict=True)
    await insert_endpoints(shop.system.dsn("webhooks"), rows, cursors)


Row = tuple[Any, ...]


def endpoint_row(key: UUID, store_id: str, n: int, now: datetime, vault: Vault) -> tuple[Row, Row]:
    """Returns the rows of an enabled endpoint: its own, and its cursor at the beginning of the feed."""
    endpoint = Endpoint(
        status="enabled", config=Config(url=f"https://receiver-{n}.example/webhooks"), verified=True, created_at=now,
        secrets=(Secret(id=uuid4(), sealed=vault.seal(key, new_secret()), created_at=now),),
    )  # fmt: skip
    row = (key, store_id, 2, 0, endpoint.model_dump_json(), "{}", "enabled", now, now)
    return row, (key, store_id, shard_of(key), 0)


async def insert_endpoints(dsn: str, rows: Sequence[Row], cursors: Sequence[Row]) -> None:
    """Writes endpoints, each at the end of the feed."""
    connection = await asyncpg.connect(dsn)
    await connection.copy_records_to_table(
        "endpoints", records=rows,
        columns=["key", "store_id", "revision", "version", "doc", "answered", "status", "created_at", "changed_at"],
    )  # fmt: skip
    await connection.copy_records_to_table(
        "cursors", records=cursors, columns=["endpoint_id", "store_id", "shard", "position"]
    )
    await connection.execute("update cursors set position = (select position from feed_head)")
    await connection.close()


def _idle(shop: Shop) -> tuple[float, float]:
    """Memory in MiB with every endpoint loaded, and percent of a core while no event comes."""
    process = psutil.Process(shop.system.of("webhooks")[0].pid)
    while shop.fetch("webhooks", "select count(*) as n from shards where until > now()")[0]["n"] < 16:
        time.sleep(0.1)
    time.sleep(SETTLING_SECONDS)
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(2 * SETTLING_SECONDS)
    after, took = process.cpu_times(), time.monotonic() - began
    used = after.user + after.system - before.user - before.system
    return process.memory_full_info().pss / MIB, 100 * used / took


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
