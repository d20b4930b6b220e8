"""The shelf: counts, keys, and how events move it."""

from __future__ import annotations

import pytest
from fulfillment_play import STORE, House, count, line, release, reserve, ship, start, uid

from contracts.fulfillment import PlacedLine, Released, Reserved, Shipped, StockTotals
from contracts.limits import ORDER_LINES_MAX
from fulfillment.domain.stock import SetStock, Stock, StockKey, StockSet, evolve, stock_item_id, touched

KEY = StockKey(STORE, "main", "A")


def held(*lines: PlacedLine, again: bool = False) -> Reserved:
    return Reserved(order_id=uid("o1"), store_id=STORE, lines=lines, again=again, totals=StockTotals())


def test_a_count_puts_pieces_on_the_shelf(house: House) -> None:
    house.when(count("A", 5))
    (event,) = house.said
    assert isinstance(event, StockSet)
    assert (event.location, event.sku, event.on_hand, event.reserved) == ("main", "A", 5, 0)
    house.then_stock("A", on_hand=5, reserved=0)


def test_a_second_count_replaces_the_first(house: House) -> None:
    house.given(count("A", 5), count("A", 3))
    house.then_stock("A", on_hand=3, reserved=0)


def test_a_count_keeps_what_orders_hold(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), count("A", 9))
    house.then_stock("A", on_hand=9, reserved=2)


def test_a_count_may_go_down_to_what_orders_hold(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), count("A", 2))
    house.then_stock("A", on_hand=2, reserved=2)


def test_a_count_below_what_orders_hold_is_refused(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)))
    house.when(count("A", 1))
    house.then_refused("stock_reserved")
    house.then_stock("A", on_hand=5, reserved=2)


def test_a_count_after_shipping_starts_from_the_shelf(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id), count("A", 0))
    house.then_stock("A", on_hand=0, reserved=0)


def test_a_count_in_the_same_batch_gives_pieces_to_the_order_behind_it(house: House) -> None:
    house.together(count("A", 2), reserve("r1", ("A", 2)), release("u1"))
    house.then_stock("A", on_hand=2, reserved=0)


def test_the_item_remembers_its_last_count(house: House) -> None:
    house.given(count("A/1 |x", 5), reserve("r1", ("A/1 |x", 2)), count("A/1 |x", 7))
    item = house.states[stock_item_id(STORE, "main", "A/1 |x")]
    assert (item.location, item.sku, item.on_hand, item.reserved) == ("main", "A/1 |x", 7, 2)


def test_items_of_other_shelves_have_other_keys() -> None:
    names = [("s", "main", "A"), ("s", "main", "a"), ("s", "mai", "n|A"), ("t", "main", "A"), ("s", "main", "A ")]
    assert len({stock_item_id(*name) for name in names}) == len(names)


def test_stock_is_counted_in_whole_pieces_from_zero() -> None:
    for wrong in (-1, 10**9 + 1, 1.5, "3"):
        with pytest.raises(ValueError, match="on_hand"):
            SetStock.model_validate({**count("A", 1).model_dump(), "on_hand": wrong})


# -- the fold ---------------------------------------------------------------------------------------------------------


def test_an_event_moves_the_sum_of_its_lines_at_a_key() -> None:
    event = held(line(1, "A", 2), line(2, "B", 1), line(3, "A", 3), line(4, "A", 9, at="south"))
    assert list(touched(event)) == [KEY, StockKey(STORE, "main", "B"), StockKey(STORE, "south", "A")]
    assert evolve(Stock(9, 1), KEY, event) == Stock(9, 6)


def test_a_reservation_that_is_told_again_moves_nothing() -> None:
    assert list(touched(held(line(1, "A", 2), again=True))) == []


def test_shipping_lowers_both_counts_and_a_release_one() -> None:
    lines = (line(1, "A", 2),)
    shipped = Shipped(order_id=uid("o1"), store_id=STORE, shipment_id=uid("s"), location="main", lines=lines)
    assert evolve(Stock(5, 3), KEY, shipped) == Stock(3, 1)
    assert evolve(Stock(5, 3), KEY, Released(order_id=uid("o1"), store_id=STORE, lines=lines)) == Stock(5, 1)


@pytest.mark.parametrize(
    "event", [held(line(1, "A", 6)), Released(order_id=uid("o"), store_id=STORE, lines=(line(1, "A", 4),))]
)
def test_the_fold_itself_refuses_to_oversell_or_to_give_back_too_much(event: Reserved | Released) -> None:
    with pytest.raises(AssertionError):
        evolve(Stock(5, 0), KEY, event)


def test_equal_lines_in_two_stores_are_two_shelves() -> None:
    event = held(line(1, "A", 2))
    other = event.model_copy(update={"store_id": "st_2"})
    assert list(touched(event)) == [KEY]
    assert list(touched(other)) == [StockKey("st_2", "main", "A")]
    assert evolve(Stock(5, 0), KEY, event) == Stock(5, 2)


def test_the_lines_of_an_order_are_summed_once_and_not_once_per_key() -> None:
    class Lines(tuple[PlacedLine, ...]):
        read = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            Lines.read += 1
            return super().__iter__()

    lines = Lines(line(n, f"S{n}", 1) for n in range(ORDER_LINES_MAX))
    event = Reserved.model_construct(**{**held().__dict__, "lines": lines})
    for key in touched(event):
        evolve(Stock(9, 0), key, event)
    assert Lines.read == 1
