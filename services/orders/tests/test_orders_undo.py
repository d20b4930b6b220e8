"""A cancel at every moment. It is accepted at once, waits for what is under way, and undoes in reverse; the point of no return
is shipping, and only fulfillment can answer that."""

from __future__ import annotations

import pytest
from orders_play import Play, content, line, market, uid

from contracts.fulfillment import CancelShipments, Release, Reserve, Start
from contracts.invoicing import Credit, Issue
from contracts.orders import (
    Cancelled,
    CancelRefused,
    Completed,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    PaymentChanged,
    Retried,
    StepFailed,
)
from contracts.payments import Authorize, Capture, Refund, Void
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting


def undone(play: Play, status: str) -> None:
    assert play.status == status
    assert not play.order.open_runs and waiting(play.order) == "" and play.wakes_in is None
    assert allowed(play.order) == [] and not play.order.exceptions
    play.cancels("much later").nothing()


def test_cancel_before_anything_began(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market()).cancels().then(Cancelled)
    undone(play, "cancelled/unpaid/unfulfilled")


def test_cancel_says_whose_it_was_and_why(play: Play) -> None:
    play.receives(content(), market()).cancels("op")
    told = play.event(Cancelled)
    assert (told.operation_id, told.cause, told.cancelled_at) == (uid("op"), "customer", play.now)


def test_cancel_during_reserve_releases_what_is_reserved_late(play: Play) -> None:
    play.receives(content(), market()).cancels().then(Cancelled)
    assert waiting(play.order) == "answer"
    play.wakes().then(asks=[Reserve])  # its outcome must be there
    play.reserved().then(asks=[Release])
    play.released().nothing()
    undone(play, "cancelled/unpaid/unfulfilled")


def test_cancel_during_reserve_that_comes_to_nothing(play: Play) -> None:
    play.receives(content(), market(on_short="wait")).cancels().short().nothing()
    undone(play, "cancelled/unpaid/unfulfilled")


def test_cancel_during_authorize_voids_the_late_success(play: Play) -> None:
    """Commerce Layer's edge case 16."""
    play.receives(content(), market(gateway="test")).reserved().cancels().then(Cancelled)
    play.pending().nothing()
    play.wakes().then(asks=[Authorize])
    play.authorized().then(PaymentChanged, asks=[Void])
    assert play.status == "cancelled/authorized/unfulfilled"
    play.voided().then(PaymentChanged, asks=[Release])
    play.released()
    undone(play, "cancelled/voided/unfulfilled")


def test_cancel_during_authorize_that_is_declined(play: Play) -> None:
    play.receives(content(), market()).reserved().cancels().declined().then(asks=[Release])
    assert play.order.cancel_cause == "customer"
    play.released()
    undone(play, "cancelled/unpaid/unfulfilled")


def test_cancel_while_it_waits_for_approval(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized()
    play.cancels().then(Cancelled, asks=[Void])
    play.voided().released()
    undone(play, "cancelled/voided/unfulfilled")


def test_cancel_during_capture_waits_for_it_and_refunds(play: Play) -> None:
    play.receives(content(), market(approval="manual", capture="on_placement")).reserved().authorized()
    play.cancels().then(Cancelled)
    play.captured().then(PaymentChanged, asks=[Refund])  # it is not invoiced any more
    assert play.last(Refund).lines == play.last(Capture).lines
    play.refunded().then(PaymentChanged, asks=[Release])
    play.released()
    undone(play, "cancelled/refunded/unfulfilled")


def test_cancel_during_capture_that_fails_voids(play: Play) -> None:
    play.receives(content(), market(approval="manual", capture="on_placement")).reserved().authorized()
    play.cancels().failed(Capture).then(asks=[Void])
    play.voided().released()
    undone(play, "cancelled/voided/unfulfilled")


def test_once_the_start_is_asked_fulfillment_is_asked_first_and_money_moves_only_after_its_yes(play: Play) -> None:
    play.receives(content(), market(capture="per_shipment")).reserved().authorized()
    play.cancels("op").then(asks=[CancelShipments])  # started or not: only fulfillment can answer
    assert play.status == "approved/authorized/unfulfilled" and allowed(play.order) == []
    play.started().then(FulfillmentChanged)
    play.shipments_cancelled().then(FulfillmentChanged, Cancelled, asks=[Void])
    assert [event.fulfillment_status for event in play.stated] == ["unfulfilled", "unfulfilled"]
    assert play.event(Cancelled).operation_id == uid("op")
    play.voided()
    undone(play, "cancelled/voided/unfulfilled")
    assert Release not in {*map(type, play.commands)}  # the cancelled shipments gave it back


def test_cancel_after_capture_and_invoice_credits_refunds_and_does_not_void(play: Play) -> None:
    play.paid_and_in_the_warehouse().cancels().then(asks=[CancelShipments])
    play.shipments_cancelled().then(FulfillmentChanged, Cancelled, asks=[Credit])
    assert play.status == "cancelled/paid/unfulfilled"
    assert play.last(Credit).invoice_id == play.last(Issue).operation_id
    play.credited().then(asks=[Refund])
    assert play.last(Refund).capture_id == play.last(Capture).operation_id
    play.refunded().then(PaymentChanged)
    undone(play, "cancelled/refunded/unfulfilled")


def test_cancel_during_invoice_waits_for_it_and_credits(play: Play) -> None:
    play.in_the_warehouse().captured().cancels().shipments_cancelled().then(FulfillmentChanged, Cancelled)
    play.wakes().then(asks=[Issue])
    play.issued().then(asks=[Credit])
    play.credited().refunded()
    undone(play, "cancelled/refunded/unfulfilled")


def test_cancel_of_an_order_whose_invoice_was_rejected_needs_no_person_any_more(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().cancels().shipments_cancelled()
    play.then(FulfillmentChanged, Cancelled, asks=[Refund])
    play.refunded().then(PaymentChanged, ExceptionResolved)
    undone(play, "cancelled/refunded/unfulfilled")


def test_cancel_during_invoice_that_is_rejected(play: Play) -> None:
    play.in_the_warehouse().captured().cancels().shipments_cancelled().rejected().then(asks=[Refund])
    play.refunded()
    undone(play, "cancelled/refunded/unfulfilled")


def test_a_cancel_that_comes_too_late_is_refused_and_the_order_goes_on(play: Play) -> None:
    play.paid_and_in_the_warehouse().cancels("op").too_late().then(CancelRefused)
    assert play.event(CancelRefused).operation_id == uid("op")
    assert play.status == "approved/paid/in_progress" and waiting(play.order) == "warehouse"
    play.shipped().fulfilled().then(FulfillmentChanged, Completed)


def test_what_was_answered_while_the_cancel_was_open_is_taken_up_when_it_is_refused(play: Play) -> None:
    play.in_the_warehouse().cancels().captured().then(PaymentChanged)
    play.shipped().fulfilled().nothing()
    play.too_late().then(CancelRefused, FulfillmentChanged, asks=[Issue])
    play.issued().then(Completed)


@pytest.mark.parametrize("answer", ["failed", "rejected"])
def test_a_no_that_came_while_the_cancel_was_open_is_for_a_person_when_it_is_refused(play: Play, answer: str) -> None:
    play.in_the_warehouse()
    if answer == "failed":
        play.cancels().failed(Capture).nothing()
        play.too_late().then(CancelRefused, StepFailed)
    else:
        play.captured().cancels().rejected().nothing()
        play.too_late().then(CancelRefused, ExceptionRaised)
    assert waiting(play.order) == "exception" and allowed(play.order)[:2] == ["cancel", "retry"]


def test_a_shipment_that_left_while_the_cancel_was_open_is_captured(play: Play) -> None:
    play.in_the_warehouse(capture="per_shipment").cancels()
    play.shipped().then(FulfillmentChanged, asks=[Capture])
    play.too_late().then(CancelRefused)
    play.captured().issued().fulfilled().then(FulfillmentChanged, Completed)


def test_one_of_two_shipments_shipped_is_too_late_for_the_whole_order(play: Play) -> None:
    play.receives(content(line("1"), line("2")), market()).reserved().authorized().started({"2": "second"})
    play.shipped("second").cancels().nothing()
    assert play.refusal and play.refusal.code == "order_shipped" and "cancel" not in allowed(play.order)
    assert play.refusal.more == {"lines": ["2"]}


def test_cancel_twice_changes_nothing_the_second_time(play: Play) -> None:
    play.paid_and_in_the_warehouse().cancels("1").then(asks=[CancelShipments])
    play.cancels("2").nothing()
    assert play.refusal is None
    play.shipments_cancelled().cancels("3").nothing()
    assert play.event(Cancelled).operation_id == uid("1")


def test_a_cancel_may_be_tried_again_after_a_refused_one_as_far_as_it_is_known(play: Play) -> None:
    """`too_late` overtook the `shipped` of the same order only if that was lost: fulfillment is asked again."""
    play.paid_and_in_the_warehouse().cancels("1").too_late().cancels("2").then(asks=[CancelShipments])
    play.too_late().then(CancelRefused)
    assert play.event(CancelRefused).operation_id == uid("2")


def test_a_completed_order_that_shipped_nothing_can_still_be_undone(play: Play) -> None:
    play.receives(content(line(requires_shipping=False)), market()).authorized().captured().issued().then(Completed)
    play.cancels().then(Cancelled, asks=[Credit])
    play.credited().refunded()
    undone(play, "cancelled/refunded/not_required")
    assert play.order.completed_at is None


@pytest.mark.parametrize(("word", "model"), [("refund", Refund), ("credit", Credit)])
def test_a_final_no_to_an_undo_waits_for_a_person_who_resumes_it(play: Play, word: str, model: type) -> None:
    play.paid_and_in_the_warehouse().cancels().shipments_cancelled()
    if word == "credit":
        play.rejected(Credit).then(StepFailed)
    else:
        play.credited().failed(Refund).then(StepFailed)
    assert play.event(StepFailed).step == word and waiting(play.order) == "exception"
    of_payments = ["force"] if word == "refund" else []
    assert allowed(play.order) == ["retry", *of_payments] and play.wakes_in is None
    before = play.last(model).operation_id
    play.retries("op").then(Retried, asks=[model])
    assert play.event(Retried).operation_id == uid("op")
    assert play.last(model).operation_id != before  # after a no it is another question
    if word == "credit":
        play.credited()
    play.refunded()
    undone(play, "cancelled/refunded/unfulfilled")


def test_cancel_while_the_start_has_no_answer_asks_it_no_more(play: Play) -> None:
    play.receives(content(), market(capture="per_shipment")).reserved().authorized().cancels()
    play.wakes().then(asks=[CancelShipments])
    play.shipments_cancelled().voided()
    undone(play, "cancelled/voided/unfulfilled")
    assert len([one for one in play.commands if isinstance(one, Start)]) == 1


def test_a_cancel_of_the_marketplace_that_comes_too_late_is_for_a_person(play: Play) -> None:
    play.paid_and_in_the_warehouse().receives(content(lifecycle="cancelled"), seconds=1).then(asks=[CancelShipments])
    play.too_late().then(CancelRefused, ExceptionRaised)
    assert play.event(ExceptionRaised).code == "cancelled_too_late"


def test_a_cancel_of_the_marketplace_does_not_begin_a_second_undo(play: Play) -> None:
    play.paid_and_in_the_warehouse().cancels("op").receives(content(lifecycle="cancelled"), seconds=1).nothing()
    play.shipments_cancelled().then(FulfillmentChanged, Cancelled, asks=[Credit])
    assert play.event(Cancelled).operation_id == uid("op")


def test_a_void_that_leaves_something_is_not_asked_for_in_a_circle(play: Play) -> None:
    """Payments was restored and counts its versions anew: what it publishes then is not newer than what is recorded."""
    play.receives(content(), market(approval="manual")).reserved().authorized().cancels()
    play.payments_version -= 1
    play.voided().then(StepFailed)
    assert play.event(StepFailed).code == "still_left" and allowed(play.order) == ["retry"]
    play.retries().voided().then(PaymentChanged, asks=[Release])
    play.released()
    undone(play, "cancelled/voided/unfulfilled")
