"""What frees an order that waits: corrected terms, a newer snapshot, a request, a person."""

from __future__ import annotations

from collections.abc import Callable

from orders_differences import MOVED, codes
from orders_play import Play, content, line, market

from contracts.base import Event
from contracts.fulfillment import CancelShipments, Reserve, Start
from contracts.invoicing import Issue
from contracts.orders import Edited, ExceptionResolved, Retried, WaitingChanged
from contracts.snapshot import Buyer
from orders.domain.decisions.actions import allowed


def test_corrected_terms_free_an_order_by_a_timer_a_snapshot_a_request_or_a_person(play: Play) -> None:
    play.receives(content(), market(currency="GBP"))
    assert codes(play) == ["currency_differs"] and allowed(play.order) == ["cancel", "hold"]
    play.retries().nothing()
    assert play.refusal is not None and play.refusal.code == "obstacle_remains"
    stuck = play.order
    frees: list[Callable[[], Play]] = [
        lambda: play.wakes(0),
        lambda: play.retries("later"),
        lambda: play.resolves("currency_differs", "accept"),
        lambda: play.receives(content(), seconds=5, digest="touched"),
    ]
    for free in frees:
        play.order = play._replayed = stuck
        play.markets = dict.fromkeys(play.markets, market(currency="EUR"))
        free()
        assert isinstance(play.sent[0], Reserve) and not codes(play) and play.order.market == market(currency="EUR")


def test_a_timer_that_finds_the_same_obstacle_changes_nothing(play: Play) -> None:
    play.receives(content(), market(currency="GBP")).wakes(0).nothing()


def test_the_same_request_and_a_corrected_one_free_an_order_that_has_not_started(play: Play) -> None:
    play.placed_over_http(content(), market(currency="GBP"))
    play.placed_over_http(content(), market(), op="again")
    assert play.order.status == "placing"
    other = Play()
    other.placed_over_http(content(line(sku=None)), market()).placed_over_http(content(), market(), op="again")
    other.then(Edited, ExceptionResolved, asks=[Reserve])
    other.placed_over_http(content(line(quantity=2)), market(), op="third").nothing()
    assert other.refusal is not None and other.refusal.code == "order_exists"


def test_corrected_locations_free_an_order_that_waits_for_stock_at_once_and_so_does_a_person(play: Play) -> None:
    play.receives(content(), market(on_short="wait"))
    play.short().wakes(0).nothing()
    play.retries().then(Retried, WaitingChanged, asks=[Reserve])
    play.short()
    play.markets = dict.fromkeys(play.markets, market(on_short="wait", locations=("second",)))
    play.wakes(0).then(Edited, asks=[Reserve])
    assert play.last(Reserve).locations == ("second",)


def test_another_seller_of_the_market_frees_the_invoice_and_nothing_else_changes(play: Play) -> None:
    play.in_the_warehouse().captured().rejected()
    stuck = play.order
    other = market(seller="other", capture="per_shipment", approval="manual", gateway="test")
    frees: list[tuple[Callable[[], Play], type[Event]]] = [
        (lambda: play.wakes(0), Edited),
        (lambda: play.retries("later"), Retried),
        (lambda: play.resolves("invoice_failed", "accept"), Retried),
    ]
    for free, last in frees:
        play.order = play._replayed = stuck
        play.markets = dict.fromkeys(play.markets, other)
        free()
        assert [type(event) for event in play.stated if not isinstance(event, ExceptionResolved)][-1] is last
        assert play.sent[0] == play.last(Issue) and play.last(Issue).seller == "other"
        assert play.order.market == market(seller="other")
    play.wakes(0).nothing()


def test_a_refused_cancel_does_not_end_the_wait_for_a_seller(play: Play) -> None:
    play.in_the_warehouse().captured().rejected().cancels()
    assert play.wakes_in == 30  # what the cancel asks
    play.wakes().then(asks=[CancelShipments])
    play.shipped().too_late()
    assert codes(play) == ["invoice_failed"] and play.wakes_in == 0
    play.wakes().then(asks=[Issue])
    play.issued().fulfilled()
    assert not codes(play) and play.order.completed_at


def test_an_order_that_waits_for_stock_keeps_its_open_differences_when_the_terms_are_corrected(play: Play) -> None:
    play.receives(content(), market(on_short="wait")).short().receives(MOVED, seconds=5)
    play.markets = dict.fromkeys(play.markets, market(on_short="wait", locations=("second",)))
    play.wakes(0).reserved()
    assert codes(play) == ["address_changed"]
    play.resolves("address_changed", "accept")
    assert play.order.content is not None and play.order.content.ship_to == MOVED.ship_to and not codes(play)


def test_what_is_placed_anew_runs_by_the_present_terms(play: Play) -> None:
    play.receives(content(), market()).receives(content(lifecycle="cancelled"), seconds=5).reserved().released()
    play.receives(content(), seconds=10)
    play.markets = dict.fromkeys(play.markets, market(seller="other", locations=("second",)))
    play.resolves("order_reinstated", "accept")
    assert play.last(Reserve).locations == ("second",) and play.order.market == next(iter(play.markets.values()))


def test_an_address_that_is_wiped_afterwards_is_still_the_changed_one(play: Play) -> None:
    wiped = content(ship_to=None, bill_to=None, buyer=Buyer())
    play.in_the_warehouse().receives(MOVED, seconds=5).receives(wiped, seconds=10).nothing()
    assert codes(play) == ["address_changed"]
    play.resolves("address_changed", "accept").captured().suspended().resumed()
    assert play.last(Start).ship_to == MOVED.ship_to
    play.receives(content(), seconds=20).resolves("address_changed", "keep")
    play.receives(wiped, seconds=25).nothing().receives(content(), seconds=30).nothing()


def test_a_seller_that_is_corrected_frees_the_invoice_without_a_person(play: Play) -> None:
    play.in_the_warehouse().captured().rejected()
    assert codes(play) == ["invoice_failed"] and play.wakes_in == 30
    play.wakes().then(asks=[Issue])
    play.rejected().nothing()
    for _ in range(20):
        play.wakes().rejected()
    assert play.wakes_in == 900  # it is asked for again and again, at most so late
    play.wakes().issued().then(ExceptionResolved)
    assert not codes(play)
