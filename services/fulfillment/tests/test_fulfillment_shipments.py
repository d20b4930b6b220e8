"""Start, ship, deliver: the warehouse's part, and the end that the order waits for."""

from __future__ import annotations

import json

from fulfillment_play import (
    House,
    cancel,
    count,
    deliver,
    is_cancelled,
    is_delivered,
    is_fulfilled,
    is_shipped,
    is_started,
    release,
    reserve,
    ship,
    start,
    uid,
)

from contracts.snapshot import Address

# -- start ------------------------------------------------------------------------------------------------------------


def test_a_start_makes_one_shipment_of_all_that_lies_together(house: House) -> None:
    house.given(count("A", 5), count("B", 5), reserve("r1", ("A", 2), ("B", 1)))
    house.when(start("s1"))
    (plan,) = house.plans()
    house.then(is_started("s1", plan, reserved=3))
    assert (plan.location, [line.sku for line in plan.lines]) == ("main", ["A", "B"])
    assert house.order().status == "started"


def test_a_start_makes_one_shipment_per_location(house: House) -> None:
    house.given(count("A", 5, at="north"), count("B", 5, at="south"), count("C", 5, at="north"))
    house.given(reserve("r1", ("A", 1), ("B", 1), ("C", 1), at=("north", "south")))
    house.when(start("s1"))
    north, south = house.plans()
    house.then(is_started("s1", north, south, reserved=3))
    assert [line.sku for line in north.lines] == ["A", "C"]
    assert [line.sku for line in south.lines] == ["B"]


PARIS = Address(name="Ann", line1="1 Way", line2="3rd floor", postcode="75001", city="Paris", country="FR")
LYON = Address(name="Ann", line1="5 Chemin B", city="Lyon", country="FR")


def test_a_shipment_goes_where_its_start_states(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)))
    house.when(start("s1", to=PARIS))
    house.then(is_started("s1", *house.plans(), reserved=2, to=PARIS))
    assert [shipment.ship_to for shipment in house.order().shipments] == [PARIS]


def test_a_further_start_readdresses_what_has_shipment_not_shipped_and_nothing_else(house: House) -> None:
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    house.given(reserve("r1", ("A", 1), ("B", 1), at=("north", "south")), start("s1", to=PARIS))
    north, south = house.plans()
    house.given(ship(north.shipment_id), start("s2", to=LYON))
    assert [shipment.ship_to for shipment in house.order().shipments] == [PARIS, LYON]
    house.given(start("s3"))
    assert [shipment.ship_to for shipment in house.order().shipments] == [PARIS, LYON], "null: as stated before"
    house.given(ship(south.shipment_id, operation="w2"), start("s4", to=PARIS))
    assert [shipment.ship_to for shipment in house.order().shipments] == [PARIS, LYON], "what has shipped has shipped"


def test_a_start_moves_no_stock(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.then_stock("A", on_hand=5, reserved=2)


def test_a_start_without_a_reservation_is_refused_as_cancelled(house: House) -> None:
    house.when(start("s1"))
    house.then(is_cancelled("s1"))


def test_a_start_after_a_release_is_refused_as_cancelled(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), release("u1"))
    house.when(start("s1"))
    house.then(is_cancelled("s1"))


def test_a_start_after_a_cancel_is_refused_as_cancelled(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), cancel("c1"))
    house.when(start("s1"))
    house.then(is_cancelled("s1"))
    house.then_stock("A", on_hand=5, reserved=0)


def test_an_order_without_lines_is_started_and_fulfilled_at_once(house: House) -> None:
    house.given(reserve("r1"))
    house.when(start("s1"))
    house.then(is_started("s1"), is_fulfilled("s1"))
    assert house.order().status == "fulfilled"


def test_the_same_start_again_decides_nothing(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.when(start("s1"))
    house.then()


def test_a_second_start_is_told_the_same_shipments(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    (plan,) = house.plans()
    house.when(start("s2"))
    house.then(is_started("s2", plan, reserved=2))
    assert house.plans() == [plan]


def test_every_start_that_waits_hears_of_the_end(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), start("s2"))
    (plan,) = house.plans()
    house.when(ship(plan.shipment_id))
    house.then(is_shipped(plan, shipped=2), is_fulfilled("s1", shipped=2), is_fulfilled("s2", shipped=2))


def test_a_start_of_a_fulfilled_order_hears_of_the_end_at_once(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    (plan,) = house.plans()
    house.given(ship(plan.shipment_id))
    house.when(start("s2"))
    house.then(is_started("s2", plan, shipped=2), is_fulfilled("s2", shipped=2))
    assert house.order().status == "fulfilled"


def test_a_new_attempt_has_a_shipment_of_its_own(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    (old,) = house.plans()
    house.given(cancel("c1"), reserve("r2", ("A", 1)))
    house.when(start("s2"))
    (new,) = house.plans()
    house.then(is_started("s2", new, reserved=1))
    assert new.shipment_id != old.shipment_id
    assert house.order().starts == (uid("s2"),)


# -- ship -------------------------------------------------------------------------------------------------------------


def test_shipping_takes_the_pieces_off_the_shelf_and_out_of_the_reservation(house: House) -> None:
    house.given(count("A", 5), count("B", 5), reserve("r1", ("A", 2), ("B", 1)), start("s1"))
    (plan,) = house.plans()
    house.when(ship(plan.shipment_id, carrier="DHL"))
    house.then(is_shipped(plan, shipped=3, carrier="DHL"), is_fulfilled("s1", shipped=3))
    house.then_stock("A", on_hand=3, reserved=0)
    house.then_stock("B", on_hand=4, reserved=0)
    assert {row.state for row in house.reservations.values()} == {"consumed"}


def test_the_order_is_fulfilled_by_its_last_shipment(house: House) -> None:
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")), start("s1"))
    north, south = house.plans()
    house.when(ship(south.shipment_id))
    house.then(is_shipped(south, reserved=2, shipped=3))
    assert house.order().status == "started"
    house.when(ship(north.shipment_id, "w2"))
    house.then(is_shipped(north, "w2", shipped=5), is_fulfilled("s1", shipped=5))
    assert house.order().status == "fulfilled"


def test_shipping_twice_changes_nothing(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(ship(shipment, carrier="DHL"))
    house.when(ship(shipment, "w9", carrier="UPS"))
    house.then()
    house.then_stock("A", on_hand=3, reserved=0)
    assert house.order().shipments[0].carrier == "DHL"


def test_shipping_a_delivered_shipment_changes_nothing(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(ship(shipment), deliver(shipment))
    house.when(ship(shipment, "w9"))
    house.then()
    assert house.order().shipments[0].status == "delivered"


def test_a_cancelled_shipment_is_shipment_not_shipped(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(cancel("c1"))
    house.when(ship(shipment))
    house.then_refused("shipment_cancelled")
    house.then_stock("A", on_hand=5, reserved=0)


def test_a_shipment_that_the_order_does_not_have_is_refused(house: House) -> None:
    house.when(ship(uid("nothing")))
    house.then_refused("shipment_unknown")


def test_the_shipments_row_says_what_the_warehouse_needs(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1", to=LYON))
    ((shipment, order, store, reservation, location, status, lines, to, carrier, number),) = (
        house.shipment_rows.values()
    )
    assert (shipment, order, reservation) == (house.plans()[0].shipment_id, uid("o1"), uid("r1"))
    assert (store, location, status, carrier, number) == ("st_1", "main", "picking", None, None)
    assert json.loads(lines) == [{"line_id": "1", "sku": "A", "location": "main", "quantity": 2}]
    assert Address.model_validate_json(to) == LYON


# -- deliver ----------------------------------------------------------------------------------------------------------


def test_a_shipped_shipment_is_delivered(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(ship(shipment))
    house.when(deliver(shipment))
    house.then(is_delivered(shipment, shipped=2))
    house.then_stock("A", on_hand=3, reserved=0)
    assert house.order().status == "fulfilled"


def test_delivering_twice_changes_nothing(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(ship(shipment), deliver(shipment))
    house.when(deliver(shipment, "w9"))
    house.then()


def test_what_has_not_left_cannot_arrive(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    house.when(deliver(house.plans()[0].shipment_id))
    house.then_refused("shipment_not_shipped")


def test_a_cancelled_shipment_cannot_arrive(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.given(cancel("c1"))
    house.when(deliver(shipment))
    house.then_refused("shipment_cancelled")


def test_a_shipment_of_another_order_is_not_delivered(house: House) -> None:
    house.when(deliver(uid("nothing")))
    house.then_refused("shipment_unknown")
