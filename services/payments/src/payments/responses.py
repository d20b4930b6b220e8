"""Response models of payments' HTTP."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from contracts.base import Timestamp
from contracts.payments import MoneyTotals


class LedgerSummary(BaseModel):
    """The money of one order in a list; amounts are minor units of `currency`."""

    order_id: UUID
    currency: str | None
    """Null until a first command about the order arrives."""
    gateway: str | None
    totals: MoneyTotals
    version: int
    created_at: Timestamp


class LedgerLine(MoneyTotals):
    line_id: str
    direction: Literal[1, -1]
    """-1: the line is a reversal."""


class LedgerOperation(BaseModel):
    operation_id: UUID
    kind: Literal["authorize", "capture", "void", "refund"]
    state: Literal["asked", "pending", "succeeded", "declined", "failed"]
    amount_minor: int
    currency: str | None
    refers_to: UUID | None
    """The authorization of a capture or void, the capture of a refund."""
    gateway: str | None
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


class LedgerShown(LedgerSummary):
    lines: list[LedgerLine]
    operations: list[LedgerOperation]
