"""A person states the outcome of an operation, because its gateway gives none. Nothing is moved: the outcome is booked.

As long as a gateway can be asked and may still answer, its answer is awaited. A gift card is not asked: its part of an
operation has the outcome of the operation. Once a person has stated the outcome, the
operation is never called again; its gateway is asked what it has, beside everything else. The same is noted, another one
is published for a person. Neither changes an amount.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from contracts.deciding import Context, Decision, Effect, Withdrawn
from contracts.gift_cards import GIFT_CARD
from contracts.payments import Contradicted, Declined, Failed, Force, ForceCode, Forced, ForceRefused
from payments.domain import facts, sessions
from payments.domain.commands import resumed_voids
from payments.domain.folds import evolve
from payments.domain.gateway import INFORMED, GatewayCall, GatewayOutcome, abandoning_id, check, follow_up_id
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import Confirmed
from payments.domain.operation import Operation

UNANSWERED_MIN: Final = 3
"""Tries without an outcome, after which a gateway counts as one that does not answer."""


class AskingKey(NamedTuple):
    """Names how often the gateway of one operation was asked."""

    order_id: UUID
    operation_id: UUID
    what: str = "asking"
    """Makes it differ from other keys of two ids."""


class Asking(NamedTuple):
    tries: int
    """Those that are over, without an outcome."""
    since: datetime | None
    """Start of the first try."""


def asking(ledger: Ledger, message: Any) -> Iterable[AskingKey]:
    if isinstance(message, Force):
        yield AskingKey(message.order_id, message.target_operation_id)


def force(ledger: Ledger, command: Force, context: Context) -> Decision:
    target_id = command.target_operation_id
    target = ledger.operation(target_id, context)
    if target is None:
        return [_refused(ledger, command, context, "operation_unknown", f"payments has no operation {target_id}")]
    if target.recorded is not None and target.outcome == command.outcome:
        return [_forced(ledger, command, target, context)]
    if not target.is_open:
        target = target.of_gateway  # its gift cards were given back, or not touched
    if (no := _why_not(ledger, command, target, context)) is not None:
        return [no]
    forced = _forced(ledger, command, target, context)
    event = _stated(ledger, command, target, context)
    effects: list[Effect] = [forced, event]
    if target.is_open:
        effects += _asks_only(ledger, target, target_id, context)
    ended = resumed_voids(evolve(evolve(ledger, forced), event), effects, target_id, target, context)
    return sessions.then_declined(ended, target_id, context)


def _asks_only(ledger: Ledger, target: Operation, target_id: UUID, context: Context) -> list[Effect]:
    """Its gateway is called no more, and asked what it has."""
    if target.gateway in INFORMED:
        return []
    call = ledger.call(context.key, context.store_id, target_id, target)
    asking = [Withdrawn(target_id), Withdrawn(follow_up_id(target_id))]
    return [*asking, *([Withdrawn(abandoning_id(target_id))] if target.abandoned else []), check(call)]


def _forced(ledger: Ledger, command: Force, target: Operation, context: Context) -> Forced:
    assert target.currency is not None, "an operation that was asked for has a currency"
    return Forced(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        currency=target.currency,
        totals=ledger.totals(),
        target_operation_id=command.target_operation_id,
        outcome=command.outcome,
        reference=command.reference,
        reason=command.reason,
        actor=command.actor,
    )


def _why_not(ledger: Ledger, command: Force, target: Operation, context: Context) -> ForceRefused | None:
    """Why the outcome cannot be stated now."""
    if target.gateway == GIFT_CARD:
        why = "it is what a gift card pays of another operation, and has the outcome of that one"
        return _refused(ledger, command, context, "not_forceable", why, gateway=target.gateway)
    if target.kind in ("prepay", "return"):
        why = "it is of a payment session: cancel the session, or return what was paid in it"
        return _refused(ledger, command, context, "not_forceable", why, gateway=target.gateway)
    if target.session_id is not None:
        why = f"its buyer is paying in session {target.session_id}"
        return _refused(ledger, command, context, "not_forceable", why, gateway=target.gateway)
    if target.postponed:
        why = "it waits for what is in flight on its authorization; no gateway is asked yet"
        return _refused(ledger, command, context, "not_forceable", why)
    if target.is_open and target.gateway in INFORMED:
        return None
    if target.is_open:
        status = context.shares.get(AskingKey(context.key, command.target_operation_id))
        tries, since = status or Asking(0, None)  # no task yet: it is asked for in this very batch
        if tries >= UNANSWERED_MIN:
            return None
        why = f"{target.gateway} is being asked: {tries} of {UNANSWERED_MIN} tries are over without an outcome"
        return _refused(
            ledger, command, context, "not_forceable", why, gateway=target.gateway, since=since, tries=tries
        )
    if command.outcome == "failed" or target.state == "succeeded":
        why = f"it has its outcome: {target.state}"
        return _refused(ledger, command, context, "not_forceable", why, gateway=target.gateway)
    if not target.lines:
        return _refused(ledger, command, context, "not_forceable", "the ledger refused it, or no longer has its lines")
    allowed = _allowed(ledger, target)
    if allowed < target.amount_minor:
        why = f"{allowed} of {target.amount_minor} are left"
        return _refused(ledger, command, context, "amount_exceeded", why, gateway=target.gateway, allowed_minor=allowed)
    return None


def _allowed(ledger: Ledger, target: Operation) -> int:
    """How much of a refused operation the ledger still has room for."""
    if target.kind == "authorize":
        return max(0, ledger.authorizable_minor)
    left: dict[str, int] = {}
    if target.refers_to in ledger.authorizations:
        if not ledger.void_waits(target.refers_to):
            left = ledger.left_by_tender(ledger.authorizations, target.refers_to)[None]
    elif target.refers_to in ledger.captures:
        left = ledger.left_by_tender(ledger.captures, target.refers_to)[None]
    return sum(min(line.amount_minor, left.get(line.line_id, 0)) for line in target.lines)


def _stated(ledger: Ledger, command: Force, target: Operation, context: Context) -> facts.Fact | Declined | Failed:
    target_id = command.target_operation_id
    if command.outcome == "succeeded":
        return facts.succeeded(ledger, target_id, target, context, command.reference, recorded=True)
    by = f"stated by {command.actor}"[:500]
    if target.kind == "authorize":
        return facts.declined(ledger, target_id, target, context, "gateway_refused", by, recorded=True)
    return facts.failed(ledger, target_id, target, context, "gateway_refused", by, recorded=True)


def _refused(
    ledger: Ledger,
    command: Force,
    context: Context,
    code: ForceCode,
    reason: str,
    *,
    gateway: str | None = None,
    since: datetime | None = None,
    tries: int = 0,
    allowed_minor: int | None = None,
) -> ForceRefused:
    return ForceRefused(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        code=code,
        refers_to=command.target_operation_id,
        currency=ledger.currency,
        totals=ledger.totals(),
        gateway=gateway,
        since=since,
        tries=tries,
        allowed_minor=allowed_minor,
        reason=reason,
    )


# ------------------------------------------------------------------------------ what the gateway reports all the same

Reported = Literal["succeeded", "failed", "unknown"]


def reported(
    ledger: Ledger, call: GatewayCall, target: Operation, outcome: GatewayOutcome, context: Context
) -> Decision:
    """A report on an operation whose outcome was stated before."""
    if outcome.state == "pending":
        return []  # of a worker that asked before the statement; the check goes on asking
    said = _said(outcome)
    if _agrees(target, said, outcome):
        return _confirmed(call, target, outcome, context)
    if target.recorded == "contradicted" or (target.recorded == "stated" and said == "failed"):
        return []  # once more, or the refusal that a person overruled
    return [
        Contradicted(
            order_id=context.key,
            store_id=context.store_id,
            currency=call.currency,
            totals=ledger.totals(),
            target_operation_id=call.operation_id,
            command=target.kind,
            refers_to=target.refers_to,
            recorded_outcome="succeeded" if target.state == "succeeded" else "failed",
            reported_outcome=said,
            amount_minor=target.amount_minor,
            reported_minor=outcome.amount_minor,
            gateway=call.gateway,
            gateway_reference=outcome.gateway_reference,
            reason=_why_it_differs(target, outcome)[:500],
        )
    ]


def _why_it_differs(target: Operation, outcome: GatewayOutcome) -> str:
    if outcome.state == target.state == "succeeded" and outcome.captured != target.with_capture:
        return "captured together with its authorization" if outcome.captured else "authorized, but not captured"
    return ": ".join(filter(None, (outcome.code, outcome.reason)))


def _confirmed(call: GatewayCall, target: Operation, outcome: GatewayOutcome, context: Context) -> list[Effect]:
    if target.recorded != "unconfirmed":
        return []
    return [
        Confirmed(
            order_id=context.key,
            store_id=context.store_id,
            target_operation_id=call.operation_id,
            gateway_reference=outcome.gateway_reference,
        )
    ]


def _agrees(target: Operation, said: Reported, outcome: GatewayOutcome) -> bool:
    if target.state == "succeeded":
        moved = outcome.amount_minor in (None, target.amount_minor) and outcome.captured == target.with_capture
        return said == "succeeded" and moved
    return said != "succeeded"  # what a gateway does not have it has not done


def _said(outcome: GatewayOutcome) -> Reported:
    match outcome.state:
        case "succeeded" | "unknown":
            return outcome.state
        case _:
            return "failed"
