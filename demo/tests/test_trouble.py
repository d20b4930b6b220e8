"""The trouble that is made by rule."""

from __future__ import annotations

from collections import Counter
from typing import get_args
from uuid import UUID, uuid5

import pytest

from demo.changes import Change, body_of, line_of
from demo.oracle import expect
from demo.retail import RetailOrder, id_of, orders_of, run_orders
from demo.tests.conftest import Reader, row
from demo.trouble import applies, is_short, sent_twice, stock, trouble_of, zero_stock_skus


@pytest.mark.parametrize(
    ("hundredth", "trouble"),
    [
        (0, "declined"),
        (3, "declined"),
        (4, "late"),
        (7, "late"),
        (8, "timed_out"),
        (11, "timed_out"),
        (12, "cancelled"),
        (15, "cancelled"),
        (16, "refunded"),
        (19, "refunded"),
        (20, "line_cancelled"),
        (23, "line_cancelled"),
        (24, "edited"),
        (27, "edited"),
        (28, "replaced_cheaper"),
        (30, "replaced_cheaper"),
        (31, "replaced_equal"),
        (32, "replaced_equal"),
        (33, "replaced_dearer"),
        (35, "replaced_dearer"),
        (36, None),
        (99, None),
    ],
)
def test_trouble_follows_from_the_first_eight_digits_of_the_order_id(hundredth: int, trouble: str | None) -> None:
    for hundreds in (0, 7, 42_949_671):
        order_id = UUID(f"{hundreds * 100 + hundredth:08x}-0000-5000-8000-00000000ffff")
        assert trouble_of(order_id) == trouble_of(str(order_id)) == trouble


def test_two_to_four_in_a_hundred_ids_have_each_trouble() -> None:
    counts = Counter(trouble_of(uuid5(UUID(int=0), str(n))) for n in range(20_000))
    del counts[None]
    per_cent = {"replaced_cheaper": 3, "replaced_equal": 2, "replaced_dearer": 3}
    assert len(counts) == 10
    assert all(175 < n / per_cent.get(str(trouble), 4) < 225 for trouble, n in counts.items())


def test_an_order_id_is_asked_for_with_all_four_parts(read_rows: Reader) -> None:
    asked = []

    def order_id(*parts: str) -> UUID:
        asked.append(parts)
        return UUID(int=1)

    second = run_orders(orders_of(read_rows(row("9"))), 2)[1]
    assert id_of(second, "shop", order_id) == UUID(int=1)
    assert asked == [("shop", "online-retail", "demo", "9-2")]


def test_no_more_than_six_percent_of_the_orders_are_short(read_rows: Reader) -> None:
    """A SKU of every order is not chosen; the next ones are, until three percent are short."""
    everybody = [row(str(n), "EVERYBODY") for n in range(100)]
    book = read_rows(*everybody, *(row(str(n), f"RARE{n}") for n in range(100)))
    orders = orders_of(book)
    skus = zero_stock_skus(orders)
    assert len(skus) == 3
    assert "EVERYBODY" not in skus
    assert sum(is_short(order, skus) for order in orders) == 3


@pytest.mark.parametrize(("buyers", "short"), [(3, 3), (6, 6), (7, 0)])
def test_six_percent_is_still_taken_and_three_is_enough(read_rows: Reader, buyers: int, short: int) -> None:
    """Rule and oracle at the limits: one SKU of some of 100 orders, and one of all."""
    book = read_rows(*(row(str(n), "ALL") for n in range(100)), *(row(str(n), "SOME") for n in range(buyers)))
    orders = orders_of(book)
    skus = zero_stock_skus(orders)
    assert sum(is_short(order, skus) for order in orders) == short
    assert sum(order.trouble == "out_of_stock" for order in expect(book, "demo")) == short


def test_a_small_file_has_no_short_order(read_rows: Reader) -> None:
    assert zero_stock_skus(orders_of(read_rows(row("1"), row("2", "B")))) == frozenset()
    assert zero_stock_skus([]) == frozenset()


def test_services_and_shipping_are_never_short(read_rows: Reader) -> None:
    lines = [row(str(n), "POST") for n in range(1000, 1100)] + [row(str(n), "M") for n in range(2000, 2100)]
    assert zero_stock_skus(orders_of(read_rows(*lines))) == frozenset()


def test_other_trouble_needs_a_price_and_stock(read_rows: Reader) -> None:
    paid, free = orders_of(read_rows(row("1"), row("2", price="0")))
    assert applies("late", paid, frozenset())
    assert not applies("late", paid, frozenset({"85123A"}))
    assert not applies("late", free, frozenset())


def test_a_change_needs_a_line_that_fits(read_rows: Reader) -> None:
    """Goods only; of a price of a penny a piece, rounded; and an order that keeps goods that cost something."""
    file = read_rows(
        row("1", "M"), row("1", "X", quantity="3", price="0.004"), row("1", "Y", quantity="200", price="0.005"),
        row("1", "POST"), row("2", "X"), row("2", "M"), row("3", "X", price="0"), row("3", "Y"),
    )  # fmt: skip
    many, one, free_first = orders_of(file)
    nothing: frozenset[str] = frozenset()

    def place(change: Change, order: RetailOrder) -> int | None:
        line = line_of(change, order)
        assert applies(change, order, nothing) == (line is not None)
        return line and line.place

    assert [place("line_cancelled", order) for order in (many, one, free_first)] == [3, None, None]
    assert [place("edited", order) for order in (many, one, free_first)] == [3, 1, 2]
    assert [place("refunded", order) for order in (many, one, free_first)] == [3, 1, 2]


def test_a_change_is_what_a_person_requests(read_rows: Reader) -> None:
    (order,) = orders_of(read_rows(row("1", quantity="6"), row("1", quantity="2")))
    bodies = {}
    for change in get_args(Change):
        line = line_of(change, order)
        assert line is not None
        bodies[change] = body_of(change, line, order)["lines"]
    assert bodies == {
        "refunded": [{"line_id": "1", "quantity": 1}],
        "line_cancelled": [{"line_id": "2", "quantity": 0}],
        "edited": [{"line_id": "1", "quantity": 7}],
        "replaced_cheaper": [{"line_id": "1-replaced", "quantity": 1, "amount_minor": 128}],
        "replaced_equal": [{"line_id": "1-replaced", "quantity": 1, "amount_minor": 255}],
        "replaced_dearer": [{"line_id": "1-replaced", "quantity": 1, "amount_minor": 355}],
    }


def test_a_reversal_takes_one_piece_off_at_its_price(read_rows: Reader) -> None:
    """33.33 of 99.99 rounds down, 0.50 of 1.00 is exact, and 1.01 for two is 0.51 each."""
    for quantity, price, piece in (("3", "33.3333", 3_333), ("2", "0.5", 50), ("2", "0.505", 51)):
        (order,) = orders_of(read_rows(row("7", quantity=quantity, price=price)))
        line = line_of("replaced_equal", order)
        assert line is not None
        body = body_of("replaced_equal", line, order)
        assert body["reversals"] == [{"line_id": "1-reversed", "reverses": "1", "quantity": 1, "amount_minor": piece}]
        assert (body["refund_line_id"], body["reference"], body["currency"]) == ("1-refunded", "7", "GBP")


def test_stock_is_nothing_for_the_short_and_enough_for_the_rest(sample_orders: list[RetailOrder]) -> None:
    run = run_orders(sample_orders, 1_000)
    skus = zero_stock_skus(sample_orders)
    put = stock(run, skus)
    assert {sku for sku, pieces in put.items() if pieces == 0} == skus
    for order in run:
        if not is_short(order, skus):
            for line in order.goods:
                put[line.sku] -= line.quantity
    assert min(put.values()) >= 0
    assert list(put) == sorted(put)
    assert not {"POST", "DOT", "C2", "M", "BANK CHARGES"} & set(put)


def test_stock_has_the_pieces_that_edits_add(read_rows: Reader) -> None:
    run = orders_of(read_rows(row("1", "X", quantity="2"), row("1", "Y")))
    assert stock(run, frozenset({"Y"}), ["X", "X"]) == {"X": 4, "Y": 0}


def test_every_tenth_snapshot_is_sent_twice() -> None:
    assert [n for n in range(35) if sent_twice(n)] == [9, 19, 29]
