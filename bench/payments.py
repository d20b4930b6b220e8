"""Payments' own work: operations that are recorded, calls to a gateway, a large settlement, events of a gateway.

The first three in a database of their own and in this process, which runs the service's parts without topics; the events over
HTTP with the service as a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson

from bench.console import quantile
from bench.shop import Shop
from bench.workload import STORE
from chassis.declare.app import Principal
from chassis.declare.migrations import upgrade
from chassis.process.app import App
from contracts.payments import Authorize, MoneyLine, Record
from gatewayservers.stripe import signature
from payments import settlements
from payments.handlers import SERVICE
from payments.settings import Settings
from payments.settlements import Source
from payments.statements import formats

GATEWAY_LATENCY_MS: Final = 50
CALLS_AT_ONCE: Final = 500
"""`PAYMENTS_TASK_CONCURRENCY` of the worker that calls the gateway."""
REQUESTS_AT_ONCE: Final = 400
EVENTS_PER_SECOND: Final = 200
SECRET: Final = "whsec_bench"
WHO: Final = Principal("bench", STORE, frozenset({"*"}))
# Orders that are captured, each by a charge that the settlement names.
CAPTURED: Final = """
insert into operations (operation_id, order_id, store_id, kind, state, amount_minor, currency, gateway, gateway_reference)
select gen_random_uuid(), gen_random_uuid(), $1, 'capture', 'succeeded', 1000 + n % 9000, 'EUR', 'stripe', 'ch_' || n
from generate_series(1, $2::int) as n"""


@dataclass
class PaymentsRun:
    recorded_per_second: float
    """Authorizations and captures of elsewhere, each a commit that its sender has seen."""
    calls_per_second: float
    """Authorizations, from leased task to committed report, by a worker at a gateway that takes 50 ms."""
    in_flight: int
    """The most calls of that worker at one time."""
    settled_seconds: float
    """A settlement is read, matched and booked."""
    settled_rows: int
    event_p50_ms: float
    event_p99_ms: float
    """From the time at which an event is due to the answer, after its commit."""


def payments(shop: Shop, url: str, recorded: int, calls: int, rows: int, seconds: int) -> PaymentsRun:
    asyncio.run(upgrade(SERVICE, url))
    per_second = asyncio.run(_recorded(url, recorded // 2))
    with _gateway() as gateway:
        called, in_flight = asyncio.run(_called(url, gateway, calls))
    settled = asyncio.run(_settled(url, rows))
    took = _events(shop, seconds)
    return PaymentsRun(per_second, called, in_flight, settled, rows, quantile(took, 0.5), quantile(took, 0.99))


@contextlib.asynccontextmanager
async def _process(settings: Settings) -> AsyncIterator[App]:
    """The parts of a process that decide and commit, as many as a process has."""
    app = App(SERVICE, settings, "api")
    parts = [asyncio.create_task(app.shell.run()) for _ in range(2)]
    try:
        yield app
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await app.tasks.close()
        await app.database.close()


async def _all(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Runs `one` so many times, `REQUESTS_AT_ONCE` at a time."""
    numbers = iter(range(count))

    async def sender() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(sender() for _ in range(REQUESTS_AT_ONCE)))


def _line(n: int) -> tuple[MoneyLine, ...]:
    return (MoneyLine(line_id="1", quantity=1, amount_minor=1_000 + n % 9_000),)


async def _recorded(url: str, orders: int) -> float:
    """Two operations of each order."""
    keys = [uuid4() for _ in range(orders)]

    async with _process(Settings(database_url=url)) as app:

        async def record(n: int, kind: Any) -> None:
            command = Record(
                order_id=keys[n], store_id=STORE, operation_id=uuid4(), actor=WHO.actor, kind=kind, system="psp",
                payment_id=f"{kind}-{n}", currency="EUR", lines=_line(n),
            )  # fmt: skip
            outcome = await app.submit(WHO, command)
            assert outcome.status == "done" and outcome.refusal is None, outcome

        began = time.monotonic()
        await _all(orders, lambda n: record(n, "authorize"))
        await _all(orders, lambda n: record(n, "capture"))
        return 2 * orders / (time.monotonic() - began)


@contextlib.contextmanager
def _gateway() -> Iterator[str]:
    command = [sys.executable, "-m", "gatewayservers.plain", "--port", "0", "--latency-ms", str(GATEWAY_LATENCY_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().rpartition(" ")[2]
        finally:
            process.terminate()


async def _called(url: str, gateway: str, calls: int) -> tuple[float, int]:
    """The tasks are all there before the worker starts."""
    settings = Settings(database_url=url, test_gateway_url=gateway, task_concurrency=CALLS_AT_ONCE)
    async with _process(settings) as app:

        async def authorize(n: int) -> None:
            command = Authorize(
                order_id=uuid4(), store_id=STORE, operation_id=uuid4(), actor=WHO.actor, gateway="test", currency="EUR",
                lines=_line(n), reference=f"B-{n}",
            )  # fmt: skip
            await app.submit(WHO, command)

        await _all(calls, authorize)
        began, in_flight = time.monotonic(), 0
        worker = asyncio.create_task(app.tasks.run())
        try:
            while (await app.fetch("select exists (select from tasks) as left"))[0]["left"]:
                for _ in range(10):
                    in_flight = max(in_flight, len(app.tasks.running))
                    await asyncio.sleep(0.005)
            took = time.monotonic() - began
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        done = await app.fetch(
            "select count(*) from operations where gateway = 'test' and kind = 'authorize' and state = 'succeeded'"
        )
        assert done[0]["count"] == calls, f"{done[0]['count']} of {calls} are authorized"
        return calls / took, in_flight


async def _settled(url: str, rows: int) -> float:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(CAPTURED, STORE, rows)
        await connection.execute("vacuum analyze operations")
        body = _report(rows)
        began = time.monotonic()
        [statement] = formats.read("stripe", body)
        async with connection.transaction():
            source = Source(STORE, "stripe", WHO.actor, "stripe", "bench")
            done = await settlements.import_statement(connection, source, statement)
        took = time.monotonic() - began
    finally:
        await connection.close()
    assert done.states == {"matched": rows}, done
    return took


def _report(rows: int) -> bytes:
    """The balance transactions of one payout, as Stripe lists them."""
    listed: list[dict[str, Any]] = []
    total = 0
    for n in range(1, rows + 1):
        amount = 1_000 + n % 9_000
        fee = amount // 50
        total += amount - fee
        listed.append({
            "id": f"txn_{n}", "reporting_category": "charge", "amount": amount, "fee": fee, "net": amount - fee, "currency": "eur",
            "created": 1_790_000_000, "exchange_rate": None,
            "source": {"id": f"ch_{n}", "payment_intent": f"pi_{n}", "metadata": {}, "currency": "eur", "amount": amount},
        })  # fmt: skip
    payout = {"id": "txn_p", "reporting_category": "payout", "amount": -total, "fee": 0, "net": -total, "currency": "eur",
              "created": 1_790_000_000, "source": "po_bench"}  # fmt: skip
    return orjson.dumps({"object": "list", "data": [payout, *listed]})


def _events(shop: Shop, seconds: int) -> list[float]:
    """Milliseconds, each event posted at its time whether or not the earlier ones were answered."""
    file = shop.logs / "webhook-secret"
    file.write_text(SECRET)
    account = {
        "store": STORE, "gateway": "stripe", "account": "bench", "credentials": {"api_key": "env:BENCH_STRIPE_KEY"},
        "webhook_secret": f"file:{file.resolve()}",
    }  # fmt: skip
    shop.apply("payments", {"gateway_accounts": [account]})
    with shop.running("payments"):
        return asyncio.run(_posted(f"{shop.system.url('payments')}/v1/gateways/stripe/bench/events", seconds))


async def _posted(address: str, seconds: int) -> list[float]:
    took: list[float] = []
    warm_up = 2 * EVENTS_PER_SECOND
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(n: int, due: float) -> None:
            body = _event(uuid4())
            headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, SECRET)}
            async with session.post(address, data=body, headers=headers) as answer:
                assert answer.status == 200, f"{answer.status} {await answer.text()}"
                await answer.read()
            if n >= warm_up:
                took.append((time.perf_counter() - due) * 1000)

        began = time.perf_counter()
        posting = []
        for n in range(warm_up + seconds * EVENTS_PER_SECOND):
            due = began + n / EVENTS_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            posting.append(asyncio.create_task(post(n, due)))
        await asyncio.gather(*posting)
    return took


def _event(operation_id: UUID) -> bytes:
    intent = {
        "object": "payment_intent",
        "id": f"pi_{operation_id.hex}",
        "metadata": {"operation_id": str(operation_id)},
    }
    event = {
        "object": "event",
        "id": f"evt_{operation_id.hex}",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
    }
    return orjson.dumps(event | {"data": {"object": intent}})
