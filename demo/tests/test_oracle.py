"""The oracle's own sums, and the differences it reports if services did something else."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from uuid import UUID, uuid5

import pytest

from demo.oracle import ActualRow, Expected, Money, aggregate, compare, expect
from demo.retail import RetailOrder, id_of, orders_of, run_orders
from demo.source import Book
from demo.tests.conftest import Reader, row
from demo.trouble import applies, is_short, trouble_of, zero_stock_skus

NAMESPACE = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")


def order_id(store_id: str, channel: str, account: str, external_order_id: str) -> UUID:
    return uuid5(NAMESPACE, f"{store_id}|{channel}|{account}|{external_order_id}")


def as_expected(order: Expected) -> ActualRow:
    return cast(ActualRow, {"actual": order.end, **order.money._asdict()})


@pytest.fixture(scope="module")
def expected(sample: Book) -> list[Expected]:
    return expect(sample, "demo", 1_000)


@pytest.mark.parametrize("store_id", ["demo", "st_12"])
def test_order_ids_and_trouble_are_those_of_the_rule(
    sample: Book, sample_orders: list[RetailOrder], store_id: str
) -> None:
    skus = zero_stock_skus(sample_orders)
    for order, told in zip(run_orders(sample_orders, 800), expect(sample, store_id, 800), strict=True):
        identity = id_of(order, store_id, order_id)
        assert told.order_id == str(identity)
        trouble = trouble_of(identity) if applies(order, skus) else None
        assert told.trouble == ("out_of_stock" if is_short(order, skus) else trouble or "")


def test_each_trouble_has_its_end_and_its_money(expected: list[Expected]) -> None:
    seen = set()
    for order in expected:
        total = order.total_minor
        seen.add(order.trouble)
        wanted: dict[str, tuple[str, Money]] = {
            "": ("completed", Money(total, total, 0, 0, total, 0)),
            "late": ("completed", Money(total, total, 0, 0, total, 0)),
            "timed_out": ("completed", Money(total, total, 0, 0, total, 0)),
            "declined": ("cancelled:declined", Money()),
            "out_of_stock": ("cancelled:out_of_stock", Money()),
            "cancelled": ("cancelled:customer", Money(total, total, 0, total, total, total)),
        }
        assert (order.end, order.money) == wanted[order.trouble]
    assert seen == {"", "late", "timed_out", "declined", "out_of_stock", "cancelled"}


def test_a_free_order_completes_without_money_for_every_id(expected: list[Expected]) -> None:
    free = [order for order in expected if order.total_minor == 0 and order.trouble != "out_of_stock"]
    assert len(free) > 30
    assert any(trouble_of(order.order_id) for order in free)
    assert {(order.end, order.money, order.vat_minor) for order in free} == {("completed", Money(), 0)}


def test_the_aggregate_is_the_sum_of_its_orders(expected: list[Expected]) -> None:
    whole = aggregate(expected)
    assert whole.received == len(expected) == whole.completed + sum(whole.cancelled.values())
    assert whole.money.captured_minor - whole.money.refunded_minor == sum(
        order.total_minor for order in expected if order.end == "completed"
    )
    assert whole.money.invoiced_minor == whole.money.captured_minor
    assert whole.money.credited_minor == whole.money.refunded_minor
    assert aggregate([]).money == Money()


@pytest.mark.parametrize(
    ("date", "total", "vat"),
    [
        ("12/31/09 23:59", "1.15", 15),
        ("1/1/10 0:00", "1.15", 17),  # 17.13
        ("1/3/11 23:59", "117.50", 1750),
        ("1/4/11 0:00", "1.20", 20),
        ("1/4/11 0:00", "0.03", 1),  # half a penny goes up
        ("7/1/11 0:30", "1.20", 20),
    ],
)
def test_vat_is_taken_out_of_the_gross_total(read_rows: Reader, date: str, total: str, vat: int) -> None:
    assert expect(read_rows(row(quantity="1", price=total, date=date)), "demo")[0].vat_minor == vat


def test_vat_covers_the_shipping_charge(read_rows: Reader) -> None:
    book = read_rows(row(quantity="1", price="100"), row(code="POST", quantity="1", price="17.50"))
    assert expect(book, "demo")[0].vat_minor == 1750


def test_nothing_is_unexpected_where_all_ended_as_they_must(expected: list[Expected]) -> None:
    assert compare(expected, {order.order_id: as_expected(order) for order in expected}) == []


def test_differences_are_reported_order_by_order(expected: list[Expected]) -> None:
    order = next(order for order in expected if order.end == "completed" and order.total_minor)
    total = order.total_minor

    def told(**changes: object) -> str:
        actual = cast(ActualRow, {**as_expected(order), **changes})
        (unexpected,) = compare([order], {order.order_id: actual})
        assert unexpected.order_id == order.order_id
        return unexpected.reason

    assert told(actual="waiting:no_answer") == "end is waiting:no_answer, expected completed"
    assert told(captured_minor=2 * total) == f"captured_minor is {2 * total}, expected {total}"
    assert told(voided_minor=1, credited_minor=2) == "voided_minor is 1, expected 0; credited_minor is 2, expected 0"
    assert told(total_minor=total - 1) == f"total_minor is {total - 1}, expected {total}"
    assert told(invoiced_vat_minor=0) == f"invoiced_vat_minor is 0, expected {order.vat_minor}"


def test_missing_figures_are_not_compared(expected: list[Expected]) -> None:
    order = expected[0]
    actual = cast(ActualRow, {**as_expected(order), "total_minor": None, "invoiced_vat_minor": order.vat_minor})
    assert compare([order], {order.order_id: actual}) == []


def test_missing_and_foreign_orders_are_unexpected(expected: list[Expected]) -> None:
    first, second = expected[:2]
    stranger = replace(first, order_id="stranger")
    actual = {order.order_id: as_expected(order) for order in (second, stranger)}
    assert compare([first, second], actual) == [
        (first.order_id, "never received"),
        ("stranger", "not in the file"),
    ]


def test_a_book_without_orders_has_no_expected_end(read_rows: Reader) -> None:
    assert expect(read_rows(), "demo") == expect(read_rows(row("C1")), "demo", 5) == []


def test_a_refused_order_owes_no_vat(expected: list[Expected]) -> None:
    declined = next(order for order in expected if order.trouble == "declined" and order.vat_minor)
    assert declined.invoiced_vat_minor == 0


def test_orders_of_agrees_with_the_oracle_on_odd_rows(read_rows: Reader) -> None:
    book = read_rows(
        row("1", "post", price="0.335"),
        row("1", "post", quantity="3", price="0.335"),
        row("2", "m", price="0.005"),
        row("2", "c2", quantity="7", price="0.145"),
        row("3", "15056bl", quantity="11", price="0.4545"),
    )
    sold = [(order.total_minor, len(order.lines)) for order in orders_of(book)]
    assert sold == [(order.total_minor, order.lines) for order in expect(book, "demo")]
    assert sold == [(201 + 101, 2), (3 + 102, 1), (500, 1)]
