"""The console over a million orders of one store: lists, search, pages, the preview of a job, the export. The rows are written
directly. `bench.projecting` measures its processes.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import httpx2
from sqlalchemy import Executable, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from bench.workload import STORE
from chassis.declare.migrations import upgrade
from chassis.process.app import App
from chassis.process.cli import spare_collections
from console import exporting, jobs, listing, projection, sessions, tables
from console.api.serving import SESSION
from console.domain import words
from console.domain.people import Grant, Person
from console.domain.row import Words
from console.handlers import SERVICE
from console.listing import COLUMNS, VIEWS, Asked
from console.settings import Settings

SINCE: Final = datetime(2024, 11, 1, tzinfo=UTC)
DAYS: Final = 730
BUYERS: Final = 300_000
SKUS: Final = 20_000
RUNS: Final = 40
PREVIEWS: Final = 20
OPEN: Final = (
    (880, "approved", "paid", "in_progress", "warehouse", "place.fulfill"), (20, "placed", "authorized", "unfulfilled", "approval", "place.approve"),
    (20, "pending", "unpaid", "unfulfilled", "payment", ""), (30, "approved", "paid", "unfulfilled", "exception", "settle.capture"),
    (10, "approved", "paid", "unfulfilled", "hold", "hold"), (400, "placing", "unpaid", "unfulfilled", "answer", "place"),
)  # fmt: skip
"""Weight and words of orders of the last month that wait."""
COPIED: Final = (*projection.WRITTEN, "written_by")


class Generator:
    """Makes rows, oldest first. The same number gives the same rows."""

    def __init__(self, count: int) -> None:
        self._count, self._rng = count, random.Random(count)

    def lines(self) -> Iterator[bytes]:
        for n in range(self._count):
            yield self._line(n)

    def _line(self, n: int) -> bytes:
        rng = self._rng
        at = SINCE + timedelta(days=DAYS * n / self._count)
        status, payment, fulfillment, waiting, step = "approved", "paid", "fulfilled", "", ""
        if n > self._count * (1 - 30 / DAYS) and rng.random() < 0.8:
            _, status, payment, fulfillment, waiting, step = rng.choices(OPEN, [one[0] for one in OPEN])[0]
        elif rng.random() < 0.05:
            status, payment, fulfillment = "cancelled", "voided", "unfulfilled"
        number = f"{rng.randrange(10**8):08}-{n}"
        buyer = rng.randrange(BUYERS)
        found = Words(
            orders=(number, f"sku-{int(SKUS * rng.random() ** 4)}"),
            buyer=(f"buyer-{buyer}@example.com", f"first{buyer % 500}", f"last{buyer % 9_973}"),
            documents=(f"r{n}",),
        )
        channel = rng.choices(("amazon", "web", "bol", "till"), (60, 25, 14, 1))[0]
        cents, ended = rng.randrange(100, 40_000), at + timedelta(hours=20)
        row: dict[str, Any] = {
            "order_id": UUID(int=rng.getrandbits(128)), "store_id": STORE, "number": number, "channel": channel, "account": "main",
            "market": f"eu-{channel}", "country": rng.choice(("DE", "FR", "NL", "AT", "MT")), "currency": "EUR", "grand_minor": cents,
            "test": False, "ordered_at": at, "received_at": at, "invoiced_at": ended if payment == "paid" else None,
            "status": status, "payment_status": payment, "fulfillment_status": fulfillment,
            "cancel_cause": None, "placed_at": at, "completed_at": ended if not waiting and status == "approved" else None,
            "archived_at": None, "tags": "{vip}" if rng.random() < 0.001 else "{}", "waiting": waiting, "step": step,
            "since": at if waiting else None, "authorized_minor": cents, "captured_minor": cents if payment == "paid" else 0,
            "voided_minor": 0, "refunded_minor": 0, "reserved": 2, "shipped": 0, "invoiced_minor": 0, "credited_minor": 0,
            "changed_at": ended, "versions": '{"orders": 5, "payments": 3}', "memory": '{"paid": true, "started": true}',
            "words_by_kind": json.dumps({"orders": found.orders, "buyer": found.buyer, "documents": found.documents}),
            "words": words.vector(found), "number_folded": number, "written_by": 1,
        }  # fmt: skip
        values = (row[name] for name in COPIED)
        return ("\t".join(r"\N" if value is None else str(value) for value in values) + "\n").encode()


async def fill(url: str, count: int) -> None:
    """Migrates, and writes the rows; indexes are made afterwards."""
    await upgrade(SERVICE, url)
    indexes = sorted(tables.order_rows.indexes, key=lambda index: str(index.name))
    connection = await asyncpg.connect(url)
    try:
        for index in indexes:
            await connection.execute(f"drop index {index.name}")

        async def source() -> AsyncIterator[bytes]:
            for lines in _batches(Generator(count).lines(), 5_000):
                yield b"".join(lines)

        await connection.copy_to_table("order_rows", source=source(), columns=COPIED, format="text")
        await connection.execute("insert into stores (store_id) values ($1)", STORE)
        for index in indexes:
            await connection.execute(str(CreateIndex(index).compile(dialect=postgresql.dialect())))  # type: ignore[no-untyped-call]  # SQLAlchemy's
        await connection.execute("vacuum analyze order_rows")
    finally:
        await connection.close()


def requests(rng: random.Random) -> Mapping[str, dict[str, Any]]:
    """Returns the queries that are measured, by kind."""
    buyer, day = rng.randrange(BUYERS), (SINCE + timedelta(days=rng.randrange(DAYS))).date().isoformat()
    return {
        **{f"view_{view}": {"view": view} for view in VIEWS},
        "attention_newest": {"view": "attention", "sort": "newest"},
        "waiting_all": {"sort": "waiting"},
        "answer": {"waiting": ["answer"]},
        "step": {"waiting": ["exception"], "step": "settle.capture"},
        "status_and_channel": {"status": ["approved"], "channel": "till"},
        "country_rare_tag": {"country": "MT", "tag": "vip"},
        "a_week": {"since": day, "until": day},
        "nothing_fits": {"channel": "none"},
        "number": {"q": f"{rng.randrange(10**8):08}"},
        "number_prefix": {"q": f"{rng.randrange(10**3):03}"},
        "email": {"q": f"buyer-{buyer}@example.com"},
        "name": {"q": f"first{buyer % 500} last{buyer % 9_973}"},
        "name_common": {"q": f"first{buyer % 500}"},
        "sku": {"q": f"SKU-{int(SKUS * rng.random() ** 4)}"},
        "document": {"q": f"R{rng.randrange(1_000_000)}"},
    }


@dataclass(frozen=True)
class ConsoleRun:
    """Milliseconds of each request in the database by its kind, and the other figures."""

    milliseconds: Mapping[str, Sequence[float]]
    page_ms: Sequence[float]
    preview_ms: Sequence[float]
    rows_read_max: int
    """The most that one statement has read of its tables."""
    export_first_seconds: float
    export_seconds: float
    orders: int

    def quantile(self, kind: str, part: float) -> float:
        return quantile(self.milliseconds[kind], part)

    def every(self, part: float) -> float:
        """Returns the quantile of all requests."""
        return quantile([one for values in self.milliseconds.values() for one in values], part)


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) * part)]


class Probe:
    """Reads as `App.read` does; notes the time in the database and, if it explains, how many rows a statement has read at most."""

    def __init__(self, app: App, *, explains: bool = False) -> None:
        self._app, self.explains = app, explains
        self.milliseconds = 0.0
        self.rows_read_max = 0

    async def read(self, statement: Executable) -> Any:
        if self.explains:
            await self._explain(statement)
        began = time.perf_counter()
        rows = await self._app.read(statement)
        self.milliseconds += (time.perf_counter() - began) * 1000
        return rows

    async def _explain(self, statement: Executable) -> None:
        binds = list(getattr(statement, "_bindparams", {}).values())
        if binds:
            explained = text(f"explain (analyze, format json) {statement}").bindparams(*binds)
        else:
            compiled = statement.compile(dialect=postgresql.asyncpg.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined, no-untyped-call]  # SQLAlchemy's
            explained = text(f"explain (analyze, format json) {compiled}")
        [row] = await self._app.read(explained)
        plan = next(iter(row.values()))
        self.rows_read_max = max(self.rows_read_max, rows_read(plan[0]["Plan"]))


def rows_read(node: Mapping[str, Any]) -> int:
    """Returns how many rows of tables a plan has read, those removed by a filter included."""
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    own = node["Actual Rows"] + sum(node.get(name, 0) for name in removed) if "Relation Name" in node else 0
    inner = sum(rows_read(one) for one in node.get("Plans", ()))
    return inner + int(own * node["Actual Loops"])


async def measured(url: str, count: int, runs: int = RUNS) -> ConsoleRun:
    await fill(url, count)
    spare_collections(SERVICE.young_objects)  # as the service does
    app = App(SERVICE, Settings(database_url=url, database_read_seconds_max=30), "api")
    try:
        probe = Probe(app)
        milliseconds = await _lists(probe, runs)
        page_ms = await _pages(app, runs)
        preview_ms = await _previews(app)
        first, whole = await _export(app)
    finally:
        await app.database.close()
    return ConsoleRun(milliseconds, page_ms, preview_ms, probe.rows_read_max, first, whole, count)


async def _lists(probe: Probe, runs: int) -> Mapping[str, Sequence[float]]:
    found: dict[str, list[float]] = {name: [] for name in (*requests(random.Random(0)), "counts")}
    for run in range(-2, runs):  # the first two warm the caches of the connection
        probe.explains = run == -1
        for name, query in requests(random.Random(run)).items():
            asked = Asked(**query)
            for _ in range(2):  # the first page and the next one
                probe.milliseconds = 0.0
                page = await listing.find(probe.read, STORE, asked, personal=True)
                if run >= 0:
                    found[name].append(probe.milliseconds)
                if page.next_cursor is None:
                    break
                asked = asked.model_copy(update={"cursor": page.next_cursor})
        probe.milliseconds = 0.0
        await listing.count_views(probe.read, STORE)
        if run >= 0:
            found["counts"].append(probe.milliseconds)
    return found


async def _pages(app: App, runs: int) -> Sequence[float]:
    """Whole pages, as a browser receives them."""
    now = datetime.now(UTC)
    link = await sessions.invite(app, "bench", ["administrator"], None, now)
    token = await sessions.begin(app, link, "", now)
    found = []
    transport = httpx2.ASGITransport(app=app.asgi())
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://console", headers={"cookie": f"{SESSION}={token}"}
    ) as browser:
        for run in range(-2, runs):
            for query in requests(random.Random(run)).values():
                began = time.perf_counter()
                answer = await browser.get("/orders", params=query)
                assert answer.status_code == 200, answer.text[:500]
                if run >= 0:
                    found.append((time.perf_counter() - began) * 1000)
    return found


async def _previews(app: App) -> Sequence[float]:
    person = Person(uuid4(), "bench", "bench", (Grant("administrator", None),))
    found = []
    for _ in range(PREVIEWS):
        began = time.perf_counter()
        await jobs.freeze(app, person, STORE, Asked(waiting=["answer"]), "", personal=True)
        found.append((time.perf_counter() - began) * 1000)
    return found


async def _export(app: App) -> tuple[float, float]:
    """Returns after how many seconds the first rows came, and the last ones."""
    began, first = time.perf_counter(), 0.0
    async for _ in exporting.chunks(app.read, STORE, Asked(), COLUMNS, personal=False, search_personal=True):
        first = first or time.perf_counter() - began
    return first, time.perf_counter() - began


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def console(url: str, count: int) -> ConsoleRun:
    return asyncio.run(measured(url, count))
