"""What Stripe answers: intents, refunds and errors, as outcomes of our operations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from pydantic import Field, ValidationError

from contracts.base import Frozen
from payments.domain.disputes import DisputeCall, DisputeState
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.gateways.http import Answer
from payments.gateways.port import Action, Unclear, outcome
from payments.gateways.stripe.amounts import from_stripe

FINAL: Final[frozenset[str]] = frozenset({
    "amount_too_large", "amount_too_small", "charge_already_captured", "charge_already_refunded", "charge_disputed",
    "charge_expired_for_capture", "payment_intent_unexpected_state", "payment_method_currency_mismatch",
    "refund_disputed_payment",
})  # fmt: skip
"""Codes of invalid_request_error that are a no to this operation (docs.stripe.com/error-codes). Another one may come from a
wrong configuration and is not a no."""


PASSING: Final[frozenset[str]] = frozenset({"insufficient_funds"})
"""Reasons of a failed refund after which another one may succeed (docs.stripe.com/refunds#failed-refunds)."""


class Card(Frozen):
    multicapture: dict[str, Any] | None = None
    capture_before: int | None = None
    """When the authorization expires, in seconds since 1970 (docs.stripe.com/payments/place-a-hold-on-a-payment-method)."""


class PaymentMethodDetails(Frozen):
    card: Card | None = None


class Charge(Frozen):
    id: str
    payment_method_details: PaymentMethodDetails | None = None

    @property
    def multicapture_is_available(self) -> bool:
        card = self.payment_method_details and self.payment_method_details.card
        return bool(card and card.multicapture and card.multicapture.get("status") == "available")

    @property
    def held_until(self) -> datetime | None:
        card = self.payment_method_details and self.payment_method_details.card
        return datetime.fromtimestamp(card.capture_before, UTC) if card and card.capture_before else None


class ErrorBody(Frozen):
    type: str = ""
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    payment_intent: Intent | None = None


class Intent(Frozen):
    """A payment intent: one authorization of ours, with what was captured of it."""

    id: str
    status: Literal[
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
    ]
    amount: int
    amount_received: int = 0
    currency: str
    metadata: dict[str, str] = Field(default_factory=dict)
    latest_charge: Charge | str | None = None
    last_payment_error: ErrorBody | None = None
    cancellation_reason: str | None = None
    client_secret: str | None = Field(None, repr=False)
    next_action: dict[str, Any] | None = Field(None, repr=False)

    @property
    def charge_id(self) -> str | None:
        return self.latest_charge.id if isinstance(self.latest_charge, Charge) else self.latest_charge


class Refund(Frozen):
    id: str
    amount: int
    status: Literal["pending", "requires_action", "succeeded", "failed", "canceled"]
    failure_reason: str | None = None
    metadata: dict[str, str] | None = None
    currency: str = ""
    created: int = 0
    charge: str | None = None
    payment_intent: str | None = None


class Evidence(Frozen):
    due_by: int | None = None


class Dispute(Frozen):
    id: str
    amount: int
    currency: str
    status: Literal[
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "needs_response",
        "under_review",
        "won",
        "lost",
        "prevented",
    ]
    payment_intent: str
    reason: str = ""
    balance_transactions: tuple[dict[str, Any], ...] = ()
    """The withdrawal, and the return of what was won; an inquiry (`warning_`) has none."""
    evidence_details: Evidence | None = None


class Error(Frozen):
    error: ErrorBody


def intent_of(body: Any) -> Intent:
    return _read(Intent, body)


def refund_of(body: Any) -> Refund:
    return _read(Refund, body)


def dispute_of(body: Any) -> Dispute:
    return _read(Dispute, body)


def disputed(dispute: Dispute, call: DisputeCall) -> DisputeState:
    """Source: docs.stripe.com/api/disputes/object. An inquiry takes no money; one that is closed or prevented never will."""
    if dispute.id != call.reference or dispute.currency.upper() != call.currency:
        raise Unclear(f"asked about {call.reference} in {call.currency}, got {dispute.id} in {dispute.currency}"[:500])
    match dispute.status:
        case "lost":
            state: Literal["open", "won", "lost"] = "lost"
        case "won" | "warning_closed" | "prevented":
            state = "won"
        case _:
            state = "open"
    amount_minor = from_stripe(dispute.amount, call.currency)
    if amount_minor is None:
        raise Unclear(f"{dispute.id} is about {dispute.amount}, no amount in {call.currency}")
    is_withheld = state == "lost" or (state == "open" and bool(dispute.balance_transactions))
    due_by = dispute.evidence_details.due_by if dispute.evidence_details else None
    return DisputeState(
        state=state,
        payment=dispute.payment_intent,
        amount_minor=amount_minor,
        withheld_minor=amount_minor if is_withheld else 0,
        reason=dispute.reason[:500],
        due_at=datetime.fromtimestamp(due_by, UTC) if due_by and state == "open" else None,
    )


def items_of(answer: Answer) -> tuple[list[Any], bool]:
    """Returns the objects of a page of a list, and whether there is a next one."""
    if answer.status != 200 or not isinstance(answer.body, dict) or not isinstance(answer.body.get("data"), list):
        raise unclear(answer)
    return answer.body["data"], answer.body.get("has_more") is True


def capture_key(operation_id: UUID) -> str:
    """The metadata key of an intent that a capture is recorded under: 40 characters, the maximum."""
    return f"capture_{operation_id.hex}"


def void_key(operation_id: UUID) -> str:
    return f"void_{operation_id.hex}"


# ------------------------------------------------------------------------------------------------------------ outcomes


def authorized(intent: Intent, call: GatewayCall) -> GatewayOutcome:
    if intent.metadata.get("operation_id") != str(call.operation_id):
        raise Unclear(f"asked about {call.operation_id}, got the payment intent of another operation")
    amount_minor = from_stripe(intent.amount, call.currency)
    match intent.status:
        case "requires_capture" | "succeeded":
            is_captured = call.capture and intent.status == "succeeded"
            charge = intent.latest_charge
            held = charge.held_until if isinstance(charge, Charge) and intent.status == "requires_capture" else None
            return outcome(
                "succeeded", reference=intent.id, amount_minor=amount_minor, captured=is_captured, held_until=held
            )
        case "canceled":
            reason = intent.cancellation_reason or ""
            code = "authorization_expired" if reason in ("automatic", "expired") else "authorization_canceled"
            return outcome("refused", reference=intent.id, code=code, reason=reason)
        case "requires_payment_method" if call.payment_token is not None and intent.last_payment_error is not None:
            return _declined(intent.last_payment_error, intent.id)
        case _:  # the buyer has to enter a means of payment, or to confirm (3-D Secure), or Stripe is at it
            return outcome("pending", reference=intent.id)


def abandoned(intent: Intent, call: GatewayCall) -> GatewayOutcome:
    """How an intent ended that was to be cancelled; pending while it is not."""
    if intent.status in ("canceled", "succeeded"):
        return authorized(intent, call)
    return outcome("pending", reference=intent.id)


def action(intent: Intent) -> Action | None:
    """What stops the intent, as its client secret and, if there is a page for it, a redirect."""
    if intent.status == "requires_payment_method":
        return Action("pay", intent.client_secret)
    if intent.status not in ("requires_action", "requires_confirmation"):
        return None
    redirect = (intent.next_action or {}).get("redirect_to_url")
    return Action("confirm", intent.client_secret, redirect.get("url") if isinstance(redirect, dict) else None)


def captured(intent: Intent, call: GatewayCall) -> GatewayOutcome | None:
    """The capture, as the intent's metadata records it; None if it does not."""
    recorded = intent.metadata.get(capture_key(call.operation_id))
    if recorded is None:
        return None
    captures = [int(value) for key, value in intent.metadata.items() if key.startswith("capture_") and value.isdigit()]
    if intent.status == "processing":
        return outcome("pending", reference=intent.charge_id)
    if not recorded.isdigit() or sum(captures) > intent.amount_received:
        raise Unclear(f"{intent.id} records captures of {sum(captures)} and has received {intent.amount_received}")
    amount_minor = from_stripe(int(recorded), call.currency)
    return outcome("succeeded", reference=intent.charge_id or intent.id, amount_minor=amount_minor)


def voided(intent: Intent, call: GatewayCall) -> GatewayOutcome | None:
    """The void; None if the amount is still held. An intent that is canceled or has succeeded holds nothing."""
    is_whole = not call.left_minor
    is_recorded = intent.status == "succeeded" if is_whole else void_key(call.operation_id) in intent.metadata
    is_released = is_recorded or intent.status == "canceled"
    return outcome("succeeded", reference=intent.id, amount_minor=call.amount_minor) if is_released else None


def refunded(refund: Refund, call: GatewayCall) -> GatewayOutcome:
    if (refund.metadata or {}).get("operation_id") != str(call.operation_id):
        raise Unclear(f"asked about {call.operation_id}, got the refund of another operation")
    match refund.status:
        case "succeeded":
            return outcome("succeeded", reference=refund.id, amount_minor=from_stripe(refund.amount, call.currency))
        case "failed" | "canceled":
            reason = refund.failure_reason or ""
            return outcome(
                "refused", reference=refund.id, code=f"refund_{refund.status}", reason=reason, later=reason in PASSING
            )
        case _:
            return outcome("pending", reference=refund.id)


def refused(answer: Answer) -> GatewayOutcome:
    """Stripe's final no. Raises Unclear for every other answer: only a no about this operation is one."""
    try:
        error = Error.model_validate(answer.body).error
    except ValidationError:
        raise unclear(answer) from None
    if answer.status == 402 and error.type == "card_error":
        return _declined(error)
    if answer.status == 400 and error.type == "invalid_request_error" and error.code in FINAL:
        intent = error.payment_intent
        has_expired = error.code == "payment_intent_unexpected_state" and intent and intent.status == "canceled"
        has_expired = has_expired or error.code == "charge_expired_for_capture"
        code = "authorization_expired" if has_expired else error.code
        return outcome("refused", code=code or "", reason=error.message or "")
    raise unclear(answer)


def unclear(answer: Answer) -> Unclear:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    stated = f": {error.get('type')} {error.get('code') or ''}".rstrip() if isinstance(error, dict) else ""
    return Unclear(f"Stripe answered with status {answer.status}{stated}"[:500])


def _declined(error: ErrorBody, reference: str | None = None) -> GatewayOutcome:
    code = error.decline_code or error.code or "card_error"
    return outcome("refused", reference=reference, code=code, reason=error.message or "")


Read = TypeVar("Read", bound=Frozen)


def _read(model: type[Read], body: Any) -> Read:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise Unclear(f"a {model.__name__} of Stripe does not read: {error.error_count()} errors") from None
