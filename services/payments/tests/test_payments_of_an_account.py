"""An authorization names its store's account at the gateway; all that draws on it goes to the same. A token is no card number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_play import Play, authorize, capture, declined, refund, report, totals, uid, void

from contracts.deciding import Task
from contracts.payments import TOKEN_REFUSED, Authorized, Pending, is_card_number
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayCall
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of

LINES = {"1": 30_00, "2": 5_00}
CARD = "4242 4242 4242 4242"


def called(play: Play) -> GatewayCall:
    [call] = [one.body for one in play.effects if isinstance(one, Task)]
    assert isinstance(call, GatewayCall)
    return call


def test_what_draws_on_an_authorization_goes_to_its_account(play: Play) -> None:
    for name, account in (("a1", "second"), ("a2", None)):
        play.when(authorize(name, LINES, gateway="test").model_copy(update={"account": account}))
        first = called(play)
        assert first.account == account
        play.when(report(first, "pending"))
        assert [one.account for one in play.effects if isinstance(one, Pending)] == [account]
        play.when(report(first, "succeeded"))
        play.when(capture(f"c{name}", name, {"1": 30_00}))
        assert called(play).account == account
        play.when(report(called(play), "succeeded"))
        play.when(refund(f"r{name}", f"c{name}", {"1": 1_00}))
        assert called(play).account == account
        play.when(void(f"v{name}", name, {"2": 5_00}))
        assert called(play).account == account


def test_a_refund_of_what_was_captured_at_once_goes_to_its_account(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="test", capture=True).model_copy(update={"account": "second"}))
    play.when(report(called(play), "succeeded", captured=True))
    play.when(refund("r1", capture_id_of(uid("a1")), {"1": 1_00}))
    assert called(play).account == "second"


def test_the_published_event_is_enough_to_know_the_account(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="test").model_copy(update={"account": "second"}))
    play.when(report(called(play), "succeeded"))
    [event] = [one for one in play.effects if isinstance(one, Authorized)]
    restored = Play()
    restored.ledger = evolve(Ledger(), event)
    restored.when(capture("c1", "a1", {"1": 30_00}))
    assert called(restored).account == "second"


def test_a_card_number_in_place_of_a_token_is_declined_and_in_no_effect(play: Play) -> None:
    command = authorize("a1", LINES, gateway="test").model_copy(update={"payment_token": CARD})
    assert command.payment_token == TOKEN_REFUSED
    play.when(command)
    play.then(declined("a1", 35_00, "payment_token_refused", "a card number came in place of a token", totals()))


@pytest.mark.parametrize(
    "token", ["pm_1PqR5sTuVwXyZ", "tok_visa", "4242424242424241", "424242424242", "seti_4242424242424242"]
)
def test_a_token_is_taken_as_it_is(token: str) -> None:
    assert authorize("a1", LINES).model_copy(update={"payment_token": token}).payment_token == token


@given(digits=st.text("0123456789", min_size=12, max_size=18), separator=st.sampled_from(["", " ", "-", "."]))
def test_of_ten_last_digits_exactly_one_makes_a_card_number(digits: str, separator: str) -> None:
    """Luhn's check digit, however the groups are separated."""
    texts = [separator.join([digits[:4], digits[4:] + str(last)]) for last in range(10)]
    assert sum(map(is_card_number, texts)) == 1
