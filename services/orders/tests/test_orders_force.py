"""A person states the outcome of an operation: which ones, what the order asks of payments, and how its process goes on."""

from __future__ import annotations

from typing import Any

import pytest
from orders_play import ORDER, STORE, Play, content, market, uid

from contracts import payments
from contracts.fulfillment import Reserve
from contracts.invoicing import Issue
from contracts.orders import (
    ExceptionRaised,
    ExceptionResolved,
    Forced,
    ForceRefused,
    PaymentChanged,
    StepFailed,
    WaitingChanged,
)
from orders.domain.decisions.actions import allowed
from orders.domain.decisions.guards.waits import forcible
from orders.domain.shown.views import waiting


@pytest.fixture
def capturing(play: Play) -> Play:
    """An approved order whose capture is asked for."""
    return play.receives(content(), market(capture="on_approval")).reserved().authorized()


def in_vain(play: Play, times: int = 1) -> Play:
    for _ in range(times):
        play.wakes()
    return play


def refused(play: Play, target: Any, code: Any = "not_forceable", op: str = "force", **more: Any) -> Play:
    body = {"order_id": ORDER, "store_id": STORE, "operation_id": uid(op), "refers_to": target, "code": code}
    return play.when(payments.ForceRefused(**body, **more))


# ------------------------------------------------------------------------------------------------------ which ones


def test_an_operation_that_is_new_is_expected_to_be_answered(capturing: Play) -> None:
    asked = capturing.last(payments.Capture)
    since = capturing.now.isoformat()
    capturing.forces(asked.operation_id, "succeeded").nothing()
    assert capturing.refusal is not None and capturing.refusal.code == "not_forceable"
    assert f"payments has been asked since {since}" in capturing.refusal.detail
    assert capturing.refusal.more == {"owner": "payments", "since": since}
    assert "force" not in allowed(capturing.order)


def test_one_that_was_asked_again_in_vain_or_is_pending_may_be_stated(play: Play) -> None:
    play.receives(content(), market()).reserved().pending()
    target = play.last(payments.Authorize).operation_id
    assert "force" in allowed(play.order)
    play.forces(target, "succeeded").then(Forced, asks=[payments.Force])
    other = Play().receives(content(), market()).reserved()
    in_vain(other).forces(other.last(payments.Authorize).operation_id, "failed").then(Forced, asks=[payments.Force])


def test_fulfillment_and_invoicing_answer_for_themselves(play: Play) -> None:
    play.receives(content(), market())
    in_vain(play, 6).forces(play.last(Reserve).operation_id, "succeeded").nothing()
    assert play.refusal is not None and play.refusal.code == "not_forceable"
    assert "fulfillment has been asked since" in play.refusal.detail and "answers for itself" in play.refusal.detail
    assert play.refusal.more["owner"] == "fulfillment"
    play.reserved().authorized().captured()
    in_vain(play, 6).forces(play.last(Issue).operation_id, "failed").nothing()
    assert play.refusal is not None and "invoicing has been asked since" in play.refusal.detail


def test_an_operation_that_the_order_never_asked_for_is_unknown(capturing: Play) -> None:
    capturing.forces(uid("none"), "succeeded").nothing()
    assert capturing.refusal is not None and capturing.refusal.code == "operation_unknown"


def test_what_has_succeeded_is_done_or_refused(capturing: Play) -> None:
    target = capturing.last(payments.Capture).operation_id
    capturing.captured().forces(target, "succeeded").nothing()
    assert capturing.refusal is None
    capturing.forces(target, "failed").nothing()
    assert capturing.refusal is not None and capturing.refusal.code == "not_forceable"


# --------------------------------------------------------------------------------------------- how its process goes on


def test_payments_is_asked_in_the_name_of_the_person(capturing: Play) -> None:
    target = capturing.last(payments.Capture).operation_id
    in_vain(capturing).forces(target, "succeeded", reference="ch_9").then(Forced, asks=[payments.Force])
    asked, forced = capturing.last(payments.Force), capturing.event(Forced)
    assert (asked.actor, asked.target_operation_id, asked.outcome, asked.reference, asked.reason) == (
        "person:ann", target, "succeeded", "ch_9", "seen",
    )  # fmt: skip
    assert (forced.operation_id, forced.target_operation_id, forced.actor) == (uid("force"), target, "person:ann")
    assert asked.operation_id == uid("force")


def test_the_booked_outcome_is_the_answer_that_the_process_waits_for(capturing: Play) -> None:
    target = capturing.last(payments.Capture).operation_id
    in_vain(capturing, 6).forces(target, "succeeded")
    capturing.captured().then(PaymentChanged, WaitingChanged, asks=[Issue])
    assert capturing.status == "approved/paid/in_progress" or waiting(capturing.order)


def test_a_refusal_of_payments_changes_nothing_and_is_stated(capturing: Play) -> None:
    target = capturing.last(payments.Capture).operation_id
    in_vain(capturing).forces(target, "failed")
    before = capturing.order
    refused(capturing, target, gateway="test", since=capturing.now, tries=2, reason="test is being asked").then(
        ForceRefused
    )
    stated = capturing.event(ForceRefused)
    assert (stated.code, stated.gateway, stated.tries, stated.operation_id) == (
        "not_forceable",
        "test",
        2,
        uid("force"),
    )
    assert capturing.order == before
    capturing.captured().then(PaymentChanged, asks=[Issue])


def test_a_refused_capture_is_overruled_and_the_order_goes_on(capturing: Play) -> None:
    capturing.failed(payments.Capture).then(StepFailed)
    target = capturing.last(payments.Capture).operation_id
    assert waiting(capturing.order) == "exception" and "force" in allowed(capturing.order)
    capturing.forces(target, "failed").nothing()
    assert capturing.refusal is not None and capturing.refusal.code == "not_forceable"
    capturing.forces(target, "succeeded").then(Forced, asks=[payments.Force])
    assert waiting(capturing.order) == "answer" and "retry" not in allowed(capturing.order)
    capturing.captured().then(PaymentChanged, asks=[Issue])


def test_a_refused_capture_that_cannot_be_overruled_waits_for_a_person_again(capturing: Play) -> None:
    capturing.failed(payments.Capture)
    target = capturing.last(payments.Capture).operation_id
    capturing.forces(target, "succeeded")
    refused(capturing, target, "amount_exceeded", allowed_minor=0).then(ForceRefused, StepFailed)
    assert waiting(capturing.order) == "exception" and {"force", "retry"} <= set(allowed(capturing.order))
    capturing.retries().then(*[type(event) for event in capturing.stated], asks=[payments.Capture])
    assert capturing.last(payments.Capture).operation_id != target
    assert capturing.forces(target, "succeeded").refusal is not None, "it is asked as another operation"


def test_a_refused_undo_is_overruled_too(capturing: Play) -> None:
    capturing.captured().issued().cancels().shipments_cancelled().credited()
    capturing.failed(payments.Refund).then(StepFailed)
    target = capturing.last(payments.Refund).operation_id
    capturing.forces(target, "succeeded").then(Forced, asks=[payments.Force])
    capturing.refunded()
    assert capturing.order.payment_status == "refunded"


def test_a_declined_authorization_has_cancelled_the_order(play: Play) -> None:
    play.receives(content(), market()).reserved().declined()
    play.forces(play.last(payments.Authorize).operation_id, "succeeded").nothing()
    assert play.refusal is not None and play.refusal.code == "not_forceable"
    assert "payments has answered no_funds" in play.refusal.detail


def test_a_forced_no_is_a_no(play: Play) -> None:
    play.receives(content(), market()).reserved()
    in_vain(play).forces(play.last(payments.Authorize).operation_id, "failed")
    play.declined()
    assert play.order.status == "cancelled" and play.order.cancel_cause == "declined"


def test_what_a_cancel_waits_for_may_be_stated(capturing: Play) -> None:
    target = capturing.last(payments.Capture).operation_id
    in_vain(capturing).cancels().shipments_cancelled()
    capturing.forces(target, "succeeded").then(Forced, asks=[payments.Force])
    capturing.captured()
    assert capturing.last(payments.Refund).lines == capturing.last(payments.Capture).lines


# ------------------------------------------------------------------------------------------------------ contradictions


def test_a_contradiction_waits_for_a_person_and_moves_nothing(capturing: Play) -> None:
    target = capturing.last(payments.Capture).operation_id
    in_vain(capturing).forces(target, "succeeded").captured()
    money = capturing.order.facts.money
    capturing.contradicted(target).then(ExceptionRaised)
    one = capturing.order.exceptions["outcome_contradicted"]
    assert one.detail == "capture of 1000 EUR minor units is recorded as succeeded; test reports failed of 1000 (tg_1)"
    assert [(change.before, change.after) for change in one.difference] == [("succeeded", "failed")]
    assert capturing.order.facts.money == money and waiting(capturing.order) == "exception"
    capturing.resolves("outcome_contradicted", "keep").then(ExceptionResolved)


def test_a_further_contradiction_is_added(capturing: Play) -> None:
    capturing.contradicted(uid("c1"))
    capturing.contradicted(uid("c2"), "failed", "succeeded").then(ExceptionResolved, ExceptionRaised)
    paths = [change.path for change in capturing.order.exceptions["outcome_contradicted"].difference]
    assert paths == [f"operations[{uid('c1')}].outcome", f"operations[{uid('c2')}].outcome"]
    capturing.resolves("outcome_contradicted", "accept").then(ExceptionResolved)


def test_it_outlives_a_cancel(capturing: Play) -> None:
    capturing.captured().issued()
    capturing.contradicted(capturing.last(payments.Capture).operation_id)
    capturing.cancels().shipments_cancelled().credited().refunded()
    assert capturing.order.status == "cancelled" and not capturing.order.open_runs
    assert "outcome_contradicted" in capturing.order.exceptions


def test_an_order_shows_the_operation_of_each_process_whose_outcome_may_be_stated(capturing: Play) -> None:
    asked = capturing.last(payments.Capture).operation_id
    assert forcible(capturing.order) == {}
    in_vain(capturing)
    assert forcible(capturing.order) == {"settle:1": asked}
    capturing.failed(payments.Capture)
    assert forcible(capturing.order) == {"settle:1": asked}, "refused, and a person may state that it succeeded"
    capturing.retries()
    assert capturing.last(payments.Capture).operation_id != asked and forcible(capturing.order) == {}
