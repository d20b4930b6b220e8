"""What every gateway must do, over its shape. A new gateway joins `SHAPES`, and passes or is not one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from payments_gateways import QUICK, RETURN_URL, STORE, Paying, Shape, shaped

from chassis.declare.service import TryAgain
from contracts.deciding import Reported
from contracts.payments import (
    Authorized,
    Captured,
    Declined,
    DisputeClosed,
    DisputeOpened,
    Failed,
    Pending,
    Refunded,
    Voided,
)
from payments.domain.disputes import DISPUTE_KIND, DisputeCall, dispute_id
from payments.domain.listing import Listing
from payments.domain.pairing import Movement
from payments.domain.reconciling import differences
from payments.gateways.port import Abandons, Action, HasDisputes

SHAPES = ("test", "stripe", "dintero", "manual")


@pytest.fixture(params=SHAPES)
async def shape(request: pytest.FixtureRequest) -> AsyncIterator[Shape]:
    async with shaped(request.param) as one:
        yield one


def needs(thing: Any, shape: Shape, what: str) -> None:
    if not thing:
        pytest.skip(f"{shape.name} has no {what}")


def is_event(event: object, kind: type, **expected: Any) -> None:
    assert isinstance(event, kind), event
    assert {name: getattr(event, name) for name in expected} == expected, event


async def test_money_goes_the_whole_way(shape: Shape) -> None:
    order = Paying(shape)
    is_event(await order.authorize(10_00), Authorized, amount_minor=10_00)
    is_event(await order.capture(10_00), Captured, amount_minor=10_00)
    is_event(await order.refund(10_00), Refunded, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 10_00)]


@pytest.mark.parametrize("trouble", [None, "late", "timed_out", "broken", "lost", "down"])
async def test_a_capture_that_is_asked_for_with_its_authorization_is_made_once(
    shape: Shape, trouble: str | None
) -> None:
    """A gateway that cannot do both in one request reports so, and the capture is asked for as an operation."""
    order = Paying(shape)
    await shape.trouble(order.order_id, authorize=trouble)
    authorized = await order.ask(order.authorizing(10_00, capture=True))
    assert isinstance(authorized, Authorized)
    if authorized.capture_id is None:
        is_event(await order.capture(10_00), Captured)
    is_event(await order.refund(4_00), Refunded)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 4_00)]


async def test_it_is_captured_and_refunded_in_parts_and_the_rest_is_voided(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    for part in (3_00, 4_00):
        is_event(await order.capture(part), Captured, amount_minor=part)
    is_event(await order.void(), Voided, amount_minor=3_00)
    first, second = order.ledger.captures
    for capture_id, part in ((first, 1_00), (first, 2_00), (second, 4_00)):
        is_event(await order.refund(part, capture_id), Refunded, amount_minor=part)
    moved = await shape.moved(order.order_id)
    assert sorted(amount for kind, amount in moved if kind == "capture") == [3_00, 4_00]
    assert [amount for kind, amount in moved if kind == "void"] == [3_00]
    assert sum(amount for kind, amount in moved if kind == "refund") == 7_00


async def test_a_part_is_voided_before_the_rest_is_captured(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    is_event(await order.void(4_00), Voided, amount_minor=4_00)
    is_event(await order.capture(6_00), Captured, amount_minor=6_00)
    moved = await shape.moved(order.order_id)
    assert sorted(moved) == [("authorize", 10_00), ("capture", 6_00), ("void", 4_00)]


async def test_all_is_voided(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    is_event(await order.void(), Voided, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("void", 10_00)]


async def test_where_one_capture_is_allowed_the_first_releases_the_rest_and_a_second_is_refused(shape: Shape) -> None:
    needs(shape.single_capture, shape, "authorization that is captured once")
    order = Paying(shape)
    await order.authorize(10_00, shape.single_capture)
    is_event(await order.capture(7_00), Captured, amount_minor=7_00)
    is_event(await order.capture(1_00), Failed, code="gateway_refused")
    is_event(await order.void(), Voided, amount_minor=3_00)
    assert sorted(await shape.moved(order.order_id)) == [("authorize", 10_00), ("capture", 7_00), ("void", 3_00)]


async def test_a_declined_authorization_moves_nothing_and_a_new_one_may_succeed(shape: Shape) -> None:
    order = Paying(shape)
    await shape.trouble(order.order_id, authorize="declined")
    declined = await order.authorize(10_00)
    assert isinstance(declined, Declined) and declined.code and declined.code != "gateway_refused"
    assert await shape.moved(order.order_id) == []
    await shape.trouble(order.order_id, authorize=None)
    is_event(await order.authorize(10_00), Authorized)
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


@pytest.mark.parametrize("kind", ["capture", "void", "refund"])
async def test_what_the_gateway_refuses_has_failed_and_can_be_asked_for_again(shape: Shape, kind: str) -> None:
    needs(shape.refuses, shape, "refusal of a capture, a void or a refund: a bank pays what it was asked to")
    order = Paying(shape)
    await order.authorize(10_00)
    if kind == "refund":
        await order.capture(10_00)
    ask = {"capture": lambda: order.capture(10_00), "void": order.void, "refund": lambda: order.refund(10_00)}[kind]
    before = await shape.moved(order.order_id)
    await shape.trouble(order.order_id, **{kind: "declined"})
    is_event(await ask(), Failed, code="gateway_refused", command=kind)
    assert await shape.moved(order.order_id) == before
    await shape.trouble(order.order_id, **{kind: None})
    assert not isinstance(await ask(), Failed)


@pytest.mark.parametrize("trouble", ["timed_out", "broken", "lost", "down"])
@pytest.mark.parametrize("kind", ["authorize", "capture", "void", "refund"])
async def test_an_unclear_call_moves_its_amount_exactly_once(shape: Shape, kind: str, trouble: str) -> None:
    order = Paying(shape)
    await shape.trouble(order.order_id, **{kind: trouble})
    is_event(await order.authorize(10_00), Authorized)
    if kind == "void":
        is_event(await order.void(), Voided, amount_minor=10_00)
        assert await shape.moved(order.order_id) == [("authorize", 10_00), ("void", 10_00)]
        return
    is_event(await order.capture(10_00), Captured)
    is_event(await order.refund(4_00), Refunded)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 4_00)]


@pytest.mark.parametrize("late_ms", [0, QUICK.late_ms])
@pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
async def test_a_late_answer_is_pending_first_and_moves_its_amount_once(
    shape: Shape, kind: str, late_ms: float
) -> None:
    """Pending is an answer, and not what a quick client sees: it comes first also where the operation has succeeded meanwhile."""
    needs(shape.refuses or kind != "capture", shape, "late capture: it takes money that has arrived")
    shape.late(late_ms)
    order = Paying(shape)
    await shape.trouble(order.order_id, **{kind: "late"})
    await order.authorize(10_00)
    await order.capture(10_00)
    await order.refund(4_00)
    assert [event.command for event in order.events if isinstance(event, Pending)] == [kind]
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00), ("refund", 4_00)]
    assert order.open_operations() == []


async def test_the_same_key_is_the_same_operation_also_at_the_same_time(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    call = order.calling("capture", 4_00)
    outcomes = await asyncio.gather(*(order.outcome(call) for _ in range(5)))
    assert {outcome.state for outcome in outcomes} == {"succeeded"}
    assert len({outcome.gateway_reference for outcome in outcomes}) == 1
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 4_00)]


async def test_a_worker_that_died_after_the_call_asks_and_does_not_call_again(shape: Shape) -> None:
    """Its successor has attempt 2. The gateway's books have the operation once, and the reports agree."""
    order = Paying(shape)
    await order.authorize(10_00)
    call = order.calling("capture", 10_00)
    first = await order.policy.run(call, order.attempt(call))
    assert await order.policy.run(call, order.attempt(call, number=2)) == first
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00)]


async def test_past_the_keys_lifetime_it_is_asked_and_never_called(shape: Shape) -> None:
    needs(shape.refuses, shape, "key that expires: its capture moves nothing, and may be called again")
    order = Paying(shape)
    await order.authorize(10_00)
    call = order.calling("capture", 10_00)
    for number in (1, 2, 50):
        with pytest.raises(TryAgain, match="a person compares both sides"):
            await order.policy.run(call, order.attempt(call, number, timedelta(hours=23)))
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]
    done = await order.policy.run(call, order.attempt(call))
    assert await order.policy.run(call, order.attempt(call, 50, timedelta(hours=23))) == done


async def test_a_check_of_what_never_arrived_is_unknown_and_moves_nothing(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    lease = timedelta(seconds=order.knobs.gateway_lease_seconds)
    for kind in ("capture", "void"):
        call = order.calling(kind, 10_00)
        assert (await order.policy.check(call, order.attempt(call, 1, lease))).state == "unknown"
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", 500), ("ISK", 500), ("KWD", 5_120), ("TND", 10), ("HUF", 50_00)]
)
async def test_currencies_without_minor_units_and_with_three(shape: Shape, currency: str, amount: int) -> None:
    order = Paying(shape, currency)
    is_event(await order.authorize(amount), Authorized, amount_minor=amount, currency=currency)
    is_event(await order.capture(amount), Captured, amount_minor=amount)
    is_event(await order.refund(amount), Refunded, amount_minor=amount)


async def test_a_silent_gateway_is_asked_until_it_answers(shape: Shape) -> None:
    order = Paying(shape)
    await order.authorize(10_00)
    await shape.trouble(order.order_id, capture="silent")
    capturing = asyncio.create_task(order.capture(10_00))
    tries = order.tries
    while order.tries < tries + 2:
        await asyncio.sleep(0.01)
    assert not capturing.done()
    await shape.trouble(order.order_id, capture=None)
    is_event(await capturing, Captured)
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00)]


# ----------------------------------------------------------------------------------------- the buyer, and time that passes


async def test_a_buyer_who_has_to_confirm_is_pending_with_what_the_storefront_needs(shape: Shape) -> None:
    needs(shape.needs_buyer, shape, "step of the buyer")
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, shape.needs_buyer))
    action = await wait_for_action(order)
    secret = action.client_secret or action.redirect_url
    assert action.kind == "confirm" and secret and secret not in repr(action)
    assert [type(event) for event in order.events][-1] is Pending
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await authorizing, Authorized, amount_minor=10_00)
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]


async def test_a_buyer_who_does_not_pass_is_declined(shape: Shape) -> None:
    needs(shape.needs_buyer, shape, "step of the buyer")
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, shape.needs_buyer))
    await wait_for_action(order)
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/fail")
    assert isinstance(await authorizing, Declined)
    assert await shape.moved(order.order_id) == []


async def test_without_a_token_the_buyer_pays_at_the_gateway(shape: Shape) -> None:
    needs(shape.has_page, shape, "page where a buyer enters a means of payment")
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, None))
    assert (await wait_for_action(order)).kind == "pay"
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await authorizing, Authorized)


async def test_a_buyer_is_sent_back_to_where_the_storefront_said_before(shape: Shape) -> None:
    needs(shape.page_of is not False, shape, "page of its own")
    order = Paying(shape)
    order.opens_session(10_00)
    authorizing = asyncio.create_task(order.authorize(10_00, shape.page_of or None))
    assert (await wait_for_action(order)).redirect_url is not None
    [payment] = shape.server.payments
    assert shape.server.return_urls == [RETURN_URL]
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await authorizing, Authorized)


@pytest.mark.parametrize("trouble", [None, "timed_out", "broken"])
async def test_a_buyer_who_leaves_is_declined_and_cannot_pay_any_more(shape: Shape, trouble: str | None) -> None:
    order = await left_by_its_buyer(shape)
    [payment] = shape.server.payments
    await shape.trouble(order.order_id, void=trouble)
    is_event(await order.abandon(), Declined, code="payment_abandoned")
    assert not order.open_operations()
    async with aiohttp.ClientSession() as session, session.post(f"{shape.url}/buyers/{payment}/confirm") as response:
        assert response.status == 400, "the gateway takes no payment on it"
    assert await shape.moved(order.order_id) == []


@pytest.mark.parametrize("capture", [False, True])
async def test_a_buyer_who_pays_after_the_time_gets_it_back(shape: Shape, capture: bool) -> None:
    """Cancelled where the gateway still holds it, refunded where it has taken it: before the authorization is declined."""
    order = await left_by_its_buyer(shape, capture)
    [payment] = shape.server.payments
    await shape.post(f"/buyers/{payment}/confirm")
    is_event(await order.abandon(), Declined, code="payment_abandoned")
    is_captured = capture and shape.captures_at_once
    given_back = (
        [("authorize", 10_00), ("capture", 10_00), ("refund", 10_00)]
        if is_captured
        else [("authorize", 10_00), ("void", 10_00)]
    )
    assert await shape.moved(order.order_id) == given_back
    assert order.ledger.captured_minor == order.ledger.refunded_minor == (10_00 if is_captured else 0)


async def left_by_its_buyer(shape: Shape, capture: bool = False) -> Paying:
    """An order whose authorization waits for the buyer, and no worker is at it."""
    if not isinstance(shape.gateway, Abandons):
        pytest.skip(f"{shape.name} cannot cancel what waits for a buyer")
    order = Paying(shape)
    order.decide(order.authorizing(10_00, shape.waits_with, capture=capture))
    await order.run(order.tasks.pop())
    assert isinstance(order.events[-1], Pending) and order.events[-1].expires_at is not None
    return order


async def wait_for_action(order: Paying) -> Action:
    async with asyncio.timeout(5):
        while True:
            for operation_id, operation in order.ledger.operations.items():
                if operation.state == "pending":
                    call = order.ledger.call(order.order_id, "st_1", operation_id, operation)
                    if action := await order.shape.gateway.action(call):
                        return action
            await asyncio.sleep(0.01)


async def test_an_authorization_that_has_expired_refuses_its_capture_and_says_so(shape: Shape) -> None:
    needs(shape.has_events, shape, "authorization that expires")
    order = Paying(shape)
    authorized = await order.authorize(10_00)
    assert isinstance(authorized, Authorized)
    await shape.post(f"/expire/{authorized.gateway_reference}")
    failed = await order.capture(10_00)
    is_event(failed, Failed, code="authorization_expired")
    is_event(await order.void(4_00), Voided, amount_minor=4_00)
    is_event(await order.void(), Voided, amount_minor=6_00)
    is_event(await order.authorize(10_00), Authorized)


async def test_an_amount_over_the_gateways_limit_is_declined(shape: Shape) -> None:
    needs(shape.amount_max, shape, "limit of an amount")
    order = Paying(shape)
    is_event(await order.authorize(shape.amount_max + 1), Declined, code="amount_too_large")


# ------------------------------------------------------------------------------------------------------------- events


@pytest.mark.parametrize("webhook", ["early", "twice", "reordered", None])
async def test_every_event_is_signed_and_names_its_payment(shape: Shape, webhook: str | None) -> None:
    needs(shape.has_events, shape, "events")
    order = Paying(shape)
    await shape.trouble(order.order_id, webhook=webhook)
    authorized = await order.authorize(10_00)
    assert isinstance(authorized, Authorized)
    await order.capture(10_00)
    await order.refund(4_00)
    sent = shape.server.event_ids
    withheld = 1 if webhook == "reordered" else 0  # the last one waits for a next one, as one that was lost
    async with asyncio.timeout(5):
        while len({notice.event_id for notice in shape.notices}) < len(sent) - withheld:
            await asyncio.sleep(0.01)
    assert {notice.event_id for notice in shape.notices} <= sent
    operations = {notice.operation_id for notice in shape.notices} - {None}
    assert operations <= set(order.ledger.operations)
    assert {notice.payment for notice in shape.notices} == {authorized.gateway_reference}


async def test_a_dispute_names_the_payment_that_it_is_about(shape: Shape) -> None:
    needs(isinstance(shape.gateway, HasDisputes), shape, "disputes")
    order = Paying(shape)
    authorized = await order.authorize(10_00)
    captured = await order.capture(10_00)
    assert isinstance(authorized, Authorized) and isinstance(captured, Captured)
    await shape.post(f"/disputes/{captured.gateway_reference}")
    async with asyncio.timeout(5):
        while not {"charge.dispute.created", "charge.dispute.closed"} <= {notice.type for notice in shape.notices}:
            await asyncio.sleep(0.01)
    assert {n.payment for n in shape.notices if "dispute" in n.type} == {authorized.gateway_reference}


async def test_a_dispute_that_is_opened_and_lost_is_booked_once_whatever_its_events(shape: Shape) -> None:
    """An event is a hint: what counts is what the gateway states when it is asked, twice and out of order too."""
    needs(isinstance(shape.gateway, HasDisputes), shape, "disputes")
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
    needs(shape.lists, shape, "list of its movements")
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
