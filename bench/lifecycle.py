"""What happens to an order once it is placed over HTTP: it is edited, refunded, and decided on after many of both."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from bench.http_load import Client
from bench.rounds import Latency
from bench.shop import COMMITTED_AT, STALLED_SECONDS, Shop, Stalled, report_of
from bench.workload import STORE, Series
from chassis.batch.aggregates import whole
from contracts.base import Command, to_json
from contracts.deciding import Context, Folded
from contracts.orders import ConfirmEdit, EditChanges, LineEdit, OpenEdit, Refund
from orders.domain.decisions import requests
from orders.domain.state.order import Order
from orders.store import PARTS
from orders.tables import orders

DEARER_MINOR: Final = 60_00
"""A price above that of every line of the workload."""
REPEATS: Final = 100
LINE: Final = "1"


def placed(shop: Shop, series: str, rate: float, seconds: float, warm_up_seconds: float) -> Latency:
    """`POST /v1/orders` on schedule. Measured from an order's scheduled time to the commit of `orders.placed`."""
    skipped, count = int(rate * warm_up_seconds), int(rate * (warm_up_seconds + seconds))
    load_report = report_of(
        shop.load(
            "http", "--url", shop.system.url("orders"), "--series", series, "--count", str(count), "--rate", str(rate),
            BENCH_API_KEY=shop.keys["orders"],
        )
    )  # fmt: skip
    assert not load_report["refused"], f"refused: {load_report['refused']}"
    shop.settled()
    names = Series(series)
    due = {names.key(n): load_report["first_sent"] + n / rate for n in range(skipped, count)}
    rows = shop.fetch(
        "orders",
        f"select key, {COMMITTED_AT} as at from journal where type = 'orders.placed' and key = any($1::uuid[])",
        [*due],
    )
    took = sorted((row["at"] - due[row["key"]]) * 1000 for row in rows)
    assert len(took) == len(due), f"{len(took)} of {len(due)} orders are placed"
    return Latency(statistics.median(took), took[int(len(took) * 0.99)], load_report["late_ms_max"])


@dataclass
class Edited:
    p50_ms: float
    p99_ms: float


def edited(shop: Shop, series: str, count: int, rate: float) -> Edited:
    """Edits that make a line dearer, on schedule. Measured from the request to confirm an edit to the commit of the last
    event of its order: the dearer part is authorized, captured and invoiced then."""
    keys = _invoiced(shop, series, count)
    confirmed_at = asyncio.run(_edit_each(shop, keys, rate))
    shop.settled()
    rows = shop.fetch(
        "orders", f"select key, max({COMMITTED_AT}) as at from journal where key = any($1::uuid[]) group by key", keys
    )
    invoices = shop.fetch(
        "invoicing", "select count(*) as n from documents where kind = 'invoice' and order_id = any($1::uuid[])", keys
    )
    assert invoices[0]["n"] == 2 * count, f"{invoices[0]['n']} invoices of {count} orders, each edited once"
    took = sorted((row["at"] - confirmed_at[row["key"]]) * 1000 for row in rows)
    return Edited(statistics.median(took), took[int(len(took) * 0.99)])


def refunded(shop: Shop, series: str, count: int) -> float:
    """Refunds per second, one of each order, from the first request to the commit of the last credit note."""
    keys = _invoiced(shop, series, count)
    shop.checkpoint()
    began = time.time()
    asyncio.run(_refund_each(shop, [(key, {"lines": [{"line_id": LINE, "quantity": 1}]}) for key in keys]))
    shop.settled()
    (row,) = shop.fetch(
        "invoicing",
        f"select count(*) as n, max({COMMITTED_AT}) as at from documents where kind = 'credit' and order_id = any($1::uuid[])",
        keys,
    )
    assert row["n"] == count, f"{row['n']} credit notes of {count} refunds"
    return count / float(row["at"] - began)


# -- many edits and refunds of one order ------------------------------------------------------------------------------


@dataclass
class Decided:
    """An order after many edits and refunds: CPU milliseconds to read its document, decide on a request and write it again."""

    milliseconds: dict[str, float]
    kilobytes: float


def decided(shop: Shop, series: str, times: int) -> Decided:
    """An order that was edited and refunded `times` times each on the running system, then decided on in this process."""
    (key,) = _invoiced(shop, series, 1)
    asyncio.run(_edit_often(shop, key, times))
    asyncio.run(_refund_each(shop, [(key, {"goodwill_minor": 1})] * times, connections=4))
    shop.settled()
    columns = select(orders.c.doc, *(orders.c[part] for part in PARTS)).where(orders.c.key == key)
    statement = columns.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]  # SQLAlchemy's
    (row,) = shop.fetch("orders", str(statement))
    document = whole(row, PARTS)
    asked: dict[str, Any] = {"order_id": key, "store_id": STORE, "operation_id": uuid4(), "actor": "bench"}
    changes = EditChanges(lines=(LineEdit(line_id=LINE, unit_price_minor=2 * DEARER_MINOR),))
    opened = OpenEdit(**asked, changes=changes)
    milliseconds = {
        "open_an_edit": _median_ms(document, requests.open_edit, opened),
        "confirm_an_edit": _median_ms(
            to_json(_after(document, requests.open_edit, opened)),
            requests.confirm_edit,
            ConfirmEdit(**asked, edit_id=opened.operation_id),
        ),
        "refund": _median_ms(document, requests.refund, Refund(**asked, goodwill_minor=1)),
    }
    return Decided(milliseconds, len(document) / 1000)


def _median_ms(document: str, decide: Callable[..., Any], command: Command) -> float:
    took = []
    for _ in range(REPEATS):
        began = time.process_time()
        to_json(_after(document, decide, command))
        took.append((time.process_time() - began) * 1000)
    return statistics.median(took)


def _after(document: str, decide: Callable[..., Any], command: Command) -> Order:
    order = Order.model_validate_json(document)
    assert order.market is not None and order.content is not None
    context = Context(order.content.placed_at, command.key, STORE, UUID(int=1), "bench", command.TYPE, {})
    decision = decide(order, command, context)
    assert isinstance(decision, Folded), f"{command.TYPE} is refused: {decision}"
    after: Order = decision.state
    return after


# -- requests ---------------------------------------------------------------------------------------------------------


def _invoiced(shop: Shop, series: str, count: int) -> list[UUID]:
    """Orders of a series that are captured and invoiced, and that nothing moves any more."""
    start = shop.invoiced()
    report_of(shop.snapshots(series, count))
    shop.wait_invoiced(start + count)
    shop.settled()
    return [Series(series).key(n) for n in range(count)]


@asynccontextmanager
async def _client(shop: Shop) -> AsyncIterator[Client]:
    client = Client(shop.system.url("orders"), shop.keys["orders"])
    try:
        yield client
    finally:
        client.close()


async def _edit_each(shop: Shop, keys: Sequence[UUID], rate: float) -> dict[UUID, float]:
    """Returns when the request to confirm each edit was sent, epoch seconds."""
    confirmed_at: dict[UUID, float] = {}

    async def edit(client: Client, key: UUID, due: float) -> None:
        await asyncio.sleep(max(due - time.time(), 0))
        path = await _opened(client, key, DEARER_MINOR)
        confirmed_at[key] = time.time()
        await client.request("POST", f"{path}/confirm", 202)

    async with _client(shop) as client:
        began = time.time() + 0.1
        await asyncio.gather(*(edit(client, key, began + n / rate) for n, key in enumerate(keys)))
    return confirmed_at


async def _edit_often(shop: Shop, key: UUID, times: int) -> None:
    async with _client(shop) as client:
        for n in range(times):
            path = await _opened(client, key, DEARER_MINOR + n)
            await client.request("POST", f"{path}/confirm", 202)
            until = time.monotonic() + STALLED_SECONDS
            while (await client.request("GET", path, 200))["waits_for"]:
                if time.monotonic() > until:
                    raise Stalled(f"edit {n + 1} of {times} does not end in {STALLED_SECONDS:.0f} s")
                await asyncio.sleep(0.01)


async def _opened(client: Client, key: UUID, price_minor: int) -> str:
    """Opens an edit and returns its path."""
    edits = f"/v1/orders/{key}/edits"
    changes = {"lines": [{"line_id": LINE, "unit_price_minor": price_minor}]}
    return f"{edits}/{(await client.request('POST', edits, 201, changes))['edit_id']}"


async def _refund_each(shop: Shop, wanted: Sequence[tuple[UUID, dict[str, Any]]], connections: int = 64) -> None:
    left = iter(wanted)

    async def connection(client: Client) -> None:
        for key, body in left:
            await client.request("POST", f"/v1/orders/{key}/refunds", 201, body)

    async with _client(shop) as client:
        await asyncio.gather(*(connection(client) for _ in range(min(connections, len(wanted)))))
