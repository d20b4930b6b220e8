"""A whole demo: start servers and services, replay, wait until all orders are settled, check, compare, report, stop."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from rich.console import Console

import devservices
from contracts.ids import order_id
from demo import gift_cards, outcome, storefront
from demo.bank import Bank
from demo.buyers import Buyers
from demo.changes import line_of
from demo.deliveries import Deliveries, all_delivered, all_sent, deliveries
from demo.desk import Desk, request_of
from demo.display import Display
from demo.expected import ActualRow, compare, trial_balance
from demo.following import Following, Stalled
from demo.oracle import left_on_shelf
from demo.payment_methods import ACCOUNT, Credentials, tables
from demo.receivers import receiving
from demo.replay import Sent, replay
from demo.report import (
    Checks,
    Timings,
    books_of,
    build_report,
    exit_status,
    orders_csv,
    source_figures,
    stock_of,
    summary,
)
from demo.retail import RetailOrder, id_of
from demo.task import ROOT, Task
from demo.trouble import Trouble, applies, stock, trouble_of, zero_stock_skus
from demo.warehouse import Warehouse
from devservices.errors import DevservicesError
from system.checker import Check, check, violations
from system.installation import (
    READY_TIMEOUT_SECONDS,
    STORE,
    TABLES,
    Installation,
    apply,
    import_services,
    install,
    join,
    own_invariants,
    put_stock,
    start_gateway,
)
from system.interrupt import Interrupt
from system.processes import System


@dataclass(frozen=True)
class Seen:
    """The result of a run, read before the system stops."""

    actual: dict[str, ActualRow]
    stock: dict[str, int]
    """SKU -> pieces."""
    balances: dict[str, int]
    """Account -> balance."""
    timings: Timings
    deliveries: Deliveries
    duplicates_removed: int
    stalled: str
    """What the orders wait for, if nothing changed for too long; else empty."""
    refused: dict[UUID, str]
    """Order id -> the code with which a request of the service desk was refused."""


Afterwards = Callable[[Installation], Coroutine[Any, Any, None]]
"""What is done with the system when every order is settled and checked, before it stops."""


def run(
    task: Task, interrupt: Interrupt, console: Console, started: float, afterwards: Afterwards | None = None
) -> int:
    """Returns the exit status. started: time.monotonic() at the start of the process."""
    _clear_reports(task)
    imports = threading.Thread(target=import_services, name="demo-imports", daemon=True)
    imports.start()
    with Display(console, len(task.run)) as display:
        display.step("starting Kafka and PostgreSQL")
        with devservices.running(
            ROOT, task.instance, reset=True, kafka_port=task.kafka_port, postgres_port=task.postgres_port
        ) as servers:
            shutil.rmtree(task.logs, ignore_errors=True)
            with System(ROOT, servers.kafka, servers.postgres, task.logs, prefix=_prefix(task)) as system:
                imports.join()
                configured = {**tables(TABLES, task.methods), "payments": storefront.TABLES}
                installation = Installation(system, tables=configured)
                seen = interrupt.run(_observe(task, installation, display, started))
                display.step("checking the invariants over all databases and topics")
                checks = _check(system, settled=not seen.stalled)
                if afterwards is not None:
                    interrupt.run(afterwards(installation))
    return _report(task, seen, checks, console)


async def _observe(task: Task, installation: Installation, display: Display, started: float) -> Seen:
    """Sets up, replays, polls until every order is settled, and reads the results."""
    zero = zero_stock_skus(task.orders)
    buyers = None
    if task.elsewhere:
        display.step("waiting for the services")
        await join(installation, task.elsewhere)
    else:
        display.step("preparing databases and topics, starting the services")
        buyers = await _installed(task, installation)
    troubled = [*_troubled(task.run, zero)]
    more = [line.sku for _, order, trouble in troubled if trouble == "edited" if (line := line_of(trouble, order))]
    await put_stock(installation, stock(task.run, zero, more))
    asked = ((key, request_of(trouble, order)) for key, order, trouble in troubled)
    desk = Desk(installation, {key: request for key, request in asked if request is not None})
    sent = Sent()
    setup_seconds = time.monotonic() - started
    async with receiving(installation, len(task.run)) as receivers:
        cards = await gift_cards.issue(installation, gift_cards.cards_of(task.run, order_id))
        await storefront.open_sessions(installation, storefront.sessions_of(task.run, order_id, task.methods))
        ended_at, stalled = await _replay(task, installation, display, desk, buyers, sent, cards)
        display.step("reading the result of each order")
        if not stalled:
            await all_sent(installation)
        published = await outcome.published(installation)
        if not stalled:
            display.step("waiting for the last deliveries of webhooks")
            await all_delivered(installation, receivers, published.events)
        delivered = await deliveries(installation, receivers, published.events)
    actual = await outcome.actual_rows(installation, published.changes)
    latencies = _received_to_completed_ms(published.completed_at, actual, sent)
    timings = Timings(setup_seconds, ended_at - (sent.started_at or ended_at), latencies)
    left, balances = await outcome.stock(installation), await outcome.balances(installation)
    duplicates = await outcome.duplicates_removed(installation)
    return Seen(actual, left, balances, timings, delivered, duplicates, stalled, desk.refused)


def _troubled(run: Iterable[RetailOrder], zero_stock: frozenset[str]) -> Iterator[tuple[UUID, RetailOrder, Trouble]]:
    for order in run:
        key = id_of(order, STORE, order_id)
        trouble = trouble_of(key)
        if trouble is not None and applies(trouble, order, zero_stock):
            yield key, order, trouble


async def _installed(task: Task, installation: Installation) -> Buyers:
    """Starts gateways and services. Returns the buyers at the server in Stripe's shapes, which sends its events to payments."""
    system, credentials = installation.system, Credentials()
    start_gateway(system, task.logs / "gateway.jsonl", "--trouble", "demo")
    system.settings = {**system.settings, **credentials.environment}
    await install(installation)
    command = [sys.executable, "-m", "gatewayservers.stripe", "--port", "{port}", "--api-key", credentials.api_key]
    events = f"{system.url('payments')}/v1/gateways/stripe/{ACCOUNT}/events"
    stripe = system.add(
        "stripe", command=[*command, "--webhook", events, "--webhook-secret", credentials.webhook_secret]
    )
    await apply(installation, "payments", credentials.account(STORE, stripe.url))
    await system.until_ready(READY_TIMEOUT_SECONDS)
    return Buyers(installation, stripe.url)


async def _replay(
    task: Task, installation: Installation, display: Display, desk: Desk, buyers: Buyers | None, sent: Sent,
    cards: Mapping[UUID, str],
) -> tuple[float, str]:  # fmt: skip
    """Returns (time.monotonic() when the last order was settled, what the others wait for or an empty text)."""
    warehouse, shop = Warehouse(installation, skipped=desk.unshipped), storefront.Storefront(installation)
    following = Following(installation, len(task.run))
    settled = asyncio.create_task(following.until_settled(lambda: desk.done and shop.done, display.show))
    parties = [
        asyncio.create_task(
            replay(installation.system.kafka.bootstrap_servers, task.run, STORE, sent, cards, task.methods)
        ),
        asyncio.create_task(desk.run()),
        asyncio.create_task(warehouse.run()),
        asyncio.create_task(Bank(installation).run()),
        asyncio.create_task(shop.run()),
        *([asyncio.create_task(buyers.run())] if buyers is not None else []),
    ]
    pending = {settled, *parties}
    try:
        while settled in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()  # an error of any of them ends the demo
        return settled.result(), ""
    except Stalled as stalled:
        return time.monotonic(), str(stalled)
    finally:
        for each in (settled, *parties):
            each.cancel()
        await asyncio.gather(settled, *parties, return_exceptions=True)


def _received_to_completed_ms(
    completed_at: Mapping[UUID, datetime], actual: Mapping[str, ActualRow], sent: Sent
) -> list[float]:
    return [
        completed_at[key].timestamp() * 1000 - at_ms
        for key, at_ms in sent.at_ms.items()
        if key in completed_at and actual[str(key)]["actual"] == "completed"
    ]


def _check(system: System, settled: bool) -> list[Check]:
    """Runs the checker in a daemon thread: Ctrl-C ends the process without waiting for the check."""
    found: list[Check] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(check(system, settled=settled, own=functools.partial(own_invariants, system)))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="demo-check", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found


def _report(task: Task, seen: Seen, checks: list[Check], console: Console) -> int:
    unexpected = compare(task.expected, seen.actual)
    counted = Checks(seen.duplicates_removed, sum(one.checked for one in checks), sum(one.violated for one in checks))
    source = source_figures(task.book, task.orders)
    shelves = stock_of(left_on_shelf(task.book, task.expected), seen.stock)
    books = books_of(trial_balance(task.expected), seen.balances)
    report = build_report(source, seen.actual, unexpected, seen.timings, counted, shelves, books, seen.deliveries)
    for path, content in zip(_reports(task), (_json(report), orders_csv(task.expected, seen.actual)), strict=True):
        path.write_text(content, encoding="utf-8")
    console.print(summary(report, task.book.broken_named(), unexpected))
    refused = [f"A request to change order {key} was refused: {code}." for key, code in seen.refused.items()]
    for sentence in [*([seen.stalled] if seen.stalled else []), *refused, *violations(checks)]:
        console.print(f"{sentence} (the services' logs: {task.logs})", markup=False)
    return 1 if seen.stalled else exit_status(report, task.expected, seen.actual)


def _reports(task: Task) -> tuple[Path, Path]:
    return task.reports / "report.json", task.reports / "orders.csv"


def _json(report: dict[str, Any]) -> str:
    return orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n"


def _clear_reports(task: Task) -> None:
    """Deletes the reports of an earlier run. Raises DevservicesError, before anything starts, if they cannot be written."""
    try:
        for path in _reports(task):
            path.unlink(missing_ok=True)
            path.touch()
            path.unlink()
    except OSError as error:
        raise DevservicesError(
            f"{error.filename} cannot be written ({error.strerror}): clone the repository to a directory of your own."
        ) from error


def _prefix(task: Task) -> str:
    """The prefix of the databases. A PostgreSQL named in the environment may hold other databases, and a demo drops its own."""
    return "tradewind_demo_" if os.environ.get("POSTGRES_URL") and not task.elsewhere else ""
