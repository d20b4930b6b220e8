"""Nothing that a marketplace states is swallowed: it is applied, or an exception names the difference and a person ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from orders_differences import NEW_ADDRESS, REFUND, TOO_MUCH, TWO, asked, changes, codes, quantity, the_authorization
from orders_play import NOW, ORDER, STORE, Play, content, line, market, uid
from test_orders_rebill import captured_late, declined, invoiced, reverses
from test_orders_repay import void_refused

from contracts.fulfillment import Reduce, Reserve, Start
from contracts.orders import (
    DetailsChanged,
    EditConfirmed,
    Edited,
    EditOpened,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    PaymentMethod,
    Received,
    Resolve,
)
from contracts.snapshot import Buyer, Cancellation, OrderContent, UpstreamRefund, Windows
from orders.domain.content import snapshots
from orders.domain.decisions import exceptions
from orders.domain.decisions.actions import allowed
from orders.domain.processes import differences
from orders.domain.shown.views import waiting

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
    "void_refused": lambda play: void_refused(play),
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
        asks = code == "captured_after_cancel" or (code, resolution) == ("void_refused", "accept")
        stays = [code] if asks else []  # as another one, until it is done
        assert play.refusal is None and codes(play) == stays
        assert play.event(ExceptionResolved).resolution == resolution


def test_the_table_has_every_code_that_is_raised() -> None:
    assert {*snapshots.OBSTACLES, *differences.CODES} < {*exceptions.KINDS} == {*RAISED}


def test_an_exception_that_is_not_open_is_unknown(play: Play) -> None:
    play.in_the_warehouse()
    body = {"order_id": ORDER, "store_id": STORE, "operation_id": uid("op"), "actor": "person:ann"}
    play.when(Resolve(**body, exception_id=uid("none"), resolution="keep")).nothing()
    assert play.refusal is not None and play.refusal.code == "exception_unknown"
