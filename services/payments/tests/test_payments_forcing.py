"""A person states the outcome that a gateway does not give: when it may be stated, what it books, and what the gateway reports
all the same."""

from __future__ import annotations

from typing import Any

import pytest
from payments_play import (
    NOW,
    ORDER,
    STORE,
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
    force,
    force_refused,
    forced,
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
from contracts.deciding import Withdrawn
from contracts.payments import Contradicted, Failed, Outcome
from payments.domain.answers import resumed
from payments.domain.compaction import CLOSED_MAX
from payments.domain.forcing import UNANSWERED_MIN, Asking
from payments.domain.gateway import check, follow_up_id
from payments.domain.ledger_events import Confirmed

CAPTURE = call("c1", "capture", 40_00, "a1")
BEFORE = totals(a=50_00)
HOPELESS = Asking(UNANSWERED_MIN, NOW)


def recorded(event: Any) -> Any:
    return event.model_copy(update={"recorded": True})


def ended(op: str) -> list[Withdrawn]:
    return [Withdrawn(uid(op)), Withdrawn(follow_up_id(uid(op)))]


def contradicted(op: str, of: str, said: Outcome | Any, reported: Any, after: Any, **more: Any) -> Contradicted:
    return Contradicted(
        order_id=ORDER, store_id=STORE, currency="EUR", totals=after, target_operation_id=uid(op), refers_to=uid(of),
        recorded_outcome=said, reported_outcome=reported, gateway="test", **{"command": "capture", "amount_minor": 40_00} | more,
    )  # fmt: skip


@pytest.fixture
def capturing(play: Play) -> Play:
    """A capture of 40.00 of 50.00, whose gateway has been asked in vain."""
    play.given(authorized("a1", 50_00, totals(a=50_00), gateway="test"), asked("c1", "capture", 40_00, "a1"))
    play.asking[uid("c1")] = HOPELESS
    return play


# --------------------------------------------------------------------------------------------- when it may be stated


@pytest.mark.parametrize("tries", range(UNANSWERED_MIN))
@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_the_outcome_of_an_operation_is_awaited_while_its_gateway_may_answer(
    capturing: Play, tries: int, outcome: str
) -> None:
    capturing.asking[uid("c1")] = Asking(tries, NOW)
    before = capturing.ledger
    capturing.when(force("f1", "c1", outcome))
    why = f"test is being asked: {tries} of 3 tries are over without an outcome"
    capturing.then(
        force_refused("f1", "c1", "not_forceable", BEFORE, gateway="test", since=NOW, tries=tries, reason=why)
    )
    assert capturing.ledger == before


def test_an_operation_of_the_same_batch_is_only_just_being_asked(capturing: Play) -> None:
    del capturing.asking[uid("c1")]
    capturing.when(force("f1", "c1", "failed"))
    why = "test is being asked: 0 of 3 tries are over without an outcome"
    capturing.then(force_refused("f1", "c1", "not_forceable", BEFORE, gateway="test", reason=why))


def test_an_operation_that_nobody_knows_has_no_outcome(play: Play) -> None:
    play.when(force("f1", "c9", "succeeded"))
    play.then(
        force_refused(
            "f1", "c9", "operation_unknown", totals(), currency=None, reason=f"payments has no operation {uid('c9')}"
        )
    )


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_what_has_succeeded_has_its_outcome(play: Play, outcome: str) -> None:
    play.given(authorized("a1", 50_00, totals(a=50_00)))
    play.when(force("f1", "a1", outcome))
    why = "it has its outcome: succeeded"
    play.then(force_refused("f1", "a1", "not_forceable", BEFORE, gateway="marketplace", reason=why))


def test_what_has_failed_is_not_stated_to_have_failed(capturing: Play) -> None:
    capturing.when(report(CAPTURE, "refused", None))
    capturing.when(force("f1", "c1", "failed"))
    why = "it has its outcome: failed"
    capturing.then(force_refused("f1", "c1", "not_forceable", BEFORE, gateway="test", reason=why))


def test_a_void_that_waits_has_nobody_who_is_asked(capturing: Play) -> None:
    capturing.given(postponed("v1", "a1"))
    capturing.when(force("f1", "v1", "succeeded"))
    why = "it waits for what is in flight on its authorization; no gateway is asked yet"
    capturing.then(force_refused("f1", "v1", "not_forceable", BEFORE, reason=why))


def test_what_the_ledger_refused_no_gateway_has_done(capturing: Play) -> None:
    capturing.when(capture("c2", "a1", 50_00))
    assert isinstance(capturing.effects[0], Failed)
    capturing.when(force("f1", "c2", "succeeded"))
    why = "the ledger refused it, or no longer has its lines"
    capturing.then(force_refused("f1", "c2", "not_forceable", BEFORE, reason=why))


# -------------------------------------------------------------------------------------------------- what it books


def test_a_capture_that_succeeded_is_booked_and_never_called_again(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "succeeded", "ch_9"))
    capturing.then(
        forced("f1", "c1", "succeeded", BEFORE, "ch_9"),
        recorded(captured("c1", "a1", 40_00, totals(a=50_00, c=40_00), reference="ch_9")),
        *ended("c1"),
        check(CAPTURE),
    )
    assert capturing.left() == (50_00, 40_00, 0, 0)
    assert capturing.ledger.operations[uid("c1")].recorded == "unconfirmed"


def test_a_capture_that_failed_frees_what_it_held(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "failed"))
    no = failed(
        "c1",
        "capture",
        "gateway_refused",
        totals(a=50_00),
        of="a1",
        amount_minor=40_00,
        reason="stated by api-key:desk",
    )
    capturing.then(forced("f1", "c1", "failed", BEFORE), recorded(no), *ended("c1"), check(CAPTURE))  # fmt: skip
    assert capturing.ledger.capturable(uid("a1")) == {"1": 50_00}


def test_the_check_runs_beside_the_orders_calls(capturing: Play) -> None:
    (task,) = tasks_of(capturing.when(force("f1", "c1", "failed")))
    assert task.beside and task.body.ask_only and task.kind == "gateway_check"  # type: ignore[attr-defined]


def test_an_authorization_a_void_and_a_refund_too(play: Play) -> None:
    for op in ("a1", "a2", "v1", "r1"):
        play.asking[uid(op)] = HOPELESS
    play.given(asked("a1", "authorize", 50_00), asked("a2", "authorize", 7))
    play.when(force("f1", "a1", "succeeded"))
    assert play.effects[1] == recorded(authorized("a1", 50_00, totals(a=50_00), gateway="test"))
    play.when(force("f2", "a2", "failed"))
    no = declined("a2", 7, "gateway_refused", "stated by api-key:desk", totals(a=50_00))
    assert play.effects[1] == recorded(no)
    play.given(asked("v1", "void", 10_00, "a1"))
    play.when(force("f3", "v1", "succeeded"))
    assert play.effects[1] == recorded(voided("v1", "a1", 10_00, totals(a=50_00, v=10_00)))
    play.given(captured("c1", "a1", 40_00, totals(a=50_00, v=10_00, c=40_00)), asked("r1", "refund", 5_00, "c1"))
    play.when(force("f4", "r1", "succeeded"))
    assert play.effects[1] == recorded(refunded("r1", "c1", 5_00, totals(a=50_00, v=10_00, c=40_00, r=5_00)))


def test_a_pending_operation_whose_gateway_never_comes_to_an_end(capturing: Play) -> None:
    capturing.given(pending("c1", "capture", 40_00, totals(a=50_00), of="a1"))
    capturing.when(force("f1", "c1", "succeeded"))
    assert capturing.effects[1] == recorded(captured("c1", "a1", 40_00, totals(a=50_00, c=40_00)))
    assert capturing.ledger.operations[uid("c1")].state == "succeeded"


def test_a_void_that_waited_for_it_goes_on(capturing: Play) -> None:
    capturing.given(postponed("v1", "a1"))
    capturing.when(force("f1", "c1", "succeeded"))
    assert bare(capturing.effects[-2:]) == [
        asked("v1", "void", 10_00, "a1", pieces=0),
        calls("v1", "void", 10_00, "a1"),
    ]


def test_a_gateways_refusal_is_overruled_as_long_as_the_amount_is_left(capturing: Play) -> None:
    capturing.when(report(CAPTURE, "refused", None))
    capturing.when(force("f1", "c1", "succeeded", "ch_9"))
    capturing.then(
        forced("f1", "c1", "succeeded", BEFORE, "ch_9"),
        recorded(captured("c1", "a1", 40_00, totals(a=50_00, c=40_00), reference="ch_9")),
    )
    assert capturing.ledger.operations[uid("c1")].recorded == "stated", "no gateway is asked once more"


@pytest.mark.parametrize(("taken", "allowed"), [(10_01, 39_99), (50_00, 0)])
def test_a_gateways_refusal_is_not_overruled_once_the_amount_is_taken(
    capturing: Play, taken: int, allowed: int
) -> None:
    capturing.when(report(CAPTURE, "refused", None))
    capturing.when(capture("c2", "a1", taken))
    capturing.when(force("f1", "c1", "succeeded"))
    why = f"{allowed} of 4000 are left"
    capturing.then(
        force_refused("f1", "c1", "amount_exceeded", BEFORE, gateway="test", allowed_minor=allowed, reason=why)
    )


def test_a_declined_authorization_is_overruled(play: Play) -> None:
    play.given(asked("a1", "authorize", 50_00), declined("a1", 50_00, "card_declined", "", totals()))
    play.when(force("f1", "a1", "succeeded"))
    play.then(
        forced("f1", "a1", "succeeded", totals()), recorded(authorized("a1", 50_00, totals(a=50_00), gateway="test"))
    )


def test_stating_it_once_more_changes_nothing_and_another_statement_is_refused(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "succeeded"))
    before, after = capturing.ledger, totals(a=50_00, c=40_00)
    capturing.when(force("f2", "c1", "succeeded"))
    capturing.then(forced("f2", "c1", "succeeded", after))
    capturing.when(force("f3", "c1", "failed"))
    why = "it has its outcome: succeeded"
    capturing.then(force_refused("f3", "c1", "not_forceable", after, gateway="test", reason=why))
    assert capturing.ledger == before


# ------------------------------------------------------------------------------ what the gateway reports all the same


@pytest.mark.parametrize(
    ("outcome", "said"), [("succeeded", "succeeded"), ("failed", "refused"), ("failed", "unknown")]
)
def test_the_same_is_noted_once(capturing: Play, outcome: str, said: str) -> None:
    capturing.when(force("f1", "c1", outcome, "ch_9"))
    money = capturing.left()
    reference = "tg_1" if said == "succeeded" else None
    capturing.when(report(CAPTURE, said, reference))
    capturing.then(
        Confirmed(order_id=ORDER, store_id=STORE, target_operation_id=uid("c1"), gateway_reference=reference)
    )
    operation = capturing.ledger.operations[uid("c1")]
    assert operation.recorded == "confirmed"
    if outcome == "succeeded":
        assert operation.gateway_reference == "tg_1"
    capturing.when(report(CAPTURE, said, reference), id="again")
    capturing.then()
    assert capturing.left() == money


@pytest.mark.parametrize(
    ("outcome", "said", "reported"),
    [("succeeded", "refused", "failed"), ("succeeded", "unknown", "unknown"), ("failed", "succeeded", "succeeded")],
)
def test_another_outcome_is_published_once_and_moves_nothing(
    capturing: Play, outcome: str, said: str, reported: str
) -> None:
    capturing.when(force("f1", "c1", outcome))
    money = capturing.left()
    after = totals(*money)
    capturing.when(report(CAPTURE, said, "tg_1", code="card_expired"))
    capturing.then(contradicted("c1", "a1", outcome, reported, after, gateway_reference="tg_1", reason="card_expired"))
    assert capturing.ledger.operations[uid("c1")].recorded == "contradicted"
    capturing.when(report(CAPTURE, said, "tg_1"), id="again")
    capturing.then()
    assert capturing.left() == money


def test_another_amount_is_another_outcome(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "succeeded"))
    capturing.when(report(CAPTURE, "succeeded", "tg_1", amount_minor=39_00))
    after = totals(a=50_00, c=40_00)
    capturing.then(
        contradicted("c1", "a1", "succeeded", "succeeded", after, reported_minor=39_00, gateway_reference="tg_1")
    )


def test_a_report_after_the_confirmation_still_contradicts(capturing: Play) -> None:
    """The gateway had nothing when it was checked; the call that was under way arrived later."""
    capturing.when(force("f1", "c1", "failed"))
    capturing.when(report(CAPTURE, "unknown", None))
    capturing.when(report(CAPTURE, "succeeded", "tg_1", amount_minor=40_00), id="late")
    after = totals(a=50_00)
    capturing.then(
        contradicted("c1", "a1", "failed", "succeeded", after, reported_minor=40_00, gateway_reference="tg_1")
    )


def test_a_worker_that_asked_before_the_statement_reports_later(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "succeeded"))
    capturing.when(report(CAPTURE, "pending", None))
    capturing.then()


def test_a_refusal_that_was_overruled_is_no_news(capturing: Play) -> None:
    capturing.when(report(CAPTURE, "refused", None))
    capturing.when(force("f1", "c1", "succeeded"))
    capturing.when(report(CAPTURE, "refused", None), id="again")
    capturing.then()


def test_a_contradicted_no_becomes_a_yes_by_a_persons_second_statement(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "failed"))
    capturing.when(report(CAPTURE, "succeeded", "tg_1"))
    capturing.when(force("f2", "c1", "succeeded", "tg_1"))
    yes = recorded(captured("c1", "a1", 40_00, totals(a=50_00, c=40_00), reference="tg_1"))
    capturing.then(forced("f2", "c1", "succeeded", BEFORE, "tg_1"), yes)


def test_a_restored_ledger_goes_on_checking(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "succeeded"))
    assert bare(resumed(ORDER, STORE, capturing.ledger)) == [check(CAPTURE)]
    capturing.when(report(CAPTURE, "succeeded"))
    assert resumed(ORDER, STORE, capturing.ledger) == []


def test_the_events_that_were_published_give_the_same_money(capturing: Play) -> None:
    """A backup may have lost the private ones."""
    published = [event for event in capturing.when(force("f1", "c1", "succeeded")) if isinstance(event, Event)][1:]
    restored = Play()
    restored.given(authorized("a1", 50_00, totals(a=50_00), gateway="test"), *published)
    assert restored.left() == capturing.left()
    assert restored.ledger.operations[uid("c1")].recorded == "stated"


def test_an_unconfirmed_outcome_stays_in_the_ledger_until_its_gateway_has_reported(capturing: Play) -> None:
    capturing.when(force("f1", "c1", "succeeded"))
    for n in range(CLOSED_MAX + 2):
        capturing.when(authorize(f"more{n}", 1), id=f"m{n}")
    assert uid("c1") in capturing.ledger.operations
    capturing.when(report(CAPTURE, "succeeded"))
    capturing.when(authorize("last", 1))
    assert uid("c1") not in capturing.ledger.operations


# ------------------------------------------------------------------------------------------- a refund made elsewhere


def test_a_recorded_refund_is_booked_at_once(play: Play) -> None:
    play.given(
        authorized("a1", 50_00, totals(a=50_00), gateway="test"), captured("c1", "a1", 50_00, totals(a=50_00, c=50_00))
    )
    play.when(refund("r1", "c1", 20_00, recorded=True, reference="bol-77"))
    play.then(recorded(refunded("r1", "c1", 20_00, totals(a=50_00, c=50_00, r=20_00), reference="bol-77")))
    assert play.ledger.operations[uid("r1")].recorded == "stated"
    play.when(refund("r2", "c1", 30_01, recorded=True))
    play.then(failed("r2", "refund", "capture_exceeded", totals(a=50_00, c=50_00, r=20_00), of="c1",
                     amount_minor=30_01, allowed_minor=30_00))  # fmt: skip
    play.when(void("v1", "a1"))
    play.then(voided("v1", "a1", {}, totals(a=50_00, c=50_00, r=20_00)))
