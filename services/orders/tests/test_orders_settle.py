"""How money is taken and invoiced when something is refused: the order stays, a person mends the cause and resumes."""

from __future__ import annotations

from orders_play import Play, content, line, market, uid

from contracts.fulfillment import CancelShipments
from contracts.invoicing import Issue
from contracts.orders import (
    Completed,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    Held,
    PaymentChanged,
    Resumed,
)
from contracts.payments import Capture
from orders.domain.views import legal_actions, waiting


def test_a_rejected_invoice_is_an_exception_and_the_order_stays(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().then(ExceptionRaised)
    assert play.event(ExceptionRaised).code == "invoice_rejected" and "vat_number" in play.event(ExceptionRaised).detail
    assert waiting(play.order) == "exception" and legal_actions(play.order) == ["cancel", "resume", "resolve"]
    play.shipped().fulfilled().then(FulfillmentChanged)  # shipped, but not completed without its invoice
    play.resumes("op").then(Resumed, asks=[Issue])
    play.issued().then(ExceptionResolved, Completed)
    assert waiting(play.order) == ""


def test_an_invoice_that_is_rejected_again_raises_no_second_exception(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().resumes().rejected().nothing()
    assert waiting(play.order) == "exception" and len(play.order.exceptions) == 1


def test_of_two_rejected_invoices_the_exception_stays_until_both_are_issued(play: Play) -> None:
    told = content(line("1"), line("2"))
    play.receives(told, market(capture="per_shipment")).reserved().authorized().started({"2": "second"})
    play.shipped("main").captured().rejected().shipped("second").captured().rejected().fulfilled()
    play.resumes()
    first, second = play.sent
    assert isinstance(first, Issue) and isinstance(second, Issue)
    play.rejected()  # the second again
    play.issued(first).nothing()
    assert waiting(play.order) == "exception" and play.order.exceptions
    play.resumes("2").issued().then(ExceptionResolved, Completed)


def test_a_capture_that_failed_is_held_and_shipping_goes_on(play: Play) -> None:
    play.in_the_warehouse().failed(Capture).then(Held)
    held = play.event(Held)
    assert (held.process, held.step, held.code) == ("settle:1", "capture", "gateway_refused")
    play.shipped().fulfilled().then(FulfillmentChanged)
    assert play.status == "approved/authorized/fulfilled" and waiting(play.order) == "exception"
    assert legal_actions(play.order) == ["resume"]
    before = play.last(Capture).operation_id
    play.resumes("op").then(Resumed, asks=[Capture])
    assert play.last(Capture).operation_id != before and play.event(Resumed).operation_id == uid("op")
    play.captured().then(PaymentChanged, asks=[Issue])
    assert play.last(Issue).capture_id == play.last(Capture).operation_id
    play.issued().then(Completed)


def test_only_what_waits_for_a_person_is_resumed(play: Play) -> None:
    assert play.resumes().refusal and play.refusal.code == "order_unknown"
    play.in_the_warehouse().resumes("1")
    assert play.refusal and play.refusal.code == "nothing_to_resume"
    play.failed(Capture).cancels().then(asks=[CancelShipments])
    play.resumes("2")
    assert play.refusal and play.refusal.code == "nothing_to_resume"  # it is being undone
    play.too_late().resumes("3").then(Resumed, asks=[Capture])


def test_an_answer_that_is_told_twice_counts_once(play: Play) -> None:
    play.in_the_warehouse().captured().issued()
    before = play.order
    play.when(play.event_told("captured")).nothing()
    play.when(play.event_told("issued")).nothing()
    assert play.order == before


def test_an_answer_that_comes_before_its_question_counts_at_once_and_is_not_claimed(play: Play) -> None:
    """A restored database reads the answer of another service before its own process has asked again."""
    earlier = Play().in_the_warehouse().captured()
    play.receives(content(), market())
    for word in ("authorized", "started", "captured"):
        play.when(earlier.event_told(word))
        assert play.unasked, word
    assert play.order.facts.money == earlier.order.facts.money
    play.reserved()
    assert not play.unasked


def test_totals_of_an_older_version_change_nothing(play: Play) -> None:
    play.in_the_warehouse().captured().issued().cancels().shipments_cancelled().credited().refunded()
    play.when(play.event_told("captured")).nothing()
    assert play.status == "cancelled/refunded/unfulfilled"
