"""A marketplace cancels a line and refunds it, in one snapshot or in several: the money goes back once."""

from __future__ import annotations

import pytest
from orders_changed import BOWL, CUP, GONE, MUG, NO_BOWL, SOLD, but, codes, completes, made, paid, plays, refunding
from orders_play import Play, content
from test_orders_edit import amounts

from contracts.orders import ExceptionRaised, RefundOpened
from contracts.payments import Refund


def refunds(play: Play) -> list[list[tuple[str, int, int]]]:
    return [
        amounts(one.lines)
        for one in {one.operation_id: one for one in play.commands if isinstance(one, Refund)}.values()
    ]


@pytest.mark.parametrize("line_id", ["2", None])
@pytest.mark.parametrize("gateway", ["marketplace", "test"])
def test_a_cancel_and_its_refund_in_one_snapshot_give_back_once(play: Play, line_id: str | None, gateway: str) -> None:
    """The refund is booked, with or without a line, and the edit has nothing more to give back."""
    paid(play, gateway=gateway)
    plays(play.receives(refunding(NO_BOWL, made(line_id=line_id)), seconds=1))
    assert refunds(play) in ([[("2", 0, 5_00)]], [[("2", 1, 5_00)]]) and play.last(Refund).reference == "R1"
    assert not codes(play) and play.order.stated is None
    completes(play)


def test_the_refund_may_be_more_than_the_cancelled_line(play: Play) -> None:
    """The rest is of the shipping charge, or goodwill."""
    paid(play)
    plays(play.receives(refunding(NO_BOWL, made(line_id=None, minor=6_00)), seconds=1))
    (one,) = refunds(play)
    assert sum(amount for _, _, amount in one) == 6_00 and {name: amount for name, _, amount in one}["2"] == 5_00
    assert play.money["refunded"] == 6_00


def test_a_refund_that_comes_first_is_not_given_back_twice(play: Play) -> None:
    paid(play)
    plays(play.receives(refunding(SOLD, made()), seconds=1))
    plays(play.receives(refunding(NO_BOWL, made()), seconds=2))
    assert len(refunds(play)) == 1 and not codes(play)
    completes(play)


@pytest.mark.parametrize("line_id", ["2", None])
def test_a_refund_that_comes_while_the_cancel_is_taken_over_is_not_given_back_twice(
    play: Play, line_id: str | None
) -> None:
    paid(play).receives(NO_BOWL, seconds=1).suspended()
    reducing = play.sent
    play.receives(refunding(NO_BOWL, made(line_id=line_id)), seconds=2).then(RefundOpened, asks=[Refund])
    play.sent += reducing
    plays(play)
    assert len(refunds(play)) == 1 and not codes(play)
    completes(play)


@pytest.mark.parametrize("line_id", ["2", None])
def test_a_refund_that_comes_after_the_cancel_is_the_one_that_was_booked_with_it(
    play: Play, line_id: str | None
) -> None:
    plays(paid(play).receives(NO_BOWL, seconds=1))
    play.receives(refunding(NO_BOWL, made(line_id=line_id)), seconds=2).nothing()
    assert len(refunds(play)) == 1 and not codes(play)
    plays(play.receives(refunding(NO_BOWL, made(), made("R2", 1_00, "1")), seconds=3))
    assert refunds(play)[1:] == [[("1", 0, 1_00)]]


def test_each_line_of_a_cancel_may_be_refunded_by_a_refund_of_its_own(play: Play) -> None:
    both = content(MUG, but(BOWL, cancellation=GONE), but(CUP, cancellation=GONE))
    plays(paid(play).receives(both, seconds=1))
    play.receives(refunding(both, made()), seconds=2).nothing()
    play.receives(refunding(both, made(), made("R2", 2_00, "3")), seconds=3).nothing()
    assert refunds(play) == [[("2", 1, 5_00), ("3", 1, 2_00)]] and not codes(play)


def test_a_refund_of_another_amount_than_the_cancel_is_for_a_person(play: Play) -> None:
    plays(paid(play).receives(NO_BOWL, seconds=1))
    play.receives(refunding(NO_BOWL, made(minor=4_50, line_id=None)), seconds=2).then(ExceptionRaised)
    assert codes(play) == ["refund_made"] and len(refunds(play)) == 1
    plays(play.resolves("refund_made", "accept"))  # it is one of its own
    assert not codes(play) and play.money["refunded"] == 9_50


@pytest.mark.parametrize("rule", ["apply", "ask"])
def test_a_refund_of_what_was_never_captured_here_is_the_void_of_the_cancelled_line(play: Play, rule: str) -> None:
    play.in_the_warehouse(SOLD, capture="per_shipment", on_change=rule)
    play.receives(refunding(NO_BOWL, made(line_id=None)), seconds=1)
    if rule == "ask":
        assert codes(play) == ["line_cancelled", "refund_made"]
        play.resolves("line_cancelled", "accept")
    plays(play)
    assert not codes(play) and not refunds(play)
    assert play.money["voided"] == 5_00 and play.order.content and len(play.order.content.refunds) == 1
    play.shipped()
    plays(play)
    play.fulfilled()
    assert play.money["captured"] == 12_00 and play.order.payment_status == "paid" and play.order.completed_at


def test_a_refund_that_is_pending_is_no_refund_yet(play: Play) -> None:
    """It is the cancel's when it is made."""
    paid(play)
    plays(play.receives(refunding(NO_BOWL, made(state="PENDING")), seconds=1))
    assert codes(play) == ["refund_made"] and len(refunds(play)) == 1
    play.receives(refunding(NO_BOWL, made(state="done")), seconds=2)
    assert not codes(play) and len(refunds(play)) == 1


def test_another_gateway_gives_the_money_back_itself(play: Play) -> None:
    paid(play, gateway="test")
    plays(play.receives(NO_BOWL, seconds=1))
    assert not play.last(Refund).recorded and play.money["refunded"] == 5_00
