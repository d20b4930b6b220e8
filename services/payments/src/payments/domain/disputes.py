"""Disputes: a buyer has their bank take a payment back. The gateway withholds the amount, and releases or loses it.

An event of the gateway is only a hint: the gateway is asked, and what it states then is decided on. So an event that comes twice,
late or not at all changes nothing; an open dispute is asked for once a day. A closed one stays as it is: if the gateway states
another end, or another payment, nothing is booked and a person finds out what holds (`dispute_differs`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from contracts.base import Code, Frozen, Id, MinorUnsigned, Text
from contracts.deciding import Context, Effect, Reported, Task
from contracts.ids import derived
from contracts.money import Currency
from contracts.payments import AccountName, CheckDispute, DisputeClosed, DisputeOpened, GatewayName
from payments.domain.ledger import Dispute, Ledger

DISPUTE_KIND: Final = "dispute"
DIFFERS_KIND: Final = "dispute_differs"
POLL_SECONDS: Final = 86_400
"""Between two questions after an open dispute, for events that were lost."""


class DisputeCall(Frozen):
    """What a gateway is asked."""

    dispute_id: UUID
    order_id: UUID
    store_id: Code
    gateway: GatewayName
    account: AccountName | None
    reference: Id
    currency: Currency


class DisputeState(Frozen):
    """What the gateway states about a dispute. Amounts are minor units of the payment's currency."""

    state: Literal["open", "won", "lost"]
    payment: Text
    """The gateway's reference of the authorization."""
    amount_minor: MinorUnsigned
    withheld_minor: MinorUnsigned
    """What it withholds or has lost."""
    reason: Text = ""
    due_at: datetime | None = None


class DisputeDiffers(Frozen):
    """What a gateway states that cannot be: the dispute of another payment, or another end than before."""

    call: DisputeCall
    stated: DisputeState
    known_state: Text = ""
    """What the ledger has: empty, no dispute."""
    known_minor: MinorUnsigned = 0
    at: datetime


def dispute_id(order_id: UUID, gateway: str, reference: str) -> UUID:
    return derived(order_id, f"dispute {gateway} {reference}")


def check(ledger: Ledger, command: CheckDispute, context: Context) -> list[Effect]:
    currency = ledger.paid_in(command.payment) or ledger.currency
    if currency is None:
        return []  # nothing was ever paid here
    named = dispute_id(context.key, command.gateway, command.reference)
    call = DisputeCall(
        dispute_id=named, order_id=context.key, store_id=context.store_id, gateway=command.gateway, account=command.account,
        reference=command.reference, currency=currency,
    )  # fmt: skip
    return [_asking(call, command.operation_id)]


def _asking(call: DisputeCall, task_id: UUID, after_seconds: float = 0) -> Task:
    return Task(task_id=task_id, kind=DISPUTE_KIND, body=call, after_seconds=after_seconds, beside=True)


def _poll(call: DisputeCall, after_seconds: float = POLL_SECONDS) -> Task:
    return _asking(call, derived(call.dispute_id, "what became of it"), after_seconds)


def resumed(order_id: UUID, store_id: str, ledger: Ledger) -> list[Task]:
    """Open disputes are asked for also by a ledger that was restored."""
    return [
        _poll(
            DisputeCall(
                dispute_id=name, order_id=order_id, store_id=store_id, gateway=one.gateway, account=one.account,
                reference=one.reference, currency=one.currency,
            ),
            0,
        )
        for name, one in ledger.disputes.items()
        if one.state == "open"
    ]  # fmt: skip


def reported(ledger: Ledger, report: Reported, context: Context) -> list[Effect]:
    call, stated = report.asked, report.outcome
    assert isinstance(call, DisputeCall) and isinstance(stated, DisputeState), "the tasks of disputes"
    if ledger.paid_in(stated.payment) != call.currency:
        return [_differs(ledger, call, stated, context)]
    known = ledger.disputes.get(call.dispute_id)
    if known is not None and known.state != "open":
        if stated.state in (known.state, "open"):  # once more, or of a worker that asked before
            return []
        return [_differs(ledger, call, stated, context)]
    before = known.withheld_minor if known is not None else 0
    newly = max(stated.withheld_minor - before, 0)
    if stated.state != "open":
        return [_closed(ledger, call, stated, newly, before + newly, context)]
    if known is not None and not newly and known.due_at == stated.due_at:
        return [_poll(call)]
    return [_opened(ledger, call, stated, newly, context), _poll(call)]


def _differs(ledger: Ledger, call: DisputeCall, stated: DisputeState, context: Context) -> Task:
    """Has the difference opened, beside everything else of the order."""
    known = ledger.disputes.get(call.dispute_id)
    body = DisputeDiffers(
        call=call, stated=stated, known_state=known.state if known else "", known_minor=known.amount_minor if known else 0,
        at=context.now,
    )  # fmt: skip
    return Task(task_id=context.new_id("dispute differs"), kind=DIFFERS_KIND, body=body, beside=True)


def _opened(ledger: Ledger, call: DisputeCall, stated: DisputeState, newly: int, context: Context) -> DisputeOpened:
    return DisputeOpened(
        order_id=context.key, store_id=context.store_id, operation_id=call.dispute_id, currency=call.currency,
        totals=ledger.totals(), dispute_id=call.dispute_id, gateway=call.gateway, account=call.account,
        reference=call.reference, amount_minor=stated.amount_minor, withheld_minor=newly, reason=stated.reason,
        due_at=stated.due_at,
    )  # fmt: skip


def _closed(
    ledger: Ledger, call: DisputeCall, stated: DisputeState, newly: int, settled: int, context: Context
) -> DisputeClosed:
    return DisputeClosed(
        order_id=context.key, store_id=context.store_id, operation_id=call.dispute_id, currency=call.currency,
        totals=ledger.totals(), dispute_id=call.dispute_id, gateway=call.gateway, account=call.account,
        reference=call.reference, outcome="won" if stated.state == "won" else "lost", amount_minor=stated.amount_minor,
        withheld_minor=newly, settled_minor=settled,
    )  # fmt: skip


def stated_again(ledger: Ledger, context: Context) -> list[Effect]:
    """The order's disputes as they are, without money. What was paid in a session may be disputed before orders has the order; so they
    are stated once more when an authorization of the order takes it over. A won dispute needs no person."""
    effects: list[Effect] = []
    for name, one in ledger.disputes.items():
        call = DisputeCall(
            dispute_id=name, order_id=context.key, store_id=context.store_id, gateway=one.gateway, account=one.account,
            reference=one.reference, currency=one.currency,
        )  # fmt: skip
        stated = DisputeState(
            state=one.state, payment="", amount_minor=one.amount_minor, withheld_minor=0, reason=one.reason, due_at=one.due_at,
        )  # fmt: skip
        if one.state == "open":
            effects.append(_opened(ledger, call, stated, 0, context))
        elif one.state == "lost":
            effects.append(_closed(ledger, call, stated, 0, 0, context))
    return effects


def folded(ledger: Ledger, event: DisputeOpened | DisputeClosed) -> Ledger:
    before = ledger.disputes.get(event.dispute_id)
    withheld = (before.withheld_minor if before is not None else 0) + event.withheld_minor
    one = Dispute(
        gateway=event.gateway,
        currency=event.currency,
        account=event.account,
        reference=event.reference,
        amount_minor=event.amount_minor,
        withheld_minor=withheld,
        reason=event.reason if isinstance(event, DisputeOpened) else before.reason if before else "",
        due_at=event.due_at if isinstance(event, DisputeOpened) else None,
    )
    if isinstance(event, DisputeClosed):
        one = one.model_copy(
            update={
                "state": "won" if event.outcome == "won" else "lost",
                "withheld_minor": withheld - event.settled_minor,
            }
        )
    return ledger.model_copy(update={"disputes": {**ledger.disputes, event.dispute_id: one}})
