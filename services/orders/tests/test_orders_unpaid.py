"""A buyer who has not paid in a session is not a buyer whose payment was refused: the order asks anew, for as long as its market waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from orders_play import ORDER, STORE, Play, content, market, uid

from contracts.fulfillment import Release
from contracts.orders import Cancelled
from contracts.payments import Authorize, MoneyTotals, Void, Voided

DAY = 86_400
TOKEN = "pm_1"


def waiting(play: Play, token: str | None = None, **terms: Any) -> Play:
    told = content().model_copy(update={"payment_token": token})
    return play.receives(told, market(gateway="test", **terms)).reserved()


def later(play: Play, seconds: float) -> Play:
    play.now += timedelta(seconds=seconds)
    return play


@pytest.mark.parametrize("token", [None, TOKEN])
def test_after_a_session_without_a_payment_the_order_asks_anew_by_the_way_that_it_has(
    play: Play, token: str | None
) -> None:
    first = waiting(play, token).last(Authorize)
    play.declined("payment_abandoned", uid("s1")).then(asks=[Authorize])
    again = play.last(Authorize)
    assert again.operation_id != first.operation_id
    assert again.model_copy(update={"operation_id": first.operation_id}) == first and again.payment_token == token
    assert play.status == "placing/unpaid/unfulfilled"
    assert play.authorized().status == "approved/authorized/unfulfilled"


def test_a_card_that_the_gateway_declines_in_a_session_may_be_followed_by_another_one(play: Play) -> None:
    waiting(play).declined("card_declined", uid("s1")).then(asks=[Authorize])


def test_a_token_that_is_declined_ends_the_order_also_if_a_session_was_open(play: Play) -> None:
    waiting(play, TOKEN).declined("card_declined", uid("s1")).then(Cancelled, asks=[Release])


def test_a_decline_outside_of_sessions_ends_the_order(play: Play) -> None:
    waiting(play).declined("card_declined").then(Cancelled, asks=[Release])


def test_a_day_after_its_first_request_the_order_is_cancelled(play: Play) -> None:
    waiting(play).pending()
    later(play, DAY - 1).declined("payment_abandoned").then(asks=[Authorize])
    later(play.pending(), 2).declined("payment_abandoned").then(Cancelled, asks=[Release])
    assert play.event(Cancelled).cause == "declined"


def test_the_patience_of_the_market_counts_from_the_first_request(play: Play) -> None:
    waiting(play, give_up_after_seconds=3 * DAY).pending()
    for _ in range(2):
        later(play, DAY).declined("payment_abandoned").then(asks=[Authorize])
        play.pending()
    later(play, DAY).declined("payment_abandoned").then(Cancelled, asks=[Release])


def paid_late(play: Play) -> Play:
    """Payments books it as an authorization of its own, and declines the first one once it has given that back, or could not."""
    asked = waiting(play).last(Authorize)
    return play.authorized(asked.model_copy(update={"operation_id": uid("late")}))


def test_what_was_paid_too_late_and_released_is_no_obstacle(play: Play) -> None:
    asked = paid_late(play).last(Authorize)
    play.money["voided"] = 10_00
    totals = MoneyTotals(authorized_minor=10_00, voided_minor=10_00)
    body = {"order_id": ORDER, "store_id": STORE, "currency": "EUR", "totals": totals, "version": 2}
    play.payments_version = 2
    play.when(
        Voided(**body, operation_id=uid("v"), authorization_id=uid("late"), lines=asked.lines, amount_minor=10_00)
    )
    play.declined("payment_abandoned", uid("s1")).then(asks=[Authorize])
    assert play.authorized().status == "approved/authorized/unfulfilled"


def test_what_was_paid_too_late_and_is_still_held_is_given_back_first(play: Play) -> None:
    paid_late(play).declined("payment_abandoned", uid("s1"))
    assert play.event(Cancelled).cause == "declined"
    assert play.last(Void).authorization_id == uid("late")


def test_a_cancel_that_comes_first_ends_with_the_session(play: Play) -> None:
    waiting(play).pending().cancels()
    play.declined("payment_abandoned", uid("s1")).then(asks=[Release])
    assert play.status == "cancelled/unpaid/unfulfilled"
