"""For a file of any rows: no row is lost, and all sums agree."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.money import round_half_up
from demo.changes import line_of
from demo.expected import Expected, aggregate, compare
from demo.oracle import expect, left_on_shelf
from demo.records import COLUMNS
from demo.retail import RetailLine, RetailOrder, orders_of, run_orders, snapshot
from demo.source import LEFT_OUT, read
from demo.trouble import applies, is_short, stock, trouble_of, zero_stock_skus

prices = st.decimals(min_value=-1, max_value=10_000, places=4).map(lambda price: f"{price:f}")
# fmt: off
rows = st.tuples(
    st.sampled_from(["1", "2", "3", "44", "5", "6", "C7", "A8", "", "1", "2"]),
    st.sampled_from(["85123A", "85123a", "71053", "POST", "dot", "C2", "M", "bank charges", "", "22752"]),
    st.text(alphabet='aé"\n\r,; £', max_size=8),
    st.one_of(st.integers(1, 5_000).map(str), st.sampled_from(["0", "-3", "6.0", "", "1,200"])),
    st.sampled_from(["12/1/10 8:26", "12/1/2010 9:02", "1/4/11 0:00", "11/30/08 9:00", "2010-12-01"]),
    st.one_of(prices, st.sampled_from(["", "x", "0"])),
    st.sampled_from(["17850", "17850", "17850", ""]),
    st.sampled_from(["United Kingdom", "United Kingdom", "France"]),
)
good_rows = st.tuples(
    st.integers(1, 40).map(str),
    st.sampled_from(["85123A", "71053", "POST", "C2", "M", "22752", "84029G"]),
    st.text(alphabet='aé"\n,', max_size=5),
    st.integers(1, 5_000).map(str),
    st.sampled_from(["12/1/10 8:26", "1/4/11 0:00"]),
    st.decimals(min_value=0, max_value=10_000, places=4).map(lambda price: f"{price:f}"),
    st.just("17850"),
    st.just("United Kingdom"),
)
# fmt: on


def write(path: Path, lines: list[tuple[str, ...]], encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    return path


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(rows, max_size=40), encoding=st.sampled_from(["utf-8", "utf-8-sig", "iso-8859-1"]))
def test_every_row_is_in_an_order_in_a_document_left_out_or_counted(
    lines: list[tuple[str, ...]], encoding: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = read(write(Path(folder) / "orders.csv", lines, encoding))
    assert book.rows == len(lines)
    assert sum(document.row_count for document in book.documents) + book.rows_without_number == len(lines)
    counted = Counter(line[0] for line in lines)
    assert {document.invoice_no: document.row_count for document in book.documents} == {
        number: count for number, count in counted.items() if number
    }
    assert list(dict.fromkeys(line[0] for line in lines if line[0])) == [doc.invoice_no for doc in book.documents]
    left_out = sum(document.left_out is not None for document in book.documents)
    assert sum(book.left_out.values()) == left_out + book.rows_without_number
    assert set(book.left_out) <= set(LEFT_OUT)
    for document in book.documents:
        named = any(broken.invoice_no == document.invoice_no for broken in book.broken)
        assert named == (document.left_out == "broken_row")
    for document in book.order_documents:
        assert [row.place for row in document.rows] == list(range(1, document.row_count + 1))


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(good_rows, min_size=1, max_size=60), extra=st.integers(0, 50))
def test_sums_agree_between_lines_totals_snapshots_and_oracle(lines: list[tuple[str, ...]], extra: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = read(write(Path(folder) / "orders.csv", lines))
    orders = orders_of(book)
    expected = expect(book, "demo", len(orders) + extra)
    skus = zero_stock_skus(orders)
    assert sum(is_short(order, skus) for order in orders) * 100 <= 6 * len(orders)
    run = run_orders(orders, len(orders) + extra)
    for order, told in zip(run, expected, strict=True):
        body = snapshot(order)["order"]
        totals = body["totals"]
        assert sum(line["line_total_minor"] for line in body["lines"]) == totals["items_minor"]
        assert totals["items_minor"] + totals["shipping_minor"] == totals["grand_minor"] == told.total_minor
        assert len(body["lines"]) == told.lines > 0
        assert len({line["external_line_id"] for line in body["lines"]}) == told.lines
        assert 0 <= told.vat_minor <= told.total_minor
        assert (told.trouble == "out_of_stock") == is_short(order, skus)
        trouble = trouble_of(told.order_id)
        if told.trouble != "out_of_stock":
            assert told.trouble == (trouble if trouble is not None and applies(trouble, order, skus) else "")
        assert changed(told) == changed_by_rule(told, order)
        assert told.external_order_id == body["external_order_id"]
    whole = aggregate(expected)
    assert whole.credited_vat_minor <= whole.invoiced_vat_minor
    more = [line.sku for told, order in zip(expected, run, strict=True) for line in [added(told, order)] if line]
    put, left = stock(run, skus, more), left_on_shelf(book, expected)
    assert all(0 <= left[sku] <= pieces for sku, pieces in put.items()) and list(left) == list(put)
    unshelved = ("", "late", "timed_out", "edited", "replaced_cheaper", "replaced_equal", "replaced_dearer")
    if all(told.end == "completed" and told.trouble in unshelved for told in expected):
        assert not any(left.values())
    assert whole.received == whole.completed + sum(whole.cancelled.values()) == len({e.order_id for e in expected})
    assert compare(expected, {}) == [(order.order_id, "never received") for order in expected]


def changed(told: Expected) -> tuple[int, int, int]:
    """Pence that edits add, cancel, and that go back by request."""
    changes = told.changes
    return changes.added_minor, changes.lines_cancelled_minor, changes.refunds_minor - changes.lines_cancelled_minor


def changed_by_rule(told: Expected, order: RetailOrder) -> tuple[int, int, int]:
    if told.trouble == "line_cancelled":
        cancelled = line_of("line_cancelled", order)
        return 0, cancelled.line_total_minor if cancelled else -1, 0
    assert (
        told.money.credited_minor - told.money.refunded_minor == told.money.invoiced_minor - told.money.captured_minor
    )
    line = line_of("edited", order)
    piece = round_half_up(Fraction(line.line_total_minor, line.quantity)) if line else -1
    assert told.changes.reversed_minor == piece * told.trouble.startswith("replaced_")
    return piece * (told.trouble == "edited"), 0, piece * (told.trouble == "refunded")


def added(told: Expected, order: RetailOrder) -> RetailLine | None:
    return line_of("edited", order) if told.trouble == "edited" else None
