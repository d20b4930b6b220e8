"""A buyer pays in a session before the order asks for it, as stories: what the order takes over, and what goes back."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from payments_play import (
    NOW,
    ORDER,
    STORE,
    Play,
    authorize,
    capture,
    force,
    lines,
    record,
    refund,
    report,
    tasks_of,
    totals,
    uid,
    void,
)

from contracts.base import Event, PrivateEvent
from contracts.deciding import Refusal, Reported, Withdrawn
from contracts.differences import TheirSide
from contracts.payments import (
    Authorize,
    Authorized,
    CancelSession,
    Declined,
    ForceRefused,
    OpenSession,
    Pending,
    PrepaymentReceived,
    PrepaymentRetained,
    PrepaymentReturned,
    ReturnPrepayment,
    SessionClosed,
    SessionOpened,
)
from payments.domain import answers, books
from payments.domain.answers import Contradiction
from payments.domain.folds import evolve
from payments.domain.gateway import REFUNDS_KIND, GatewayCall, Refunds, RefundsCall, abandoning_id, follow_up_id
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of
from payments.domain.prepayment_folds import part_id, return_id_of
from payments.domain.waking import wake_at

DAY = 86_400
BACK = return_id_of(uid("s1"))


def opens(
    session: str = "s1", amount: int = 50_00, currency: str = "EUR", gateway: str | None = "test", **more: Any
) -> OpenSession:
    return OpenSession(
        order_id=ORDER, store_id=STORE, operation_id=uid(session), actor="shop", currency=currency, amount_minor=amount,
        return_url="https://shop.example/thanks", expires_in_seconds=600, gateway=gateway, **more,
    )  # fmt: skip


def cancels(session: str = "s1") -> CancelSession:
    return CancelSession(order_id=ORDER, store_id=STORE, operation_id=uid("x1"), actor="shop", session_id=uid(session))


def kinds(effects: list[Any]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def asked(effects: list[Any]) -> GatewayCall:
    """What the one task of the effects asks."""
    [task] = tasks_of(effects)
    assert isinstance(task.body, GatewayCall)
    return task.body


def balances(play: Play) -> dict[str, int]:
    accounts = Counter[str]()
    for one in play.posted:
        for line in one.lines:
            accounts[one.debit] += line.amount_minor
            accounts[one.credit] -= line.amount_minor
    assert sum(accounts.values()) == 0
    return {name: balance for name, balance in accounts.items() if balance}


def prepayment(play: Play, session: str = "s1") -> tuple[str, int]:
    paid = play.ledger.sessions[uid(session)].prepayment
    assert paid is not None
    return paid.state, paid.amount_minor


@pytest.fixture
def paying(play: Play) -> Play:
    """The buyer is on the page of the gateway; payments has no order yet."""
    call = asked(play.when(opens()))
    play.when(report(call, "pending", "pi_1"), id="m2")
    return play


def follow_up(play: Play) -> GatewayCall:
    call = play.ledger.call(ORDER, STORE, uid("s1"), play.ledger.operations[uid("s1")])
    return call.model_copy(update={"ask_only": True})


@pytest.fixture
def paid(paying: Play) -> Play:
    paying.when(report(follow_up(paying), "succeeded", "pi_1"), id="m3")
    return paying


# ------------------------------------------------------------------------------------------------ paid, then ordered


def test_a_session_with_a_gateway_asks_it_at_once_under_its_own_id(play: Play) -> None:
    effects = play.when(opens(account="main"))
    assert kinds(effects) == ["SessionOpened", "Task"]
    call = asked(effects)
    assert (call.operation_id, call.kind, call.amount_minor, call.account) == (uid("s1"), "authorize", 50_00, "main")
    assert call.return_url == "https://shop.example/thanks" and not call.capture and not call.lines
    assert play.when(opens(account="main"), id="m2") == [], "a repeated request is the same session"


def test_what_was_paid_is_in_the_books_and_in_no_total_of_the_order(paid: Play) -> None:
    [event] = paid.effects
    assert isinstance(event, PrepaymentReceived)
    assert (event.amount_minor, event.totals, event.waits_until) == (50_00, totals(), NOW + timedelta(days=1))
    assert paid.left() == (0, 0, 0, 0) and paid.ledger.currency is None
    assert balances(paid) == {"authorized": 50_00, "prepayments": -50_00}
    assert paid.ledger.sessions[uid("s1")].state == "completed" and wake_at(paid.ledger) == event.waits_until


def test_the_order_takes_over_what_was_paid_and_no_gateway_is_asked(paid: Play) -> None:
    [event] = paid.when(authorize("a1", {"1": 30_00, "2": 20_00}, "test"), id="m4")
    assert isinstance(event, Authorized)
    assert (event.operation_id, event.session_id, event.gateway_reference) == (uid("a1"), uid("s1"), "pi_1")
    assert event.capture_id is None and event.totals == totals(a=50_00)
    assert balances(paid) == {"authorized": 50_00, "customer": -50_00}
    assert prepayment(paid) == ("taken", 0) and wake_at(paid.ledger) is None
    assert paid.ledger.sessions[uid("s1")].authorization_id == uid("a1")
    assert paid.when(authorize("a1", {"1": 30_00, "2": 20_00}, "test"), id="m5") == [], "asked again"


def test_what_is_captured_and_voided_of_it_names_the_payment_as_its_gateway_has_it(paid: Play) -> None:
    paid.when(authorize("a1", {"1": 30_00, "2": 20_00}, "test"), id="m4")
    call = asked(paid.when(capture("c1", "a1", {"1": 30_00}), id="m5"))
    assert (call.refers_to, call.source, call.left_minor) == (uid("s1"), "pi_1", 20_00)
    paid.when(report(call, "succeeded", "ch_1"), id="m6")
    call = asked(paid.when(void("v1", "a1"), id="m7"))
    assert (call.kind, call.refers_to, call.source, call.amount_minor) == ("void", uid("s1"), "pi_1", 20_00)
    paid.when(report(call, "succeeded"), id="m8")
    assert asked(paid.when(refund("r1", "c1", {"1": 30_00}), id="m9")).source == "ch_1"
    assert balances(paid) == {"gateway_clearing": 30_00, "customer": -30_00}


def test_what_the_gateway_captured_at_once_is_taken_over_with_its_capture(paying: Play) -> None:
    paying.when(report(follow_up(paying), "succeeded", "pi_1", captured=True), id="m3")
    assert balances(paying) == {"gateway_clearing": 50_00, "prepayments": -50_00}
    [event] = paying.when(authorize("a1", 50_00, "test"), id="m4")
    assert isinstance(event, Authorized) and event.capture_id == capture_id_of(uid("a1"))
    assert paying.left() == (50_00, 50_00, 0, 0)
    assert balances(paying) == {"gateway_clearing": 50_00, "customer": -50_00}
    assert asked(paying.when(refund("r1", capture_id_of(uid("a1")), 10_00), id="m5")).source == "pi_1"


def test_more_was_paid_than_the_order_asks_for_and_the_rest_goes_back(paid: Play) -> None:
    effects = paid.when(authorize("a1", 40_00, "test"), id="m4")
    assert kinds(effects) == ["Authorized", "Task"]
    back = asked(effects)
    assert (back.operation_id, back.kind, back.amount_minor, back.left_minor) == (BACK, "void", 10_00, 40_00)
    assert balances(paid) == {"authorized": 50_00, "prepayments": -10_00, "customer": -40_00}
    [event] = paid.when(report(back, "succeeded", "pi_1"), id="m5")
    assert isinstance(event, PrepaymentReturned) and event.amount_minor == 10_00
    assert balances(paid) == {"authorized": 40_00, "customer": -40_00} and prepayment(paid) == ("returned", 0)


def test_less_was_paid_and_the_gateway_is_asked_for_the_rest(paid: Play) -> None:
    effects = paid.when(authorize("a1", {"1": 30_00, "2": 40_00}, "test"), id="m4")
    assert kinds(effects) == ["Authorized", "Asked", "Task"]
    part, call = effects[0], asked(effects)
    assert isinstance(part, Authorized) and part.operation_id == part_id(uid("a1"), uid("s1"))
    assert {line.line_id: line.amount_minor for line in part.lines} == {"1": 30_00, "2": 20_00}
    assert (call.operation_id, call.amount_minor, call.reference) == (uid("a1"), 20_00, "A-1")
    [rest] = paid.when(report(call, "succeeded", "pi_2"), id="m5")
    assert isinstance(rest, Authorized) and {one.line_id: one.amount_minor for one in rest.lines} == {"2": 20_00}
    assert [line.quantity for line in rest.lines] == [0], "its piece is where its money begins"
    assert paid.left() == (70_00, 0, 0, 0) and balances(paid) == {"authorized": 70_00, "customer": -70_00}


def test_a_session_in_another_currency_declines_the_order_and_nothing_is_lost(play: Play) -> None:
    play.when(report(asked(play.when(opens(currency="USD"))), "succeeded", "pi_1"), id="m2")
    [event] = play.when(authorize("a1", 50_00, "test"), id="m3")
    assert isinstance(event, Declined) and event.code == "currency_differs" and str(uid("s1")) in event.reason
    assert prepayment(play) == ("held", 50_00)
    assert {one.currency for one in play.posted} == {"USD"}
    back = asked(play.wakes(DAY))
    play.when(report(back, "succeeded"), id="m4")
    assert balances(play) == {}
    assert kinds(play.when(authorize("a2", 50_00, "test"), id="m5")) == ["Asked", "Task"], "its own currency is free"


@pytest.mark.parametrize(
    "command",
    [
        authorize("a1", 50_00, "stripe"),
        authorize("a1", 50_00, "marketplace"),
        authorize("a1", 0, "test"),
        authorize("a1", 50_00, "test").model_copy(update={"account": "other"}),
    ],
)
def test_money_elsewhere_is_not_taken_over(play: Play, command: Authorize) -> None:
    play.when(report(asked(play.when(opens(account="main"))), "succeeded", "pi_1"), id="m2")
    play.when(command, id="m3")
    assert prepayment(play) == ("held", 50_00)


def test_a_session_whose_order_was_authorized_elsewhere_is_cancelled_while_its_buyer_is_still_paying(
    paying: Play,
) -> None:
    call = asked(paying.when(authorize("a1", 50_00, "stripe"), id="m3"))
    assert wake_at(paying.ledger) == NOW + timedelta(seconds=600), (
        "a declined one changes nothing: the order may ask again"
    )
    paying.when(report(call, "succeeded", "pi_9"), id="m4")
    assert (due := wake_at(paying.ledger)) is not None and due < NOW
    effects = paying.wakes(1)
    assert kinds(effects) == ["SessionClosed", "Withdrawn", "Task"] and asked(effects).abandon
    assert paying.ledger.sessions[uid("s1")].state == "cancelled"
    effects = paying.when(report(asked(effects), "succeeded", "pi_1"), id="m5")
    assert kinds(effects) == ["PrepaymentReceived", "Task"], "the buyer was faster than the cancel"
    paying.when(report(asked(effects), "succeeded", "pi_1"), id="m6")
    assert balances(paying) == {"authorized": 50_00, "customer": -50_00}


def test_a_session_that_another_authorization_waits_for_goes_on(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    call = asked(paying.when(authorize("a2", 10_00, "stripe"), id="m4"))
    paying.when(report(call, "succeeded", "pi_9"), id="m5")
    assert wake_at(paying.ledger) == NOW + timedelta(seconds=600)


# ---------------------------------------------------------------------------- ordered while the buyer is on the page


def test_the_order_waits_for_the_buyer_who_is_paying(paying: Play) -> None:
    [event] = paying.when(authorize("a1", 50_00, "test"), id="m3")
    assert isinstance(event, Pending) and event.session_id == uid("s1"), "no second charge"
    assert paying.when(authorize("a1", 50_00, "test"), id="m4") == []
    effects = paying.when(report(follow_up(paying), "succeeded", "pi_1"), id="m5")
    assert kinds(effects) == ["PrepaymentReceived", "Authorized"]
    assert balances(paying) == {"authorized": 50_00, "customer": -50_00}


def test_the_order_may_ask_before_the_gateway_has_answered_the_session(play: Play) -> None:
    call = asked(play.when(opens()))
    play.when(authorize("a1", 50_00, "test"), id="m2")
    assert kinds(play.when(report(call, "succeeded", "pi_1"), id="m3")) == ["PrepaymentReceived", "Authorized"]


def test_a_second_authorization_does_not_wait_for_the_same_session(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    assert kinds(paying.when(authorize("a2", 10_00, "test"), id="m4")) == ["Asked", "Task"]


def test_an_order_that_waits_for_less_than_it_asks_for_asks_for_the_rest(paying: Play) -> None:
    paying.when(authorize("a1", 70_00, "test"), id="m3")
    effects = paying.when(report(follow_up(paying), "succeeded", "pi_1"), id="m4")
    assert kinds(effects) == ["PrepaymentReceived", "Authorized", "Asked", "Task"]
    assert asked(effects).amount_minor == 20_00


def test_a_void_of_an_order_that_waits_is_made_when_the_buyer_has_paid(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    assert kinds(paying.when(void("v1", "a1"), id="m4")) == ["VoidPostponed"]
    effects = paying.when(report(follow_up(paying), "succeeded", "pi_1"), id="m5")
    assert kinds(effects) == ["PrepaymentReceived", "Authorized", "Asked", "Task"]
    paying.when(report(asked(effects), "succeeded"), id="m6")
    assert balances(paying) == {}


def test_a_session_that_its_buyer_leaves_declines_the_order_that_waits_once_nothing_can_be_paid(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    effects = paying.wakes(600)
    assert kinds(effects) == ["SessionClosed", "Withdrawn", "Task"] and effects[1] == Withdrawn(follow_up_id(uid("s1")))
    call = asked(effects)
    assert call.abandon and tasks_of(effects)[0].task_id == abandoning_id(uid("s1"))
    effects = paying.when(report(call, "refused", "pi_1"), id="m4")
    assert kinds(effects) == ["PrepaymentDeclined", "Declined"]
    assert isinstance(effects[1], Declined) and effects[1].code == "payment_abandoned"
    assert balances(paying) == {} and not any(one.is_open for one in paying.ledger.operations.values())


def test_a_storefront_opens_the_next_session_at_once_and_the_order_that_asks_anew_is_paid_in_it(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    abandons = follow_up(paying).model_copy(update={"abandon": True})
    paying.when(cancels(), id="m4")
    second = asked(paying.when(opens("s2"), id="m5"))
    paying.when(report(second, "pending", "pi_2"), id="m6")
    assert kinds(paying.when(report(abandons, "refused", "pi_1"), id="m7")) == ["PrepaymentDeclined", "Declined"]
    [event] = paying.when(authorize("a2", 50_00, "test"), id="m8")
    assert isinstance(event, Pending) and event.session_id == uid("s2")
    effects = paying.when(report(second.model_copy(update={"ask_only": True}), "succeeded", "pi_2"), id="m9")
    assert kinds(effects) == ["PrepaymentReceived", "Authorized"]
    assert balances(paying) == {"authorized": 50_00, "customer": -50_00}


def test_what_is_paid_too_late_in_the_first_session_goes_back_and_the_second_one_pays_the_order(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    abandons = follow_up(paying).model_copy(update={"abandon": True})
    paying.when(cancels(), id="m4")
    second = asked(paying.when(opens("s2"), id="m5"))
    paying.when(report(second, "succeeded", "pi_2"), id="m6")
    effects = paying.when(report(abandons, "succeeded", "pi_1"), id="m7")
    assert kinds(effects) == ["PrepaymentReceived", "Task", "Declined"]
    back = asked(effects)
    [event] = paying.when(authorize("a2", 50_00, "test"), id="m8")
    assert isinstance(event, Authorized) and event.session_id == uid("s2")
    paying.when(report(back, "succeeded", "pi_1"), id="m9")
    assert balances(paying) == {"authorized": 50_00, "customer": -50_00}


def test_a_decline_of_the_card_closes_the_session_and_declines_the_order_that_waits(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    effects = paying.when(report(follow_up(paying), "refused", "pi_1", code="card_declined"), id="m4")
    assert kinds(effects) == ["SessionClosed", "Declined"]
    assert isinstance(effects[0], SessionClosed) and (effects[0].state, effects[0].code) == (
        "cancelled",
        "card_declined",
    )
    declined = effects[1]
    assert isinstance(declined, Declined) and declined.session_id == uid("s1")
    assert declined.code == "payment_abandoned" and declined.reason.endswith("card_declined"), (
        "the order has asked nothing"
    )


def test_a_person_cannot_state_what_a_buyer_has_paid(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    for target in ("s1", "a1"):
        [refused] = paying.when(force("f1", target, "succeeded"), id=f"force {target}")
        assert isinstance(refused, ForceRefused) and refused.code == "not_forceable"


# --------------------------------------------------------------------------------------------------------- given back


def test_what_no_order_takes_over_is_given_back_when_its_time_is_over(paid: Play) -> None:
    assert paid.wakes(DAY - 1) == []
    effects = paid.wakes(DAY)
    assert kinds(effects) == ["PrepaymentReturnAsked", "Task"]
    back = asked(effects)
    assert (back.kind, back.amount_minor, back.left_minor, back.source) == ("void", 50_00, 0, "pi_1")
    assert paid.wakes(DAY + 1) == []
    assert kinds(paid.when(authorize("a1", 50_00, "test"), id="m4")) == ["Asked", "Task"], "it is too late"
    paid.when(report(back, "succeeded", "pi_1"), id="m5")
    assert balances(paid) == {} and prepayment(paid) == ("returned", 0)


def test_what_is_paid_after_the_end_of_its_session_goes_back_at_once(paying: Play) -> None:
    paying.when(authorize("a1", 50_00, "test"), id="m3")
    paying.when(cancels(), id="m4")
    call = follow_up(paying).model_copy(update={"abandon": True})
    assert paying.when(report(follow_up(paying), "succeeded", "pi_1"), id="m5") == [], "a worker that asked before"
    effects = paying.when(report(call, "succeeded", "pi_1", captured=True), id="m6")
    assert kinds(effects) == ["PrepaymentReceived", "Task", "Declined"]
    back = asked(effects)
    assert (back.kind, back.operation_id, back.source, back.left_minor) == ("refund", BACK, "pi_1", None)
    paying.when(report(back, "succeeded", "re_1"), id="m7")
    assert balances(paying) == {} and paying.ledger.sessions[uid("s1")].state == "cancelled"


def test_what_its_gateway_does_not_give_back_stays_in_the_books_for_a_person(paid: Play) -> None:
    [event] = paid.when(report(asked(paid.wakes(DAY)), "refused", code="already_captured"), id="m4")
    assert isinstance(event, PrepaymentRetained) and event.code == "already_captured"
    assert prepayment(paid) == ("retained", 50_00) and balances(paid) == {"authorized": 50_00, "prepayments": -50_00}
    assert wake_at(paid.ledger) is None


def returns(op: str, recorded: bool = False) -> ReturnPrepayment:
    return ReturnPrepayment(
        order_id=ORDER, store_id=STORE, operation_id=uid(op), actor="desk", session_id=uid("s1"), recorded=recorded,
        reference="transfer 17" if recorded else None,
    )  # fmt: skip


def test_a_person_gives_it_back_before_its_time_and_once_more_after_a_refusal(paid: Play) -> None:
    call = asked(paid.when(returns("b1"), id="m4"))
    assert (call.operation_id, call.kind, call.amount_minor, call.source) == (uid("b1"), "void", 50_00, "pi_1")
    assert paid.when(returns("b1"), id="m5") == [], "a repeated request"
    [refusal] = paid.when(returns("b2"), id="m6")
    assert isinstance(refusal, Refusal) and refusal.code == "prepayment_closed"
    paid.when(report(call, "refused", code="already_captured"), id="m7")
    call = asked(paid.when(returns("b2"), id="m8"))
    paid.when(report(call, "succeeded", "pi_1"), id="m9")
    assert balances(paid) == {} and prepayment(paid) == ("returned", 0)


def test_what_was_given_back_elsewhere_is_booked_and_no_gateway_is_asked(paid: Play) -> None:
    paid.when(report(asked(paid.wakes(DAY)), "refused", code="already_captured"), id="m4")
    [event] = paid.when(returns("b1", recorded=True), id="m5")
    assert isinstance(event, PrepaymentReturned) and event.recorded and event.gateway_reference == "transfer 17"
    assert balances(paid) == {} and paid.ledger.operations[uid("b1")].recorded == "stated"


def test_what_an_order_has_taken_over_is_not_given_back_by_the_session(paid: Play) -> None:
    paid.when(authorize("a1", 50_00, "test"), id="m4")
    [refusal] = paid.when(returns("b1"), id="m5")
    assert isinstance(refusal, Refusal) and refusal.code == "prepayment_closed" and "taken" in refusal.detail


def test_a_session_that_ends_while_its_gateway_has_not_answered_awaits_the_answer(play: Play) -> None:
    call = asked(play.when(opens()))
    assert kinds(play.wakes(600)) == ["SessionClosed"]
    effects = play.when(report(call, "pending", "pi_1"), id="m2")
    assert kinds(effects) == ["PrepaymentPending", "Task"] and asked(effects).abandon


def test_a_return_that_its_gateway_makes_later_is_asked_after(paid: Play) -> None:
    back = asked(paid.wakes(DAY))
    effects = paid.when(report(back, "pending", "re_1"), id="m4")
    assert kinds(effects) == ["PrepaymentPending", "Task"] and asked(effects).ask_only
    paid.when(report(asked(effects), "succeeded", "re_1"), id="m5")
    assert balances(paid) == {}


def test_another_end_of_the_same_payment_is_a_contradiction(paid: Play) -> None:
    assert paid.when(report(follow_up(paid), "succeeded", "pi_1"), id="m4") == []
    with pytest.raises(Contradiction):
        paid.when(report(follow_up(paid), "refused", "pi_1"), id="m5")
    with pytest.raises(Contradiction):
        paid.when(report(follow_up(paid), "succeeded", "pi_1", captured=True), id="m6")


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_buyer_who_has_paid_is_not_asked_twice(paid: Play) -> None:
    [refusal] = paid.when(opens("s2"), id="m4")
    assert (
        isinstance(refusal, Refusal)
        and refusal.code == "session_paid"
        and refusal.more == {"session_id": str(uid("s1"))}
    )
    paid.when(authorize("a1", 50_00, "test"), id="m5")
    assert kinds(paid.when(opens("s2", 10_00), id="m6")) == ["SessionOpened", "Task"], "a difference may be paid next"


@pytest.mark.parametrize("gateway", ["manual", "recorded", "marketplace"])
def test_where_no_buyer_pays_no_session_asks(play: Play, gateway: str) -> None:
    [refusal] = play.when(opens(gateway=gateway))
    assert isinstance(refusal, Refusal) and refusal.code == "gateway_unknown"


def test_an_authorization_that_waits_for_its_buyer_is_paid_at_its_own_gateway(play: Play) -> None:
    play.when(report(asked(play.when(authorize("a1", 50_00, "test"))), "pending", "pi_1"), id="m2")
    [opened] = play.when(opens(gateway="stripe"), id="m3")
    assert isinstance(opened, SessionOpened) and (opened.authorization_id, opened.gateway) == (uid("a1"), None)


# ------------------------------------------------------------------------------------------- an edit makes it dearer


def test_a_difference_that_an_edit_will_ask_for_may_be_paid_first(play: Play) -> None:
    play.when(report(asked(play.when(authorize("a1", 50_00, "test"))), "succeeded", "pi_1"), id="m2")
    play.when(report(asked(play.when(opens(amount=15_00), id="m3")), "succeeded", "pi_2"), id="m4")
    [event] = play.when(authorize("a2", {"2": 15_00}, "test"), id="m5")
    assert isinstance(event, Authorized) and event.gateway_reference == "pi_2" and event.totals == totals(a=65_00)


def test_a_difference_that_waits_for_its_buyer_is_paid_in_a_session_beside_others(play: Play) -> None:
    """Two authorizations wait: the session is that of its amount."""
    for name, amount in (("a1", 50_00), ("a2", 15_00)):
        play.when(
            report(asked(play.when(authorize(name, amount, "test"), id=name)), "pending", f"pi_{name}"), id=f"{name} p"
        )
    [opened] = play.when(opens(amount=15_00, gateway=None), id="m3")
    assert isinstance(opened, SessionOpened) and opened.authorization_id == uid("a2")


# ---------------------------------------------------------------------------------------------------------- a restore


@pytest.mark.parametrize("amount", [40_00, 50_00, 70_00])
def test_what_is_published_gives_the_same_money_without_the_private_events(paying: Play, amount: int) -> None:
    published: list[Event] = []
    for n, message in enumerate((
        authorize("a1", amount, "test"),
        report(follow_up(paying), "succeeded", "pi_1"),
    )):  # fmt: skip
        effects = paying.when(message, id=f"n{n}")
        published += [one for one in effects if isinstance(one, Event) and one.TYPE != "payments.asked"]
    opened = Play()
    opened.when(opens())
    again = opened.ledger
    for event in published:
        again = evolve(again, event)  # type: ignore[arg-type]
    assert (again.totals(), again.lines, again.sessions) == (
        paying.ledger.totals(), paying.ledger.lines, paying.ledger.sessions,
    )  # fmt: skip
    posted = [*books.postings(Ledger(), again, published)]
    assert [(one.operation_id, one.debit, one.credit, one.lines) for one in posted] == [
        (one.operation_id, one.debit, one.credit, one.lines) for one in paying.posted
    ]


def test_a_restored_ledger_asks_again_for_what_its_sessions_wait_for(paid: Play) -> None:
    opened = Play()
    opened.when(opens())
    assert [one.task_id for one in answers.resumed(ORDER, STORE, opened.ledger)] == [uid("s1")]
    opened.when(authorize("a1", 50_00, "test"), id="m2")
    assert [one.task_id for one in answers.resumed(ORDER, STORE, opened.ledger)] == [uid("s1")], (
        "the order waits for it"
    )
    paid.when(authorize("a1", 40_00, "test"), id="m4")
    [task] = answers.resumed(ORDER, STORE, paid.ledger)
    assert task.task_id == BACK and lines(10_00)[0].amount_minor == task.body.amount_minor  # type: ignore[attr-defined]


@pytest.mark.parametrize("asks_first", [False, True])
def test_a_restored_ledger_asks_for_the_rest_alone(paying: Play, asks_first: bool) -> None:
    """What was asked of the gateway is not published. asks_first: the order has waited for the session."""
    steps = [authorize("a1", {"1": 30_00, "2": 40_00}, "test"), report(follow_up(paying), "succeeded", "pi_1")]
    published: list[Event] = []
    for n, message in enumerate(steps if asks_first else reversed(steps)):
        published += [one for one in paying.when(message, id=f"n{n}") if isinstance(one, Event) and is_published(one)]
    wanted = asked(paying.effects)
    assert wanted.amount_minor == 20_00
    restored = Play()
    restored.when(opens())
    restored.given(*published)
    if asks_first:
        [task] = answers.resumed(ORDER, STORE, restored.ledger)
        assert task.body == wanted
    else:
        assert asked(restored.when(steps[0], id="n3")) == wanted, "the order asks again"
    restored.when(report(wanted, "succeeded", "pi_2"), id="n4")
    assert restored.left() == (70_00, 0, 0, 0) and not any(one.is_open for one in restored.ledger.operations.values())


def test_what_a_session_had_too_much_is_no_refund_that_was_made_elsewhere(paying: Play) -> None:
    """The gateway captures at once, and lists what was given back among the refunds of the payment."""
    paying.when(report(follow_up(paying), "succeeded", "pi_1", captured=True), id="m3")
    back = asked(paying.when(authorize("a1", 40_00, "test"), id="m4"))
    theirs = TheirSide(
        kind="refund", reference="re_1", names=(str(BACK), "pi_1"), currency="EUR", amount_minor=10_00, at=NOW
    )
    call = RefundsCall(order_id=ORDER, store_id=STORE, gateway="test", account=None, payment="pi_1")
    listed = Reported(task_id=uid("t"), kind=REFUNDS_KIND, asked=call, outcome=Refunds(made=(theirs,)))
    assert paying.when(listed, id="m5") == [], "before our own call is answered"
    paying.when(report(back, "succeeded", "re_1"), id="m6")
    assert paying.when(listed, id="m7") == []
    assert paying.left() == (40_00, 40_00, 0, 0)


def is_published(event: Event) -> bool:
    return not isinstance(event, PrivateEvent)


def test_a_restored_ledger_has_what_was_given_back_with_its_account(play: Play) -> None:
    play.when(report(asked(play.when(opens(account="main"))), "succeeded", "pi_1"), id="m2")
    before = play.ledger
    play.when(report(asked(play.wakes(DAY)), "succeeded", "pi_1"), id="m3")
    [returned] = play.effects
    restored = evolve(before, returned)  # type: ignore[arg-type]
    assert restored.operations[BACK] == play.ledger.operations[BACK]


# -------------------------------------------------------------------------------------- the order does not need it


@pytest.mark.parametrize(
    "command",
    [
        authorize("a1", 50_00, "marketplace"),
        authorize("a1", 50_00, "stripe"),
        authorize("a1", 50_00, "test").model_copy(update={"account": "other"}),
    ],
)
def test_what_was_paid_goes_back_at_once_when_the_order_is_paid_elsewhere(play: Play, command: Authorize) -> None:
    play.when(report(asked(play.when(opens(account="main"))), "succeeded", "pi_1"), id="m2")
    effects = play.when(command, id="m3")
    if tasks_of(effects):
        assert wake_at(play.ledger) == NOW + timedelta(days=1), "it may be declined there, and be asked for anew"
        play.when(report(asked(effects), "succeeded", "pi_2"), id="m4")
    due = wake_at(play.ledger)
    assert due is not None and due < NOW
    play.when(report(asked(play.wakes(0)), "succeeded", "pi_1"), id="m5")
    assert prepayment(play) == ("returned", 0) and balances(play)["customer"] == -50_00


def test_what_was_paid_stays_for_the_order_when_another_payment_of_it_is_recorded(paid: Play) -> None:
    paid.when(record("authorize", "p1", {"1": 10_00}), id="m4")
    assert wake_at(paid.ledger) == NOW + timedelta(days=1)
    assert kinds(paid.when(authorize("a1", {"2": 50_00}, "test"), id="m5")) == ["Authorized"]


@pytest.mark.parametrize("by_person", [False, True])
def test_a_restored_ledger_knows_what_is_being_given_back(play: Play, by_person: bool) -> None:
    """Its gateway may have released the money already: no order takes it over, and the same operation is asked for again."""
    published: list[Event] = []
    steps = [opens(), report(asked(Play().when(opens())), "succeeded", "pi_1")]
    for n, message in enumerate(steps):
        published += [one for one in play.when(message, id=f"n{n}") if isinstance(one, Event)]
    effects = play.when(returns("b1"), id="n9") if by_person else play.wakes(DAY)
    published += [one for one in effects if isinstance(one, Event)]
    assert not any(isinstance(one, PrivateEvent) for one in published)
    restored = Play()
    restored.given(*published)
    assert restored.ledger.sessions == play.ledger.sessions
    [task] = answers.resumed(ORDER, STORE, restored.ledger)
    assert task == tasks_of(effects)[0] and task.task_id == (uid("b1") if by_person else BACK)
    assert kinds(restored.when(authorize("a1", 50_00, "test"), id="m1")) == ["Asked", "Task"], "it is charged anew"
