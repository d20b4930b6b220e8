"""Commerce Layer's edge cases, by their number; the ones that are about orders and are in no other file.

| case | test |
|---|---|
| 1, 11, 12 | here |
| 2, 7, 8, 9, 10 | test_orders_capture.py |
| 3 | services/payments/tests/test_payments_gateway_story.py: a void waits for the capture in flight |
| 4, 5, 6 | test_orders_refund.py |
| 13 | services/fulfillment/tests/test_fulfillment_promises.py: the last pieces; a reservation does not expire here |
| 14 | test_orders_edit.py: there is no limit here, the second authorization decides |
| 16 | test_orders_undo.py: a late success is voided |
| 15, 17, 18 | returns, gift cards and webhooks are not built |
"""

from __future__ import annotations

import pytest
from orders_play import Play, content, line, market

from contracts.fulfillment import Start
from contracts.invoicing import Credit, Issue
from contracts.orders import CaptureLine, LineEdit
from contracts.payments import Authorize, Capture, Refund, Void

TWO = (line("1", 10_00), line("2", 5_00))


@pytest.mark.parametrize("op", ["place", "place again"])
def test_edge_1_an_order_that_is_placed_twice_is_authorized_once(play: Play, op: str) -> None:
    """While it is placed, and after it: by a repeated request and by another one."""
    play.placed_over_http(content(), market()).placed_over_http(content(), market(), op).nothing()
    play.reserved().placed_over_http(content(), market(), op).nothing()
    play.authorized().placed_over_http(content(), market(), op).nothing()
    play.started().captured().issued().shipped().fulfilled()
    play.placed_over_http(content(), market(), op).nothing()
    assert [sum(isinstance(one, model) for one in play.commands) for model in (Authorize, Start, Capture, Issue)] == [
        1
    ] * 4


def test_edge_11_a_cancel_after_a_partial_capture_refunds_what_is_captured_and_voids_the_rest(play: Play) -> None:
    play.in_the_warehouse(content(*TWO), capture="manual").captures(CaptureLine(line_id="2")).captured().issued()
    assert play.status == "approved/partially_paid/in_progress"
    play.cancels().shipments_cancelled()
    assert play.status == "cancelled/partially_paid/unfulfilled" and isinstance(play.sent[0], Credit)
    play.credited()
    assert [one.amount_minor for one in play.last(Refund).lines] == [5_00]
    play.refunded().voided()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs
    assert play.money == {"authorized": 15_00, "captured": 5_00, "voided": 10_00, "refunded": 5_00}
    assert [sum(isinstance(one, model) for one in play.commands) for model in (Credit, Refund, Void)] == [1] * 3


def test_edge_12_an_order_of_which_one_shipment_is_cancelled_is_fulfilled_by_the_other(play: Play) -> None:
    play.in_the_warehouse_at(content(*TWO), {"1": "main", "2": "there"}).captured().issued().shipped("there")
    play.opens_an_edit(LineEdit(line_id="1", quantity=0)).confirms().suspended().partly_reduced().resumed()
    play.fulfilled()
    assert play.order.fulfillment_status == "fulfilled"
    play.refunded().credited()
    assert play.status == "approved/partially_refunded/fulfilled" and play.order.completed_at is not None
