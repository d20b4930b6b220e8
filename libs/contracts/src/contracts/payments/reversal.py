"""Captured lines that are reversed and replaced."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import (
    UNLESS_EMPTY,
    Command,
    Event,
    Flag,
    Frozen,
    Id,
    IfStated,
    LineId,
    LongText,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Quantity,
    Rate,
    Text,
)
from contracts.limits import CHARGED_LINES_MAX
from contracts.money import Currency
from contracts.payments.amounts import GiftCardParts, MoneyLine, MoneyTotals
from contracts.payments.event import PaymentEvent
from contracts.payments.means import AccountName, GatewayName, PaymentToken


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


class ReplacingLine(MoneyLine):
    """A new line. What it does not state of its article, it has from the reversed line that it replaces."""

    replaces: IfStated[LineId] = None
    """One of the reversed lines; null: the first of them."""
    sku: IfStated[Id] = None
    title: IfStated[LongText] = None
    rate: IfStated[Rate] = None
    """Rate of its VAT, per cent."""


ReplacingLines = Annotated[tuple[ReplacingLine, ...], Field(max_length=CHARGED_LINES_MAX), UNLESS_EMPTY]
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
    lines: ReplacingLines = ()
    """The lines that replace them: new lines of the capture. Paid in this sequence, by gift cards first."""
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


class Reversed(PaymentEvent, type="payments.reversed"):
    """A capture pays other lines than before. The totals of the order are the same: no money has moved by it."""

    capture_id: UUID
    reversals: ReversedLines
    lines: ReplacingLines = ()
    """What the capture pays of the lines that replace them."""
    amount_minor: MinorUnsigned
    """What was reversed."""
    taken_off_gift_cards: GiftCardParts = ()
    """What gift cards have paid of that, by the lines of the reversals."""
    gift_cards: GiftCardParts = ()
    """What they pay of `lines` and `refund_line` instead: of each card as much as was taken off. The gateway pays the rest."""
    refund_line: IfStated[MoneyLine] = None
    """What the capture has taken too much."""
    refund_id: IfStated[UUID] = None
    """The operation that refunds `refund_line`."""
    charge: ReplacingLines = ()
    """What the lines cost more."""
    charge_id: IfStated[UUID] = None
    """The operation that authorizes `charge`, to be captured in the same call or after it."""
    charge_gateway: IfStated[GatewayName] = None
    charge_account: IfStated[AccountName] = None
    recorded: Flag = False
    """The difference was moved elsewhere: no gateway is asked for `refund_id` or `charge_id`."""


ReversalCode = Literal[
    "currency_differs",
    "capture_unknown",
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
    """`line_taken`: the id of a new line has another meaning. `reversal_final`: a reversal is never reversed."""
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
