"""All measurements, in rounds. Each round has new, empty servers, so that no run depends on another run's data.

A round measures Tradewind's throughput, then the peer, then Tradewind's other figures. A last round holds the measurements that
are made once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import devservices
from bench import deliveries, jobbing, lifecycle, projecting, rounds
from bench.books import BooksRun, books
from bench.console import ConsoleRun, console, quantile
from bench.dbos_peer import CANDIDATES, DbosPeer, PeerRun, Tuning
from bench.payments import PaymentsRun, payments
from bench.search import Searched, search
from bench.shop import Shop
from system.checker import check, violations
from system.processes import SERVICES

INSTANCE: Final = "bench"
EACH_ROUND: Final = ("throughput", "dbos", "latency", "http", "workers", "relay")
ONCE: Final = (
    "backlog",
    "gateway",
    "hot",
    "placed",
    "edits",
    "refunds",
    "decide",
    "search",
    "books",
    "payments",
    "webhooks",
)
NAMES: Final = (*EACH_ROUND, *ONCE, "console")
GATEWAY_MS: Final = 20
SEARCHED: Final = "bench_search"
BOOKS: Final = "bench_books"
PAYMENTS: Final = "bench_payments"
CONSOLE_LISTS: Final = "bench_console"
LATENCY_RATE: Final = 100
PLACED_RATE: Final = 50
EDITS_RATE: Final = 5


@dataclass(frozen=True)
class Sizes:
    rounds: int = 3
    orders: int = 20_000
    warm_up: int = 2_000
    peer_orders: int = 2_000
    peer_warm_up: int = 200
    peer_tuning_orders: int = 300
    latency_seconds: int = 45
    latency_warm_up_seconds: int = 10
    http_seconds: int = 10
    workers_orders: int = 6_000
    relay_rows: int = 100_000
    backlog: int = 100_000
    beside_orders: int = 3_000
    search_orders: int = 1_000_000
    fed_orders: int = 5_000
    delivered_events: int = 3_000
    delivered_paced_seconds: int = 20
    behind_events: int = 1_000_000
    endpoints: int = 10_000
    placed_seconds: int = 30
    placed_warm_up_seconds: int = 10
    edits: int = 150
    refunds: int = 3_000
    past: int = 200
    """Edits, and refunds, of the order that is decided on."""
    console_orders: int = 1_000_000
    slowed_orders: int = 5_000
    listed_seconds: int = 20
    job_orders: int = 10_000
    parked: int = 100_000
    deliveries: int = 1_000_000
    entries: int = 10_000_000
    operations: int = 500
    """Operations of the order that has one more."""
    recorded: int = 30_000
    gateway_calls: int = 10_000
    settled_rows: int = 100_000
    gateway_events_seconds: int = 20


QUICK: Final = Sizes(
    1,
    3_000,
    500,
    300,
    50,
    0,
    15,
    5,
    5,
    3_000,
    30_000,
    10_000,
    1_000,
    50_000,
    500,
    500,
    5,
    20_000,
    1_000,
    10,
    5,
    40,
    500,
    20,
    50_000,
    1_000,
    5,
    500,
    2_000,
    20_000,
    500_000,
    500,
    2_000,
    1_000,
    5_000,
    3,
)


class Violated(Exception):
    """The checker found a violated invariant after a run, so the run's figures do not count."""


@dataclass
class Results:
    """All measurements, one entry per run."""

    tuning: Tuning
    throughput: list[rounds.Throughput] = field(default_factory=list)
    dbos: list[PeerRun] = field(default_factory=list)
    latency: list[rounds.Latency] = field(default_factory=list)
    http: list[rounds.Accepted] = field(default_factory=list)
    http_whole: list[rounds.Accepted] = field(default_factory=list)
    workers: list[rounds.Throughput] = field(default_factory=list)
    relay: list[float] = field(default_factory=list)
    backlog: list[rounds.Throughput] = field(default_factory=list)
    gateway: list[float] = field(default_factory=list)
    hot: list[float] = field(default_factory=list)
    placed: list[rounds.Latency] = field(default_factory=list)
    edits: list[lifecycle.Edited] = field(default_factory=list)
    refunds: list[float] = field(default_factory=list)
    decide: list[lifecycle.Decided] = field(default_factory=list)
    search: list[Searched] = field(default_factory=list)
    books: list[BooksRun] = field(default_factory=list)
    payments: list[PaymentsRun] = field(default_factory=list)
    webhooks: list[deliveries.Measured] = field(default_factory=list)
    console: list[ConsoleRun] = field(default_factory=list)
    projected: list[projecting.Projected] = field(default_factory=list)
    jobs: list[jobbing.JobRun] = field(default_factory=list)
    invariants_checked: int = 0
    began: float = field(default_factory=time.time)
    seconds: float = 0


@dataclass
class Session:
    root: Path
    sizes: Sizes
    only: Collection[str]
    show: Callable[[str], None]
    results: Results = field(default_factory=lambda: Results(Tuning()))
    """Filled while it runs, so that the measurements before a failure can be shown."""

    def run(self) -> Results:
        results = self.results
        for number in range(1, self.sizes.rounds + 1):
            if self._wants(*EACH_ROUND):
                with self._servers() as servers:
                    self._round(results, servers, number)
        if self._wants(*ONCE):
            with self._servers() as servers:
                self._last_round(results, servers)
        if self._wants("console"):
            with self._servers() as servers:  # it reads every event that is in the topics
                self._console(results, servers)
        results.seconds = time.time() - results.began
        return results

    def _wants(self, *names: str) -> bool:
        return any(name in self.only for name in names)

    @contextlib.contextmanager
    def _servers(self) -> Iterator[devservices.Services]:
        with devservices.running(self.root, name=INSTANCE, reset=True) as servers:
            yield servers

    def _shop(self, servers: devservices.Services) -> Shop:
        shop = Shop(self.root, servers, self.root / ".devservices" / INSTANCE / "logs")
        shop.prepare()
        return shop

    # -- three times --------------------------------------------------------------------------------------------------

    def _round(self, results: Results, servers: devservices.Services, number: int) -> None:
        sizes, prefix = self.sizes, f"round {number} of {self.sizes.rounds}: "
        shop = self._shop(servers)
        if self._wants("throughput"):
            with shop.running():
                done = rounds.throughput(shop, "all", sizes.orders, sizes.warm_up)
            results.throughput.append(done)
            self.show(f"{prefix}{done.per_second:.0f} orders/s")
        if self._wants("dbos"):
            peer = self._peer(results, servers)
            run = peer.run(f"peer-{number}", sizes.peer_orders, sizes.peer_warm_up)
            results.dbos.append(run)
            self.show(f"{prefix}{run.per_second:.1f} DBOS workflows/s")
        if self._wants("latency"):
            with shop.running():
                seen = rounds.latency(shop, "paced", LATENCY_RATE, sizes.latency_seconds, sizes.latency_warm_up_seconds)
                shop.settled()
            results.latency.append(seen)
            self.show(f"{prefix}{seen.p50_ms:.0f} ms p50, {seen.p99_ms:.0f} ms p99 at {LATENCY_RATE}/s")
        if self._wants("http"):
            self._http(results, shop, prefix)
        if self._wants("workers"):
            with shop.running(workers=2):
                done = rounds.throughput(shop, "two", sizes.workers_orders, sizes.warm_up)
                self._check(results, shop)
            results.workers.append(done)
            self.show(f"{prefix}{done.per_second:.0f} orders/s with two workers per service")
        if self._wants("relay"):
            if not shop.invoiced():  # the relay's rows point to the journal of earlier orders
                with shop.running():
                    rounds.throughput(shop, "rows", sizes.warm_up, 0)
                    shop.settled()
            results.relay.append(rounds.relay(shop, sizes.relay_rows))
            self.show(f"{prefix}{results.relay[-1]:,.0f} rows/s through the relay")

    def _http(self, results: Results, shop: Shop, prefix: str) -> None:
        """The rate that the orders service accepts and publishes alone, then with all services at work."""
        before = shop.invoiced()
        with shop.running("orders"):
            rounds.http(shop, "posted-warm", 2)
            taken = rounds.http(shop, "posted", self.sizes.http_seconds)
        results.http.append(taken)
        with shop.running():
            shop.settled()
            whole = rounds.http(shop, "posted-whole", self.sizes.http_seconds)
            shop.settled()
        assert shop.invoiced() > before + taken.orders + whole.orders, "every accepted order is invoiced"
        results.http_whole.append(whole)
        self.show(
            f"{prefix}{taken.per_second:.0f} orders/s accepted over HTTP, {whole.per_second:.0f} with all at work"
        )

    def _peer(self, results: Results, servers: devservices.Services) -> DbosPeer:
        """A prepared peer. The first call tunes it: each candidate has a short run, and the fastest is used."""
        peer = DbosPeer(self.root, servers, results.tuning)
        peer.prepare()
        if not results.dbos and self.sizes.peer_tuning_orders:
            tried = {}
            for n, candidate in enumerate(CANDIDATES):
                peer.tuning = candidate
                tried[candidate] = peer.run(f"tune-{n}", self.sizes.peer_tuning_orders, 50).per_second
                self.show(f"tuning DBOS: {tried[candidate]:.1f}/s with {candidate}")
            results.tuning = max(tried, key=lambda candidate: tried[candidate])
        peer.tuning = results.tuning
        return peer

    # -- once ---------------------------------------------------------------------------------------------------------

    def _last_round(self, results: Results, servers: devservices.Services) -> None:
        sizes = self.sizes
        shop = self._shop(servers)
        if self._wants("gateway"):
            results.gateway.append(rounds.slow_gateway(shop, "gateway", sizes.beside_orders, GATEWAY_MS))
            self.show(f"{results.gateway[-1]:.0f} orders/s with a gateway that takes {GATEWAY_MS} ms")
        if self._wants("hot"):
            with shop.running():
                done = rounds.throughput(shop, "hot", sizes.beside_orders, sizes.beside_orders // 10, hot=True)
            results.hot.append(done.per_second)
            self.show(f"{done.per_second:.0f} orders/s with one hot SKU")
        if self._wants("placed", "edits", "refunds", "decide"):
            with shop.running():
                self._after_placement(results, shop)
                self._check(results, shop)
        if self._wants("backlog"):
            done = rounds.backlog(shop, "backlog", sizes.backlog)
            results.backlog.append(done)
            self.show(f"a backlog of {sizes.backlog:,} orders drained in {done.seconds:.0f} s")
            self._check(results, shop)
        if self._wants("search"):
            self._search(results, servers)
        if self._wants("books"):
            self._books(results, servers)
        if self._wants("payments"):
            self._payments(results, servers, shop)
        if self._wants("webhooks"):
            self._webhooks(results, servers)

    def _after_placement(self, results: Results, shop: Shop) -> None:
        sizes = self.sizes
        if self._wants("placed"):
            seen = lifecycle.placed(shop, "placed", PLACED_RATE, sizes.placed_seconds, sizes.placed_warm_up_seconds)
            results.placed.append(seen)
            self.show(f"{seen.p50_ms:.0f} ms p50, {seen.p99_ms:.0f} ms p99 from POST to placed at {PLACED_RATE}/s")
        if self._wants("edits"):
            results.edits.append(lifecycle.edited(shop, "edits", sizes.edits, EDITS_RATE))
            self.show(f"{results.edits[-1].p50_ms:.0f} ms p50 from the confirmation of an edit to its invoice")
        if self._wants("refunds"):
            results.refunds.append(lifecycle.refunded(shop, "refunds", sizes.refunds))
            self.show(f"{results.refunds[-1]:.0f} refunds/s with their credit notes")
        if self._wants("decide"):
            done = lifecycle.decided(shop, "decide", sizes.past)
            results.decide.append(done)
            self.show(f"{max(done.milliseconds.values()):.2f} ms to decide on an order of {done.kilobytes:.0f} kB")

    def _search(self, results: Results, servers: devservices.Services) -> None:
        """In a database of its own, which is dropped afterwards: it has several gigabytes."""
        servers.postgres.create_database(SEARCHED)
        try:
            found = search(servers.postgres.dsn(SEARCHED), self.sizes.search_orders)
        finally:
            servers.postgres.drop_database(SEARCHED)
        results.search.append(found)
        self.show(
            f"lists of {found.orders:,} orders: p99 of the slowest kind {found.slowest(0.99):.1f} ms, filled in {found.filled_in_seconds:.0f} s"
        )

    def _books(self, results: Results, servers: devservices.Services) -> None:
        """In a database of its own, as the search."""
        servers.postgres.create_database(BOOKS)
        try:
            found = books(servers.postgres.dsn(BOOKS), self.sizes.entries, self.sizes.operations)
        finally:
            servers.postgres.drop_database(BOOKS)
        results.books.append(found)
        self.show(
            f"a trial balance over {found.entries:,} entries: {quantile(found.trial_balance_ms, 0.5):.1f} ms;"
            f" one more of {found.operations} operations: {found.operation_ms:.2f} ms"
        )

    def _payments(self, results: Results, servers: devservices.Services, shop: Shop) -> None:
        """In a database of its own, as the search; the events of a gateway go to the service's own."""
        sizes = self.sizes
        servers.postgres.create_database(PAYMENTS)
        try:
            found = payments(
                shop, servers.postgres.dsn(PAYMENTS), sizes.recorded, sizes.gateway_calls, sizes.settled_rows,
                sizes.gateway_events_seconds,
            )  # fmt: skip
        finally:
            servers.postgres.drop_database(PAYMENTS)
        results.payments.append(found)
        self.show(
            f"{found.recorded_per_second:,.0f} operations/s recorded, {found.calls_per_second:,.0f} calls/s to a gateway,"
            f" {found.settled_rows:,} rows settled in {found.settled_seconds:.1f} s, events p99 {found.event_p99_ms:.0f} ms"
        )

    def _webhooks(self, results: Results, servers: devservices.Services) -> None:
        sizes = self.sizes
        shop = Shop(self.root, servers, self.root / ".devservices" / INSTANCE / "logs", SERVICES)
        shop.prepare()
        done = deliveries.measured(
            shop, sizes.fed_orders, sizes.delivered_events, sizes.delivered_paced_seconds, sizes.behind_events,
            sizes.endpoints,
        )  # fmt: skip
        results.webhooks.append(done)
        self.show(f"{done.delivered_per_second:,.0f} deliveries/s, {done.cpu_us_per_delivery:.0f} us of CPU each")

    def _console(self, results: Results, servers: devservices.Services) -> None:
        """Its lists in a database of their own, as the search; then its processes over them."""
        sizes = self.sizes
        shop = Shop(self.root, servers, self.root / ".devservices" / INSTANCE / "logs", SERVICES)
        shop.prepare()
        servers.postgres.create_database(CONSOLE_LISTS)
        dsn = servers.postgres.dsn(CONSOLE_LISTS)
        try:
            found = console(dsn, sizes.console_orders)
            results.console.append(found)
            self.show(f"the console over {found.orders:,} orders: lists p99 {found.every(0.99):.1f} ms")
            done = projecting.projected(shop, dsn, sizes.slowed_orders, sizes.listed_seconds, sizes.console_orders)
            results.projected.append(done)
            self.show(f"{done.folded_per_second:,.0f} events/s folded, made anew in {done.rebuilt_seconds:.0f} s")
            ended = jobbing.measured(shop, dsn, sizes.job_orders, sizes.parked, sizes.deliveries)
            results.jobs.append(ended)
            self.show(
                f"a job of {ended.orders:,} orders: preview {ended.preview_ms:.0f} ms, done in {ended.seconds:.0f} s"
            )
        finally:
            servers.postgres.drop_database(CONSOLE_LISTS)

    def _check(self, results: Results, shop: Shop) -> None:
        if shop.system.members:
            shop.settled()
        found = check(shop.system)
        if broken := violations(found):
            raise Violated("; ".join(broken))
        results.invariants_checked += sum(one.checked for one in found)
