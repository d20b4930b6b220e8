"""What a snapshot means: a new order, an edit before it is placed, a cancel, an exception for a person, or nothing at all."""

from __future__ import annotations

from typing import Any

import pytest
from orders_play import Play, content, line, market

from contracts.fulfillment import Reserve
from contracts.invoicing import Issue
from contracts.orders import (
    Cancelled,
    Completed,
    DetailsChanged,
    Edited,
    ExceptionRaised,
    ExceptionResolved,
    MarketTerms,
    Received,
    Remarked,
)
from contracts.payments import Authorize
from contracts.snapshot import Address, Buyer, Cancellation, Quantities, Tax
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting


def test_the_terms_of_the_market_are_read_again_until_the_order_starts_and_later_terms_change_nothing(
    play: Play,
) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market(on_short="wait"))
    assert play.event(Received).market == market(on_short="wait") == play.order.market
    terms = market(capture="per_shipment")
    play.receives(content(), terms, seconds=1).then(Edited, asks=[Reserve])
    assert play.order.market == terms == play.event(Edited).market
    play.markets = dict.fromkeys(play.markets, market(capture="on_placement"))
    play.wakes().then(asks=[Reserve])
    assert play.order.market == terms


def test_without_a_market_the_default_terms_apply(play: Play) -> None:
    play.receives(content()).then(Received, asks=[Reserve])
    assert play.order.market == MarketTerms(code="default")


# -- stale and repeated -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifecycle", ["ready_to_fulfill", "awaiting_payment"])
def test_a_stale_or_repeated_snapshot_changes_nothing(play: Play, lifecycle: str) -> None:
    told = content(lifecycle=lifecycle)
    play.receives(told, market(), seconds=10, digest="a")
    before = play.order
    play.receives(told, seconds=10, digest="a").nothing()
    play.receives(content(line(total=1), lifecycle="cancelled"), seconds=9, digest="b").nothing()
    assert play.order == before


def test_a_newer_snapshot_that_says_the_same_only_moves_the_time(play: Play) -> None:
    told = content(lifecycle="awaiting_payment")
    play.receives(told, market()).receives(told, seconds=5, digest="other").nothing()
    assert play.order.content == told and play.order.source and play.order.source.content_hash == "other"


def test_of_the_same_time_another_content_counts_and_a_lower_sequence_does_not(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market(), digest="a")
    play.receives(content(), digest="b").then(Edited, asks=[Reserve])
    assert play.order.source is not None
    source = play.order.source.model_copy(update={"sequence": 5})
    play.order = play._replayed = play.order.model_copy(update={"source": source})
    play.receives(content(lifecycle="cancelled"), digest="c").nothing()


@pytest.mark.parametrize("ahead_seconds", [601, 9 * 3600, 173 * 365 * 86_400])
@pytest.mark.parametrize("first", [True, False])
def test_an_update_stamped_in_the_future_is_remarked_once_and_silences_no_later_one(
    play: Play, ahead_seconds: int, first: bool
) -> None:
    if not first:
        play.receives(content(lifecycle="awaiting_payment"), market())
    play.receives(content(), market(approval="manual"), seconds=ahead_seconds)
    assert [event.code for event in play.stated if isinstance(event, Remarked)] == ["updated_at_ahead"]
    assert play.order.status == "placing" and waiting(play.order) == "answer"
    play.receives(content(), seconds=ahead_seconds, digest="again").nothing()
    play.receives(content(lifecycle="cancelled"), seconds=60).then(Cancelled)


def test_of_updates_stamped_in_the_future_the_sequence_decides_then_arrival(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market(), seconds=90_000, sequence=7)
    play.receives(content(lifecycle="cancelled"), seconds=95_000, sequence=6).nothing()
    play.receives(content(lifecycle="cancelled"), seconds=5, sequence=6).nothing()
    play.receives(content(), seconds=80_000, sequence=7).then(Edited, asks=[Reserve])


def test_a_clock_that_is_ten_minutes_ahead_is_a_clock(play: Play) -> None:
    play.receives(content(), market(), seconds=600).then(Received, asks=[Reserve])
    play.receives(content(lifecycle="cancelled"), seconds=599).nothing()


# -- before it is placed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifecycle", ["awaiting_payment", "awaiting_acceptance", "unknown"])
def test_an_order_that_is_not_ready_upstream_waits_for_a_later_snapshot(play: Play, lifecycle: str) -> None:
    play.receives(content(lifecycle=lifecycle), market()).then(Received)
    assert play.status == "pending/unpaid/unfulfilled"
    assert waiting(play.order) == ("payment" if lifecycle == "awaiting_payment" else "snapshot")
    assert allowed(play.order) == ["cancel", "hold"]
    play.receives(content(line(total=12_00), lifecycle=lifecycle), seconds=1).then(Edited)
    assert play.event(Edited).order.totals.grand_minor == 12_00
    play.receives(content(line(total=12_00)), seconds=2).then(Edited, asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled"
    play.reserved()
    assert sum(one.amount_minor for one in play.last(Authorize).lines) == 12_00


@pytest.mark.parametrize(
    ("told", "terms", "code"),
    [
        (content(line(total=None)), {}, "not_priced"),
        (content(line(total=None, discount_minor=5), discount=9), {}, "not_priced"),
        (content(line(sku=None)), {}, "sku_missing"),
        (content(), {"currency": "GBP"}, "currency_differs"),
        (content(lifecycle="partially_shipped"), {}, "partly_shipped_elsewhere"),
    ],
)
def test_an_order_that_cannot_start_says_why(play: Play, told: Any, terms: dict[str, Any], code: str) -> None:
    """Promise 7."""
    play.receives(told, market(**terms)).then(Received, ExceptionRaised)
    assert play.event(ExceptionRaised).code == code and play.event(ExceptionRaised).detail
    assert play.order.status == "pending" and waiting(play.order) == "exception"
    play.cancels().then(Cancelled, ExceptionResolved)
    assert waiting(play.order) == ""


@pytest.mark.parametrize(
    "state", ["pending", "unpaid", "voided", "chargeback", "failed", "expired", "Something New", ""]
)
def test_an_order_whose_payment_is_not_secured_waits_for_it(play: Play, state: str) -> None:
    play.receives(content(payment_state=state), market()).then(Received)
    assert play.status == "pending/unpaid/unfulfilled" and waiting(play.order) == "payment"
    assert allowed(play.order) == ["cancel", "hold"] and not play.order.exceptions
    play.receives(content(payment_state="AUTHORIZED"), seconds=1).then(Edited, asks=[Reserve])


def test_an_order_that_costs_nothing_waits_for_no_payment(play: Play) -> None:
    play.receives(content(line(total=0), payment_state="unpaid"), market()).then(Received, asks=[Reserve])


def test_a_test_order_is_shown_and_moves_nothing(play: Play) -> None:
    play.receives(content(test=True), market()).then(Received)
    assert play.status == "pending/unpaid/unfulfilled" and waiting(play.order) == ""
    play.receives(content(test=True, payment_state="pending"), seconds=1).then(Edited)
    assert waiting(play.order) == "" and allowed(play.order) == ["cancel", "hold"] and not play.order.exceptions
    play.receives(content(), seconds=2).then(Edited, asks=[Reserve])  # it was none


def test_an_order_of_which_no_tax_is_stated_waits_for_it(play: Play) -> None:
    """Never 0 %."""
    untaxed = content(line(), line("2", tax=()))
    play.receives(untaxed, market()).then(Received, ExceptionRaised)
    assert play.event(ExceptionRaised).code == "tax_missing" and "line 2" in play.event(ExceptionRaised).detail
    assert waiting(play.order) == "exception"
    play.receives(content(line(), line("2", tax=(Tax(rate="0"),))), seconds=1).then(
        Edited, ExceptionResolved, asks=[Reserve]
    )


def test_a_price_that_comes_later_lets_it_start(play: Play) -> None:
    play.receives(content(line(total=None)), market())
    play.receives(content(line(total=None, sku=None)), seconds=1).then(Edited)  # still the same obstacle
    play.receives(content(line(sku=None)), seconds=2).then(Edited, ExceptionResolved, ExceptionRaised)
    assert [*play.order.exceptions] == ["sku_missing"]
    play.receives(content(), seconds=3).then(Edited, ExceptionResolved, asks=[Reserve])
    assert not play.order.exceptions


def test_what_had_partly_shipped_elsewhere_is_never_started_by_a_later_snapshot(play: Play) -> None:
    play.receives(content(lifecycle="partially_shipped"), market())
    play.receives(content(), seconds=1).then(Edited)
    assert play.order.status == "pending" and waiting(play.order) == "exception"
    play.receives(content(lifecycle="shipped"), seconds=2).then(Edited, ExceptionResolved)
    assert play.status == "approved/unpaid/fulfilled"


# -- first seen late --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifecycle", "status"),
    [
        ("shipped", "approved/unpaid/fulfilled"),
        ("delivered", "approved/unpaid/fulfilled"),
        ("closed", "approved/unpaid/fulfilled"),
        ("cancelled", "cancelled/unpaid/unfulfilled"),
        ("refused", "cancelled/unpaid/unfulfilled"),
    ],
)
@pytest.mark.parametrize("waited", [False, True])
def test_what_the_marketplace_carried_or_cancelled_without_us_is_recorded(
    play: Play, lifecycle: str, status: str, waited: bool
) -> None:
    if waited:
        play.receives(content(lifecycle="awaiting_payment"), market())
        play.receives(content(lifecycle=lifecycle), seconds=1)
        play.then(Cancelled if status.startswith("cancelled") else Edited)
    else:
        play.receives(content(lifecycle=lifecycle), market()).then(Received)
    assert play.status == status and not play.order.open_runs and waiting(play.order) == ""
    assert not play.commands and allowed(play.order) == []
    assert play.order.cancel_cause == ("marketplace" if status.startswith("cancelled") else None)


def test_a_free_order_that_was_shipped_elsewhere_is_not_completed_by_us(play: Play) -> None:
    play.receives(content(line(total=0), lifecycle="shipped"), market()).then(Received)
    assert play.status == "approved/free/fulfilled"


@pytest.mark.parametrize(
    "gone",
    [
        line(cancellation=Cancellation(executed=True)),
        line().model_copy(update={"quantity": Quantities(ordered=2, cancelled=2)}),
        line(quantity=0),
    ],
)
@pytest.mark.parametrize("waited", [False, True])
def test_an_order_whose_every_line_is_cancelled_is_cancelled(play: Play, gone: Any, waited: bool) -> None:
    """Its shipping charge with it."""
    if waited:
        play.receives(content(lifecycle="awaiting_payment"), market())
        play.receives(content(gone, shipping=4_95), seconds=1).then(Cancelled)
    else:
        play.receives(content(gone, shipping=4_95), market()).then(Received)
    assert play.order.status == "cancelled" and not play.commands


def test_pieces_that_are_cancelled_before_placing_are_neither_reserved_nor_paid(play: Play) -> None:
    play.receives(content(line(total=30_00, quantity=3), line("2"), lifecycle="awaiting_payment"), market())
    less = line(total=30_00).model_copy(update={"quantity": Quantities(ordered=3, cancelled=1)})
    cancelled = line("2", cancellation=Cancellation(executed=True))
    play.receives(content(less, cancelled), seconds=1).then(Edited, asks=[Reserve])
    assert [(one.line_id, one.quantity) for one in play.last(Reserve).lines] == [("1", 2)]
    play.reserved()
    assert [(one.line_id, one.amount_minor) for one in play.last(Authorize).lines] == [("1", 20_00)]
    play.authorized().started().shipped().fulfilled().captured()
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Issue).lines] == [("1", 2, 20_00)]
    play.issued().then(Completed)
    assert play.event(Completed).grand_minor == 20_00 and play.status == "approved/paid/fulfilled"


# -- after it is placed -----------------------------------------------------------------------------------------------


def test_a_whole_cancel_cancels(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved()
    play.receives(content(lifecycle="cancelled"), seconds=1).then(Cancelled)
    assert play.order.cancel_cause == "marketplace"
    play.receives(content(lifecycle="refused"), seconds=2).nothing()


def test_a_whole_cancel_of_what_has_shipped_is_for_a_person_once(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped()
    play.receives(content(lifecycle="cancelled"), seconds=1).then(ExceptionRaised)
    assert play.event(ExceptionRaised).code == "cancelled_too_late"
    play.receives(content(lifecycle="cancelled", test=True), seconds=2).nothing()


@pytest.mark.parametrize(
    "changed",
    [
        content(line(total=9_00)),
        content(line(), line("2")),
        content(line(quantity=2)),
        content(shipping=1),
    ],
)
def test_anything_else_that_changes_is_for_a_person_and_is_not_applied(play: Play, changed: Any) -> None:
    play.receives(content(), market())
    play.receives(changed, seconds=1).then(ExceptionRaised)
    assert play.event(ExceptionRaised).code == "snapshot_changed" and play.order.content == content()
    play.receives(changed, seconds=2).nothing()
    play.reserved().then(asks=[Authorize])  # it goes on as it was sold


def test_the_marketplace_moving_on_with_the_order_is_nothing_new(play: Play) -> None:
    play.in_the_warehouse().shipped()
    play.receives(content(lifecycle="partially_shipped"), seconds=1).nothing()
    play.fulfilled()
    for n, lifecycle in enumerate(["shipped", "delivered", "closed"]):
        play.receives(content(lifecycle=lifecycle), seconds=n + 2).nothing()
    assert play.order.content and play.order.content.lifecycle == "closed"


def test_a_request_to_cancel_a_line_is_for_a_person(play: Play) -> None:
    play.receives(content(line(), line("2")), market())
    asked = content(line(cancellation=Cancellation(requested=True)), line("2"))
    play.receives(asked, seconds=1).then(ExceptionRaised)
    assert play.event(ExceptionRaised).code == "cancel_requested" and play.order.status == "placing"
    play.receives(asked, seconds=2).nothing()


# -- people -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifecycle", ["awaiting_payment", "ready_to_fulfill", "cancelled"])
def test_personal_fields_that_a_marketplace_wipes_are_never_emptied(play: Play, lifecycle: str) -> None:
    play.receives(content(lifecycle=lifecycle), market())
    told = play.order.content
    for n, wiped in enumerate([{"buyer": Buyer(), "ship_to": None}, {"buyer": Buyer(name=""), "ship_to": Address()}]):
        play.receives(content(lifecycle=lifecycle, **wiped), seconds=n + 1)
        play.nothing()
    assert play.order.content == told


FIRST = Address(
    name="Ann", company="Acme SARL", line1="12 Rue A", line2="Apt 4B", postcode="75001", city="Paris", region="IDF",
    pickup_point="PP-0815", country="FR",
)  # fmt: skip


@pytest.mark.parametrize("field", ["ship_to", "bill_to"])
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (Address(line1="5 Chemin B", postcode="69001", city="Lyon", country="FR"), False),
        (Address(name="Bob"), False),
        (FIRST.model_copy(update={"phone": "1"}), False),
        (Address(country="FR"), True),
        (FIRST.model_copy(update={"line2": None, "name": ""}), True),
        (Address(), True),
        (None, True),
    ],
)
def test_an_address_is_replaced_whole_or_kept_whole(play: Play, field: str, told: Any, kept: bool) -> None:
    play.receives(content(lifecycle="awaiting_payment", **{field: FIRST}), market())
    play.receives(content(**{field: told}), seconds=1)
    assert getattr(play.order.content, field) == (FIRST if kept else told)


def test_of_another_buyer_nothing_of_the_first_one_is_kept(play: Play) -> None:
    play.receives(content(buyer=Buyer(name="Ann", vat_number="FR1"), lifecycle="awaiting_payment"), market())
    play.receives(content(buyer=Buyer(name="Bob")), seconds=1)
    assert play.order.content and play.order.content.buyer == Buyer(name="Bob")


def test_personal_fields_that_come_later_are_taken_over(play: Play) -> None:
    play.receives(content(buyer=Buyer()), market())
    play.receives(content(buyer=Buyer(name="Ann", email="a@example.com")), seconds=1).then(DetailsChanged)
    assert play.event(DetailsChanged).order == play.order.content
    assert play.order.content and play.order.content.buyer == Buyer(name="Ann", email="a@example.com")
    assert play.order.source and play.order.source.updated_at > play.now
    play.receives(content(buyer=Buyer()), seconds=1, digest="older?").nothing()
    assert play.order.content.buyer.name == "Ann"
