"""Commands and events of the payments service. Amounts are minor units of `currency`; `totals` are those after the event."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import (
    Command,
    Event,
    Frozen,
    Id,
    LineId,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Quantity,
    Text,
    Timestamp,
)
from contracts.limits import CHARGED_LINES_MAX
from contracts.money import Currency

GatewayName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""`marketplace` (it has the money already) or a gateway that is set up in the payments service, e.g. `test`."""


class MoneyLine(Frozen):
    line_id: LineId
    quantity: Quantity
    """Pieces that the amount is for; 0 for an amount without pieces (a shipping charge)."""
    amount_minor: MinorUnsigned


MoneyLines = Annotated[tuple[MoneyLine, ...], Field(max_length=CHARGED_LINES_MAX)]


class MoneyTotals(Frozen):
    """Totals of the whole order after the event. A reader uses those of the highest version."""

    authorized_minor: MinorUnsigned = 0
    captured_minor: MinorUnsigned = 0
    voided_minor: MinorUnsigned = 0
    refunded_minor: MinorUnsigned = 0


class Authorize(OrderKeyed, Command, type="payments.authorize"):
    """Answered by authorized or declined; by pending in between."""

    gateway: GatewayName
    currency: Currency
    lines: MoneyLines
    reference: Id
    """What the buyer's statement or the marketplace calls the order."""


class Capture(OrderKeyed, Command, type="payments.capture"):
    """Answered by captured or failed. `lines` are the amounts to take, per line at most what is left."""

    authorization_id: UUID
    currency: Currency
    lines: MoneyLines


class Void(OrderKeyed, Command, type="payments.void"):
    """Releases what is authorized and not captured. Answered by voided, with amount 0 if nothing is left."""

    authorization_id: UUID


class Refund(OrderKeyed, Command, type="payments.refund"):
    """Answered by refunded or failed."""

    capture_id: UUID
    currency: Currency
    lines: MoneyLines


class PaymentEvent(OrderKeyed, Event):
    currency: Currency
    totals: MoneyTotals = MoneyTotals()


class Authorized(PaymentEvent, type="payments.authorized"):
    authorization_id: UUID
    gateway: GatewayName
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None


class Pending(PaymentEvent, type="payments.pending"):
    """The gateway accepted the request and answers later; the operation stays open."""

    FINAL: ClassVar[bool] = False

    command: Text
    """`authorize`, `capture`, `void` or `refund`."""
    since: Timestamp
    refers_to: UUID | None = None
    """The authorization (capture, void) or capture (refund) it is about; null for an authorization."""
    gateway: GatewayName | None = None
    lines: MoneyLines = ()
    """The amounts that are held until the answer."""
    amount_minor: MinorUnsigned = 0


class Declined(PaymentEvent, type="payments.declined"):
    """The gateway declined an authorization."""

    amount_minor: MinorUnsigned
    code: Text
    reason: Text = ""


class Captured(PaymentEvent, type="payments.captured"):
    capture_id: UUID
    authorization_id: UUID
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None


class Voided(PaymentEvent, type="payments.voided"):
    authorization_id: UUID
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None


class Refunded(PaymentEvent, type="payments.refunded"):
    refund_id: UUID
    capture_id: UUID
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None


FailureCode = Literal[
    "authorization_unknown",
    "capture_unknown",
    "currency_differs",
    "line_unknown",
    "authorization_exceeded",
    "capture_exceeded",
    "gateway_unknown",
    "gateway_refused",
]


class Failed(OrderKeyed, Event, type="payments.failed"):
    """A capture, void or refund that did not happen: refused by the ledger or finally by the gateway."""

    currency: Currency | None = None
    """Null only where neither the command nor the ledger names one (void of an order that was never authorized)."""
    totals: MoneyTotals = MoneyTotals()
    command: Text
    """`capture`, `void` or `refund`."""
    refers_to: UUID | None = None
    """The authorization (capture, void) or capture (refund) that the command named."""
    code: Annotated[FailureCode, Open()]
    reason: Text = ""
    amount_minor: MinorUnsigned = 0
    allowed_minor: MinorUnsigned | None = None
    """With `authorization_exceeded` and `capture_exceeded`: the amount that is left."""
