"""The report's figures, table and picture."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench import report, svg
from bench.dbos_peer import PeerRun, Tuning
from bench.measure import Cost
from bench.rounds import Accepted, Latency, Throughput
from bench.session import Results, Sizes
from bench.targets import TARGETS, Target

KEYS = {
    "orders_per_second", "dbos_workflows_per_second", "times_dbos", "received_to_invoiced_ms_at_100_per_second",
    "relay_rows_per_second", "orders_accepted_per_second", "cpu_seconds_per_1000_orders", "memory_mib_max",
    "rate_at_end_over_rate_at_start", "machine", "date", "settings", "targets", "beside",
}  # fmt: skip
MACHINE = {"cpu": "a <processor>", "cores": 2}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setattr(Tuning, "shown", lambda self: {"dbos": "3.4.0"})  # DBOS need not be installed here
    cost = Cost({"orders": 50.0, "postgres": 40.0}, {"orders": 101.4, "postgres": 600.0})
    return Results(
        Tuning(),
        throughput=[Throughput(20_000, rate, 1.0, cost) for rate in (410.0, 400.0, 430.0)],
        dbos=[PeerRun(rate, Cost({"dbos 1": 20.0}), 2_000) for rate in (41.0, 38.0, 40.0)],
        latency=[Latency(50.0, 200.0, 1.0), Latency(70.0, 300.0, 2.0), Latency(60.0, 250.0, 1.5)],
        http=[Accepted(7_000, 700.0, 80.0, 120.0, 64)],
        http_whole=[Accepted(3_000, 300.0, 180.0, 220.0, 64)],
        workers=[Throughput(10_000, 450.0, 1.0, cost)],
        relay=[20_000.0, 18_000.0, 19_000.0],
        backlog=[Throughput(100_000, 390.0, 0.98, cost, 256.0)],
        gateway=[150.0],
        hot=[380.0],
    )


def test_a_whole_run_holds_exactly_the_published_keys(results: Results) -> None:
    figures = report.figures(results, Sizes(), MACHINE)
    assert set(figures) == KEYS
    assert figures["orders_per_second"] == {"min": 400.0, "median": 410.0, "max": 430.0, "runs": [410.0, 400.0, 430.0]}
    assert figures["times_dbos"] == 10.2
    assert figures["received_to_invoiced_ms_at_100_per_second"] == {"p50": 60.0, "p99": 250.0}
    assert figures["cpu_seconds_per_1000_orders"] == {"orders": 2.5, "postgres": 2.0}
    assert figures["rate_at_end_over_rate_at_start"] == 0.98


def test_what_was_not_measured_is_left_out_and_never_zero() -> None:
    figures = report.figures(Results(Tuning(), relay=[20_000.0]), Sizes(), MACHINE)
    assert set(figures) & {"orders_per_second", "times_dbos", "memory_mib_max"} == set()
    assert report.judged(figures) == {"relay_rows_per_second": 20_000.0}


def test_memory_is_judged_by_the_largest_service_and_not_by_postgresql(results: Results) -> None:
    assert report.judged(report.figures(results, Sizes(), MACHINE))["memory_mib_max"] == 101


def test_table_and_picture_show_every_judged_figure(results: Results) -> None:
    figures = report.figures(results, Sizes(), MACHINE)
    printed = io.StringIO()
    report.show(figures, Console(file=printed, width=160))
    picture = svg.picture(figures)
    ElementTree.fromstring(picture)
    for target in TARGETS.values():
        assert target.text in printed.getvalue()
        assert target.text in picture


@pytest.mark.parametrize(
    ("value", "more_is_better", "verdict"),
    [
        (9, True, "below the floor"),
        (10, True, "floor passed"),
        (20, True, "goal reached"),
        (21, False, "below the floor"),
        (20, False, "floor passed"),
        (10, False, "goal reached"),
    ],
)
def test_a_figure_is_judged_by_floor_and_goal(value: float, more_is_better: bool, verdict: str) -> None:
    target = Target(*((10, 20) if more_is_better else (20, 10)), "/s", "speed", more_is_better)
    assert target.verdict(value) == verdict
