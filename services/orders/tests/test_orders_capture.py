"""Capture by hand: by line and pieces, once each, never of what is held, not approved, or captured by a rule."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders_play import Play, content, line, market, uid
from pydantic import ValidationError

from contracts.fulfillment import Start
from contracts.invoicing import Issue
from contracts.orders import Approved, CaptureLine, CaptureRequested, Completed, MarketTerms, PaymentChanged, Placed
from contracts.payments import Authorize, Capture
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting

TWO = (line("1", 10_00, quantity=3), line("2", 5_00))


def placed(play: Play, *, approval: str = "automatic", **terms: object) -> Play:
    told = content(*TWO, shipping=4_95)
    return play.receives(told, market(capture="manual", approval=approval, **terms)).reserved().authorized()


def amounts(play: Play) -> dict[str, tuple[int, int]]:
    return {one.line_id: (one.quantity, one.amount_minor) for one in play.last(Capture).lines}


def refused(play: Play) -> str:
    assert play.refusal is not None and not play.stated and not play.sent
    return play.refusal.code


def done(play: Play) -> bool:
    return play.refusal is None and not play.stated and not play.sent


def test_an_order_of_a_manual_market_ships_and_waits_for_a_person_to_capture_it(play: Play) -> None:
    placed(play).then(PaymentChanged, Placed, Approved, asks=[Start])
    assert play.started().status == "approved/authorized/in_progress" and waiting(play.order) == "capture"
    play.captures().then(CaptureRequested, asks=[Capture])
    assert play.event(CaptureRequested).operation_id == uid("capture")
    assert amounts(play) == {"1": (3, 10_00), "2": (1, 5_00), "shipping": (0, 4_95)}
    play.captured().then(PaymentChanged, asks=[Issue]).issued()
    assert waiting(play.order) == "warehouse"
    assert done(play.captures(op="again")) and "capture" not in allowed(play.order)


def test_lines_and_pieces_are_captured_each_once_and_add_up(play: Play) -> None:
    placed(play).started().captures(CaptureLine(line_id="1", quantity=1), op="first")
    assert amounts(play) == {"1": (1, 3_33)}
    assert refused(play.captures(CaptureLine(line_id="1", quantity=3), op="much")) == "capture_exceeds"
    assert play.refusal is not None and "line 1: 3 asked, 2 left" in play.refusal.detail
    play.captures(CaptureLine(line_id="1"), CaptureLine(line_id="shipping"), op="second")
    assert amounts(play) == {"1": (2, 6_67), "shipping": (0, 4_95)}
    assert refused(play.captures(CaptureLine(line_id="1"), op="no more")) == "nothing_to_capture"
    assert refused(play.captures(CaptureLine(line_id="9"), op="other")) == "line_unknown"
    play.captures(op="rest")
    assert amounts(play) == {"2": (1, 5_00)}


@settings(deadline=None)
@given(total=st.integers(1, 20) | st.integers(1, 10**6), parts=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_pieces_captured_by_hand_add_up_to_their_line(total: int, parts: list[int]) -> None:
    play = Play()
    play.receives(content(line("1", total, quantity=sum(parts))), market(capture="manual")).reserved().authorized()
    for n, pieces in enumerate(parts):
        play.captures(CaptureLine(line_id="1", quantity=pieces), op=f"capture {n}")
        so_far = Fraction(total * sum(parts[: n + 1]), sum(parts))
        taken = {command.operation_id: command.lines for command in play.commands if isinstance(command, Capture)}
        assert sum(one.amount_minor for lines in taken.values() for one in lines) == int(so_far + Fraction(1, 2))
    assert done(play.captures(op="all")), "nothing is left"


def test_approve_and_capture_does_both_once(play: Play) -> None:
    placed(play, approval="manual").approves_and_captures().then(Approved, CaptureRequested, asks=[Start, Capture])
    assert play.event(Approved).actor == "person:ann"
    assert done(play.approves_and_captures("again"))
    assert play.started().captured().issued().shipped().fulfilled().event(Completed)


def test_approve_and_capture_of_an_approved_order_captures_what_is_left(play: Play) -> None:
    placed(play, approval="manual").approves().captures(CaptureLine(line_id="2"))
    play.approves_and_captures().then(CaptureRequested, asks=[Capture])
    assert amounts(play) == {"1": (3, 10_00), "shipping": (0, 4_95)}


@pytest.mark.parametrize(("capture", "asked"), [("on_approval", [Capture, Start]), ("on_placement", [Start])])
def test_approve_and_capture_is_an_approval_where_the_market_captures_by_itself(
    play: Play, capture: str, asked: list[type[Capture]]
) -> None:
    play.receives(content(), market(capture=capture, approval="manual")).reserved().authorized()
    play.approves_and_captures().then(Approved, asks=asked)
    assert done(play.approves_and_captures("again"))


def test_a_market_that_captures_each_shipment_is_not_captured_by_hand(play: Play) -> None:
    play.receives(content(), market(capture="per_shipment", approval="manual")).reserved().authorized()
    assert refused(play.approves_and_captures()) == "capture_automatic"
    assert refused(play.approves().captures()) == "capture_automatic"


def test_capture_needs_an_approval_and_no_hold(play: Play) -> None:
    assert refused(placed(play, approval="manual").captures()) == "order_not_approved"
    assert refused(play.approves().holds().suspended().captures(op="held")) == "order_held"
    play.releases().resumed().captures(op="now").then(CaptureRequested, asks=[Capture])
    assert refused(play.cancels().captures(op="late")) == "order_cancelled"


def test_a_limit_is_an_amount_of_the_currency_of_the_market() -> None:
    with pytest.raises(ValidationError, match="state it"):
        MarketTerms(code="m", capture_up_to_minor=10_00)


# -- the edge cases of Commerce Layer that are about capture ----------------------------------------------------------


def test_edge_2_a_capture_that_is_reported_twice_counts_once(play: Play) -> None:
    play.in_the_warehouse().captured().issued()
    totals, issued = play.order.facts.money, [one for one in play.commands if isinstance(one, Issue)]
    play.when(play.event_told("captured"))
    assert play.order.facts.money == totals and [one for one in play.commands if isinstance(one, Issue)] == issued


def test_edge_2_a_capture_before_the_approval_makes_a_placed_order_paid(play: Play) -> None:
    play.receives(content(), market(approval="manual", capture="on_placement")).reserved().authorized().captured()
    assert play.status == "placed/paid/unfulfilled" and waiting(play.order) in ("approval", "answer")
    play.issued().approves().then(Approved, asks=[Start])


def test_edge_2_a_capture_that_is_reported_after_a_cancel_goes_back(play: Play) -> None:
    play.receives(content(), market(approval="manual", capture="on_placement")).reserved().authorized().cancels()
    assert play.order.status == "cancelled"
    play.captured().refunded().released()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_edge_7_a_free_order_is_free_and_its_approval_starts_it(play: Play) -> None:
    play.receives(content(line("1", 0)), market(capture="manual", approval="manual")).reserved()
    assert play.status == "placed/free/unfulfilled"
    play.approves().then(Approved, asks=[Start])
    assert refused(play.captures()) == "nothing_to_capture" and not [
        c for c in play.commands if isinstance(c, Authorize)
    ]
    play.started()
    assert waiting(play.order) == "warehouse"
    assert play.shipped().fulfilled().event(Completed)


def test_edge_8_an_order_of_nothing_that_ships_is_never_in_progress(play: Play) -> None:
    play.receives(content(line("1", 10_00, requires_shipping=False)), market(capture="manual")).authorized()
    assert play.status == "approved/authorized/not_required" and waiting(play.order) == "capture"
    play.captures().captured().issued().then(Completed)
    assert play.status == "approved/paid/not_required"


def test_edge_9_all_is_shipped_while_authorized_and_captured_later(play: Play) -> None:
    placed(play).started().shipped().fulfilled()
    assert play.status == "approved/authorized/fulfilled" and waiting(play.order) == "capture"
    assert play.order.completed_at is None
    play.captures().captured().issued().then(Completed)
    assert play.status == "approved/paid/fulfilled"


@pytest.mark.parametrize("capture", ["on_placement", "on_approval", "per_shipment"])
def test_edge_10_an_order_above_the_limit_of_its_market_is_only_authorized(play: Play, capture: str) -> None:
    terms = market(capture=capture, currency="EUR", capture_up_to_minor=9_99)
    play.receives(content(), terms).reserved().authorized().started().shipped()
    assert play.status == "approved/authorized/in_progress"
    play.captures().then(CaptureRequested, asks=[Capture])


def test_edge_10_an_order_of_the_limit_is_captured_by_itself(play: Play) -> None:
    terms = market(capture="on_approval", currency="EUR", capture_up_to_minor=10_00)
    play.receives(content(), terms).reserved().authorized()
    assert [type(one) for one in play.sent] == [Capture, Start]
