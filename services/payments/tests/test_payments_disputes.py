"""Disputes as stories: a report that comes twice, late or before another has its effect once, and the books follow."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_play import NOW, ORDER, STORE, Play, asked, authorized, captured, totals, uid

from contracts.deciding import Context, Reported, Task
from contracts.differences import DifferenceFound
from contracts.payments import CheckDispute, DisputeOpened
from payments.domain import differences
from payments.domain.differences import Difference, Find, Noted
from payments.domain.disputes import (
    DIFFERS_KIND,
    DISPUTE_KIND,
    POLL_SECONDS,
    DisputeCall,
    DisputeDiffers,
    DisputeState,
    dispute_id,
    resumed,
)
from payments.gateways.port import Unclear
from payments.gateways.stripe.answers import dispute_of, disputed

DISPUTE = dispute_id(ORDER, "stripe", "dp_1")
CALL = DisputeCall(
    dispute_id=DISPUTE,
    order_id=ORDER,
    store_id=STORE,
    gateway="stripe",
    account="main",
    reference="dp_1",
    currency="EUR",
)


def states(state: Any, withheld: int = 50_00, **more: Any) -> Reported:
    stated = DisputeState(
        **{"state": state, "payment": "pi_1", "amount_minor": 50_00, "withheld_minor": withheld} | more
    )
    return Reported(task_id=uid("t"), kind=DISPUTE_KIND, asked=CALL, outcome=stated)


def kinds(effects: list[Any]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def balances(play: Play) -> dict[str, int]:
    accounts = Counter[str]()
    for one in play.posted:
        for line in one.lines:
            accounts[one.debit] += line.amount_minor
            accounts[one.credit] -= line.amount_minor
    return {account: minor for account, minor in accounts.items() if minor}


def charged(play: Play) -> Play:
    play.given(
        asked("a1", "authorize", 50_00),
        authorized("a1", 50_00, totals(a=50_00), "stripe", "pi_1"),
        captured("c1", "a1", 50_00, totals(a=50_00, c=50_00), "ch_1"),
    )
    return play


@pytest.fixture
def paid(play: Play) -> Play:
    return charged(play)


def test_an_event_asks_the_gateway_beside_the_orders_other_calls(paid: Play) -> None:
    command = CheckDispute(
        order_id=ORDER, store_id=STORE, operation_id=uid("e1"), actor="system:stripe", gateway="stripe", account="main",
        reference="dp_1",
    )  # fmt: skip
    paid.when(command)
    paid.then(Task(uid("e1"), DISPUTE_KIND, CALL, beside=True))
    assert Play().when(command) == [], "nothing was ever paid here"


def test_what_is_withheld_leaves_the_clearing_account_and_is_asked_for_once_a_day(paid: Play) -> None:
    opened, poll = paid.when(states("open", reason="fraudulent", due_at=NOW))
    assert isinstance(opened, DisputeOpened) and (opened.withheld_minor, opened.due_at) == (50_00, NOW)
    assert isinstance(poll, Task) and (poll.after_seconds, poll.beside) == (POLL_SECONDS, True)
    assert balances(paid) == {"disputed": 50_00, "gateway_clearing": -50_00}
    assert kinds(paid.when(states("open", due_at=NOW), id="m2")) == ["Task"]
    assert paid.left() == (50_00, 50_00, 0, 0), "the order's own sums are not the dispute's"


def test_a_lost_dispute_is_a_chargeback_and_a_won_one_comes_back(play: Play) -> None:
    for end, balance in (("lost", {"chargebacks": 50_00, "gateway_clearing": -50_00}), ("won", {})):
        paid = charged(Play())
        paid.when(states("open"))
        paid.when(states(end, 50_00 if end == "lost" else 0), id="m2")
        assert kinds(paid.effects) == ["DisputeClosed"] and balances(paid) == balance
        assert paid.ledger.disputes[DISPUTE].withheld_minor == 0


def test_an_inquiry_takes_no_money_until_it_escalates(paid: Play) -> None:
    paid.when(states("open", 0))
    assert balances(paid) == {}
    assert kinds(paid.when(states("open"), id="m2")) == ["DisputeOpened", "Task"]
    assert balances(paid) == {"disputed": 50_00, "gateway_clearing": -50_00}


@pytest.mark.parametrize("order_of_ends", [("lost", "won"), ("won", "lost")])
def test_another_end_is_a_difference_for_a_person_and_books_nothing(paid: Play, order_of_ends: tuple[str, str]) -> None:
    """Found once, however often the gateway states it; what follows of the order goes on."""
    first, second = order_of_ends
    paid.when(states("open"))
    paid.when(states(first, 50_00 if first == "lost" else 0), id="m2")
    before = balances(paid)
    [task] = paid.when(states(second, 50_00 if second == "lost" else 0), id="m3")
    assert (
        isinstance(task, Task)
        and (task.kind, task.beside) == (DIFFERS_KIND, True)
        and isinstance(task.body, DisputeDiffers)
    )
    assert balances(paid) == before and paid.ledger.disputes[DISPUTE].state == first
    difference_id, about = differences.of_dispute(task.body)
    assert about.ours is not None and about.theirs is not None
    assert (about.kind, about.proposal, about.ours.state, about.theirs.state) == (
        "dispute_differs",
        "ask",
        first,
        second,
    )
    [again] = paid.when(states(second, 50_00 if second == "lost" else 0), id="m4")
    assert isinstance(again, Task) and isinstance(again.body, DisputeDiffers) and again.task_id != task.task_id
    given: dict[str, Any] = {"difference_id": difference_id, "store_id": STORE, "actor": "system:reconciliation"}
    context = Context(NOW, difference_id, STORE, uid("m"))
    found, note = differences.find(Difference(), Find(**given, operation_id=uid("f"), about=about), context)
    assert isinstance(found, DifferenceFound) and found.reconciliation_id is None and isinstance(note, Task)
    later = again.body.model_copy(update={"at": NOW + timedelta(hours=1)})
    repeated = Find(**given, operation_id=uid("g"), about=differences.of_dispute(later)[1])
    for status in ("open", "dismissed"):
        known = differences.evolve(Difference(), found).model_copy(update={"status": status})
        assert differences.find(known, repeated, context) == [], "the gateway states the same once more"


def test_the_dispute_of_another_payment_is_a_difference(paid: Play) -> None:
    [task] = paid.when(states("open", payment="pi_2"))
    assert isinstance(task, Task) and isinstance(task.body, DisputeDiffers)
    about = differences.of_dispute(task.body)[1]
    assert about.ours is None and about.theirs is not None and about.theirs.names == ("pi_2",) and balances(paid) == {}
    assert paid.when(Reported(task.task_id, DIFFERS_KIND, task.body, Noted()), id="m2") == []


def test_a_restored_ledger_asks_for_what_is_open(paid: Play) -> None:
    paid.when(states("open"))
    [task] = resumed(ORDER, STORE, paid.ledger)
    assert task.body == CALL and task.after_seconds == 0
    paid.when(states("lost"), id="m2")
    assert resumed(ORDER, STORE, paid.ledger) == []


@given(
    reports=st.lists(st.sampled_from([("open", 0), ("open", 50_00), ("end", 0)]), max_size=8),
    end=st.sampled_from(["won", "lost"]),
)
def test_any_order_of_reports_gives_the_same_books(reports: list[tuple[str, int]], end: str) -> None:
    play = charged(Play())
    for n, (state, withheld) in enumerate([*reports, ("end", 0)]):
        report = states(end, 50_00 if end == "lost" else 0) if state == "end" else states(state, withheld)
        play.when(report, id=f"m{n}")
        held = play.ledger.disputes[DISPUTE].withheld_minor
        assert balances(play).get("disputed", 0) == held and sum(balances(play).values()) == 0
    closed = play.ledger.disputes[DISPUTE]
    assert (closed.state, closed.withheld_minor) == (end, 0)
    assert balances(play) == ({"chargebacks": 50_00, "gateway_clearing": -50_00} if end == "lost" else {})


@pytest.mark.parametrize(
    ("status", "transactions", "state", "withheld"),
    [
        ("warning_needs_response", 0, "open", 0), ("warning_closed", 0, "won", 0), ("needs_response", 1, "open", 50_00),
        ("under_review", 1, "open", 50_00), ("won", 2, "won", 0), ("lost", 1, "lost", 50_00), ("prevented", 0, "won", 0),
    ],
)  # fmt: skip
def test_the_words_of_stripe(status: str, transactions: int, state: str, withheld: int) -> None:
    body: dict[str, Any] = {
        "id": "dp_1", "amount": 50_00, "currency": "eur", "status": status, "payment_intent": "pi_1", "reason": "fraudulent",
        "balance_transactions": [{}] * transactions, "evidence_details": {"due_by": 1_767_323_045},
    }  # fmt: skip
    stated = disputed(dispute_of(body), CALL)
    assert (stated.state, stated.withheld_minor, stated.payment, stated.amount_minor) == (
        state,
        withheld,
        "pi_1",
        50_00,
    )
    assert (stated.due_at is not None) == (state == "open")
    for wrong in ({"id": "dp_2"}, {"currency": "usd"}):
        with pytest.raises(Unclear):
            disputed(dispute_of(body | wrong), CALL)
