"""The process `refund`: the money goes back, then exactly that is credited; a refusal waits for a person; all of it back
cancels the order."""

from __future__ import annotations

import pytest
from orders_play import Play, content, line, market, uid

from contracts.fulfillment import CancelShipments, Reduce, Release, Restock
from contracts.invoicing import Credit
from contracts.orders import (
    Cancelled,
    Completed,
    FulfillmentChanged,
    PaymentChanged,
    RefundGivenUp,
    RefundLine,
    RefundOpened,
    RefundSettled,
    Retried,
    StepFailed,
)
from contracts.payments import Capture, Refund, Void
from contracts.snapshot import OrderContent, TaxCollection
from orders.domain.decisions.actions import ACTIONS, allowed
from orders.domain.processes.refunded import data_of, find, state_of
from orders.domain.shown.views import waiting

THIRDS = content(line("1", 10_000, quantity=3))


def paid(play: Play, told: OrderContent, **terms: object) -> Play:
    return play.in_the_warehouse(told, **terms).captured().issued()


def shipped_and_paid(play: Play, told: OrderContent) -> Play:
    paid(play, told).shipped()
    return play.fulfilled()


def state(play: Play, refund: str = "refund") -> str:
    run = find(play.order, uid(refund))
    assert run is not None
    return state_of(run)


def asked(play: Play) -> list[tuple[str, int, int]]:
    """The lines of the last refund and of the last credit note, which are the same."""
    back = [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Refund).lines]
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Credit).lines] == back
    return back


def test_a_refund_pays_back_then_credits_exactly_that_and_changes_no_status(play: Play) -> None:
    shipped_and_paid(play, THIRDS)
    assert play.status == "approved/paid/fulfilled"
    play.refunds(("1", 1), reason="damaged").then(RefundOpened, asks=[Refund])
    opened = play.event(RefundOpened)
    assert (opened.operation_id, opened.refund_id, opened.amount_minor, opened.reason) == (
        uid("refund"), uid("refund"), 3333, "damaged",
    )  # fmt: skip
    play.refunded().then(PaymentChanged, asks=[Credit])
    assert asked(play) == [("1", 1, 3333)]
    assert play.last(Credit).reason == "damaged"
    play.credited().then(RefundSettled)
    assert play.status == "approved/partially_refunded/fulfilled" and state(play) == "settled"
    assert play.order.completed_at is not None and waiting(play.order) == ""


def test_thirds_add_up_and_the_last_one_cancels_the_order(play: Play) -> None:
    """Case A05, as requests; Commerce Layer's edge cases 4 and 6."""
    shipped_and_paid(play, THIRDS)
    amounts = []
    for n in range(3):
        play.refunds(("1", 1), op=f"r{n}").refunded().credited()
        amounts.append(play.last(Refund).lines[0].amount_minor)
    assert amounts == [3333, 3334, 3333]
    play.then(RefundSettled, Cancelled)
    cancelled = play.event(Cancelled)
    assert (cancelled.cause, play.status) == ("refunded", "cancelled/refunded/fulfilled")
    assert not play.order.open_runs and play.order.completed_at is None
    assert play.refunds(("1", 1), op="r4").refusal is not None
    assert play.refusal is not None and play.refusal.code == "order_cancelled"


def test_a_refund_before_the_order_is_complete_does_not_keep_it_from_completing(play: Play) -> None:
    paid(play, THIRDS).refunds(("1", 1)).then(RefundOpened, asks=[Refund])
    play.shipped().fulfilled()
    assert Completed in [type(event) for event in play.stated]
    play.refunded().credited().then(RefundSettled)
    assert play.status == "approved/partially_refunded/fulfilled"


def test_a_partly_refunded_order_completes(play: Play) -> None:
    paid(play, THIRDS).refunds(goodwill_minor=1).refunded().credited()
    play.shipped().fulfilled()
    assert Completed in [type(event) for event in play.stated]


def test_a_refund_over_several_captures_goes_part_by_part_the_newest_first(play: Play) -> None:
    told = content(line("1", 1000, quantity=1), line("2", 500, quantity=1), shipping=100)
    play.in_the_warehouse_at(told, {"1": "a", "2": "b"}, capture="per_shipment")
    play.shipped("a").captured().issued()
    play.shipped("b").captured().issued()
    play.refunds(goodwill_minor=700).then(RefundOpened, asks=[Refund])
    assert [one.amount_minor for one in play.last(Refund).lines] == [500]
    play.refunded().credited().then(asks=[Refund])
    assert [(one.line_id, one.amount_minor) for one in play.last(Refund).lines] == [("1", 182), ("shipping", 18)]
    play.refunded().credited().then(RefundSettled)
    run = find(play.order, uid("refund"))
    assert run is not None
    assert [part.credit_note_id is not None for part in data_of(run).parts] == [True, True]


def test_what_open_refunds_are_going_to_take_is_not_given_twice(play: Play) -> None:
    shipped_and_paid(play, THIRDS).refunds(("1", 2), op="first").refunds(("1", 1), op="second")
    assert [one.amount_minor for one in play.last(Refund).lines] == [3333]
    play.refunds(goodwill_minor=1, op="third")
    assert play.refusal is not None and (play.refusal.code, play.refusal.more["allowed"]) == ("refund_exceeds", 0)
    assert "refund" not in allowed(play.order)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"lines": (RefundLine(line_id="9", quantity=1),)}, "line_unknown"),
        ({"lines": (RefundLine(line_id="1", quantity=4),)}, "refund_exceeds"),
        ({"lines": (RefundLine(line_id="1", amount_minor=10_001),)}, "refund_exceeds"),
        ({"shipping_minor": 1}, "refund_exceeds"),
        ({"goodwill_minor": 10_001}, "refund_exceeds"),
        ({}, "refund_empty"),
    ],
)
def test_a_request_that_cannot_be_met_changes_nothing(play: Play, wanted: dict[str, object], code: str) -> None:
    shipped_and_paid(play, THIRDS)
    before = play.order
    play.refunds(**wanted).nothing()
    assert play.refusal is not None and play.refusal.code == code and play.order == before


def test_nothing_is_refunded_before_something_is_captured(play: Play) -> None:
    play.in_the_warehouse(THIRDS)
    assert "refund" not in allowed(play.order)
    play.refunds(("1", 1)).nothing()
    assert play.refusal is not None and play.refusal.code == "refund_exceeds"


def test_a_refused_refund_waits_for_a_person_and_is_tried_again_as_a_new_operation(play: Play) -> None:
    shipped_and_paid(play, THIRDS).refunds(("1", 1))
    first = play.last(Refund)
    play.failed(Refund).then(StepFailed)
    assert (waiting(play.order), state(play)) == ("exception", "refused")
    assert not any(isinstance(command, Credit) for command in play.commands)
    play.retries_refund().then(Retried, asks=[Refund])
    again = play.last(Refund)
    assert again.operation_id != first.operation_id and again.lines == first.lines
    play.refunded().credited().then(RefundSettled)


def test_a_refused_refund_that_is_given_up_leaves_what_has_gone(play: Play) -> None:
    told = content(line("1", 1000), line("2", 500))
    play.in_the_warehouse_at(told, {"1": "a", "2": "b"}, capture="per_shipment")
    play.shipped("a").captured().issued()
    play.shipped("b").captured().issued()
    play.refunds(goodwill_minor=700).refunded().credited()
    play.gives_up().nothing()
    assert play.refusal is not None and play.refusal.code == "refund_not_refused"
    play.failed(Refund).gives_up().then(RefundGivenUp)
    given_up = play.event(RefundGivenUp)
    assert (given_up.amount_minor, given_up.given_up_minor, state(play)) == (500, 200, "given_up")
    play.gives_up(op="again").nothing()
    assert play.refusal is None
    play.refunds(("1", 1), op="next").then(RefundOpened, asks=[Refund])
    assert play.last(Refund).lines[0].amount_minor == 1000  # what was given up is left


def test_money_that_has_gone_has_to_be_credited(play: Play) -> None:
    shipped_and_paid(play, THIRDS).refunds(("1", 1)).refunded().rejected(Credit).then(StepFailed)
    assert "give_up_refund" not in allowed(play.order) and "retry_refund" in allowed(play.order)
    play.gives_up()
    assert play.refusal is not None and play.refusal.code == "refund_not_refused"
    play.retries_refund().credited().then(RefundSettled)


def test_the_credit_note_waits_for_the_invoice(play: Play) -> None:
    play.in_the_warehouse(THIRDS).captured().rejected().refunds(("1", 1)).refunded().then(PaymentChanged)
    play.retries().issued()
    assert [type(command) for command in play.sent] == [Credit]
    assert asked(play) == [("1", 1, 3333)]
    play.credited()
    assert state(play) == "settled"


def test_without_an_invoice_of_ours_nothing_is_credited(play: Play) -> None:
    told = content(line("1", 10_000, quantity=3), tax_collection=TaxCollection(deemed_supplier=True))
    play.in_the_warehouse(told).captured().shipped().fulfilled()
    play.refunds(("1", 1)).refunded().then(PaymentChanged, RefundSettled)


def test_what_was_credited_elsewhere_is_not_credited_again(play: Play) -> None:
    shipped_and_paid(play, content(line("1", 1000))).refunds(lines=(RefundLine(line_id="1", amount_minor=600),))
    invoice = next(iter(play.order.facts.captures.values())).invoice_id
    assert invoice is not None
    elsewhere = [one.model_copy(update={"amount_minor": 700, "quantity": 0}) for one in play.last(Refund).lines]
    play.when(play.credit_note(uid("elsewhere"), invoice, elsewhere))
    play.refunded()
    assert [one.amount_minor for one in play.last(Credit).lines] == [300]


def test_a_refused_credit_of_which_nothing_is_left_ends_when_it_is_retried(play: Play) -> None:
    """Another credit note has come between: to ask for nothing would be refused for ever."""
    shipped_and_paid(play, content(line("1", 1000))).refunds(
        lines=(RefundLine(line_id="1", amount_minor=300),)
    ).refunded()
    play.rejected(Credit)
    invoice = next(iter(play.order.facts.captures.values())).invoice_id
    assert invoice is not None
    elsewhere = [one.model_copy(update={"amount_minor": 1000}) for one in play.last(Refund).lines]
    play.when(play.credit_note(uid("elsewhere"), invoice, elsewhere))
    play.retries_refund().then(Retried, RefundSettled)


def test_a_piece_that_a_refund_elsewhere_has_credited_is_not_credited_again(play: Play) -> None:
    """Both refunds name the only piece: the money of both goes back, and one credit note has the piece."""
    shipped_and_paid(play, content(line("1", 1000))).refunds(goodwill_minor=700, op="refused").failed(Refund)
    play.refunds(("1", 1))
    capture = next(iter(play.order.facts.captures.values()))
    assert capture.invoice_id is not None
    elsewhere = [one.model_copy(update={"amount_minor": 600}) for one in play.last(Refund).lines]
    play.when(play.refund(capture.capture_id, elsewhere))
    play.when(play.credit_note(uid("elsewhere"), capture.invoice_id, elsewhere))
    play.refunded()
    assert [(one.quantity, one.amount_minor) for one in play.last(Credit).lines] == [(0, 300)]


def test_refunded_pieces_go_back_into_stock_if_they_have_shipped(play: Play) -> None:
    shipped_and_paid(play, THIRDS).refunds(("1", 2), restock=True).refunded().credited().then(asks=[Restock])
    assert [(one.line_id, one.quantity) for one in play.last(Restock).lines] == [("1", 2)]
    play.restocked().then(RefundSettled)


def test_pieces_that_have_not_shipped_are_not_restocked(play: Play) -> None:
    paid(play, THIRDS).refunds(("1", 1), restock=True).refunded().credited().then(RefundSettled)


# -- all of it back ---------------------------------------------------------------------------------------------------


def test_a_full_refund_before_anything_shipped_cancels_the_shipments(play: Play) -> None:
    paid(play, THIRDS).refunds(("1", 3)).refunded().credited().then(RefundSettled, asks=[CancelShipments])
    assert play.order.status == "approved"
    play.shipments_cancelled().then(FulfillmentChanged, Cancelled)
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_a_full_refund_while_in_progress_cancels_the_open_shipments_and_leaves_the_shipped(play: Play) -> None:
    """Commerce Layer's edge case 5. What is authorized and not captured is voided."""
    told = content(line("1", 1000, quantity=1), line("2", 500, quantity=2))
    play.in_the_warehouse_at(told, {"1": "a", "2": "b"}, capture="per_shipment")
    play.shipped("a").captured().issued()
    play.refunds(("1", 1)).refunded().credited().then(RefundSettled, asks=[CancelShipments])
    play.too_late().then(FulfillmentChanged, Cancelled, asks=[Void])
    assert play.status == "cancelled/refunded/unfulfilled"
    play.voided().then(PaymentChanged, asks=[Reduce])
    assert [(one.line_id, one.quantity) for one in play.last(Reduce).lines] == [("2", 2)]
    play.reduced()
    assert not play.order.open_runs and waiting(play.order) == ""
    statuses = {one.location: one.status for one in play.order.facts.shipments.values()}
    assert statuses == {"a": "shipped", "b": "cancelled"}


def test_a_parcel_that_leaves_after_a_full_refund_is_not_charged(play: Play) -> None:
    told = content(line("1", 1000), line("2", 500), line("3", 100))
    play.in_the_warehouse_at(told, {"1": "a", "2": "b", "3": "c"}, capture="per_shipment")
    play.shipped("a").captured().issued()
    play.refunds(("1", 1)).refunded().credited().too_late().voided()
    play.shipped("b").nothing()
    play.too_late_to_reduce().then(asks=[Reduce])
    assert [one.line_id for one in play.last(Reduce).lines] == ["3"]
    play.reduced()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_a_full_refund_before_the_start_releases_the_stock(play: Play) -> None:
    play.receives(THIRDS, market(approval="manual", capture="on_placement")).reserved().authorized()
    play.captured().issued()
    assert play.status == "placed/paid/unfulfilled"
    play.refunds(("1", 3)).refunded().credited().then(RefundSettled, Cancelled, asks=[Release])
    play.released()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_a_full_refund_of_an_order_that_is_held_before_it_is_placed_cancels_it(play: Play) -> None:
    """It has no invoice to wait for. Its release would ship goods whose money has gone back."""
    told = THIRDS.model_copy(update={"tax_collection": TaxCollection(deemed_supplier=True)})
    play.receives(told, market(capture="on_placement")).reserved().holds().authorized(capture_id=uid("at once"))
    assert play.status == "placing/paid/unfulfilled"
    play.refunds(("1", 3)).refunded().then(PaymentChanged, RefundSettled, Cancelled, asks=[Release])
    play.released()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_an_order_of_which_something_is_being_captured_is_not_cancelled(play: Play) -> None:
    told = content(line("1", 1000), line("2", 500))
    play.in_the_warehouse_at(told, {"1": "a", "2": "b"}, capture="per_shipment")
    play.shipped("a").captured().issued().shipped("b")
    play.refunds(("1", 1)).refunded().credited().then(RefundSettled)
    play.captured().issued()
    assert play.order.status == "approved"


def test_it_is_cancelled_once_that_capture_is_refused(play: Play) -> None:
    """CL 1.2: nothing captured is left."""
    told = content(line("1", 1000), line("2", 500))
    play.in_the_warehouse_at(told, {"1": "a", "2": "b"}, capture="per_shipment")
    play.shipped("a").captured().issued().shipped("b")
    play.refunds(("1", 1)).refunded().credited().then(RefundSettled)
    play.failed(Capture).then(StepFailed, asks=[CancelShipments])
    play.too_late().then(FulfillmentChanged, Cancelled, asks=[Void])
    play.voided()
    assert play.order.cancel_cause == "refunded" and not play.order.open_runs


def test_a_capture_that_was_refused_before_the_full_refund_does_not_keep_the_order(play: Play) -> None:
    told = content(line("1", 1000), line("2", 500))
    play.in_the_warehouse_at(told, {"1": "a", "2": "b"}, capture="per_shipment")
    play.shipped("a").captured().issued().shipped("b")
    play.failed(Capture).then(StepFailed)
    play.refunds(("1", 1)).refunded().credited().then(RefundSettled, asks=[CancelShipments])
    play.too_late().voided()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


# -- beside a cancel --------------------------------------------------------------------------------------------------


def test_a_cancel_pauses_an_open_refund_and_undoes_only_the_rest(play: Play) -> None:
    paid(play, THIRDS).refunds(("1", 1)).cancels().shipments_cancelled().then(FulfillmentChanged, Cancelled)
    play.refunded().then(PaymentChanged, asks=[Credit])
    assert play.last(Credit).lines == ()  # all that is left of the invoice, the open refund's part too
    play.credited().then(asks=[Refund])
    assert [one.amount_minor for one in play.last(Refund).lines] == [6667]
    play.refunded()
    assert play.status == "cancelled/refunded/unfulfilled" and state(play) == "cancelled"
    assert not play.order.open_runs


def test_a_refund_goes_on_if_the_cancel_is_refused(play: Play) -> None:
    paid(play, THIRDS).refunds(("1", 1)).cancels().refunded().then(PaymentChanged)
    play.too_late()
    assert [type(command) for command in play.sent] == [Credit]
    play.credited()
    assert state(play) == "settled"


def test_a_credit_note_that_waits_for_its_invoice_goes_on_if_the_cancel_is_refused(play: Play) -> None:
    play.in_the_warehouse(THIRDS).captured().refunds(("1", 1)).refunded().cancels().issued().too_late()
    assert [type(command) for command in play.sent] == [Credit]


def test_a_person_cannot_give_the_cause_refunded_to_a_cancel() -> None:
    model = ACTIONS["cancel"].message
    with pytest.raises(ValueError, match="cause"):
        model.model_validate(
            {
                "order_id": str(uid("o")),
                "store_id": "s",
                "operation_id": str(uid("x")),
                "actor": "a",
                "cause": "refunded",
            }
        )


def test_a_full_refund_while_an_edit_suspends_the_captured_settle_cancels_the_order(play: Play) -> None:
    told = content(tax_collection=TaxCollection(deemed_supplier=True))  # no invoice is awaited
    play.in_the_warehouse(told).opens_an_edit().captured().refunds(("1", 1)).refunded()
    play.shipments_cancelled()
    assert (play.order.status, play.order.cancel_cause) == ("cancelled", "refunded")
