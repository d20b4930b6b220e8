"""An authorization that has expired before its capture: another one is asked for, by itself or by a person, and captured."""

from __future__ import annotations

import pytest
from orders_play import Play, content, market

from contracts.orders import LineEdit, StepFailed
from contracts.payments import Authorize, Capture, Refund, Void
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting


def expired(play: Play, token: str | None = None) -> Play:
    """The capture of an approved order is refused, because nothing is held any more."""
    play.receives(content(payment_token=token), market(capture="on_approval")).reserved().authorized()
    return gone(play.failed(Capture, "authorization_expired"))


def gone(play: Play) -> Play:
    """What has expired is released in the books."""
    assert play.last(Void).lines == play.last(Capture).lines
    assert play.last(Void).authorization_id == play.last(Capture).authorization_id
    return play.voided()


def asked(play: Play, model: type) -> int:
    return len({command.operation_id for command in play.commands if isinstance(command, model)})


def test_with_a_token_it_is_authorized_anew_and_captured_on_that(play: Play) -> None:
    expired(play, "pm_1")
    first, renewed = (one for one in play.commands if isinstance(one, Authorize))
    taken = play.last(Capture)
    assert renewed.operation_id != first.operation_id and renewed.payment_token == "pm_1" and not renewed.capture
    assert renewed.lines == taken.lines and taken.authorization_id == first.operation_id
    play.authorized()
    again = play.last(Capture)
    assert again.operation_id != taken.operation_id and again.authorization_id == renewed.operation_id
    play.captured().issued()
    assert play.order.payment_status == "paid" and not waiting(play.order).startswith("step_failed")


def test_without_a_token_a_person_asks_for_one_that_waits_for_the_buyer(play: Play) -> None:
    expired(play)
    assert (asked(play, Authorize), play.event(StepFailed).code) == (1, "authorization_expired")
    assert {"retry", "cancel"} <= set(allowed(play.order))
    play.retries()
    assert asked(play, Authorize) == 2 and play.last(Authorize).payment_token is None
    play.pending().authorized()
    assert play.last(Capture).authorization_id == play.last(Authorize).operation_id
    play.captured()
    assert play.order.payment_status == "paid"


def test_a_declined_renewal_waits_for_a_person_and_may_be_asked_again(play: Play) -> None:
    expired(play, "pm_1").declined("card_declined")
    assert play.event(StepFailed).code == "card_declined" and play.order.status == "approved"
    play.retries()
    assert asked(play, Authorize) == 3
    play.authorized().captured()
    assert play.order.payment_status == "paid"


def test_one_that_expires_again_is_renewed_again(play: Play) -> None:
    gone(expired(play, "pm_1").authorized().failed(Capture, "authorization_expired"))
    assert asked(play, Authorize) == 3
    play.authorized().captured()
    assert play.order.payment_status == "paid"


def test_another_refusal_of_the_capture_asks_for_no_authorization(play: Play) -> None:
    play.receives(content(payment_token="pm_1"), market(capture="on_approval")).reserved().authorized().failed(Capture)
    assert asked(play, Authorize) == 1 and play.event(StepFailed).step == "capture"


@pytest.mark.parametrize("token", [None, "pm_1"])
def test_a_cancel_voids_what_the_renewal_brings(play: Play, token: str | None) -> None:
    expired(play, token).cancels().shipments_cancelled()
    assert asked(play, Void) == 1, "nothing is held"
    if token:
        play.authorized()
        assert play.last(Void).authorization_id == play.last(Authorize).operation_id
        play.voided()
    assert play.order.status == "cancelled" and asked(play, Refund) == 0


def test_money_that_was_taken_elsewhere_meanwhile_ends_the_wait(play: Play) -> None:
    expired(play).captured()
    assert play.order.payment_status == "paid" and asked(play, Authorize) == 1
    assert "retry" not in allowed(play.order)


def test_what_has_expired_is_released_in_the_books_alone(play: Play) -> None:
    """The issuer has released it: no gateway can refuse that."""
    expired(play)
    assert play.last(Void).expired


def test_an_edit_does_not_authorize_what_is_to_be_renewed(play: Play) -> None:
    """Else the buyer's amount would be held twice, and the order would stay partly paid."""
    expired(play).opens_an_edit(LineEdit(line_id="1", quantity=2)).confirms().suspended().extended()
    assert [one.amount_minor for one in play.last(Authorize).lines] == [10_00]
    play.authorized().resumed().captured()
    play.retries()
    assert [one.amount_minor for one in play.last(Authorize).lines] == [10_00]
    play.authorized().captured()
    assert play.money["captured"] == play.money["authorized"] - play.money["voided"] == 20_00
    assert play.order.payment_status == "paid"


def test_what_an_edit_adds_is_not_captured_on_the_renewal_of_the_rest(play: Play) -> None:
    """The renewal is answered while the edit suspends its settle."""
    expired(play).retries().opens_an_edit(LineEdit(line_id="1", quantity=3)).confirms()
    renewal = play.last(Authorize)
    play.authorized(renewal).suspended().extended()
    added = play.last(Authorize)
    play.authorized(added).resumed()
    captures = {one.authorization_id: sum(line.amount_minor for line in one.lines) for one in play.commands
                if isinstance(one, Capture)}  # fmt: skip
    assert (captures[renewal.operation_id], captures[added.operation_id]) == (10_00, 20_00)
