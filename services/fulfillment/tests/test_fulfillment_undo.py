"""Release and cancel: goals. What is held goes back once; what has shipped, has."""

from __future__ import annotations

from fulfillment_play import (
    House,
    cancel,
    count,
    is_cancelled,
    is_fulfilled,
    is_released,
    is_too_late,
    line,
    release,
    reserve,
    ship,
    start,
)

# -- release ----------------------------------------------------------------------------------------------------------


def test_a_release_gives_back_what_is_held(house: House) -> None:
    house.given(count("A", 5), count("B", 5), reserve("r1", ("A", 2), ("B", 1)))
    house.when(release("u1"))
    house.then(is_released("u1", line(1, "A", 2), line(2, "B", 1)))
    house.then_stock("A", on_hand=5, reserved=0)
    assert house.order().status == "released"


def test_a_second_release_finds_nothing_left(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), release("u1"))
    house.when(release("u2"))
    house.then(is_released("u2"))
    house.then_stock("A", on_hand=5, reserved=0)


def test_a_release_before_any_reserve_is_good_at_once(house: House) -> None:
    house.when(release("u1"))
    house.then(is_released("u1"))
    assert house.order().status == "none"


def test_a_release_after_out_of_stock_is_good_at_once(house: House) -> None:
    house.given(reserve("r1", ("A", 2)))
    house.when(release("u1"))
    house.then(is_released("u1"))


def test_a_reservation_without_lines_is_released_too(house: House) -> None:
    house.given(reserve("r1"))
    house.when(release("u1"))
    house.then(is_released("u1"))
    house.when(start("s1"))
    house.then(is_cancelled("s1"))


def test_a_release_after_a_cancel_keeps_the_order_cancelled(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), cancel("c1"))
    house.when(release("u1"))
    house.then(is_released("u1"))
    assert house.order().status == "cancelled"


def test_a_release_of_a_started_order_stops_its_shipments(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.when(release("u1"))
    house.then(is_released("u1", line(1, "A", 2)))
    house.then_stock("A", on_hand=5, reserved=0)
    house.when(ship(shipment))
    house.then_refused("shipment_cancelled")


def test_a_release_of_a_half_shipped_order_gives_back_the_rest_and_nothing_is_left_to_ship(house: House) -> None:
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")), start("s1"))
    house.given(ship(house.plans()[0].shipment_id))
    house.when(release("u1"))
    house.then(is_released("u1", line(2, "B", 3, at="south"), shipped=2), is_fulfilled("s1", shipped=2))
    house.then_stock("A", on_hand=3, reserved=0, at="north")
    house.then_stock("B", on_hand=5, reserved=0, at="south")
    assert house.order().status == "fulfilled"
    house.audit()


def test_a_release_of_a_fulfilled_order_gives_nothing_back(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id))
    house.when(release("u1"))
    house.then(is_released("u1", shipped=2))
    house.then_stock("A", on_hand=3, reserved=0)
    assert house.order().status == "fulfilled"


# -- cancel -----------------------------------------------------------------------------------------------------------


def test_a_cancel_before_anything_shipped_gives_everything_back(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.when(cancel("c1"))
    house.then(is_cancelled("c1", line(1, "A", 2)))
    house.then_stock("A", on_hand=5, reserved=0)
    assert house.order().status == "cancelled"
    assert [shipment.status for shipment in house.order().shipments] == ["cancelled"]


def test_a_cancel_after_a_shipment_shipped_is_too_late(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(ship(shipment))
    house.when(cancel("c1"))
    house.then(is_too_late("c1", shipment, reserved=0, shipped=2))
    assert house.order().status == "fulfilled"


def test_one_of_two_shipments_shipped_is_too_late_for_the_whole_order(house: House) -> None:
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")), start("s1"))
    first, second = house.plans()
    house.given(ship(first.shipment_id))
    house.when(cancel("c1"))
    house.then(is_too_late("c1", first.shipment_id, reserved=3, shipped=2))
    house.then_stock("B", on_hand=5, reserved=3, at="south")
    house.when(ship(second.shipment_id, "w2"))
    assert house.order().status == "fulfilled"


def test_a_cancel_before_the_start_releases_the_reservation(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)))
    house.when(cancel("c1"))
    house.then(is_cancelled("c1", line(1, "A", 2)))
    house.then_stock("A", on_hand=5, reserved=0)


def test_a_cancel_of_an_order_that_does_not_exist_is_executed_without_lines(house: House) -> None:
    house.when(cancel("c1"))
    house.then(is_cancelled("c1"))
    assert house.order().status == "cancelled"


def test_a_second_cancel_finds_nothing_left(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), cancel("c1"))
    house.when(cancel("c2"))
    house.then(is_cancelled("c2"))
    house.then_stock("A", on_hand=5, reserved=0)


def test_a_cancel_after_a_release_gives_nothing_back_twice(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), release("u1"))
    house.when(cancel("c1"))
    house.then(is_cancelled("c1"))
    house.then_stock("A", on_hand=5, reserved=0)


def test_a_cancelled_shipment_stays_cancelled_when_the_order_is_tried_again(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    old = house.plans()[0].shipment_id
    house.given(cancel("c1"), reserve("r2", ("A", 1)), start("s2"))
    house.when(ship(old))
    house.then_refused("shipment_cancelled")
    assert [shipment.status for shipment in house.order().shipments] == ["cancelled", "picking"]
    house.then_stock("A", on_hand=5, reserved=1)


def test_reserve_start_and_cancel_in_one_batch_leave_nothing_held(house: House) -> None:
    house.given(count("A", 5))
    house.together(reserve("r1", ("A", 2)), start("s1"), cancel("c1"))
    house.then_stock("A", on_hand=5, reserved=0)
    assert [row.state for row in house.reservations.values()] == ["released"]
    assert [row[5] for row in house.shipment_rows.values()] == ["cancelled"]
    house.audit()
