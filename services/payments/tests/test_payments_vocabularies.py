"""Statuses of the ledger in others' words, where sums alone do not decide; the properties hold them against each other."""

from __future__ import annotations

import pytest
from payments_play import NOW, Play, authorize, call, capture, force, refund, report, uid, void

from payments.domain.forcing import UNANSWERED_MIN, Asking
from payments.domain.vocabularies import (
    commercelayer_payment_status,
    dintero_payment_status,
    dintero_transaction_status,
)


def words(play: Play) -> tuple[str, str, str]:
    ledger = play.ledger
    return dintero_transaction_status(ledger), dintero_payment_status(ledger), commercelayer_payment_status(ledger)


def test_an_order_passes_from_initiated_to_refunded(play: Play) -> None:
    seen = [words(play)]
    for message in (
        authorize("a", {"1": 30, "2": 20}), capture("c", "a", {"1": 20}), refund("r", "c", {"1": 20}),
        capture("d", "a", {"1": 10}), void("v", "a", {"2": 20}), refund("s", "d", {"1": 10}),
    ):  # fmt: skip
        play.when(message)
        seen.append(words(play))
    assert seen == [
        ("INITIATED", "pending", "unpaid"),
        ("AUTHORIZED", "pending", "authorized"),
        ("PARTIALLY_CAPTURED", "partially_paid", "partially_paid"),
        ("PARTIALLY_CAPTURED_REFUNDED", "refunded", "refunded"),
        ("PARTIALLY_CAPTURED_REFUNDED", "partially_refunded", "partially_refunded"),
        ("PARTIALLY_REFUNDED", "partially_refunded", "partially_refunded"),
        ("REFUNDED", "refunded", "refunded"),
    ]


def test_an_order_that_costs_nothing_is_free(play: Play) -> None:
    play.when(authorize("a", {"1": 0}))
    assert words(play) == ("CAPTURED", "paid", "free")


def test_a_void_in_part_and_a_void_of_everything(play: Play) -> None:
    play.when(authorize("a", {"1": 30, "2": 20}))
    play.when(void("v", "a", {"2": 20}))
    assert words(play) == ("AUTHORIZED", "pending", "partially_voided")
    play.when(void("w", "a"))
    assert words(play) == ("AUTHORIZATION_VOIDED", "pending", "voided")


def test_a_further_authorization_that_is_open_makes_it_partially_authorized(play: Play) -> None:
    play.when(authorize("a", 30))
    play.when(authorize("b", 20, gateway="test"))
    assert words(play) == ("AUTHORIZED", "pending", "partially_authorized")
    play.when(report(call("b", "authorize", 20), "refused"))
    assert words(play) == ("AUTHORIZED", "pending", "authorized")


@pytest.mark.parametrize(
    ("state", "code", "word"),
    [("pending", "", "INITIATED"), ("refused", "stolen", "DECLINED"), ("not_set_up", "credentials_missing", "FAILED")],
)
def test_without_a_granted_authorization_the_latest_one_decides(play: Play, state: str, code: str, word: str) -> None:
    play.when(authorize("a", 30, gateway="test"))
    play.when(report(call("a", "authorize", 30), state, code=code))
    for n in range(20):  # refused too, and later
        play.when(capture(f"c{n}", "a", 30))
    assert words(play) == (word, "pending", "unpaid")


def test_what_a_person_states_and_the_gateway_denies_is_unknown(play: Play) -> None:
    play.when(authorize("a", 30, gateway="test"))
    play.asking[uid("a")] = Asking(UNANSWERED_MIN, NOW)
    play.when(force("f", "a", "failed"))
    assert words(play)[0] == "DECLINED"
    play.when(report(call("a", "authorize", 30), "succeeded"))
    assert words(play) == ("UNKNOWN", "pending", "unpaid")
