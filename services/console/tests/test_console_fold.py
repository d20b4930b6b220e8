"""The row of an order is a function of its events: repetitions, and the order between services, change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from console_world import NOW, SOURCE, Life, content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.domain.fold import Stated, fold
from console.domain.row import OrderRow
from console.domain.waits import WORDS
from contracts import orders
from contracts.base import Event
from contracts.payments import MoneyTotals
from contracts.snapshot import Buyer

KEY = UUID(int=1)
HOLD, OTHER_HOLD, REFUND = (UUID(int=n) for n in range(2, 5))


def stated(event: Event, seconds: int = 0) -> Stated:
    return Stated(event.key, event.store_id, event.owner(), event.version, NOW + timedelta(seconds=seconds), event)


def after(events: Sequence[Event]) -> OrderRow:
    row = OrderRow(events[0].key, events[0].store_id)
    for n, event in enumerate(events):
        row = fold(row, stated(event, n))
    return row


def waits(*events: Event) -> tuple[str, str]:
    row = after(events)
    return row.waiting, row.step


def placed(life: Life) -> Any:
    return life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)


def approved(life: Life) -> Any:
    return life.next(orders.Approved, status="approved", approved_at=NOW, actor="person:ann")


CHANGES: dict[str, Any] = {
    "placed": placed,
    "approved": approved,
    "held": lambda life: life.next(orders.Held, hold_id=HOLD, reason="fraud", placed_by="x", since=NOW),
    "held too": lambda life: life.next(orders.Held, hold_id=OTHER_HOLD, reason="manual", placed_by="x", since=NOW),
    "released": lambda life: life.next(orders.Released, hold_id=HOLD, reason="fraud", actor="x"),
    "raised": lambda life: life.next(orders.ExceptionRaised, exception_id=HOLD, code="address_changed", since=NOW),
    "resolved": lambda life: life.next(orders.ExceptionResolved, exception_id=HOLD, code="address_changed"),
    "failed": lambda life: life.next(orders.StepFailed, process="settle:1", step="capture", code="no"),
    "retried": lambda life: life.next(orders.Retried, process="settle:1", step="capture"),
    "in vain": lambda life: life.next(
        orders.WaitingChanged, process="settle:1", step="capture", waiting="no_answer", since=NOW - timedelta(hours=1)
    ),
    "answered": lambda life: life.next(orders.WaitingChanged, process="settle:1", step="invoice", since=NOW),
    "short": lambda life: life.next(
        orders.WaitingChanged, process="place", step="reserve", waiting="stock", since=NOW - timedelta(hours=1)
    ),
    "in stock": lambda life: life.next(orders.WaitingChanged, process="place", step="reserve", since=NOW),
    "renamed": lambda life: life.next(
        orders.DetailsChanged, source=SOURCE, order=content("A-1", buyer=Buyer(name="Jürgen"))
    ),
    "tagged": lambda life: life.next(orders.TagsChanged, actor="x", tags=("vip",)),
    "refund": lambda life: life.next(
        orders.RefundOpened, refund_id=REFUND, number=1, reason="damaged", actor="x", currency="EUR", amount_minor=1, parts=()
    ),
    "refund settled": lambda life: life.next(orders.RefundSettled, refund_id=REFUND, number=1, amount_minor=1),
    "edited": lambda life: life.next(
        orders.Edited, source=SOURCE, order=content("A-1", buyer=Buyer(name="Zoë")), grand_minor=18_00
    ),
    "cancelled": lambda life: life.next(orders.Cancelled, status="cancelled", cause="customer", cancelled_at=NOW),
    "paid": lambda life: life.next(orders.PaymentChanged, payment_status="paid", currency="EUR", totals=MoneyTotals()),
    "shipped": lambda life: life.next(orders.FulfillmentChanged, fulfillment_status="fulfilled"),
    "completed": lambda life: life.next(orders.Completed, completed_at=NOW, grand_minor=19_00, currency="EUR"),
    "archived": lambda life: life.next(orders.Archived, archived_at=NOW, actor="x"),
    "unarchived": lambda life: life.next(orders.Unarchived, actor="x"),
    "reference": lambda life: life.next(orders.ReferenceChanged, actor="x", reference="ERP-9"),
    "captured": lambda life: life.paid(authorized_minor=20_00, captured_minor=20_00),
    "refunded": lambda life: life.paid(authorized_minor=20_00, captured_minor=20_00, refunded_minor=5_00),
    "left": lambda life: life.shipped("1Z999"),
    "left too": lambda life: life.shipped("1Z998"),
    "credited": lambda life: life.credited("C-1", 5_00),
    "credited again": lambda life: life.credited("C-2", 3_00),
}  # fmt: skip


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """The events of an order by service, each in its order."""
    life = Life(order_id=KEY)
    names = draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=14))
    return [life.received(), *(CHANGES[name](life) for name in names)]


@st.composite
def deliveries(draw: st.DrawFn, events: Sequence[Event]) -> list[Event]:
    """An order in which topics deliver them: each service's in its order, some of them again from an earlier place on."""
    left = {owner: [event for event in events if event.owner() == owner] for owner in {e.owner() for e in events}}
    place, found = dict.fromkeys(left, 0), []
    while open_ := sorted(owner for owner in left if place[owner] < len(left[owner])):
        owner = draw(st.sampled_from(open_))
        found.append(left[owner][place[owner]])
        place[owner] += 1
        if draw(st.integers(0, 5)) == 0:
            place[owner] = draw(st.integers(0, place[owner]))
        if len(found) > 200:
            for rest in open_:
                found += left[rest][place[rest] :]
            break
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_order_between_services_and_any_repetition_give_the_same_row(data: st.DataObject) -> None:
    events = data.draw(lives())
    times = {(event.owner(), event.version): n for n, event in enumerate(events)}
    rows = []
    for delivered in (events, data.draw(deliveries(events)), data.draw(deliveries(events))):
        row = OrderRow(KEY, "st_1")
        for event in delivered:
            row = fold(row, stated(event, times[event.owner(), event.version]))
        rows.append(row)
    assert rows[0] == rows[1] == rows[2]
    assert (rows[0].waiting == "") == (rows[0].since is None)
    assert rows[0].waiting in WORDS


def test_an_event_that_is_not_newer_changes_nothing() -> None:
    life = Life()
    first, second = life.received(), placed(life)
    row = after([first, second])
    assert fold(row, stated(first, 9)) is row and fold(row, stated(second, 9)) is row


def test_a_row_has_what_each_service_states() -> None:
    life = Life(number="536365")
    row = after([
        life.received(), life.paid(authorized_minor=20_00, captured_minor=20_00, refunded_minor=5_00),
        life.shipped("1Z 999"), life.credited("C-7", 5_00), life.credited("C-8", 1_00),
    ])  # fmt: skip
    assert (row.number, row.channel, row.account, row.market, row.country) == ("536365", "amazon", "eu", "de", "AT")
    assert (row.currency, row.grand_minor, row.captured_minor, row.refunded_minor) == ("EUR", 20_00, 20_00, 5_00)
    assert (row.shipped, row.credited_minor) == (2, 6_00)
    assert row.versions == {"orders": 1, "payments": 1, "fulfillment": 1, "invoicing": 2}
    assert row.words.documents == ("c-7", "c-8") and row.words.tracking == ("1z 999",)
    assert row.words.buyer == ("anna@example.com", "anna", "o", "brien") and "mug-red" in row.words.orders


def test_an_event_of_a_newer_release_counts_with_its_version_alone() -> None:
    life = Life()
    row = after([life.received()])
    newer = fold(row, Stated(life.order_id, life.store_id, "orders", 2, NOW, {"version": 2, "status": "sleeping"}))
    assert (newer.versions["orders"], newer.status) == (2, row.status)


@pytest.mark.parametrize(
    ("names", "waiting"),
    [
        ([], ("answer", "place")),
        (["placed"], ("approval", "place.approve")),
        (["placed", "held"], ("hold", "hold")),
        (["placed", "held", "held too", "released"], ("hold", "hold")),
        (["placed", "held", "released"], ("approval", "place.approve")),
        (["placed", "approved"], ("warehouse", "place.fulfill")),
        (["placed", "approved", "raised", "failed"], ("exception", "")),
        (["placed", "approved", "raised", "resolved"], ("warehouse", "place.fulfill")),
        (["placed", "approved", "shipped"], ("answer", "settle")),
        (["placed", "approved", "shipped", "failed"], ("exception", "settle.capture")),
        (["placed", "approved", "shipped", "failed", "retried"], ("answer", "settle")),
        (["placed", "approved", "shipped", "paid", "completed"], ("", "")),
        (["placed", "held", "cancelled"], ("answer", "undo")),
        (["short"], ("stock", "place.reserve")),
        (["short", "in stock"], ("answer", "place")),
        (["short", "held"], ("hold", "hold")),
        (["short", "in vain"], ("stock", "place.reserve")),
        (["short", "cancelled"], ("", "")),
        (["placed", "in vain"], ("approval", "place.approve")),
        (["placed", "approved", "in vain"], ("no_answer", "settle.capture")),
        (["placed", "approved", "in vain", "answered"], ("warehouse", "place.fulfill")),
        (["placed", "approved", "in vain", "cancelled"], ("no_answer", "settle.capture")),
        (["cancelled"], ("", "")),
    ],
)
def test_what_an_order_waits_for_follows_from_its_events(names: list[str], waiting: tuple[str, str]) -> None:
    life = Life()
    assert waits(life.received(), *(CHANGES[name](life) for name in names)) == waiting


def test_what_is_stuck_waits_since_its_step_began() -> None:
    life = Life()
    assert after([life.received(), CHANGES["short"](life)]).since == NOW - timedelta(hours=1)


def test_a_buyer_who_is_renamed_is_found_by_the_new_name_alone() -> None:
    life = Life()
    row = after([life.received(), CHANGES["renamed"](life)])
    assert "jurgen" in row.words.buyer and "anna@example.com" not in row.words.buyer and row.grand_minor == 20_00


def test_a_refused_refund_still_waits_for_a_person_when_another_one_is_settled() -> None:
    life = Life()
    opened = CHANGES["refund"]
    row = after([
        life.received(), placed(life), opened(life),
        life.next(orders.StepFailed, process="refund:2", step="refund", code="gateway_refused", reason=""),
        CHANGES["refund settled"](life),
    ])  # fmt: skip
    assert row.memory.failed == ("refund:2.refund",) and not row.memory.refunds


def test_an_order_of_which_all_is_refunded_is_cancelled_and_no_longer_completed() -> None:
    life = Life()
    names = ("placed", "approved", "shipped", "paid", "completed", "cancelled")
    row = after([life.received(), *(CHANGES[name](life) for name in names)])
    assert (row.status, row.completed_at, row.cancel_cause) == ("cancelled", None, "customer")


def test_an_order_whose_market_captures_by_hand_waits_for_it_once_it_is_approved() -> None:
    life = Life()
    first = life.received(capture="manual")
    assert waits(first, placed(life), approved(life)) == ("capture", "")


def test_a_pending_order_waits_for_its_payment_or_for_the_marketplace() -> None:
    assert waits(Life().received(status="pending", payment_state="unpaid"))[0] == "payment"
    assert waits(Life().received(status="pending"))[0] == "snapshot"


def test_a_test_order_waits_for_nothing() -> None:
    assert waits(Life().received(test=True)) == ("", "")


def test_since_is_the_time_from_which_it_waits_for_the_same() -> None:
    life = Life()
    row = after([life.received(), placed(life), CHANGES["reference"](life), CHANGES["archived"](life)])
    assert (row.waiting, row.since) == ("approval", NOW + timedelta(seconds=1))
