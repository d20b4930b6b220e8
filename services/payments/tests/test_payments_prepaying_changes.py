"""A buyer pays in a session what a change of captured lines costs more, before that is charged: it is charged once."""

from __future__ import annotations

import pytest
from payments_play import Play, authorize, capture, report, reverse, tasks_of, uid
from test_payments_prepaying import asked, balances, follow_up, kinds, opens, prepayment

from contracts.payments import Authorized, Captured, Pending
from payments.domain.gateway import GatewayCall
from payments.domain.reversals import capture_id_of_charge, charge_id_of

CHARGE = charge_id_of(uid("x"))
DEARER = reverse("x", {"2": ("1", 1, 50_00)}, {"3": 60_00})


@pytest.fixture
def sold(play: Play) -> Play:
    """Line 1 is captured, 50.00."""
    for n, command in enumerate((authorize("a", 50_00, "test"), capture("c", "a", 50_00))):
        play.when(report(asked(play.when(command, id=f"a{n}")), "succeeded", f"tg_{n}"), id=f"b{n}")
    return play


def pays(play: Play, amount: int, captured: bool = False) -> None:
    call = asked(play.when(opens(amount=amount), id="s1"))
    play.when(report(call, "succeeded", "pi_1", captured=captured), id="s2")


@pytest.mark.parametrize("captured", [False, True])
def test_the_difference_of_a_reversal_takes_over_what_was_paid_for_it(sold: Play, captured: bool) -> None:
    pays(sold, 10_00, captured)
    effects = sold.when(DEARER, id="x1")
    event = effects[1]
    assert isinstance(event, Authorized) and (event.operation_id, event.session_id) == (CHARGE, uid("s1"))
    assert prepayment(sold) == ("taken", 0)
    if captured:
        assert kinds(effects) == ["Reversed", "Authorized"]
    else:
        assert kinds(effects) == ["Reversed", "Authorized", "Asked", "Task"]
        call = asked(effects)
        assert (call.kind, call.operation_id, call.source) == ("capture", capture_id_of_charge(CHARGE), "pi_1")
        [event] = sold.when(report(call, "succeeded", "ch_1"), id="x2")
        assert isinstance(event, Captured)
    assert sold.ledger.captured_minor == 60_00 and balances(sold) == {"gateway_clearing": 60_00, "customer": -60_00}
    assert not any(one.is_open for one in sold.ledger.operations.values())


def test_a_buyer_who_is_paying_the_difference_is_not_charged_beside_that(sold: Play) -> None:
    call = asked(sold.when(opens(amount=10_00), id="s1"))
    sold.when(report(call, "pending", "pi_1"), id="s2")
    effects = sold.when(DEARER, id="x1")
    assert kinds(effects) == ["Reversed", "Pending"]
    assert isinstance(effects[1], Pending) and effects[1].session_id == uid("s1")
    effects = sold.when(report(follow_up(sold), "succeeded", "pi_1"), id="x2")
    assert kinds(effects) == ["PrepaymentReceived", "Authorized", "Asked", "Task"]
    sold.when(report(asked(effects), "succeeded", "ch_1"), id="x3")
    assert balances(sold) == {"gateway_clearing": 60_00, "customer": -60_00}


def test_a_buyer_who_leaves_has_the_difference_declined_and_its_capture_with_it(sold: Play) -> None:
    call = asked(sold.when(opens(amount=10_00), id="s1"))
    sold.when(report(call, "pending", "pi_1"), id="s2")
    sold.when(DEARER, id="x1")
    call = asked(sold.wakes(600))
    assert kinds(sold.when(report(call, "refused", "pi_1"), id="x2")) == ["PrepaymentDeclined", "Declined"]
    assert not any(one.is_open for one in sold.ledger.operations.values())


@pytest.mark.parametrize("by_order", [False, True])
def test_less_than_the_difference_is_not_taken_over_because_no_capture_would_take_it(
    sold: Play, by_order: bool
) -> None:
    """by_order: the order asks for it once more, after the first request was declined."""
    pays(sold, 4_00)
    command = authorize("a2", {"3": 10_00}, "test", capture=True) if by_order else DEARER
    [task] = tasks_of(sold.when(command, id="x1"))
    assert isinstance(task.body, GatewayCall) and (task.body.amount_minor, task.body.capture) == (10_00, True)
    assert prepayment(sold) == ("held", 4_00)
    sold.when(report(task.body, "succeeded", "pi_2", captured=True), id="x2")
    sold.when(report(asked(sold.wakes(86_400)), "succeeded", "pi_1"), id="x3")
    assert prepayment(sold) == ("returned", 0)
    assert balances(sold) == {"gateway_clearing": 60_00, "customer": -60_00}


def test_too_little_that_is_paid_while_the_difference_waits_has_all_of_it_asked_for(sold: Play) -> None:
    call = asked(sold.when(opens(amount=4_00), id="s1"))
    sold.when(report(call, "pending", "pi_1"), id="s2")
    sold.when(DEARER, id="x1")
    effects = sold.when(report(follow_up(sold), "succeeded", "pi_1"), id="x2")
    assert kinds(effects) == ["PrepaymentReceived", "Asked", "Task"] and asked(effects).amount_minor == 10_00
    sold.when(report(asked(effects), "succeeded", "pi_2", captured=True), id="x3")
    assert sold.ledger.captured_minor == 60_00 and not any(one.is_open for one in sold.ledger.operations.values())
