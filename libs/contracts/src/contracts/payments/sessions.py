"""Sessions in which a buyer pays."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import Command, Event, IfStated, MinorUnsigned, Open, OrderKeyed, Timestamp
from contracts.money import Currency

PAYMENT_ABANDONED: Final = "payment_abandoned"
"""The code of `declined` if the buyer has not paid in time, or has cancelled the session."""
ReturnUrl = Annotated[str, Field(min_length=8, max_length=2_000, pattern=r"^https?://[!-~]+$")]


class OpenSession(OrderKeyed, Command, type="payments.open_session"):
    """A storefront wants the buyer to pay an order. Answered by session_opened; refusals reach requests over HTTP alone.

    The session is that of the order's authorization of this amount and currency: the one that waits for the buyer, or the
    next one. Its operation id is the session's id.
    """

    currency: Currency
    amount_minor: MinorUnsigned
    return_url: ReturnUrl
    """Where the buyer is sent after the payment."""
    cancel_url: IfStated[ReturnUrl] = None
    """Where the buyer is sent who gives up; null: `return_url`."""
    expires_in_seconds: Annotated[int, Field(strict=True, ge=60, le=86_400)] = 3_600


class CancelSession(OrderKeyed, Command, type="payments.cancel_session"):
    """The buyer gives up: what waits at the gateway is cancelled. Answered by session_closed."""

    session_id: UUID


class SessionOpened(OrderKeyed, Event, type="payments.session_opened"):
    session_id: UUID
    authorization_id: IfStated[UUID] = None
    """The operation that waits for the buyer; null: the order has not asked for it yet."""
    currency: Currency
    amount_minor: MinorUnsigned
    return_url: ReturnUrl
    cancel_url: IfStated[ReturnUrl] = None
    expires_at: Timestamp


class SessionClosed(OrderKeyed, Event, type="payments.session_closed"):
    """A session has ended without a payment. One whose authorization ends is closed by that event (authorized, declined)."""

    session_id: UUID
    authorization_id: IfStated[UUID] = None
    state: Annotated[Literal["expired", "cancelled"], Open()]
