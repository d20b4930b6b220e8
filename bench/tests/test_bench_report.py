"""The report's figures, table and picture."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench import picture, report
from bench.books import BooksRun
from bench.console import ConsoleRun
from bench.dbos_peer import PeerRun, Tuning
from bench.deliveries import Measured
from bench.jobbing import JobRun
from bench.lifecycle import Decided, Edited
from bench.measure import Cost
from bench.payments import PaymentsRun
from bench.projecting import Projected
from bench.rounds import Accepted, Latency, Throughput
from bench.search import Searched
from bench.session import NAMES, Results, Sizes
from bench.targets import TARGETS, Target

TASKS = (
    "find_by_number",
    "why_it_is_stuck",
    "approve_the_next",
    "cancel",
    "which_message",
    "first_of_the_tail",
    "replay_a_group",
    "edit_and_replay",
    "resend_what_was_missed",
    "replay_since_yesterday",
)
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
        placed=[Latency(70.0, 250.0, 1.0)],
        edits=[Edited(140.0, 400.0)],
        refunds=[300.0],
        decide=[Decided({"open_an_edit": 2.0, "refund": 3.0}, 155.0)],
        search=[Searched({"newest": [1.0, 3.0, 2.0], "rare": [9.0, 8.0]}, 1_000_000, 200.0)],
        books=[BooksRun(10_000_000, [3.0, 5.0, 4.0], [1.0], 100.0, 0.3, 500)],
        payments=[PaymentsRun(1_500.0, 1_200.0, 480, 12.0, 100_000, 8.0, 40.0)],
        webhooks=[
            Measured(
                fed_per_second=9_000.0, cpu_us_per_fed=80.0, read_per_second=12_000.0, cpu_us_per_read=40.0, sent_p50_ms=80.0,
                sent_p99_ms=300.0, delivered_per_second=2_000.0, cpu_us_per_delivery=250.0, postgres_us_per_delivery=30.0,
                dead_over_live=1.1, rows_per_pending=0.0, caught_up_per_second=800.0, memory_mib=116.0, idle_cpu_percent=3.0,
            )
        ],
        console=[ConsoleRun({"newest": [1.0, 3.0, 2.0], "rare": [9.0]}, [20.0], [30.0], 20_000, 0.1, 50.0, 1_000_000)],
        projected=[Projected(9_000.0, 80.0, 90.0, 300.0, 9.0, 130.0, 4.0, 200.0)],
        jobs=[JobRun(10_000, 40.0, 90.0, 45.0, {task: [80.0, 90.0] for task in TASKS})],
    )  # fmt: skip


def test_every_measure_of_every_part_has_its_spread_and_its_unit(results: Results) -> None:
    figures = report.figures(results, Sizes(), MACHINE)
    assert tuple(figures["parts"]) == NAMES
    for measures in figures["parts"].values():
        for one in measures.values():
            assert set(one) == {"min", "median", "max", "unit", "runs"}
            assert one["min"] <= one["median"] <= one["max"]
    ours = figures["parts"]["throughput"]
    assert ours["orders_per_second"] == {
        "min": 400.0, "median": 410.0, "max": 430.0, "unit": "/s", "runs": [410.0, 400.0, 430.0],
    }  # fmt: skip
    assert ours["cpu_orders"]["median"] == 2.5
    assert figures["parts"]["latency"]["received_to_invoiced_p99"]["median"] == 250.0
    lists = figures["parts"]["search"]
    assert [lists[name]["median"] for name in ("newest_p50", "newest_p99", "search_p50", "search_p99")] == [
        2.0,
        3.0,
        8.0,
        9.0,
    ]
    assert figures["parts"]["decide"]["decided_after_many"]["median"] == 3.0
    assert figures["parts"]["backlog"]["rate_at_end_over_rate_at_start"]["median"] == 0.98


def test_the_ratio_to_the_peer_is_shown_as_measured_and_has_no_floor(results: Results) -> None:
    times = report.figures(results, Sizes(), MACHINE)["parts"]["dbos"]["times_dbos"]
    assert (times["median"], times["unit"]) == (10.2, "x")
    assert times["runs"] == [10.0, 10.526, 10.75]
    assert "times_dbos" not in TARGETS


def test_what_was_not_measured_is_left_out_and_never_zero() -> None:
    figures = report.figures(Results(Tuning(), relay=[20_000.0]), Sizes(), MACHINE)
    assert tuple(figures["parts"]) == ("relay",)
    assert {name: one["median"] for name, one in report.judged(figures).items()} == {"relay_rows_per_second": 20_000.0}


def test_two_workers_are_not_judged_as_one(results: Results) -> None:
    alone = Results(Tuning(), workers=results.workers)
    assert "orders_per_second" not in report.judged(report.figures(alone, Sizes(), MACHINE))


def test_memory_is_judged_by_the_largest_service_and_not_by_postgresql(results: Results) -> None:
    assert report.judged(report.figures(results, Sizes(), MACHINE))["memory_mib_max"]["median"] == 101.4


def test_table_and_picture_show_every_judged_figure(results: Results) -> None:
    figures = report.figures(results, Sizes(), MACHINE)
    printed = io.StringIO()
    report.show(figures, Console(file=printed, width=160))
    drawn = picture.drawn(figures)
    ElementTree.fromstring(drawn)
    for target in TARGETS.values():
        assert target.text in printed.getvalue()
        assert target.text in drawn


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


def test_the_figures_that_are_checked_in_have_the_present_shape() -> None:
    figures = json.loads((Path(report.__file__).parent / "results.json").read_text())
    assert set(figures["parts"]) == set(NAMES)
    assert all({"median", "unit"} <= set(one) for measures in figures["parts"].values() for one in measures.values())
    assert figures["targets"] == {
        name: {"floor": target.floor, "goal": target.goal} for name, target in TARGETS.items()
    }
    assert (Path(report.__file__).parent / "results.svg").read_text() == picture.drawn(figures)
