"""The book of the server in Dintero's shapes: sessions, transactions with their events, and the money that moved. No HTTP is in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from gatewayservers import controls
from gatewayservers.controls import Answer, Moved

PAYS: Final = "tok_pays"
NEEDS_BUYER: Final = "tok_needs_buyer"
DECLINES: Final = "tok_declines"
AMOUNT_MAX: Final = 2**31 - 1
CAPTURABLE: Final = ("AUTHORIZED", "PARTIALLY_CAPTURED", "PARTIALLY_CAPTURED_REFUNDED")
EVENTS: Final = {"authorize": "AUTHORIZE", "capture": "CAPTURE", "void": "VOID", "refund": "REFUND"}
REJECTED: Final = {
    "code": "rejected",
    "message": "The acquirer rejected it.",
    "type": ["REJECTED_BY_ACQUIRER"],
    "retry_policy": "DO_NOT_RETRY",
}


class Refused(controls.Refused):
    """An answer that is an error in Dintero's shape."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        self.answer = (status, {"error": {"code": code, "message": message} | more})
        super().__init__(message)


@dataclass
class Run:
    """An operation that was accepted and ends at `settles_at`."""

    kind: str
    amount: int
    reference: str | None
    settles_at: float
    request_id: str


@dataclass
class Transaction:
    id: str
    session_id: str
    order: dict[str, Any]
    metadata: dict[str, str]
    product: str
    operation: str | None = None
    """Stated if no buyer takes part."""
    status: str = "INITIATED"
    approval_url: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def amount(self) -> int:
        return int(self.order["amount"])

    @property
    def order_id(self) -> str:
        return self.metadata.get("order_id", "")

    def done(self, kind: str) -> int:
        return sum(event["amount"] for event in self.events if event["event"] == EVENTS[kind] and event["success"])

    def times(self, kind: str) -> list[datetime]:
        """When what is done was done, the earliest first."""
        done = (event for event in self.events if event["event"] == EVENTS[kind] and event["success"])
        return [datetime.fromisoformat(event["created_at"]) for event in done]

    def reserved(self, kind: str) -> int:
        """What is done, and what still runs."""
        return self.done(kind) + sum(run.amount for run in self.runs if run.kind == kind)

    @property
    def held(self) -> int:
        return self.amount - self.reserved("capture") - self.reserved("void")


@dataclass
class Session:
    id: str
    order: dict[str, Any]
    metadata: dict[str, str]
    product: str
    operation: str | None = None
    transaction: Transaction | None = None
    is_cancelled: bool = False
    return_url: str = ""
    """Where the buyer is sent after paying."""


@dataclass
class Books:
    account_id: str
    late_ms: float
    """Until a late operation succeeds."""
    sessions: dict[str, Session] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Deliveries to the subscription."""

    # -- found --------------------------------------------------------------------------------------------------------

    def transaction(self, transaction_id: str) -> Transaction:
        if transaction_id not in self.transactions:
            raise Refused(404, "not_found", "No such transaction")
        return self.settled(self.transactions[transaction_id])

    def named(self, merchant_reference: str) -> list[Transaction]:
        """Those of a merchant reference, the newest first."""
        found = [one for one in self.transactions.values() if one.order["merchant_reference"] == merchant_reference]
        return [self.settled(one) for one in reversed(found)]

    def moved_since(self, kind: str, since: datetime) -> list[Transaction]:
        """Those whose last capture or refund was at `since` or later, the newest first."""
        found = [self.settled(one) for one in reversed(self.transactions.values())]
        return [one for one in found if any(since <= at for at in one.times(kind)[-1:])]

    def settled(self, transaction: Transaction) -> Transaction:
        """What was late ends by itself."""
        for run in [run for run in transaction.runs if time.time() >= run.settles_at]:
            transaction.runs.remove(run)
            self._done(transaction, run.kind, run.amount, run.reference, correlation_request_id=run.request_id)
        return transaction

    # -- payments -----------------------------------------------------------------------------------------------------

    def create(self, body: dict[str, Any], product: str) -> Session:
        order = body["order"]
        if not 0 < order["amount"] <= AMOUNT_MAX:
            raise Refused(400, "invalid_amount", "order.amount is a positive integer of 32 bits")
        if sum(item["amount"] for item in order.get("items", ())) not in (0, order["amount"]):
            raise Refused(400, "invalid_items", "order.amount must equal the sum of order.items")
        session = Session(self._id(), order, dict(body.get("metadata") or {}), product)
        session.return_url = (body.get("url") or {}).get("return_url", "")
        self.sessions[session.id] = session
        return session

    def pay(self, body: dict[str, Any], is_strict: bool, trouble: str | None) -> Answer:
        """A payment with a token, without the buyer."""
        session, payment = body["session"], body["payment"]
        reference, product = session["order"]["merchant_reference"], payment["payment_product_type"]
        if is_strict and any(one.order["merchant_reference"] == reference for one in self.sessions.values()):
            raise Refused(400, "duplicate", "merchant_reference is used by another session")
        token = session["customer"]["tokens"][product]["payment_token"]
        made = self.create(session, product)
        made.operation = payment["operation"]
        transaction = self.initiate(made)
        if trouble == "declined" or token == DECLINES:
            self.decline(transaction)
            return 400, {"error": REJECTED, "success": False, "session_id": made.id}
        if token == NEEDS_BUYER:
            transaction.approval_url = f"https://acs.example/{uuid4().hex}"
            self._deliver(transaction)
        else:
            self.authorize(transaction, trouble)
        return 200, self.shown(transaction) | {"success": True, "session_id": made.id}

    def initiate(self, session: Session) -> Transaction:
        transaction = Transaction(
            self._id(), session.id, session.order, session.metadata, session.product, session.operation
        )
        session.transaction = self.transactions[transaction.id] = transaction
        self._event(transaction, "INITIALIZE", True)
        return transaction

    def authorize(self, transaction: Transaction, trouble: str | None = None) -> None:
        transaction.approval_url = None
        settles_at = self._settles_at(trouble)
        reference = transaction.order["merchant_reference"]
        self._move(transaction, "authorize", reference, transaction.amount, settles_at)
        if settles_at:
            transaction.runs.append(Run("authorize", transaction.amount, None, settles_at, uuid4().hex))
        else:
            self._done(transaction, "authorize", transaction.amount, None)
        self._deliver(transaction)

    def decline(self, transaction: Transaction) -> None:
        transaction.status = "FAILED"
        self._event(transaction, "AUTHORIZE", False, error=REJECTED)
        self._deliver(transaction)

    def cancel(self, session: Session, trouble: str | None) -> Answer:
        """Cancels a session, and voids what was initiated or authorized on it."""
        paid = self.settled(session.transaction) if session.transaction else None
        if session.is_cancelled or (paid and paid.status not in ("INITIATED", "AUTHORIZED")) or trouble == "declined":
            raise Refused(400, "invalid_status", "The session cannot be cancelled")
        session.is_cancelled = True
        if paid and paid.status == "INITIATED":
            paid.status, paid.approval_url = "AUTHORIZATION_VOIDED", None
            self._event(paid, "VOID", True)
        elif paid:
            self._release(paid, paid.held)
        if paid:
            self._deliver(paid)
        return 200, self.shown_session(session)

    # -- captures, voids, refunds -------------------------------------------------------------------------------------

    def operate(self, transaction: Transaction, kind: str, body: dict[str, Any], trouble: str | None) -> Answer:
        """Nothing recognises a repeated reference: a second request moves money again, as far as there is any."""
        if kind == "refund":
            left, may = transaction.done("capture") - transaction.reserved("refund"), transaction.done("capture") > 0
        else:
            left, may = transaction.held, transaction.status in CAPTURABLE
        amount = left if kind == "void" else body["amount"]
        if not may or amount < 1:
            raise Refused(400, "invalid_status", f"{kind} of a transaction of status {transaction.status}")
        if amount > left:
            raise Refused(400, "invalid_amount", f"at most {left}")
        lines = {item["line_id"] for item in transaction.order.get("items", ())}
        items = body.get("items", ())
        if sum(item["amount"] for item in items) not in (0, amount) or not {item["line_id"] for item in items} <= lines:
            raise Refused(400, "invalid_items", "amount must equal the sum of items")
        reference = body.get(f"{kind}_reference")
        if trouble == "declined":
            self._event(transaction, EVENTS[kind], False, amount, reference, error=REJECTED)
            self._deliver(transaction)
            return 400, {"error": REJECTED}
        settles_at = self._settles_at(trouble)
        rest = left - amount if kind == "capture" and body.get("final_capture") else 0
        self._move(transaction, kind, reference or "", amount, settles_at)
        if settles_at:
            run = Run(kind, amount, reference, settles_at, str(uuid4()))
            self._event(transaction, f"INITIATE_{EVENTS[kind]}", True, amount, reference, request_id=run.request_id)
            transaction.runs.append(run)
        else:
            self._done(transaction, kind, amount, reference)
        if rest:
            self._release(transaction, rest)
        self._deliver(transaction)
        return (202 if settles_at else 200), self.shown(transaction)

    def expire(self, transaction: Transaction) -> None:
        """The authorization runs out."""
        self._release(transaction, transaction.held)
        self._deliver(transaction)

    def _release(self, transaction: Transaction, amount: int) -> None:
        self._move(transaction, "void", "", amount)
        self._done(transaction, "void", amount, None)

    # -- shown --------------------------------------------------------------------------------------------------------

    def shown(self, transaction: Transaction) -> dict[str, Any]:
        return {
            "id": transaction.id,
            "session_id": transaction.session_id,
            "payment_product": transaction.product.partition(".")[0],
            "payment_product_type": transaction.product,
            "payment_operation": transaction.operation,
            **{name: transaction.order[name] for name in ("amount", "currency", "merchant_reference")},
            "merchant_reference_2": transaction.order.get("merchant_reference_2"),
            "status": transaction.status,
            "items": transaction.order.get("items", []),
            "events": [dict(event) for event in transaction.events],
            "url": {"approval_url": transaction.approval_url} if transaction.approval_url else {},
            "updated_at": datetime.now(UTC).isoformat(),
        }

    def shown_session(self, session: Session) -> dict[str, Any]:
        return {
            "id": session.id,
            "order": session.order,
            "transaction_id": session.transaction.id if session.transaction else None,
            "events": [{"name": name} for name in ("INITIATED", *(["CANCELLED"] if session.is_cancelled else []))],
        }

    def _done(
        self, transaction: Transaction, kind: str, amount: int, reference: str | None, **more: str | None
    ) -> None:
        event = self._event(transaction, EVENTS[kind], True, amount, reference, **more)
        captured, refunded = transaction.done("capture"), transaction.done("refund")
        rest = transaction.amount - captured - transaction.done("void")
        if captured == 0:
            transaction.status = "AUTHORIZED" if rest else "AUTHORIZATION_VOIDED"
        elif refunded == 0:
            transaction.status = "PARTIALLY_CAPTURED" if rest else "CAPTURED"
        elif rest:
            transaction.status = "PARTIALLY_CAPTURED_REFUNDED"
        else:
            transaction.status = "REFUNDED" if refunded == captured else "PARTIALLY_REFUNDED"
        event["transaction_status"] = transaction.status

    def _event(
        self,
        transaction: Transaction,
        event: str,
        success: bool,
        amount: int = 0,
        reference: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        made = {
            "id": str(len(transaction.events) + 1),
            "event": event,
            "success": success,
            "transaction_status": transaction.status,
            "amount": amount,
            "created_at": datetime.now(UTC).isoformat(),
            "request_id": str(uuid4()),
        } | more
        if reference is not None:
            made["event_reference"] = reference
        transaction.events.append(made)
        return made

    def _deliver(self, transaction: Transaction) -> None:
        delivery = {"account_id": self.account_id, "event": "checkout_transaction", "event_delivery": str(uuid4())}
        self.events.append(delivery | {"transaction": self.shown(transaction)})

    def _id(self) -> str:
        return f"{self.account_id}.{uuid4().hex[:22]}"

    def _settles_at(self, trouble: str | None) -> float:
        return time.time() + self.late_ms / 1000 if trouble == "late" else 0

    def _move(self, transaction: Transaction, kind: str, operation: str, amount: int, settles_at: float = 0) -> None:
        currency = transaction.order["currency"]
        moved = Moved(operation, kind, transaction.order_id, amount, currency, transaction.id, settles_at)
        self.moved.append(moved)
