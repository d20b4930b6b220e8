"""Voids by line: exactly what is named, or nothing of it; and refunds in thirds."""

from __future__ import annotations

import pytest
from payments_play import (
    Play,
    asked,
    authorize,
    authorized,
    bare,
    call,
    calls,
    capture,
    captured,
    declined,
    failed,
    postponed,
    refund,
    report,
    totals,
    uid,
    void,
    voided,
)

from contracts.limits import MINOR_MAX
from contracts.payments import Captured, Failed, Refunded, Voided


@pytest.fixture
def authorized_at_the_gateway(play: Play) -> Play:
    play.given(authorized("a1", {"1": 30_00, "2": 20_00}, totals(a=50_00), gateway="test"))
    return play


def test_lines_are_released_and_the_rest_stays_capturable(play: Play) -> None:
    play.when(authorize("a1", {"1": 30_00, "2": 20_00}))
    play.when(void("v1", "a1", {"1": 10_00}))
    play.then(voided("v1", "a1", {"1": 10_00}, totals(a=50_00, v=10_00)))
    play.when(void("v2", "a1", {"1": 20_01}))
    play.then(failed("v2", "void", "authorization_exceeded", totals(a=50_00, v=10_00), of="a1",
                     amount_minor=20_01, allowed_minor=20_00))  # fmt: skip
    play.when(capture("c1", "a1", {"1": 20_00, "2": 20_00}))
    assert play.left() == (50_00, 40_00, 10_00, 0)


def test_an_unknown_line_releases_nothing(play: Play) -> None:
    play.when(authorize("a1", {"1": 30_00}))
    play.when(void("v1", "a1", {"1": 1, "9": 1}))
    assert isinstance(play.effects[0], Failed) and play.effects[0].code == "line_unknown"
    assert play.left() == (30_00, 0, 0, 0)


def test_the_gateway_is_asked_for_the_amount_and_the_lines_are_held(authorized_at_the_gateway: Play) -> None:
    play = authorized_at_the_gateway
    play.when(void("v1", "a1", {"2": 5_00}))
    play.then(asked("v1", "void", {"2": 5_00}, "a1"), calls("v1", "void", 5_00, "a1"))
    play.when(capture("c1", "a1", {"2": 15_01}))
    assert isinstance(play.effects[0], Failed) and play.effects[0].allowed_minor == 15_00
    play.when(report(call("v1", "void", 5_00, "a1"), "succeeded"))
    play.then(voided("v1", "a1", {"2": 5_00}, totals(a=50_00, v=5_00), reference="tg_1"))


def test_it_takes_nothing_that_a_capture_in_flight_holds(authorized_at_the_gateway: Play) -> None:
    play = authorized_at_the_gateway
    play.when(capture("c1", "a1", {"1": 30_00}))
    play.when(void("v1", "a1", {"1": 1}))
    play.then(failed("v1", "void", "authorization_exceeded", totals(a=50_00), of="a1", amount_minor=1, allowed_minor=0))
    play.when(void("v2", "a1", {"2": 20_00}))
    play.then(asked("v2", "void", {"2": 20_00}, "a1"), calls("v2", "void", 20_00, "a1"))


def test_a_void_of_the_rest_has_claimed_it_all(authorized_at_the_gateway: Play) -> None:
    play = authorized_at_the_gateway
    play.when(capture("c1", "a1", {"1": 30_00}))
    play.when(void("v1", "a1"))
    play.when(void("v2", "a1", {"2": 1}))
    play.then(failed("v2", "void", "authorization_exceeded", totals(a=50_00), of="a1", amount_minor=1, allowed_minor=0))


def test_both_kinds_wait_for_the_authorization_and_are_done_in_their_order(play: Play) -> None:
    play.given(asked("a1", "authorize", 50_00))
    play.when(void("v1", "a1", 10_00))
    play.then(postponed("v1", "a1", 10_00))
    play.when(void("v2", "a1"))
    play.then(postponed("v2", "a1"))
    play.when(report(call("a1", "authorize", 50_00), "succeeded"))
    assert bare(play.effects[1:]) == [asked("v1", "void", 10_00, "a1"), calls("v1", "void", 10_00, "a1")]
    play.when(report(call("v1", "void", 10_00, "a1"), "succeeded"))
    assert bare(play.effects[1:]) == [asked("v2", "void", 40_00, "a1", pieces=0), calls("v2", "void", 40_00, "a1")]


def test_lines_of_a_declined_authorization_cannot_be_released(play: Play) -> None:
    play.given(asked("a1", "authorize", 50_00), postponed("v1", "a1", 10_00))
    play.when(report(call("a1", "authorize", 50_00), "refused", None))
    play.then(
        declined("a1", 50_00, "gateway_refused", "", totals()),
        failed("v1", "void", "authorization_exceeded", totals(), of="a1", amount_minor=10_00, allowed_minor=0),
    )


def test_each_authorization_of_an_order_is_drawn_on_alone(play: Play) -> None:
    """Two of one line: the second is what an edit made dearer."""
    play.when(authorize("a1", {"1": 30_00}))
    play.when(authorize("a2", {"1": 12_00}))
    play.when(capture("c1", "a2", {"1": 12_01}))
    assert isinstance(play.effects[0], Failed) and play.effects[0].allowed_minor == 12_00
    play.when(capture("c2", "a2", {"1": 12_00}))
    play.when(void("v1", "a1", {"1": 5_00}))
    play.when(capture("c3", "a1", {"1": 25_00}))
    assert [type(effect) for effect in play.effects] == [Captured]
    assert play.left() == (42_00, 37_00, 5_00, 0)
    play.when(void("v2", "a2"))
    assert isinstance(play.effects[0], Voided) and play.effects[0].amount_minor == 0


def test_authorizations_in_flight_count_towards_the_most_that_an_order_holds(play: Play) -> None:
    """Else both would be granted, and their sum could not be stated."""
    most = MINOR_MAX
    play.when(authorize("a1", most - 10, gateway="test"))
    play.when(authorize("a2", 11, gateway="test"))
    play.then(declined("a2", 11, "amount_too_large", f"an order holds at most {most} minor units", totals()))
    play.when(authorize("a3", 10, gateway="test"))
    play.when(report(call("a1", "authorize", most - 10), "succeeded"))
    play.when(report(call("a3", "authorize", 10), "succeeded"))
    assert play.left() == (most, 0, 0, 0)


def test_refunds_in_thirds_add_up_and_a_fourth_finds_nothing(play: Play) -> None:
    play.given(authorized("a1", 100_00, totals(a=100_00)), captured("c1", "a1", 100_00, totals(a=100_00, c=100_00)))
    for op, amount in (("r1", 33_33), ("r2", 33_34), ("r3", 33_33), ("r3", 33_33)):
        play.when(refund(op, "c1", amount))
        assert all(isinstance(effect, Refunded) for effect in play.effects)
    assert play.left() == (100_00, 100_00, 0, 100_00)
    play.when(refund("r4", "c1", 1))
    play.then(failed("r4", "refund", "capture_exceeded", totals(a=100_00, c=100_00, r=100_00), of="c1",
                     amount_minor=1, allowed_minor=0))  # fmt: skip
    assert play.ledger.captures[uid("c1")].lines["1"].left_minor == 0
