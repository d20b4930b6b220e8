"""An authorization and its capture in one: one command, one answer that has both."""

from __future__ import annotations

import pytest
from payments_play import (
    Play,
    authorize,
    authorized,
    call,
    capture,
    captured,
    declined,
    failed,
    force,
    forced,
    pending,
    refund,
    refunded,
    report,
    totals,
    uid,
    void,
    voided,
)

from contracts.payments import Authorized, Contradicted
from payments.domain.answers import Contradiction
from payments.domain.folds import evolve
from payments.domain.forcing import UNANSWERED_MIN, Asking
from payments.domain.gateway import follow_up
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of

LINES = {"1": 30_00, "shipping": 4_95}
ALL = 34_95
TAKEN = capture_id_of(uid("a1"))
"""The capture that is made with the authorization a1."""


def asked(play: Play) -> None:
    """The gateway `test` is asked for both."""
    play.when(authorize("a1", LINES, gateway="test", capture=True))


def test_what_lies_with_the_marketplace_is_authorized_and_captured_by_one_event(play: Play) -> None:
    play.when(authorize("a1", LINES, capture=True))
    play.then(authorized("a1", LINES, totals(ALL, ALL), captured=True))
    assert play.ledger.capturable(uid("a1")) == {"1": 0, "shipping": 0}
    assert play.ledger.refundable(TAKEN) == LINES
    assert [(one.kind, one.state, one.amount_minor) for one in play.operations.values()] == [
        ("authorize", "succeeded", ALL),
        ("capture", "succeeded", ALL),
    ]


def test_a_gateway_that_does_both_in_one_call_is_booked_by_one_event(play: Play) -> None:
    asked(play)
    play.when(report(call("a1", "authorize", ALL, capture=True), "succeeded", captured=True))
    play.then(authorized("a1", LINES, totals(ALL, ALL), gateway="test", reference="tg_1", captured=True))


def test_of_a_gateway_that_only_authorizes_the_capture_is_asked_for_as_ever(play: Play) -> None:
    asked(play)
    play.when(report(call("a1", "authorize", ALL, capture=True), "succeeded"))
    play.then(authorized("a1", LINES, totals(ALL), gateway="test", reference="tg_1"))
    play.when(capture("c1", "a1", LINES))
    play.when(report(call("c1", "capture", ALL, "a1"), "succeeded"))
    play.then(captured("c1", "a1", LINES, totals(ALL, ALL), reference="tg_1"))


def test_a_decline_takes_nothing(play: Play) -> None:
    asked(play)
    play.when(report(call("a1", "authorize", ALL, capture=True), "refused", None, code="no_funds"))
    play.then(declined("a1", ALL, "no_funds", "", totals()))
    assert play.left() == (0, 0, 0, 0) and not play.ledger.captures


def test_it_is_still_both_after_it_was_pending(play: Play) -> None:
    """The published events alone give the same ledger: `pending` states that both were asked for."""
    asked(play)
    play.when(report(call("a1", "authorize", ALL, capture=True), "pending"))
    told = pending("a1", "authorize", LINES, totals()).model_copy(update={"capture": True})
    play.then(told, follow_up(call("a1", "authorize", ALL, capture=True)))
    assert evolve(Ledger(), told).operations[uid("a1")].with_capture
    play.when(report(call("a1", "authorize", ALL, ask_only=True, capture=True), "succeeded", captured=True))
    play.then(authorized("a1", LINES, totals(ALL, ALL), gateway="test", reference="tg_1", captured=True))


def test_it_goes_back_by_refunds_and_a_void_finds_nothing_left(play: Play) -> None:
    play.given(authorized("a1", LINES, totals(ALL, ALL), captured=True))
    play.when(void("v1", "a1"), id="m2")
    play.then(voided("v1", "a1", {}, totals(ALL, ALL)))
    play.when(void("v2", "a1", {"1": 1}), id="m3")
    play.then(failed("v2", "void", "authorization_exceeded", totals(ALL, ALL), "a1", amount_minor=1, allowed_minor=0))
    play.when(refund("r1", TAKEN, {"1": 10_00}), id="m4")
    play.then(refunded("r1", TAKEN, {"1": 10_00}, totals(ALL, ALL, 0, 10_00)))
    assert play.ledger.refundable(TAKEN) == {"1": 20_00, "shipping": 4_95}


def test_a_void_that_waits_for_the_answer_finds_nothing_left(play: Play) -> None:
    asked(play)
    play.when(void("v1", "a1"), id="m2")
    play.when(report(call("a1", "authorize", ALL, capture=True), "succeeded", captured=True), id="m3")
    told = authorized("a1", LINES, totals(ALL, ALL), gateway="test", reference="tg_1", captured=True)
    play.then(told, voided("v1", "a1", {}, totals(ALL, ALL)))


def test_a_person_states_the_outcome_of_both(play: Play) -> None:
    asked(play)
    play.asking[uid("a1")] = Asking(UNANSWERED_MIN, None)
    play.when(force("f1", "a1", "succeeded", "seen"), id="m2")
    told = authorized("a1", LINES, totals(ALL, ALL), "test", "seen", captured=True, recorded=True)
    assert play.effects[:2] == [forced("f1", "a1", "succeeded", totals(), "seen"), told]


@pytest.mark.parametrize("took", [True, False])
def test_what_the_gateway_reports_after_that_is_compared_with_both(play: Play, took: bool) -> None:
    asked(play)
    play.asking[uid("a1")] = Asking(UNANSWERED_MIN, None)
    play.when(force("f1", "a1", "succeeded"), id="m2")
    check = report(call("a1", "authorize", ALL, ask_only=True, capture=True), "succeeded", captured=took)
    told = [one for one in play.when(check, id="m3") if isinstance(one, Contradicted)]
    assert [one.reason for one in told] == ([] if took else ["authorized, but not captured"])
    assert play.left() == (ALL, ALL, 0, 0), "a report moves nothing"


def test_a_capture_that_nobody_asked_for_is_a_contradiction(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="test"))
    play.when(report(call("a1", "authorize", ALL), "succeeded"), id="m2")
    with pytest.raises(Contradiction):
        play.when(report(call("a1", "authorize", ALL), "succeeded", captured=True), id="m3")


def test_an_authorization_of_nothing_is_at_once_both(play: Play) -> None:
    [event] = play.when(authorize("a1", {"1": 0}, gateway="test", capture=True))
    assert isinstance(event, Authorized) and event.capture_id == TAKEN and event.totals == totals()
