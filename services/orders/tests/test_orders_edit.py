"""An edit of a placed order: reserve and authorize what is more, become true, give back what is less; or be discarded whole."""

from __future__ import annotations

from typing import Any

import pytest
from orders_play import Play, content, costs, line, market, uid
from test_orders_edits import RED, discounted

from contracts.fulfillment import CancelShipments, Extend, Reduce, Resume, Start, Suspend
from contracts.invoicing import Credit, Issue
from contracts.orders import (
    Cancelled,
    CaptureLine,
    Completed,
    EditConfirmed,
    EditDiscarded,
    Edited,
    EditedLine,
    EditOpened,
    FulfillmentChanged,
    LineEdit,
    PaymentChanged,
    RefundLine,
    RefundOpened,
    RefundSettled,
    Released,
    StepFailed,
)
from contracts.payments import Authorize, Capture, MoneyLine, Refund, Void
from contracts.snapshot import Address
from orders.domain.decisions.actions import allowed
from orders.domain.processes import edit, edited
from orders.domain.shown.views import waiting
from orders.domain.state.order import Order

THERE = Address(name="Bo", line1="2 Way", city="Lyon", country="FR")
CHEAPER = LineEdit(line_id="1", quantity=1)
DEARER = LineEdit(line_id="1", quantity=3)


def the_edit(order: Order) -> edit.EditData:
    return edited.data_of(edited.of_order(order)[-1])


def preview(play: Play) -> edit.Preview:
    return edited.preview(play.order, edited.of_order(play.order)[-1])


def amounts(lines: Any) -> list[tuple[str, int, int]]:
    return [(one.line_id, one.quantity, one.amount_minor) for one in lines]


def rows(play: Play) -> list[tuple[int, str, str, int, int, int | None]]:
    found: list[EditedLine] = [row for event in play.events if isinstance(event, Edited) for row in event.lines]
    return [(row.row, row.line_id, row.kind, row.quantity, row.amount_minor, row.related_to) for row in found]


def open_processes(play: Play) -> list[str]:
    return [run.id for run in play.order.open_runs]


# -- case A01 ---------------------------------------------------------------------------------------------------------


def test_fewer_pieces_of_a_paid_and_invoiced_order(play: Play) -> None:
    """A01: captured and invoiced, nothing has shipped; one of two pieces goes."""
    play.in_the_warehouse(discounted()).captured().issued()
    play.opens_an_edit(CHEAPER).then(EditOpened)
    assert play.status == "editing/paid/in_progress" and waiting(play.order) == "confirm"
    shown = preview(play)
    assert (shown.difference.total_after, shown.difference.total_after - shown.difference.total_before) == (3840, -3840)
    assert shown.discount_minor == 960 and shown.difference.to_release == {"1": 1} and not shown.why_not
    play.confirms().then(EditConfirmed, asks=[Suspend])
    play.suspended().then(Edited, asks=[Reduce])
    assert play.status == "approved/paid/in_progress" and play.order.grand_minor == 3840
    assert [(one.line_id, one.quantity) for one in play.last(Reduce).lines] == [("1", 1)]
    play.partly_reduced().then(asks=[Resume])
    play.resumed().then(RefundOpened, asks=[Refund])
    assert amounts(play.last(Refund).lines) == [("1", 1, 3840)]
    play.refunded().then(PaymentChanged, asks=[Credit])
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Credit).lines] == [("1", 1, 3840)]
    play.credited(play.last(Refund).lines).then(RefundSettled)
    assert costs(play.sold) == {"1": (1, 3840)}
    assert play.money == {"authorized": 7680, "captured": 7680, "voided": 0, "refunded": 3840}
    assert rows(play) == [
        (1, "1", "original", 2, 7680, None),
        (2, "1", "reversal", -2, -7680, 1),
        (3, "1", "replacement", 1, 3840, 1),
        (4, "1", "refund", 1, 3840, 1),
    ]
    for op in ("confirm", "another"):
        play.confirms(op).nothing()
        assert play.refusal is None
    play.shipped().fulfilled().then(FulfillmentChanged, Completed)
    assert play.status == "approved/partially_refunded/fulfilled" and not open_processes(play)


# -- cheaper, dearer, neither -----------------------------------------------------------------------------------------


def test_what_is_not_captured_is_voided_and_the_rest_is_captured_later(play: Play) -> None:
    play.receives(discounted(), market(approval="manual")).reserved().authorized()
    play.opens_an_edit(CHEAPER).confirms().then(EditConfirmed, Edited, asks=[Reduce])
    assert play.status == "placed/authorized/unfulfilled"
    play.partly_reduced().then(asks=[Void])
    assert amounts(play.last(Void).lines) == [("1", 0, 3840)]
    play.voided().then(PaymentChanged)
    assert open_processes(play) == ["place"]
    play.approves()
    assert amounts(play.last(Capture).lines) == [("1", 1, 3840)] and play.last(Start)
    play.captured().issued().started().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and play.order.completed_at is not None


def test_what_is_dearer_is_authorized_and_captured_beside_the_rest(play: Play) -> None:
    play.in_the_warehouse(discounted()).captured().issued()
    play.opens_an_edit(DEARER, shipping_minor=5_00).confirms().suspended().then(asks=[Extend])
    assert [(one.line_id, one.sku, one.quantity) for one in play.last(Extend).lines] == [("1", "A", 1)]
    play.extended().then(asks=[Authorize])
    assert amounts(play.last(Authorize).lines) == [("1", 1, 38_40), ("shipping", 0, 5_00)]
    play.authorized().then(PaymentChanged, Edited, asks=[Resume])
    second = play.last(Authorize).operation_id
    play.resumed().then(asks=[Capture])
    assert play.last(Capture).authorization_id == second
    assert amounts(play.last(Capture).lines) == [("1", 1, 38_40), ("shipping", 0, 5_00)]
    play.captured().then(PaymentChanged, asks=[Issue])
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Issue).lines] == [
        ("1", 1, 38_40),
        ("shipping", 1, 5_00),
    ]
    play.issued().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and play.order.completed_at is not None
    assert rows(play)[-1] == (4, "shipping", "added", 0, 5_00, None)


def test_a_line_is_replaced_by_another(play: Play) -> None:
    """The old one is voided as far as it is not captured: nothing of it is."""
    play.receives(content(), market(approval="manual")).reserved().authorized()
    play.opens_an_edit(LineEdit(line_id="1", replace_by=RED)).confirms().then(EditConfirmed, asks=[Extend])
    play.extended().authorized().then(PaymentChanged, Edited, asks=[Reduce])
    play.partly_reduced().voided()
    assert open_processes(play) == ["place"] and costs(play.sold) == {"2": (2, 14_00)}
    play.approves()
    assert amounts(play.last(Capture).lines) == [("2", 2, 14_00)]


def test_a_paid_line_that_is_replaced_goes_back_and_does_not_cancel_the_order(play: Play) -> None:
    play.in_the_warehouse().captured().issued()
    play.opens_an_edit(LineEdit(line_id="1", replace_by=RED)).confirms().suspended().extended().authorized()
    play.partly_reduced().resumed()
    assert [type(one) for one in play.sent] == [Refund, Capture]
    _, capture = play.sent
    play.refunded().credited()
    assert play.order.status == "approved"
    assert isinstance(capture, Capture)
    play.captured(capture).issued().shipped().fulfilled()
    assert play.order.completed_at is not None and play.money["refunded"] == 10_00 and play.money["captured"] == 24_00


def test_another_address_moves_no_money_and_is_sent_to_the_warehouse(play: Play) -> None:
    play.paid_and_in_the_warehouse()
    before = play.last(Start).operation_id
    play.opens_an_edit(ship_to=THERE).confirms().then(EditConfirmed, asks=[Suspend])
    play.suspended().then(Edited, asks=[Resume])
    play.resumed().then(asks=[Start])
    assert play.last(Start).ship_to == THERE and play.last(Start).operation_id != before
    play.fulfilled()
    assert not rows(play)


def test_pieces_that_come_back_after_a_refund_are_charged_anew(play: Play) -> None:
    """Once: what an earlier edit has given back counts as not paid."""
    play.in_the_warehouse(discounted()).captured().issued()
    play.opens_an_edit(CHEAPER).confirms().suspended().partly_reduced().resumed().refunded().credited(
        play.last(Refund).lines
    )
    play.opens_an_edit(LineEdit(line_id="1", quantity=2), op="2").confirms("c2", "2").suspended().extended()
    assert amounts(play.last(Authorize).lines) == [("1", 1, 38_40)]
    play.authorized().resumed()
    assert amounts(play.last(Capture).lines) == [("1", 1, 38_40)]
    play.captured().issued().shipped().fulfilled()
    assert play.order.completed_at is not None
    assert play.money["captured"] - play.money["refunded"] == play.order.grand_minor == 76_80


# -- what is under way ------------------------------------------------------------------------------------------------


def test_a_capture_that_is_under_way_is_awaited_and_then_given_back(play: Play) -> None:
    play.in_the_warehouse(discounted()).opens_an_edit(CHEAPER).confirms().then(EditConfirmed)
    assert waiting(play.order) == "answer"  # of the capture
    play.captured().then(PaymentChanged, asks=[Suspend])
    play.suspended().then(Edited, asks=[Reduce])
    play.partly_reduced().resumed()
    assert [type(one) for one in play.sent] == [RefundOpened] or play.last(Issue)
    assert amounts(play.last(Issue).lines) == [("1", 2, 76_80)]  # as it was captured
    play.refunded().issued()
    assert [(one.line_id, one.amount_minor) for one in play.last(Credit).lines] == [("1", 38_40)]


def test_a_capture_that_ends_while_the_order_is_held_is_awaited_no_more_after_the_release(play: Play) -> None:
    play.receives(discounted(), market(approval="manual", capture="on_placement")).reserved().authorized()
    play.opens_an_edit(CHEAPER).confirms().then(EditConfirmed)
    assert waiting(play.order) == "answer"  # of the capture
    play.holds().captured().then(PaymentChanged)
    play.releases().then(Released, Edited, asks=[Reduce])


def test_a_refused_capture_takes_what_is_left_after_the_edit(play: Play) -> None:
    play.in_the_warehouse(discounted()).failed(Capture).opens_an_edit(CHEAPER).confirms().suspended().partly_reduced()
    play.voided().resumed().retries()
    assert amounts(play.last(Capture).lines) == [("1", 1, 38_40)]


def test_while_an_edit_is_open_nothing_further_is_asked(play: Play) -> None:
    play.receives(discounted(), market(approval="manual")).reserved().authorized().opens_an_edit(CHEAPER)
    play.approves().nothing()
    assert play.refusal and play.refusal.code == "edit_open" and play.refusal.more == {"edit_id": str(uid("edit"))}
    play.discards().then(EditDiscarded)
    assert play.status == "placed/authorized/unfulfilled"
    play.approves()
    assert play.last(Capture) and play.last(Start)


def test_a_parcel_that_ships_while_the_edit_is_a_draft_makes_it_impossible(play: Play) -> None:
    play.paid_and_in_the_warehouse().opens_an_edit(LineEdit(line_id="1", quantity=0), add=(RED,))
    seen = preview(play).digest
    play.shipped().confirms(preview=seen)
    assert play.refusal and play.refusal.code == "edit_stale"
    play.confirms()
    assert play.refusal and play.refusal.code == "order_shipped" and play.refusal.more == {"lines": ["1"]}


def test_a_parcel_that_left_before_the_warehouse_was_suspended_discards_the_edit(play: Play) -> None:
    play.paid_and_in_the_warehouse().opens_an_edit(LineEdit(line_id="1", unit_price_minor=8_00)).confirms()
    play.shipped().suspended().then(EditDiscarded, asks=[Resume])
    assert the_edit(play.order).code == "order_shipped"
    play.resumed().fulfilled()
    assert play.order.completed_at is not None and play.money["refunded"] == 0


# -- a no before the point of no return -------------------------------------------------------------------------------


def test_a_refused_authorization_gives_back_the_pieces_and_resumes_the_warehouse(play: Play) -> None:
    """Commerce Layer's edge case 14: no limit rejects a dearer order, its second authorization does."""
    play.paid_and_in_the_warehouse()
    before = play.order.content
    play.opens_an_edit(LineEdit(line_id="1", quantity=2)).confirms().suspended().extended()
    play.declined().then(EditDiscarded, asks=[Reduce])
    assert play.event(EditDiscarded).code == "payment_declined" and play.status == "approved/paid/in_progress"
    assert [(one.line_id, one.quantity) for one in play.last(Reduce).lines] == [("1", 1)]
    play.partly_reduced().then(asks=[Resume])
    play.resumed().nothing()
    assert play.order.content == before and not rows(play)
    play.shipped().fulfilled()
    assert play.order.completed_at is not None


def test_too_little_stock_discards_the_edit_before_money_is_asked_for(play: Play) -> None:
    play.paid_and_in_the_warehouse().opens_an_edit(LineEdit(line_id="1", quantity=2)).confirms().suspended()
    play.out_of_stock().then(EditDiscarded, asks=[Resume])
    play.resumed().confirms("again")
    assert play.refusal and play.refusal.code == "edit_discarded"


def test_an_edit_that_nobody_confirms_expires(play: Play) -> None:
    play.receives(content(), market(approval="manual", edit_expires_seconds=600)).reserved().authorized()
    play.opens_an_edit(LineEdit(line_id="1", quantity=2))
    assert play.wakes_in == 600
    play.wakes().then(EditDiscarded)
    assert the_edit(play.order).code == "edit_expired" and play.status == "placed/authorized/unfulfilled"


# -- the cancel -------------------------------------------------------------------------------------------------------


def test_a_cancel_discards_an_open_edit(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().opens_an_edit(
        LineEdit(line_id="1", quantity=2)
    )
    play.cancels().then(Cancelled, asks=[Void])
    play.voided().released()
    assert play.status == "cancelled/voided/unfulfilled" and not open_processes(play)
    assert play.event(EditDiscarded).code == "order_cancelled"


def test_a_cancel_gives_back_what_the_edit_has_reserved_and_authorized(play: Play) -> None:
    """Both authorizations are voided."""
    play.receives(content(), market(approval="manual")).reserved().authorized()
    play.opens_an_edit(LineEdit(line_id="1", quantity=2)).confirms().extended().cancels().then(Cancelled)
    play.authorized()
    for _ in range(2):
        play.voided(10_00)
    play.released()
    assert play.status == "cancelled/voided/unfulfilled" and play.money["voided"] == 20_00
    assert play.order.content == content() and not open_processes(play)


def test_removing_the_last_line_cancels_the_order(play: Play) -> None:
    play.paid_and_in_the_warehouse().opens_an_edit(LineEdit(line_id="1", quantity=0))
    play.confirms().then(EditDiscarded, asks=[CancelShipments])
    play.shipments_cancelled().credited().refunded()
    assert play.status == "cancelled/refunded/unfulfilled"


# -- after the point of no return -------------------------------------------------------------------------------------


def test_a_refused_void_waits_for_a_person_and_the_edit_stays_true(play: Play) -> None:
    play.receives(discounted(), market(approval="manual")).reserved().authorized()
    play.opens_an_edit(CHEAPER).confirms().partly_reduced().failed(Void).then(StepFailed)
    assert waiting(play.order) == "exception" and play.order.grand_minor == 38_40
    play.retries().voided()
    assert open_processes(play) == ["place"]


def test_each_authorization_is_voided_as_far_as_it_has_too_much(play: Play) -> None:
    play.receives(content(line("1", 20_00, quantity=2)), market(approval="manual")).reserved().authorized()
    play.opens_an_edit(LineEdit(line_id="1", quantity=3)).confirms().extended().authorized()
    play.opens_an_edit(LineEdit(line_id="1", quantity=1), op="2").confirms("c2", "2").partly_reduced()
    second = play.last(Void)
    assert second.lines == (MoneyLine(line_id="1", quantity=0, amount_minor=10_00),)
    play.voided().then(PaymentChanged, asks=[Void])
    assert play.last(Void).authorization_id != second.authorization_id and amounts(play.last(Void).lines) == [
        ("1", 0, 10_00)
    ]
    play.voided()
    play.approves()
    assert [amounts(one.lines) for one in play.sent if isinstance(one, Capture)] == [[("1", 1, 10_00)]]


# -- requests ---------------------------------------------------------------------------------------------------------


def test_one_edit_is_open_at_a_time(play: Play) -> None:
    play.paid_and_in_the_warehouse().opens_an_edit().opens_an_edit(op="second")
    assert play.refusal and play.refusal.code == "edit_open" and str(uid("edit")) in play.refusal.detail
    assert play.refusal.more == {"edit_id": str(uid("edit"))}
    play.opens_an_edit().nothing()  # the same request
    assert play.refusal is None
    assert [run.id for run in edited.of_order(play.order)] == ["edit:1"]


@pytest.mark.parametrize("act", ["confirms", "discards"])
def test_an_edit_that_does_not_exist(play: Play, act: str) -> None:
    getattr(play.paid_and_in_the_warehouse(), act)(edit="other").nothing()
    assert play.refusal and play.refusal.code == "edit_unknown"


def test_an_order_that_is_not_placed_or_is_completed_is_not_edited(play: Play) -> None:
    play.receives(content(), market()).opens_an_edit()
    assert play.refusal and play.refusal.code == "order_not_placed"
    play.reserved().authorized().started().captured().issued().shipped().fulfilled().opens_an_edit()
    assert play.refusal and play.refusal.code == "order_completed"
    assert "open_edit" not in allowed(play.order)


def test_two_hundred_edits_leave_a_small_order(play: Play) -> None:
    """The document keeps no content of an edit that has ended."""
    play.receives(content(line("1", 10_00, quantity=3)), market(approval="manual")).reserved().authorized()
    for n in range(20):
        play.opens_an_edit(LineEdit(line_id="1", unit_price_minor=n + 1), op=f"e{n}").confirms(f"c{n}", f"e{n}")
        while play.sent:
            play.authorized() if isinstance(play.sent[-1], Authorize) else play.voided()
    small = edited.of_order(play.order)[0]
    assert len(small.model_dump_json(exclude_defaults=True)) < 600 and play.order.rows_count == 41


def test_an_edit_that_gives_back_all_that_was_captured_leaves_an_order_that_is_still_to_be_paid(play: Play) -> None:
    """Another line was not captured yet: the order is not refunded, it goes on."""
    two = content(line("1", 10_00), line("2", 5_00))
    play.in_the_warehouse(two, capture="manual").captures(CaptureLine(line_id="1")).captured().issued()
    play.opens_an_edit(LineEdit(line_id="1", quantity=0)).confirms().suspended().partly_reduced().resumed()
    play.refunded().credited()
    assert play.money["refunded"] == play.money["captured"] == 10_00
    assert play.order.status == "approved" and play.order.undo is None
    play.captures(op="the rest").captured().issued().shipped().fulfilled()
    assert play.order.completed_at is not None and play.order.grand_minor == 5_00


def test_an_order_that_an_edit_made_free_is_not_cancelled_by_an_earlier_refund(play: Play) -> None:
    """All that was captured comes back in both: it is what the edit gives back, not a refund of the whole order."""
    told = content(line("1", 0), line("2", 10_00, requires_shipping=False))
    play.in_the_warehouse(told).captured().issued().refunds(lines=(RefundLine(line_id="2", amount_minor=88),))
    play.failed(Refund)
    play.opens_an_edit(LineEdit(line_id="2", unit_price_minor=0)).confirms().suspended().resumed()
    assert [one.amount_minor for one in play.last(Refund).lines] == [9_12]
    play.refunded().credited().retries_refund().refunded().credited()
    assert play.money["refunded"] == play.money["captured"] == 10_00
    assert play.status == "approved/free/in_progress" and play.order.undo is None
    play.shipped().fulfilled()
    assert play.order.completed_at is not None


def test_an_edit_before_the_first_parcel_captures_nothing_where_parcels_are_captured(play: Play) -> None:
    two = content(line("1", 10_00), line("2", 5_00), shipping=4_95)
    play.in_the_warehouse(two, capture="per_shipment").opens_an_edit(LineEdit(line_id="2", quantity=2)).confirms()
    play.suspended().extended().authorized().resumed()
    assert play.money["captured"] == 0 and not [one for one in play.commands if isinstance(one, Capture)]
    assert play.order.status == "approved"


def test_a_cent_that_an_edit_adds_to_a_shipped_line_is_captured_though_no_further_parcel_leaves(play: Play) -> None:
    """A share is rounded by less than a minor unit: such a price may change though all pieces have shipped."""
    two = content(line("1", total=1, quantity=2), line("2", total=9_99))
    play.in_the_warehouse(two, capture="per_shipment").shipped().captured().issued()
    play.opens_an_edit(LineEdit(line_id="1", unit_price_minor=1)).confirms().suspended().authorized().resumed()
    assert amounts(play.last(Capture).lines) == [("1", 0, 1)]
    play.captured().issued().fulfilled().then(FulfillmentChanged, Completed)
    assert play.status == "approved/paid/fulfilled"
