"""From runs to `results.json` and the table that is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.rounds import Throughput, spread
from bench.session import GATEWAY_MS, LATENCY_RATE, Results, Sizes
from bench.targets import TARGETS
from devservices.postgres import SETTINGS as POSTGRES_SETTINGS
from system.processes import SERVICES

Figures = dict[str, Any]


def figures(results: Results, sizes: Sizes, machine: dict[str, Any]) -> Figures:
    """What `results.json` holds. A figure that was not measured (`--only`) is left out."""
    told: Figures = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "targets": {name: {"floor": target.floor, "goal": target.goal} for name, target in TARGETS.items()},
    }
    if results.throughput:
        told["orders_per_second"] = spread([run.per_second for run in results.throughput])
        told["cpu_seconds_per_1000_orders"] = _cpu(results.throughput)
    if results.dbos:
        told["dbos_workflows_per_second"] = spread([run.per_second for run in results.dbos])
    if results.throughput and results.dbos:
        told["times_dbos"] = round(told["orders_per_second"]["median"] / told["dbos_workflows_per_second"]["median"], 1)
    if results.latency:
        told["received_to_invoiced_ms_at_100_per_second"] = {
            "p50": round(statistics.median(run.p50_ms for run in results.latency), 1),
            "p99": round(statistics.median(run.p99_ms for run in results.latency), 1),
        }
    if results.relay:
        told["relay_rows_per_second"] = spread(results.relay)
    if results.http:
        told["orders_accepted_per_second"] = spread([run.per_second for run in results.http])
    if measured := [*results.throughput, *results.backlog]:
        told["memory_mib_max"] = _memory(measured)
    if results.backlog:
        told["rate_at_end_over_rate_at_start"] = round(results.backlog[0].at_end_over_start, 2)
    return told | {"beside": _beside(results), "settings": _settings(results, sizes)}


def _cpu(runs: Sequence[Throughput]) -> dict[str, float]:
    return {
        name: round(statistics.median(run.cost.cpu_seconds[name] * 1000 / run.orders for run in runs), 3)
        for name in runs[0].cost.cpu_seconds
    }


def _memory(runs: Sequence[Throughput]) -> dict[str, int]:
    names = {name: None for run in runs for name in run.cost.memory_mib_max}
    return {name: round(max(run.cost.memory_mib_max.get(name, 0) for run in runs)) for name in names}


def _beside(results: Results) -> Figures:
    """Told, not judged."""
    told: Figures = {"invariants_checked": results.invariants_checked, "violated": 0}
    if results.workers:
        told["orders_per_second_with_two_workers"] = spread([run.per_second for run in results.workers])
        told["cpu_seconds_per_1000_orders_with_two_workers"] = _cpu(results.workers)
    if results.workers and results.throughput:
        one = statistics.median(run.per_second for run in results.throughput)
        told["two_workers_over_one"] = round(statistics.median(run.per_second for run in results.workers) / one, 2)
    if results.backlog:
        drained = results.backlog[0]
        told["backlog"] = {
            "orders": drained.orders,
            "drained_in_seconds": round(drained.seconds, 1),
            "orders_per_second": round(drained.per_second, 1),
        }
    if results.gateway:
        told[f"orders_per_second_with_a_gateway_of_{GATEWAY_MS}_ms"] = round(results.gateway[0], 1)
    if results.hot:
        told["orders_per_second_with_one_hot_sku"] = round(results.hot[0], 1)
    if results.dbos:
        names = results.dbos[0].cost.cpu_seconds
        told["dbos_cpu_seconds_per_1000_workflows"] = {
            name: round(statistics.median(run.cost.cpu_seconds[name] * 1000 / run.workflows for run in results.dbos), 3)
            for name in names
        }
    if results.latency:
        told["load_behind_its_schedule_ms_max"] = round(max(run.late_ms_max for run in results.latency), 1)
    if results.http:
        told["http_answer_ms"] = {
            "p50": round(statistics.median(run.p50_ms for run in results.http), 1),
            "p99": round(statistics.median(run.p99_ms for run in results.http), 1),
            "connections": results.http[0].connections,
        }
    if results.http_whole:
        told["orders_accepted_per_second_with_all_at_work"] = spread([run.per_second for run in results.http_whole])
    told["took_seconds"] = round(results.seconds)
    return told


def _settings(results: Results, sizes: Sizes) -> Figures:
    return {
        "workload": {
            "orders": sizes.orders, "warm_up": sizes.warm_up, "runs": sizes.rounds, "lines_per_order": "1-5, mean 3",
            "skus": 10_000, "locations": 1, "sellers": 1, "gateway": "marketplace", "capture": "on_approval",
            "approval": "by rule", "warehouse": "stays open", "processes_per_service": 1,
            "paced_orders_per_second": LATENCY_RATE,
            "alone": "relay and HTTP: only the orders service, Kafka and PostgreSQL run",
        },
        "postgres": {**POSTGRES_SETTINGS, "track_commit_timestamp": "on"},
        **(
            {"dbos": {**results.tuning.shown(), "orders": sizes.peer_orders, "warm_up": sizes.peer_warm_up}}
            if results.dbos
            else {}
        ),
    }  # fmt: skip


def judged(told: Figures) -> dict[str, float]:
    """The figures that have a floor, by the name of their target."""
    values: dict[str, float] = {}
    for name in ("orders_per_second", "relay_rows_per_second", "orders_accepted_per_second"):
        if name in told:
            values[name] = told[name]["median"]
    if "times_dbos" in told:
        values["times_dbos"] = told["times_dbos"]
    if paced := told.get("received_to_invoiced_ms_at_100_per_second"):
        values |= {f"received_to_invoiced_{p}": paced[p] for p in ("p50", "p99")}
    if memory := told.get("memory_mib_max"):
        values["memory_mib_max"] = max(memory[name] for name in SERVICES if name in memory)
    return {name: values[name] for name in TARGETS if name in values}


def show(told: Figures, console: Console) -> None:
    table = Table(title=f"{told['machine']['cpu']}, {told['machine']['cores']} cores, {told['date']}")
    for column in ("measure", "median", "min .. max", "floor", "goal", ""):
        table.add_column(column, justify="left" if column in ("measure", "") else "right")
    for name, value in judged(told).items():
        target = TARGETS[name]
        runs = told.get(name)
        between = f"{_n(runs['min'])} .. {_n(runs['max'])}" if isinstance(runs, dict) and "min" in runs else ""
        table.add_row(
            target.text, f"{_n(value)} {target.unit}", between, _n(target.floor), _n(target.goal), target.verdict(value)
        )
    if dbos := told.get("dbos_workflows_per_second"):
        table.add_row(
            "DBOS workflows, four steps", f"{_n(dbos['median'])} /s", f"{_n(dbos['min'])} .. {_n(dbos['max'])}"
        )
    if flat := told.get("rate_at_end_over_rate_at_start"):
        table.add_row("rate of a backlog's last tenth over its first", str(flat))
    for name, value in told["beside"].items():
        if isinstance(value, (int, float)):
            table.add_row(name.replace("_", " "), _n(value), style="dim")
        elif "median" in value:
            table.add_row(
                name.replace("_", " "), _n(value["median"]), f"{_n(value['min'])} .. {_n(value['max'])}", style="dim"
            )
        else:
            table.add_row(
                name.replace("_", " "), "  ".join(f"{key} {_n(one)}" for key, one in value.items()), style="dim"
            )
    console.print(table)
    for name, title in (
        ("cpu_seconds_per_1000_orders", "CPU s per 1,000 orders"),
        ("memory_mib_max", "peak memory, MiB"),
    ):
        if costs := told.get(name):
            whole = f"   together {sum(costs.values()):.2f}" if "cpu" in name else ""
            console.print(f"{title}:  " + "  ".join(f"{process} {_n(cost)}" for process, cost in costs.items()) + whole)


def _n(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:,.1f}"
        if abs(value) >= 10
        else f"{value:.2f}".rstrip("0").rstrip(".")
    )
