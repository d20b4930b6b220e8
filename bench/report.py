"""From runs to `results.json` and the table that is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.books import BooksRun
from bench.console import ConsoleRun, quantile
from bench.deliveries import Measured
from bench.jobbing import JobRun
from bench.lifecycle import Decided, Edited
from bench.measure import Cost
from bench.payments import PaymentsRun
from bench.projecting import Projected
from bench.rounds import Latency, Throughput
from bench.search import Searched
from bench.session import EDITS_RATE, GATEWAY_MS, LATENCY_RATE, PLACED_RATE, Results, Sizes
from bench.targets import TARGETS
from devservices.postgres import SETTINGS as POSTGRES_SETTINGS
from system.processes import SERVICES

Figures = dict[str, Any]
Measures = dict[str, Figures]
"""Name of a measure -> {min, median, max, unit, runs}."""


def measure(values: Sequence[float], unit: str) -> Figures:
    """One run gives one value. Rounded to five digits: more are noise."""
    digits = [float(f"{value:.5g}") for value in values]
    return {
        "min": min(digits),
        "median": float(f"{statistics.median(values):.5g}"),
        "max": max(digits),
        "unit": unit,
        "runs": digits,
    }


def figures(results: Results, sizes: Sizes, machine: dict[str, Any]) -> Figures:
    """What `results.json` holds: by part of the session, its measures. A part that was not measured (`--only`) is left out."""
    parts: dict[str, Measures] = {
        "throughput": _throughput(results.throughput),
        "dbos": _peer(results),
        "latency": _latency(results),
        "http": _http(results),
        "workers": _throughput(results.workers),
        "relay": _each(results.relay, relay_rows_per_second="/s"),
        "backlog": _backlog(results.backlog),
        "gateway": _each(results.gateway, **{f"orders_per_second_with_a_gateway_of_{GATEWAY_MS}_ms": "/s"}),
        "hot": _each(results.hot, orders_per_second_with_one_hot_sku="/s"),
        "placed": _placed(results.placed),
        "edits": _edits(results.edits),
        "refunds": _each(results.refunds, refunds_per_second="/s"),
        "decide": _decide(results.decide),
        "search": _search(results.search),
        "books": _books(results.books),
        "payments": _payments(results.payments),
        "webhooks": _webhooks(results.webhooks),
        "console": _console(results.console) | _projected(results.projected) | _jobs(results.jobs),
    }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "targets": {name: {"floor": target.floor, "goal": target.goal} for name, target in TARGETS.items()},
        "parts": {name: measures for name, measures in parts.items() if measures},
        "invariants": {"checked": results.invariants_checked, "violated": 0},
        "took_seconds": round(results.seconds),
        "settings": _settings(results, sizes),
    }


def _each(values: Sequence[float], **units: str) -> Measures:
    return {name: measure(values, unit) for name, unit in units.items()} if values else {}


def _throughput(runs: Sequence[Throughput]) -> Measures:
    if not runs:
        return {}
    return {
        "orders_per_second": measure([run.per_second for run in runs], "/s"),
        **_cpu([(run.cost, run.orders) for run in runs]),
        **_memory([run.cost for run in runs]),
    }


def _cpu(costs: Sequence[tuple[Cost, int]]) -> Measures:
    """(cost of a run, its orders) -> per process, CPU seconds of 1,000 orders."""
    return {
        f"cpu_{name}": measure([cost.cpu_seconds[name] * 1000 / orders for cost, orders in costs], "s/1000")
        for name in costs[0][0].cpu_seconds
    }


def _memory(costs: Sequence[Cost]) -> Measures:
    names = dict.fromkeys(name for cost in costs for name in cost.memory_mib_max)
    return {
        f"memory_{name}": measure([c.memory_mib_max[name] for c in costs if name in c.memory_mib_max], "MiB")
        for name in names
    }


def _peer(results: Results) -> Measures:
    """The peer, and how often as many orders we did. The ratio is that of the medians; its spread is round by round."""
    if not (runs := results.dbos):
        return {}
    measures = {
        "workflows_per_second": measure([run.per_second for run in runs], "/s"),
        **_cpu([(run.cost, run.workflows) for run in runs]),
    }
    if ours := [run.per_second for run in results.throughput]:
        by_round = measure([mine / run.per_second for mine, run in zip(ours, runs, strict=False)], "x")
        median = round(statistics.median(ours) / statistics.median(run.per_second for run in runs), 1)
        measures["times_dbos"] = by_round | {"median": median}
    return measures


def _latency(results: Results) -> Measures:
    if not (runs := results.latency):
        return {}
    return {
        "received_to_invoiced_p50": measure([run.p50_ms for run in runs], "ms"),
        "received_to_invoiced_p99": measure([run.p99_ms for run in runs], "ms"),
        "load_behind_its_schedule_max": measure([run.late_ms_max for run in runs], "ms"),
    }


def _http(results: Results) -> Measures:
    if not (runs := results.http):
        return {}
    return {
        "orders_accepted_per_second": measure([run.per_second for run in runs], "/s"),
        "http_answer_p50": measure([run.p50_ms for run in runs], "ms"),
        "http_answer_p99": measure([run.p99_ms for run in runs], "ms"),
        **_each([run.per_second for run in results.http_whole], orders_accepted_per_second_with_all_at_work="/s"),
    }


def _backlog(runs: Sequence[Throughput]) -> Measures:
    if not runs:
        return {}
    return _throughput(runs) | {
        "drained_in": measure([run.seconds for run in runs], "s"),
        "rate_at_end_over_rate_at_start": measure([run.at_end_over_start for run in runs], "x"),
    }


def _placed(runs: Sequence[Latency]) -> Measures:
    if not runs:
        return {}
    return {
        "posted_to_placed_p50": measure([run.p50_ms for run in runs], "ms"),
        "posted_to_placed_p99": measure([run.p99_ms for run in runs], "ms"),
        "requests_behind_their_schedule_max": measure([run.late_ms_max for run in runs], "ms"),
    }


def _edits(runs: Sequence[Edited]) -> Measures:
    if not runs:
        return {}
    return {
        "confirmed_to_settled_p50": measure([run.p50_ms for run in runs], "ms"),
        "confirmed_to_settled_p99": measure([run.p99_ms for run in runs], "ms"),
    }


def _decide(runs: Sequence[Decided]) -> Measures:
    """The slowest of the requests is judged: read the document, decide, write it."""
    if not runs:
        return {}
    return {
        "decided_after_many": measure([max(run.milliseconds.values()) for run in runs], "ms"),
        **{f"decided_{name}": measure([run.milliseconds[name] for run in runs], "ms") for name in runs[0].milliseconds},
        "document_after_many": measure([run.kilobytes for run in runs], "kB"),
    }


def _search(runs: Sequence[Searched]) -> Measures:
    if not runs:
        return {}
    return {
        "search_p50": measure([run.slowest(0.5) for run in runs], "ms"),
        "search_p99": measure([run.slowest(0.99) for run in runs], "ms"),
        "filled_in": measure([run.filled_in_seconds for run in runs], "s"),
        **{f"{kind}_p{of}": measure([run.quantile(kind, of / 100) for run in runs], "ms")
           for kind in runs[0].milliseconds for of in (50, 99)},
    }  # fmt: skip


def _books(runs: Sequence[BooksRun]) -> Measures:
    if not runs:
        return {}
    return {
        "trial_balance": measure([quantile(run.trial_balance_ms, 0.5) for run in runs], "ms"),
        "trial_balance_p99": measure([quantile(run.trial_balance_ms, 0.99) for run in runs], "ms"),
        "trial_balance_of_a_month": measure([quantile(run.month_ms, 0.5) for run in runs], "ms"),
        "operation_after_many": measure([run.operation_ms for run in runs], "ms"),
        "entries_filled_in": measure([run.filled_in_seconds for run in runs], "s"),
    }


def _payments(runs: Sequence[PaymentsRun]) -> Measures:
    if not runs:
        return {}
    return {
        "recorded_per_second": measure([run.recorded_per_second for run in runs], "/s"),
        "gateway_calls_per_second": measure([run.calls_per_second for run in runs], "/s"),
        "gateway_calls_in_flight": measure([run.in_flight for run in runs], ""),
        "settled_in": measure([run.settled_seconds for run in runs], "s"),
        "gateway_event_p50": measure([run.event_p50_ms for run in runs], "ms"),
        "gateway_event_p99": measure([run.event_p99_ms for run in runs], "ms"),
    }


def _webhooks(runs: Sequence[Measured]) -> Measures:
    if not runs:
        return {}
    return {
        "deliveries_per_second": measure([run.delivered_per_second for run in runs], "/s"),
        "cpu_per_delivery": measure([run.cpu_us_per_delivery for run in runs], "us"),
        "cpu_of_postgres_per_delivery": measure([run.postgres_us_per_delivery for run in runs], "us"),
        "committed_to_sent_p50": measure([run.sent_p50_ms for run in runs], "ms"),
        "committed_to_sent_p99": measure([run.sent_p99_ms for run in runs], "ms"),
        "p99_beside_a_dead_receiver": measure([run.dead_over_live for run in runs], "x"),
        "rows_per_pending_delivery": measure([run.rows_per_pending for run in runs], ""),
        "memory_of_10000_endpoints": measure([run.memory_mib for run in runs], "MiB"),
        "idle_cpu_of_10000_endpoints": measure([run.idle_cpu_percent for run in runs], "%"),
        "fed_per_second": measure([run.fed_per_second for run in runs], "/s"),
        "read_per_second": measure([run.read_per_second for run in runs], "/s"),
        "cpu_per_fed_event": measure([run.cpu_us_per_fed for run in runs], "us"),
        "cpu_per_read_event": measure([run.cpu_us_per_read for run in runs], "us"),
        "caught_up_per_second": measure([run.caught_up_per_second for run in runs], "/s"),
    }


def _console(runs: Sequence[ConsoleRun]) -> Measures:
    if not runs:
        return {}
    return {
        "console_lists_p50": measure([run.every(0.5) for run in runs], "ms"),
        "console_lists_p99": measure([run.every(0.99) for run in runs], "ms"),
        "console_pages_p99": measure([quantile(run.page_ms, 0.99) for run in runs], "ms"),
        "console_preview_p99": measure([quantile(run.preview_ms, 0.99) for run in runs], "ms"),
        "console_rows_read": measure([run.rows_read_max for run in runs], ""),
        "console_export_first": measure([run.export_first_seconds for run in runs], "s"),
        "console_export": measure([run.export_seconds for run in runs], "s"),
        **{f"{kind}_p{of}": measure([run.quantile(kind, of / 100) for run in runs], "ms")
           for kind in runs[0].milliseconds for of in (50, 99)},
    }  # fmt: skip


def _projected(runs: Sequence[Projected]) -> Measures:
    if not runs:
        return {}
    return {
        "console_folded_per_second": measure([run.folded_per_second for run in runs], "/s"),
        "cpu_per_folded_event": measure([run.cpu_us_per_folded for run in runs], "us"),
        "committed_to_listed_p50": measure([run.listed_p50_ms for run in runs], "ms"),
        "committed_to_listed_p99": measure([run.listed_p99_ms for run in runs], "ms"),
        "slowed_by_the_console": measure([run.slowed_percent for run in runs], "%"),
        "memory_of_200_watchers": measure([run.watchers_mib for run in runs], "MiB"),
        "cpu_of_200_watchers": measure([run.watchers_cpu_percent for run in runs], "%"),
        "console_rebuilt_in": measure([run.rebuilt_seconds for run in runs], "s"),
    }


def _jobs(runs: Sequence[JobRun]) -> Measures:
    if not runs:
        return {}
    return {
        "preview_of_a_job": measure([run.preview_ms for run in runs], "ms"),
        "job_done_in": measure([run.seconds for run in runs], "s"),
        "job_listed_in": measure([run.listed_seconds for run in runs], "s"),
        **{
            f"task_{task}_p99": measure([quantile(run.tasks_ms[task], 0.99) for run in runs], "ms")
            for task in runs[0].tasks_ms
        },
    }


def _settings(results: Results, sizes: Sizes) -> Figures:
    return {
        "workload": {
            "orders": sizes.orders, "warm_up": sizes.warm_up, "runs": sizes.rounds, "lines_per_order": "1-5, mean 3",
            "skus": 10_000, "locations": 1, "sellers": 1, "gateway": "marketplace", "capture": "on_approval",
            "approval": "by rule", "warehouse": "stays open", "processes_per_service": 1,
            "paced_orders_per_second": LATENCY_RATE, "placed_orders_per_second": PLACED_RATE, "edits_per_second": EDITS_RATE,
            "edits_and_refunds_of_one_order": sizes.past, "searched_orders": sizes.search_orders,
            "console_orders": sizes.console_orders, "parked_messages": sizes.parked, "deliveries_to_one_endpoint": sizes.deliveries, "entries": sizes.entries, "operations_of_one_order": sizes.operations,
            "operations_recorded": sizes.recorded, "gateway_calls": sizes.gateway_calls, "rows_of_a_settlement": sizes.settled_rows,
            "alone": "relay and HTTP: only the orders service, Kafka and PostgreSQL run",
        },
        "postgres": {**POSTGRES_SETTINGS, "track_commit_timestamp": "on"},
        **(
            {"dbos": {**results.tuning.shown(), "orders": sizes.peer_orders, "warm_up": sizes.peer_warm_up}}
            if results.dbos
            else {}
        ),
    }  # fmt: skip


def judged(figures: Figures) -> Measures:
    """The measures that have a floor, by the name of their target. Memory is the most of any service in any part."""
    found = {name: one for measures in figures["parts"].values() for name, one in measures.items() if name in TARGETS}
    if ours := figures["parts"].get("throughput"):
        found["orders_per_second"] = ours["orders_per_second"]
    else:
        found.pop("orders_per_second", None)  # with two workers, or of a backlog: another measure
    memory = [
        one
        for part in ("throughput", "backlog")
        for name, one in figures["parts"].get(part, {}).items()
        if name.removeprefix("memory_") in SERVICES
    ]
    if memory:
        largest = max(memory, key=lambda one: float(one["max"]))
        found["memory_mib_max"] = largest | {"median": largest["max"]}
    return {name: found[name] for name in TARGETS if name in found}


def show(figures: Figures, console: Console) -> None:
    table = Table(title=f"{figures['machine']['cpu']}, {figures['machine']['cores']} cores, {figures['date']}")
    for column in ("measure", "median", "min .. max", "floor", "goal", ""):
        table.add_column(column, justify="left" if column in ("measure", "") else "right")
    for name, one in judged(figures).items():
        target = TARGETS[name]
        table.add_row(target.text, *_cells(one), _n(target.floor), _n(target.goal), target.verdict(one["median"]))
    for part, measures in figures["parts"].items():
        for name, one in measures.items():
            if name not in TARGETS or (name == "orders_per_second" and part != "throughput"):
                table.add_row(f"{part}: {name.replace('_', ' ')}", *_cells(one), style="dim")
    console.print(table)
    console.print(
        f"invariants: {figures['invariants']['checked']:,} checked, {figures['invariants']['violated']} violated"
    )


def _cells(one: Figures) -> tuple[str, str]:
    between = f"{_n(one['min'])} .. {_n(one['max'])}" if one["min"] != one["max"] else ""
    return f"{_n(one['median'])} {one['unit']}", between


def _n(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:,.1f}"
        if abs(value) >= 10
        else f"{value:.2f}".rstrip("0").rstrip(".")
    )
