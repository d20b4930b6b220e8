"""What every gateway must state about itself: events, disputes, and the list of what it has moved."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from payments_conformance import is_event, needs, shape
from payments_gateways import STORE, Paying, Shape

from contracts.deciding import Reported
from contracts.payments import (
    Authorized,
    Captured,
    DisputeClosed,
    DisputeOpened,
    Failed,
    Refunded,
)
from payments.domain.disputes import DISPUTE_KIND, DisputeCall, dispute_id
from payments.domain.listing import Listing
from payments.domain.pairing import Movement
from payments.domain.reconciling import differences
from payments.gateways.port import HasDisputes
from tests.waiting import patience

__all__ = ["shape"]


@pytest.mark.parametrize("webhook", ["early", "twice", "reordered", None])
async def test_every_event_is_signed_and_names_its_payment(shape: Shape, webhook: str | None) -> None:
    needs(shape, "events")
    order = Paying(shape)
    await shape.trouble(order.order_id, webhook=webhook)
    authorized = await order.authorize(10_00)
    assert isinstance(authorized, Authorized)
    await order.capture(10_00)
    await order.refund(4_00)
    sent = shape.server.event_ids
    of_refund = (
        2 if shape.name == "stripe" else 1
    )  # those of the last request wait for a next one, as if they were lost
    withheld = of_refund if webhook == "reordered" else 0
    async with patience():
        while len({notice.event_id for notice in shape.notices}) < len(sent) - withheld:
            await asyncio.sleep(0.01)
    assert {notice.event_id for notice in shape.notices} <= sent
    operations = {notice.operation_id for notice in shape.notices} - {None}
    assert operations <= set(order.ledger.operations)
    assert {notice.payment for notice in shape.notices} == {authorized.gateway_reference}


async def test_a_dispute_names_the_payment_that_it_is_about(shape: Shape) -> None:
    needs(shape, "disputes")
    order = Paying(shape)
    authorized = await order.authorize(10_00)
    captured = await order.capture(10_00)
    assert isinstance(authorized, Authorized) and isinstance(captured, Captured)
    await shape.post(f"/disputes/{captured.gateway_reference}")
    async with patience():
        while not {"charge.dispute.created", "charge.dispute.closed"} <= {notice.type for notice in shape.notices}:
            await asyncio.sleep(0.01)
    assert {n.payment for n in shape.notices if "dispute" in n.type} == {authorized.gateway_reference}


async def test_a_dispute_that_is_opened_and_lost_is_booked_once_whatever_its_events(shape: Shape) -> None:
    """An event is a hint: what counts is what the gateway states when it is asked, twice and out of order too."""
    needs(shape, "disputes")
    order = Paying(shape)
    await order.authorize(10_00)
    captured = await order.capture(10_00)
    assert isinstance(captured, Captured) and isinstance(shape.gateway, HasDisputes)
    dispute = await shape.post(f"/disputes/{captured.gateway_reference}?end=open")
    call = DisputeCall(
        dispute_id=dispute_id(order.order_id, shape.name, dispute["id"]), order_id=order.order_id, store_id=STORE,
        gateway=shape.name, account=None, reference=dispute["id"], currency="EUR",
    )  # fmt: skip
    stated = [await shape.gateway.dispute(call)]
    await shape.post(f"/disputes/{dispute['id']}/lost")
    stated += [await shape.gateway.dispute(call), stated[0]]
    before = len(order.events)
    for one in [*stated, *stated]:
        order.decide(Reported(task_id=uuid4(), kind=DISPUTE_KIND, asked=call, outcome=one))
    opened, closed = order.events[before:]
    is_event(opened, DisputeOpened, withheld_minor=10_00)
    is_event(closed, DisputeClosed, outcome="lost", settled_minor=10_00)


async def test_what_has_moved_is_in_the_gateways_own_list_under_a_name_that_we_have(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page; what has not succeeded is in none."""
    monkeypatch.setattr("payments.gateways.test.PAGE_ROWS", 2)
    monkeypatch.setattr("payments.gateways.stripe.listing.PAGE", 3)
    monkeypatch.setattr("payments.gateways.dintero.listing.LIMITS", (1,))
    needs(shape, "list")
    order = Paying(shape)
    await order.authorize(10_00)
    for part in (3_00, 4_00):
        is_event(await order.capture(part), Captured)
    await shape.trouble(order.order_id, refund="late")
    [first, second] = order.ledger.captures
    is_event(await order.refund(1_00, first), Refunded)
    await shape.trouble(order.order_id, refund=None, capture="declined")
    is_event(await order.refund(2_00, second), Refunded)
    is_event(await order.capture(3_00), Failed)
    now = datetime.now(UTC)
    period = Listing(STORE, now - timedelta(minutes=5), now + timedelta(minutes=5))
    listed, page = [], await shape.gateway.listed(period)
    listed += page.rows
    while page.cursor is not None:
        page = await shape.gateway.listed(period._replace(cursor=page.cursor))
        listed += page.rows
    made = [("capture", 3_00), ("capture", 4_00), ("refund", 1_00), ("refund", 2_00)]
    assert sorted((one.kind, one.amount_minor) for one in listed) == made
    assert len({(one.kind, one.reference) for one in listed}) == 4
    ours = [
        Movement(
            key,
            order.order_id,
            one.kind,
            "EUR",
            one.amount_minor,
            tuple(filter(None, (str(key), one.gateway_reference))),
        )
        for key, one in order.ledger.operations.items()
        if one.kind in ("capture", "refund") and one.state == "succeeded"
    ]
    assert differences(sorted(listed, key=lambda one: one.at), ours, {}) == []
    assert (await shape.gateway.listed(period._replace(ends_at=now - timedelta(minutes=4)))).rows == []
