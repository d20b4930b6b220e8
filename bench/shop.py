"""The measured system: starts it, writes the configuration and stock of the workload, polls until orders are invoiced."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench.measure import Cost, Meter
from bench.workload import SELLER, SKUS, STORE, sku
from devservices.databases import execute, fetch
from devservices.services import Services
from system.installation import Installation, put_stock
from system.processes import SAGA, System

ON_HAND = 10_000_000
"""Enough that no order is short: every order is measured up to its invoice."""
STALLED_SECONDS = 60.0


class Stalled(Exception):
    """Orders were sent, and for `STALLED_SECONDS` no invoice was made."""


@dataclass
class Shop:
    root: Path
    servers: Services
    logs: Path
    names: Sequence[str] = SAGA
    """The services of the system."""
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.system = self._system()

    def _system(self, **settings: str) -> System:
        return System(
            self.root, self.servers.kafka, self.servers.postgres, self.logs, names=self.names, settings=settings
        )

    # -- before the measurements --------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Creates databases, topics, one market, one seller and 10,000 SKUs, and turns on commit timestamps."""
        execute(self.servers.postgres.dsn("postgres"), "alter system set track_commit_timestamp = on")
        self.servers.postgres.restart()
        self.system.prepare()
        self.keys = self.system.api_keys(STORE)
        self.market()
        self.apply("invoicing", {"sellers": [
            {"store": STORE, "code": SELLER, "name": "Bench Ltd", "vat_number": "GB123456789", "time_zone": "Europe/London",
             "address": {"line1": "1 High Street", "city": "London", "postcode": "E1 6AN", "country": "GB"}},
        ]})  # fmt: skip
        with self.running():
            asyncio.run(put_stock(Installation(self.system, self.keys), {sku(n): ON_HAND for n in range(SKUS)}))

    def market(self, gateway: str = "marketplace", approval: str = "automatic") -> None:
        """Writes a market that captures on approval. No parcel is shipped, so that step stays open."""
        terms = {
            "code": "default",
            "gateway": gateway,
            "approval": approval,
            "capture": "on_approval",
            "seller": SELLER,
        }
        self.apply("orders", {"markets": [{"store": STORE, "terms": terms}]})

    def apply(self, service: str, tables: dict[str, Any]) -> None:
        file = self.logs / f"{service}.json"
        file.write_text(json.dumps(tables))  # JSON is YAML
        self.system.run(service, "apply", str(file))

    # -- processes ----------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self, *names: str, workers: int = 1, **environment: str) -> Iterator[None]:
        """Runs all services, or those named, until the block ends: none may run while the peer is measured."""
        try:
            if names:
                self.system.wait_ready([self.system.add(name, **environment) for name in names])
            else:
                self.system.start(workers, **environment)
            yield
        finally:
            self.system.stop()

    def meter(self, **more: int) -> Meter:
        programs = {}
        for member in self.system.members:
            programs[member.name if member.number == 0 else f"{member.name} {member.number + 1}"] = member.pid
        return Meter({**programs, "postgres": self.servers.postgres.pid, "kafka": self.servers.kafka.pid, **more})

    @contextmanager
    def metered(self, **more: int) -> Iterator[Cost]:
        """Yields the block's cost, which is filled in at the block's end."""
        meter, cost = self.meter(**more), Cost()
        meter.start()
        yield cost
        done = meter.stop()
        cost.cpu_seconds, cost.memory_mib_max = done.cpu_seconds, done.memory_mib_max

    def load(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a load process; `report_of` waits for its report."""
        return subprocess.Popen(
            [sys.executable, "-m", "bench.load", *arguments],
            cwd=self.root,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    def snapshots(
        self, series: str, count: int, *, first: int = 0, rate: float = 0, hot: bool = False
    ) -> subprocess.Popen[bytes]:
        bootstrap = self.servers.kafka.bootstrap_servers
        more = (["--rate", str(rate)] if rate else []) + (["--hot"] if hot else [])
        return self.load(
            "snapshots", "--bootstrap", bootstrap, "--series", series, "--first", str(first), "--count", str(count),
            *more,
        )  # fmt: skip

    # -- polling -------------------------------------------------------------------------------------------------------

    def fetch(self, service: str, statement: str, *values: Any) -> list[asyncpg.Record]:
        return asyncio.run(fetch(self.system.dsn(service), statement, *values))

    def checkpoint(self) -> None:
        """Writes the dirty pages of earlier measurements, so that none of them burden the next."""
        execute(self.servers.postgres.dsn("postgres"), "checkpoint")

    def invoiced(self) -> int:
        """The number of invoices: the last number of the only series, which is gapless."""
        rows = self.fetch("invoicing", "select last_number from series where kind = 'invoice'")
        return int(rows[0]["last_number"]) if rows else 0

    def wait_invoiced(self, number: int) -> None:
        """Returns when the series has reached `number`. Raises Stalled if it does not grow for `STALLED_SECONDS`."""
        asyncio.run(self._wait_invoiced(number))

    async def _wait_invoiced(self, number: int) -> None:
        connection = await asyncpg.connect(self.system.dsn("invoicing"))
        try:
            seen, seen_at = -1, time.monotonic()
            while seen < number:
                now = await connection.fetchval("select last_number from series where kind = 'invoice'") or 0
                if now != seen:
                    seen, seen_at = now, time.monotonic()
                elif time.monotonic() - seen_at > STALLED_SECONDS:
                    raise Stalled(f"{seen} of {number} invoices, none for {STALLED_SECONDS:.0f} s (logs: {self.logs})")
                await asyncio.sleep(0.1)
        finally:
            await connection.close()

    def settled(self) -> None:
        """Returns when no order waits for a service and every outbox is empty.

        Raises Stalled if no invoice is made for `STALLED_SECONDS`.
        """
        seen, seen_at = -1, time.monotonic()
        while True:
            waiting = self.fetch("orders", "select count(*) as n from orders where in_flight")[0]["n"]
            rows = sum(self.fetch(name, "select count(*) as n from outbox")[0]["n"] for name in SAGA)
            if not waiting and not rows:
                return
            if (now := self.invoiced()) != seen:
                seen, seen_at = now, time.monotonic()
            elif time.monotonic() - seen_at > STALLED_SECONDS:
                raise Stalled(
                    f"{waiting} orders in flight, {rows} outbox rows and no invoice for {STALLED_SECONDS:.0f} s"
                    f" (logs: {self.logs})"
                )
            time.sleep(0.2)


COMMITTED_AT = "extract(epoch from pg_xact_commit_timestamp(xmin))::float8"
"""SQL: the time at which a row that is written once was committed, epoch seconds."""


def report_of(load: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Waits for a load process and returns what it printed. Raises RuntimeError if it failed."""
    out, _ = load.communicate()
    if load.returncode:
        raise RuntimeError(f"the load process ended with status {load.returncode}")
    report: dict[str, Any] = json.loads(out)
    return report
