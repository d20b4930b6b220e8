"""The book of the server in Stripe's shapes: intents, charges, refunds, and the money that moved. No HTTP is in it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

from gatewayservers import controls
from gatewayservers.controls import Answer, Moved

NEEDS_BUYER: Final = "pm_card_authenticationRequired"
DECLINES: Final = "pm_card_chargeDeclined"
SINGLE: Final = "pm_card_single"

Form = Mapping[str, str]


HELD_SECONDS: Final = 7 * 86_400
"""How long an authorization is held."""


class Refused(controls.Refused):
    """An answer that is an error in Stripe's shape."""

    def __init__(self, status: int, kind: str, code: str | None, message: str, **more: Any) -> None:
        self.answer = (status, {"error": {"type": kind, "code": code, "message": message} | more})
        super().__init__(message)


def refuse(code: str | None, message: str, **more: Any) -> Refused:
    return Refused(400, "invalid_request_error", code, message, **more)


@dataclass
class Charge:
    id: str
    multicapture: bool
    refunded: int = 0


@dataclass
class Intent:
    id: str
    amount: int
    currency: str
    metadata: dict[str, str]
    status: str
    is_automatic: bool
    """Captured when it is authorized."""
    charge: Charge | None = None
    received: int = 0
    settles_at: float = 0
    """When the status `processing` ends."""
    cancellation_reason: str | None = None
    error: dict[str, Any] | None = None
    return_url: str = ""
    """Where the buyer is sent from a page of Stripe's."""
    created_at: float = field(default_factory=time.time)

    @property
    def order_id(self) -> str:
        return self.metadata.get("order_id", "")


@dataclass
class Refund:
    id: str
    amount: int
    intent: Intent
    metadata: dict[str, str]
    settles_at: float
    created_at: float = field(default_factory=time.time)

    @property
    def status(self) -> str:
        return "succeeded" if time.time() >= self.settles_at else "pending"


@dataclass
class Books:
    late_ms: float
    """Until a late operation succeeds."""
    intents: dict[str, Intent] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    disputes: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    # -- found --------------------------------------------------------------------------------------------------------

    def intent(self, intent_id: str) -> Intent:
        if intent_id not in self.intents:
            raise Refused(404, "invalid_request_error", "resource_missing", "No such payment_intent")
        return self.settled(self.intents[intent_id])

    def transactions(self, begin: float, end: float) -> list[dict[str, Any]]:
        """The balance transactions of a period, newest first. What is late is one of the time at which it succeeds."""
        now = time.time()
        moved = [m for m in reversed(self.moved) if m.kind in ("capture", "refund") and now >= m.settles_at]
        return [self._transaction(m) for m in moved if begin <= int(max(m.at, m.settles_at)) < end]

    def _transaction(self, moved: Moved) -> dict[str, Any]:
        is_refund = moved.kind == "refund"
        if is_refund:
            source = shown_refund(self.refunds[moved.reference]) | {"currency": moved.currency.lower()}
        else:
            intent = self.charged({"charge": moved.reference})
            of_charge = [m.id for m in self.moved if m.kind == "capture" and m.reference == moved.reference]
            source = {
                "object": "charge", "id": moved.reference, "amount": intent.amount, "amount_captured": intent.received,
                "currency": intent.currency, "payment_intent": intent.id, "metadata": dict(intent.metadata),
                "balance_transaction": of_charge[0], "status": "succeeded",
            }  # fmt: skip
        return {
            "object": "balance_transaction", "id": moved.id, "amount": -moved.amount if is_refund else moved.amount,
            "created": int(max(moved.at, moved.settles_at)), "exchange_rate": None, "currency": moved.currency.lower(),
            "reporting_category": "refund" if is_refund else "charge", "source": source,
        }  # fmt: skip

    def charged(self, form: Form) -> Intent:
        """The intent of a charge, or the intent itself."""
        named = form.get("charge"), form.get("payment_intent")
        for intent in self.intents.values():
            if intent.charge and (intent.charge.id == named[0] or intent.id == named[1]):
                return intent
        raise Refused(404, "invalid_request_error", "resource_missing", "No such charge")

    # -- intents ------------------------------------------------------------------------------------------------------

    def create(self, form: Form, trouble: str | None) -> Answer:
        amount = int(form["amount"])
        if amount < 1:
            raise refuse("amount_too_small", "Amount must be at least 1")
        if amount > 99_999_999:
            raise refuse("amount_too_large", "Amount must be no more than 999,999.99")
        is_automatic = form["capture_method"] == "automatic"
        if "return_url" in form and form.get("confirm") != "true":
            raise refuse("parameter_invalid", "return_url is only used with confirm=true")
        intent = Intent(
            f"pi_{uuid4().hex[:24]}", amount, form["currency"], metadata(form), "requires_payment_method", is_automatic
        )
        self.intents[intent.id] = intent
        intent.return_url = form.get("return_url", "")
        if form.get("confirm") == "true":
            self.confirm(intent, form.get("payment_method", ""), trouble)
            if intent.error is not None:
                return 402, {"error": intent.error | {"payment_intent": self.shown(intent)}}
        return 200, self.shown(intent, expanded=form.get("expand[]") == "latest_charge")

    def confirm(self, intent: Intent, method: str, trouble: str | None = None) -> None:
        """The buyer, or the shop with a stored means of payment, pays."""
        if trouble == "declined" or method == DECLINES:
            intent.error = {
                "type": "card_error",
                "code": "card_declined",
                "decline_code": "generic_decline",
                "message": "Your card was declined.",
            }
            self.event("payment_intent.payment_failed", intent)
            return
        intent.error, intent.charge = None, Charge(f"ch_{uuid4().hex[:24]}", method != SINGLE)
        if method == NEEDS_BUYER:
            intent.status = "requires_action"
            self.event("payment_intent.requires_action", intent)
            return
        self.authorize(intent, trouble)

    def authorize(self, intent: Intent, trouble: str | None = None) -> None:
        is_late = trouble == "late"
        intent.charge = intent.charge or Charge(f"ch_{uuid4().hex[:24]}", True)
        intent.error, intent.settles_at = None, self._settles_at(is_late)
        intent.status = "processing" if is_late else "requires_capture"
        operation = intent.metadata.get("operation_id", "")
        self._move(intent, "authorize", operation, intent.amount, intent.id, intent.settles_at)
        if intent.is_automatic:
            intent.received = intent.amount
            intent.status = "processing" if is_late else "succeeded"
            self._move(intent, "capture", "", intent.amount, intent.charge.id, intent.settles_at)
        done = "payment_intent.succeeded" if intent.is_automatic else "payment_intent.amount_capturable_updated"
        self.event("payment_intent.processing" if is_late else done, intent)

    def capture(self, intent: Intent, form: Form, trouble: str | None) -> Answer:
        if intent.status != "requires_capture":
            raise self.unexpected(intent)
        amount = int(form.get("amount_to_capture", intent.amount - intent.received))
        is_final = form.get("final_capture", "true") == "true"
        assert intent.charge is not None
        if not is_final and not intent.charge.multicapture:
            raise refuse("parameter_invalid", "final_capture is not available for this payment", param="final_capture")
        if amount and trouble == "declined":
            raise Refused(
                402, "card_error", "card_declined", "The capture was declined.", decline_code="generic_decline"
            )
        if intent.received + amount > intent.amount or (not amount and not intent.received):
            raise refuse("amount_too_large", "The amount is greater than what is capturable", param="amount_to_capture")
        released = intent.amount - intent.received - amount if is_final else 0
        intent.received += amount
        given = metadata(form)
        intent.metadata |= given
        operation = next((key.removeprefix("capture_") for key in given if key.startswith("capture_")), "")
        is_late = trouble == "late" and amount > 0
        settles_at = self._settles_at(is_late)
        if amount:
            of = str(UUID(operation)) if operation else ""
            self._move(intent, "capture", of, amount, intent.charge.id, settles_at)
        if released:
            self._move(intent, "void", "", released, intent.id)
        intent.status = "succeeded" if is_final else "requires_capture"
        if is_late:
            intent.status, intent.settles_at = "processing", settles_at
        self.event("charge.captured" if is_final else "charge.updated", intent)
        return 200, self.shown(intent)

    def cancel(self, intent: Intent, form: Form, trouble: str | None) -> Answer:
        if intent.status in ("succeeded", "canceled", "processing") or trouble == "declined":
            raise self.unexpected(intent)
        self.release(intent, form.get("cancellation_reason", "requested_by_customer"))
        return 200, self.shown(intent)

    def release(self, intent: Intent, reason: str) -> None:
        """Lets go of what is held. reason: Stripe's cancellation reason; `automatic` when the authorization has expired."""
        held = intent.amount - intent.received if intent.status == "requires_capture" else 0
        if held:
            self._move(intent, "void", "", held, intent.id)
        intent.status, intent.cancellation_reason = ("succeeded", None) if intent.received else ("canceled", reason)
        self.event("payment_intent.canceled", intent)

    # -- refunds and disputes -----------------------------------------------------------------------------------------

    def refund(self, form: Form, trouble: str | None) -> Answer:
        intent = self.charged(form)
        assert intent.charge is not None
        amount = int(form["amount"])
        if intent.charge.refunded + amount > intent.received:
            if intent.charge.refunded == intent.received:
                raise refuse("charge_already_refunded", "Charge has already been refunded")
            raise refuse(None, "Refund amount is greater than unrefunded amount on charge", param="amount")
        if trouble == "declined":
            raise refuse("charge_disputed", "The charge is disputed")
        settles_at = self._settles_at(trouble == "late")
        refund = Refund(f"re_{uuid4().hex[:24]}", amount, intent, metadata(form), settles_at)
        self.refunds[refund.id] = refund
        intent.charge.refunded += amount
        self._move(intent, "refund", refund.metadata.get("operation_id", ""), amount, refund.id, settles_at)
        shown = shown_refund(refund) | ({"status": "pending"} if settles_at else {})
        self.event("refund.created", intent, shown)
        self.event("charge.refunded", intent)
        return 200, shown

    def dispute(self, charge_id: str) -> dict[str, Any]:
        """The buyer disputes a charge; the money is withdrawn."""
        intent = self.charged({"charge": charge_id})
        dispute: dict[str, Any] = {
            "object": "dispute", "id": f"dp_{uuid4().hex[:24]}", "charge": charge_id, "payment_intent": intent.id,
            "amount": intent.received, "currency": intent.currency, "status": "needs_response", "reason": "fraudulent",
            "metadata": {}, "evidence_details": {"due_by": int(time.time()) + 604_800},
            "balance_transactions": [{"amount": -intent.received, "fee": 1500}],
        }  # fmt: skip
        self.disputes[dispute["id"]] = dispute
        self.event("charge.dispute.created", intent, dict(dispute))
        return dispute

    def end_dispute(self, dispute_id: str, end: str) -> dict[str, Any]:
        """end: `won`, the money is returned; `lost`."""
        dispute = self.disputes[dispute_id]
        dispute["status"] = end
        if end == "won":
            returned = {"amount": dispute["amount"], "fee": 0}
            dispute["balance_transactions"] = [*dispute["balance_transactions"], returned]
        self.event("charge.dispute.closed", self.intents[dispute["payment_intent"]], dict(dispute))
        return dispute

    # -- shown --------------------------------------------------------------------------------------------------------

    def shown(self, intent: Intent, expanded: bool = False) -> dict[str, Any]:
        charge: Any = intent.charge.id if intent.charge else None
        if expanded and intent.charge:
            multicapture = {"status": "available" if intent.charge.multicapture else "unavailable"}
            card = {"multicapture": multicapture, "capture_before": int(intent.created_at) + HELD_SECONDS}
            details = {"type": "card", "card": card}
            charge = {"object": "charge", "id": intent.charge.id, "payment_method_details": details}
        has_action = intent.status == "requires_action"
        return {
            "object": "payment_intent",
            "id": intent.id,
            "amount": intent.amount,
            "amount_capturable": intent.amount - intent.received if intent.status == "requires_capture" else 0,
            "amount_received": intent.received,
            "currency": intent.currency,
            "metadata": dict(intent.metadata),
            "status": intent.status,
            "latest_charge": charge,
            "last_payment_error": intent.error,
            "cancellation_reason": intent.cancellation_reason,
            "client_secret": f"{intent.id}_secret_{intent.id[3:]}",
            "next_action": self._next_action(intent) if has_action else None,
        }

    def _next_action(self, intent: Intent) -> dict[str, Any]:
        """A page of the bank if the buyer can be sent back from it, else the library in the browser."""
        if not intent.return_url:
            return {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        page = {"url": f"https://hooks.stripe.com/3d_secure/{intent.id}", "return_url": intent.return_url}
        return {"type": "redirect_to_url", "redirect_to_url": page}

    def event(self, kind: str, intent: Intent, shown: dict[str, Any] | None = None) -> None:
        """shown: the object of the event; null: the intent, or its charge."""
        shown = shown or self.shown(intent)
        if kind.startswith("charge.") and shown.get("object") == "payment_intent":
            shown = {"object": "charge", "id": shown["latest_charge"], "payment_intent": intent.id, "metadata": {}}
        event = {"object": "event", "id": f"evt_{uuid4().hex[:24]}", "type": kind, "created": int(time.time())}
        self.events.append(event | {"data": {"object": shown}})

    def unexpected(self, intent: Intent) -> Refused:
        message = f"This PaymentIntent has a status of {intent.status}"
        return refuse("payment_intent_unexpected_state", message, payment_intent=self.shown(intent))

    def settled(self, intent: Intent) -> Intent:
        """A late authorization or capture ends by itself, and not before its answer: it is called for what is read later."""
        if intent.status == "processing" and time.time() >= intent.settles_at:
            is_whole = intent.received == intent.amount
            is_final = any(m.kind == "void" and m.reference == intent.id for m in self.moved) or is_whole
            intent.status = "succeeded" if is_final else "requires_capture"
        return intent

    def _settles_at(self, is_late: bool) -> float:
        return time.time() + self.late_ms / 1000 if is_late else 0

    def _move(
        self, intent: Intent, kind: str, operation: str, amount: int, reference: str, settles_at: float = 0
    ) -> None:
        moved = Moved(operation, kind, intent.order_id, amount, intent.currency.upper(), reference, settles_at)
        self.moved.append(moved)


def shown_refund(refund: Refund) -> dict[str, Any]:
    assert refund.intent.charge is not None
    return {
        "object": "refund",
        "id": refund.id,
        "amount": refund.amount,
        "currency": refund.intent.currency,
        "created": int(refund.created_at),
        "status": refund.status,
        "charge": refund.intent.charge.id,
        "payment_intent": refund.intent.id,
        "metadata": dict(refund.metadata),
        "failure_reason": None,
    }


def metadata(form: Form) -> dict[str, str]:
    given = {match[1]: value for name, value in form.items() if (match := re.fullmatch(r"metadata\[(.+)\]", name))}
    if any(len(name) > 40 or len(value) > 500 for name, value in given.items()):
        raise refuse("parameter_invalid", "Metadata keys have at most 40 characters and values 500")
    return given
