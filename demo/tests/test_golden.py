"""The figures of `docs/demo-data.md`, to the penny, from the code that sends the orders and from the oracle."""

from __future__ import annotations

import pytest

from demo.expected import Expected, aggregate
from demo.oracle import expect
from demo.retail import RetailOrder, snapshot
from demo.source import Book
from demo.trouble import is_short, zero_stock_skus

GOLDEN = [
    # invoice, total, shipping, rows, VAT
    ("536365", 13_912, 0, 7, 2_072),
    ("536544", 552_114, 56_977, 527, 82_230),
    ("536876", 725_708, 88_752, 593, 108_084),
    ("536779", 1_500, 0, 1, 223),
    ("536370", 85_586, 5_400, 20, 0),
]


@pytest.fixture(scope="module")
def predicted(sample: Book) -> dict[str, Expected]:
    return {order.external_order_id: order for order in expect(sample, "demo")}


def test_the_sample_has_454_documents_of_which_68_are_left_out(sample: Book) -> None:
    assert sample.rows == 8_261
    assert len(sample.documents) == 454
    assert sample.left_out == {"cancellation": 38, "stock_correction": 30}
    assert sample.broken == ()


def test_the_sample_has_386_orders_worth_16_570_812_pence(sample_orders: list[RetailOrder]) -> None:
    uk = [order for order in sample_orders if order.document.country == "United Kingdom"]
    assert len(sample_orders) == 386
    assert sum(order.document.row_count for order in sample_orders) == 8_142
    assert sum(order.total_minor for order in sample_orders) == 16_570_812
    assert (len(uk), sum(order.total_minor for order in uk)) == (359, 15_262_756)
    assert len(sample_orders) - len(uk) == 27
    assert sum(order.total_minor == 0 for order in sample_orders) == 15


@pytest.mark.parametrize(("invoice", "total", "shipping", "rows", "vat"), GOLDEN)
def test_single_orders_are_exact_to_the_penny(
    sample_orders: list[RetailOrder],
    predicted: dict[str, Expected],
    invoice: str,
    total: int,
    shipping: int,
    rows: int,
    vat: int,
) -> None:
    order = next(order for order in sample_orders if order.external_order_id == invoice)
    assert (order.total_minor, order.shipping_minor, order.document.row_count) == (total, shipping, rows)
    assert (predicted[invoice].total_minor, predicted[invoice].vat_minor) == (total, vat)


def test_bank_charges_alone_ship_nothing(sample_orders: list[RetailOrder]) -> None:
    order = next(order for order in sample_orders if order.external_order_id == "536779")
    assert order.goods == []
    assert [line.sku for line in order.lines] == ["BANK CHARGES"]


def test_vat_is_rounded_once_per_order_not_per_row(sample_orders: list[RetailOrder], sample: Book) -> None:
    per_row = sum(
        (2 * amount * 175 + 1175) // (2 * 1175)
        for order in sample_orders
        if order.document.country == "United Kingdom"
        for amount in [*(line.line_total_minor for line in order.lines), *_shipping_rows(order)]
    )
    assert aggregate(expect(sample, "demo")).vat_minor == 2_273_175
    assert per_row == 2_273_219  # rounding row by row would be wrong


def _shipping_rows(order: RetailOrder) -> list[int]:
    lines = {line.place for line in order.lines}
    return [int(row.unit_price * row.quantity * 100) for row in order.document.rows if row.place not in lines]


def test_two_skus_make_17_orders_short(sample_orders: list[RetailOrder], predicted: dict[str, Expected]) -> None:
    skus = zero_stock_skus(sample_orders)
    short = {order.external_order_id for order in sample_orders if is_short(order, skus)}
    assert skus == {"21098", "21244"}
    assert len(short) == 17
    assert short == {order.external_order_id for order in predicted.values() if order.trouble == "out_of_stock"}


def test_the_aggregate_for_the_store_demo(sample: Book) -> None:
    """Pins order ids and trouble too: a change of either changes these sums."""
    whole = aggregate(expect(sample, "demo"))
    assert (whole.received, whole.completed) == (386, 339)
    assert whole.cancelled == {"out_of_stock": 17, "declined": 13, "customer": 16, "refunded": 1}
    assert whole.total_minor == 16_570_812
    assert whole.money == (12_701_370, 12_701_370, 0, 417_663, 12_709_480, 425_773)
    assert whole.changes == (34, 4_863, 19, 92_059, 33, 96_581, 73, 24, 10_713)
    assert (whole.invoiced_vat_minor, whole.credited_vat_minor) == (1_697_910, 59_689)


def test_both_programs_agree_on_every_order(sample_orders: list[RetailOrder], predicted: dict[str, Expected]) -> None:
    assert [order.external_order_id for order in sample_orders] == list(predicted)
    for order in sample_orders:
        expected = predicted[order.external_order_id]
        assert (order.total_minor, len(order.lines)) == (expected.total_minor, expected.lines)


def test_the_largest_snapshot_fits_a_message(sample_orders: list[RetailOrder]) -> None:
    """An order of the sample has at most 593 rows; a service rejects a journal entry of more than 900 kB."""
    largest = max(sample_orders, key=lambda order: len(order.document.rows))
    assert len(str(snapshot(largest))) < 500_000
