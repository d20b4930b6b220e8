"""Authorize, capture, void, refund: commands, and the events that answer them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import (
    UNLESS_EMPTY,
    Command,
    Counter,
    Event,
    Flag,
    Id,
    IfStated,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Text,
    Timestamp,
)
from contracts.gift_cards import GiftCardTenders
from contracts.limits import GIFT_CARDS_MAX
from contracts.money import Currency
from contracts.payments.amounts import GiftCardPart, GiftCardParts, MoneyLines, MoneyTotals
from contracts.payments.event import OutcomeEvent, PaymentEvent, PaymentName
from contracts.payments.means import AccountName, GatewayName, PaymentToken


class Authorize(OrderKeyed, Command, type="payments.authorize"):
    """Answered by authorized or declined; by pending in between.

    With `capture` a gateway that can takes the money in the same call: the one answer is authorized with its `capture_id`.
    Authorized without it: nothing is captured, and a capture is to be asked for.
    """

    gateway: GatewayName
    account: IfStated[AccountName] = None
    """The store's account at the gateway; null: its first. Captures, voids and refunds go to the same."""
    currency: Currency
    lines: MoneyLines
    reference: Id
    """What the buyer's statement or the marketplace calls the order."""
    capture: Flag = False
    """Also capture all of it, if its gateway does both in one call."""
    unless_recorded: Flag = False
    """With the gateway `recorded`: nothing is done if an authorization of exactly these amounts is recorded. Its event is the answer."""
    authorizations_before: IfStated[Counter] = None
    """With `unless_recorded`: the oldest authorizations of the order, so many, do not count; null: all do. The order had them when it
    asked, and asks for a further one. Those of gift cards are not among them."""
    payment_token: IfStated[PaymentToken] = None
    """Names the means of payment. Without it the buyer enters the means of payment at the gateway."""
    gift_cards: GiftCardTenders = ()
    """Taken before the gateway: it authorizes what they leave, and is not asked if that is nothing. If it declines, or a card
    cannot be redeemed, no card is."""


class Capture(OrderKeyed, Command, type="payments.capture"):
    """Answered by captured or failed. `lines` are the amounts to take, per line at most what is left."""

    authorization_id: UUID
    currency: Currency
    lines: MoneyLines


class Void(OrderKeyed, Command, type="payments.void"):
    """Releases what is authorized and not captured. Answered by voided or failed.

    Without `lines` it is a goal: it waits for what is in flight, releases all that is left, and succeeds with amount 0 if
    nothing is. With `lines` exactly these amounts are released, or it fails with `authorization_exceeded`.
    """

    authorization_id: UUID
    lines: Annotated[MoneyLines, UNLESS_EMPTY] = ()
    """The amounts to release, in the currency of the authorization; empty: all that is left."""
    expired: Flag = False
    """The issuer holds these amounts no longer: they are released in the books, and no gateway is asked."""


class Refund(OrderKeyed, Command, type="payments.refund"):
    """Answered by refunded or failed."""

    capture_id: UUID
    currency: Currency
    lines: MoneyLines
    recorded: Flag = False
    """The money went back elsewhere: the refund is booked at once, and no gateway is asked."""
    reference: IfStated[Id] = None
    """What the place where a recorded refund was made calls it."""


OperationKind = Literal["authorize", "capture", "void", "refund"]


class Authorized(OutcomeEvent, type="payments.authorized"):
    """With `capture_id` the same lines and amounts are captured too, and `totals` have them as both: no captured follows."""

    authorization_id: UUID
    capture_id: IfStated[UUID] = None
    """The capture that was made in the same call, for refunds; null: nothing is captured yet."""
    gateway: GatewayName
    account: IfStated[AccountName] = None
    """As the command names it."""
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None
    gift_cards: GiftCardParts = ()
    """What of the lines gift cards pay."""
    held_until: IfStated[Timestamp] = None
    """When the issuer releases what is not captured; null: the gateway does not state it."""
    session_id: IfStated[UUID] = None
    """The session in which the buyer had paid before the order asked: its money is the gateway's part. No gateway was asked."""


class ExpiryAnnounced(PaymentEvent, type="payments.expiry_announced"):
    """The issuer releases what is left of an authorization within a day. Published once for each authorization."""

    FINAL: ClassVar[bool] = False

    authorization_id: UUID
    gateway: GatewayName
    account: IfStated[AccountName] = None
    held_until: Timestamp
    amount_minor: MinorUnsigned
    """What is neither captured nor voided."""


class GiftCardsRedeemed(PaymentEvent, type="payments.gift_cards_redeemed"):
    """Gift cards pay a part of an authorization, or all of it. The answer to the authorization follows: if it is declined, it
    all goes back to the cards."""

    FINAL: ClassVar[bool] = False

    gift_cards: Annotated[tuple[GiftCardPart, ...], Field(max_length=GIFT_CARDS_MAX)]


class Pending(PaymentEvent, type="payments.pending"):
    """The gateway accepted the request and answers later; the operation stays open."""

    FINAL: ClassVar[bool] = False

    command: Text
    """`authorize`, `capture`, `void` or `refund`."""
    since: Timestamp
    refers_to: UUID | None = None
    """The authorization (capture, void) or capture (refund) it is about; null for an authorization."""
    gateway: GatewayName | None = None
    account: IfStated[AccountName] = None
    """As the command names it; null for all but authorizations."""
    lines: MoneyLines = ()
    """The amounts that are held until the answer."""
    amount_minor: MinorUnsigned = 0
    capture: Flag = False
    """An authorization that is to be captured in the same call."""
    gift_cards: GiftCardParts = ()
    """What of the lines gift cards pay, or get back."""
    gateway_reference: IfStated[Text] = None
    """What the gateway calls it, if it has reported that."""
    expires_at: IfStated[Timestamp] = None
    """An authorization that waits for its buyer: not paid until then, it ends as declined with `payment_abandoned`."""
    session_id: IfStated[UUID] = None
    """An authorization that waits for a session in which its buyer is paying: without a payment it ends as declined with
    `payment_abandoned`."""


class Declined(OutcomeEvent, type="payments.declined"):
    """The gateway declined an authorization, or a gift card cannot be redeemed."""

    amount_minor: MinorUnsigned
    code: Text
    reason: Text = ""
    gift_cards: GiftCardParts = ()
    """What was redeemed for it and goes back to the cards."""
    session_id: IfStated[UUID] = None
    """The session in which its buyer was to pay, and has not: who has asked may ask anew."""


class Captured(OutcomeEvent, type="payments.captured"):
    capture_id: UUID
    authorization_id: UUID
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None
    gift_cards: GiftCardParts = ()
    """What of the lines gift cards pay."""


class Voided(OutcomeEvent, type="payments.voided"):
    authorization_id: UUID
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None
    gift_cards: GiftCardParts = ()
    """What of the lines goes back to gift cards."""


class Refunded(OutcomeEvent, type="payments.refunded"):
    refund_id: UUID
    capture_id: UUID
    lines: MoneyLines
    amount_minor: MinorUnsigned
    gateway_reference: Text | None = None
    gift_cards: GiftCardParts = ()
    """What of the lines goes back to gift cards."""


FailureCode = Literal[
    "authorization_unknown",
    "capture_unknown",
    "currency_differs",
    "line_unknown",
    "authorization_exceeded",
    "authorization_expired",
    "amount_not_chargeable",
    "capture_exceeded",
    "gateway_unknown",
    "credentials_missing",
    "gateway_refused",
]


class Failed(OrderKeyed, Event, type="payments.failed"):
    """A capture, void or refund that did not happen: refused by the ledger or finally by the gateway."""

    currency: Currency | None = None
    """Null only where neither the command nor the ledger names one (void of an order that was never authorized)."""
    recorded: Flag = False
    """A person or a payment system elsewhere stated it, not the gateway."""
    payment: IfStated[PaymentName] = None
    """The name of an operation that happened elsewhere (`payments.record`)."""
    totals: MoneyTotals = MoneyTotals()
    command: Text
    """`capture`, `void` or `refund`."""
    refers_to: UUID | None = None
    """The authorization (capture, void) or capture (refund) that the command named."""
    code: Annotated[FailureCode, Open()]
    reason: Text = ""
    later: Flag = False
    """The gateway may do it later: who has asked may ask anew."""
    amount_minor: MinorUnsigned = 0
    allowed_minor: MinorUnsigned | None = None
    """With `authorization_exceeded` and `capture_exceeded`: the amount that is left."""
