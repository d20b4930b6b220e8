"""A refusal states whether the gateway may do the same later, as another operation: then who has asked asks anew."""

from __future__ import annotations

from typing import Any

import pytest
from payments_play import Play, authorize, capture, refund, report, tasks_of, uid

from contracts.payments import Failed
from payments.domain.gateway import GatewayCall
from payments.gateways.stripe import answers as stripe
from payments.gateways.stripe.answers import Refund


def _refunding(play: Play) -> GatewayCall:
    """50.00 are captured; their refund is asked for."""
    for n, command in enumerate(
        [authorize("a1", 50_00, "test"), capture("c1", "a1", 50_00), refund("r1", "c1", 50_00)]
    ):
        [task] = tasks_of(play.when(command, id=f"m{n}"))
        assert isinstance(task.body, GatewayCall)
        if n < 2:
            play.when(report(task.body, "succeeded", f"tg_{n}"), id=f"reported {n}")
    return task.body


@pytest.mark.parametrize(
    ("outcome", "later"),
    [
        ({"state": "refused", "code": "charge_disputed"}, False),
        ({"state": "refused", "code": "refund_failed", "later": True}, True),
        ({"state": "not_set_up", "code": "credentials_missing"}, True),
        ({"state": "not_set_up", "code": "gateway_unknown"}, True),
    ],
)
def test_a_refused_refund_states_whether_another_one_may_succeed(
    play: Play, outcome: dict[str, Any], later: bool
) -> None:
    call = _refunding(play)
    [event] = play.when(report(call, outcome.pop("state"), None, **outcome), id="m9")
    assert isinstance(event, Failed) and event.later is later
    assert tasks_of(play.when(refund("r2", "c1", 50_00), id="m10")), "its amount is free again"


def test_what_the_ledger_itself_refuses_is_final(play: Play) -> None:
    [event] = play.when(refund("r1", "c1", 50_00))
    assert isinstance(event, Failed) and not event.later


@pytest.mark.parametrize(
    ("reason", "later"), [("insufficient_funds", True), ("expired_or_canceled_card", False), (None, False)]
)
def test_a_failed_refund_of_stripe_may_be_made_later_if_only_funds_were_missing(
    reason: str | None, later: bool
) -> None:
    body = {
        "id": "re_1", "object": "refund", "amount": 50_00, "currency": "eur", "status": "failed", "failure_reason": reason,
        "metadata": {"operation_id": str(uid("r1"))},
    }  # fmt: skip
    call = GatewayCall(
        operation_id=uid("r1"), gateway="stripe", kind="refund", order_id=uid("o"), store_id="st_1", currency="EUR",
        amount_minor=50_00,
    )  # fmt: skip
    outcome = stripe.refunded(Refund.model_validate(body), call)
    assert (outcome.state, outcome.code, outcome.later) == ("refused", "refund_failed", later)
