"""The saga follows what is recorded about an order: money that no process has asked for."""

from __future__ import annotations

from uuid import UUID

import pytest
from orders_play import ORDER, STORE, Play, content, line, market, uid

from contracts import payments
from contracts.invoicing import Credit, Issue
from contracts.orders import LineEdit, PaymentChanged, RefundOpened, RefundSettled, Remarked, StepFailed
from contracts.payments import Authorize, Capture
from orders.domain.shown.views import in_flight, waiting

BY_HAND = {"gateway": "recorded", "capture": "manual"}


def captured_elsewhere(play: Play, amounts: dict[str, int], name: str = "elsewhere", quantity: int = 0) -> Play:
    """A capture that was recorded, of the order's authorization."""
    asked = play.last(Authorize)
    lines = tuple(
        payments.MoneyLine(line_id=name, quantity=quantity, amount_minor=amount) for name, amount in amounts.items()
    )
    recorded = Capture(
        order_id=asked.order_id, store_id=asked.store_id, operation_id=uid(name), actor="till",
        authorization_id=asked.operation_id, currency="EUR", lines=lines,
    )  # fmt: skip
    return play.captured(recorded)


def test_an_order_waits_until_its_authorization_is_recorded(play: Play) -> None:
    play.receives(content(), market(**BY_HAND)).reserved().pending()
    assert not in_flight(play.order) and play.status == "placing/unpaid/unfulfilled"
    play.authorized()
    assert play.status == "approved/authorized/unfulfilled"


def authorized_elsewhere(
    play: Play, amounts: dict[str, int], gateway: str = "recorded", capture_id: UUID | None = None
) -> Play:
    """An authorization that was recorded, and none that the order has asked for. capture_id: it was captured at once."""
    lines = tuple(payments.MoneyLine(line_id=name, quantity=1, amount_minor=amount) for name, amount in amounts.items())
    return play.authorized(
        Authorize(
            order_id=ORDER, store_id=STORE, operation_id=uid("early"), actor="till", gateway=gateway,
            currency="EUR", lines=lines, reference="A-1", capture=capture_id is not None,
        ),
        capture_id,
    )  # fmt: skip


def test_an_authorization_that_was_recorded_before_the_order_asks_is_the_one_that_it_waits_for(play: Play) -> None:
    play.receives(content(), market(**BY_HAND))
    authorized_elsewhere(play, {"1": 10_00}).reserved()
    assert play.status == "approved/authorized/unfulfilled"
    assert not [one for one in play.commands if isinstance(one, Authorize)]


def test_one_that_was_recorded_while_the_order_asked_answers_it(play: Play) -> None:
    play.receives(content(), market(**BY_HAND)).reserved()
    assert play.last(Authorize).unless_recorded, "payments leaves the request, if it comes after the record"
    authorized_elsewhere(play, {"1": 10_00})
    assert play.status == "approved/authorized/unfulfilled"
    play.pending()
    assert play.status == "approved/authorized/unfulfilled" and not waiting(play.order).startswith("no_answer")


@pytest.mark.parametrize("asked", [False, True])
def test_one_that_was_captured_at_once_is_the_one_too_and_is_invoiced(play: Play, asked: bool) -> None:
    play.receives(content(), market(**BY_HAND))
    if asked:
        play.reserved()
    authorized_elsewhere(play, {"1": 10_00}, capture_id=uid("at once"))
    if not asked:
        play.reserved()
    assert play.status == "approved/paid/unfulfilled" and [one for one in play.commands if isinstance(one, Issue)]
    assert asked == bool([one for one in play.commands if isinstance(one, Authorize)])


def test_one_of_other_amounts_or_beside_a_gateway_is_not(play: Play) -> None:
    play.receives(content(), market(gateway="test"))
    authorized_elsewhere(play, {"1": 10_00}).reserved()
    assert play.last(Authorize).gateway == "test" and not play.last(Authorize).unless_recorded
    play = Play()
    play.receives(content(), market(**BY_HAND))
    authorized_elsewhere(play, {"1": 9_99}).reserved()
    assert play.status.startswith("placing/") and play.last(Authorize).gateway == "recorded"


def dearer(play: Play) -> Play:
    """An edit has asked for a second piece of line 1."""
    play.in_the_warehouse(**BY_HAND).opens_an_edit(LineEdit(line_id="1", quantity=2)).confirms().suspended().extended()
    asked = play.last(Authorize)
    assert [(one.line_id, one.amount_minor) for one in asked.lines] == [("1", 10_00)]
    assert asked.unless_recorded and asked.authorizations_before == 1, "payments has had as much before"
    return play


@pytest.mark.parametrize("at_once", [False, True])
def test_what_was_recorded_while_an_edit_asked_for_it_makes_the_edit_true(play: Play, at_once: bool) -> None:
    authorized_elsewhere(dearer(play), {"1": 10_00}, capture_id=uid("at once") if at_once else None).resumed()
    assert play.status.startswith("approved/") and play.order.grand_minor == 20_00
    assert at_once == bool([one for one in play.commands if isinstance(one, Issue)])
    if at_once:
        play.issued()
    assert waiting(play.order) == "capture", "which this market leaves to a person"


def test_what_was_recorded_of_other_amounts_does_not_make_an_edit_true(play: Play) -> None:
    authorized_elsewhere(dearer(play), {"1": 9_99})
    assert play.order.grand_minor == 10_00 and play.order.status == "editing"


def test_the_cancel_of_an_order_voids_what_was_authorized_before_it_asked(play: Play) -> None:
    play.receives(content(), market(**BY_HAND))
    authorized_elsewhere(play, {"1": 10_00}).reserved()
    play.cancels().shipments_cancelled()
    assert play.last(payments.Void).authorization_id == uid("early")


def test_a_capture_that_was_recorded_is_invoiced(play: Play) -> None:
    play.in_the_warehouse(content(line("1", quantity=4), line("2", 6_00)), **BY_HAND)
    captured_elsewhere(play, {"1": 5_00}).then(PaymentChanged, asks=[Issue])
    [invoiced] = play.last(Issue).lines
    assert (invoiced.line_id, invoiced.quantity, invoiced.amount_minor) == ("1", 2, 5_00), (
        "half of the amount, half of the pieces"
    )
    play.issued()
    captured_elsewhere(play, {"1": 5_00, "2": 6_00}, "rest").then(PaymentChanged, asks=[Issue])
    play.issued().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and play.order.completed_at is not None


def test_a_capture_that_was_refused_here_and_made_elsewhere_goes_on(play: Play) -> None:
    play.in_the_warehouse(gateway="test").failed(Capture).then(StepFailed)
    captured_elsewhere(play, {"1": 10_00}).then(PaymentChanged, asks=[Issue])
    play.issued().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and waiting(play.order) == ""


def test_a_capture_of_more_than_is_sold_is_remarked_and_not_invoiced(play: Play) -> None:
    play.in_the_warehouse(**BY_HAND)
    captured_elsewhere(play, {"1": 10_01}).then(PaymentChanged, Remarked)
    captured_elsewhere(play, {"9": 1}, "unknown line").then(PaymentChanged)
    assert play.order.remarks.keys() == {"capture_not_settled"}


def test_the_cancel_of_an_order_refunds_what_was_captured_elsewhere(play: Play) -> None:
    """It is settled as any other."""
    play.in_the_warehouse(**BY_HAND)
    captured_elsewhere(play, {"1": 10_00}).issued()
    play.cancels().shipments_cancelled().credited()
    refund = play.last(payments.Refund)
    assert refund.capture_id == uid("elsewhere") and [one.amount_minor for one in refund.lines] == [10_00]


def test_a_refund_that_was_recorded_is_credited(play: Play) -> None:
    """It is a refund of the order as any other, whose money has gone already."""
    play.in_the_warehouse(content(line("1", quantity=2)), **BY_HAND)
    captured_elsewhere(play, {"1": 10_00}).issued()
    lines = (payments.MoneyLine(line_id="1", quantity=1, amount_minor=4_00),)
    asked = play.last(Authorize).model_copy(update={"operation_id": uid("R")})
    name = payments.PaymentName(system="psp", payment_id="R")
    refunded = play.refund(uid("elsewhere"), lines, asked).model_copy(update={"payment": name})
    play.when(refunded).then(PaymentChanged, RefundOpened, asks=[Credit])
    assert [one.amount_minor for one in play.last(Credit).lines] == [4_00]
    opened = play.event(RefundOpened)
    assert (opened.amount_minor, opened.reference, opened.actor) == (4_00, "R", "psp")
    play.credited(lines).then(RefundSettled)
    assert waiting(play.order) == "warehouse"


def test_a_refund_that_is_recorded_during_a_cancel_that_is_refused_is_credited(play: Play) -> None:
    """While the warehouse decides, nothing is asked. The cancel that succeeds credits it with everything else."""
    play.in_the_warehouse(content(line("1", quantity=2)), **BY_HAND)
    captured_elsewhere(play, {"1": 10_00}).issued().cancels()
    lines = (payments.MoneyLine(line_id="1", quantity=1, amount_minor=4_00),)
    asked = play.last(Authorize).model_copy(update={"operation_id": uid("R")})
    name = payments.PaymentName(system="psp", payment_id="R")
    play.when(play.refund(uid("elsewhere"), lines, asked).model_copy(update={"payment": name}))
    assert not [one for one in play.commands if isinstance(one, Credit)]
    play.too_late()
    assert [one.amount_minor for one in play.last(Credit).lines] == [4_00]
    play.credited(lines)
    assert play.event(RefundSettled).amount_minor == 4_00
