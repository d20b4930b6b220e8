"""A held order asks nothing new, ships nothing and captures nothing; it goes on from what it was answered meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from orders_play import NOW, Play, content, line, market, uid

from contracts.fulfillment import CancelShipments, Release, Reserve, Resume, Start, Suspend
from contracts.invoicing import Issue
from contracts.limits import HOLDS_MAX
from contracts.orders import (
    Approved,
    Cancelled,
    CancelRefused,
    ExceptionRaised,
    FulfillmentChanged,
    Held,
    PaymentChanged,
    Placed,
    Reinstated,
    Released,
)
from contracts.payments import Authorize, Capture, Void
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting, waiting_step


def refused(play: Play) -> str:
    assert play.refusal is not None and not play.stated and not play.sent
    return play.refusal.code


def done(play: Play) -> bool:
    return play.refusal is None and not play.stated and not play.sent


# -- what a hold stops ------------------------------------------------------------------------------------------------


def test_an_answer_that_comes_while_it_is_held_moves_it_on_when_it_is_released(play: Play) -> None:
    play.receives(content(), market()).holds().then(Held)
    assert waiting(play.order) == "hold" and waiting_step(play.order) == "hold.release"
    play.reserved().nothing()
    assert play.order.facts.reserved
    play.releases().then(Released, asks=[Authorize])
    play.authorized().then(PaymentChanged, Placed, Approved, asks=[Capture, Start])


def test_what_is_open_is_asked_again_as_the_same_operation_while_it_is_held(play: Play) -> None:
    play.receives(content(), market())
    reserve = play.last(Reserve)
    play.holds().wakes().then(asks=[Reserve])
    assert play.last(Reserve) == reserve
    play.wakes().then(asks=[Reserve]).releases().then(Released)
    play.reserved().then(asks=[Authorize])


def test_a_no_that_comes_while_it_is_held_counts_when_it_is_released(play: Play) -> None:
    play.receives(content(), market()).holds().short().nothing()
    assert play.order.status == "placing"
    play.releases().then(Released, Cancelled)
    assert play.order.cancel_cause == "out_of_stock"


def test_a_payment_that_is_declined_while_it_is_held_cancels_it_when_it_is_released(play: Play) -> None:
    play.receives(content(), market()).reserved().holds().declined().nothing()
    play.releases().then(Released, Cancelled, asks=[Release])


def test_a_held_order_waits_for_stock_no_more_until_it_is_released(play: Play) -> None:
    play.receives(content(), market(on_short="wait", give_up_after_seconds=600)).short()
    due = play.wakes_in
    play.holds()
    assert due is not None and play.wakes_in is None
    play.wakes(5000).nothing()
    play.releases().then(Released)
    assert play.wakes_in == 1
    play.wakes(1).then(asks=[Reserve])
    assert play.wakes_in == 30  # the market's patience has begun anew


def test_a_capture_that_is_due_while_it_is_held_is_asked_when_it_is_released(play: Play) -> None:
    play.in_the_warehouse(capture="per_shipment").holds().then(Held, asks=[Suspend])
    play.shipped().then(FulfillmentChanged)  # it left before the warehouse received the hold
    play.suspended().nothing()
    assert [run.step for run in play.order.runs.values() if run.kind == "settle"] == ["renew"]  # the first
    play.releases().then(Released, asks=[Resume]).resumed().then(asks=[Capture])


def test_an_invoice_is_asked_for_when_it_is_released(play: Play) -> None:
    play.in_the_warehouse().holds().suspended().captured().then(PaymentChanged)
    play.releases().resumed().then(asks=[Issue])
    assert play.last(Issue).capture_id == play.last(Capture).operation_id


def test_a_seller_that_is_incomplete_is_not_tried_again_while_it_is_held(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().then(ExceptionRaised)
    assert play.wakes_in == 30
    play.holds().suspended()
    assert play.wakes_in is None and waiting(play.order) == "hold"
    assert refused(play.resolves("invoice_failed", "accept")) == "order_held"
    assert refused(play.retries()) == "order_held"
    play.wakes(100).nothing()
    play.releases().resumed().wakes(1).then(asks=[Issue])


def test_patience_begins_anew_after_a_hold(play: Play) -> None:
    play.receives(content(), market(give_up_after_seconds=40)).holds()
    for _ in range(5):
        play.wakes()
    play.releases().then(Released)
    assert play.order.status == "placing"
    play.wakes(41).then(Cancelled, asks=[Reserve])


# -- the warehouse ----------------------------------------------------------------------------------------------------


def test_the_warehouse_is_suspended_and_resumed_only_if_it_has_started(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().holds().then(Held)
    play.releases().then(Released).approves().started()
    play.holds(op="second").then(Held, asks=[Suspend])
    suspension = play.last(Suspend).operation_id
    play.suspended().releases(op="second release").then(Released, asks=[Resume])
    assert play.last(Resume).suspension_id == suspension
    play.resumed().nothing()
    assert waiting(play.order) == "answer" and play.order.runs["hold"].end == "done"


def test_a_hold_that_is_released_before_the_warehouse_has_answered_is_resumed_when_it_has(play: Play) -> None:
    play.in_the_warehouse().holds().releases().then(Released)
    play.suspended().then(asks=[Resume])
    play.resumed()
    assert play.order.runs["hold"].end == "done"


def test_a_hold_that_is_placed_while_the_warehouse_resumes_suspends_it_again(play: Play) -> None:
    play.in_the_warehouse().holds("fraud").suspended().releases()
    play.holds("address", op="second").then(Held)
    first = play.last(Suspend).operation_id
    play.resumed().then(asks=[Suspend])
    assert play.last(Suspend).operation_id != first and waiting(play.order) == "hold"
    play.suspended().releases(op="all").resumed()
    assert play.order.runs["hold"].end == "done"


def test_the_corrected_address_of_a_held_order_goes_to_the_warehouse_when_it_is_released(play: Play) -> None:
    told = content()
    play.in_the_warehouse(told).captured().issued().holds("address").suspended()
    assert told.ship_to is not None
    moved = told.model_copy(update={"ship_to": told.ship_to.model_copy(update={"line1": "2 Way"})})
    play.receives(moved, seconds=1).resolves("address_changed", "accept")
    assert not play.sent
    play.releases().resumed().then(asks=[Suspend])
    play.suspended().resumed().then(asks=[Start])
    assert play.last(Start).ship_to is not None and play.last(Start).ship_to.line1 == "2 Way"
    play.started().shipped().fulfilled()
    assert play.order.completed_at is not None


# -- several, and their end -------------------------------------------------------------------------------------------


def test_an_order_goes_on_when_the_last_of_its_holds_is_released(play: Play) -> None:
    play.receives(content(), market()).holds("fraud").holds("stock", op="second").then(Held)
    play.reserved().releases("fraud").then(Released)
    assert waiting(play.order) == "hold"
    play.releases("stock", op="last").then(Released, asks=[Authorize])


def test_the_time_of_a_hold_releases_it_and_no_other(play: Play) -> None:
    play.receives(content(), market()).reserved().authorized().started().captured().issued()
    play.holds("fraud", until=play.now + timedelta(hours=2)).suspended()
    play.holds("stock", op="second", until=play.now + timedelta(hours=1))
    assert play.wakes_in == 3600
    play.wakes().then(Released)
    assert play.event(Released).actor == "timer" and play.event(Released).reason == "stock"
    assert play.wakes_in == 3600
    play.wakes().then(Released, asks=[Resume])


def test_a_hold_whose_time_passed_while_the_warehouse_was_asked_ends_with_the_answer(play: Play) -> None:
    play.in_the_warehouse().captured().issued().holds(until=play.now + timedelta(seconds=10))
    play.now += timedelta(seconds=20)
    play.suspended().nothing()
    play.wakes(0).then(Released, asks=[Resume])


def test_a_hold_is_released_once(play: Play) -> None:
    play.receives(content(), market()).holds()
    [hold] = play.order.holds.values()
    assert (hold.reason, hold.note, hold.placed_by, hold.since) == ("manual", "seen", "person:ann", NOW)
    play.releases_id(hold.hold_id).then(Released)
    assert done(play.releases_id(hold.hold_id, "again"))
    assert refused(play.releases_id(uid("no hold"), "other")) == "hold_unknown"


def test_an_order_has_a_bounded_number_of_holds(play: Play) -> None:
    play.receives(content(), market())
    for n in range(HOLDS_MAX):
        play.holds(op=f"hold {n}").then(Held)
    assert refused(play.holds(op="one more")) == "hold_limit_reached"
    for n in range(HOLDS_MAX):
        play.releases(op=f"release {n}").then(Released)
    play.reserved().then(asks=[Authorize])


def test_a_reason_is_of_the_closed_set_or_the_markets_own(play: Play) -> None:
    play.receives(content(), market())
    assert refused(play.holds("sanctions")) == "hold_reason_unknown"
    assert refused(play.holds("window", op="rule")) == "hold_reason_unknown"
    play.markets = dict.fromkeys(play.markets, market(hold_reasons=("sanctions",)))  # younger than the order
    play.holds("sanctions", op="own").then(Held)


# -- before the placement, after the end, and a cancel ----------------------------------------------------------------


def test_an_order_that_is_held_before_its_placement_starts_when_it_is_released(play: Play) -> None:
    waits = content(lifecycle="awaiting_payment", payment_state="pending")
    play.receives(waits, market()).holds("payment").then(Held)
    paid = content(lifecycle="ready_to_fulfill", payment_state="paid")
    play.receives(paid, seconds=1)
    assert (play.order.status, play.sent, waiting(play.order)) == ("pending", [], "hold")
    play.releases()
    assert play.order.status == "placing" and [type(one) for one in play.sent] == [Reserve]


def test_an_order_that_is_held_before_its_placement_starts_when_its_time_is_over(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment", payment_state="pending"), market())
    play.holds(until=play.now + timedelta(hours=1)).receives(content(), seconds=1).wakes()
    assert play.order.status == "placing" and [type(one) for one in play.sent] == [Reserve]


def test_a_held_order_may_be_cancelled_and_is_held_no_more(play: Play) -> None:
    play.in_the_warehouse().captured().issued().holds().suspended()
    assert "cancel" in allowed(play.order)
    play.cancels().then(asks=[CancelShipments])
    assert waiting(play.order) == "answer" and refused(play.holds(op="late")) == "order_cancelled"
    play.shipments_cancelled().credited().refunded()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs
    assert not play.order.holds and play.event(Released).actor == "rule:cancelled"


def test_a_cancel_that_is_refused_leaves_the_order_held(play: Play) -> None:
    play.in_the_warehouse().holds().suspended().cancels().captured().then(PaymentChanged)
    play.too_late().then(CancelRefused)
    assert waiting(play.order) == "hold"
    play.releases().then(Released, asks=[Resume])
    play.resumed().then(asks=[Issue])


def test_a_hold_that_is_released_while_a_cancel_is_tried_ends_after_its_refusal(play: Play) -> None:
    play.in_the_warehouse().holds().suspended().cancels().captured().releases().then(Released)
    play.too_late().then(CancelRefused).wakes(0).then(asks=[Resume])
    play.resumed().then(asks=[Issue])


def test_an_order_that_is_cancelled_while_held_and_placed_anew_is_not_held(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().holds().cancels("no")
    play.voided().released()
    assert play.status == "cancelled/voided/unfulfilled"
    play.receives(content(line("1", 12_00)), seconds=1).resolves("order_reinstated", "accept")
    assert play.event(Reinstated) and [type(one) for one in play.sent] == [Reserve]


def test_what_is_at_its_end_cannot_be_held(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    assert play.order.completed_at is not None and refused(play.holds()) == "order_finished"


def test_what_the_marketplace_carried_through_cannot_be_held(play: Play) -> None:
    play.receives(content(lifecycle="shipped"), market())
    assert refused(play.holds()) == "order_finished"


def test_a_held_order_is_not_approved(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().holds()
    assert refused(play.approves()) == "order_held" and "approve" not in allowed(play.order)
    play.releases().then(Released)
    assert waiting(play.order) == "approval"
    play.approves("now").then(Approved, asks=[Capture, Start])
    assert done(play.holds(op="h").approves("again"))  # it is approved, held or not


# -- the window of the market -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["on_placement", "on_approval", "per_shipment"])
def test_a_window_after_placement_keeps_warehouse_and_capture_from_starting(play: Play, capture: str) -> None:
    play.receives(content(), market(hold_window_seconds=1800, capture=capture)).reserved().authorized()
    play.then(PaymentChanged, Placed, Held)
    assert play.wakes_in == 1800 and play.event(Held).reason == "window" and waiting(play.order) == "hold"
    play.wakes()
    asked = {type(one) for one in play.sent}
    assert asked == ({Start} if capture == "per_shipment" else {Capture, Start})
    assert play.order.status == "approved"


def test_a_cancel_within_the_window_costs_nothing(play: Play) -> None:
    play.receives(content(), market(hold_window_seconds=1800, capture="on_placement")).reserved().authorized()
    play.cancels().then(Cancelled, asks=[Void])
    play.voided().released()
    assert play.status == "cancelled/voided/unfulfilled"
    assert not [one for one in play.commands if isinstance(one, (Capture, Start, CancelShipments))]


def test_a_window_begins_when_an_order_that_was_held_is_placed(play: Play) -> None:
    play.receives(content(), market(hold_window_seconds=60)).reserved().holds().authorized().releases()
    play.then(Released, Placed, Held)
    assert play.wakes_in == 60 and list(play.order.runs) == ["place", "hold"]


# -- every step -------------------------------------------------------------------------------------------------------

STEPS: list[Callable[[Play], object]] = [
    lambda play: play.reserved(),
    lambda play: play.authorized(),
    lambda play: play.approves(),
    lambda play: play.started(),
    lambda play: play.captured(),
    lambda play: play.issued(),
    lambda play: play.shipped(),
    lambda play: play.fulfilled(),
]


@pytest.mark.parametrize("held_before", range(len(STEPS)))
def test_a_hold_before_any_step_changes_the_time_of_nothing_but_the_end(held_before: int) -> None:
    """The same commands of placing and settling, each once, in the same order."""
    plain, held = Play(), Play()
    for play in (plain, held):
        play.receives(content(), market(approval="manual"))
        for n, step in enumerate(STEPS):
            if play is held and n == held_before:
                play.holds()
                if isinstance(play.sent[-1] if play.sent else None, Suspend):
                    play.suspended()
                play.releases()
                if isinstance(play.sent[0] if play.sent else None, Resume):
                    play.resumed()
            step(play)
        assert play.order.completed_at is not None
    moved = [one for one in held.commands if not isinstance(one, (Suspend, Resume))]
    assert [type(one) for one in moved] == [type(one) for one in plain.commands]
