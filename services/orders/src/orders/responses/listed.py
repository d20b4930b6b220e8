"""Bodies of lists of orders."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from chassis.http.paging import Page
from contracts.base import Timestamp
from contracts.orders import (
    CancelCause,
    FulfillmentStatus,
    MarketTerms,
    PaymentStatus,
    Status,
)
from contracts.snapshot import OrderContent

Unknown = Literal["unknown"]
"""Shown for a word of a newer release that this one does not have."""


class OrderSummary(BaseModel):
    """An order in a list; amounts are minor units of `currency`."""

    order_id: UUID
    version: int
    """Number of its published events; `ETag` of the order."""
    number: str
    external_order_id: str
    channel: str
    account: str
    status: Status | Unknown
    payment_status: PaymentStatus | Unknown
    fulfillment_status: FulfillmentStatus | Unknown
    waiting: str
    """The thing that the order waits for, in one word; empty if it does not wait."""
    currency: str
    grand_minor: int | None
    cancel_cause: CancelCause | Unknown | None
    ordered_at: Timestamp
    placed_at: Timestamp | None
    completed_at: Timestamp | None
    archived_at: Timestamp | None
    reference: str | None
    tags: list[str]


class OpenHold(BaseModel):
    hold_id: UUID
    since: Timestamp


class OpenException(BaseModel):
    code: str
    since: Timestamp


class OpenShown(BaseModel):
    """What of an order is open, as its events have stated it."""

    holds: list[OpenHold]
    exceptions: list[OpenException]
    refused: list[str]
    """`<id of the process>.<step>` of those that were refused and wait for a person."""
    stuck: dict[str, Literal["stock", "no_answer"]]
    """`<id of the process>.<step>` of those that wait for stock, or for an answer that was asked for in vain for long."""
    refunds: list[UUID]
    edit: Literal["", "draft", "confirmed"]


class OrderListed(OrderSummary):
    test: bool
    step: str
    """`<process>.<step>` that waits; empty if no process does."""
    since: Timestamp | None
    """Since when it waits for this."""
    updated_at: Timestamp
    """The time of its last change here."""
    order: OrderContent | None = None
    """What was sold; only with `content=true`, like `market`."""
    market: MarketTerms | None = None
    open: OpenShown | None = None


class CountShown(BaseModel):
    value: int
    capped: bool
    """Whether there may be more: 1,000 were counted, or as many as a request may read."""


class OrderPage(Page[OrderListed]):
    searched_back_to: Timestamp | None
    """Not null: few of the store's orders fit. The page has those of the orders that were read, up to this time of the sort's;
    `next_cursor` goes on from there."""
    searched_to_minor: int | None
    """The same of a list that is sorted by amount."""
    count: CountShown | None
    """Null unless it was asked for."""


class OrderStats(BaseModel):
    """How many orders have each word."""

    status: dict[str, CountShown]
    payment_status: dict[str, CountShown]
    fulfillment_status: dict[str, CountShown]
    waiting: dict[str, CountShown]
