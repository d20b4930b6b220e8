"""Reserving: all or nothing, first location that has enough, never more than lies there."""

from __future__ import annotations

import pytest
from fulfillment_play import (
    STORE,
    House,
    cancel,
    count,
    is_reserved,
    is_short,
    line,
    of,
    reduce,
    release,
    reserve,
    ship,
    short,
    start,
    uid,
)

from contracts.fulfillment import OutOfStock, Reserve, Reserved, Start, WantedLine

# -- an order that holds nothing --------------------------------------------------------------------------------------


def test_a_line_is_reserved_where_it_lies(house: House) -> None:
    house.given(count("A", 5))
    house.when(reserve("r1", ("A", 2)))
    house.then(is_reserved("r1", line(1, "A", 2)))
    house.then_stock("A", on_hand=5, reserved=2)


def test_the_last_piece_can_be_reserved(house: House) -> None:
    house.given(count("A", 5))
    house.when(reserve("r1", ("A", 5)))
    house.then(is_reserved("r1", line(1, "A", 5)))


def test_one_piece_too_many_is_out_of_stock_and_tells_what_there_is(house: House) -> None:
    house.given(count("A", 5))
    house.when(reserve("r1", ("A", 6)))
    house.then(is_short("r1", short(1, "A", wanted=6, available=5)))
    house.then_stock("A", on_hand=5, reserved=0)


def test_one_short_line_reserves_none_of_the_order(house: House) -> None:
    house.given(count("A", 5), count("B", 0))
    house.when(reserve("r1", ("A", 1), ("B", 1)))
    house.then(is_short("r1", short(2, "B", wanted=1, available=0)))
    house.then_stock("A", on_hand=5, reserved=0)


def test_every_short_line_is_named(house: House) -> None:
    house.given(count("A", 1), count("B", 2), count("C", 3))
    house.when(reserve("r1", ("A", 9), ("B", 2), ("C", 9)))
    house.then(is_short("r1", short(1, "A", wanted=9, available=1), short(3, "C", wanted=9, available=3)))


def test_an_sku_that_was_never_counted_has_no_pieces(house: House) -> None:
    house.when(reserve("r1", ("ghost", 1)))
    house.then(is_short("r1", short(1, "ghost", wanted=1, available=0)))


def test_lines_of_one_sku_add_up(house: House) -> None:
    house.given(count("A", 5))
    house.when(reserve("r1", ("A", 3), ("A", 3)))
    house.then(is_short("r1", short(2, "A", wanted=3, available=2)))


def test_lines_of_one_sku_that_fit_together_are_held_together(house: House) -> None:
    house.given(count("A", 6))
    house.when(reserve("r1", ("A", 3), ("A", 3)))
    house.then(is_reserved("r1", line(1, "A", 3), line(2, "A", 3)))
    house.then_stock("A", on_hand=6, reserved=6)


def test_a_line_goes_whole_to_the_first_location_that_has_enough(house: House) -> None:
    house.given(count("A", 2, at="north"), count("A", 9, at="south"))
    house.when(reserve("r1", ("A", 3), at=("north", "south")))
    house.then(is_reserved("r1", line(1, "A", 3, at="south")))
    house.then_stock("A", on_hand=2, reserved=0, at="north")


def test_the_order_of_the_locations_decides_where_both_have_it(house: House) -> None:
    house.given(count("A", 9, at="north"), count("A", 9, at="south"))
    house.when(reserve("r1", ("A", 3), at=("south", "north")))
    house.then(is_reserved("r1", line(1, "A", 3, at="south")))


def test_an_earlier_line_pushes_a_later_one_to_the_next_location(house: House) -> None:
    house.given(count("A", 4, at="north"), count("A", 4, at="south"))
    house.when(reserve("r1", ("A", 3), ("A", 3), at=("north", "south")))
    house.then(is_reserved("r1", line(1, "A", 3, at="north"), line(2, "A", 3, at="south")))


@pytest.mark.parametrize("at", [("north", "south"), ("south", "north")])
def test_a_short_line_tells_the_most_that_one_location_has(house: House, at: tuple[str, ...]) -> None:
    house.given(count("A", 2, at="north"), count("A", 4, at="south"))
    house.when(reserve("r1", ("A", 5), at=at))
    house.then(is_short("r1", short(1, "A", wanted=5, available=4)))


def test_a_location_that_was_not_allowed_gives_nothing(house: House) -> None:
    house.given(count("A", 9, at="south"))
    house.when(reserve("r1", ("A", 1), at=("north",)))
    house.then(is_short("r1", short(1, "A", wanted=1, available=0)))


def test_the_stock_of_another_store_gives_nothing(house: House) -> None:
    house.given(count("A", 9, store="st_2"))
    house.when(reserve("r1", ("A", 1)))
    house.then(is_short("r1", short(1, "A", wanted=1, available=0)))


def test_an_order_without_lines_is_reserved_without_lines(house: House) -> None:
    house.when(reserve("r1"))
    house.then(is_reserved("r1"))
    assert house.order().status == "reserved"


def test_out_of_stock_leaves_the_order_as_it_was(house: House) -> None:
    house.given(reserve("r1", ("A", 1)))
    assert house.order().status == "none"


def test_a_new_attempt_after_out_of_stock_may_succeed(house: House) -> None:
    house.given(reserve("r1", ("A", 1)), count("A", 1))
    house.when(reserve("r2", ("A", 1)))
    house.then(is_reserved("r2", line(1, "A", 1)))


def test_two_lines_of_one_id_are_poison(house: House) -> None:
    twice = (WantedLine(line_id="1", sku="A", quantity=1), WantedLine(line_id="1", sku="A", quantity=1))
    command = Reserve(
        order_id=uid("o1"), store_id=STORE, operation_id=uid("r1"), actor="orders", lines=twice, locations=("main",)
    )
    with pytest.raises(ValueError, match="line_id"):
        house.when(command)


# -- an order that is reserved ----------------------------------------------------------------------------------------


def test_the_same_operation_again_decides_nothing(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)))
    house.when(reserve("r1", ("A", 2)))
    house.then()
    house.then_stock("A", on_hand=5, reserved=2)


def test_a_new_operation_is_told_the_standing_reservation_and_holds_nothing_twice(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)))
    house.when(reserve("r2", ("A", 2)))
    house.then(is_reserved("r2", line(1, "A", 2), again=True))
    house.then_stock("A", on_hand=5, reserved=2)
    assert len(house.reservations) == 1


def test_other_lines_under_a_new_operation_change_nothing_while_it_stands(house: House) -> None:
    house.given(count("A", 5), count("B", 5), reserve("r1", ("A", 2)))
    house.when(reserve("r2", ("B", 4)))
    house.then(is_reserved("r2", line(1, "A", 2), again=True))
    house.then_stock("B", on_hand=5, reserved=0)


def test_what_one_order_holds_another_cannot(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 3)))
    house.when(reserve("r2", ("A", 3), order="o2"))
    house.then(is_short("r2", short(1, "A", wanted=3, available=2), order="o2"))


def test_the_second_order_of_a_batch_sees_what_the_first_one_took(house: House) -> None:
    house.given(count("A", 5))
    made = house.together(reserve("r1", ("A", 3)), reserve("r2", ("A", 3), order="o2"))
    assert len(of(made, Reserved)) == len(of(made, OutOfStock)) == 1
    house.then_stock("A", on_hand=5, reserved=3)


# -- an order that is started, fulfilled, released or cancelled -------------------------------------------------------


def test_a_started_order_is_told_its_reservation_again(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.when(reserve("r2", ("A", 2)))
    house.then(is_reserved("r2", line(1, "A", 2), again=True))
    house.then_stock("A", on_hand=5, reserved=2)


def test_a_fulfilled_order_is_told_its_reservation_again_and_takes_nothing_more(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id))
    house.when(reserve("r2", ("A", 2)))
    house.then(is_reserved("r2", line(1, "A", 2), again=True, shipped=2))
    house.then_stock("A", on_hand=3, reserved=0)
    assert house.order().status == "fulfilled"


@pytest.mark.parametrize("undo", [release, cancel])
def test_a_new_reservation_may_follow_what_was_given_back(house: House, undo) -> None:  # type: ignore[no-untyped-def]
    house.given(count("A", 5), count("B", 5), reserve("r1", ("A", 2)), undo("u1"))
    house.when(reserve("r2", ("B", 3)))
    house.then(is_reserved("r2", line(1, "B", 3)))
    house.then_stock("A", on_hand=5, reserved=0)
    house.then_stock("B", on_hand=5, reserved=3)


@pytest.mark.parametrize("before", [(), (start("s1"),)], ids=["reserved", "fulfilled"])
def test_a_new_reservation_may_follow_one_of_which_nothing_is_left(house: House, before: tuple[Start, ...]) -> None:
    """Its pieces ship: the order is not fulfilled by having had others before."""
    house.given(count("A", 5), count("B", 5), reserve("r1", ("A", 2)), *before, reduce("d1", ("1", 2)))
    house.when(reserve("r2", ("B", 3)))
    house.then(is_reserved("r2", line(1, "B", 3)))
    house.then_stock("A", on_hand=5, reserved=0)
    house.then_stock("B", on_hand=5, reserved=3)
    house.given(start("s2"))
    assert house.order().status == "started" and [one.lines for one in house.plans()] == [(line(1, "B", 3),)]
    house.audit()


def test_reserving_releasing_and_reserving_in_one_batch_leaves_one_reservation(house: House) -> None:
    house.given(count("A", 5))
    house.together(reserve("r1", ("A", 2)), release("u1"), reserve("r2", ("A", 4)))
    house.then_stock("A", on_hand=5, reserved=4)
    assert [row.state for row in house.reservations.values()] == ["released", "reserved"]
    house.audit()
