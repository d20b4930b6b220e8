"""Response models of payments' HTTP."""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from contracts.base import Timestamp
from contracts.orders import PaymentStatus
from contracts.payments import MoneyTotals
from payments.domain import vocabularies
from payments.domain.books import Account


class LedgerSummary(BaseModel):
    """The money of one order in a list; amounts are minor units of `currency`."""

    order_id: UUID
    currency: str | None
    """Null until a first command about the order arrives."""
    gateway: str | None
    totals: MoneyTotals
    version: int
    created_at: Timestamp


class LedgerLine(BaseModel):
    """The amounts of a reversal are negative, so that the lines sum to the totals of the order."""

    line_id: str
    direction: Literal[1, -1]
    """-1: the line is a reversal."""
    reverses: str | None
    """The line that a reversal reverses."""
    authorized_minor: int
    captured_minor: int
    voided_minor: int
    refunded_minor: int
    reversed_minor: int
    """What reversals have taken off the line; included in `captured_minor`."""


class LedgerOperation(BaseModel):
    operation_id: UUID
    kind: Literal["authorize", "capture", "void", "refund", "reverse", "prepay", "return"]
    """`prepay`: paid in the session of this id, before the order asked. `return`: given back of it."""
    state: Literal["asked", "pending", "succeeded", "declined", "failed"]
    amount_minor: int
    currency: str | None
    refers_to: UUID | None
    """The authorization of a capture or void, the capture of a refund or reversal, the session of a return."""
    gateway: str | None
    account: str | None
    """The store's account at the gateway that an authorization names; null: the first."""
    gateway_reference: str | None
    code: str
    reason: str
    recorded: Literal["stated", "unconfirmed", "confirmed", "contradicted"] | None
    """Null: the outcome is the ledger's own or its gateway's. Else it was stated: and no gateway is asked about it; and the
    gateway has not confirmed it yet; and has reported the same; and has reported another outcome."""
    with_capture: bool
    """An authorization that was asked for, and made if it has succeeded, together with its capture."""
    at: Timestamp
    """Time of its last change."""


class Operations(BaseModel):
    items: list[LedgerOperation]


class Recorded(BaseModel):
    """What was recorded, now or before."""

    operation_id: UUID | None
    """What `authorization_id` and `capture_id` name; null for a repetition that is no longer among the latest operations."""
    amount_minor: int
    """The sum of all lines, in minor units of the currency."""
    repeated: bool
    """It was recorded before: nothing has changed."""
    totals: MoneyTotals
    """The order's, after it."""


class ReversedShown(BaseModel):
    """A reversal, and the operations that move the difference. Amounts are minor units of the currency."""

    operation_id: UUID
    capture_id: UUID | None
    """The capture that pays other lines now; null for a repetition that is no longer among the latest operations."""
    amount_minor: int
    """What was reversed."""
    refund_id: UUID | None
    refund_minor: int
    """What the lines cost less: `refund_id` refunds it."""
    charge_id: UUID | None
    charge_minor: int
    """What the lines cost more: `charge_id` authorizes it, to be captured."""
    totals: MoneyTotals
    """The order's, after it."""


class LedgerShown(LedgerSummary):
    lines: list[LedgerLine]
    operations: list[LedgerOperation]


class LineBalance(LedgerLine):
    capturable_minor: int
    """Authorized, and neither captured nor voided."""
    refundable_minor: int
    """Captured and neither refunded nor reversed."""


class Entry(BaseModel):
    """One side of a posting. The entries of an operation balance."""

    operation_id: UUID
    version: int
    """The version of the order's event that booked it."""
    line_id: str
    account: Account
    direction: Literal[1, -1]
    """1: debit, -1: credit."""
    amount_minor: int
    currency: str
    at: Timestamp


class Books(LedgerSummary):
    """The books of one order. Statuses follow from its sums; due is what is authorized and not voided."""

    payment_status: PaymentStatus
    """In the words of Commerce Layer, as orders have it."""
    dintero_payment_status: vocabularies.DinteroPaymentStatus
    dintero_transaction_status: vocabularies.DinteroTransactionStatus
    lines: list[LineBalance]
    operations: list[LedgerOperation]
    entries: list[Entry]
    """The oldest ones."""
    entries_cursor: str | None
    """The cursor of the rest in `GET /v1/orders/{order_id}/entries`; null if there is none."""


class AccountBalance(BaseModel):
    """Minor units; a balance is debits less credits."""

    account: Account
    opening_minor: int
    """Before the period."""
    debit_minor: int
    """In the period."""
    credit_minor: int
    closing_minor: int
    """At the end of the period."""


class CurrencyBalance(BaseModel):
    """The openings of all accounts sum to zero, and so do the closings."""

    currency: str
    accounts: list[AccountBalance]
    """The whole chart, in its order."""
    debit_minor: int
    """The sum over all accounts in the period; equals `credit_minor`."""
    credit_minor: int


class TrialBalance(BaseModel):
    first: date = Field(alias="from")
    """The first day of the period, UTC."""
    last: date = Field(alias="to")
    """The last day of the period."""
    currencies: list[CurrencyBalance]
    """Those that have entries until the end of the period."""


class GiftCardTerms(BaseModel):
    gift_card_id: UUID
    """What an order names the card by."""
    state: Literal["inactive", "active", "expired"]
    currency: str
    initial_minor: int
    """The balance that it was issued with."""
    expires_at: Timestamp | None
    single_use: bool
    rechargeable: bool
    code_end: str
    """The last four characters of the code; empty: the code was lost, and has to be replaced."""
    version: int


class GiftCardMade(GiftCardTerms):
    code: str | None = None
    """The secret with which the buyer pays. Only in the first answer to the request that has made it."""


class GiftCardAdjustedShown(GiftCardTerms):
    balance_minor: int | None
    """After it; null if nothing has changed."""


class GiftCardShown(GiftCardTerms):
    status: Literal["inactive", "active", "redeemed", "expired"]
    """`redeemed`: active, with nothing left that can be used."""
    balance_minor: int
    created_at: Timestamp


class GiftCardMovement(BaseModel):
    number: int
    kind: Literal["issued", "adjusted", "redeemed", "restored", "expired"]
    amount_minor: int
    """Negative: taken off."""
    balance_minor: int
    """After it."""
    order_id: UUID | None
    """Null: a movement of the card itself."""
    operation_id: UUID | None
    at: Timestamp


class GiftCardWithMovements(GiftCardShown):
    movements: list[GiftCardMovement]
    """The latest 500."""
