"""Refunds that a person makes at the gateway: each is booked once, whoever reports it first."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_gateways import QUICK, Paying, shaped
from payments_play import NOW, ORDER, STORE, Play, asked, authorized, captured, refund, totals, uid

from contracts.deciding import Reported, Task
from contracts.differences import TheirSide
from contracts.payments import CheckRefunds, PaymentName, RecordRefused, Refunded
from payments.domain.compaction import CLOSED_MAX, earlier
from payments.domain.gateway import REFUNDS_KIND, GatewayCall, GatewayOutcome, Refunds, RefundsCall, operations_named
from payments.domain.ledger import Ledger
from payments.domain.operation import EarlierKey, Operation
from payments.domain.recording import PaymentKey, recorded
from payments.gateways.dintero import events as dintero
from payments.gateways.port import HasRefunds
from payments.gateways.stripe import events as stripe

CALL = RefundsCall(order_id=ORDER, store_id=STORE, gateway="stripe", account="main", payment="pi_1")


def made(reference: str, amount_minor: int, operation: UUID | None = None, **more: Any) -> TheirSide:
    names = (*([str(operation)] if operation else []), "ch_1", "pi_1")
    given = {
        "kind": "refund",
        "reference": reference,
        "names": names,
        "currency": "EUR",
        "amount_minor": amount_minor,
        "at": NOW,
    }
    return TheirSide(**given | more)  # fmt: skip


def listed(*refunds: TheirSide, task: str = "t") -> Reported:
    return Reported(task_id=uid(task), kind=REFUNDS_KIND, asked=CALL, outcome=Refunds(made=refunds))


@pytest.fixture
def paid(play: Play) -> Play:
    play.given(
        asked("a1", "authorize", 50_00),
        authorized("a1", {"1": 30_00, "2": 20_00}, totals(a=50_00), "stripe", "pi_1"),
        captured("c1", "a1", {"1": 30_00, "2": 20_00}, totals(a=50_00, c=50_00), "ch_1"),
    )
    return play


def refunds(play: Play) -> list[int]:
    return [one.amount_minor for one in play.ledger.operations.values() if one.kind == "refund"]


def command(payment: str = "pi_1") -> CheckRefunds:
    return CheckRefunds(
        order_id=ORDER, store_id=STORE, operation_id=uid("e1"), actor="system:stripe", gateway="stripe", account="main",
        payment=payment,
    )  # fmt: skip


def test_an_event_asks_for_all_refunds_of_its_payment_beside_the_orders_other_calls(paid: Play) -> None:
    assert paid.when(command()) == [Task(uid("e1"), REFUNDS_KIND, CALL, beside=True)]
    assert Play().when(command()) == [] and paid.when(command("pi_2"), id="m2") == []


def test_one_refund_is_booked_once_whether_our_call_or_its_event_is_answered_first(paid: Play) -> None:
    """woocommerce-gateway-stripe#838 booked it twice."""
    [task] = [one for one in paid.when(refund("r1", "c1", {"1": 98})) if isinstance(one, Task)]
    ours = made("re_1", 98, uid("r1"))
    assert paid.when(listed(ours), id="m2") == [], "its event, before our own call is answered"
    assert isinstance(task.body, GatewayCall)
    done = GatewayOutcome(state="succeeded", gateway_reference="re_1")
    paid.when(Reported(task_id=task.task_id, kind=task.kind, asked=task.body, outcome=done), id="m3")
    for n in range(2):
        assert paid.when(listed(ours), id=f"again{n}") == []
    assert refunds(paid) == [98] and paid.ledger.refunded_minor == 98


def test_a_refund_of_the_dashboard_is_recorded_as_made_elsewhere(paid: Play) -> None:
    first, second = made("re_1", 10_00), made("re_2", 25_00, at=NOW + timedelta(seconds=1))
    [event] = paid.when(listed(first))
    assert isinstance(event, Refunded) and event.recorded
    assert event.payment == PaymentName(system="stripe", payment_id="re_1")
    assert [(one.line_id, one.amount_minor) for one in event.lines] == [("1", 10_00)]
    [event] = paid.when(listed(first, second), id="m2")
    assert isinstance(event, Refunded) and [(o.line_id, o.amount_minor) for o in event.lines] == [
        ("1", 20_00),
        ("2", 5_00),
    ]
    assert paid.when(listed(second, first), id="m3") == []
    assert refunds(paid) == [10_00, 25_00] and paid.ledger.refunded_minor == 35_00


def test_a_refund_that_names_the_authorization_alone_is_another_one(paid: Play) -> None:
    """Dintero's have the reference of their payment."""
    theirs = made("re_1", 10_00, names=(str(uid("a1")), "pi_1"))
    assert isinstance(paid.when(listed(theirs))[0], Refunded) and refunds(paid) == [10_00]


def test_what_does_not_fit_is_not_booked_and_stated_for_a_person(paid: Play) -> None:
    [event] = paid.when(listed(made("re_1", 50_01)))
    assert isinstance(event, RecordRefused) and (event.code, event.payment_id) == ("exceeds_refundable", "re_1")
    assert refunds(paid) == []


def test_a_refund_of_what_is_not_captured_here_waits_for_the_reconciliation(play: Play) -> None:
    play.given(asked("a1", "authorize", 50_00), authorized("a1", 50_00, totals(a=50_00), "stripe", "pi_1"))
    assert play.when(listed(made("re_1", 10_00))) == []


def test_a_closed_operation_that_the_ledger_no_longer_has_is_looked_up() -> None:
    old = {UUID(int=n + 1): Operation(kind="refund", state="succeeded") for n in range(CLOSED_MAX)}
    report = listed(made("re_1", 98, uid("gone")))
    assert list(earlier(Ledger(operations=old), report)) == [EarlierKey(ORDER, uid("gone"))]
    assert list(recorded(Ledger(), report)) == [PaymentKey(STORE, "stripe", "refund", "re_1")]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12),
    st.lists(st.integers(1, 12_00), min_size=6, max_size=6),
)
def test_however_often_and_in_whatever_order_they_are_listed_each_is_booked_once(
    reports: list[tuple[int, bool]], amounts: list[int]
) -> None:
    play = Play()
    play.given(
        asked("a1", "authorize", 80_00),
        authorized("a1", {"1": 50_00, "2": 30_00}, totals(a=80_00), "stripe", "pi_1"),
        captured("c1", "a1", {"1": 50_00, "2": 30_00}, totals(a=80_00, c=80_00), "ch_1"),
    )  # fmt: skip
    seen = 0
    for n, (upto, reverse) in enumerate(reports):
        page = [made(f"re_{k}", amounts[k]) for k in range(upto)]
        play.when(listed(*(reversed(page) if reverse else page)), id=f"m{n}")
        seen = max(seen, upto)
        assert play.ledger.refunded_minor == sum(amounts[:seen])
    assert sorted(refunds(play)) == sorted(amounts[:seen])


# -- what gateways list -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["stripe", "dintero"])
async def test_a_gateway_lists_the_refunds_of_a_payment_whoever_made_them(shape: str) -> None:
    async with shaped(shape, QUICK) as gateway:
        order = Paying(gateway)
        await order.authorize(50_00)
        await order.capture(50_00)
        await order.refund(98)
        capture = next(one for one in order.ledger.captures.values())
        authorization = order.ledger.authorizations[capture.authorization_id]
        assert authorization.gateway_reference is not None and isinstance(gateway.gateway, HasRefunds)
        subject = capture.gateway_reference if shape == "stripe" else authorization.gateway_reference
        await gateway.post(f"/dashboard/refunds/{subject}?amount=1000")
        call = CALL.model_copy(update={"payment": authorization.gateway_reference})
        ours, theirs = (await gateway.gateway.refunds(call)).made
        assert (ours.amount_minor, theirs.amount_minor, theirs.currency) == (98, 10_00, "EUR")
        [refund_id] = [key for key, one in order.ledger.operations.items() if one.kind == "refund"]
        assert refund_id in operations_named(ours) and refund_id not in operations_named(theirs)


# -- which events ask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "metadata", "asks"),
    [("refund.created", {}, "refunds"), ("refund.updated", None, "refunds"), ("charge.refund.updated", {}, "refunds"),
     ("refund.created", {"operation_id": str(uid("r1"))}, ""),
     ("charge.refunded", {"operation_id": str(uid("a1"))}, "refunds"),  # of the intent, whoever refunded it
     ("charge.dispute.created", {}, "dispute"), ("payment_intent.succeeded", {}, "")],
)  # fmt: skip
def test_an_event_of_stripe_asks_for_refunds_that_are_not_ours(kind: str, metadata: Any, asks: str) -> None:
    subject = {"id": "re_1", "payment_intent": "pi_1", "metadata": metadata}
    body = json.dumps({"id": "evt_1", "type": kind, "created": 1, "data": {"object": subject}}).encode()
    notice = stripe.read(body)
    assert (notice.asks, notice.payment) == (asks, "pi_1")


@pytest.mark.parametrize(
    ("last", "asks"),
    [({"event": "REFUND"}, "refunds"), ({"event": "REFUND", "event_reference": str(uid("r1"))}, ""), ({"event": "CAPTURE"}, "")],
)  # fmt: skip
def test_an_event_of_dintero_asks_for_a_refund_that_names_no_operation(last: dict[str, str], asks: str) -> None:
    transaction = {"id": "P1.1", "merchant_reference": str(uid("a1")), "events": [{"event": "AUTHORIZE"}, last]}
    event = {"account_id": "P1", "event": "checkout_transaction", "event_delivery": "d1", "transaction": transaction}
    assert dintero.read(json.dumps(event).encode()).asks == asks
