"""Nothing that a marketplace states is swallowed: it is applied, or an exception names the difference and a person ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from orders_play import NOW, ORDER, STORE, Play, content, line, market, uid
from test_orders_rebill import captured_late, declined, invoiced, reverses

from contracts.base import Event
from contracts.fulfillment import CancelShipments, Reduce, Reserve, Start
from contracts.invoicing import Issue
from contracts.orders import (
    Cancelled,
    Completed,
    DetailsChanged,
    EditConfirmed,
    Edited,
    EditOpened,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    PaymentMethod,
    Received,
    Reinstated,
    Resolve,
    Retried,
    WaitingChanged,
)
from contracts.payments import Authorize
from contracts.snapshot import Address, Buyer, Cancellation, OrderContent, Quantities, UpstreamRefund, Windows
from orders.domain.content import snapshots
from orders.domain.decisions import exceptions
from orders.domain.decisions.actions import allowed
from orders.domain.processes import differences
from orders.domain.shown.views import waiting

NEW_ADDRESS = Address(name="Ann", line1="2 Way", city="Lyon", country="FR")
REFUND = UpstreamRefund(external_refund_id="R1", amount_minor=5_00)
TOO_MUCH = UpstreamRefund(external_refund_id="R1", amount_minor=11_00)
"""More than the order was charged: it cannot be booked."""
MOVED = content(ship_to=NEW_ADDRESS)
TWO = (line(), line("2"))


def asked(line_id: str = "1", **more: Any) -> Any:
    return line(line_id, cancellation=Cancellation(requested=True), **more)


def quantity(**pieces: int) -> Any:
    return line().model_copy(update={"quantity": Quantities(ordered=1, **pieces)})


def codes(play: Play) -> list[str]:
    return [*play.order.exceptions]


def changes(play: Play, code: str) -> list[tuple[str, str, Any, Any]]:
    return [(one.path, one.change, one.before, one.after) for one in play.order.exceptions[code].difference]


# -- a difference is named --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "code", "named"),
    [
        (content(line(quantity=2), line("2")), "snapshot_changed", ("lines[1].quantity.ordered", "changed", 1, 2)),
        (content(line(total=9_00), line("2")), "snapshot_changed", ("lines[1].line_total_minor", "changed", 10_00, 9_00)),
        (content(line(sku="X"), line("2")), "snapshot_changed", ("lines[1].sku", "changed", "SKU-1", "X")),
        (content(*TWO, line("3")), "snapshot_changed", ("lines[3].sku", "added", None, "SKU-3")),
        (content(line("2")), "snapshot_changed", ("lines[1].sku", "removed", "SKU-1", None)),
        (content(*TWO, shipping=1), "snapshot_changed", ("totals.shipping_minor", "changed", 0, 1)),
        (content(*TWO, currency="GBP"), "snapshot_changed", ("currency", "changed", "EUR", "GBP")),
        (content(*TWO, ship_to=NEW_ADDRESS), "address_changed", ("ship_to.line1", "changed", None, None)),
        (content(*TWO, refunds=(REFUND,)), "refund_made", ("refunds[R1].amount_minor", "added", None, 5_00)),
        (content(quantity(refunded=1), line("2")), "refund_made", ("lines[1].quantity.refunded", "changed", 0, 1)),
        (content(*TWO, payment_state="partially_refunded"), "refund_made", ("payment_state", "changed", "paid", "partially_refunded")),
        (content(*TWO, payment_state="chargeback"), "payment_reversed", ("payment_state", "changed", "paid", "chargeback")),
        (content(*TWO, payment_state="voided"), "payment_reversed", ("payment_state", "changed", "paid", "voided")),
        (content(asked(), line("2")), "cancel_requested", ("lines[1].cancellation.requested", "changed", False, True)),
        (content(line(cancellation=Cancellation(executed=True)), line("2")), "line_cancelled", ("lines[1].cancellation.executed", "changed", False, True)),
        (content(quantity(cancelled=1), line("2")), "line_cancelled", ("lines[1].quantity.cancelled", "changed", 0, 1)),
        (content(*TWO, lifecycle="awaiting_payment"), "lifecycle_reversed", ("lifecycle", "changed", "ready_to_fulfill", "awaiting_payment")),
        (content(*TWO, lifecycle="unknown"), "lifecycle_reversed", ("lifecycle", "changed", "ready_to_fulfill", "unknown")),
        (content(*TWO, lifecycle="shipped"), "shipment_reported", ("lifecycle", "changed", "ready_to_fulfill", "shipped")),
    ],
)  # fmt: skip
def test_what_a_newer_snapshot_states_differently_raises_once_and_is_taken_back_by_a_snapshot(
    play: Play, told: OrderContent, code: str, named: Any
) -> None:
    play.in_the_warehouse(content(*TWO))
    ours = play.order.content
    play.receives(told, seconds=1).then(ExceptionRaised)
    assert codes(play) == [code] and named in changes(play, code) and play.order.exceptions[code].since == play.now
    assert play.order.content == ours and waiting(play.order) == "exception" and "resolve" in allowed(play.order)
    play.receives(told.model_copy(update={"site": "7"}), seconds=2).nothing()  # the same difference
    play.receives(content(*TWO), seconds=3).then(ExceptionResolved)
    assert not codes(play) and play.event(ExceptionResolved).resolution is None
    play.receives(told, seconds=4).then(ExceptionRaised)


def test_a_kept_difference_is_raised_again_when_it_changes_and_not_before(play: Play) -> None:
    play.in_the_warehouse()
    play.receives(content(ship_to=NEW_ADDRESS), seconds=1).then(ExceptionRaised)
    play.resolves("address_changed", "keep").then(ExceptionResolved)
    told = play.event(ExceptionResolved)
    assert (told.resolution, told.actor, told.reason) == ("keep", "person:ann", "seen") and waiting(
        play.order
    ) == "answer"
    play.receives(content(ship_to=NEW_ADDRESS, windows=Windows(ship_by=NOW)), seconds=2).nothing()
    third = NEW_ADDRESS.model_copy(update={"line1": "3 Way"})
    play.receives(content(ship_to=third), seconds=3).then(ExceptionRaised)
    fourth = NEW_ADDRESS.model_copy(update={"line1": "4 Way"})
    play.receives(content(ship_to=fourth), seconds=4).then(
        ExceptionResolved, ExceptionRaised
    )  # what is accepted was shown


def test_personal_values_are_never_named(play: Play) -> None:
    play.in_the_warehouse()
    play.receives(content(ship_to=NEW_ADDRESS), seconds=1)
    published = "".join(event.model_dump_json() for event in play.stated)
    assert "2 Way" not in published and "Lyon" not in published and "ship_to.line1" in published


def test_a_difference_of_a_thousand_lines_is_shown_in_part_and_counted(play: Play) -> None:
    many = tuple(line(str(n)) for n in range(1, 1_001))
    play.in_the_warehouse(content(*many))
    play.receives(content(*(line(str(n), quantity=2) for n in range(1, 1_001))), seconds=1)
    raised = play.event(ExceptionRaised)
    assert len(raised.difference) == 50 and raised.changes_more == 950 and len(raised.model_dump_json()) < 50_000


def test_what_informs_is_taken_over_beside_a_difference(play: Play) -> None:
    play.in_the_warehouse()
    told = content(line(title="Mug", total=9_00), buyer=Buyer(name="Ann", email="new@example.com"), external_number="7")
    play.receives(told, seconds=1).then(DetailsChanged, ExceptionRaised)
    ours = play.order.content
    assert ours is not None and (ours.buyer.email, ours.external_number) == ("new@example.com", "7")
    assert (ours.lines[0].title, ours.lines[0].line_total_minor, ours.totals.grand_minor) == ("Mug", 10_00, 10_00)


# -- what a resolution does -------------------------------------------------------------------------------------------


def test_an_accepted_address_goes_to_the_warehouse_until_something_has_shipped(play: Play) -> None:
    play.in_the_warehouse().receives(content(ship_to=NEW_ADDRESS), seconds=1)
    play.resolves("address_changed", "accept").then(ExceptionResolved, EditOpened, EditConfirmed)
    play.captured().suspended().resumed()
    assert play.last(Start).ship_to == NEW_ADDRESS and play.order.content and play.order.content.ship_to == NEW_ADDRESS
    play.started().nothing()
    play.receives(content(ship_to=NEW_ADDRESS), seconds=2).nothing()
    play.shipped()
    play.receives(content(), seconds=3).then(ExceptionRaised)
    play.resolves("address_changed", "accept").nothing()
    assert play.refusal is not None and play.refusal.code == "order_shipped" and codes(play) == ["address_changed"]


def test_an_accepted_address_of_an_order_that_was_not_started_goes_with_its_start(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized()
    play.receives(content(ship_to=NEW_ADDRESS), seconds=1).resolves("address_changed", "accept")
    play.then(ExceptionResolved, EditOpened, EditConfirmed, Edited)
    play.approves()
    assert play.last(Start).ship_to == NEW_ADDRESS


def test_an_accepted_request_of_one_line_cancels_it_and_of_every_line_cancels_the_order(play: Play) -> None:
    play.receives(content(*TWO), market(approval="manual")).reserved().authorized()
    play.receives(content(asked(), line("2")), seconds=1)
    play.resolves("cancel_requested", "accept")
    play.then(ExceptionResolved, EditOpened, EditConfirmed, Edited, asks=[Reduce])
    play.partly_reduced().voided()
    assert play.order.grand_minor == 10_00 and play.order.stated is None
    play.receives(content(asked(), line("2")), seconds=2, digest="again").nothing()
    play.receives(content(asked(), asked("2")), seconds=3).then(ExceptionRaised)
    play.resolves("cancel_requested", "accept", op="all")
    assert play.order.status == "cancelled" and play.order.cancel_cause == "customer"


def test_a_request_after_something_has_shipped_is_accepted_too_late(play: Play) -> None:
    play.in_the_warehouse().shipped().receives(content(asked()), seconds=1).resolves("cancel_requested", "accept")
    assert play.refusal is not None and play.refusal.code == "order_shipped"
    play.resolves("cancel_requested", "keep").then(ExceptionResolved)


@pytest.mark.parametrize("lifecycle", ["ready_to_fulfill", "awaiting_payment"])
def test_a_request_in_the_first_snapshot_holds_the_order_until_a_person_decides(play: Play, lifecycle: str) -> None:
    told = content(asked(), line("2"), lifecycle=lifecycle)
    play.receives(told, market()).then(Received, ExceptionRaised)
    assert (play.order.status, codes(play)) == ("pending", ["cancel_requested"])
    play.resolves("cancel_requested", "keep")
    ready = told.model_copy(update={"lifecycle": "ready_to_fulfill"})
    play.receives(ready, seconds=1)
    assert play.order.status == "placing" and not codes(play)


def test_an_accepted_request_of_a_line_cancels_it_before_the_order_starts(play: Play) -> None:
    play.receives(content(asked(), line("2")), market())
    play.resolves("cancel_requested", "accept").then(ExceptionResolved, Edited, asks=[Reserve])
    assert play.order.content and play.order.content.lines[0].cancellation.executed
    play.receives(content(asked(), line("2")), seconds=1).nothing()  # the marketplace has not executed it yet


def test_an_accepted_request_of_the_whole_order_cancels_it_before_it_starts(play: Play) -> None:
    play.receives(content(asked()), market()).resolves("cancel_requested", "accept")
    assert play.order.status == "cancelled" and waiting(play.order) == ""


def test_a_refund_upstream_that_exceeds_the_order_is_raised_once(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    refunded = content(quantity(refunded=1), refunds=(TOO_MUCH,), payment_state="refunded")
    play.receives(refunded, seconds=1).then(ExceptionRaised)
    play.resolves("refund_made", "accept").then(ExceptionResolved)
    assert play.order.content == refunded and play.order.payment_status == "paid"
    play.receives(refunded, seconds=2).nothing()
    more = refunded.model_copy(
        update={"refunds": (TOO_MUCH, UpstreamRefund(external_refund_id="R2", amount_minor=11_00))}
    )
    play.receives(more, seconds=3).then(ExceptionRaised)
    assert changes(play, "refund_made") == [("refunds[R2].external_refund_id", "added", None, "R2"),
                                            ("refunds[R2].amount_minor", "added", None, 11_00)]  # fmt: skip


def test_a_refund_before_the_order_starts_holds_it(play: Play) -> None:
    play.receives(content(refunds=(REFUND,)), market()).then(Received, ExceptionRaised)
    assert codes(play) == ["refund_made"] and play.order.status == "pending"
    play.resolves("refund_made", "accept")
    assert play.order.status == "placing" and isinstance(play.sent[0], Reserve)


def test_what_had_partly_shipped_elsewhere_has_two_ways_out(play: Play) -> None:
    play.receives(content(lifecycle="partially_shipped"), market())
    before = play.order
    play.resolves("partly_shipped_elsewhere", "accept").then(ExceptionResolved, Edited)
    assert play.status == "approved/unpaid/fulfilled" and waiting(play.order) == ""
    play.receives(content(lifecycle="shipped"), seconds=1).nothing()
    play.order = play._replayed = before
    play.resolves("partly_shipped_elsewhere", "keep", op="other").then(ExceptionResolved, Edited, asks=[Reserve])
    assert play.order.status == "placing"


def test_our_own_shipment_ends_what_the_marketplace_reported_first(play: Play) -> None:
    play.in_the_warehouse().receives(content(lifecycle="shipped"), seconds=1).then(ExceptionRaised)
    play.receives(content(lifecycle="delivered"), seconds=2).nothing()
    play.shipped()
    play.fulfilled().then(FulfillmentChanged, ExceptionResolved)
    assert not codes(play)


# -- after a cancel ---------------------------------------------------------------------------------------------------


def test_cancelled_upstream_then_paid_is_placed_anew_when_a_person_accepts(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market(capture="on_placement"))
    play.receives(content(lifecycle="cancelled"), seconds=1).then(Cancelled)
    play.receives(content(), seconds=2).then(ExceptionRaised)
    assert codes(play) == ["order_reinstated"] and waiting(play.order) == "exception"
    assert changes(play, "order_reinstated") == [("lifecycle", "changed", "cancelled", "ready_to_fulfill")]
    play.receives(content(), seconds=3, digest="again").nothing()
    play.resolves("order_reinstated", "accept").then(ExceptionResolved, Reinstated, asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled" and play.order.cancelled_at is None
    play.reserved().authorized()
    play.captured().issued().started().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and isinstance(play.event(Completed), Completed)


@pytest.mark.parametrize("lifecycle", ["cancelled", "refused"])
def test_first_seen_cancelled_then_alive(play: Play, lifecycle: str) -> None:
    play.receives(content(lifecycle=lifecycle), market()).receives(content(), seconds=1).then(ExceptionRaised)
    play.receives(content(lifecycle=lifecycle), seconds=2).then(ExceptionResolved)
    play.receives(content(), seconds=3).then(ExceptionRaised)
    play.resolves("order_reinstated", "keep").then(ExceptionResolved)
    play.receives(content(), seconds=4, digest="again").nothing()
    assert play.order.status == "cancelled" and waiting(play.order) == ""


def test_what_we_cancelled_is_placed_anew_only_after_its_undo_and_the_money_counts_from_there(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market())
    play.receives(content(), seconds=1).reserved().authorized().captured().issued().started()
    play.cancels().shipments_cancelled()
    play.receives(content(), seconds=2, digest="the same").nothing()  # it has not received our cancel
    play.receives(content(line(total=12_00)), seconds=3).then(ExceptionRaised)
    play.resolves("order_reinstated", "accept").nothing()
    assert play.refusal is not None and play.refusal.code == "undo_running"
    play.credited().refunded()
    assert not play.order.open_runs and codes(play) == ["order_reinstated"] and play.order.payment_status == "refunded"
    play.resolves("order_reinstated", "accept", op="later").then(ExceptionResolved, Reinstated, asks=[Reserve])
    assert play.status == "placing/unpaid/unfulfilled"
    play.reserved().authorized()
    assert (
        play.order.payment_status == "authorized"
        and sum(one.amount_minor for one in play.last(Authorize).lines) == 12_00
    )
    play.captured().issued().started().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and play.order.completed_at is not None


def test_what_has_shipped_is_not_placed_anew(play: Play) -> None:
    """The buyer has the goods: they do not ship again, and are not charged again."""
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    play.refunds(goodwill_minor=10_00).refunded().credited()
    assert play.status == "cancelled/refunded/fulfilled"
    play.receives(content(line(total=12_00)), seconds=1).then(ExceptionRaised)
    play.resolves("order_reinstated", "accept").nothing()
    assert play.refusal is not None and play.refusal.code == "goods_shipped"
    play.resolves("order_reinstated", "keep").then(ExceptionResolved)
    assert play.status == "cancelled/refunded/fulfilled" and not play.order.open_runs


def test_what_has_shipped_is_recorded_where_the_marketplace_carried_it_through(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    play.refunds(goodwill_minor=10_00).refunded().credited()
    play.receives(content(line(total=12_00), lifecycle="delivered"), seconds=1)
    play.resolves("order_reinstated", "accept").then(ExceptionResolved, Reinstated)
    assert play.status == "approved/unpaid/fulfilled" and not play.order.open_runs


def test_what_follows_from_our_cancel_upstream_is_nothing_to_decide(play: Play) -> None:
    play.receives(content(), market()).reserved().authorized().started()
    play.cancels().shipments_cancelled()
    told = content(
        quantity(cancelled=1, refunded=1), refunds=(REFUND,), payment_state="refunded", lifecycle="cancelled"
    )
    play.receives(told, seconds=1).nothing()


def test_shipped_upstream_after_we_cancelled_is_not_swallowed(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().cancels().voided().released()
    play.receives(content(lifecycle="shipped"), seconds=1).then(ExceptionRaised)
    play.resolves("order_reinstated", "accept").then(ExceptionResolved, Reinstated)
    assert play.status == "approved/unpaid/fulfilled" and not play.order.open_runs


def test_alive_again_while_a_late_cancel_is_open(play: Play) -> None:
    play.paid_and_in_the_warehouse().receives(content(lifecycle="cancelled"), seconds=1)
    play.receives(content(), seconds=2).then(ExceptionRaised)
    play.too_late()
    assert play.order.status == "approved" and not codes(play)


def test_a_late_cancel_names_what_is_cancelled_and_a_refund_with_it_is_a_difference_of_its_own(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    told = content(quantity(cancelled=1), lifecycle="cancelled", refunds=(TOO_MUCH,), payment_state="refunded")
    play.receives(told, seconds=1).then(ExceptionRaised, ExceptionRaised)
    assert codes(play) == ["cancelled_too_late", "refund_made"]
    assert changes(play, "cancelled_too_late") == [
        ("lifecycle", "changed", "ready_to_fulfill", "cancelled"), ("lines[1].quantity.cancelled", "changed", 0, 1),
    ]  # fmt: skip
    assert ("refunds[R1].amount_minor", "added", None, 11_00) in changes(play, "refund_made")


def test_a_refund_after_a_late_cancel_is_raised_although_the_cancel_was_kept(play: Play) -> None:
    play.paid_and_in_the_warehouse().shipped().fulfilled()
    play.receives(content(lifecycle="cancelled"), seconds=1).resolves("cancelled_too_late", "keep")
    refunded = content(lifecycle="cancelled", refunds=(TOO_MUCH,))
    play.receives(refunded, seconds=2).then(ExceptionRaised)
    assert codes(play) == ["refund_made"]
    play.resolves("refund_made", "accept", op="refund").then(ExceptionResolved)
    play.receives(refunded, seconds=3, digest="again").nothing()
    play.receives(content(lifecycle="shipped", refunds=(TOO_MUCH,)), seconds=4).nothing()


@pytest.mark.parametrize("cause", ["customer", "marketplace"])
def test_what_is_stated_while_a_cancel_is_asked_is_raised_when_the_cancel_comes_too_late(
    play: Play, cause: str
) -> None:
    play.paid_and_in_the_warehouse()
    if cause == "customer":
        play.cancels()
    play.receives(content(lifecycle="cancelled", refunds=(REFUND,)), seconds=1)
    play.too_late()
    assert codes(play) == ["cancelled_too_late", "refund_made"]


def test_an_order_that_is_alive_again_and_was_never_cancelled_shows_what_changed(play: Play) -> None:
    play.paid_and_in_the_warehouse().receives(content(lifecycle="cancelled"), seconds=1)
    play.receives(content(ship_to=NEW_ADDRESS), seconds=2).then(ExceptionRaised)
    play.too_late()
    assert codes(play) == ["address_changed"]


# -- every kind -------------------------------------------------------------------------------------------------------

Story = Callable[[Play], object]


RAISED: dict[str, Story] = {
    "currency_differs": lambda play: play.receives(content(), market(currency="GBP")),
    "not_priced": lambda play: play.receives(content(line(total=None)), market()),
    "sku_missing": lambda play: play.receives(content(line(sku=None)), market()),
    "addresses_differ": lambda play: play.receives(content(line("1", ship_to=NEW_ADDRESS), line("2")), market()),
    "tax_missing": lambda play: play.receives(content(line(tax=())), market()),
    "payment_method_unknown": lambda play: play.receives(content(payment_method="gold"), market()),
    "payment_method_refused": lambda play: play.receives(content(), market(payment_methods=(
        PaymentMethod(code="card", gateway="test", countries=("NO",)),
    ))),
    "payment_token_refused": lambda play: play.receives(content(payment_token="4242 4242 4242 4242"), market()),
    "partly_shipped_elsewhere": lambda play: play.receives(content(lifecycle="partially_shipped"), market()),
    "cancel_requested": lambda play: play.in_the_warehouse().receives(content(asked()), seconds=1),
    "refund_made": lambda play: play.in_the_warehouse().receives(content(refunds=(REFUND,)), seconds=1),
    "address_changed": lambda play: play.in_the_warehouse().receives(content(ship_to=NEW_ADDRESS), seconds=1),
    "snapshot_changed": lambda play: play.in_the_warehouse().receives(content(line(quantity=2)), seconds=1),
    "line_cancelled": lambda play: play.in_the_warehouse(content(*TWO)).receives(
        content(quantity(cancelled=1), line("2")), seconds=1
    ),
    "payment_reversed": lambda play: play.in_the_warehouse().receives(content(payment_state="voided"), seconds=1),
    "lifecycle_reversed": lambda play: play.in_the_warehouse().receives(content(lifecycle="unknown"), seconds=1),
    "shipment_reported": lambda play: play.in_the_warehouse().receives(content(lifecycle="closed"), seconds=1),
    "cancelled_too_late": lambda play: play.in_the_warehouse().shipped().receives(content(lifecycle="cancelled"), seconds=1),
    "order_reinstated": lambda play: play.receives(content(lifecycle="cancelled"), market()).receives(content(), seconds=1),
    "outcome_contradicted": lambda play: play.in_the_warehouse().contradicted(uid("capture")),
    "books_differ": lambda play: play.in_the_warehouse().captured().books_differ(5_00),
    "authorization_expiring": lambda play: play.in_the_warehouse().expiring(the_authorization(play)),
    "payment_disputed": lambda play: play.in_the_warehouse().captured().disputed(),
    "captured_after_cancel": lambda play: captured_late(play),
    "difference_unpaid": lambda play: declined(reverses(invoiced(play), 10_00, more=4_00)),
    "line_undescribed": lambda play: reverses(invoiced(play), 10_00, origin="9"),
    "invoice_failed": lambda play: play.in_the_warehouse().captured().rejected(),
}  # fmt: skip


@pytest.mark.parametrize("code", exceptions.KINDS)
@pytest.mark.parametrize("resolution", ["accept", "keep"])
def test_every_kind_of_exception_is_ended_by_a_person_or_says_what_ends_it(
    play: Play, code: str, resolution: Any
) -> None:
    """Promise 7."""
    RAISED[code](play)
    assert codes(play) == [code] and play.order.exceptions[code].detail
    kind = exceptions.KINDS[code]
    would_be_refused = kind.choice("accept") is exceptions.CHECK  # as long as the cause is there
    assert ("resolve" in allowed(play.order)) != would_be_refused
    play.resolves(code, resolution)
    if resolution not in kind.resolutions:
        assert (
            play.refusal is not None
            and play.refusal.code == "resolution_unsupported"
            and kind.otherwise in play.refusal.detail
        )
        assert codes(play) == [code]
    elif kind.choice(resolution) is exceptions.CHECK:
        assert play.refusal is not None and play.refusal.code == "obstacle_remains"
    else:
        stays = [code] if code == "captured_after_cancel" else []  # as another one, until the money is back
        assert play.refusal is None and codes(play) == stays
        assert play.event(ExceptionResolved).resolution == resolution


def test_the_table_has_every_code_that_is_raised() -> None:
    assert {*snapshots.OBSTACLES, *differences.CODES} < {*exceptions.KINDS} == {*RAISED}


def test_an_exception_that_is_not_open_is_unknown(play: Play) -> None:
    play.in_the_warehouse()
    body = {"order_id": ORDER, "store_id": STORE, "operation_id": uid("op"), "actor": "person:ann"}
    play.when(Resolve(**body, exception_id=uid("none"), resolution="keep")).nothing()
    assert play.refusal is not None and play.refusal.code == "exception_unknown"


# -- what frees an order that waits -----------------------------------------------------------------------------------


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


# -------------------------------------------------------------------------------------------------------- differences


def test_a_difference_of_its_books_is_an_exception_of_the_order_as_long_as_it_is_open(play: Play) -> None:
    play.in_the_warehouse().captured().books_differ(5_00)
    before = play.order.open_runs
    first = play.order.exceptions["books_differ"]
    assert first.detail == "stripe not_booked 500 EUR minor units, proposal book"
    play.books_differ(5_00).nothing()
    play.books_differ(5_00, 6_00, 7_00, 8_00)
    second = play.order.exceptions["books_differ"]
    assert second.exception_id != first.exception_id and second.detail.endswith("; 1 more")
    play.resolves("books_differ", "keep").books_differ(6_00)
    assert "600 EUR" in play.order.exceptions["books_differ"].detail, "what was seen before is raised anew with others"
    play.books_differ()
    assert codes(play) == [] and play.order.open_runs == before


# ------------------------------------------------------------------------------------- authorizations that expire, disputes


def the_authorization(play: Play) -> UUID:
    [one] = play.order.facts.authorizations.values()
    return one.authorization_id


def test_an_authorization_that_expires_within_a_day_is_shown_until_it_is_captured(play: Play) -> None:
    play.in_the_warehouse().expiring(the_authorization(play))
    detail = play.order.exceptions["authorization_expiring"].detail
    assert detail.startswith("stripe holds 1000 EUR minor units until 20")
    play.expiring(the_authorization(play)).nothing()
    play.captured()
    assert codes(play) == []


def test_what_is_captured_or_authorized_anew_by_itself_needs_no_person(play: Play) -> None:
    play.in_the_warehouse().captured().expiring(the_authorization(play)).nothing()
    other = Play().in_the_warehouse(content(payment_token="tok_1"))
    other.expiring(the_authorization(other)).nothing()


def test_a_cancel_ends_the_wait_for_an_authorization_that_expires(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().expiring(
        the_authorization(play)
    ).cancels().voided()
    assert codes(play) == []


def test_a_dispute_waits_for_a_person_and_a_won_one_needs_none(play: Play) -> None:
    play.in_the_warehouse().captured().disputed(reason="fraudulent")
    before = play.order.open_runs
    assert "10_00" not in (detail := play.order.exceptions["payment_disputed"].detail) and "1000 EUR" in detail
    assert play.order.open_runs == before, "no process is changed by it"
    play.dispute_ends("won")
    assert codes(play) == []


def test_a_lost_dispute_stays_listed_until_a_person_has_seen_it(play: Play) -> None:
    play.in_the_warehouse().captured().disputed().resolves("payment_disputed", "accept")
    assert codes(play) == []
    play.dispute_ends("lost")
    assert "lost" in play.order.exceptions["payment_disputed"].detail
    play.resolves("payment_disputed", "accept")
    assert codes(play) == []
