"""Events of gateways about what a buyer has paid in a session, and no order has asked for yet: disputes, and refunds that a person
makes there. Each gateway that sends such events is asked over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from payments_conformance import is_event, shape
from payments_gateways import QUICK, STORE, Paying, Shape, shaped
from test_payments_conformance_prepaying import prepaid

from contracts.deciding import Reported
from contracts.payments import Authorized, CheckDispute, CheckRefunds, DisputeOpened, PrepaymentReturned, RecordRefused
from payments.domain import disputes
from payments.gateways.port import HasDisputes, HasRefunds

__all__ = ["shape"]


async def captured_elsewhere(shape: Shape, order: Paying, session_id: UUID, amount: int) -> tuple[str, str]:
    """A person captures at the gateway what waits for its order. (the gateway's names of the payment and of the capture.)"""
    paid = order.ledger.sessions[session_id].prepayment
    assert paid is not None and paid.gateway_reference is not None
    asked = order.ledger.call(order.order_id, STORE, session_id, order.ledger.operations[session_id])
    drawn = {"kind": "capture", "operation_id": uuid4(), "amount_minor": amount, "source": paid.gateway_reference}
    done = await shape.gateway.call(asked.model_copy(update=drawn | {"refers_to": session_id, "reported_as": None}))
    assert done.state == "succeeded" and done.gateway_reference is not None
    return paid.gateway_reference, done.gateway_reference


def of_an_event(shape: Shape, order: Paying, **more: Any) -> dict[str, Any]:
    who = {"order_id": order.order_id, "store_id": STORE, "operation_id": uuid4(), "actor": f"system:{shape.name}"}
    return who | {"gateway": shape.name, "account": "main"} | more


@pytest.mark.parametrize("shape", ["stripe"], indirect=True)
async def test_a_dispute_of_what_waits_for_its_order_is_booked(shape: Shape) -> None:
    assert isinstance(shape.gateway, HasDisputes)
    order, session_id = await prepaid(shape, 10_00)
    payment, charge = await captured_elsewhere(shape, order, session_id, 10_00)
    dispute = await shape.post(f"/disputes/{charge}?end=open")
    order.decide(CheckDispute(**of_an_event(shape, order), reference=dispute["id"], payment=payment))
    task = order.tasks.pop()
    stated: Any = await shape.gateway.dispute(task.body)  # type: ignore[arg-type]
    order.decide(Reported(task_id=task.task_id, kind=task.kind, asked=task.body, outcome=stated))
    is_event(order.events[-1], DisputeOpened, withheld_minor=10_00, currency="EUR", reference=dispute["id"])


@pytest.mark.parametrize("shape", ["stripe", "dintero"], indirect=True)
async def test_what_a_person_refunds_of_a_payment_that_waits_for_its_order(shape: Shape) -> None:
    """All of it: it is given back. A part: it is stated for a person, and nothing is booked."""
    assert isinstance(shape.gateway, HasRefunds)
    order, session_id = await prepaid(shape, 10_00)
    payment, capture = await captured_elsewhere(shape, order, session_id, 10_00)
    subject = capture if shape.name == "stripe" else payment
    for amount, left in ((4_00, "held"), (6_00, "returned")):
        await shape.post(f"/dashboard/refunds/{subject}?amount={amount}")
        order.decide(CheckRefunds(**of_an_event(shape, order), payment=payment))
        task = order.tasks.pop()
        stated: Any = await shape.gateway.refunds(task.body)  # type: ignore[arg-type]
        for _ in range(2):
            order.decide(Reported(task_id=task.task_id, kind=task.kind, asked=task.body, outcome=stated))
        paid = order.ledger.sessions[session_id].prepayment
        assert paid is not None and paid.state == left
    refused = [one for one in order.events if isinstance(one, RecordRefused)]
    assert [(one.code, one.allowed_minor) for one in refused] == [("capture_unknown", 10_00)] * 2
    [returned] = [one for one in order.events if isinstance(one, PrepaymentReturned)]
    is_event(returned, PrepaymentReturned, amount_minor=10_00, recorded=True, session_id=session_id)


async def test_a_dispute_before_the_order_is_stated_once_more_when_the_order_takes_the_payment_over() -> None:
    async with shaped("stripe", QUICK) as shape:
        order, session_id = await prepaid(shape, 10_00)
        dispute_id = disputes.dispute_id(order.order_id, "stripe", "dp_1")
        call = disputes.DisputeCall(
            dispute_id=dispute_id, order_id=order.order_id, store_id=STORE, gateway="stripe", account="main", reference="dp_1", currency="EUR",
        )  # fmt: skip
        paid = order.ledger.sessions[session_id].prepayment
        assert paid is not None and paid.gateway_reference is not None
        stated = disputes.DisputeState(
            state="open", payment=paid.gateway_reference, amount_minor=10_00, withheld_minor=10_00, reason="fraudulent"
        )
        order.decide(Reported(task_id=uuid4(), kind=disputes.DISPUTE_KIND, asked=call, outcome=stated))
        order.tasks.clear()  # the poll of tomorrow
        before = len(order.events)
        await order.authorize(10_00)
        authorized, opened = order.events[before:]
        is_event(authorized, Authorized, session_id=session_id)
        is_event(opened, DisputeOpened, amount_minor=10_00, withheld_minor=0, reason="fraudulent")
        assert order.ledger.disputes[dispute_id].withheld_minor == 10_00
