"""What each operation debits and credits; and that nothing else is booked."""

from __future__ import annotations

from collections import Counter

import pytest
from payments_play import NOW, Play, authorize, call, capture, force, refund, report, uid, void

from payments.domain.books import Posting
from payments.domain.forcing import UNANSWERED_MIN, Asking
from payments.domain.operation import capture_id_of


def moves(play: Play) -> list[tuple[str, str, str, int]]:
    """(line, debit, credit, amount) of everything that was booked."""
    return [(line.line_id, one.debit, one.credit, line.amount_minor) for one in play.posted for line in one.lines]


def balances(posted: list[Posting]) -> dict[str, int]:
    """Debits less credits of the accounts that are not at zero."""
    found: Counter[str] = Counter()
    for one in posted:
        amount = sum(line.amount_minor for line in one.lines)
        found[one.debit] += amount
        found[one.credit] -= amount
    return {account: minor for account, minor in found.items() if minor}


@pytest.mark.parametrize(
    ("gateway", "held", "cleared"),
    [
        ("marketplace", "authorized", "marketplace_clearing"),
        ("test", "authorized", "gateway_clearing"),
        ("manual", "receivable", "gateway_clearing"),
        ("gift_card", "authorized", "gift_card_liability"),
    ],
)
def test_the_gateway_names_the_accounts_of_what_is_promised_and_of_what_is_collected(
    play: Play, gateway: str, held: str, cleared: str
) -> None:
    def done(command: object, name: str) -> None:
        play.when(command, name)
        for task in [effect for effect in play.effects if hasattr(effect, "task_id")]:
            play.when(report(task.body, "succeeded", f"g_{name}"))

    done(authorize("a", {"1": 50_00, "2": 20_00, "free": 0}, gateway=gateway), "a")
    done(capture("c", "a", {"1": 50_00, "2": 5_00}), "c")
    done(void("v", "a"), "v")
    done(refund("r", "c", {"1": 10_00}), "r")
    assert moves(play) == [
        ("1", held, "customer", 50_00),
        ("2", held, "customer", 20_00),
        ("1", cleared, held, 50_00),
        ("2", cleared, held, 5_00),
        ("2", "customer", held, 15_00),
        ("1", "customer", cleared, 10_00),
    ]
    assert balances(play.posted) == {"customer": -45_00, cleared: 45_00}


def test_a_request_an_open_operation_and_a_refusal_book_nothing(play: Play) -> None:
    play.when(authorize("a", 50_00, gateway="test"))
    assert play.posted == []
    play.when(report(call("a", "authorize", 50_00), "pending"))
    assert play.posted == []
    play.when(report(call("a", "authorize", 50_00, ask_only=True), "refused", code="stolen"))
    play.when(void("v", "a"))  # of the declined one
    play.when(capture("c", "a", 50_00))
    assert play.posted == []


def test_a_capture_that_came_with_its_authorization_is_booked_as_an_operation_of_its_own(play: Play) -> None:
    play.when(authorize("a", {"1": 30_00, "2": 20_00}, capture=True))
    assert moves(play) == [
        ("1", "authorized", "customer", 30_00),
        ("2", "authorized", "customer", 20_00),
        ("1", "marketplace_clearing", "authorized", 30_00),
        ("2", "marketplace_clearing", "authorized", 20_00),
    ]
    assert [(one.operation_id, one.number) for one in play.posted] == [(uid("a"), 0), (capture_id_of(uid("a")), 2)]


def paid(play: Play) -> None:
    play.when(authorize("a", 50_00, gateway="test"))
    play.when(report(call("a", "authorize", 50_00), "succeeded", "g_a"))
    play.when(capture("c", "a", 50_00))
    play.when(report(call("c", "capture", 50_00, "a"), "succeeded", "g_c"))
    play.posted.clear()


def test_a_refund_that_the_gateway_has_accepted_is_owed_until_it_is_made(play: Play) -> None:
    paid(play)
    play.when(refund("r", "c", 20_00))
    asked = call("r", "refund", 20_00, "c")
    play.when(report(asked, "pending"))
    play.when(report(asked, "pending"))  # a repetition
    assert moves(play) == [("1", "customer", "refunds_payable", 20_00)]
    play.when(report(asked, "succeeded", "g_r"))
    assert moves(play)[1:] == [("1", "refunds_payable", "gateway_clearing", 20_00)]


def test_an_owed_refund_that_fails_in_the_end_leaves_no_balance_and_may_still_be_stated(play: Play) -> None:
    paid(play)
    play.when(refund("r", "c", 20_00))
    asked = call("r", "refund", 20_00, "c")
    play.when(report(asked, "pending"))
    play.when(report(asked, "refused", code="account_closed"))
    assert moves(play) == [("1", "customer", "refunds_payable", 20_00), ("1", "refunds_payable", "customer", 20_00)]
    assert balances(play.posted) == {}
    play.when(force("f", "r", "succeeded"))
    assert moves(play)[2:] == [("1", "customer", "gateway_clearing", 20_00)]


def test_a_stated_outcome_books_what_the_gateways_own_answer_would_have_booked(play: Play) -> None:
    paid(play)
    play.when(refund("r", "c", 20_00))
    play.asking[uid("r")] = Asking(UNANSWERED_MIN, NOW)
    play.when(force("f", "r", "succeeded"))
    assert moves(play) == [("1", "customer", "gateway_clearing", 20_00)]
    play.when(report(call("r", "refund", 20_00, "c"), "refused", code="late"))  # contradicts: a person compares
    assert len(moves(play)) == 1
