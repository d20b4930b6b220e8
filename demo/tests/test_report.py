"""report.json, orders.csv, the table and the exit status."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, cast

import pytest
from rich.console import Console

from demo.deliveries import Deliveries
from demo.expected import ActualRow, Expected, Unexpected, compare, trial_balance
from demo.oracle import expect
from demo.report import (
    COLUMNS,
    ORDERS_CSV_COLUMNS,
    Books,
    Checks,
    Stock,
    Timings,
    books_of,
    build_report,
    exit_status,
    is_settled,
    orders_csv,
    percentile,
    source_figures,
    stock_of,
    summary,
)
from demo.retail import RetailOrder
from demo.source import Book

TIMINGS = Timings(setup_seconds=4.25, replay_seconds=2.0, received_to_completed_ms=[5.0, 1.0, 3.0, 9.0])
CHECKS = Checks(duplicates_removed=38, invariants_checked=5_000, invariants_violated=0)
BALANCES = {
    "customer": -12_283_707,
    "gateway_clearing": 8_994_222,
    "bank": 1_480_927,
    "marketplace_clearing": 1_162_329,
    "gift_card_liability": -399_008,
    "gift_cards_issued": 1_045_237,
    "prepayments": 0,
}
BOOKS = Books(BALANCES, ())
STOCK = Stock(skus=1_854, unexpected=())
DELIVERIES = Deliveries(receivers=2, delivered=7_450, retried=9, waiting=0, unexpected=())

Actual = dict[str, ActualRow]


@pytest.fixture
def expected(sample: Book) -> list[Expected]:
    return expect(sample, "demo")


@pytest.fixture
def actual(expected: list[Expected]) -> Actual:
    return {
        order.order_id: cast(
            ActualRow,
            {"actual": order.end, **order.money._asdict(), **order.changes._asdict(), **order.prepaid._asdict()},
        )
        for order in expected
    }


@pytest.fixture
def build(sample: Book, sample_orders: list[RetailOrder], expected: list[Expected]) -> Any:
    def report_of(
        actual: Actual,
        timings: Timings = TIMINGS,
        checks: Checks = CHECKS,
        stock: Stock = STOCK,
        books: Books = BOOKS,
        deliveries: Deliveries = DELIVERIES,
    ) -> dict[str, Any]:
        figures = source_figures(sample, sample_orders)
        return build_report(figures, actual, compare(expected, actual), timings, checks, stock, books, deliveries)

    return report_of


def test_the_report_of_a_good_run(build: Any, actual: Actual, expected: list[Expected]) -> None:
    report = build(actual)
    assert report == {
        "source": {
            "rows": 8_142,
            "orders": 386,
            "total_minor": 16_570_812,
            "left_out": {"cancellation": 38, "stock_correction": 30},
        },
        "received": 386,
        "completed": 339,
        "cancelled": {"out_of_stock": 17, "declined": 13, "customer": 16, "refunded": 1},
        "waiting": {},
        "money": {
            "GBP": {
                "authorized_minor": 12_701_370,
                "captured_minor": 12_701_370,
                "voided_minor": 0,
                "refunded_minor": 417_663,
                "invoiced_minor": 12_709_480,
                "credited_minor": 425_773,
            }
        },
        "changes": {
            "GBP": {
                "edits": 34,
                "added_minor": 4_863,
                "lines_cancelled": 19,
                "lines_cancelled_minor": 92_059,
                "refunds": 33,
                "refunds_minor": 96_581,
                "credit_notes": 73,
                "reversals": 24,
                "reversed_minor": 10_713,
            }
        },
        "prepaid": {"GBP": {"prepayments": 35, "prepaid_minor": 1_424_754, "given_back_minor": 38_536}},
        "trial_balance": {"GBP": BALANCES, "unexpected": []},
        "orders_per_second": 193.0,
        "received_to_completed_ms": {"p50": 3.0, "p99": 9.0},
        "stock": {"skus": 1_854, "unexpected": []},
        "deliveries": {"receivers": 2, "delivered": 7_450, "retried": 9, "waiting": 0, "unexpected": []},
        "duplicates_removed": 38,
        "invariants": {"checked": 5_000, "violated": 0},
        "unexpected": [],
        "seconds": {"setup": 4.25, "replay": 2.0},
    }
    assert json.loads(json.dumps(report)) == report
    assert exit_status(report, expected, actual) == 0


def test_the_oracle_expects_the_balances_of_its_orders_and_another_one_fails_the_run(
    build: Any, actual: Actual, expected: list[Expected]
) -> None:
    wanted = trial_balance(expected)
    assert wanted == BALANCES and sum(wanted.values()) == 0
    assert books_of(wanted, wanted).unexpected == []
    wrong = books_of(wanted, wanted | {"rounding": 1, "customer": -12_283_708})
    assert wrong.unexpected == ["customer", "rounding"]
    assert books_of(wanted, wanted | {"prepayments": -100}).unexpected == ["prepayments"]
    assert exit_status(build(actual, books=wrong), expected, actual) == 1


def test_orders_csv_sums_to_the_report(build: Any, actual: Actual, expected: list[Expected]) -> None:
    report = build(actual)
    rows = list(csv.DictReader(io.StringIO(orders_csv(expected, actual))))
    assert tuple(rows[0]) == ORDERS_CSV_COLUMNS
    assert len(rows) == report["received"]
    assert sum(int(row["total_minor"]) for row in rows) == report["source"]["total_minor"]
    sums = report["money"]["GBP"] | report["changes"]["GBP"] | report["prepaid"]["GBP"]
    assert {name: sum(int(row[name]) for row in rows) for name in COLUMNS} == sums
    assert sum(row["actual"] == "completed" for row in rows) == report["completed"]
    assert all(row["actual"] == row["expected"] for row in rows)


def test_a_lost_order_has_empty_cells_and_fails_the_run(build: Any, actual: Actual, expected: list[Expected]) -> None:
    lost = expected[0].order_id
    del actual[lost]
    report = build(actual)
    assert report["unexpected"] == [lost]
    assert report["received"] == 385
    assert exit_status(report, expected, actual) == 1
    first = next(csv.DictReader(io.StringIO(orders_csv(expected, actual))))
    assert (first["order_id"], first["actual"], first["captured_minor"]) == (lost, "", "")


def test_every_order_counts_once_for_every_reason_to_wait(build: Any, actual: Actual, expected: list[Expected]) -> None:
    reasons = ("approval", "stock", "warehouse", "no_answer", "parked", "exception")
    for order, reason in zip(expected, reasons, strict=False):
        actual[order.order_id]["actual"] = f"waiting:{reason}"
    report = build(actual)
    assert report["waiting"] == dict.fromkeys(reasons, 1)
    assert report["received"] == report["completed"] + sum(report["cancelled"].values()) + 6
    assert report["orders_per_second"] == (386 - 1) / 2  # the order without an answer is not settled
    assert exit_status(report, expected, actual) == 1


def test_an_end_outside_the_closed_set_is_an_error(build: Any, actual: Actual, expected: list[Expected]) -> None:
    for end in ("", "placing", "cancelled:", "cancelled:fraud", "waiting"):
        actual[expected[0].order_id]["actual"] = end
        with pytest.raises(ValueError, match="ends as one of"):
            build(actual)


@pytest.mark.parametrize(
    ("row", "rests"),
    [
        ({"actual": "completed"}, True),
        ({"actual": "cancelled:customer"}, True),
        ({"actual": "cancelled:customer", "settled": False}, False),
        ({"actual": "waiting:approval"}, True),
        ({"actual": "waiting:no_answer"}, False),
    ],
)
def test_settled_means_ended_without_open_process_or_waiting_for_a_person(row: Any, rests: bool) -> None:
    assert is_settled(row) is rests


def test_stock_is_unexpected_article_by_article() -> None:
    assert stock_of({"A": 1, "B": 0}, {"A": 1, "B": 0}) == Stock(2, [])
    assert stock_of({"A": 1, "B": 0, "C": 2}, {"A": 2, "B": 0, "D": 0}) == Stock(4, ["A", "C", "D"])


def test_the_exit_status_needs_all_of_them(build: Any, actual: Actual, expected: list[Expected]) -> None:
    violated = build(actual, checks=Checks(0, 10, 1))
    assert exit_status(violated, expected, actual) == 1
    assert exit_status(build(actual, stock=Stock(1_854, ["22752"])), expected, actual) == 1
    for deliveries in (
        Deliveries(2, 7_450, 9, 1, ()),
        Deliveries(2, 7_450, 9, 0, ["books: 1 of 9 events did not come"]),
    ):
        assert exit_status(build(actual, deliveries=deliveries), expected, actual) == 1
    actual[expected[3].order_id]["settled"] = False
    assert exit_status(build(actual), expected, actual) == 1
    actual[expected[3].order_id]["settled"] = True
    assert exit_status(build(actual), expected, actual) == 0


@pytest.mark.parametrize(
    ("values", "percent", "value"),
    [([], 50, None), ([7], 50, 7), ([7], 99, 7), ([4, 1, 3, 2], 50, 2), (list(range(1, 201)), 99, 198)],
)
def test_percentiles_are_values_that_occurred(values: list[float], percent: int, value: float | None) -> None:
    assert percentile(values, percent) == value


def test_a_run_of_no_time_and_no_orders_divides_by_nothing(build: Any) -> None:
    report = build({}, timings=Timings(0, 0, []))
    assert (report["orders_per_second"], report["received_to_completed_ms"]) == (0.0, {"p50": None, "p99": None})
    sums = report["money"]["GBP"] | report["changes"]["GBP"] | report["prepaid"]["GBP"]
    assert sums == dict.fromkeys(COLUMNS, 0)


def _printed(table: Any) -> str:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_the_table_shows_every_figure(build: Any, actual: Actual) -> None:
    text = _printed(summary(build(actual), ["line 7, UnitPrice: '[red]free' is no decimal number"], []))
    for part in (
        "386 orders, 8,142 rows, GBP 165,708.12",
        "38 cancellation, 30 stock correction",
        "line 7, UnitPrice: '[red]free' is no",
        "cancelled: out of stock",
        "127,013.70",
        "4,257.73 by 73 credit notes",
        "34: 48.63 added, 19 lines of 920.59 cancelled",
        "33: 965.81 (besides",
        "24: 107.13 replaced",
        "35: 14,247.54 before the order came, 385.36 given back",
        "prepayments 0.00; sum 0.00",
        "0 of 1,854 articles",
        "193.0",
        "p50 3 ms, p99 9 ms",
        "7,450 to 2 receivers, 9 retried, 0 waiting",
        "5,000 checked, 0 violated",
        "demo/orders.csv",
        "docs/demo-data.md",
    ):
        assert part in text


def test_the_table_names_the_first_five_unexpected_orders(build: Any, actual: Actual) -> None:
    unexpected = [Unexpected(f"id{n}", "never received") for n in range(7)]
    text = _printed(summary({**build(actual), "unexpected": ["id0"]}, [], unexpected))
    assert "id4: never received" in text
    assert "id5" not in text
    assert "and 2 more" in text
    assert "where `expected` and `actual` differ" in text
