"""Where nothing can come between, the capture is asked for with the authorization, and one answer brings both."""

from __future__ import annotations

from typing import Any

import pytest
from orders_play import Play, content, line, market, uid

from contracts.fulfillment import Start
from contracts.invoicing import Credit, Issue
from contracts.orders import Approved, Completed, FulfillmentChanged, PaymentChanged, Placed
from contracts.payments import Authorize, Capture, Refund
from orders.domain.shown.views import waiting

MARKETPLACE: dict[str, Any] = {"gateway": "marketplace"}
CARD: dict[str, Any] = {"gateway": "test"}


@pytest.mark.parametrize(
    ("terms", "at_once"),
    [
        (MARKETPLACE, True),
        (MARKETPLACE | {"capture": "on_placement", "approval": "manual"}, True),
        (CARD | {"capture": "on_placement"}, True),
        (CARD, False),
        (MARKETPLACE | {"approval": "manual"}, False),
        (MARKETPLACE | {"capture": "per_shipment"}, False),
        (MARKETPLACE | {"capture": "manual"}, False),
        (MARKETPLACE | {"currency": "EUR", "capture_up_to_minor": 9_99}, False),
        (MARKETPLACE | {"hold_window_seconds": 60}, False),
    ],
    ids=str,
)
def test_both_are_asked_in_one_where_the_capture_would_be_asked_next(
    play: Play, terms: dict[str, Any], at_once: bool
) -> None:
    """The buyer of a card is charged before the approval only where the market states it: a refund has its price."""
    play.receives(content(), market(**terms)).reserved()
    assert play.last(Authorize).capture is at_once


def test_an_order_is_invoiced_by_the_one_answer(play: Play) -> None:
    play.receives(content(line("1"), shipping=4_95), market()).reserved()
    play.authorized(capture_id=uid("c")).then(PaymentChanged, Placed, Approved, asks=[Issue, Start])
    assert play.status == "approved/paid/unfulfilled"
    issue = play.last(Issue)
    assert issue.capture_id == uid("c")
    assert [(one.line_id, one.amount_minor) for one in issue.lines] == [("1", 10_00), ("shipping", 4_95)]
    play.issued().started().shipped().fulfilled().then(FulfillmentChanged, Completed)
    assert waiting(play.order) == "" and not any(isinstance(one, Capture) for one in play.commands)


def test_of_a_gateway_that_only_authorizes_the_capture_is_asked_for(play: Play) -> None:
    play.receives(content(), market(**CARD, capture="on_placement")).reserved()
    play.authorized().then(PaymentChanged, Placed, Approved, asks=[Capture, Start])


def test_a_cancel_that_comes_before_the_answer_gives_the_money_back(play: Play) -> None:
    play.receives(content(), market()).reserved().cancels()
    play.authorized(capture_id=uid("c"))
    refund = play.last(Refund)
    assert refund.capture_id == uid("c") and [one.amount_minor for one in refund.lines] == [10_00]
    play.refunded().released()
    assert play.order.status == "cancelled" and waiting(play.order) == ""
    assert not any(isinstance(one, (Issue, Credit)) for one in play.commands)


def test_what_is_captured_while_the_order_is_held_is_invoiced_after_the_release(play: Play) -> None:
    play.receives(content(), market()).reserved().holds()
    play.authorized(capture_id=uid("c")).then(PaymentChanged)
    assert play.status == "placing/paid/unfulfilled"
    play.releases()
    assert play.last(Issue).capture_id == uid("c") and play.status == "approved/paid/unfulfilled"


def test_an_order_that_is_placed_anew_is_charged_anew(play: Play) -> None:
    """What was captured for its first attempt has gone back before it was settled: it settles nothing of the second."""
    play.receives(content(lifecycle="awaiting_payment"), market())
    play.receives(content(), seconds=1).reserved().cancels().authorized(capture_id=uid("c")).refunded().released()
    play.receives(content(line(total=12_00)), seconds=3).resolves("order_reinstated", "accept")
    play.reserved().authorized(capture_id=uid("second"))
    assert play.last(Issue).capture_id == uid("second")
    play.issued().started().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and play.order.completed_at is not None
    assert sum(isinstance(one, Issue) for one in play.commands) == 1
