"""How an order is placed, step by step: what it states, what it asks, and its three statuses at every moment."""

from __future__ import annotations

from uuid import uuid4

import pytest
from orders_play import STORE, Play, content, line, market, uid

from contracts.fulfillment import Release, Reserve, Start
from contracts.gift_cards import GiftCardTender
from contracts.invoicing import Issue
from contracts.orders import (
    Approved,
    Cancelled,
    Completed,
    FulfillmentChanged,
    PaymentChanged,
    Placed,
    Received,
    WaitingChanged,
)
from contracts.payments import Authorize, Capture, Void
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting, waiting_step


def test_an_order_is_carried_from_the_snapshot_to_its_completion(play: Play) -> None:
    play.receives(content(), market()).then(Received, asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled"
    play.reserved().then(asks=[Authorize])
    play.authorized().then(PaymentChanged, Placed, Approved, asks=[Capture, Start])
    assert [event.status for event in play.stated] == ["placing", "placed", "approved"]
    assert play.status == "approved/authorized/unfulfilled"
    assert play.event(Approved).actor == "rule:approval"
    play.started().then(FulfillmentChanged)
    assert play.status == "approved/authorized/in_progress"
    play.captured().then(PaymentChanged, asks=[Issue])
    assert play.status == "approved/paid/in_progress"
    play.issued().nothing()
    assert waiting(play.order) == "warehouse"
    play.shipped().then(FulfillmentChanged)
    assert (play.stated[0].shipments_open, play.stated[0].shipments_shipped) == (0, 1)
    play.fulfilled().then(FulfillmentChanged, Completed)
    assert play.status == "approved/paid/fulfilled"
    assert (
        waiting(play.order) == waiting_step(play.order) == ""
        and allowed(play.order) == ["refund"]
        and play.wakes_in is None
    )
    play.delivered().nothing()
    assert play.order.facts.shipments[str(uid("main"))].status == "delivered"


def test_each_command_says_what_it_is_about(play: Play) -> None:
    told = content(line("1", quantity=3), line("2", 5_00, requires_shipping=False), shipping=4_95)
    play.receives(told, market(gateway="test", locations=("main", "second"))).reserved().authorized()
    reserve, authorize, capture = (play.last(model) for model in (Reserve, Authorize, Capture))
    assert [(one.line_id, one.sku, one.quantity) for one in reserve.lines] == [("1", "SKU-1", 3)]
    assert reserve.locations == ("main", "second")
    assert authorize.gateway == "test" and authorize.reference == "A-1"
    amounts = [(one.line_id, one.quantity, one.amount_minor) for one in authorize.lines]
    assert amounts == [("1", 3, 10_00), ("2", 1, 5_00), ("shipping", 0, 4_95)]
    assert capture.lines == authorize.lines and capture.authorization_id == authorize.operation_id
    assert play.last(Start).ship_to == told.ship_to
    assert {command.store_id for command in play.commands} == {STORE}
    assert len({command.operation_id for command in play.commands}) == len(play.commands)


def test_an_invoice_is_of_what_was_captured_at_the_rates_of_the_order(play: Play) -> None:
    told = content(line("1", 10_00, quantity=2), shipping=4_95, price_basis="net", tax_minor=2_55)
    issue = play.receives(told, market()).reserved().authorized().captured().last(Issue)
    assert issue.capture_id == play.last(Capture).operation_id and issue.seller == "acme"
    assert (issue.order_number, issue.price_basis, issue.buyer) == ("A-1", "net", told.buyer)
    assert [(one.line_id, one.quantity, one.rate, one.vat_minor) for one in issue.lines] == [
        ("1", 2, "17", 1_71),
        ("shipping", 1, "17", 84),
    ]
    assert sum(one.amount_minor for one in issue.lines) == told.totals.grand_minor


def test_a_person_approves_where_no_rule_does(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().then(PaymentChanged, Placed)
    assert play.status == "placed/authorized/unfulfilled" and waiting(play.order) == "approval"
    assert play.wakes_in is None
    assert allowed(play.order) == ["approve", "approve_and_capture", "cancel", "hold", "open_edit"]
    play.approves("op").then(Approved, asks=[Capture, Start])
    assert play.event(Approved).operation_id == uid("op") and play.event(Approved).actor == "person:ann"
    play.approves("again").nothing()
    assert play.refusal is None


def test_only_a_placed_order_is_approved(play: Play) -> None:
    assert play.approves().refusal and play.refusal.code == "order_unknown"
    play.receives(content(), market(approval="manual")).approves()
    assert play.refusal and play.refusal.code == "order_not_awaiting_approval"
    play.reserved().authorized().cancels().approves()
    assert play.refusal and play.refusal.code == "order_not_awaiting_approval"


@pytest.mark.parametrize("capture", ["on_placement", "on_approval", "per_shipment"])
def test_the_capture_option_says_when_money_is_taken(play: Play, capture: str) -> None:
    play.receives(content(), market(approval="manual", capture=capture)).reserved().authorized()
    play.then(PaymentChanged, Placed, asks=[Capture] if capture == "on_placement" else [])
    play.approves().then(Approved, asks=[*([Capture] if capture == "on_approval" else []), Start])
    play.started().shipped().then(FulfillmentChanged, asks=[Capture] if capture == "per_shipment" else [])
    play.captured().then(PaymentChanged, asks=[Issue])
    play.issued().fulfilled().then(FulfillmentChanged, Completed)


def test_each_of_two_shipments_is_captured_and_invoiced_by_itself_and_the_sums_are_exact(play: Play) -> None:
    told = content(line("1", 9_99, quantity=3), line("2", 5_00, requires_shipping=False), line("3", 33), shipping=4_95, discount=7)  # fmt: skip
    play.receives(told, market(capture="per_shipment")).reserved().authorized().started({"3": "second"})
    first = play.shipped("second").last(Capture)
    assert [one.line_id for one in first.lines] == ["2", "3", "shipping"]  # with the first goes what does not ship
    play.captured()
    assert play.status == "approved/partially_paid/in_progress"
    second = play.shipped("main").last(Capture)
    assert [one.line_id for one in second.lines] == ["1"]
    play.fulfilled().then(FulfillmentChanged)  # not completed: the second is not captured yet
    issue = play.last(Issue)
    play.captured(second).issued(issue).issued(play.last(Issue)).then(Completed)
    assert play.money["captured"] == play.money["authorized"] == told.totals.grand_minor
    assert play.status == "approved/paid/fulfilled"


def test_a_shipment_that_is_told_twice_is_taken_once(play: Play) -> None:
    play.in_the_warehouse(capture="per_shipment").shipped()
    play.shipped().nothing()
    assert len([one for one in play.commands if isinstance(one, Capture)]) == 1


def test_an_order_of_total_zero_is_free_and_never_asks_for_money(play: Play) -> None:
    play.receives(content(line(total=0)), market()).then(Received, asks=[Reserve])
    assert play.status == "placing/free/unfulfilled"
    play.reserved().then(Placed, Approved, asks=[Start])
    play.started().shipped().fulfilled().then(FulfillmentChanged, Completed)
    assert play.status == "approved/free/fulfilled" and not {Authorize, Capture, Issue} & {*map(type, play.commands)}


def test_a_discount_that_takes_it_all_leaves_it_free(play: Play) -> None:
    play.receives(content(line(), discount=10_00), market()).reserved().then(Placed, Approved, asks=[Start])
    assert play.order.payment_status == "free"


@pytest.mark.parametrize("how", ["digital", "by the marketplace"])
@pytest.mark.parametrize("capture", ["on_approval", "per_shipment"])
def test_where_nothing_ships_neither_stock_nor_warehouse_is_asked(play: Play, how: str, capture: str) -> None:
    told = (
        content(line(requires_shipping=False, sku=None))
        if how == "digital"
        else content(line(sku=None), fulfilled_by="marketplace")
    )
    play.receives(told, market(capture=capture)).then(Received, asks=[Authorize])
    assert play.status == "placing/unpaid/not_required"
    play.authorized().then(PaymentChanged, Placed, Approved, asks=[Capture])
    play.captured().issued().then(Completed)
    assert play.status == "approved/paid/not_required"


def test_what_is_free_and_ships_nothing_is_done_at_once(play: Play) -> None:
    play.receives(content(line(total=0, requires_shipping=False)), market())
    play.then(Received, Placed, Approved, Completed)
    assert play.status == "approved/free/not_required"


def test_declined_after_reserved_gives_the_stock_back_and_cancels(play: Play) -> None:
    play.receives(content(), market()).reserved().declined().then(Cancelled, asks=[Release])
    assert play.event(Cancelled).cause == "declined" and play.status == "cancelled/unpaid/unfulfilled"
    play.released().nothing()
    assert waiting(play.order) == "" and not play.order.open_runs and play.wakes_in is None


def test_the_authorization_names_the_gift_cards_of_the_order_and_one_without_enough_cancels_it(play: Play) -> None:
    cards = (GiftCardTender(gift_card_id=uuid4(), amount_minor=5_00), GiftCardTender(gift_card_id=uuid4()))
    play.receives(content(gift_cards=cards), market()).reserved()
    assert play.last(Authorize).gift_cards == cards
    play.declined(code="gift_card_insufficient").then(Cancelled, asks=[Release])
    assert play.event(Cancelled).cause == "declined"


def test_out_of_stock_cancels_where_the_market_says_cancel(play: Play) -> None:
    play.receives(content(), market(on_short="cancel")).short().then(Cancelled)
    assert play.order.cancel_cause == "out_of_stock" and not play.order.open_runs


def test_out_of_stock_waits_where_the_market_says_wait_and_asks_as_a_new_operation(play: Play) -> None:
    play.receives(content(), market(on_short="wait"))
    pauses = []
    for n in range(7):
        before = play.last(Reserve).operation_id
        play.short().then(*([] if n else [WaitingChanged]))  # refused again, it waits for the same since the same time
        if not n:
            event = play.event(WaitingChanged)
            assert (event.process, event.step, event.waiting) == ("place", "reserve", "stock")
        assert waiting(play.order) == "stock"
        pauses.append(play.wakes_in)
        play.wakes().then(asks=[Reserve])
        assert play.last(Reserve).operation_id != before  # the answer was a no: it is another question
    assert pauses == [30, 60, 120, 240, 480, 900, 900]
    play.reserved().then(WaitingChanged, asks=[Authorize])
    assert play.event(WaitingChanged).waiting is None


def test_an_order_that_waits_for_stock_is_cancelled_at_once(play: Play) -> None:
    play.receives(content(), market(on_short="wait")).short().cancels().then(Cancelled, WaitingChanged)
    assert not play.order.open_runs and play.wakes_in is None


def test_a_reservation_that_the_warehouse_gave_back_cancels_the_order(play: Play) -> None:
    """`cancelled` as the answer to a start: nothing will ship."""
    play.receives(content(), market(capture="per_shipment")).reserved().authorized()
    play.shipments_cancelled(play.last(Start))
    play.shipments_cancelled().then(Cancelled, asks=[Void])
    play.voided().then(PaymentChanged)
    assert play.status == "cancelled/voided/unfulfilled" and play.order.cancel_cause == "out_of_stock"
