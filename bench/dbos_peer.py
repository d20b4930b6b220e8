"""The peer: the same orders, business rows and PostgreSQL, with one four-step DBOS workflow per order."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import asyncpg

from bench.measure import Cost, Meter
from bench.workload import SELLER, SKUS, STORE, sku
from devservices.services import Services

APP, SYSTEM = "dbos_app", "dbos_system"
ON_HAND: Final = 10_000_000


@dataclass(frozen=True)
class Tuning:
    """The peer's settings; all others are DBOS's defaults."""

    api: Literal["sync", "async"] = "sync"
    processes: int = 2
    concurrency: int = 8
    """Concurrent workflows per process."""
    pool: int = 20
    """Connections in each of a process's two pools (DBOS's own and the datasource's); DBOS's default."""

    def shown(self) -> dict[str, Any]:
        return {
            "dbos": version("dbos"),
            "api": f"{self.api}, transactions of a SQLAlchemy datasource (checkpoint in the business transaction)",
            "isolation_level": "READ COMMITTED",
            "processes": self.processes,
            "workflows_at_a_time": self.concurrency * self.processes,
            "sys_db_pool_size": self.pool,
            "datasource_pool_size": self.pool,
            "started": "directly in the process, no queue and no broker in between",
        }


CANDIDATES: Final = (
    Tuning("sync", 1, 8),
    Tuning("sync", 1, 20),
    Tuning("sync", 2, 8),
    Tuning("sync", 2, 20),
    Tuning("sync", 4, 10),
    Tuning("async", 1, 8),
    Tuning("async", 2, 8),
)
"""The settings that a session tries before it measures; it uses the fastest."""


@dataclass(frozen=True)
class PeerRun:
    per_second: float
    cost: Cost
    workflows: int


class DbosPeer:
    def __init__(self, root: Path, servers: Services, tuning: Tuning) -> None:
        self.root, self.servers, self.tuning = root, servers, tuning

    def prepare(self) -> None:
        for name in (APP, SYSTEM):
            self.servers.postgres.create_database(name)
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        connection = await asyncpg.connect(self.servers.postgres.dsn(APP))
        try:
            await connection.execute(Path(__file__).with_name("dbos_schema.sql").read_text())
            await connection.execute("insert into series values ($1, $2, 0)", STORE, SELLER)
            await connection.execute(
                "insert into stock select $1, 'main', u, $2 from unnest($3::text[]) as u",
                STORE, ON_HAND, [sku(n) for n in range(SKUS)],
            )  # fmt: skip
        finally:
            await connection.close()

    def run(self, series: str, count: int, warm_up: int) -> PeerRun:
        """Raises RuntimeError if a process fails or an order is not invoiced."""
        before = asyncio.run(self._invoices())
        processes = [self._start(series, count, warm_up, n) for n in range(self.tuning.processes)]
        try:
            for process in processes:
                if _line(process) != "ready":
                    raise RuntimeError("a DBOS process did not warm up")
            meter = Meter({f"dbos {n + 1}": process.pid for n, process in enumerate(processes)}
                          | {"postgres": self.servers.postgres.pid})  # fmt: skip
            meter.start()
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"go\n")
                process.stdin.flush()
            times = [_line(process) for process in processes]
            cost = meter.stop()
        finally:
            for process in processes:
                process.kill()
                process.wait()
        made = asyncio.run(self._invoices()) - before
        if made != count + warm_up:
            raise RuntimeError(f"DBOS made {made} invoices of {count + warm_up} orders")
        took = max(one["ended"] for one in times) - min(one["began"] for one in times)
        return PeerRun(count / took, cost, count)

    def _start(self, series: str, count: int, warm_up: int, number: int) -> subprocess.Popen[bytes]:
        tuning, dsn = self.tuning, self.servers.postgres.dsn
        options = {
            "--dsn": dsn(APP), "--system-dsn": dsn(SYSTEM), "--series": series, "--count": count, "--warm-up": warm_up,
            "--concurrency": tuning.concurrency, "--pool": tuning.pool, "--api": tuning.api,
            "--share": f"{number}/{tuning.processes}",
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "bench.dbos_worker", *(str(part) for option in options.items() for part in option)],
            cwd=self.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    async def _invoices(self) -> int:
        """The last number of the series. Raises RuntimeError if the series has a gap."""
        connection = await asyncpg.connect(self.servers.postgres.dsn(APP))
        try:
            last: int = await connection.fetchval("select last_number from series")
            count = await connection.fetchval("select count(*) from documents")
            if count != last:
                raise RuntimeError(f"DBOS: {count} invoices, the series is at {last}")
            return last
        finally:
            await connection.close()


def _line(process: subprocess.Popen[bytes]) -> Any:
    """The JSON value of the next line that a worker prints. Raises RuntimeError if the worker ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a DBOS process ended with status {process.wait()}")
    return json.loads(line)
