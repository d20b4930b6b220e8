"""Refunds that the marketplace made: each is booked once and credited; what cannot be booked is an exception."""

from __future__ import annotations

from typing import Any

import pytest
from orders_play import Play, content, line

from contracts.invoicing import Credit
from contracts.orders import Cancelled, PaymentChanged, RefundOpened, RefundSettled
from contracts.payments import Refund
from contracts.snapshot import OrderContent, Quantities, UpstreamRefund

LINES = (line("1", 10_00, quantity=2), line("2", 5_00))
TOLD = content(*LINES, shipping=1_00, lifecycle="ready_to_fulfill")


def stated(*refunds: UpstreamRefund, **more: Any) -> OrderContent:
    return TOLD.model_copy(update={"refunds": refunds, "payment_state": "partially_refunded", **more})


def made(name: str = "R1", minor: int = 3_00, **more: Any) -> UpstreamRefund:
    return UpstreamRefund(external_refund_id=name, amount_minor=minor, **more)


@pytest.fixture
def paid(play: Play) -> Play:
    play.in_the_warehouse(TOLD).captured().issued().shipped()
    return play.fulfilled()


def lines_of(play: Play) -> list[tuple[str, int, int]]:
    return [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Refund).lines]


def test_a_refund_of_a_line_is_booked_and_credited_without_asking_a_gateway(paid: Play) -> None:
    told = stated(made(minor=11_00, external_line_id="1", quantity=1, shipping_minor=1_00))
    paid.receives(told, seconds=1).then(RefundOpened, asks=[Refund])
    command, opened = paid.last(Refund), paid.event(RefundOpened)
    assert (command.recorded, command.reference) == (True, "R1")
    assert (opened.reason, opened.reference, opened.amount_minor) == ("marketplace", "R1", 11_00)
    assert lines_of(paid) == [("1", 1, 10_00), ("shipping", 0, 1_00)]
    paid.refunded().then(PaymentChanged, asks=[Credit])
    paid.credited().then(RefundSettled)
    assert paid.status == "approved/partially_refunded/fulfilled" and not paid.order.exceptions
    assert paid.order.content is not None and paid.order.content.refunds == told.refunds
    assert paid.order.stated is None


def test_a_refund_without_a_line_is_goodwill(paid: Play) -> None:
    paid.receives(stated(made(minor=16_00 // 2)), seconds=1)
    assert lines_of(paid) == [("1", 0, 5_00), ("2", 0, 2_50), ("shipping", 0, 50)]


def test_a_refund_is_booked_once_and_a_further_one_alone(paid: Play) -> None:
    paid.receives(stated(made()), seconds=1).refunded().credited()
    paid.receives(stated(made()), seconds=2, digest="again").nothing()
    paid.receives(stated(made(), made("R2", 1_00)), seconds=3).then(RefundOpened, asks=[Refund])
    assert (paid.last(Refund).reference, sum(one.amount_minor for one in paid.last(Refund).lines)) == ("R2", 1_00)


@pytest.mark.parametrize(
    "refund",
    [
        made(minor=17_00),
        made(minor=6_00, external_line_id="2"),
        made(external_line_id="9"),
        made(currency="USD"),
        made(minor=0),
        made(state="PENDING"),
    ],
    ids=["exceeds the order", "exceeds the line", "unknown line", "another currency", "nothing", "not made yet"],
)
def test_what_cannot_be_booked_is_an_exception_with_the_difference(paid: Play, refund: UpstreamRefund) -> None:
    paid.receives(stated(refund), seconds=1)
    assert [*paid.order.exceptions] == ["refund_made"] and not paid.sent
    paths = {change.path for change in paid.order.exceptions["refund_made"].difference}
    assert "refunds[R1].external_refund_id" in paths


def test_of_two_refunds_the_one_that_exceeds_is_the_difference(paid: Play) -> None:
    paid.receives(stated(made(), made("R2", 17_00)), seconds=1)
    assert paid.last(Refund).reference == "R1"
    paths = {change.path for change in paid.order.exceptions["refund_made"].difference}
    assert "refunds[R2].external_refund_id" in paths and "refunds[R1].external_refund_id" not in paths


def test_a_refund_that_was_made_here_is_recognised_when_the_marketplace_states_it(paid: Play) -> None:
    paid.refunds(goodwill_minor=3_00).refunded().credited()
    paid.receives(stated(made()), seconds=1)
    assert not paid.sent and not paid.order.exceptions
    paid.receives(stated(made(), made("R2")), seconds=2).then(RefundOpened, asks=[Refund])


def test_a_refund_that_was_stated_before_the_capture_is_booked_when_a_person_accepts_it(play: Play) -> None:
    play.in_the_warehouse(TOLD).receives(stated(made()), seconds=1)
    assert [*play.order.exceptions] == ["refund_made"]
    play.captured().issued().resolves("refund_made", "accept")
    assert [type(command) for command in play.sent] == [Refund] and play.last(Refund).recorded
    assert not play.order.exceptions


def test_all_the_money_refunded_at_the_marketplace_cancels_the_order(paid: Play) -> None:
    told = stated(made(minor=16_00), payment_state="refunded")
    paid.receives(told, seconds=1).refunded().credited().then(RefundSettled, Cancelled)
    assert paid.status == "cancelled/refunded/fulfilled" and paid.order.cancel_cause == "refunded"
    paid.receives(told.model_copy(update={"lifecycle": "delivered"}), seconds=2).nothing()
    assert not paid.order.exceptions


def test_pieces_beyond_those_that_are_left_do_not_keep_an_amount_from_being_booked(paid: Play) -> None:
    paid.receives(stated(made(external_line_id="1", quantity=3)), seconds=1)
    assert lines_of(paid) == [("1", 0, 3_00)]


def test_refunded_pieces_of_the_same_snapshot_are_no_difference_of_their_own(paid: Play) -> None:
    told = stated(made(minor=10_00, external_line_id="1", quantity=1))
    first = LINES[0].model_copy(update={"quantity": Quantities(ordered=2, refunded=1)})
    paid.receives(told.model_copy(update={"lines": (first, *told.lines[1:])}), seconds=1)
    assert not paid.order.exceptions and paid.order.stated is None
