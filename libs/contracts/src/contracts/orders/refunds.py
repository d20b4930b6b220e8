"""Money that goes back after it was captured: what a person requests, and what happened to it."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from contracts.base import (
    Command,
    Counter,
    Flag,
    Frozen,
    Id,
    IfStated,
    LineId,
    LongText,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Personal,
    QuantityPositive,
    Text,
)
from contracts.limits import CHARGED_LINES_MAX, ORDER_LINES_MAX
from contracts.money import Currency
from contracts.orders.event import OrderEvent
from contracts.payments import MoneyLines

RefundReason = Literal[
    "customer_request",
    "damaged",
    "defective",
    "wrong_item",
    "not_as_described",
    "missing_item",
    "late",
    "lost",
    "price_adjustment",
    "goodwill",
    "duplicate_order",
    "fraud",
    "other",
]
"""Why a person refunds."""
RefundCause = Literal[RefundReason, "edit", "marketplace", "reversal"]
"""A person's reason; an edit that made the order cheaper; a refund that was made at the marketplace; what the lines that replace
reversed ones cost less."""


class RefundLine(Frozen):
    """A line of the order that goes back: pieces at their price, or an amount."""

    line_id: LineId
    quantity: QuantityPositive | None = None
    """Pieces, at their share of what was captured for the line."""
    amount_minor: Annotated[MinorUnsigned, Field(ge=1)] | None = None
    """An amount of the line, tax included; its pieces stay with the buyer."""

    @model_validator(mode="after")
    def _is_of_pieces_or_of_an_amount(self) -> Self:
        if (self.quantity is None) == (self.amount_minor is None):
            raise ValueError(f"line {self.line_id}: state either quantity or amount_minor")
        return self


class RefundWanted(Frozen):
    """What is to go back. Amounts are minor units of the order's currency, tax included."""

    lines: Annotated[tuple[RefundLine, ...], Field(max_length=ORDER_LINES_MAX)] = ()
    """Each line once."""
    shipping_minor: MinorUnsigned = 0
    """An amount of the shipping charge."""
    goodwill_minor: MinorUnsigned = 0
    """An amount without a line: spread over what is left of the captures, the newest first."""
    reason: RefundReason = "other"
    note: Annotated[LongText, Personal()] = ""
    restock: Flag = False
    """Puts the refunded pieces that have shipped back into stock."""

    @model_validator(mode="after")
    def _lists_each_line_once(self) -> Self:
        if len({line.line_id for line in self.lines}) != len(self.lines):
            raise ValueError("lines: each line_id may be listed once")
        return self


class Refund(RefundWanted, OrderKeyed, Command, type="orders.refund"):
    """Answered by refund_opened. The money goes back at once; then the invoice is credited with exactly that."""


class RetryRefund(OrderKeyed, Command, type="orders.retry_refund"):
    """Tries the refused step of a refund again, as a new operation."""

    refund_id: UUID


class GiveUpRefund(OrderKeyed, Command, type="orders.give_up_refund"):
    """Ends a refund that is refused. What has gone back stays refunded and is credited; the rest does not go back."""

    refund_id: UUID
    reason: Annotated[Text, Personal()] = ""


class RefundPart(Frozen):
    """What goes back of one capture."""

    capture_id: UUID
    lines: MoneyLines


class RefundOpened(OrderEvent, type="orders.refund_opened"):
    """Money goes back. From now on it counts as taken from its captures."""

    refund_id: UUID
    number: Counter
    """Counts the refunds of the order from 1; its process is `refund:<number>`."""
    reason: Annotated[RefundCause, Open()]
    note: Annotated[LongText, Personal()] = ""
    actor: Text
    currency: Currency
    amount_minor: MinorUnsigned
    parts: Annotated[tuple[RefundPart, ...], Field(max_length=CHARGED_LINES_MAX)]
    restock: Flag = False
    reference: IfStated[Id] = None
    """The marketplace's id of a refund that was made there; null: the money goes back by us."""


class RefundSettled(OrderEvent, type="orders.refund_settled"):
    """All of the refund has gone back and, where there is an invoice, is credited."""

    refund_id: UUID
    number: IfStated[Counter] = None
    """As that of `orders.refund_opened`; null: it was not stated yet."""
    amount_minor: MinorUnsigned


class RefundGivenUp(OrderEvent, type="orders.refund_given_up"):
    """A person ended a refund that was refused."""

    refund_id: UUID
    number: IfStated[Counter] = None
    """As that of `orders.refund_opened`; null: it was not stated yet."""
    amount_minor: MinorUnsigned
    """What has gone back; it is credited."""
    given_up_minor: MinorUnsigned
    """What does not go back."""
    actor: Text
    reason: Annotated[Text, Personal()] = ""
