"""After placement: shipping stops and goes on, an order gets pieces, gives some back, and shipped ones are restocked."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from fulfillment_play import (
    House,
    cancel,
    count,
    deliver,
    extend,
    is_cancelled,
    is_extended,
    is_fulfilled,
    is_reduced,
    is_released,
    is_restocked,
    is_resumed,
    is_short,
    is_started,
    is_suspended,
    is_too_late,
    line,
    reduce,
    release,
    reserve,
    restock,
    resume,
    ship,
    short,
    start,
    suspend,
    uid,
)
from pydantic import ValidationError

from contracts.base import Command
from contracts.deciding import Refusal
from contracts.fulfillment import Fulfilled, ShipmentPlan, Shipped
from contracts.limits import SUSPENSIONS_MAX
from contracts.snapshot import Address

PARIS = Address(name="Ann", line1="1 Way", postcode="75001", city="Paris", country="FR")
LYON = Address(name="Ann", line1="5 Chemin B", city="Lyon", country="FR")


def plan(shipment: ShipmentPlan, *lines: object) -> ShipmentPlan:
    return shipment.model_copy(update={"lines": lines})


def statuses(house: House) -> list[str]:
    return [shipment.status for shipment in house.order().shipments]


# -- suspend, resume ----------------------------------------------------------------------------------------------------


def test_a_suspended_shipment_does_not_ship_until_it_is_resumed(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    shipment = house.plans()[0].shipment_id
    house.when(suspend("h1"))
    house.then(is_suspended("h1", reserved=2))
    assert statuses(house) == ["on_hold"]
    house.when(ship(shipment, "w1"))
    house.then(Refusal("shipment_on_hold", "the order is on hold since 2026-11-21T00:00:00Z: do not send it"))
    house.when(deliver(shipment))
    house.then_refused("shipment_not_shipped")
    house.when(resume("h2", "h1"))
    house.then(is_resumed("h2", "h1", reserved=2))
    assert statuses(house) == ["picking"]
    house.when(ship(shipment, "w2"))
    assert [type(effect) for effect in house.said] == [Shipped, Fulfilled]
    house.audit()


def test_a_suspension_states_what_had_shipped_before(house: House) -> None:
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")), start("s1"))
    gone, _ = house.plans()
    house.given(ship(gone.shipment_id))
    house.when(suspend("h1"))
    house.then(is_suspended("h1", gone.shipment_id, reserved=3, shipped=2))
    assert statuses(house) == ["shipped", "on_hold"]


def test_a_suspension_before_anything_else_holds_what_is_started_later(house: House) -> None:
    house.given(count("A", 5), suspend("h1"), reserve("r1", ("A", 2)), start("s1"))
    assert statuses(house) == ["on_hold"]
    house.given(resume("h2", "h1"))
    assert statuses(house) == ["picking"]


def test_an_order_ships_again_after_its_last_suspension(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), suspend("h1"), suspend("h2"))
    house.when(resume("h3", "h1"))
    house.then(is_resumed("h3", "h1", "h2", reserved=2))
    assert statuses(house) == ["on_hold"]
    house.when(resume("h4", "h2"))
    house.then(is_resumed("h4", "h2", reserved=2))
    assert statuses(house) == ["picking"]


def test_a_resume_of_an_unknown_suspension_is_answered_and_changes_nothing(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), suspend("h1"))
    house.when(resume("h2", "another"))
    house.then(is_resumed("h2", "another", "h1", reserved=2))
    assert statuses(house) == ["on_hold"]


def test_the_same_suspend_again_opens_no_second_suspension(house: House) -> None:
    house.given(suspend("h1"), suspend("h1"), resume("h2", "h1"), suspend("h1"))
    assert house.order().suspensions == ()


def test_a_cancel_gives_everything_back_and_ends_the_suspensions(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), suspend("h1"))
    house.when(cancel("c1"))
    house.then(is_cancelled("c1", line(1, "A", 2)))
    house.then_stock("A", on_hand=5, reserved=0)
    house.given(reserve("r2", ("A", 1)), start("s2"))
    assert statuses(house) == ["cancelled", "picking"]
    house.audit()


def test_a_release_that_ends_the_attempt_ends_its_suspensions(house: House) -> None:
    house.given(count("A", 5), suspend("h1"), reserve("r1", ("A", 2)), release("u1"))
    assert house.order().suspensions == ()


@pytest.mark.parametrize("end", [cancel, release])
def test_a_suspension_that_comes_after_the_end_of_its_attempt_does_not_stop_the_next(
    end: Callable[[str], Command], house: House
) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), end("u1"))
    house.when(suspend("h1"))
    house.then(is_suspended("h1"))
    house.given(reserve("r2", ("A", 1)), start("s2"))
    assert statuses(house)[-1] == "picking" and house.order().suspensions == ()
    house.given(suspend("h2"))
    assert statuses(house)[-1] == "on_hold"


def test_a_release_ends_nothing_of_an_order_whose_pieces_were_all_taken_off(house: House) -> None:
    """It is fulfilled: a suspension stops what is added to it later."""
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), reduce("d1", ("1", 2)), release("u1"))
    house.given(suspend("h1"), extend("e1", ("2", "A", 1)))
    assert statuses(house)[-1] == "on_hold" and house.order().status == "started"
    house.audit()


def test_a_release_of_the_rest_leaves_a_half_shipped_order_suspended(house: House) -> None:
    """What is added to it later does not ship either."""
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")), start("s1"))
    house.given(ship(house.plans()[0].shipment_id), suspend("h1"))
    house.when(release("u1"))
    house.then(is_released("u1", line(2, "B", 3, at="south"), shipped=2), is_fulfilled("s1", shipped=2))
    house.given(extend("e1", ("3", "B", 1), at=("south",)))
    assert statuses(house) == ["shipped", "cancelled", "on_hold"]
    house.audit()


def test_a_start_and_an_address_are_accepted_under_a_suspension(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1", to=PARIS), suspend("h1"))
    house.when(start("s2", to=LYON))
    house.then(is_started("s2", *house.plans(), reserved=2, to=LYON))
    assert [(one.status, one.ship_to) for one in house.order().shipments] == [("on_hold", LYON)]


def test_open_suspensions_have_a_maximum(house: House) -> None:
    house.given(*(suspend(f"h{n}") for n in range(SUSPENSIONS_MAX)))
    with pytest.raises(ValueError, match="resume some"):
        house.given(suspend("one more"))


def test_the_warehouse_sees_which_shipments_are_on_hold(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 2)), start("s1"), suspend("h1"))
    assert [row[5] for row in house.shipment_rows.values()] == ["on_hold"]
    house.given(resume("h2", "h1"))
    assert [row[5] for row in house.shipment_rows.values()] == ["picking"]


# -- extend -------------------------------------------------------------------------------------------------------------


def test_more_pieces_join_the_reservation_before_the_start(house: House) -> None:
    house.given(count("A", 9), count("B", 9), reserve("r1", ("A", 2)))
    house.when(extend("e1", ("1", "A", 3), ("2", "B", 1)))
    house.then(is_extended("e1", line(1, "A", 3), line(2, "B", 1), reserved=6))
    house.then_stock("A", on_hand=9, reserved=5)
    house.given(start("s1"))
    (shipment,) = house.plans()
    assert shipment.lines == (line(1, "A", 5), line(2, "B", 1))
    house.audit()


def test_more_pieces_join_the_open_shipment_of_their_location(house: House) -> None:
    house.given(count("A", 9), count("B", 9), reserve("r1", ("A", 2)), start("s1", to=PARIS))
    (shipment,) = house.plans()
    house.when(extend("e1", ("1", "A", 3), ("2", "B", 1)))
    joined = plan(shipment, line(1, "A", 5), line(2, "B", 1))
    house.then(is_extended("e1", line(1, "A", 3), line(2, "B", 1), reserved=6, shipments=[joined], to=PARIS))
    (row,) = house.shipment_rows.values()
    assert json.loads(row[6])[0]["quantity"] == 5
    house.when(ship(shipment.shipment_id))
    assert [type(effect) for effect in house.said] == [Shipped, Fulfilled]
    house.then_stock("A", on_hand=4, reserved=0)
    assert {(row.line_id, row.quantity, row.state) for row in house.reservations.values()} == {
        ("1", 2, "consumed"),
        ("1", 3, "consumed"),
        ("2", 1, "consumed"),
    }
    house.audit()


def test_a_line_stays_at_its_location_if_that_has_enough(house: House) -> None:
    house.given(count("A", 3, at="north"), count("A", 9, at="south"), reserve("r1", ("A", 2), at=("south", "north")))
    house.when(extend("e1", ("1", "A", 1), ("2", "A", 1), at=("north", "south")))
    house.then(is_extended("e1", line(1, "A", 1, at="south"), line(2, "A", 1, at="north"), reserved=4))
    house.when(extend("e2", ("2", "A", 5), at=("north", "south")))
    house.then(is_extended("e2", line(2, "A", 5, at="south"), reserved=9))


def test_another_location_than_those_allowed_is_not_used(house: House) -> None:
    house.given(count("A", 9, at="north"), count("A", 9, at="south"), reserve("r1", ("A", 2), at=("south",)))
    house.when(extend("e1", ("1", "A", 1), at=("north",)))
    house.then(is_extended("e1", line(1, "A", 1, at="north"), reserved=3))


def test_pieces_at_another_location_form_a_shipment_of_their_own(house: House) -> None:
    house.given(count("A", 2, at="north"), count("A", 9, at="south"))
    house.given(reserve("r1", ("A", 2), at=("north", "south")), start("s1", to=PARIS))
    (old,) = house.plans()
    house.when(extend("e1", ("1", "A", 1), at=("north", "south")))
    _, new = house.plans()
    assert new.shipment_id != old.shipment_id
    house.then(is_extended("e1", line(1, "A", 1, at="south"), reserved=3, shipments=[new], to=PARIS))
    assert [shipment.ship_to for shipment in house.order().shipments] == [PARIS, PARIS]
    house.given(ship(old.shipment_id))
    assert house.order().status == "started"
    house.when(ship(new.shipment_id, "w2"))
    assert house.said[-1].operation_id == uid("s1"), "the start waits for the shipment that was added"  # type: ignore[union-attr]
    house.audit()


def test_an_extend_states_where_its_new_shipment_goes(house: House) -> None:
    house.given(count("A", 2, at="north"), count("A", 9, at="south"))
    house.given(reserve("r1", ("A", 2), at=("north",)), start("s1", to=PARIS))
    house.given(extend("e1", ("1", "A", 1), at=("south",), to=LYON))
    assert [shipment.ship_to for shipment in house.order().shipments] == [PARIS, LYON]


def test_an_extend_is_all_or_nothing(house: House) -> None:
    house.given(count("A", 9), count("B", 1), reserve("r1", ("A", 2)))
    house.when(extend("e1", ("1", "A", 1), ("2", "B", 2)))
    assert house.said == [is_short("e1", short(2, "B", 2, 1)).model_copy(update={"totals": house.order().totals})]
    house.then_stock("A", on_hand=9, reserved=2)
    house.then_stock("B", on_hand=1, reserved=0)


def test_two_lines_of_an_extend_do_not_share_the_last_piece(house: House) -> None:
    house.given(count("A", 3), reserve("r1", ("A", 2)))
    house.when(extend("e1", ("2", "A", 1), ("3", "A", 1)))
    assert house.said[0].short == (short(3, "A", 1, 0),)  # type: ignore[union-attr]


def test_the_first_line_that_ships_makes_the_reservation(house: House) -> None:
    house.given(count("A", 9))
    house.when(extend("e1", ("1", "A", 2)))
    house.then(is_extended("e1", line(1, "A", 2), reserved=2))
    assert house.order().status == "reserved"
    house.when(start("s1", to=PARIS))
    house.then(is_started("s1", *house.plans(), reserved=2, to=PARIS))
    house.audit()


def test_the_first_line_that_ships_of_a_started_order_ships_at_once(house: House) -> None:
    """It had nothing to ship: its start was answered by fulfilled."""
    house.given(count("A", 9), reserve("r1"), start("s1"))
    assert house.order().status == "fulfilled"
    house.when(extend("e1", ("1", "A", 2), to=PARIS))
    (new,) = house.plans()
    house.then(is_extended("e1", line(1, "A", 2), reserved=2, shipments=[new], to=PARIS))
    assert (house.order().status, statuses(house)) == ("started", ["picking"])
    house.audit()


def test_a_fulfilled_order_that_is_extended_is_fulfilled_again_without_an_operation(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 2)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id), extend("e1", ("1", "A", 1)))
    _, new = house.plans()
    house.when(ship(new.shipment_id, "w2"))
    assert house.said[1] == is_fulfilled("s1", shipped=3).model_copy(update={"operation_id": None})
    assert house.order().status == "fulfilled"
    house.audit()


def test_a_further_start_waits_for_what_an_extend_added(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 2)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id), extend("e1", ("1", "A", 1)))
    shipped, new = house.plans()
    house.when(start("s2"))
    house.then(is_started("s2", shipped, new, reserved=1, shipped=2))
    house.when(ship(new.shipment_id, "w2"))
    assert house.said[1:] == [is_fulfilled("s2", shipped=3)]


def test_what_is_added_to_a_suspended_order_is_on_hold_too(house: House) -> None:
    house.given(count("A", 2, at="north"), count("A", 9, at="south"))
    house.given(reserve("r1", ("A", 2), at=("north",)), start("s1"), suspend("h1"))
    house.given(extend("e1", ("1", "A", 1), at=("south",)))
    assert statuses(house) == ["on_hold", "on_hold"]


def test_a_cancel_gives_back_what_an_extend_added(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 2)), start("s1"), extend("e1", ("1", "A", 3)))
    house.when(cancel("c1"))
    house.then(is_cancelled("c1", line(1, "A", 5)))
    house.then_stock("A", on_hand=9, reserved=0)
    assert {row.state for row in house.reservations.values()} == {"released"}


def test_a_line_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="may be listed once"):
        extend("e1", ("1", "A", 1), ("1", "A", 1))
    with pytest.raises(ValidationError, match="may be listed once"):
        reduce("d1", ("1", 1), ("1", 1))


# -- reduce -------------------------------------------------------------------------------------------------------------


def test_fewer_pieces_are_taken_from_the_reservation(house: House) -> None:
    house.given(count("A", 9), count("B", 9), reserve("r1", ("A", 5), ("B", 1)))
    house.when(reduce("d1", ("1", 2), ("2", 1)))
    house.then(is_reduced("d1", line(2, "B", 1), line(1, "A", 2), reserved=3))
    house.then_stock("A", on_hand=9, reserved=3)
    house.then_stock("B", on_hand=9, reserved=0)
    assert {(row.line_id, row.quantity, row.state) for row in house.reservations.values()} == {
        ("1", 3, "reserved"),
        ("2", 1, "released"),
    }
    house.audit()


def test_fewer_pieces_are_taken_from_the_open_shipments(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 5)), start("s1"))
    (shipment,) = house.plans()
    house.when(reduce("d1", ("1", 2)))
    house.then(is_reduced("d1", line(1, "A", 2), reserved=3, shipments=[plan(shipment, line(1, "A", 3))]))
    house.given(ship(shipment.shipment_id))
    house.then_stock("A", on_hand=6, reserved=0)
    house.audit()


def test_what_was_reserved_last_goes_back_first(house: House) -> None:
    house.given(count("A", 3, at="north"), count("A", 9, at="south"))
    house.given(reserve("r1", ("A", 2), at=("north",)), extend("e1", ("1", "A", 1), at=("north",)))
    house.given(extend("e2", ("1", "A", 4), at=("south",)), start("s1"))
    north, south = house.plans()
    house.when(reduce("d1", ("1", 5)))
    house.then(
        is_reduced(
            "d1",
            line(1, "A", 4, at="south"),
            line(1, "A", 1, at="north"),
            reserved=2,
            shipments=[plan(north, line(1, "A", 2, at="north")), plan(south)],
        )
    )
    assert statuses(house) == ["picking", "cancelled"]
    assert [(row.quantity, row.state) for row in house.reservations.values()] == [
        (2, "reserved"),
        (1, "released"),
        (4, "released"),
    ]
    house.audit()


def test_a_shipment_that_becomes_empty_is_cancelled(house: House) -> None:
    house.given(count("A", 9, at="north"), count("B", 9, at="south"))
    house.given(reserve("r1", ("A", 1), ("B", 1), at=("north", "south")), start("s1"))
    north, south = house.plans()
    house.when(reduce("d1", ("1", 1)))
    house.then(is_reduced("d1", line(1, "A", 1, at="north"), reserved=1, shipments=[plan(north)]))
    house.when(ship(north.shipment_id))
    house.then_refused("shipment_cancelled")
    house.when(ship(south.shipment_id, "w2"))
    assert house.said[1:] == [is_fulfilled("s1", shipped=1)]


def test_the_document_has_no_room_for_emptied_shipments(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 1)), start("s1"), extend("e1", ("2", "A", 1), at=("main",)))
    house.given(reduce("d1", ("1", 1), ("2", 1)))
    from fulfillment.domain.folds import compact

    assert statuses(house) == ["cancelled"]
    assert compact(house.order()).shipments == ()


def test_nothing_is_left_to_ship_after_a_reduce(house: House) -> None:
    house.given(count("A", 9, at="north"), count("B", 9, at="south"))
    house.given(reserve("r1", ("A", 1), ("B", 1), at=("north", "south")), start("s1"), start("s2"))
    north, south = house.plans()
    house.given(ship(north.shipment_id))
    house.when(reduce("d1", ("2", 1)))
    house.then(
        is_reduced("d1", line(2, "B", 1, at="south"), shipped=1, shipments=[plan(south)]),
        is_fulfilled("s1", shipped=1),
        is_fulfilled("s2", shipped=1),
    )
    assert house.order().status == "fulfilled"
    house.audit()


def test_an_order_without_a_piece_left_is_fulfilled_although_nothing_shipped(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 2)), start("s1"), suspend("h1"))
    (shipment,) = house.plans()
    house.when(reduce("d1", ("1", 2)))
    house.then(is_reduced("d1", line(1, "A", 2), shipments=[plan(shipment)]), is_fulfilled("s1"))
    house.audit()


def test_shipped_pieces_are_not_given_back(house: House) -> None:
    house.given(count("A", 9, at="north"), count("B", 9, at="south"))
    house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")), start("s1"))
    north, _ = house.plans()
    house.given(ship(north.shipment_id))
    house.when(reduce("d1", ("2", 1), ("1", 1)))
    house.then(is_too_late("d1", north.shipment_id, reserved=3, shipped=2, lines=(line(1, "A", 2, at="north"),)))
    house.then_stock("B", on_hand=9, reserved=3, at="south")


def test_a_line_that_shipped_in_part_gives_back_what_is_left_of_it(house: House) -> None:
    house.given(count("A", 2, at="north"), count("A", 9, at="south"))
    house.given(reserve("r1", ("A", 2), at=("north",)), start("s1"), extend("e1", ("1", "A", 3), at=("south",)))
    north, south = house.plans()
    house.given(ship(north.shipment_id))
    house.when(reduce("d1", ("1", 4)))
    house.then(is_too_late("d1", north.shipment_id, reserved=3, shipped=2, lines=(line(1, "A", 2, at="north"),)))
    house.when(reduce("d2", ("1", 3)))
    house.then(
        is_reduced("d2", line(1, "A", 3, at="south"), shipped=2, shipments=[plan(south)]), is_fulfilled("s1", shipped=2)
    )


@pytest.mark.parametrize("before", [(), (release("u1"),), (cancel("c1"),)], ids=["none", "released", "cancelled"])
def test_pieces_that_nobody_holds_are_back_already(house: House, before: tuple[object, ...]) -> None:
    if before:
        house.given(count("A", 9), reserve("r1", ("A", 2)), start("s1"))
        house.given(*before)  # type: ignore[arg-type]
    status = house.order().status
    house.when(reduce("d1", ("1", 2)))
    house.then(is_reduced("d1"))
    assert house.order().status == status


def test_the_same_reduce_again_takes_nothing_more(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 5)), reduce("d1", ("1", 2)))
    house.when(reduce("d1", ("1", 2)))
    house.then()
    house.then_stock("A", on_hand=9, reserved=3)


def test_pieces_that_an_extend_added_and_a_reduce_took_can_be_added_again(house: House) -> None:
    house.given(count("A", 9), reserve("r1", ("A", 1)), start("s1"))
    for n in range(3):
        house.given(extend(f"e{n}", ("1", "A", 4)), reduce(f"d{n}", ("1", 4)))
    house.then_stock("A", on_hand=9, reserved=1)
    assert statuses(house) == ["picking"]
    house.audit()


# -- restock ------------------------------------------------------------------------------------------------------------


def test_shipped_pieces_are_on_the_shelf_again(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 3)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id))
    house.when(restock("b1", ("1", 2)))
    house.then(is_restocked("b1", line(1, "A", 2), shipped=3))
    house.then_stock("A", on_hand=4, reserved=0)
    assert house.order().status == "fulfilled"
    house.audit()


def test_no_more_is_restocked_than_shipped(house: House) -> None:
    house.given(count("A", 5), reserve("r1", ("A", 3)), start("s1"))
    house.when(restock("b1", ("1", 1)))
    house.then(is_restocked("b1", reserved=3))
    house.given(ship(house.plans()[0].shipment_id), restock("b2", ("1", 2)))
    house.when(restock("b3", ("1", 2), ("9", 1)))
    house.then(is_restocked("b3", line(1, "A", 1), shipped=3))
    house.when(restock("b4", ("1", 1)))
    house.then(is_restocked("b4", shipped=3))
    house.then_stock("A", on_hand=5, reserved=0)
    assert [row.restocked for row in house.reservations.values()] == [3]


def test_pieces_go_back_to_the_location_that_they_shipped_from(house: House) -> None:
    house.given(count("A", 2, at="north"), count("A", 9, at="south"))
    house.given(reserve("r1", ("A", 2), at=("north",)), start("s1"), extend("e1", ("1", "A", 3), at=("south",)))
    for n, shipment in enumerate(house.plans()):
        house.given(ship(shipment.shipment_id, f"w{n}"))
    house.when(restock("b1", ("1", 4)))
    house.then(is_restocked("b1", line(1, "A", 2, at="north"), line(1, "A", 2, at="south"), shipped=5))
    house.then_stock("A", on_hand=2, reserved=0, at="north")
    house.then_stock("A", on_hand=8, reserved=0, at="south")
    assert [(row.quantity, row.restocked) for row in house.reservations.values()] == [(2, 2), (3, 2)]
    house.audit()


def test_restocked_pieces_are_reserved_by_the_next_order_and_never_by_two(house: House) -> None:
    house.given(count("A", 1), reserve("r1", ("A", 1)), start("s1"))
    house.given(ship(house.plans()[0].shipment_id))
    house.then_stock("A", on_hand=0, reserved=0)
    house.given(restock("b1", ("1", 1)))
    house.together(reserve("r2", ("A", 1), order="o2"), reserve("r3", ("A", 1), order="o3"))
    house.then_stock("A", on_hand=1, reserved=1)
    house.audit()


def test_a_shipment_and_its_restock_in_one_poll_are_two_transactions(house: House) -> None:
    """The shipment may empty the shelf, and an empty shelf is locked only for who names that it fills it."""
    house.given(count("A", 1), reserve("r1", ("A", 1)), start("s1"))
    before = house.transactions
    house.together(ship(house.plans()[0].shipment_id), restock("b1", ("1", 1)))
    assert house.transactions == before + 2
    house.then_stock("A", on_hand=1, reserved=0)
    house.audit()
