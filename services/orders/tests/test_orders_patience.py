"""Silence is not a no: the same operation is asked again, with growing pauses, until an answer, a person, or the market's
explicit patience ends it. Promise 7: what waits states for what, and who may end it."""

from __future__ import annotations

from datetime import datetime

import pytest
from orders_play import Play, content, market, uid

from contracts.fulfillment import CancelShipments, Release, Reserve, Start
from contracts.invoicing import Issue
from contracts.orders import (
    Approved,
    Cancelled,
    CancelRefused,
    Completed,
    FulfillmentChanged,
    PaymentChanged,
    Placed,
    WaitingChanged,
)
from contracts.payments import Authorize, Capture, Void
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting, waiting_since, waiting_step


def test_what_has_no_answer_is_asked_again_with_the_same_operation_30_s_doubling_to_15_min(play: Play) -> None:
    play.receives(content(), market())
    asked, pauses = play.last(Reserve), []
    for n in range(8):
        pauses.append(play.wakes_in)
        play.wakes().then(*([WaitingChanged] if n == 3 else []), asks=[Reserve])
        assert play.last(Reserve) == asked
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]
    play.reserved().then(WaitingChanged, asks=[Authorize])
    assert play.wakes_in == 30


def test_after_five_asks_it_shows_no_answer_and_goes_on_waiting(play: Play) -> None:
    play.receives(content(), market())
    for asks in range(1, 5):
        assert waiting(play.order) == "answer" and play.order.runs["place"].asks == asks
        play.wakes()
    assert waiting(play.order) == "no_answer" and waiting_step(play.order) == "place.reserve"
    since = waiting_since(play.order)
    assert since == play.order.runs["place"].since and change(play) == ("place", "reserve", "no_answer", since)
    for _ in range(300):
        play.wakes().then(asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled"
    play.reserved().then(WaitingChanged, asks=[Authorize])
    assert waiting(play.order) == "answer" and change(play) == ("place", "authorize", None, play.now)


def change(play: Play) -> tuple[str, str, str | None, datetime]:
    """What the last message states about what the order waits for."""
    event = play.event(WaitingChanged)
    return event.process, event.step, event.waiting, event.since


def test_a_timer_that_fires_too_early_or_twice_asks_nothing(play: Play) -> None:
    play.receives(content(), market()).wakes(29).nothing()
    play.wakes(1).then(asks=[Reserve])
    play.wakes(0).nothing()
    assert play.wakes_in == 60


def test_a_gateway_that_said_pending_is_given_its_time(play: Play) -> None:
    play.receives(content(), market(gateway="test")).reserved()
    play.wakes().wakes().pending().nothing()
    assert play.wakes_in == 900 and play.order.runs["place"].asks == 1
    play.wakes().then(asks=[Authorize])
    play.authorized()
    assert play.status == "approved/authorized/unfulfilled"
    play.pending().nothing()  # older than the answer that we have
    assert play.wakes_in == 30


def test_the_warehouse_and_a_person_may_take_as_long_as_they_like(play: Play) -> None:
    play.receives(content(), market(approval="manual", give_up_after_seconds=10)).reserved().authorized()
    assert play.wakes_in is None
    play.wakes(10**6).nothing()
    play.approves().captured().issued().started()
    assert play.wakes_in is None
    play.wakes(10**6).nothing()
    assert play.status == "approved/paid/in_progress"


def test_a_market_without_patience_gives_up_and_undoes(play: Play) -> None:
    play.receives(content(), market(give_up_after_seconds=45)).reserved()
    play.wakes().then(asks=[Authorize])
    assert play.wakes_in == 15  # not 60: its patience ends before
    play.wakes().then(Cancelled, asks=[Authorize])
    assert play.order.cancel_cause == "gave_up"
    assert waiting(play.order) == "answer"  # the answer must be there before it is undone


def test_a_late_success_after_giving_up_is_undone(play: Play) -> None:
    play.receives(content(), market(give_up_after_seconds=20)).reserved().wakes()
    assert play.order.status == "cancelled" and play.wakes_in == 60  # asked on calmly, not every second
    play.authorized().then(PaymentChanged, asks=[Void])
    play.voided().then(PaymentChanged, asks=[Release])
    play.released().nothing()
    assert play.status == "cancelled/voided/unfulfilled" and not play.order.open_runs


def test_a_person_asks_again_the_same_operation_and_nothing_else_changes(play: Play) -> None:
    play.receives(content(), market()).reserved().wakes()
    before, asked = play.order, play.last(Authorize)
    for n in range(10):
        play.asks_again(f"ask {n}").then(asks=[Authorize])
        assert play.last(Authorize) == asked
    assert play.order == before, "neither its timer, nor the number of asks that makes it `no_answer`"
    play.authorized().then(PaymentChanged, Placed, Approved, asks=[Capture, Start])


def test_a_person_who_asks_again_does_not_make_the_outcome_theirs_to_state(play: Play) -> None:
    play.receives(content(), market()).reserved().asks_again()
    assert "force" not in allowed(play.order)


def test_every_process_that_waits_is_asked_again(play: Play) -> None:
    play.receives(content(), market()).reserved().authorized()
    assert {run.step for run in play.order.open_runs} == {"fulfill", "capture"}
    play.asks_again().then(asks=[Start, Capture])
    play.cancels().then(asks=[CancelShipments])
    play.asks_again("again").then(asks=[Capture, CancelShipments])
    play.started().shipments_cancelled().then(FulfillmentChanged, Cancelled)
    assert waiting_step(play.order) == "settle.capture", "the cancel waits for its outcome"
    play.asks_again("once more").then(asks=[Capture])


def test_what_the_warehouse_has_accepted_is_not_asked_again(play: Play) -> None:
    play.paid_and_in_the_warehouse().asks_again().nothing()
    assert play.refusal is not None and play.refusal.code == "step_not_asked"


def test_a_person_gives_up_as_the_patience_of_a_market_does(play: Play) -> None:
    play.receives(content(), market()).reserved()
    play.gives_up_waiting().then(Cancelled)
    assert play.order.cancel_cause == "gave_up" and play.event(Cancelled).operation_id == uid("give up")
    assert waiting(play.order) == "answer", "the answer must be there before it is undone"
    play.gives_up_waiting("twice").nothing()
    play.authorized().then(PaymentChanged, asks=[Void])
    play.voided().released()
    assert play.status == "cancelled/voided/unfulfilled" and not play.order.open_runs


def test_a_person_gives_up_the_wait_for_stock_and_a_refused_capture(play: Play) -> None:
    play.receives(content(), market(on_short="wait")).short().gives_up_waiting().then(Cancelled, WaitingChanged)
    assert play.wakes_in is None and not play.order.open_runs
    refused = Play().in_the_warehouse().failed(Capture)
    refused.gives_up_waiting().then(asks=[CancelShipments])
    refused.shipments_cancelled().then(FulfillmentChanged, Cancelled, asks=[Void])
    assert refused.order.cancel_cause == "gave_up"


def test_a_person_who_gives_up_too_late_is_answered_with_the_refusal(play: Play) -> None:
    play.receives(content(), market()).reserved().authorized().gives_up_waiting().then(asks=[CancelShipments])
    play.started().shipped().too_late().then(CancelRefused)
    assert play.event(CancelRefused).operation_id == uid("give up")
    play.gives_up_waiting("again").nothing()
    assert play.refusal is not None and play.refusal.code == "order_shipped"


def test_patience_also_bounds_the_wait_for_stock(play: Play) -> None:
    play.receives(content(), market(on_short="wait", give_up_after_seconds=100)).short()
    play.wakes().short().wakes().short()
    assert play.wakes_in == 10
    play.wakes().then(Cancelled, WaitingChanged)
    assert play.order.cancel_cause == "gave_up" and play.wakes_in is None


def test_patience_holds_while_a_gateway_is_pending(play: Play) -> None:
    play.receives(content(), market(give_up_after_seconds=100, gateway="test")).reserved().pending()
    assert play.wakes_in == 100
    play.wakes().then(Cancelled, asks=[Authorize])


def test_what_has_shipped_is_not_given_up(play: Play) -> None:
    play.in_the_warehouse(capture="per_shipment", give_up_after_seconds=20).shipped()
    assert play.wakes_in == 30
    play.wakes().then(asks=[Capture])
    assert play.status == "approved/authorized/in_progress"


def test_who_gives_up_too_late_does_so_once(play: Play) -> None:
    play.receives(content(), market(give_up_after_seconds=20)).reserved().authorized().wakes()
    play.then(asks=[CancelShipments, Capture])
    play.started().shipped().too_late().then(CancelRefused)
    for n in range(3):
        play.wakes().then(*([WaitingChanged] if n == 2 else []), asks=[Capture])
    play.captured().then(PaymentChanged, WaitingChanged, asks=[Issue])
    play.fulfilled().issued().then(Completed)


@pytest.mark.parametrize("n", [1, 6, 20])
def test_an_undo_is_asked_for_ever(play: Play, n: int) -> None:
    play.receives(content(), market(give_up_after_seconds=20)).reserved().declined()
    for asked in range(1, n + 1):
        play.wakes().then(*([WaitingChanged] if asked == 4 else []), asks=[Release])
    assert play.order.open_runs and waiting(play.order) == ("answer" if n < 4 else "no_answer")
    play.released()
    assert not play.order.open_runs


def test_a_start_is_asked_again_until_the_warehouse_has_it(play: Play) -> None:
    play.receives(content(), market(capture="per_shipment")).reserved().authorized()
    play.wakes().then(asks=[Start])
    play.started().then(FulfillmentChanged)
    assert play.wakes_in is None and waiting(play.order) == "warehouse"
