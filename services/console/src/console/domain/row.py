"""The row of an order in the lists, as the events of all services make it.

Tuples: an event replaces some fields of many, and `_replace` copies the others at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple
from uuid import UUID

Edit = Literal["", "draft", "confirmed"]


class Memory(NamedTuple):
    """What the fold has to keep of the events of orders, and no list shows."""

    holds: tuple[str, ...] = ()
    """Ids of the open ones, sorted."""
    exceptions: tuple[str, ...] = ()
    """Codes of the open ones, sorted."""
    failed: tuple[str, ...] = ()
    """Steps that were refused and wait for a person, each with its process, as `settle:2.capture`."""
    stuck: Mapping[str, str] = MappingProxyType({})
    """Steps, named like those in `failed`, that wait for `stock`, or for an answer that was asked for in vain (`no_answer`)."""
    parked: bool = False
    """Whether a message of it is parked in orders: no event, `console.parked_orders` writes it."""
    refunds: tuple[str, ...] = ()
    """Ids of those that are not settled."""
    edit: Edit = ""
    """How far the open edit is; empty: none is open."""
    capture: str = ""
    """When the order's market takes the money: `CaptureOption`."""
    capture_up_to_minor: int | None = None
    started: bool = False
    """Whether it was placed here; else the marketplace carries it through."""
    paid: bool = False
    """Whether the marketplace states that it is paid, or nothing is to be paid."""


class Words(NamedTuple):
    """What the order is found by, by the service that states it: plain words, and those that are personal."""

    orders: tuple[str, ...] = ()
    buyer: tuple[str, ...] = ()
    """Personal."""
    reference: tuple[str, ...] = ()
    tracking: tuple[str, ...] = ()
    """Personal."""
    documents: tuple[str, ...] = ()


class OrderRow(NamedTuple):
    """In the order of the columns of `order_rows`. Amounts are minor units of `currency`, times are UTC."""

    order_id: UUID
    store_id: str
    number: str = ""
    channel: str = ""
    account: str = ""
    market: str = ""
    country: str | None = None
    """Where the goods go, else the bill."""
    currency: str | None = None
    grand_minor: int | None = None
    """The price of what is not cancelled; null: not every price is stated."""
    test: bool = False
    ordered_at: datetime | None = None
    """Null: only events of other services have come yet, and no list shows it."""
    received_at: datetime | None = None
    """When it arrived here; null: not stated."""
    invoiced_at: datetime | None = None
    """The time of its first invoice."""
    status: str = ""
    payment_status: str = ""
    fulfillment_status: str = ""
    cancel_cause: str | None = None
    placed_at: datetime | None = None
    completed_at: datetime | None = None
    archived_at: datetime | None = None
    tags: tuple[str, ...] = ()
    waiting: str = ""
    """What it waits for, in one word; empty: nothing."""
    step: str = ""
    since: datetime | None = None
    """Since when it waits for this."""
    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    reserved: int = 0
    """Pieces, like `shipped`."""
    shipped: int = 0
    invoiced_minor: int = 0
    credited_minor: int = 0
    changed_at: datetime | None = None
    """The time of the newest event of all services."""
    versions: Mapping[str, int] = MappingProxyType({})
    """Service -> the version of its newest event that is in the row."""
    memory: Memory = Memory()
    words: Words = Words()
