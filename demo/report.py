"""The demo's reports: `report.json` for programs, `orders.csv` with a row per order, a table for people.

Counts by name (`left_out`, `cancelled`, `waiting`) hold only the names that occur.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from demo.deliveries import Deliveries
from demo.expected import CHANGES, MONEY, PREPAID, ActualRow, Expected, Unexpected
from demo.retail import CURRENCY, RetailOrder
from demo.source import Book

CAUSES: Final = ("out_of_stock", "declined", "customer", "refunded")
REASONS: Final = ("approval", "stock", "warehouse", "no_answer", "parked", "exception")
_NO_PERSON: Final = "waiting:no_answer"
"""The only wait that needs no person: the process repeats the command itself."""
_ENDS: Final = ("completed", *(f"cancelled:{cause}" for cause in CAUSES), *(f"waiting:{reason}" for reason in REASONS))
_UNEXPECTED_NAMED_MAX: Final = 5
COLUMNS: Final = (*MONEY, *CHANGES, *PREPAID)
"""Counts and sums of an order that add up to the report."""

ORDERS_CSV_COLUMNS: Final = (
    "order_id",
    "external_order_id",
    "lines",
    "total_minor",
    "vat_minor",
    "trouble",
    "gateway",
    "expected",
    "actual",
    *COLUMNS,
)


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """The content of the file, independent of the number of orders that are run. Amounts in pence."""

    rows: int
    """Rows of the documents that are orders."""
    orders: int
    total_minor: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Timings:
    setup_seconds: float
    replay_seconds: float
    """First snapshot sent to last order settled."""
    received_to_completed_ms: Sequence[float]
    """One per completed order: its first snapshot on Kafka to `orders.completed`."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Counts gathered while and after the run."""

    duplicates_removed: int
    invariants_checked: int
    invariants_violated: int


@dataclass(frozen=True, slots=True)
class Stock:
    """The stock at the end, SKU by SKU."""

    skus: int
    unexpected: Sequence[str]
    """SKUs with other counts than the oracle's."""


@dataclass(frozen=True, slots=True)
class Books:
    """Payments' books at the end. Balances are debits less credits, in pence."""

    balances: Mapping[str, int]
    unexpected: Sequence[str]
    """Accounts with another balance than the oracle's."""


def books_of(expected: Mapping[str, int], actual: Mapping[str, int]) -> Books:
    """Both: account -> balance; an account that only one of them has is unexpected."""
    wrong = [account for account in sorted({*expected, *actual}) if expected.get(account) != actual.get(account)]
    return Books(dict(sorted(actual.items())), wrong)


def stock_of(expected: Mapping[str, int], actual: Mapping[str, int]) -> Stock:
    """Both: SKU -> pieces in stock."""
    skus = sorted({*expected, *actual})
    return Stock(len(skus), [sku for sku in skus if expected.get(sku) != actual.get(sku)])


def source_figures(book: Book, orders: Sequence[RetailOrder]) -> SourceFigures:
    """orders: the file's, each once (`retail.orders_of`)."""
    rows = sum(order.document.row_count for order in orders)
    total_minor = sum(order.total_minor for order in orders)
    return SourceFigures(rows, len(orders), total_minor, {str(reason): n for reason, n in book.left_out.items()})


def build_report(
    source: SourceFigures,
    actual: Mapping[str, ActualRow],
    unexpected: Sequence[Unexpected],
    timings: Timings,
    checks: Checks,
    stock: Stock,
    books: Books,
    deliveries: Deliveries,
) -> dict[str, Any]:
    """The content of report.json. actual: one row per distinct order received. Raises ValueError for an end not in `_ENDS`."""
    ends = _ends(actual)
    settled = sum(is_settled(row) for row in actual.values())
    replay = timings.replay_seconds
    return {
        "source": {
            "rows": source.rows,
            "orders": source.orders,
            "total_minor": source.total_minor,
            "left_out": dict(source.left_out),
        },
        "received": len(actual),
        "completed": ends["completed"],
        "cancelled": _by_name(ends, "cancelled", CAUSES),
        "waiting": _by_name(ends, "waiting", REASONS),
        "money": {CURRENCY: sums_of(MONEY, actual.values())},
        "changes": {CURRENCY: sums_of(CHANGES, actual.values())},
        "prepaid": {CURRENCY: sums_of(PREPAID, actual.values())},
        "trial_balance": {CURRENCY: dict(books.balances), "unexpected": list(books.unexpected)},
        "orders_per_second": round(settled / replay, 2) if replay > 0 else 0.0,
        "received_to_completed_ms": {
            "p50": percentile(timings.received_to_completed_ms, 50),
            "p99": percentile(timings.received_to_completed_ms, 99),
        },
        "stock": {"skus": stock.skus, "unexpected": list(stock.unexpected)},
        "deliveries": {
            "receivers": deliveries.receivers,
            "delivered": deliveries.delivered,
            "retried": deliveries.retried,
            "waiting": deliveries.waiting,
            "unexpected": list(deliveries.unexpected),
        },
        "duplicates_removed": checks.duplicates_removed,
        "invariants": {"checked": checks.invariants_checked, "violated": checks.invariants_violated},
        "unexpected": [order.order_id for order in unexpected],
        "seconds": {"setup": round(timings.setup_seconds, 3), "replay": round(replay, 3)},
    }


def orders_csv(expected: Iterable[Expected], actual: Mapping[str, ActualRow]) -> str:
    """The content of orders.csv: a row per order sent, with what moved and changed; empty cells for an order that was not received."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ORDERS_CSV_COLUMNS)
    for order in expected:
        row = actual.get(order.order_id)
        seen = ["", *[""] * len(COLUMNS)] if row is None else [row["actual"], *_values(COLUMNS, row)]
        writer.writerow(
            [
                order.order_id,
                order.external_order_id,
                order.lines,
                order.total_minor,
                order.vat_minor,
                order.trouble,
                order.gateway,
                order.end,
                *seen,
            ]
        )
    return text.getvalue()


def exit_status(report: Mapping[str, Any], expected: Sequence[Expected], actual: Mapping[str, ActualRow]) -> int:
    """0 if no invariant is violated, no order, stock, balance or delivery is unexpected, no delivery waits, and all orders are settled; else 1."""
    all_settled = all(order.order_id in actual and is_settled(actual[order.order_id]) for order in expected)
    unexpected = report["unexpected"] or any(
        report[what]["unexpected"] for what in ("stock", "trial_balance", "deliveries")
    )
    failed = unexpected or report["invariants"]["violated"] or report["deliveries"]["waiting"]
    return 0 if all_settled and not failed else 1


def is_settled(row: ActualRow) -> bool:
    """Completed, cancelled with no process open, or waiting for a person."""
    return row.get("settled", row["actual"] != _NO_PERSON)


def sums_of(columns: Sequence[str], rows: Iterable[ActualRow]) -> dict[str, int]:
    """The columns added up; amounts in pence."""
    sums = dict.fromkeys(columns, 0)
    for row in rows:
        for name, value in zip(columns, _values(columns, row), strict=True):
            sums[name] += value
    return sums


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Nearest rank: the smallest value that at least `percent` of all do not exceed. None of nothing.

    >>> percentile([30, 10, 20], 50), percentile([30, 10, 20], 99), percentile([], 50)
    (20.0, 30.0, None)
    """
    if not values:
        return None
    rank = max(math.ceil(len(values) * percent / 100), 1)
    return round(float(sorted(values)[rank - 1]), 1)


def summary(report: Mapping[str, Any], broken: Sequence[str], unexpected: Sequence[Unexpected]) -> Table:
    """The report for people. broken: `Book.broken_named()`."""
    table = Table(title="Tradewind demo", show_header=False, title_justify="left")
    table.add_column("what", no_wrap=True)
    table.add_column("figure", overflow="fold")
    for what, figure in [
        *_source_rows(report, broken),
        *_order_rows(report),
        *_money_rows(report),
        *_balance_rows(report),
        *_speed_rows(report),
        *_check_rows(report, unexpected),
    ]:
        table.add_row(what, Text(figure))  # Text: a cell of the file may contain rich's markup
    table.add_section()
    for n, step in enumerate(_read_next(report)):
        table.add_row("read next" if n == 0 else "", step)
    return table


def _source_rows(report: Mapping[str, Any], broken: Sequence[str]) -> list[tuple[str, str]]:
    source = report["source"]
    left_out = ", ".join(f"{n:,} {_words(reason)}" for reason, n in source["left_out"].items())
    rows = [
        ("in the file", f"{source['orders']:,} orders, {source['rows']:,} rows, {_pounds(source['total_minor'])}"),
        ("left out", left_out or "nothing"),
    ]
    return rows + [("broken row" if n == 0 else "", text) for n, text in enumerate(broken)]


def _order_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("received", f"{report['received']:,}"), ("completed", f"{report['completed']:,}")]
    rows += [(f"cancelled: {_words(cause)}", f"{n:,}") for cause, n in report["cancelled"].items()]
    return rows + [(f"waiting: {_words(reason)}", f"{n:,}") for reason, n in report["waiting"].items()]


def _money_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for currency, money in report["money"].items():
        changes = report["changes"][currency]
        figures = {name.removesuffix("_minor"): _decimal(amount) for name, amount in money.items()}
        figures["credited"] += f" by {changes['credit_notes']:,} credit notes"
        added, cancelled, refunded = (
            _decimal(changes[name]) for name in ("added_minor", "lines_cancelled_minor", "refunds_minor")
        )
        lines = f"{changes['lines_cancelled']:,} lines of {cancelled} cancelled"
        figures["edits"] = f"{changes['edits']:,}: {added} added, {lines}"
        figures["refunds"] = f"{changes['refunds']:,}: {refunded} (besides those of cancels)"
        figures["reversals"] = f"{changes['reversals']:,}: {_decimal(changes['reversed_minor'])} replaced"
        prepaid = report["prepaid"][currency]
        paid, back = _decimal(prepaid["prepaid_minor"]), _decimal(prepaid["given_back_minor"])
        figures["prepaid"] = f"{prepaid['prepayments']:,}: {paid} before the order came, {back} given back"
        rows += [(f"{name}, {currency}", figure) for name, figure in figures.items()]
    return rows


def _balance_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    balances = report["trial_balance"][CURRENCY]
    accounts = ", ".join(f"{_words(account)} {_decimal(minor)}" for account, minor in balances.items())
    rows = [(f"trial balance, {CURRENCY}", f"{accounts or 'nothing'}; sum {_decimal(sum(balances.values()))}")]
    wrong = report["trial_balance"]["unexpected"]
    return rows + ([("unexpected balance", ", ".join(_words(account) for account in wrong))] if wrong else [])


def _speed_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    latency = report["received_to_completed_ms"]
    shown = {name: "-" if ms is None else f"{ms:,.0f} ms" for name, ms in latency.items()}
    seconds = report["seconds"]
    return [
        ("orders per second", f"{report['orders_per_second']:,.1f}"),
        ("received to completed", f"p50 {shown['p50']}, p99 {shown['p99']} (all are sent at once)"),
        ("seconds", f"{seconds['setup']:.1f} to set up, {seconds['replay']:.1f} to replay"),
    ]


def _check_rows(report: Mapping[str, Any], unexpected: Sequence[Unexpected]) -> list[tuple[str, str]]:
    invariants = report["invariants"]
    stock = report["stock"]
    deliveries = report["deliveries"]
    webhooks = f"{deliveries['delivered']:,} to {deliveries['receivers']} receivers"
    rows = [
        ("duplicates removed", f"{report['duplicates_removed']:,}"),
        ("webhooks delivered", f"{webhooks}, {deliveries['retried']:,} retried, {deliveries['waiting']:,} waiting"),
        ("invariants", f"{invariants['checked']:,} checked, {invariants['violated']:,} violated"),
        ("unexpected stock", f"{len(stock['unexpected']):,} of {stock['skus']:,} articles"),
        ("unexpected ends", f"{len(unexpected):,}"),
    ]
    rows += [("", f"{order.order_id}: {order.reason}") for order in unexpected[:_UNEXPECTED_NAMED_MAX]]
    more = len(unexpected) - _UNEXPECTED_NAMED_MAX
    rows += [("", f"and {more:,} more")] if more > 0 else []
    return rows + [("unexpected delivery" if n == 0 else "", text) for n, text in enumerate(deliveries["unexpected"])]


def _read_next(report: Mapping[str, Any]) -> list[str]:
    steps = []
    if report["unexpected"]:
        steps.append("demo/orders.csv, where `expected` and `actual` differ")
    if report["waiting"].get("parked"):
        steps.append("GET /v1/parked of each service: what it rejected, and why")
    steps += ["demo/orders.csv: every order, its expected and its actual end", "demo/report.json: these figures"]
    return [*steps, "docs/demo-data.md: how the file becomes orders, and which trouble is added"]


def _ends(actual: Mapping[str, ActualRow]) -> Counter[str]:
    ends = Counter(row["actual"] for row in actual.values())
    if others := sorted(set(ends) - set(_ENDS)):
        raise ValueError(f"an order ends as one of {', '.join(_ENDS)}, not as {', '.join(others)}")
    return ends


def _by_name(ends: Mapping[str, int], kind: str, names: Sequence[str]) -> dict[str, int]:
    return {name: ends[f"{kind}:{name}"] for name in names if f"{kind}:{name}" in ends}


def _values(columns: Sequence[str], row: ActualRow) -> list[int]:
    return [row[name] for name in columns]  # type: ignore[literal-required]  # the columns are keys of the row


def _pounds(pence: int) -> str:
    return f"{CURRENCY} {_decimal(pence)}"


def _decimal(pence: int) -> str:
    """
    >>> _decimal(123_456), _decimal(-5)
    ('1,234.56', '-0.05')
    """
    sign = "-" if pence < 0 else ""
    return f"{sign}{abs(pence) // 100:,}.{abs(pence) % 100:02}"


def _words(name: str) -> str:
    return name.replace("_", " ")
