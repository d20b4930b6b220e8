"""A gateway that has to be asked: what is held while it is, what its reports mean, and what a second report may contain."""

from __future__ import annotations

from typing import Any

import pytest
from payments_play import (
    Play,
    asked,
    authorize,
    authorized,
    call,
    calls,
    capture,
    captured,
    declined,
    failed,
    goes_on_asking,
    pending,
    postponed,
    refund,
    refunded,
    report,
    tasks_of,
    totals,
    uid,
    void,
    voided,
)

from contracts.base import Event
from contracts.deciding import Reported
from payments.domain import answers, commands
from payments.domain.answers import Contradiction
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayOutcome
from payments.domain.ledger import Ledger

AUTHORIZE = call("a1", "authorize", 50_00)
CAPTURE = call("c1", "capture", 40_00, "a1")
VOID = call("v1", "void", 50_00, "a1")
REFUND = call("r1", "refund", 40_00, "c1")


# ------------------------------------------------------------------------------------------------- nothing there yet


def test_an_authorization_is_asked_for(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.then(asked("a1", "authorize", 50_00), calls("a1", "authorize", 50_00))
    assert play.left() == (0, 0, 0, 0)


def test_nobody_is_asked_to_authorize_nothing(play: Play) -> None:
    play.when(authorize("a1", 0, gateway="test"))
    play.then(authorized("a1", 0, totals(), gateway="test"))


def test_nobody_is_asked_to_move_nothing(play: Play) -> None:
    play.when(authorize("a1", 0, gateway="test"))
    play.when(capture("c1", "a1", 0))
    play.then(captured("c1", "a1", 0, totals()))
    play.when(refund("r1", "c1", 0))
    play.then(refunded("r1", "c1", 0, totals()))
    play.when(void("v1", "a1"))
    play.then(voided("v1", "a1", {}, totals()))


# ------------------------------------------------------------------------------------ the authorization is in flight


@pytest.fixture
def asking(play: Play) -> Play:
    play.given(asked("a1", "authorize", 50_00))
    return play


def test_asking_again_changes_nothing(asking: Play) -> None:
    asking.when(authorize("a1", 50_00, gateway="test"), id="another message")
    asking.then()


def test_a_yes_authorizes(asking: Play) -> None:
    asking.when(report(AUTHORIZE, "succeeded"))
    asking.then(authorized("a1", 50_00, totals(a=50_00), gateway="test", reference="tg_1"))


def test_a_no_declines_in_the_gateways_words(asking: Play) -> None:
    asking.when(report(AUTHORIZE, "refused", code="card_declined", reason="no money"))
    asking.then(declined("a1", 50_00, "card_declined", "no money", totals()))


def test_a_no_without_a_word_still_has_a_code(asking: Play) -> None:
    asking.when(report(AUTHORIZE, "refused"))
    asking.then(declined("a1", 50_00, "gateway_refused", "", totals()))


def test_a_gateway_that_is_not_set_up_declines(asking: Play) -> None:
    asking.when(report(AUTHORIZE, "not_set_up", None, code="gateway_unknown", reason="no gateway 'test' is set up"))
    asking.then(declined("a1", 50_00, "gateway_unknown", "no gateway 'test' is set up", totals()))


def test_what_is_not_authorized_yet_cannot_be_captured(asking: Play) -> None:
    asking.when(capture("c1", "a1", 50_00))
    asking.then(failed("c1", "capture", "authorization_unknown", totals(), of="a1", amount_minor=50_00))


def test_later_is_said_once_and_asked_after(asking: Play) -> None:
    asking.when(report(AUTHORIZE, "pending"))
    asking.then(pending("a1", "authorize", 50_00, totals()), goes_on_asking("a1", "authorize", 50_00))


def test_the_next_task_only_asks(asking: Play) -> None:
    (task,) = tasks_of(asking.when(report(AUTHORIZE, "pending")))
    assert task.body.ask_only  # type: ignore[attr-defined]
    assert task.task_id != uid("a1"), "what it reports is no repetition of the first report"


def test_later_again_is_not_said_again(asking: Play) -> None:
    asking.when(report(AUTHORIZE, "pending"))
    before = asking.ledger
    asking.when(report(AUTHORIZE, "pending"))
    asking.then(goes_on_asking("a1", "authorize", 50_00))  # the same task: it is stored once
    assert asking.ledger == before


@pytest.mark.parametrize("state", ["succeeded", "refused"])
def test_after_later_comes_the_answer(asking: Play, state: str) -> None:
    asking.when(report(AUTHORIZE, "pending"))
    asking.when(report(call("a1", "authorize", 50_00, ask_only=True), state, code=""))
    if state == "succeeded":
        asking.then(authorized("a1", 50_00, totals(a=50_00), gateway="test", reference="tg_1"))
    else:
        asking.then(declined("a1", 50_00, "gateway_refused", "", totals()))


def test_a_void_waits_for_the_authorization_and_then_releases_it(asking: Play) -> None:
    asking.when(void("v1", "a1"))
    asking.then(postponed("v1", "a1"))
    asking.when(report(AUTHORIZE, "succeeded"))
    asking.then(
        authorized("a1", 50_00, totals(a=50_00), gateway="test", reference="tg_1"),
        asked("v1", "void", 50_00, "a1"),
        calls("v1", "void", 50_00, "a1"),
    )
    asking.when(report(VOID, "succeeded", "tg_2"))
    asking.then(voided("v1", "a1", 50_00, totals(a=50_00, v=50_00), reference="tg_2"))


def test_a_void_that_waited_for_a_declined_authorization_releases_nothing_and_is_a_yes(asking: Play) -> None:
    asking.when(void("v1", "a1"))
    asking.when(report(AUTHORIZE, "refused", code="card_declined"))
    asking.then(declined("a1", 50_00, "card_declined", "", totals()), voided("v1", "a1", {}, totals()))


def test_a_void_that_waits_through_later_goes_on_waiting(asking: Play) -> None:
    asking.when(void("v1", "a1"))
    asking.when(report(AUTHORIZE, "pending"))
    asking.then(pending("a1", "authorize", 50_00, totals()), goes_on_asking("a1", "authorize", 50_00))
    assert asking.ledger.operations[uid("v1")].postponed


def test_asking_again_for_a_void_that_waits_changes_nothing(asking: Play) -> None:
    asking.when(void("v1", "a1"))
    asking.when(void("v1", "a1"), id="another message")
    asking.then()


# ---------------------------------------------------------------------------------------------- declined, and then?


def test_a_void_of_a_declined_authorization_is_a_yes_of_nothing(play: Play) -> None:
    play.given(asked("a1", "authorize", 50_00), declined("a1", 50_00, "card_declined", "", totals()))
    play.when(void("v1", "a1"))
    play.then(voided("v1", "a1", {}, totals()))


def test_a_new_attempt_after_a_no_is_a_new_operation(play: Play) -> None:
    play.given(asked("a1", "authorize", 50_00), declined("a1", 50_00, "card_declined", "", totals()))
    play.when(authorize("a1", 50_00, gateway="test"))
    play.then()
    play.when(authorize("a2", 50_00, gateway="test"))
    play.then(asked("a2", "authorize", 50_00), calls("a2", "authorize", 50_00))


# ---------------------------------------------------------------------------------------------------- authorized: 50


@pytest.fixture
def paid(play: Play) -> Play:
    play.given(asked("a1", "authorize", 50_00), authorized("a1", 50_00, totals(a=50_00), "test", "tg_0"))
    return play


def test_a_capture_is_asked_for(paid: Play) -> None:
    paid.when(capture("c1", "a1", 40_00))
    paid.then(asked("c1", "capture", 40_00, "a1"), calls("c1", "capture", 40_00, "a1"))


def test_two_captures_in_flight_cannot_spend_the_same_euro(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(capture("c2", "a1", 20_00))
    paid.then(
        failed(
            "c2", "capture", "authorization_exceeded", totals(a=50_00), of="a1", amount_minor=20_00, allowed_minor=10_00
        )
    )


def test_two_captures_in_flight_may_share(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(capture("c2", "a1", 10_00))
    paid.then(asked("c2", "capture", 10_00, "a1"), calls("c2", "capture", 10_00, "a1"))


def test_a_refused_capture_frees_what_it_held(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(report(CAPTURE, "refused", code="expired", reason="too old"))
    paid.then(
        failed(
            "c1", "capture", "gateway_refused", totals(a=50_00), of="a1", reason="expired: too old", amount_minor=40_00
        )
    )
    paid.when(capture("c2", "a1", 50_00))
    paid.then(asked("c2", "capture", 50_00, "a1"), calls("c2", "capture", 50_00, "a1"))


def test_a_pending_capture_still_holds(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(report(CAPTURE, "pending"))
    paid.when(capture("c2", "a1", 20_00))
    assert paid.effects[0].allowed_minor == 10_00  # type: ignore[union-attr]


def test_a_capture_at_a_gateway_that_is_gone_fails_by_its_name(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(report(CAPTURE, "not_set_up", None, code="gateway_unknown", reason="none"))
    assert paid.effects[0].code == "gateway_unknown"  # type: ignore[union-attr]


def test_a_void_waits_for_the_capture_in_flight_and_releases_the_rest(paid: Play) -> None:
    """Commerce Layer's edge case 3."""
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(void("v1", "a1"))
    paid.then(postponed("v1", "a1"))
    paid.when(report(CAPTURE, "succeeded"))
    paid.then(
        captured("c1", "a1", 40_00, totals(a=50_00, c=40_00), reference="tg_1"),
        asked("v1", "void", 10_00, "a1", pieces=0),
        calls("v1", "void", 10_00, "a1"),
    )


def test_a_void_waits_for_the_capture_in_flight_and_releases_all_when_it_is_refused(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"), postponed("v1", "a1"))
    paid.when(report(CAPTURE, "refused"))
    paid.then(
        failed("c1", "capture", "gateway_refused", totals(a=50_00), of="a1", amount_minor=40_00),
        asked("v1", "void", 50_00, "a1"),
        calls("v1", "void", 50_00, "a1"),
    )


def test_each_event_is_folded_once_also_if_a_decision_needs_the_ledger_after_it(
    paid: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The void that waited is decided on the ledger after the capture. `Play` compares that with its own fold."""
    folded: list[str] = []

    def counting(ledger: Ledger, event: Any) -> Ledger:
        folded.append(event.TYPE)
        return evolve(ledger, event)

    paid.given(asked("c1", "capture", 40_00, "a1"), postponed("v1", "a1"))
    monkeypatch.setattr(answers, "evolve", counting)
    monkeypatch.setattr(commands, "evolve", counting)
    paid.when(report(CAPTURE, "succeeded"))
    assert folded == ["payments.captured", "payments.asked"] == [e.TYPE for e in paid.effects if isinstance(e, Event)]


def test_a_void_waits_for_every_capture_in_flight(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"), asked("c2", "capture", 5_00, "a1"), postponed("v1", "a1"))
    paid.when(report(CAPTURE, "succeeded"))
    paid.then(captured("c1", "a1", 40_00, totals(a=50_00, c=40_00), reference="tg_1"))
    paid.when(report(call("c2", "capture", 5_00, "a1"), "succeeded", "tg_2"))
    paid.then(
        captured("c2", "a1", 5_00, totals(a=50_00, c=45_00), reference="tg_2"),
        asked("v1", "void", 5_00, "a1", pieces=0),
        calls("v1", "void", 5_00, "a1"),
    )


def test_nothing_new_is_captured_past_a_void_that_waits(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"), postponed("v1", "a1"))
    paid.when(capture("c2", "a1", 10_00))
    paid.then(
        failed("c2", "capture", "authorization_exceeded", totals(a=50_00), of="a1", amount_minor=10_00, allowed_minor=0)
    )


def test_nothing_is_captured_while_a_void_is_in_flight(paid: Play) -> None:
    paid.given(asked("v1", "void", 50_00, "a1"))
    paid.when(capture("c1", "a1", 1))
    paid.then(
        failed("c1", "capture", "authorization_exceeded", totals(a=50_00), of="a1", amount_minor=1, allowed_minor=0)
    )


def test_a_refused_void_leaves_all_as_it_was(paid: Play) -> None:
    paid.given(asked("v1", "void", 50_00, "a1"))
    paid.when(report(VOID, "refused"))
    paid.then(failed("v1", "void", "gateway_refused", totals(a=50_00), of="a1", amount_minor=50_00))
    paid.when(capture("c1", "a1", 50_00))
    paid.then(asked("c1", "capture", 50_00, "a1"), calls("c1", "capture", 50_00, "a1"))


def test_what_has_expired_is_released_without_asking_the_gateway(paid: Play) -> None:
    """Its issuer has released it: the gateway has nothing to void, and may refuse to."""
    paid.when(void("v1", "a1", 40_00).model_copy(update={"expired": True}))
    paid.then(voided("v1", "a1", 40_00, totals(a=50_00, v=40_00)))
    paid.when(void("v2", "a1", 20_00).model_copy(update={"expired": True}))
    assert paid.effects[0].code == "authorization_exceeded"  # type: ignore[union-attr]


def test_a_second_void_waits_for_the_first_and_then_finds_nothing(paid: Play) -> None:
    paid.given(asked("v1", "void", 50_00, "a1"))
    paid.when(void("v2", "a1"))
    paid.then(postponed("v2", "a1"))
    paid.when(report(VOID, "succeeded"))
    paid.then(
        voided("v1", "a1", 50_00, totals(a=50_00, v=50_00), reference="tg_1"),
        voided("v2", "a1", {}, totals(a=50_00, v=50_00)),
    )


def test_voids_that_wait_go_one_at_a_time(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"), postponed("v1", "a1"), postponed("v2", "a1"))
    paid.when(report(CAPTURE, "refused"))
    assert [task.task_id for task in tasks_of(paid.effects)] == [uid("v1")]
    paid.when(report(VOID, "refused"))
    assert [task.task_id for task in tasks_of(paid.effects)] == [uid("v2")]


def test_another_authorization_is_not_waited_for(paid: Play) -> None:
    paid.given(authorized("a2", 5_00, totals(a=55_00), "test", "tg_9"), asked("c1", "capture", 40_00, "a1"))
    paid.when(void("v1", "a2"))
    paid.then(asked("v1", "void", 5_00, "a2"), calls("v1", "void", 5_00, "a2"))


# ------------------------------------------------------------------------------------------------------ captured: 40


@pytest.fixture
def taken(paid: Play) -> Play:
    paid.given(asked("c1", "capture", 40_00, "a1"), captured("c1", "a1", 40_00, totals(a=50_00, c=40_00), "tg_1"))
    return paid


def test_a_refund_is_asked_for_where_the_money_was_taken(taken: Play) -> None:
    taken.when(refund("r1", "c1", 40_00))
    taken.then(asked("r1", "refund", 40_00, "c1"), calls("r1", "refund", 40_00, "c1"))
    taken.when(report(REFUND, "succeeded", "tg_5"))
    taken.then(refunded("r1", "c1", 40_00, totals(a=50_00, c=40_00, r=40_00), reference="tg_5"))


def test_two_refunds_in_flight_cannot_return_the_same_euro(taken: Play) -> None:
    taken.given(asked("r1", "refund", 30_00, "c1"))
    taken.when(refund("r2", "c1", 10_01))
    taken.then(
        failed(
            "r2",
            "refund",
            "capture_exceeded",
            totals(a=50_00, c=40_00),
            of="c1",
            amount_minor=10_01,
            allowed_minor=10_00,
        )
    )


def test_a_refused_refund_frees_what_it_held(taken: Play) -> None:
    taken.given(asked("r1", "refund", 40_00, "c1"))
    taken.when(report(REFUND, "refused"))
    taken.then(failed("r1", "refund", "gateway_refused", totals(a=50_00, c=40_00), of="c1", amount_minor=40_00))
    assert taken.ledger.refundable(uid("c1")) == {"1": 40_00}


def test_a_void_does_not_wait_for_a_refund(taken: Play) -> None:
    taken.given(asked("r1", "refund", 40_00, "c1"))
    taken.when(void("v1", "a1"))
    taken.then(asked("v1", "void", 10_00, "a1", pieces=0), calls("v1", "void", 10_00, "a1"))


# --------------------------------------------------------------------------------------------------- second reports


def test_an_equal_second_report_changes_nothing(taken: Play) -> None:
    taken.when(report(CAPTURE, "succeeded", "tg_1"))
    taken.then()


def test_a_second_report_without_a_reference_changes_nothing(taken: Play) -> None:
    taken.when(report(CAPTURE, "succeeded", None))
    taken.then()


def test_a_late_pending_is_older_than_the_answer(taken: Play) -> None:
    taken.when(report(CAPTURE, "pending"))
    taken.then()


def test_an_equal_second_no_changes_nothing(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(report(CAPTURE, "refused", code="expired"))
    paid.when(report(CAPTURE, "refused", code="expired"))
    paid.then()


@pytest.mark.parametrize(
    "second",
    [
        report(CAPTURE, "refused", "tg_1"),
        report(CAPTURE, "not_set_up", None),
        report(CAPTURE, "succeeded", "tg_2"),
        report(CAPTURE, "succeeded", "tg_1", amount_minor=39_99),
    ],
)
def test_a_differing_second_report_is_for_a_person(taken: Play, second: Reported) -> None:
    before = taken.ledger
    with pytest.raises(Contradiction):
        taken.when(second)
    assert taken.ledger == before


def test_a_yes_after_a_no_is_for_a_person(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(report(CAPTURE, "refused"))
    with pytest.raises(Contradiction, match="is failed"):
        paid.when(report(CAPTURE, "succeeded"))


def test_another_amount_than_was_asked_for_is_for_a_person(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    with pytest.raises(Contradiction, match="moved 4001"):
        paid.when(report(CAPTURE, "succeeded", amount_minor=40_01))


def test_a_report_on_what_nobody_asked_for_is_for_a_person(paid: Play) -> None:
    with pytest.raises(Contradiction, match="not asked"):
        paid.when(report(CAPTURE, "succeeded"))


def test_a_report_on_a_void_that_still_waits_is_for_a_person(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"), postponed("v1", "a1"))
    with pytest.raises(Contradiction):
        paid.when(report(VOID, "succeeded", amount_minor=None))


def test_the_amount_is_that_of_the_report_if_it_says_one(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    paid.when(report(CAPTURE, "succeeded", amount_minor=40_00))
    assert paid.left() == (50_00, 40_00, 0, 0)


def test_a_gateways_words_are_cut_to_what_we_keep(paid: Play) -> None:
    paid.given(asked("c1", "capture", 40_00, "a1"))
    outcome = GatewayOutcome(state="refused", code="x" * 500, reason="y" * 500)
    paid.when(Reported(task_id=uid("c1"), kind="gateway", asked=CAPTURE, outcome=outcome))
    assert len(paid.effects[0].reason) == 500  # type: ignore[union-attr]
