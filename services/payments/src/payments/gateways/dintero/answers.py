"""What Dintero answers: transactions, as outcomes of our operations. The events of a transaction are the truth about it.

The references that we send name our operations: `merchant_reference` of a transaction its authorization, `event_reference`
of an event the capture or refund. A void has no reference: there is at most one that releases what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from contracts.base import Frozen
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.gateways.http import Answer
from payments.gateways.port import Unclear, outcome

Status = Literal[
    "INITIATED", "ON_HOLD", "AUTHORIZED", "PARTIALLY_CAPTURED", "CAPTURED", "PARTIALLY_CAPTURED_REFUNDED",
    "PARTIALLY_REFUNDED", "REFUNDED", "AUTHORIZATION_VOIDED", "DECLINED", "FAILED", "UNKNOWN",
]  # fmt: skip
HAS_AUTHORIZED: Final = frozenset(
    {"AUTHORIZED", "PARTIALLY_CAPTURED", "CAPTURED", "PARTIALLY_CAPTURED_REFUNDED", "PARTIALLY_REFUNDED", "REFUNDED"}
)
HOLDS_NOTHING: Final = frozenset({"CAPTURED", "PARTIALLY_REFUNDED", "REFUNDED", "AUTHORIZATION_VOIDED"})
"""Nothing can be captured any more (docs.dintero.com, transaction statuses)."""
EVENTS: Final[Mapping[str, str]] = {"authorize": "AUTHORIZE", "capture": "CAPTURE", "void": "VOID", "refund": "REFUND"}
POLICIES: Final = frozenset({"DO_NOT_RETRY", "RETRY_IMMEDIATELY", "RETRY_AFTER_DELAY"})
HELD_DAYS: Final[Mapping[str, int]] = {
    "creditcard": 7, "applepay": 7, "googlepay": 7, "vipps": 7, "walley": 90, "collector": 90,
}  # fmt: skip
"""Part of a payment product's type -> days for which an authorization is held. Most banks hold a card's longer. Klarna's is not among
them: Dintero extends it by itself (docs.dintero.com/docs/integrations/support/duration-of-authorizations)."""
OFFLINE: Final = "ACQUIRER_HOST_OFFLINE"
"""The type of an error without a policy that states nothing about the operation."""
AMOUNT_MAX: Final = 2**31 - 1
"""Dintero's amounts are integers of 32 bits."""


def _types(stated: object) -> object:
    """One type, or a list of them: the API's versions differ."""
    return (stated,) if isinstance(stated, str) else stated or ()


class Error(Frozen):
    code: str = ""
    message: str = ""
    type: Annotated[tuple[str, ...], BeforeValidator(_types)] = ()
    retry_policy: str | dict[str, Any] | None = None
    retry_after: float | str | None = None

    @property
    def policy(self) -> str | None:
        """Whether the same operation may be asked for again; null if it is not stated."""
        stated = self.retry_policy.values() if isinstance(self.retry_policy, dict) else (self.retry_policy,)
        found = [one for one in (*stated, *self.type) if isinstance(one, str) and one in POLICIES]
        return found[0] if found else None

    @property
    def may_be_retried(self) -> bool:
        return self.policy.startswith("RETRY") if self.policy else OFFLINE in self.type

    @property
    def after_seconds(self) -> float | None:
        """When to try again, if a number is stated; null: as the policy of payments has it."""
        within = self.retry_policy.get("retry_after") if isinstance(self.retry_policy, dict) else None
        stated = self.retry_after if within is None else within
        if self.policy != "RETRY_AFTER_DELAY" or not isinstance(stated, int | float) or stated < 0:
            return None
        return float(stated)

    @property
    def name(self) -> str:
        return self.code or next((one for one in self.type if one not in POLICIES), "") or "failed"


class Event(Frozen):
    """Something that was asked of the transaction, or its end. `INITIATE_*` is one that was accepted and still runs."""

    id: str | int | None = None
    event: str = ""
    success: bool = True
    amount: int | None = None
    event_reference: str | None = None
    request_id: str | None = None
    correlation_request_id: str | None = None
    error: Error | None = None
    created_at: datetime | None = None


class Urls(Frozen):
    approval_url: str | None = Field(None, repr=False)


class Transaction(Frozen):
    id: str = Field(min_length=1)
    session_id: str | None = None
    status: Status
    amount: int
    currency: str
    merchant_reference: str | None = None
    payment_product: str = ""
    payment_product_type: str = ""
    payment_operation: str | None = None
    """Stated if no buyer takes part."""
    events: tuple[Event, ...] = ()
    items: tuple[dict[str, Any], ...] = ()
    url: Urls = Urls()

    @property
    def held_until(self) -> datetime | None:
        """The end of what Dintero documents for its kind of payment; None if nothing is held, or that is not documented."""
        granted = next((one.created_at for one in self.events if one.event == "AUTHORIZE" and one.success), None)
        names = self.payment_product_type.split(".")
        days = next((HELD_DAYS[name] for name in reversed(names) if name in HELD_DAYS), None)
        if self.status != "AUTHORIZED" or granted is None or days is None:
            return None
        return granted.replace(tzinfo=granted.tzinfo or UTC) + timedelta(days=days)

    def sum(self, kind: str) -> int:
        """What the events of a kind have moved."""
        return sum(event.amount or 0 for event in self.events if event.event == kind and event.success)


class SessionEvent(Frozen):
    name: str = ""


class Session(Frozen):
    """Its page is where the buyer pays, until `expires_at`."""

    id: str = Field(min_length=1)
    transaction_id: str | None = None
    expires_at: datetime | None = None
    events: tuple[SessionEvent, ...] = ()

    @property
    def is_cancelled(self) -> bool:
        return any(event.name == "CANCELLED" for event in self.events)


def transaction_of(body: Any) -> Transaction:
    return _read(Transaction, body)


def session_of(body: Any) -> Session:
    return _read(Session, body)


def transactions_of(answer: Answer) -> list[Transaction]:
    if answer.status != 200 or not isinstance(answer.body, list):
        raise unclear(answer)
    return [transaction_of(one) for one in answer.body]


# ------------------------------------------------------------------------------------------------------------ outcomes


def authorized(found: Sequence[Transaction], call: GatewayCall) -> GatewayOutcome | None:
    """The authorization among the transactions of its `merchant_reference`; None if there is none.

    A session results in at most one transaction. If there were several sessions, the one that was paid counts.
    """
    ours = [one for one in found if one.merchant_reference == str(call.operation_id)]
    paid = [one for one in ours if one.status in HAS_AUTHORIZED or one.status == "AUTHORIZATION_VOIDED"]
    if len(paid) > 1:
        raise Unclear(f"{len(paid)} transactions of {call.operation_id} are authorized: a person voids all but one")
    if not ours:
        return None
    one = paid[0] if paid else next((one for one in ours if one.status not in ("DECLINED", "FAILED")), ours[0])
    match one.status:
        case "AUTHORIZATION_VOIDED":
            return outcome("refused", reference=one.id, code="authorization_expired", reason="it is no longer held")
        case "DECLINED" | "FAILED":
            error = next((event.error for event in reversed(one.events) if event.error), None) or Error()
            code = error.name if error != Error() else one.status.lower()
            return outcome("refused", reference=one.id, code=code, reason=error.message)
        case "INITIATED" | "ON_HOLD":
            return outcome("pending", reference=one.session_id or one.id)
        case "UNKNOWN":
            raise Unclear(f"Dintero could not determine the outcome of {one.id}")
        case _:
            return outcome("succeeded", reference=one.id, amount_minor=one.amount, held_until=one.held_until)


def abandoned(session: Session, paid: Transaction | None, call: GatewayCall, now: datetime) -> GatewayOutcome:
    """How a session ended that was to be cancelled; pending while it can still be paid, or its payment is held."""
    found = authorized([paid], call) if paid else None
    if paid is not None and found is None:
        raise Unclear(f"asked about {call.operation_id}, got the session of another operation")
    if paid is not None and found is not None:
        return outcome("pending", reference=session.id) if paid.status == "AUTHORIZED" else found
    if session.is_cancelled:
        return outcome("refused", reference=session.id, code="session_cancelled")
    expires_at = session.expires_at
    if expires_at is not None and expires_at.replace(tzinfo=expires_at.tzinfo or UTC) < now:
        return outcome("refused", reference=session.id, code="session_expired")
    return outcome("pending", reference=session.id)


def recorded(transaction: Transaction, call: GatewayCall) -> GatewayOutcome | None:
    """A capture, void or refund, as the events record it; None if they do not, or if it failed and may be tried again."""
    if call.kind == "void":
        return _voided(transaction, call)
    done, asked = EVENTS[call.kind], f"INITIATE_{EVENTS[call.kind]}"
    named = [event for event in transaction.events if event.event_reference == str(call.operation_id)]
    runs = [event for event in named if event.event == asked and event.success]
    requests = {event.request_id for event in runs} - {None}
    ends = [
        event
        for event in transaction.events
        if event.event == done and (event in named or event.correlation_request_id in requests)
    ]
    succeeded = [event for event in ends if event.success]
    if succeeded:  # each is counted: more than was asked for is parked as a contradiction
        stated = None if any(event.amount is None for event in succeeded) else sum(e.amount or 0 for e in succeeded)
        return outcome("succeeded", reference=reference_of(transaction, succeeded[0]), amount_minor=stated)
    if requests - {event.correlation_request_id for event in ends} or (runs and not requests and not ends):
        return outcome("pending", reference=transaction.id)
    return _failed(ends, call)


def _voided(transaction: Transaction, call: GatewayCall) -> GatewayOutcome | None:
    """A failed void counts only for one that was accepted before: its event does not name an operation."""
    if transaction.status in HOLDS_NOTHING or any(e.event == "VOID" and e.success for e in transaction.events):
        return outcome("succeeded", reference=transaction.id, amount_minor=call.amount_minor)
    voids = [event for event in transaction.events if event.event in ("VOID", "INITIATE_VOID")]
    if voids and voids[-1].event == "INITIATE_VOID" and voids[-1].success:
        return outcome("pending", reference=transaction.id)
    return _failed(voids, call) if call.ask_only else None


def _failed(ends: Sequence[Event], call: GatewayCall) -> GatewayOutcome | None:
    failed = [event for event in ends if not event.success]
    if not failed:
        return None
    error = failed[-1].error or Error()
    if error.may_be_retried and not call.ask_only:
        return None
    return outcome("refused", code=error.name, reason=error.message, later=error.may_be_retried)


def retry_after(transaction: Transaction, call: GatewayCall) -> float | None:
    """When Dintero states that a capture or refund that failed may be tried again, in seconds."""
    named = [e for e in transaction.events if e.event_reference == str(call.operation_id) and not e.success]
    return named[-1].error.after_seconds if named and named[-1].error else None


def excluded(transaction: Transaction, call: GatewayCall) -> GatewayOutcome | None:
    """Why a transaction cannot carry out an operation that Dintero rejected without an event; None if it could."""
    match transaction.status:
        case "AUTHORIZATION_VOIDED":
            reason = "the authorization is no longer held: it has expired, or was voided at Dintero"
            return outcome("refused", code="authorization_expired", reason=reason)
        case "DECLINED" | "FAILED":
            return outcome("refused", code=f"authorization_{transaction.status.lower()}")
    captured = transaction.sum("CAPTURE")
    left = transaction.amount - captured if call.kind == "capture" else captured - transaction.sum("REFUND")
    if call.kind in ("capture", "refund") and call.amount_minor > left:
        return outcome("refused", code="amount_exceeded", reason=f"{left} are left at Dintero")
    return None


def reference_of(transaction: Transaction, event: Event) -> str:
    """Dintero's name of a capture or refund: its transaction's id, and the event's."""
    return transaction.id if event.id is None else f"{transaction.id}/{event.id}"


def transaction_id(reference: str) -> str:
    """The transaction of a reference that `reference_of` made.

    >>> transaction_id("P12345678.465UfBENeLpkBvwmqfTC4k/3"), transaction_id("P12345678.465UfBENeLpkBvwmqfTC4k")
    ('P12345678.465UfBENeLpkBvwmqfTC4k', 'P12345678.465UfBENeLpkBvwmqfTC4k')
    """
    return reference.partition("/")[0]


def unclear(answer: Answer, after_seconds: float | None = None) -> Unclear:
    error = error_of(answer)
    stated = f": {error.code}" if error.code else ""
    pause = error.after_seconds if error.after_seconds is not None else after_seconds
    return Unclear(f"Dintero answered with status {answer.status}{stated}"[:500], pause)


def error_of(answer: Answer) -> Error:
    body = answer.body.get("error") if isinstance(answer.body, dict) else None
    try:
        return Error.model_validate(body)
    except ValidationError:
        return Error()


Read = TypeVar("Read", bound=Frozen)


def _read(model: type[Read], body: Any) -> Read:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise Unclear(f"a {model.__name__} of Dintero does not read: {error.error_count()} errors") from None
