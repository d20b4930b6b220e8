"""The oracle's own sums, and the differences it reports if services did something else."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from uuid import UUID, uuid5

import pytest

from demo.changes import CHANGES
from demo.expected import ActualRow, Changes, Expected, Money, aggregate, compare
from demo.oracle import expect, left_on_shelf
from demo.oracle_payment import by_card_of
from demo.oracle_sums import sums_of
from demo.retail import RetailOrder, id_of, orders_of, run_orders
from demo.source import Book
from demo.tests.conftest import Reader, row
from demo.trouble import applies, is_short, trouble_of, zero_stock_skus

NAMESPACE = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")


def order_id(store_id: str, channel: str, account: str, external_order_id: str) -> UUID:
    return uuid5(NAMESPACE, f"{store_id}|{channel}|{account}|{external_order_id}")


def as_expected(order: Expected) -> ActualRow:
    return cast(
        ActualRow, {"actual": order.end, **order.money._asdict(), **order.changes._asdict(), **order.prepaid._asdict()}
    )


def number_with(trouble: str) -> str:
    """An invoice number whose order has this trouble."""
    return next(
        number
        for number in map(str, range(1, 10_000))
        if trouble_of(order_id("demo", "online-retail", "demo", number)) == trouble
    )


def expect_one(read_rows: Reader, trouble: str, *cells: tuple[str, str, str]) -> tuple[Expected, dict[str, int]]:
    """An order of these (SKU, quantity, price) at 17.5 % VAT, and what is left of its goods."""
    book = read_rows(*(row(number_with(trouble), *one) for one in cells))
    (order,) = expected = expect(book, "demo")
    return order, left_on_shelf(book, expected)


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
        trouble = trouble_of(identity)
        rule = trouble if trouble is not None and applies(trouble, order, skus) else ""
        assert told.trouble == ("out_of_stock" if is_short(order, skus) else rule)


def test_each_trouble_has_its_end_and_its_money(expected: list[Expected]) -> None:
    seen = set()
    for order in expected:
        total = order.total_minor
        seen.add(order.trouble)
        if order.trouble in CHANGES:
            continue  # by hand, below
        wanted: dict[str, tuple[str, Money]] = {
            "": ("completed", Money(total, total, 0, 0, total, 0)),
            "late": ("completed", Money(total, total, 0, 0, total, 0)),
            "timed_out": ("completed", Money(total, total, 0, 0, total, 0)),
            "declined": ("cancelled:declined", Money()),
            "out_of_stock": ("cancelled:out_of_stock", Money()),
            "cancelled": ("cancelled:customer", Money(total, total, 0, total, total, total)),
        }
        assert (order.end, order.money) == wanted[order.trouble]
        assert order.changes == Changes(credit_notes=int(order.trouble == "cancelled"))
        assert order.credited_vat_minor == (order.vat_minor if order.trouble == "cancelled" else 0)
    assert seen == {"", "late", "timed_out", "declined", "out_of_stock", "cancelled", *CHANGES}


def test_a_refund_is_a_piece_of_the_first_goods_that_cost_something(read_rows: Reader) -> None:
    """100.00 for three, and 3.00: VAT 15.34, spread as 14.89 and 0.45; a piece is 33.33 with 4.96 of VAT."""
    order, left = expect_one(
        read_rows, "refunded", ("M", "1", "3"), ("FREE", "5", "0"), ("LAMP", "3", "33.3333"), ("POST", "1", "0")
    )
    assert (order.total_minor, order.vat_minor) == (10_300, 1_534)
    assert (order.end, order.money) == ("completed", Money(10_300, 10_300, 0, 3_333, 10_300, 3_333))
    assert order.changes == Changes(refunds=1, refunds_minor=3_333, credit_notes=1)
    assert (order.final_minor, order.invoiced_vat_minor, order.credited_vat_minor) == (10_300, 1_534, 496)
    assert left == {"FREE": 0, "LAMP": 1}


def test_a_refund_of_all_there_was_cancels_the_order(read_rows: Reader) -> None:
    order, left = expect_one(read_rows, "refunded", ("LAMP", "1", "100"))
    assert (order.end, order.money) == ("cancelled:refunded", Money(10_000, 10_000, 0, 10_000, 10_000, 10_000))
    assert order.credited_vat_minor == order.invoiced_vat_minor == 1_489
    assert left == {"LAMP": 1}


def test_a_cancelled_line_goes_back_with_its_own_vat_and_no_shipping(read_rows: Reader) -> None:
    """VAT of 100.10 is 14.91; the net 85.19 falls on the lines as 42.55, 0.09 and 42.55: all three odd pence are used."""
    order, left = expect_one(
        read_rows, "line_cancelled", ("LAMP", "2", "25"), ("MUG", "2", "0.05"), ("POST", "1", "50"), ("M", "1", "0")
    )
    assert (order.total_minor, order.vat_minor) == (10_010, 1_491)
    assert (order.end, order.money) == ("completed", Money(10_010, 10_010, 0, 10, 10_010, 10))
    assert order.changes == Changes(1, 0, 1, 10, 1, 10, 1)
    assert (order.final_minor, order.invoiced_vat_minor, order.credited_vat_minor) == (10_000, 1_491, 1)
    assert left == {"LAMP": 0, "MUG": 2}


def test_a_cancelled_line_that_was_free_moves_no_money(read_rows: Reader) -> None:
    order, left = expect_one(read_rows, "line_cancelled", ("LAMP", "1", "100"), ("GIFT", "2", "0"))
    assert order.money == Money(10_000, 10_000, 0, 0, 10_000, 0)
    assert order.changes == Changes(edits=1, lines_cancelled=1) and order.credited_vat_minor == 0
    assert left == {"GIFT": 2, "LAMP": 0}


def test_an_added_piece_has_a_second_invoice_whose_vat_is_rounded_by_itself(read_rows: Reader) -> None:
    """0.10 for three: VAT 1.49 rounds to 1. The fourth piece is 0.03 with 0.45 of VAT, which is none."""
    order, left = expect_one(read_rows, "edited", ("LAMP", "3", "0.0333"))
    assert (order.total_minor, order.vat_minor) == (10, 1)
    assert (order.end, order.money) == ("completed", Money(13, 13, 0, 0, 13, 0))
    assert order.changes == Changes(edits=1, added_minor=3)
    assert (order.final_minor, order.invoiced_vat_minor) == (13, 1)
    assert left == {"LAMP": 0}


@pytest.mark.parametrize(
    ("trouble", "money", "invoiced_vat"),
    [
        # 496 of VAT go back with a piece. In 16.67 are 2.48, in 33.33 are 4.96, and in 1.00 are 0.15.
        ("replaced_cheaper", Money(10_300, 10_300, 0, 1_666, 10_300 + 1_667, 3_333), 1_534 + 248),
        ("replaced_equal", Money(10_300, 10_300, 0, 0, 10_300 + 3_333, 3_333), 1_534 + 496),
        ("replaced_dearer", Money(10_400, 10_400, 0, 0, 10_300 + 3_433, 3_333), 1_534 + 496 + 15),
    ],
)
def test_a_piece_that_is_replaced_is_credited_and_what_replaces_it_invoiced(
    read_rows: Reader, trouble: str, money: Money, invoiced_vat: int
) -> None:
    """The order of the refund above: no goods move, and the order costs what it did."""
    order, left = expect_one(read_rows, trouble, ("M", "1", "3"), ("FREE", "5", "0"), ("LAMP", "3", "33.3333"))
    assert (order.end, order.money, order.final_minor) == ("completed", money, 10_300)
    assert order.changes == Changes(credit_notes=1, reversals=1, reversed_minor=3_333)
    assert (order.invoiced_vat_minor, order.credited_vat_minor) == (invoiced_vat, 496)
    assert left == {"FREE": 0, "LAMP": 0}


@pytest.mark.parametrize("trouble", ["replaced_cheaper", "replaced_equal"])
def test_what_replaces_a_piece_of_a_penny_costs_a_penny(read_rows: Reader, trouble: str) -> None:
    order, _ = expect_one(read_rows, trouble, ("LAMP", "1", "0.01"))
    assert order.money == Money(1, 1, 0, 0, 2, 1)


@pytest.mark.parametrize(
    ("pounds", "quantity", "by_card"),
    [
        # The card and the gateway have paid half each: the new piece is the card's, and the gateway gets its half back.
        ("10.00", "1", 500),
        # A piece of three is wholly the gateway's.
        ("10.00", "3", 1_500),
        # The card has paid 5.00 of the 10.01, and the new piece costs 5.01.
        ("10.01", "1", 500),
    ],
)
def test_a_card_gets_back_of_a_replaced_piece_what_is_more_than_the_gateways(
    pounds: str, quantity: str, by_card: int, read_rows: Reader
) -> None:
    (document,) = read_rows(row("1", quantity=quantity, price=pounds)).order_documents
    order = sums_of(document)
    piece = round(float(pounds) * 100)
    money = Money(refunded_minor=piece // 2, credited_minor=piece)
    assert by_card_of(order, order.total // 2, "replaced_cheaper", money) == by_card
    # A card that has paid everything gets the whole difference back.
    assert by_card_of(order, order.total, "replaced_cheaper", money) == order.total - piece // 2


@pytest.mark.parametrize(
    ("trouble", "cells"),
    [
        ("line_cancelled", [("LAMP", "1", "100"), ("M", "1", "3")]),
        ("line_cancelled", [("FREE", "1", "0"), ("LAMP", "1", "100"), ("POST", "1", "5")]),
        ("refunded", [("M", "1", "3"), ("FREE", "1", "0")]),
        ("edited", [("LAMP", "3", "0.004"), ("M", "1", "3")]),
        ("replaced_dearer", [("LAMP", "3", "0.001"), ("M", "1", "3")]),
    ],
)
def test_an_order_without_a_line_to_change_just_completes(
    read_rows: Reader, trouble: str, cells: list[tuple[str, str, str]]
) -> None:
    order, left = expect_one(read_rows, trouble, *cells)
    assert (order.trouble, order.end, order.changes) == ("", "completed", Changes())
    assert not any(left.values())


def test_goods_of_cancelled_orders_stay_on_the_shelf(read_rows: Reader) -> None:
    assert expect_one(read_rows, "declined", ("LAMP", "2", "1"))[1] == {"LAMP": 2}
    assert expect_one(read_rows, "cancelled", ("LAMP", "2", "1"), ("LAMP", "1", "1"))[1] == {"LAMP": 3}


def test_a_free_order_completes_without_money_for_every_id(expected: list[Expected]) -> None:
    free = [order for order in expected if order.total_minor == 0 and order.trouble != "out_of_stock"]
    assert len(free) > 30
    assert any(trouble_of(order.order_id) for order in free)
    assert {(order.end, order.money, order.vat_minor) for order in free} == {("completed", Money(), 0)}


def test_the_aggregate_is_the_sum_of_its_orders(expected: list[Expected]) -> None:
    whole = aggregate(expected)
    assert whole.received == len(expected) == whole.completed + sum(whole.cancelled.values())
    back = sum(order.changes.refunds_minor - order.changes.lines_cancelled_minor for order in expected)
    replaced = sum(
        order.money.invoiced_minor - order.total_minor - order.money.credited_minor
        for order in expected
        if order.changes.reversals
    )
    assert whole.money.captured_minor - whole.money.refunded_minor + back - replaced == sum(
        order.final_minor for order in expected if order.end in ("completed", "cancelled:refunded")
    )
    assert whole.changes.refunds_minor == sum(order.changes.refunds_minor for order in expected)
    more = whole.money.invoiced_minor - whole.money.captured_minor
    assert more == whole.money.credited_minor - whole.money.refunded_minor > 0, "what replaces a piece is invoiced anew"
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
    order = next(order for order in expected if order.trouble == "late")
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
    assert told(credited_vat_minor=1) == "credited_vat_minor is 1, expected 0"
    assert told(lines_cancelled=1, refunds=1) == "lines_cancelled is 1, expected 0; refunds is 1, expected 0"


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
