"""Disputes that buyers open at their bank."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from contracts.base import Command, Id, IfStated, MinorUnsigned, Open, OrderKeyed, Text, Timestamp
from contracts.payments.event import PaymentEvent
from contracts.payments.means import AccountName, GatewayName

DisputeOutcome = Literal["won", "lost"]


class CheckDispute(OrderKeyed, Command, type="payments.check_dispute"):
    """A gateway has stated that something has changed about a dispute: it is asked what. Answered by dispute_opened and
    dispute_closed, or by nothing if nothing has changed."""

    gateway: GatewayName
    account: AccountName
    reference: Id
    """What the gateway calls the dispute."""
    payment: IfStated[Id] = None
    """The gateway's reference of the payment; not stated: its event does not name it."""


class DisputeOpened(PaymentEvent, type="payments.dispute_opened"):
    """A buyer disputes a payment with the issuer of their card. Published again if the gateway withholds money
    later, and when the order takes over what was paid, and disputed, before it."""

    FINAL: ClassVar[bool] = False

    dispute_id: UUID
    gateway: GatewayName
    account: IfStated[AccountName] = None
    reference: Id
    """What the gateway calls the dispute."""
    amount_minor: MinorUnsigned
    withheld_minor: MinorUnsigned = 0
    """What the gateway has withheld with this event; 0: it only inquires."""
    reason: Text = ""
    """In the words of the gateway, e.g. `fraudulent`."""
    due_at: IfStated[Timestamp] = None
    """Until when the gateway takes evidence."""


class DisputeClosed(PaymentEvent, type="payments.dispute_closed"):
    """The end of a dispute: what was withheld is released (won), or is gone (lost)."""

    dispute_id: UUID
    gateway: GatewayName
    account: IfStated[AccountName] = None
    reference: Id
    outcome: Annotated[DisputeOutcome, Open()]
    amount_minor: MinorUnsigned
    withheld_minor: MinorUnsigned = 0
    """What the gateway has withheld with this event."""
    settled_minor: MinorUnsigned = 0
    """What is released or gone: all that was withheld."""
