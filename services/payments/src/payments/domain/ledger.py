"""The money of one order, in minor units of its currency: the present amounts and operations.

Per line refunded <= captured <= authorized and captured + voided <= authorized, for the order and for each authorization.
A gateway is asked in one decision and answers in another: until then the operation is open and holds its amounts, so two
captures in flight cannot spend the same euro. Amounts are never negative; `direction` marks reversals (reversals.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from contracts.base import Document
from contracts.deciding import Context
from contracts.differences import OpenDifference
from contracts.limits import MINOR_MAX
from contracts.payments import (
    AccountName,
    GatewayName,
    MoneyLine,
    MoneyTotals,
)
from payments.domain.gateway import ITEMIZED, GatewayCall
from payments.domain.operation import EarlierKey, Operation
from payments.domain.session_state import Session


class Line(Document):
    """One line of the order, over all its authorizations."""

    direction: Literal[1, -1] = 1
    """-1: it is a reversal, and its amounts are taken off the order's."""
    reverses: str | None = None
    """The line that a reversal takes its amounts off."""
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    reversed_minor: int = 0
    """Captured, and taken off by reversals."""


class AuthorizedLine(Document):
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    pieces: int = 0
    """Not yet captured or voided."""

    @property
    def left_minor(self) -> int:
        return self.authorized_minor - self.captured_minor - self.voided_minor


class CapturedLine(Document):
    captured_minor: int = 0
    refunded_minor: int = 0
    reversed_minor: int = 0
    pieces: int = 0
    """Captured."""
    pieces_back: int = 0
    """Refunded or reversed."""

    @property
    def left_minor(self) -> int:
        return self.captured_minor - self.refunded_minor - self.reversed_minor


class Authorization(Document):
    """What one tender has promised: the gateway, or a gift card beside it."""

    gateway: GatewayName
    account: AccountName | None = None
    gateway_reference: str | None = None
    lines: dict[str, AuthorizedLine] = Field(default_factory=dict)
    gift_card_id: UUID | None = None
    """The card, if it is one."""
    cards: tuple[UUID, ...] = ()
    """The authorizations of the gift cards beside a gateway's, in the sequence of their redemption."""
    held_until: datetime | None = None
    """When its issuer releases what is not captured; null: its gateway does not state it."""
    is_expiring: bool = False
    """That it expires soon has been published."""
    session_id: UUID | None = None
    """The session in which it was paid before it was asked for: the gateway has it under this id."""


class Capturing(Document):
    """What one capture took from one tender."""

    authorization_id: UUID
    gateway: GatewayName
    account: AccountName | None = None
    gateway_reference: str | None = None
    lines: dict[str, CapturedLine] = Field(default_factory=dict)
    gift_card_id: UUID | None = None
    cards: tuple[UUID, ...] = ()
    """As those of the authorization: the captures of gift cards."""


class Dispute(Document):
    gateway: GatewayName
    currency: str
    account: AccountName | None = None
    reference: str
    """What the gateway calls it."""
    state: Literal["open", "won", "lost"] = "open"
    amount_minor: int
    withheld_minor: int = 0
    """What the gateway has withheld, and not released or lost."""
    reason: str = ""
    due_at: datetime | None = None


class Ledger(Document):
    schema_version: int = 1
    currency: str | None = None
    """ISO 4217, of the first authorization that was asked for; every later one has the same."""
    gateway: GatewayName | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    lines: dict[str, Line] = Field(default_factory=dict)
    authorizations: dict[UUID, Authorization] = Field(default_factory=dict)
    """By the operation that authorized."""
    captures: dict[UUID, Capturing] = Field(default_factory=dict)
    """By the operation that captured."""
    operations: dict[UUID, Operation] = Field(default_factory=dict)
    """Those that are open, and the latest of the closed ones; all are in the table `operations`."""
    sessions: dict[UUID, Session] = Field(default_factory=dict)
    """The open one, and the latest of the closed ones."""
    disputes: dict[UUID, Dispute] = Field(default_factory=dict)
    differences: dict[UUID, OpenDifference] = Field(default_factory=dict)
    """Those between the ledger and its gateways' lists that wait for a person."""

    @property
    def cards(self) -> set[UUID]:
        """The gift cards that pay, or may pay, a part of the order."""
        return {
            *(one.gift_card_id for one in self.authorizations.values() if one.gift_card_id is not None),
            *(part.gift_card_id for operation in self.operations.values() for part in operation.gift_cards),
        }

    def paid_in(self, payment: str | None) -> str | None:
        """The currency of the payment that a gateway calls so: of an authorization, or paid in a session before it. None: unknown here."""
        if payment is None:
            return None
        for session in self.sessions.values():
            if session.prepayment is not None and session.prepayment.gateway_reference == payment:
                return session.currency
        known = any(one.gateway_reference == payment for one in self.authorizations.values())
        return self.currency if known else None

    def operation(self, operation_id: UUID, context: Context) -> Operation | None:
        """Also a closed one that the ledger no longer has, if `earlier` has named it."""
        return self.operations.get(operation_id) or context.shares.get(EarlierKey(context.key, operation_id))

    def call(self, order_id: UUID, store_id: str, operation_id: UUID, operation: Operation) -> GatewayCall:
        """What the gateway of an operation is asked to do."""
        assert operation.gateway is not None and operation.currency is not None, "a call has a gateway and a currency"
        match operation.kind:
            case "prepay" | "return":
                return self._call_of_session(order_id, store_id, operation_id, operation)
            case "reverse":
                raise AssertionError("a reversal moves no money")
            case kind:
                pass
        source: Authorization | Capturing | None = None
        refers_to = operation.refers_to
        left_minor = None
        if operation.refers_to in self.authorizations:
            source = authorization = self.authorizations[operation.refers_to]
            left = sum(line.left_minor for line in authorization.lines.values())
            left_minor = max(left - operation.amount_minor, 0)
            refers_to = authorization.session_id or refers_to
        elif operation.refers_to in self.captures:
            source = self.captures[operation.refers_to]
        return GatewayCall(
            operation_id=operation_id,
            gateway=operation.gateway,
            account=source.account if source else operation.account,
            kind=kind,
            order_id=order_id,
            store_id=store_id,
            currency=operation.currency,
            amount_minor=operation.amount_minor,
            refers_to=refers_to,
            source=source.gateway_reference if source else None,
            left_minor=left_minor,
            capture=operation.with_capture,
            reported_as=operation.gateway_reference,
            lines=operation.lines if operation.gateway in ITEMIZED and not operation.gift_cards else (),
        )

    def _call_of_session(self, order_id: UUID, store_id: str, operation_id: UUID, operation: Operation) -> GatewayCall:
        """What was authorized without lines, or is given back of it."""
        assert operation.gateway is not None and operation.currency is not None, "a call has a gateway and a currency"
        session_id = operation_id if operation.kind == "prepay" else operation.refers_to
        session = self.sessions[session_id] if session_id is not None else None
        assert session is not None, "a ledger retains the sessions of open operations"
        call = GatewayCall(
            operation_id=operation_id,
            gateway=operation.gateway,
            account=session.account,
            kind="authorize",
            order_id=order_id,
            store_id=store_id,
            currency=operation.currency,
            amount_minor=operation.amount_minor,
            reported_as=operation.gateway_reference,
            return_url=session.return_url,
        )
        if operation.kind == "prepay":
            return call
        assert session.prepayment is not None, "what is given back was paid"
        left = session.amount_minor - operation.amount_minor
        back = {"kind": "refund"} if session.prepayment.captured else {"kind": "void", "left_minor": left}
        drawn = {"refers_to": session_id, "source": session.prepayment.gateway_reference, "return_url": None}
        return call.model_copy(update=back | drawn)

    def totals(self, **more: int) -> MoneyTotals:
        """The totals with so much `authorized`, `captured`, `voided`, `refunded` more."""
        return MoneyTotals(
            authorized_minor=self.authorized_minor + more.get("authorized", 0),
            captured_minor=self.captured_minor + more.get("captured", 0),
            voided_minor=self.voided_minor + more.get("voided", 0),
            refunded_minor=self.refunded_minor + more.get("refunded", 0),
        )

    @property
    def authorizable_minor(self) -> int:
        """What may still be authorized: an order holds at most `MINOR_MAX`, and what is asked for is held."""
        asked = sum(o.amount_minor for o in self.operations.values() if o.kind == "authorize" and o.is_open)
        return MINOR_MAX - self.authorized_minor - asked

    def session_of(self, authorization_id: UUID) -> UUID | None:
        """The open session of an authorization."""
        return next(
            (
                name
                for name, one in self.sessions.items()
                if one.state == "open" and one.authorization_id == authorization_id
            ),
            None,
        )

    def session_for(self, authorization_id: UUID) -> UUID | None:
        """The latest session of an authorization, open or not."""
        return next(
            (name for name, one in [*self.sessions.items()][::-1] if one.authorization_id == authorization_id), None
        )

    def in_flight(self, authorization_id: UUID) -> bool:
        """A gateway is being asked about this authorization (itself, a capture or a void)."""
        return any(
            operation.is_open and not operation.postponed and authorization_id in (operation_id, operation.refers_to)
            for operation_id, operation in self.operations.items()
        )

    def void_waits(self, authorization_id: UUID) -> bool:
        return any(o.postponed and o.refers_to == authorization_id for o in self.operations.values())

    def capturable(self, authorization_id: UUID) -> dict[str, int]:
        """Line -> what may still be captured or voided: neither yet, and not held. A waiting void has claimed it all."""
        if self.void_waits(authorization_id):
            return dict.fromkeys(self.authorizations[authorization_id].lines, 0)
        return self.free(authorization_id)

    def free(self, authorization_id: UUID) -> dict[str, int]:
        """Line -> what is neither captured nor voided nor held by what a gateway is being asked."""
        return _summed(self.left_by_tender(self.authorizations, authorization_id))

    def refundable(self, capture_id: UUID) -> dict[str, int]:
        """Line -> what of this capture may still be refunded."""
        return _summed(self.left_by_tender(self.captures, capture_id))

    def left_by_tender(self, those: Mapping[UUID, Authorization] | Mapping[UUID, Capturing], one_id: UUID) -> Left:
        """Tender -> line -> what is left of an authorization or capture, without what is held."""
        left: Left = {None: _left_of(those[one_id])}
        for card_id in those[one_id].cards:
            left[those[card_id].gift_card_id] = _left_of(those[card_id])
        for operation in self.operations.values():
            if operation.is_open and not operation.postponed and operation.refers_to == one_id:
                for part in operation.gift_cards:
                    _take(left[part.gift_card_id], part.lines)
                _take(left[None], operation.gateway_lines)
        return left


Left = dict[UUID | None, dict[str, int]]
"""Tender (a gift card, or null: the gateway) -> line -> minor units. The gateway first, then the cards as they were redeemed."""


def _left_of(one: Authorization | Capturing) -> dict[str, int]:
    return {line_id: line.left_minor for line_id, line in one.lines.items()}


def _take(left: dict[str, int], lines: Iterable[MoneyLine]) -> None:
    for line in lines:
        left[line.line_id] -= line.amount_minor


def _summed(left: Left) -> dict[str, int]:
    if len(left) == 1:
        return left[None]
    return {line_id: sum(of.get(line_id, 0) for of in left.values()) for line_id in left[None]}
