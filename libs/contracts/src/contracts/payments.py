"""Commands and events of the payments service. Amounts are minor units of `currency`; `totals` are those after the event."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from contracts.base import (
    UNLESS_EMPTY,
    Command,
    Counter,
    Event,
    Flag,
    Frozen,
    Id,
    IfStated,
    LineId,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Personal,
    Quantity,
    Text,
    Timestamp,
    json_bytes,
)
from contracts.gift_cards import GiftCardTenders
from contracts.limits import CHARGED_LINES_MAX, GIFT_CARDS_MAX
from contracts.money import Currency

MARKETPLACE: Final = "marketplace"
RECORDED: Final = "recorded"
GatewayName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""`marketplace` (it has the money already), `recorded` (the money moves elsewhere, and payments is informed) or a gateway that is set up in the payments service, e.g. `test`."""


AccountName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""The name of an account at a gateway; a store may have several at one."""


TOKEN_REFUSED: Final = "refused:card-number"
"""Replaces a card number that was sent as a token, so that nothing stores or logs it. It pays for nothing."""
_CARD_DIGITS: Final = re.compile(r"[0-9]{13,19}")


def is_card_number(text: str) -> bool:
    """Whether it is 13 to 19 digits, with or without blanks, dashes and points, with a valid check digit (ISO/IEC 7812-1, Luhn).

    >>> is_card_number("4242 4242 4242 4242"), is_card_number("4242424242424241"), is_card_number("pm_1PqR5s")
    (True, False, False)
    """
    digits = re.sub(r"[\s.-]", "", text, flags=re.ASCII)
    if _CARD_DIGITS.fullmatch(digits) is None:
        return False
    doubled = "0246813579"
    return sum(int(doubled[int(d)] if n % 2 else d) for n, d in enumerate(reversed(digits))) % 10 == 0


def _without_card_number(value: object) -> object:
    return TOKEN_REFUSED if isinstance(value, str | int) and is_card_number(str(value)) else value


_TOKEN_IN_JSON: Final = re.compile(rb'("payment_token"\s*:\s*)(?:"([^"\\]{13,200})"|([0-9]{13,19})(?![0-9.eE]))')


def without_card_numbers(body: bytes) -> bytes:
    """A body as it may be stored if it is not read: card numbers in place of tokens are replaced, as reading it would do.

    >>> without_card_numbers(b'{"payment_token": "4242424242424242"}')
    b'{"payment_token": "refused:card-number"}'
    """

    def replaced(found: re.Match[bytes]) -> bytes:
        token = (found[2] or found[3]).decode("utf-8", "replace")
        return found[1] + json_bytes(TOKEN_REFUSED) if is_card_number(token) else found[0]

    return _TOKEN_IN_JSON.sub(replaced, body) if b'"payment_token"' in body else body


PaymentToken = Annotated[Id, BeforeValidator(_without_card_number), Personal()]
"""A gateway's token of a means of payment, e.g. Stripe's `pm_...`; never card data. A card number is replaced when it is read."""


class MoneyLine(Frozen):
    line_id: LineId
    quantity: Quantity
    """Pieces that the amount is for; 0 for an amount without pieces (a shipping charge)."""
    amount_minor: MinorUnsigned


MoneyLines = Annotated[tuple[MoneyLine, ...], Field(max_length=CHARGED_LINES_MAX)]


class GiftCardPart(Frozen):
    """What one gift card pays of the lines of an operation, or gets back of them."""

    gift_card_id: UUID
    lines: MoneyLines
    """Without pieces: those are counted in the lines of the operation."""

    @property
    def amount_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


GiftCardParts = Annotated[tuple[GiftCardPart, ...], Field(max_length=GIFT_CARDS_MAX), UNLESS_EMPTY]
"""The gateway moves what is in `lines` and not in these."""


class MoneyTotals(Frozen):
    """Totals of the whole order after the event. A reader uses those of the highest version."""

    authorized_minor: MinorUnsigned = 0
    captured_minor: MinorUnsigned = 0
    voided_minor: MinorUnsigned = 0
    refunded_minor: MinorUnsigned = 0


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


class Refund(OrderKeyed, Command, type="payments.refund"):
    """Answered by refunded or failed."""

    capture_id: UUID
    currency: Currency
    lines: MoneyLines
    recorded: Flag = False
    """The money went back elsewhere: the refund is booked at once, and no gateway is asked."""
    reference: IfStated[Id] = None
    """What the place where a recorded refund was made calls it."""


Outcome = Literal["succeeded", "failed"]
OperationKind = Literal["authorize", "capture", "void", "refund"]


class Force(OrderKeyed, Command, type="payments.force"):
    """A person states the outcome of an operation whose gateway gives none. Nothing is moved: the outcome is booked.

    Answered by forced or force_refused. After forced comes the event of the target operation (authorized, declined,
    captured, voided, refunded, failed) with `recorded`. Stating a recorded outcome once more changes nothing.
    """

    target_operation_id: UUID
    outcome: Outcome
    reference: IfStated[Id] = None
    """The gateway's name of the operation, if the person has it."""
    reason: Annotated[Text, Personal()] = ""


class Record(OrderKeyed, Command, type="payments.record"):
    """Money has moved elsewhere, or was refused there: what happened is booked, and no gateway is asked.

    Answered by the event of its kind with `recorded` (authorized, captured, voided, refunded; declined or failed if it was
    refused), or by record_refused. Its operation is identified by store, system, kind and `payment_id`: stated once more, it
    changes nothing and is not answered again. If the ledger waits for exactly this (gateway `recorded`, the same amounts of
    the same lines), it ends that operation.
    """

    kind: OperationKind
    system: GatewayName
    """The payment system where it happened. Its ids of operations of one kind are unique."""
    payment_id: Id
    """What that system calls the operation."""
    currency: Currency
    lines: MoneyLines
    refers_to: IfStated[UUID] = None
    """The authorization (capture, void) or capture (refund) that it draws on; null: the only one of the order."""
    capture: Flag = False
    """An authorization that was captured at once."""
    gateway: IfStated[GatewayName] = None
    """For an authorization: the gateway that makes its captures and refunds; null: payments is informed of them."""
    account: IfStated[AccountName] = None
    """With `gateway`: the store's account there; null: its first."""
    outcome: Outcome = "succeeded"
    """A refused attempt is recorded, too; it moves nothing."""
    code: Text = ""
    """Why it was refused, in the words of that system."""
    reason: Text = ""


class ReversedLine(Frozen):
    """A negative line: it takes pieces and their amount off the line that it reverses. It is never reversed itself."""

    line_id: LineId
    """A new line of the order."""
    reverses: LineId
    """The line whose captured money it takes."""
    quantity: Quantity
    """Pieces; 0 for a line that was captured without pieces."""
    amount_minor: MinorUnsigned
    """What it takes off: the pieces at the unit price of the reversed line."""


ReversedLines = Annotated[tuple[ReversedLine, ...], Field(min_length=1, max_length=CHARGED_LINES_MAX)]


class Reverse(OrderKeyed, Command, type="payments.reverse"):
    """Captured lines are reversed, and replaced by `lines`, which one capture pays with what it has taken already.

    Answered by reversed or reversal_refused. What the lines cost less becomes the line `refund_line_id` and is refunded. What
    they cost more is authorized and captured. Both are operations of their own, which reversed names and their own events
    answer; neither takes the reversal back if it fails.
    """

    capture_id: IfStated[UUID] = None
    """The capture that has the reversed lines; null: the only one that has them."""
    currency: Currency
    reversals: ReversedLines
    lines: Annotated[MoneyLines, UNLESS_EMPTY] = ()
    """The lines that replace them: new lines of the capture. Paid in this sequence."""
    refund_line_id: IfStated[LineId] = None
    """The line of what is to be refunded; required if `lines` cost less than what is reversed."""
    gateway: IfStated[GatewayName] = None
    """Where to authorize what they cost more; null: the gateway and the account of the capture."""
    account: IfStated[AccountName] = None
    """As in authorize; read with `gateway` alone."""
    payment_token: IfStated[PaymentToken] = None
    """As in authorize."""
    reference: IfStated[Id] = None
    """As in authorize; if `recorded`, what the place where the difference was moved calls that."""
    recorded: Flag = False
    """The difference was moved elsewhere: it is booked at once, and no gateway is asked."""


class PaymentName(Frozen):
    """What a payment system elsewhere calls an operation."""

    system: GatewayName
    payment_id: Id


class PaymentEvent(OrderKeyed, Event):
    currency: Currency
    totals: MoneyTotals = MoneyTotals()


class OutcomeEvent(PaymentEvent):
    """The end of an operation."""

    recorded: Flag = False
    """A person, the marketplace or a payment system elsewhere stated it, not the gateway."""
    payment: IfStated[PaymentName] = None
    """The name of an operation that happened elsewhere (`payments.record`)."""


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


class Declined(OutcomeEvent, type="payments.declined"):
    """The gateway declined an authorization, or a gift card cannot be redeemed."""

    amount_minor: MinorUnsigned
    code: Text
    reason: Text = ""
    gift_cards: GiftCardParts = ()
    """What was redeemed for it and goes back to the cards."""


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


class Reversed(PaymentEvent, type="payments.reversed"):
    """A capture pays other lines than before. The totals of the order are the same: no money has moved by it."""

    capture_id: UUID
    reversals: ReversedLines
    lines: Annotated[MoneyLines, UNLESS_EMPTY] = ()
    """What the capture pays of the lines that replace them."""
    amount_minor: MinorUnsigned
    """What was reversed."""
    refund_line: IfStated[MoneyLine] = None
    """What the capture has taken too much."""
    refund_id: IfStated[UUID] = None
    """The operation that refunds `refund_line`."""
    charge: Annotated[MoneyLines, UNLESS_EMPTY] = ()
    """What the lines cost more."""
    charge_id: IfStated[UUID] = None
    """The operation that authorizes `charge`, to be captured in the same call or after it."""
    charge_gateway: IfStated[GatewayName] = None
    charge_account: IfStated[AccountName] = None


ReversalCode = Literal[
    "currency_differs",
    "capture_unknown",
    "capture_shared",
    "reference_ambiguous",
    "line_unknown",
    "line_taken",
    "reversal_final",
    "exceeds_reversible",
    "price_differs",
    "refund_line_missing",
    "payment_token_refused",
    "exceeds_authorizable",
    "lines_exceeded",
]


class ReversalRefused(OrderKeyed, Event, type="payments.reversal_refused"):
    """Nothing was reversed."""

    code: Annotated[ReversalCode, Open()]
    """`capture_shared`: gift cards have paid a part of it. `line_taken`: the id of a new line has another meaning. `reversal_final`: a reversal is never reversed."""
    capture_id: IfStated[UUID] = None
    currency: Currency | None = None
    """Null only where the ledger has none."""
    totals: MoneyTotals = MoneyTotals()
    line: IfStated[LineId] = None
    """The first line that does not fit."""
    allowed_minor: IfStated[MinorUnsigned] = None
    """With `price_differs`: the amount at the unit price; with `exceeds_reversible`: what is left of the line; with
    `exceeds_authorizable`, of the order."""
    allowed_quantity: IfStated[Quantity] = None
    """With `exceeds_reversible`: the pieces that are left of the line."""
    reason: Text = ""


FailureCode = Literal[
    "authorization_unknown",
    "capture_unknown",
    "currency_differs",
    "line_unknown",
    "authorization_exceeded",
    "authorization_expired",
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
    amount_minor: MinorUnsigned = 0
    allowed_minor: MinorUnsigned | None = None
    """With `authorization_exceeded` and `capture_exceeded`: the amount that is left."""


class Forced(PaymentEvent, type="payments.forced"):
    """A person's statement is booked. `totals` are those before; the event of the target operation follows."""

    target_operation_id: UUID
    outcome: Annotated[Outcome, Open()]
    reference: IfStated[Id] = None
    actor: Text
    reason: Annotated[Text, Personal()] = ""


ForceCode = Literal["operation_unknown", "not_forceable", "amount_exceeded"]


class ForceRefused(OrderKeyed, Event, type="payments.force_refused"):
    """A person's statement that is not booked."""

    code: Annotated[ForceCode, Open()]
    """`not_forceable`: its gateway can still be asked and gives an answer, or the operation has its outcome.
    `amount_exceeded`: a refused operation cannot have succeeded, because its amount is no longer left."""
    refers_to: UUID
    """The operation whose outcome was stated."""
    currency: Currency | None = None
    """Null only where the ledger has none."""
    totals: MoneyTotals = MoneyTotals()
    gateway: GatewayName | None = None
    """Who is being asked."""
    since: Timestamp | None = None
    """When it was first asked."""
    tries: Counter = 0
    """How many times it has been asked without giving an outcome."""
    allowed_minor: MinorUnsigned | None = None
    """With `amount_exceeded`: the amount that is left."""
    reason: Text = ""


RecordCode = Literal[
    "payment_differs",
    "payment_taken",
    "currency_differs",
    "authorization_unknown",
    "capture_unknown",
    "reference_ambiguous",
    "line_unknown",
    "line_taken",
    "exceeds_authorizable",
    "exceeds_capturable",
    "exceeds_refundable",
]


class RecordRefused(OrderKeyed, Event, type="payments.record_refused"):
    """What was stated to have happened elsewhere is not booked: a person compares both sides. Nothing has changed."""

    code: Annotated[RecordCode, Open()]
    """`payment_differs`: the same `payment_id` was recorded with other amounts. `payment_taken`: on another order.
    `reference_ambiguous`: the order has several that it may refer to, and it names none. `line_taken`: a line is a reversal."""
    command: Annotated[OperationKind, Open()]
    system: GatewayName
    payment_id: Id
    refers_to: IfStated[UUID] = None
    currency: Currency | None = None
    """Null only where the ledger has none."""
    totals: MoneyTotals = MoneyTotals()
    line: IfStated[LineId] = None
    """The first line that does not fit."""
    allowed_minor: IfStated[MinorUnsigned] = None
    """What may still be taken of this line; with `exceeds_authorizable`, of the order."""
    reason: Text = ""


class Contradicted(PaymentEvent, type="payments.contradicted"):
    """The gateway reports another outcome than the recorded one. No amount has changed: a person compares both sides."""

    target_operation_id: UUID
    command: Text
    """`authorize`, `capture`, `void` or `refund`."""
    refers_to: UUID | None = None
    """The authorization (capture, void) or capture (refund) that the target operation is about."""
    recorded_outcome: Annotated[Outcome, Open()]
    reported_outcome: Annotated[Literal["succeeded", "failed", "unknown"], Open()]
    """`unknown`: the gateway has no operation of this id."""
    amount_minor: MinorUnsigned
    """The amount of the operation."""
    reported_minor: MinorUnsigned | None = None
    """What the gateway moved, if it states it."""
    gateway: GatewayName | None = None
    gateway_reference: Text | None = None
    reason: Text = ""


# ------------------------------------------------------------------------------------------------------- payment sessions

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


# --------------------------------------------------------------------------------------------------------------- disputes

DisputeOutcome = Literal["won", "lost"]


class CheckDispute(OrderKeyed, Command, type="payments.check_dispute"):
    """A gateway has stated that something has changed about a dispute: it is asked what. Answered by dispute_opened and
    dispute_closed, or by nothing if nothing has changed."""

    gateway: GatewayName
    account: AccountName
    reference: Id
    """What the gateway calls the dispute."""


class DisputeOpened(PaymentEvent, type="payments.dispute_opened"):
    """A buyer disputes a payment with the issuer of their card. Published again if the gateway withholds money later."""

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
