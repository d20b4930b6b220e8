"""A running system and the people around it: a client, a marketplace, a warehouse, an operator.

    SHOP = Options(workers=2)                      # in a test module; without it, one worker each

    async def test_...(shop: Shop) -> None:
        orders = await shop.place_many(20)
        await shop.until_at_rest(orders)
        await shop.assert_promises()

Requests that find no answer are repeated with the same key, as an honest client does: that is what the promises are for.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import random
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from chassis.batch.database import Database
from chassis.declare.migrations import upgrade
from chassis.declare.service import Service
from chassis.http.auth import Keys
from chassis.kafka import topics as kafka
from chassis.kafka.consumer import topics_of
from chassis.settings import ServiceSettings
from contracts.envelope import headers
from contracts.ids import order_id
from contracts.registry import PARTITIONS, SNAPSHOTS
from devservices.services import Services
from system.checker import Check, check, violations
from system.installation import asked_by_console, own_invariants
from system.processes import CONSOLE, SAGA, Member, System
from tests.waiting import PATIENCE_SECONDS

STORE = "shop"
STOREFRONT = "https://shop.example"
SKUS = tuple(f"S{number:03}" for number in range(40))
AMPLE = 1_000_000
POLL_SECONDS = 0.1
UNANSWERED_MAX = 32
Line = tuple[str, int, int]
"""SKU, pieces, total in minor units."""


@dataclass(frozen=True)
class Options:
    """Options of a module's shop."""

    services: Sequence[str] = SAGA
    workers: int = 1
    workers_of: Mapping[str, int] = field(default_factory=dict)
    """Services that have another number of workers."""
    apart: bool = False
    """Whether each service runs as a process `api` and a process `worker`, instead of one that is both."""
    static_members: bool = False
    """A name per process in its consumer group: a restarted process resumes at once, without a takeover."""
    gateway: Sequence[str] | None = None
    """Options of a test gateway beside the services, e.g. ("--latency-ms", "5"); orders of account `gateway` use it."""
    markets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """account -> terms, beside the default market (marketplace gateway, approved by rule)."""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def processes(self) -> Options:
        """What of it shapes the processes: a file may use those of another one. Its markets are its own store's."""
        return replace(self, markets={})


def service_of(name: str) -> Service:
    """The service of `python -m <name>`."""
    found: Service = importlib.import_module(f"{name}.handlers").SERVICE
    return found


def order_content(number: str, lines: Sequence[Line], **more: Any) -> dict[str, Any]:
    """The order of a snapshot. `more` overrides fields; amounts are gross at 20 % VAT."""
    goods = [
        {"external_line_id": str(n), "sku": sku, "title": f"Thing {sku}", "quantity": {"ordered": pieces},
         "line_total_minor": minor, "tax": [{"rate": "20.00"}]}
        for n, (sku, pieces, minor) in enumerate(lines, 1)
    ]  # fmt: skip
    total = sum(minor for _, _, minor in lines)
    content = {"external_order_id": number, "placed_at": "2026-11-20T10:00:00Z", "currency": "GBP", "lines": goods}
    return content | {"totals": {"grand_minor": total}} | more


@dataclass(frozen=True)
class SnapshotRecord:
    """A record of `marketplace.orders.v1`; sent again, it is the same message."""

    order_id: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Shop:
    def __init__(self, services: Services, system: System, options: Options, scratch: Path, store: str = STORE) -> None:
        self.kafka, self.postgres, self.system, self.options, self.scratch = (
            services.kafka,
            services.postgres,
            system,
            options,
            scratch,
        )
        self.store = store
        self.keys: dict[str, str] = {}
        self.gateway: Member | None = None
        self.ledger = scratch / "charges.jsonl"
        """The money that the test gateway recorded as moved."""
        self.random = random.Random(7)
        self._numbers = 0
        self._http: aiohttp.ClientSession | None = None
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._pools: dict[str, asyncpg.Pool] = {}
        """By the address of a database."""

    # -- start and end ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Starts the services, unless they run, and prepares the store."""
        started = bool(self.system.members)
        if not started:
            for name in self.system.names:
                await asyncio.to_thread(self.postgres.create_database, self.system.database(name))
                await upgrade(service_of(name), self.postgres.dsn(self.system.database(name)))
            await kafka.provision(self._settings("orders"))
        await self._set_up()
        if started:
            self.gateway = next(iter(self.system.of("gateway")), None)
        else:
            await asyncio.to_thread(self._start)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await self.set_stock(dict.fromkeys(SKUS, AMPLE))

    def _settings(self, name: str) -> ServiceSettings:
        url = self.postgres.dsn(self.system.database(name))
        return service_of(name).settings(database_url=url, kafka_bootstrap_servers=self.kafka.bootstrap_servers)

    def _start(self) -> None:
        system, options = self.system, self.options
        if options.gateway is not None:
            command = ["-m", "gatewayservers.plain", "--port", "{port}", "--ledger", str(self.ledger), *options.gateway]
            self.gateway = system.add("gateway", command=[sys.executable, *command])
            system.settings = {**system.settings, "PAYMENTS_TEST_GATEWAY_URL": self.gateway.url}
        for name in self.system.names:
            for number in range(2 if options.apart else options.workers_of.get(name, options.workers)):
                fixed = (
                    {f"{name.upper()}_KAFKA_GROUP_INSTANCE_ID": f"{name}-{number}"} if options.static_members else {}
                )
                role = "worker" if number else "api" if options.apart else "all"
                asked = self._asked_by_console() if name == CONSOLE else {}
                system.add(name, role=role, CRASH_FILE=str(self._crash_file(name, number)), **fixed, **asked)
        system.wait_ready(timeout_seconds=2 * PATIENCE_SECONDS)

    def _asked_by_console(self) -> dict[str, str]:
        """For the thread that starts the processes."""
        settings = {name: self._settings(name) for name in self.system.names}
        return asyncio.run(asked_by_console(self.system, settings))

    async def _set_up(self) -> None:
        """Keys, markets and the seller of this store, as the command line writes them, without its many processes."""
        tables: dict[str, dict[str, Any]] = {
            "orders": {"markets": [self._market(None, {}), *self._markets()]},
            "payments": {"storefronts": [{"store": self.store, "origins": [STOREFRONT]}]},
            "invoicing": {"sellers": [{"store": self.store, **SELLER}]},
        }
        keys: dict[str, str] = {}
        for name in self.system.names:
            database = Database(self._settings(name), "tests")
            try:
                keys[name] = await Keys(database).create(self.store, "tests", ["*"])
                if (apply := service_of(name).apply) is not None and name in tables:
                    async with database.transaction() as tx:
                        await apply(tx, tables[name])
            finally:
                await database.close()
        self.keys = keys

    async def another_store(self, name: str) -> Shop:
        """The same system, another tenant: own keys, markets, seller, stock; numbers and dice begin anew."""
        await self.producer()  # this and the next are shared, and closed with this shop
        await self.consumer()
        other = copy.copy(self)
        other.store, other._numbers, other.random = name, 0, random.Random(7)
        await other._set_up()
        await other.set_stock(dict.fromkeys(SKUS, AMPLE))
        return other

    def _markets(self) -> list[dict[str, Any]]:
        markets = dict(self.options.markets)
        if self.options.gateway is not None:
            markets.setdefault("gateway", {"gateway": "test"})
        return [self._market(account, terms) for account, terms in markets.items()]

    def _market(self, account: str | None, terms: Mapping[str, Any]) -> dict[str, Any]:
        whole = {"code": account or "default", "approval": "automatic", "seller": "shop", **terms}
        return {"store": self.store, "terms": whole} | ({"channel": "api", "account": account} if account else {})

    async def close(self) -> None:
        for client in filter(None, (self._producer, self._consumer)):
            await client.stop()
        for pool in self._pools.values():
            pool.terminate()
        if self._http is not None:
            await self._http.close()

    # -- the client ---------------------------------------------------------------------------------------------------

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        seconds_max: float = 180,
    ) -> tuple[int, Any]:
        """Returns status and answer. Repeats the request with the same key after no answer or a 5xx, until the time is up."""
        assert self._http is not None
        sent = {"authorization": f"Bearer {self.keys[service]}", "idempotency-key": key or uuid.uuid4().hex}
        deadline, told = time.monotonic() + seconds_max, "nothing"
        while True:
            try:
                async with self._http.request(
                    method, f"{self.system.url(service)}{path}", json=body, headers=sent
                ) as answer:
                    if answer.status < 500:
                        return answer.status, await answer.json()
                    told = f"{answer.status} {await answer.text()}"
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                told = repr(error)
            assert time.monotonic() < deadline, f"{service} {method} {path}: {told} after {seconds_max:.0f} s"
            await asyncio.sleep(POLL_SECONDS)

    def number(self) -> str:
        self._numbers += 1
        return f"N{self._numbers:06}"

    def some_lines(self) -> list[Line]:
        """One to three lines of ample goods."""
        skus = self.random.sample(SKUS, self.random.randint(1, 3))
        return [(sku, self.random.randint(1, 3), self.random.randint(100, 5_000)) for sku in skus]

    def content(
        self, lines: Sequence[Line] | None = None, *, number: str | None = None, account: str = "main", **more: Any
    ) -> dict[str, Any]:
        """The body of `POST /v1/orders`."""
        return order_content(number or self.number(), lines or self.some_lines(), **more) | {"account": account}

    async def place(
        self, lines: Sequence[Line] | None = None, *, number: str | None = None, account: str = "main", **more: Any
    ) -> str:
        """Places an order over HTTP and returns its id."""
        content = self.content(lines, number=number, account=account, **more)
        status, answer = await self.call("orders", "POST", "/v1/orders", content)
        assert status == 201, (status, answer)
        found: str = answer["order_id"]
        return found

    async def place_many(self, count: int, *, account: str = "main", at_once: int = 32) -> list[str]:
        gate = asyncio.Semaphore(at_once)

        async def one() -> str:
            async with gate:
                return await self.place(account=account)

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def order(self, order: str) -> dict[str, Any]:
        status, answer = await self.call("orders", "GET", f"/v1/orders/{order}")
        assert status == 200, (status, answer)
        found: dict[str, Any] = answer
        return found

    async def cancel(self, order: str) -> tuple[int, Any]:
        return await self.call("orders", "POST", f"/v1/orders/{order}/cancel", {})

    async def approve(self, order: str) -> tuple[int, Any]:
        return await self.call("orders", "POST", f"/v1/orders/{order}/approve")

    # -- the marketplace ----------------------------------------------------------------------------------------------

    def snapshot(
        self, lines: Sequence[Line] | None = None, *, number: str | None = None, account: str = "main", **more: Any
    ) -> SnapshotRecord:
        return self.snapshot_of(order_content(number or self.number(), lines or self.some_lines(), **more), account)

    def snapshot_of(self, content: Mapping[str, Any], account: str) -> SnapshotRecord:
        """The order as the marketplace states it now."""
        now = datetime.now(UTC)
        key = str(order_id(self.store, "api", account, content["external_order_id"]))
        source = {"channel": "api", "account": account, "updated_at": now.isoformat(), "content_hash": uuid.uuid4().hex}
        named = headers(
            ce_id=uuid.uuid4().hex, source=f"api/{account}", type="marketplace.snapshot", time=now, subject=key,
            store_id=self.store, correlation_id=key,
        )  # fmt: skip
        return SnapshotRecord(key, json.dumps({"source": source, "order": content}).encode(), tuple(named))

    async def producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers, acks="all", linger_ms=2)
            await self._producer.start()
        return self._producer

    async def consumer(self) -> AIOKafkaConsumer:
        """Assigned to nothing: for questions to the broker."""
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap_servers)
            await self._consumer.start()
        return self._consumer

    async def send(self, records: Iterable[SnapshotRecord], topic: str = SNAPSHOTS) -> list[str]:
        """Published and acknowledged, in this order; the order ids."""
        producer, sent, keys = await self.producer(), [], []
        for record in records:
            key = record.order_id.encode()
            sent.append(await producer.send(topic, record.value, key=key, headers=list(record.headers)))
            keys.append(record.order_id)
        await asyncio.gather(*sent)
        return keys

    async def send_snapshots(self, count: int, **more: Any) -> list[str]:
        return await self.send([self.snapshot(**more) for _ in range(count)])

    @asynccontextmanager
    async def load(
        self, per_second: float, *, account: str = "main", http_only: bool = False, orders_max: int | None = None
    ) -> AsyncIterator[list[str]]:
        """Places orders while the block runs, every second one over Kafka; the list is complete afterwards.

        A machine that answers more slowly is asked less: at most UNANSWERED_MAX wait for their answers.
        orders_max: where the block waits for processes to start. The slower the machine, the more it would have to handle.
        """
        placed: list[str] = []
        running: set[asyncio.Task[Any]] = set()
        gate = asyncio.Semaphore(UNANSWERED_MAX)

        async def one(number: int) -> None:
            try:
                if http_only or number % 2:
                    placed.append(await self.place(account=account))
                else:
                    placed.extend(await self.send([self.snapshot(account=account)]))
            finally:
                gate.release()

        async def drive() -> None:
            number = 0
            while orders_max is None or number < orders_max:
                await gate.acquire()
                running.add(asyncio.create_task(one(number := number + 1)))
                await asyncio.sleep(1 / per_second)

        driver = asyncio.create_task(drive())
        try:
            yield placed
        finally:
            driver.cancel()
            await asyncio.gather(*running)

    # -- the warehouse ------------------------------------------------------------------------------------------------

    async def set_stock(self, on_hand: Mapping[str, int], location: str = "main") -> None:
        items = [{"location": location, "sku": sku, "on_hand": pieces} for sku, pieces in on_hand.items()]
        status, answer = await self.call("fulfillment", "PUT", "/v1/stock", {"items": items})
        assert status == 200 and not answer["refused"], (status, answer)

    async def stock(self, sku: str, location: str = "main") -> dict[str, int]:
        status, answer = await self.call("fulfillment", "GET", f"/v1/stock/{location}/{sku}")
        assert status == 200, (status, answer)
        found: dict[str, int] = answer
        return found

    async def shipments(self, status: str = "picking") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            _, page = await self.call("fulfillment", "GET", f"/v1/shipments?status={status}&limit=500{cursor}")
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def ship(self, shipment_id: str) -> None:
        status, answer = await self.call("fulfillment", "POST", f"/v1/shipments/{shipment_id}/ship", {})
        assert status == 200, (status, answer)

    async def ship_all(self, orders: Iterable[str] | None = None) -> int:
        """Ships all waiting shipments (of these orders); returns the number of parcels."""
        wanted = None if orders is None else set(orders)
        parcels = [one["shipment_id"] for one in await self.shipments() if wanted is None or one["order_id"] in wanted]
        for start in range(0, len(parcels), 32):
            await asyncio.gather(*(self.ship(parcel) for parcel in parcels[start : start + 32]))
        return len(parcels)

    # -- the operator -------------------------------------------------------------------------------------------------

    async def rows(self, service: str, sql: str, *arguments: Any) -> list[Any]:
        dsn = self.postgres.dsn(self.system.database(service))
        if dsn not in self._pools:
            self._pools[dsn] = await asyncpg.create_pool(dsn, min_size=0, max_size=4, timeout=30)
        found: list[Any] = await self._pools[dsn].fetch(sql, *arguments, timeout=PATIENCE_SECONDS)
        return found

    async def metric_says(self, service: str, line: str) -> bool:
        """Whether /metrics of a service has this line."""
        assert self._http is not None
        async with self._http.get(f"{self.system.url(service)}/metrics") as answer:
            return line in (await answer.text()).splitlines()

    async def arm(self, members: Iterable[Member], point: str) -> None:
        """Each running process dies at its next pass of the crash point; in its next life it is not armed."""
        files = {self._crash_file(member.name, member.number): member for member in members}
        for file, member in files.items():
            file.write_text(f"{member.name}.{point}", encoding="utf-8")
            member.send(signal.SIGUSR1)

        async def all_armed() -> bool:
            return not any(file.exists() for file in files)

        await self.until(all_armed, f"processes armed at {point}")

    async def until_dead_and_restarted(self, members: Iterable[Member], point: str) -> None:
        """Each has died at the crash point, with status 137, and is ready again."""

        async def one(member: Member) -> None:
            assert await asyncio.to_thread(member.exit_status, PATIENCE_SECONDS) == 137, (
                f"{member.name} never came to {point}"
            )
            await self.restart(member)

        await asyncio.gather(*(one(member) for member in members))

    def _crash_file(self, name: str, number: int) -> Path:
        return self.scratch / f"{name}-{number}.crash"

    async def restart(self, member: Member, *, wait: bool = True) -> None:
        """SIGKILL if it runs, then start it again."""
        await asyncio.to_thread(self.system.kill, member)
        self.system.restart(member)
        if wait:
            await asyncio.to_thread(self.system.wait_ready, [member], PATIENCE_SECONDS)

    async def until(
        self,
        condition: Callable[[], Awaitable[Any]],
        what: str,
        seconds_max: float = PATIENCE_SECONDS,
        told: Callable[[], Awaitable[Any]] | None = None,
    ) -> Any:
        """Polls the condition and returns its first true value; raises with what it waited for when the time is up."""
        deadline = time.monotonic() + seconds_max
        last: object = None
        while True:
            try:
                if found := await condition():
                    return found
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                last = repr(error)  # a server that is down while the test restarts it
            if time.monotonic() > deadline:
                state = await told() if told is not None else last
                raise AssertionError(f"waited {seconds_max:.0f} s for {what}; {state} (logs: {self.system.logs})")
            await asyncio.sleep(POLL_SECONDS)

    async def until_at_rest(
        self, orders: Iterable[str] | None = None, seconds_max: float = PATIENCE_SECONDS, *, may_wait: str = ""
    ) -> None:
        """Waits until each of these orders (default: all) is settled and no message is in flight.

        seconds_max: without any message being published. may_wait: what an order may wait for without end, e.g. "snapshot".
        """
        wanted = None if orders is None else [uuid.UUID(order) for order in set(orders)]
        count = len(wanted) if wanted is not None else 0

        async def are_settled() -> bool:
            (row,) = await self.rows("orders", AT_REST, wanted, may_wait)
            return not row["still"] and row["found"] >= count

        async def nothing_is_left() -> bool:
            for name in self.system.names:
                (left,) = await self.rows(name, "select (select count(*) from outbox) + (select count(*) from tasks)")
                if left[0]:
                    return False
            return True

        async def at_rest() -> bool:
            if not await are_settled() or not await nothing_is_left():
                return False
            published, unread = await self.flow()
            if unread or not await nothing_is_left():
                return False
            # What was in an outbox while the topics were read may have been published before the outboxes were read, and what was
            # unread before may have been read since.
            return await self.flow() == (published, 0) and await are_settled()

        async def told() -> str:
            rows = await self.rows("orders", WAITING, wanted)
            parked = [row for name in self.system.names for row in await self.rows(name, PARKED)]
            return f"{[tuple(row) for row in rows]}, parked {[tuple(row) for row in parked]}"

        async def at_rest_or_moving() -> bool:
            nonlocal seen, seen_at
            if time.monotonic() > seen_at + seconds_max / 2:
                (now, _), seen_at = await self.flow(), time.monotonic()
                assert now > seen, f"no message for {seconds_max / 2:.0f} s; {await told()} (logs: {self.system.logs})"
                seen = now
            return await at_rest()

        seen, seen_at = -1, time.monotonic()
        await self.until(at_rest_or_moving, f"{count or 'all'} orders settled", 10 * seconds_max, told)

    async def unread(self) -> int:
        """Records whose offsets their consumer groups have not committed."""
        return (await self.flow())[1]

    async def flow(self) -> tuple[int, int]:
        """Records that were published on the topics of the services, and those of them that are unread."""
        topics = {name: topics_of(service_of(name)) for name in self.system.names}
        parts = [TopicPartition(topic, number) for topic in {*chain(*topics.values())} for number in range(PARTITIONS)]
        ends = await (await self.consumer()).end_offsets(parts)
        left = 0
        for name in self.system.names:
            rows = await self.rows(name, "select topic, partition, coalesce(next_offset, 0) from consumer_offsets")
            read = {TopicPartition(row[0], row[1]): row[2] for row in rows}
            left += sum(max(ends[part] - read.get(part, 0), 0) for part in parts if part.topic in topics[name])
        return sum(ends.values()), left

    async def parked(self) -> list[tuple[Any, ...]]:
        return [(name, *row) for name in self.system.names for row in await self.rows(name, PARKED)]

    async def ends(self, orders: Iterable[str] | None = None) -> dict[str, int]:
        """Number of orders by statuses: "approved/paid/in_progress" -> count."""
        wanted = None if orders is None else [uuid.UUID(order) for order in orders]
        return {row[0]: row[1] for row in await self.rows("orders", ENDS, wanted)}

    def charges(self) -> list[dict[str, Any]]:
        """The money moved by the gateway, from the file that it writes before it answers."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [entry for line in lines if (entry := json.loads(line))["state"] != "refused"]

    async def assert_promises(self, *, at_rest: bool = True, parked: bool = False) -> list[Check]:
        """Asserts that the checker finds no violation, and that nothing is parked unless the test parks."""
        found = await asyncio.to_thread(check, self.system, settled=at_rest, own=partial(own_invariants, self.system))
        assert not violations(found), "\n".join(violations(found))
        if not parked:
            assert not (rows := await self.parked()), rows
        return found


SELLER = {
    "code": "shop", "name": "Shop Ltd", "vat_number": "GB123456789", "time_zone": "Europe/London",
    "address": {"line1": "1 High St", "city": "London", "postcode": "E1", "country": "GB"},
}  # fmt: skip
AT_REST = """
select count(*) as found, count(*) filter (
  where in_flight or waiting in ('answer', 'outcomes', 'no_answer', 'snapshot') and waiting <> $2) as still
from orders where $1::uuid[] is null or key = any($1)"""
WAITING = """
select waiting, in_flight, count(*), min(key::text) from orders where $1::uuid[] is null or key = any($1)
group by 1, 2 order by 3 desc limit 10"""
PARKED = "select type, cause, left(detail, 2000) from parked where state = 'waiting' order by id limit 5"
ENDS = """
select concat_ws('/', status, payment_status, fulfillment_status), count(*) from orders
where $1::uuid[] is null or key = any($1) group by 1"""
