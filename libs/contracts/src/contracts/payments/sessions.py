"""Sessions in which a buyer pays."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import Command, Event, Flag, Id, IfStated, MinorUnsigned, Open, OrderKeyed, Text, Timestamp
from contracts.money import Currency
from contracts.payments.event import PaymentEvent
from contracts.payments.means import AccountName, GatewayName

PAYMENT_ABANDONED: Final = "payment_abandoned"
"""The code of `declined` if the buyer has not paid in time, has cancelled the session, or could not pay in it before the order asked."""
OrderWithin = Annotated[int, Field(strict=True, ge=1, le=2_592_000)]
"""Seconds; at most 30 days."""
ReturnUrl = Annotated[str, Field(min_length=8, max_length=2_000, pattern=r"^https?://[!-~]+$")]


class OpenSession(OrderKeyed, Command, type="payments.open_session"):
    """A storefront wants the buyer to pay an order. Answered by session_opened; refusals reach requests over HTTP alone.

    The session is that of the order's authorization of this amount and currency: the one that waits for the buyer, or the
    next one. With a `gateway` the buyer may pay before the order asks for its authorization. Its operation id is the session's id.
    """

    currency: Currency
    amount_minor: MinorUnsigned
    return_url: ReturnUrl
    """Where the buyer is sent after the payment."""
    cancel_url: IfStated[ReturnUrl] = None
    """Where the buyer is sent who gives up; null: `return_url`."""
    expires_in_seconds: Annotated[int, Field(strict=True, ge=60, le=86_400)] = 3_600
    gateway: IfStated[GatewayName] = None
    """Where the buyer pays, if no authorization of the order waits: the session asks it at once. Null: when the order asks."""
    account: IfStated[AccountName] = None
    """The store's account at the gateway; null: its first."""
    order_within_seconds: OrderWithin = 86_400
    """How long what was paid before its order waits for it; then it is given back."""


class CancelSession(OrderKeyed, Command, type="payments.cancel_session"):
    """The buyer gives up: what waits at the gateway is cancelled. Answered by session_closed."""

    session_id: UUID


class ReturnPrepayment(OrderKeyed, Command, type="payments.return_prepayment"):
    """A person gives back what was paid in a session and no authorization has taken over: before its time, or once more after its
    gateway has refused. Answered by prepayment_returned or prepayment_retained; refusals reach requests over HTTP alone."""

    session_id: UUID
    recorded: Flag = False
    """It was given back elsewhere: it is booked, and no gateway is asked."""
    reference: IfStated[Id] = None
    """What the place where it was given back calls that."""


class SessionOpened(OrderKeyed, Event, type="payments.session_opened"):
    session_id: UUID
    authorization_id: IfStated[UUID] = None
    """The operation that waits for the buyer; null: the order has not asked for it yet."""
    currency: Currency
    amount_minor: MinorUnsigned
    return_url: ReturnUrl
    cancel_url: IfStated[ReturnUrl] = None
    expires_at: Timestamp
    gateway: IfStated[GatewayName] = None
    """It asks this gateway itself, in an operation of its own id. Null: it is that of an authorization."""
    account: IfStated[AccountName] = None
    order_within_seconds: IfStated[OrderWithin] = None


class SessionClosed(OrderKeyed, Event, type="payments.session_closed"):
    """A session has ended without a payment. One whose authorization ends is closed by that event (authorized, declined), and one
    that was paid before its order by prepayment_received."""

    session_id: UUID
    authorization_id: IfStated[UUID] = None
    state: Annotated[Literal["expired", "cancelled"], Open()]
    code: Text = ""
    """The word of the gateway that has declined a payment before its order; empty: none has."""


class PrepaymentReceived(PaymentEvent, type="payments.prepayment_received"):
    """A buyer has paid in a session before the order has asked for its authorization. It is in no total of the order until an
    authorization takes it over (`session_id` of authorized)."""

    session_id: UUID
    gateway: GatewayName
    account: IfStated[AccountName] = None
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None
    captured: Flag = False
    """The gateway has taken the money at once."""
    held_until: IfStated[Timestamp] = None
    """When the issuer releases what is not captured; null: the gateway does not state it."""
    waits_until: IfStated[Timestamp] = None
    """When it is given back if no authorization takes it over. Null: it was paid after the end of its session, and is given back
    now."""


class PrepaymentReturnAsked(PaymentEvent, type="payments.prepayment_return_asked"):
    """What was paid in a session, and no authorization has taken over, is being given back by the operation `operation_id`: its time is
    over, or a person asks for it. Without this event it goes back after an authorization that took over less, and after a payment
    that came too late. prepayment_returned or prepayment_retained follows."""

    FINAL: ClassVar[bool] = False

    session_id: UUID
    gateway: GatewayName
    amount_minor: MinorUnsigned


class PrepaymentReturned(PaymentEvent, type="payments.prepayment_returned"):
    """What was paid in a session, and no authorization has taken over, was given back: voided, or refunded if it was captured."""

    session_id: UUID
    gateway: GatewayName
    amount_minor: MinorUnsigned
    captured: Flag = False
    """It was captured, and is refunded."""
    gateway_reference: Text | None = None
    recorded: Flag = False
    """It was given back elsewhere: a person has stated it, or has refunded it at the gateway itself."""


class PrepaymentRetained(PaymentEvent, type="payments.prepayment_retained"):
    """The gateway has refused to give back what was paid in a session: a person settles it with the gateway."""

    session_id: UUID
    gateway: GatewayName
    amount_minor: MinorUnsigned
    code: Text = ""
    reason: Text = ""
