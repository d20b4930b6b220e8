"""How money is taken and invoiced when something is refused: the order stays, a person fixes the cause and retries."""

from __future__ import annotations

import pytest
from orders_play import Play, content, line, market, uid

from contracts.fulfillment import CancelShipments, PlacedLine
from contracts.invoicing import Credit, Issue
from contracts.orders import (
    Completed,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    PaymentChanged,
    Retried,
    StepFailed,
)
from contracts.payments import Authorize, Capture, MoneyLine, MoneyTotals, Voided
from contracts.snapshot import Quantities, Tax, TaxCollection
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting


def test_a_rejected_invoice_is_an_exception_and_the_order_stays(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().then(ExceptionRaised)
    assert play.event(ExceptionRaised).code == "invoice_failed" and "vat_number" in play.event(ExceptionRaised).detail
    assert waiting(play.order) == "exception" and allowed(play.order) == [
        "cancel",
        "retry",
        "give_up",
        "resolve",
        "refund",
        "hold",
        "open_edit",
    ]
    play.shipped().fulfilled().then(FulfillmentChanged)  # shipped, but not completed without its invoice
    play.retries("op").then(Retried, asks=[Issue])
    play.issued().then(ExceptionResolved, Completed)
    assert waiting(play.order) == ""


def test_an_invoice_that_is_rejected_again_raises_no_second_exception(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().retries().rejected().nothing()
    assert waiting(play.order) == "exception" and len(play.order.exceptions) == 1


def test_of_two_rejected_invoices_the_exception_stays_until_both_are_issued(play: Play) -> None:
    told = content(line("1"), line("2"))
    play.receives(told, market(capture="per_shipment")).reserved().authorized().started({"2": "second"})
    play.shipped("main").captured().rejected().shipped("second").captured().rejected().fulfilled()
    play.retries()
    first, second = play.sent
    assert isinstance(first, Issue) and isinstance(second, Issue)
    play.rejected()  # the second again
    play.issued(first).nothing()
    assert waiting(play.order) == "exception" and play.order.exceptions
    play.retries("2").issued().then(ExceptionResolved, Completed)


def test_a_capture_that_failed_is_held_and_shipping_goes_on(play: Play) -> None:
    play.in_the_warehouse().failed(Capture).then(StepFailed)
    held = play.event(StepFailed)
    assert (held.process, held.step, held.code) == ("settle:1", "capture", "gateway_refused")
    play.shipped().fulfilled().then(FulfillmentChanged)
    assert play.status == "approved/authorized/fulfilled" and waiting(play.order) == "exception"
    assert allowed(play.order) == ["retry", "force", "hold", "open_edit"]
    before = play.last(Capture).operation_id
    play.retries("op").then(Retried, asks=[Capture])
    assert play.last(Capture).operation_id != before and play.event(Retried).operation_id == uid("op")
    play.captured().then(PaymentChanged, asks=[Issue])
    assert play.last(Issue).capture_id == play.last(Capture).operation_id
    play.issued().then(Completed)


def test_only_what_waits_for_a_person_is_resumed(play: Play) -> None:
    assert play.retries().refusal and play.refusal.code == "order_unknown"
    play.in_the_warehouse().retries("1")
    assert play.refusal and play.refusal.code == "step_not_failed"
    play.failed(Capture).cancels().then(asks=[CancelShipments])
    play.retries("2")
    assert play.refusal and play.refusal.code == "step_not_failed"  # it is being undone
    play.too_late().retries("3").then(Retried, asks=[Capture])


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


def test_a_cancelled_line_is_not_taken_with_the_first_parcel(play: Play) -> None:
    cancelled = line("2", 25_00).model_copy(update={"quantity": Quantities(ordered=1, cancelled=1)})
    told = content(line("1", 10_00), cancelled, line("3", 0, quantity=0), line("4", 5_00, requires_shipping=False))
    play.in_the_warehouse(told, capture="per_shipment").shipped()
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Capture).lines] == [
        ("1", 1, 10_00),
        ("4", 1, 5_00),
    ]
    play.captured().fulfilled()
    assert [one.line_id for one in play.last(Issue).lines] == ["1", "4"]
    play.issued().then(Completed)


def test_a_stated_tax_of_a_line_that_ships_in_parts_is_invoiced_in_parts_that_add_up(play: Play) -> None:
    told = content(line("1", 10_00, quantity=3, tax=(Tax(rate="6", amount_minor=50), Tax(amount_minor=50))))
    play.in_the_warehouse(told, capture="per_shipment")
    whole = play.parcels["main"][0]
    play.parcels = {name: (whole.model_copy(update={"quantity": 1}),) for name in ("a", "b", "c")}
    for name in play.parcels:
        play.shipped(name)
    for capture in [one for one in play.commands if isinstance(one, Capture)]:
        play.captured(capture)
    lines = [one for command in play.commands if isinstance(command, Issue) for one in command.lines]
    assert [(one.amount_minor, one.vat_minor) for one in lines] == [(3_33, 33), (3_34, 34), (3_33, 33)]
    assert all(sum(tax.vat_minor for tax in one.taxes) == one.vat_minor for one in lines)


@pytest.mark.parametrize("invoiced", [False, True])
def test_an_order_of_a_deemed_supplier_gets_no_invoice_unless_its_market_says_so(play: Play, invoiced: bool) -> None:
    told = content(line(tax=()), tax_collection=TaxCollection(deemed_supplier=True))
    play.in_the_warehouse(told, invoice_deemed_supplier=invoiced).shipped().fulfilled().captured()
    if invoiced:
        assert [(one.rate, one.amount_minor) for one in play.last(Issue).lines] == [("0", 10_00)]
        play.issued()
    play.then(*(() if invoiced else (PaymentChanged,)), Completed)
    assert play.status == "approved/paid/fulfilled" and waiting(play.order) == ""


def test_an_order_of_a_deemed_supplier_is_cancelled_without_documents(play: Play) -> None:
    told = content(tax_collection=TaxCollection(deemed_supplier=True))
    play.in_the_warehouse(told).captured().cancels().shipments_cancelled().refunded()
    assert play.status == "cancelled/refunded/unfulfilled" and waiting(play.order) == ""
    assert not [one for one in play.commands if isinstance(one, Issue | Credit)]


def refunds_a_part(play: Play, amount: int, invoice: Issue | None = None) -> Play:
    """A refund of line 1 that no process of the order asked for, and its credit note."""
    part = [MoneyLine(line_id="1", quantity=0, amount_minor=amount)]
    play.when(play.refund(play.last(Capture).operation_id, part))
    return play if invoice is None else play.when(play.credit_note(uid("part"), invoice.operation_id, part))


def test_a_partial_refund_before_the_end_lets_the_order_complete(play: Play) -> None:
    play.paid_and_in_the_warehouse()
    refunds_a_part(play, 4_00, play.last(Issue))
    assert play.status == "approved/partially_refunded/in_progress"
    play.shipped().fulfilled().then(FulfillmentChanged, Completed)
    assert play.status == "approved/partially_refunded/fulfilled"


def test_a_partial_refund_before_the_invoice_lets_the_order_complete(play: Play) -> None:
    play.in_the_warehouse().captured()
    refunds_a_part(play, 4_00).shipped().fulfilled().then(FulfillmentChanged)
    play.issued().then(Completed)


def test_a_partial_refund_does_not_stand_for_what_is_not_captured_yet(play: Play) -> None:
    told = content(line("1"), line("2"))
    play.receives(told, market(capture="per_shipment")).reserved().authorized().started({"2": "second"})
    play.shipped("main").captured().issued()
    refunds_a_part(play, 4_00)
    play.shipped("second").fulfilled().then(FulfillmentChanged)
    play.captured().then(PaymentChanged, asks=[Issue])
    play.issued().then(Completed)


def test_an_order_that_is_refunded_in_full_does_not_complete(play: Play) -> None:
    play.paid_and_in_the_warehouse()
    refunds_a_part(play, 10_00, play.last(Issue)).shipped().fulfilled().then(FulfillmentChanged)
    assert play.status == "approved/refunded/fulfilled"


def drawn(play: Play) -> list[tuple[object, list[tuple[str, int, int]]]]:
    """authorization and (line, pieces, minor units) of each capture that was asked for."""
    captures = [one for one in play.sent if isinstance(one, Capture)]
    return [
        (one.authorization_id, [(line.line_id, line.quantity, line.amount_minor) for line in one.lines])
        for one in captures
    ]


def test_each_authorization_of_an_order_is_captured_and_invoiced_apart(play: Play) -> None:
    """Two pieces for 20.00 and one for 5.00; 12.00 of the first line and the second line were authorized first."""
    play.receives(content(line("1", 20_00, quantity=2), line("2", 5_00)), market(approval="manual")).reserved()
    asked = play.last(Authorize)
    first = (
        MoneyLine(line_id="1", quantity=1, amount_minor=12_00),
        MoneyLine(line_id="2", quantity=1, amount_minor=5_00),
    )
    rest = (MoneyLine(line_id="1", quantity=1, amount_minor=8_00),)
    play.authorized(asked.model_copy(update={"lines": first}))
    play.authorized(asked.model_copy(update={"operation_id": uid("second"), "lines": rest}))
    play.approves()
    assert drawn(play) == [
        (asked.operation_id, [("1", 1, 12_00), ("2", 1, 5_00)]),
        (uid("second"), [("1", 1, 8_00)]),
    ]
    captures = [one for one in play.sent if isinstance(one, Capture)]
    for one in captures:
        play.captured(one).issued()
    assert [run.id for run in play.order.runs.values() if run.end == "done"] == ["settle:1", "settle:2"]
    play.started().shipped().fulfilled()
    assert play.order.completed_at is not None


def test_a_parcel_draws_on_what_earlier_parcels_leave_of_the_oldest_authorization(play: Play) -> None:
    """The first parcel is not captured yet when the second one leaves."""
    told = content(line("1", 30_00, quantity=3))
    play.receives(told, market(capture="per_shipment", approval="manual")).reserved()
    asked = play.last(Authorize)
    first, rest = (MoneyLine(line_id="1", quantity=1, amount_minor=amount) for amount in (15_00, 15_00))
    play.authorized(asked.model_copy(update={"lines": (first,)}))
    play.authorized(asked.model_copy(update={"operation_id": uid("second"), "lines": (rest,)}))
    play.approves().started()
    play.parcels = {"a": _parcel(1), "b": _parcel(2)}
    play.shipped("a")
    assert drawn(play) == [(asked.operation_id, [("1", 1, 10_00)])]
    play.shipped("b")
    assert drawn(play) == [(asked.operation_id, [("1", 1, 5_00)]), (uid("second"), [("1", 1, 15_00)])]


def test_what_no_authorization_has_is_asked_of_the_newest_and_refused_there(play: Play) -> None:
    play.receives(content(line("1", 20_00)), market(approval="manual")).reserved()
    asked = play.last(Authorize)
    part = (MoneyLine(line_id="1", quantity=1, amount_minor=8_00),)
    play.authorized(asked.model_copy(update={"lines": part}))
    play.authorized(asked.model_copy(update={"operation_id": uid("second"), "lines": part}))
    play.approves()
    assert [lines for _, lines in drawn(play)] == [[("1", 0, 8_00)], [("1", 1, 12_00)]]


def test_a_void_of_a_part_leaves_the_rest_of_the_authorization(play: Play) -> None:
    play.receives(content(line("1", 20_00)), market(approval="manual")).reserved().authorized()
    asked = play.last(Authorize)
    body = {
        "order_id": asked.order_id,
        "store_id": asked.store_id,
        "currency": "EUR",
        "authorization_id": asked.operation_id,
    }
    released = (MoneyLine(line_id="1", quantity=0, amount_minor=5_00),)
    totals = MoneyTotals(authorized_minor=20_00, voided_minor=5_00)
    play.when(Voided(**body, version=2, lines=released, amount_minor=5_00, totals=totals))
    fact = play.order.facts.authorizations[str(asked.operation_id)]
    assert fact.left_by_line == {"1": 15_00} and not fact.spent
    rest = (MoneyLine(line_id="1", quantity=0, amount_minor=15_00),)
    play.when(Voided(**body, version=3, lines=rest, amount_minor=15_00, totals=totals))
    assert play.order.facts.authorizations[str(asked.operation_id)].left_minor == 0


def _parcel(pieces: int) -> tuple[PlacedLine, ...]:
    return (PlacedLine(line_id="1", sku="SKU-1", location="main", quantity=pieces),)
