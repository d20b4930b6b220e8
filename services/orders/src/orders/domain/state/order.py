"""An order: what was sold, its three statuses, and how far its processes are. `folding` folds the service's own events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import Field

from contracts.base import UNLESS_EMPTY, Document, Open, OrderKeyed, Personal, PrivateEvent, Timestamp
from contracts.orders import (
    CancelCause,
    CaptureOption,
    Change,
    FulfillmentStatus,
    MarketTerms,
    PaymentStatus,
    Status,
)
from contracts.payments import MoneyTotals
from contracts.snapshot import OrderContent, Source
from orders.domain.content.amounts import grand_minor
from orders.domain.content.facts import Facts, Learnt
from orders.domain.state.annotations import Annotations
from orders.domain.state.run import Ask, Run


class MarketKey(NamedTuple):
    """By what the terms of an order are found."""

    store_id: str
    channel: str
    account: str


class Progressed(OrderKeyed, PrivateEvent, type="orders.progressed"):
    """How far the processes are after a message: only those that it moved."""

    runs: tuple[Run, ...] = ()
    asks: tuple[Ask, ...] = ()
    learnt: Learnt | None = None
    source: Source | None = None


class Merged(OrderKeyed, PrivateEvent, type="orders.merged"):
    """Content was taken over from a newer snapshot that changes neither goods nor money, nor what `DetailsChanged` states."""

    source: Source
    order: OrderContent


class Stated(OrderKeyed, PrivateEvent, type="orders.stated"):
    """What the marketplace states now and the order did not take over; null: it states the order as it runs here."""

    source: Source
    order: OrderContent | None
    base: Annotated[Literal["", "stated", "kept"], UNLESS_EMPTY] = ""
    """What becomes of `Order.base`: null, what was stated before, or unchanged."""


class ProcessClosed(OrderKeyed, PrivateEvent, type="orders.process_closed"):
    """An ended process leaves the order's document: here it is whole. `operation_id` is the request that began it."""

    run: Run
    outcome: str = ""
    unstated_minor: int | None = None
    """The amount of a refund that the marketplace may still state, minor units."""


class RefundAdopted(OrderKeyed, PrivateEvent, type="orders.refund_adopted"):
    """The marketplace states a refund that was made here and that has left the order's document."""

    refund_id: UUID
    reference: str
    """The marketplace's id of the refund."""


class OpenException(Document):
    exception_id: UUID
    since: Timestamp
    detail: str = ""
    difference: tuple[Change, ...] = ()
    changes_more: int = 0
    why_not: str | None = None
    """Why it was not carried out, a code; null: it was not tried."""


class OnHold(Document):
    hold_id: UUID
    reason: str
    note: Annotated[str, Personal()] = ""
    placed_by: str
    since: Timestamp
    until: Timestamp | None = None
    operation_id: UUID | None = None
    """The request for it; null if a rule placed it."""


RELEASED_KEPT: Final = 20
"""Released holds whose ids are recorded: to release one of them again changes nothing."""


class Order(Document):
    schema_version: int = 1
    store_id: str = ""
    number: str = ""
    source: Source | None = None
    """Null: never received."""
    placed_here: bool = False
    """It was received by a request to place it, not by a snapshot."""
    content: OrderContent | None = None
    grand_minor: int | None = None
    """The price of all pieces of `content` that are not cancelled; null until every price is stated."""
    market: MarketTerms | None = None
    status: Annotated[Status | Literal["unreceived"], Open()] = "unreceived"
    """`unreceived` until the first event: never stored, never published."""
    payment_status: Annotated[PaymentStatus, Open()] = "unpaid"
    fulfillment_status: Annotated[FulfillmentStatus, Open()] = "unfulfilled"
    placed_at: Timestamp | None = None
    approved_at: Timestamp | None = None
    cancelled_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    cancel_cause: Annotated[CancelCause, Open()] | None = None
    facts: Facts = Facts()
    runs: Mapping[str, Run] = Field(default_factory=dict)
    """By id: those that are open, and the latest of those that have ended."""
    closed: Mapping[str, str] = {}
    """Kind and request id -> outcome of the edits and refunds that are in the journal only. A refund that an edit causes has the
    id of the edit."""
    unstated: Mapping[str, int] = {}
    """Request id -> minor units of those of these refunds that the marketplace may still state."""
    asks: Mapping[str, Ask] = Field(default_factory=dict)
    """operation id -> what is open, or is answered and has not moved its process yet."""
    exceptions: Mapping[str, OpenException] = Field(default_factory=dict)
    """By code: those that nothing has resolved yet."""
    waived: Mapping[str, str] = Field(default_factory=dict)
    """code -> detail of the exceptions that prevented the start and that a person resolved. Not raised again
    unless the detail changes."""
    stated: OrderContent | None = None
    """What the marketplace stated last, where the order did not take it over; a difference is raised once."""
    base: OrderContent | None = None
    """What the marketplace had stated before the differences that are undecided: what it has changed since is taken over if
    they are accepted. Null: the same as `content`."""
    carried: OrderContent | None = None
    """What the marketplace stated when the edit that takes it over began; null unless such an edit is open."""
    wanted: OrderContent | None = None
    """What an edit is making of the order, from its confirmation until it becomes true or is discarded."""
    line_rows: Mapping[str, int] = {}
    """line id -> the row of the history that states what the line is now; only of lines that an edit has changed."""
    rows_count: int = 0
    """Rows of the history of its lines."""
    remarks: Mapping[str, str] = Field(default_factory=dict)
    """code -> detail."""
    annotations: Annotations | None = None
    """Null: nothing was attached yet."""
    metadata: str | None = None
    """A JSON object; null: nothing was set yet."""

    holds: Mapping[str, OnHold] = {}
    """By id: those that nothing has released yet."""
    released: tuple[UUID, ...] = ()
    """Ids of the holds that were released last."""

    @property
    def held(self) -> bool:
        """Whether it may ask nothing new. A cancel that is tried goes its way."""
        return bool(self.holds) and self.undo is None

    @property
    def known(self) -> bool:
        return self.source is not None

    @property
    def undo(self) -> Run | None:
        """The undo that runs or has run; a refused one does not count."""
        run = self.runs.get("undo")
        return run if run is not None and run.end != "refused" else None

    @property
    def open_runs(self) -> list[Run]:
        return [run for run in self.runs.values() if not run.end]


WAIVABLE: Final = frozenset({"cancel_requested", "partly_shipped_elsewhere", "refund_made", "addresses_differ"})
"""Exceptions that keep an order from starting until a person decides that it starts all the same."""


def initial(key: UUID, store_id: str) -> Order:
    return Order(store_id=store_id)


def sold(content: OrderContent) -> dict[str, object]:
    """The fields of an order that hold what was sold."""
    return {"content": content, "grand_minor": grand_minor(content)}


def has_shipped(order: Order, facts: Facts | None = None) -> bool:
    """The point of no return, as far as orders has recorded it. Fulfillment may have recorded it earlier."""
    shipments = (facts or order.facts).shipments.values()
    return order.fulfillment_status == "fulfilled" or any(one.status in ("shipped", "delivered") for one in shipments)


def waits_by_terms(order: Order) -> list[Run]:
    """What waits and may go on by corrected terms of the market: for stock, which another location may have, and for an
    invoice, which another seller may issue."""
    if order.undo is not None:
        return []
    return [run for run in order.open_runs if run.waits == "stock" or (run.step, run.waits) == ("invoice", "person")]


def capture_option(order: Order) -> CaptureOption:
    """When money of this order is taken: the option of its market, up to the market's limit."""
    assert order.market is not None
    limit = order.market.capture_up_to_minor
    return "manual" if limit is not None and (order.grand_minor or 0) > limit else order.market.capture


def is_invoiced(order: Order) -> bool:
    """Whether the seller invoices what is captured: not if the marketplace is the supplier, unless the market's terms ask for it."""
    assert order.content is not None and order.market is not None
    return not order.content.tax_collection.deemed_supplier or order.market.invoice_deemed_supplier


def retryable(order: Order) -> list[Run]:
    """The processes that a person may retry; while a cancel is open, only the cancel."""
    undo = order.undo
    is_open = undo is not None and not undo.end
    return [run for run in order.open_runs if run.waits in ("person", "stock") and (not is_open or run is undo)]


def unanswered(order: Order) -> list[Run]:
    """The processes whose step has asked another service and has no answer."""
    return [run for run in order.open_runs if run.waits == "answer"]


def payment_status(order: Order, money: MoneyTotals) -> PaymentStatus:
    """From the sums alone, in the words of Commerce Layer."""
    total = order.grand_minor
    if total == 0:
        return "free"
    money = _counted(order, money)
    authorized, captured = money.authorized_minor, money.captured_minor
    if authorized == 0:
        return "unpaid"
    if captured == 0:
        left = authorized - money.voided_minor
        if money.voided_minor and (total is None or left < total):
            return "partially_voided" if left else "voided"
        return "authorized" if total is None or left >= total else "partially_authorized"
    if money.refunded_minor:
        return "refunded" if money.refunded_minor >= captured else "partially_refunded"
    return "paid" if captured >= authorized - money.voided_minor else "partially_paid"


def is_fully_paid(order: Order, money: MoneyTotals) -> bool:
    """Free, or everything that was authorized and not voided is captured. A partial refund changes nothing about it."""
    if order.grand_minor == 0:
        return True
    money = _counted(order, money)
    authorized, captured = money.authorized_minor, money.captured_minor
    return authorized > 0 and captured >= authorized - money.voided_minor and money.refunded_minor < captured


def _counted(order: Order, money: MoneyTotals) -> MoneyTotals:
    """Without the money of the attempt before a cancel, if the order was placed anew."""
    undone = order.facts.undone
    if undone is None:
        return money
    return MoneyTotals(**{name: amount - getattr(undone, name) for name, amount in money})
