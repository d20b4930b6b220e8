"""What a marketplace states after a cancel is applied, or an exception that a person ends."""

from __future__ import annotations

import pytest
from orders_differences import NEW_ADDRESS, REFUND, TOO_MUCH, changes, codes, quantity
from orders_play import Play, content, line, market

from contracts.fulfillment import Reserve
from contracts.orders import Cancelled, Completed, ExceptionRaised, ExceptionResolved, Reinstated
from contracts.payments import Authorize
from orders.domain.shown.views import waiting


def test_cancelled_upstream_then_paid_is_placed_anew_when_a_person_accepts(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market(capture="on_placement"))
    play.receives(content(lifecycle="cancelled"), seconds=1).then(Cancelled)
    play.receives(content(), seconds=2).then(ExceptionRaised)
    assert codes(play) == ["order_reinstated"] and waiting(play.order) == "exception"
    assert changes(play, "order_reinstated") == [("lifecycle", "changed", "cancelled", "ready_to_fulfill")]
    play.receives(content(), seconds=3, digest="again").nothing()
    play.resolves("order_reinstated", "accept").then(ExceptionResolved, Reinstated, asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled" and play.order.cancelled_at is None
    play.reserved().authorized()
    play.captured().issued().started().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and isinstance(play.event(Completed), Completed)


@pytest.mark.parametrize("lifecycle", ["cancelled", "refused"])
def test_first_seen_cancelled_then_alive(play: Play, lifecycle: str) -> None:
    play.receives(content(lifecycle=lifecycle), market()).receives(content(), seconds=1).then(ExceptionRaised)
    play.receives(content(lifecycle=lifecycle), seconds=2).then(ExceptionResolved)
    play.receives(content(), seconds=3).then(ExceptionRaised)
    play.resolves("order_reinstated", "keep").then(ExceptionResolved)
    play.receives(content(), seconds=4, digest="again").nothing()
    assert play.order.status == "cancelled" and waiting(play.order) == ""


def test_what_we_cancelled_is_placed_anew_only_after_its_undo_and_the_money_counts_from_there(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market())
    play.receives(content(), seconds=1).reserved().authorized().captured().issued().started()
    play.cancels().shipments_cancelled()
    play.receives(content(), seconds=2, digest="the same").nothing()  # it has not received our cancel
    play.receives(content(line(total=12_00)), seconds=3).then(ExceptionRaised)
    play.resolves("order_reinstated", "accept").nothing()
    assert play.refusal is not None and play.refusal.code == "undo_running"
    play.credited().refunded()
    assert not play.order.open_runs and codes(play) == ["order_reinstated"] and play.order.payment_status == "refunded"
    play.resolves("order_reinstated", "accept", op="later").then(ExceptionResolved, Reinstated, asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled"
    play.reserved().authorized()
    assert (
        play.order.payment_status == "authorized"
        and sum(one.amount_minor for one in play.last(Authorize).lines) == 12_00
    )
    play.captured().issued().started().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and play.order.completed_at is not None


def test_what_has_shipped_is_not_placed_anew(play: Play) -> None:
    """The buyer has the goods: they do not ship again, and are not charged again."""
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    play.refunds(goodwill_minor=10_00).refunded().credited()
    assert play.status == "cancelled/refunded/fulfilled"
    play.receives(content(line(total=12_00)), seconds=1).then(ExceptionRaised)
    play.resolves("order_reinstated", "accept").nothing()
    assert play.refusal is not None and play.refusal.code == "goods_shipped"
    play.resolves("order_reinstated", "keep").then(ExceptionResolved)
    assert play.status == "cancelled/refunded/fulfilled" and not play.order.open_runs


def test_what_has_shipped_is_recorded_where_the_marketplace_carried_it_through(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    play.refunds(goodwill_minor=10_00).refunded().credited()
    play.receives(content(line(total=12_00), lifecycle="delivered"), seconds=1)
    play.resolves("order_reinstated", "accept").then(ExceptionResolved, Reinstated)
    assert play.status == "approved/unpaid/fulfilled" and not play.order.open_runs


def test_what_follows_from_our_cancel_upstream_is_nothing_to_decide(play: Play) -> None:
    play.receives(content(), market()).reserved().authorized().started()
    play.cancels().shipments_cancelled()
    told = content(
        quantity(cancelled=1, refunded=1), refunds=(REFUND,), payment_state="refunded", lifecycle="cancelled"
    )
    play.receives(told, seconds=1).nothing()


def test_shipped_upstream_after_we_cancelled_is_not_swallowed(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().cancels().voided().released()
    play.receives(content(lifecycle="shipped"), seconds=1).then(ExceptionRaised)
    play.resolves("order_reinstated", "accept").then(ExceptionResolved, Reinstated)
    assert play.status == "approved/unpaid/fulfilled" and not play.order.open_runs


def test_alive_again_while_a_late_cancel_is_open(play: Play) -> None:
    play.paid_and_in_the_warehouse().receives(content(lifecycle="cancelled"), seconds=1)
    play.receives(content(), seconds=2).then(ExceptionRaised)
    play.too_late()
    assert play.order.status == "approved" and not codes(play)


def test_a_late_cancel_names_what_is_cancelled_and_a_refund_with_it_is_a_difference_of_its_own(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    told = content(quantity(cancelled=1), lifecycle="cancelled", refunds=(TOO_MUCH,), payment_state="refunded")
    play.receives(told, seconds=1).then(ExceptionRaised, ExceptionRaised)
    assert codes(play) == ["cancelled_too_late", "refund_made"]
    assert changes(play, "cancelled_too_late") == [
        ("lifecycle", "changed", "ready_to_fulfill", "cancelled"), ("lines[1].quantity.cancelled", "changed", 0, 1),
    ]  # fmt: skip
    assert ("refunds[R1].amount_minor", "added", None, 11_00) in changes(play, "refund_made")


def test_a_refund_after_a_late_cancel_is_raised_although_the_cancel_was_kept(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    play.receives(content(lifecycle="cancelled"), seconds=1).resolves("cancelled_too_late", "keep")
    refunded = content(lifecycle="cancelled", refunds=(TOO_MUCH,))
    play.receives(refunded, seconds=2).then(ExceptionRaised)
    assert codes(play) == ["refund_made"]
    play.resolves("refund_made", "accept", op="refund").then(ExceptionResolved)
    play.receives(refunded, seconds=3, digest="again").nothing()
    play.receives(content(lifecycle="shipped", refunds=(TOO_MUCH,)), seconds=4).nothing()


@pytest.mark.parametrize("cause", ["customer", "marketplace"])
def test_what_is_stated_while_a_cancel_is_asked_is_raised_when_the_cancel_comes_too_late(
    play: Play, cause: str
) -> None:
    play.paid_and_in_the_warehouse()
    if cause == "customer":
        play.cancels()
    play.receives(content(lifecycle="cancelled", refunds=(REFUND,)), seconds=1)
    play.too_late()
    assert codes(play) == ["cancelled_too_late", "refund_made"]


def test_an_order_that_is_alive_again_and_was_never_cancelled_shows_what_changed(play: Play) -> None:
    play.paid_and_in_the_warehouse().receives(content(lifecycle="cancelled"), seconds=1)
    play.receives(content(ship_to=NEW_ADDRESS), seconds=2).then(ExceptionRaised)
    play.too_late()
    assert codes(play) == ["address_changed"]
