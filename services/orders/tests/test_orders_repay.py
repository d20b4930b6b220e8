"""Money that no other process gives back: it is refunded or voided by itself, again and again where its gateway may do it later, and a
person is shown what is refused."""

from __future__ import annotations

from typing import Any

from orders_play import Play, uid

from contracts import payments
from contracts.orders import ExceptionRaised, ExceptionResolved, PaymentChanged, Retried
from contracts.payments import Authorize, MoneyLine, Refund, Void
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting

MINUTE, DAY = 60, 86_400


def captured_late(play: Play, **terms: Any) -> Play:
    """A gateway has captured after the order was cancelled, and all of it had been voided."""
    play.in_the_warehouse(**{"gateway": "test", "capture": "manual"} | terms)
    authorization = play.last(Authorize)
    play.cancels().shipments_cancelled().voided()
    assert play.status == "cancelled/voided/unfulfilled"
    lines = (MoneyLine(line_id="1", quantity=1, amount_minor=10_00),)
    body = play._person("late")
    return play.captured(
        payments.Capture(**body, authorization_id=authorization.operation_id, currency="EUR", lines=lines)
    )


def void_refused(play: Play) -> Play:
    """A buyer has paid a second authorization too late; payments could not void it, nor could the order."""
    void_of_payments_refused(play)
    return again_refused(play)


def void_of_payments_refused(play: Play) -> Play:
    play.in_the_warehouse(gateway="test", capture="manual")
    late = play.last(Authorize).model_copy(update={"operation_id": uid("late")})
    play.authorized(late)
    body = play._paid(late.model_copy(update={"operation_id": uid("void")}))
    return play.when(payments.Failed(**body, command="void", code="gateway_refused", refers_to=uid("late")))


def again_refused(play: Play, later: bool = False) -> Play:
    return play.failed(Void, later=later)


# -- captured after the cancel ----------------------------------------------------------------------------------------


def test_what_is_captured_after_the_cancel_is_refunded_and_no_person_is_asked(play: Play) -> None:
    captured_late(play).then(PaymentChanged, asks=[Refund])
    refund = play.last(Refund)
    assert refund.capture_id == uid("late") and [one.amount_minor for one in refund.lines] == [10_00]
    assert waiting(play.order) == "answer" and play.wakes_in == 30, "silence is lag: it is asked again"
    play.refunded().then(PaymentChanged)
    assert play.status == "cancelled/refunded/unfulfilled" and waiting(play.order) == "" and play.wakes_in is None


def test_what_is_authorized_after_the_order_was_undone_is_voided(play: Play) -> None:
    play.in_the_warehouse(gateway="recorded", capture="manual")
    late = play.last(Authorize).model_copy(update={"operation_id": uid("late")})
    play.cancels().shipments_cancelled().voided()
    assert play.status == "cancelled/voided/unfulfilled"
    play.authorized(late).then(PaymentChanged, asks=[Void])
    assert play.last(Void).authorization_id == uid("late") and waiting(play.order) == "answer"
    play.voided().then(PaymentChanged)
    assert play.status == "cancelled/voided/unfulfilled" and waiting(play.order) == "" and play.wakes_in is None


def test_a_final_refusal_waits_for_a_person_who_has_it_asked_again(play: Play) -> None:
    captured_late(play).failed(Refund).then(ExceptionRaised)
    assert "1000 minor units were captured after the cancel" in play.order.exceptions["captured_after_cancel"].detail
    assert waiting(play.order) == "exception" and play.wakes_in is None
    assert {"retry", "resolve"} <= {*allowed(play.order)}
    first = play.last(Refund)
    play.resolves("captured_after_cancel", "accept").then(ExceptionResolved, Retried, ExceptionRaised, asks=[Refund])
    assert play.last(Refund).operation_id != first.operation_id, "the gateway has answered the first one for ever"
    play.refunded().then(PaymentChanged, ExceptionResolved)
    assert not play.order.exceptions and waiting(play.order) == ""


def test_what_the_gateway_may_do_later_is_asked_again_after_pauses_that_grow(play: Play) -> None:
    captured_late(play).failed(Refund, later=True).then(ExceptionRaised)
    pauses = []
    for _ in range(14):
        assert play.wakes_in is not None
        pauses.append(play.wakes_in)
        play.wakes().then(asks=[Refund])
        play.failed(Refund, later=True).then()
    assert pauses[:5] == [60, 60, 120, 240, 480] and pauses[-1] == DAY
    play.wakes().refunded().then(PaymentChanged, ExceptionResolved)
    assert waiting(play.order) == ""


def test_retry_asks_at_once_and_the_pauses_begin_anew(play: Play) -> None:
    captured_late(play).failed(Refund, later=True)
    for _ in range(5):
        play.wakes().failed(Refund, later=True)
    play.retries().then(Retried, asks=[Refund])
    assert play.failed(Refund, later=True).wakes_in == MINUTE


def test_a_refund_that_a_person_has_made_elsewhere_ends_it(play: Play) -> None:
    captured_late(play).failed(Refund)
    lines = (MoneyLine(line_id="1", quantity=1, amount_minor=10_00),)
    asked = play.last(Refund).model_copy(update={"operation_id": uid("elsewhere")})
    play.when(play.refund(uid("late"), lines, asked)).then(PaymentChanged, ExceptionResolved)
    assert waiting(play.order) == "" and not play.order.open_runs


def test_each_late_capture_is_refunded_by_itself(play: Play) -> None:
    captured_late(play).failed(Refund)
    lines = (MoneyLine(line_id="1", quantity=0, amount_minor=1_00),)
    body = play._person("later still")
    again = payments.Capture(**body, authorization_id=play.last(Authorize).operation_id, currency="EUR", lines=lines)
    play.captured(again).then(PaymentChanged, asks=[Refund])
    assert [one.amount_minor for one in play.last(Refund).lines] == [1_00]
    play.refunded()
    assert "1000 minor units" in play.order.exceptions["captured_after_cancel"].detail


# -- what a gateway does not release ----------------------------------------------------------------------------------


def test_money_that_a_gateway_does_not_release_has_a_process_and_then_a_person(play: Play) -> None:
    void_of_payments_refused(play).then(asks=[Void])
    again = play.last(Void)
    assert again.authorization_id == uid("late") and not again.lines
    again_refused(play).then(ExceptionRaised)
    assert "1000 minor units are held" in play.order.exceptions["void_refused"].detail
    play.resolves("void_refused", "accept").then(ExceptionResolved, Retried, ExceptionRaised, asks=[Void])
    assert "not given back yet" in play.order.exceptions["void_refused"].detail
    again_refused(play, later=True)
    assert "gateway_refused" in play.order.exceptions["void_refused"].detail
    play.wakes().then(asks=[Void])
    play.voided(10_00)
    assert not play.order.exceptions and not any(run.kind == "repay" for run in play.order.open_runs)


def test_what_a_person_leaves_to_the_issuer_is_not_asked_again(play: Play) -> None:
    void_refused(play).resolves("void_refused", "keep").then(ExceptionResolved)
    assert not any(run.kind == "repay" for run in play.order.open_runs)


def test_a_cancel_gives_back_what_is_held_and_the_process_ends_with_it(play: Play) -> None:
    void_refused(play).cancels().shipments_cancelled()
    while play.order.open_runs and play.sent:
        if isinstance(play.sent[-1], Void):
            play.voided(10_00)
        else:
            play.released()
    assert play.order.status == "cancelled" and not play.order.open_runs and not play.order.exceptions
