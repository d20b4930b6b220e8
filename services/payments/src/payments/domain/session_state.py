"""A payment session of an order, and what its buyer has paid before the order asked for it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from contracts.base import Document
from contracts.payments import AccountName, GatewayName

SessionState = Literal["open", "completed", "expired", "cancelled"]
PrepaymentState = Literal["held", "taken", "returning", "returned", "retained"]
"""It waits for its order; an authorization has it all; it is being given back, wholly or in part; nothing is left of it; its gateway has
refused to give it back, and a person settles it."""


class Prepayment(Document):
    """It is in no total of the order, and has no lines."""

    state: PrepaymentState
    amount_minor: int
    """What no authorization has taken over and has not been given back."""
    captured: bool = False
    """The gateway has taken the money at once."""
    gateway_reference: str | None = None
    held_until: datetime | None = None
    """When the issuer releases what is not captured; null: its gateway does not state it."""
    waits_until: datetime | None = None
    """When it is given back if no authorization has taken it over."""


class Session(Document):
    """What a storefront opened so that the buyer pays the order."""

    state: SessionState
    currency: str
    amount_minor: int
    authorization_id: UUID | None = None
    """The operation that waits for the buyer, or has what was paid; null: not asked for yet."""
    return_url: str
    cancel_url: str | None = None
    expires_at: datetime
    code: str = ""
    """Why its authorization was declined."""
    gateway: GatewayName | None = None
    """It asks this gateway itself, in the operation `prepay` of its id. Null: it is that of an authorization."""
    account: AccountName | None = None
    order_within_seconds: int | None = None
    needless: bool = False
    """Its order was authorized otherwise while the buyer was paying: its time is over."""
    prepayment: Prepayment | None = None

    @property
    def held_minor(self) -> int:
        return self.prepayment.amount_minor if self.prepayment is not None else 0

    def is_elsewhere(self, gateway: str | None, account: str | None) -> bool:
        """Whether its buyer pays at another gateway, or at another account there, if both are named."""
        return self.gateway != gateway or (None not in (self.account, account) and self.account != account)
