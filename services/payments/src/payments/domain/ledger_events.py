"""The events of a ledger: those that are published, and the private ones, which are declared here."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from contracts.base import UNLESS_EMPTY, Flag, OrderKeyed, PrivateEvent, Text
from contracts.differences import DifferencesChanged
from contracts.payments import (
    AccountName,
    Authorized,
    Captured,
    Contradicted,
    Declined,
    DisputeClosed,
    DisputeOpened,
    ExpiryAnnounced,
    Failed,
    Forced,
    ForceRefused,
    GatewayName,
    GiftCardPart,
    GiftCardsRedeemed,
    MoneyLine,
    Pending,
    PrepaymentReceived,
    PrepaymentRetained,
    PrepaymentReturnAsked,
    PrepaymentReturned,
    RecordRefused,
    Refunded,
    ReversalRefused,
    Reversed,
    SessionClosed,
    SessionOpened,
    Voided,
)
from payments.domain.gateway import Kind


class Asked(OrderKeyed, PrivateEvent, type="payments.asked"):
    """A gateway is being asked; the lines' amounts are held until it answers."""

    kind: Kind
    gateway: GatewayName
    account: AccountName | None = None
    currency: str
    refers_to: UUID | None = None
    lines: tuple[MoneyLine, ...]
    amount_minor: int
    with_capture: Flag = False
    gift_cards: Annotated[tuple[GiftCardPart, ...], UNLESS_EMPTY] = ()
    """What of the lines gift cards move if the gateway agrees."""


class VoidPostponed(OrderKeyed, PrivateEvent, type="payments.void_postponed"):
    """A void waits for what is in flight on its authorization; until then nothing new is taken from it."""

    authorization_id: UUID
    lines: tuple[MoneyLine, ...] = ()
    """The amounts to release; empty: all that is left."""


class Abandoned(OrderKeyed, PrivateEvent, type="payments.abandoned"):
    """The time of an open authorization is over: nothing more is to be paid on it."""

    authorization_id: UUID


class Confirmed(OrderKeyed, PrivateEvent, type="payments.confirmed"):
    """The gateway reports the outcome that a person stated before."""

    target_operation_id: UUID
    gateway_reference: Text | None = None


class PrepaymentPending(OrderKeyed, PrivateEvent, type="payments.prepayment_pending"):
    """A gateway has accepted what a session has asked it for, and answers later. `operation_id` names which."""

    gateway_reference: Text | None = None


class PrepaymentDeclined(OrderKeyed, PrivateEvent, type="payments.prepayment_declined"):
    """Nothing was paid in a session that is closed, and nothing can be any more."""

    session_id: UUID
    code: Text


LedgerEvent = (
    Authorized
    | ExpiryAnnounced
    | Captured
    | Voided
    | Refunded
    | Declined
    | Failed
    | GiftCardsRedeemed
    | Pending
    | Asked
    | VoidPostponed
    | Forced
    | Confirmed
    | Contradicted
    | ForceRefused
    | RecordRefused
    | Abandoned
    | SessionOpened
    | SessionClosed
    | PrepaymentReceived
    | PrepaymentReturned
    | PrepaymentRetained
    | PrepaymentPending
    | PrepaymentDeclined
    | PrepaymentReturnAsked
    | DisputeOpened
    | DisputeClosed
    | DifferencesChanged
    | Reversed
    | ReversalRefused
)
