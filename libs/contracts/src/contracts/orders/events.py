"""What happened to an order. Every event states its three statuses after it."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import Counter, Flag, Frozen, Id, IfStated, MinorUnsigned, Open, Personal, Text, Timestamp
from contracts.money import Currency
from contracts.orders.edits import EditedLines
from contracts.orders.event import OrderEvent
from contracts.orders.market import MarketTerms
from contracts.orders.words import CancelCause, Resolution
from contracts.payments import MoneyTotals
from contracts.snapshot import OrderContent, Source

Scalar = Flag | Annotated[int, Field(strict=True, ge=-(2**53 - 1), le=2**53 - 1)] | Text
CHANGES_MAX = 50


class Change(Frozen):
    """One field of an order that a newer snapshot states differently. Values of personal fields are left out."""

    path: Text
    """Dotted, e.g. `lines[10002].quantity.ordered`; a line or a refund is named by its external id."""
    change: Annotated[Literal["added", "removed", "changed"], Open()]
    before: Scalar | None = None
    after: Scalar | None = None


class Received(OrderEvent, type="orders.received"):
    number: Id
    source: Source
    order: OrderContent
    market: MarketTerms
    grand_minor: MinorUnsigned | None = None
    """The price of what is not cancelled of it; null until every price is stated."""


class Edited(OrderEvent, type="orders.edited"):
    """What is sold, or on which terms, has changed, and `order` is what is sold from now on.

    Before the order is placed by a newer snapshot, a corrected request or corrected terms of its market; after it by an
    edit, of which this is the point of no return, or by a market that names another seller for the invoices still to come.
    """

    source: Source
    order: OrderContent
    market: MarketTerms | None = None
    """The terms that apply from now on; null if they did not change."""
    grand_minor: MinorUnsigned | None = None
    """The price of what is not cancelled of it; null until every price is stated."""
    edit_id: IfStated[UUID] = None
    """The edit that became true; not stated: no edit."""
    lines: EditedLines = ()
    """The rows that the edit adds to the history of the order's lines."""


class DetailsChanged(OrderEvent, type="orders.details_changed"):
    """A newer snapshot changes the buyer, an address or a number of the order, and neither goods nor money."""

    source: Source
    order: OrderContent


class Reinstated(OrderEvent, type="orders.reinstated"):
    """A cancelled order is placed anew, as the marketplace now states it. What the cancel undid stays undone."""

    source: Source
    order: OrderContent
    grand_minor: MinorUnsigned | None = None
    """The price of what is not cancelled of it; null until every price is stated."""


class Placed(OrderEvent, type="orders.placed"):
    """Stock is reserved where needed and the money is authorized, or the order is free."""

    placed_at: Timestamp


class Approved(OrderEvent, type="orders.approved"):
    approved_at: Timestamp
    actor: Text


class Cancelled(OrderEvent, type="orders.cancelled"):
    """The cancel can no longer be refused; what was done is being undone."""

    cause: Annotated[CancelCause, Open()]
    cancelled_at: Timestamp


class CancelRefused(OrderEvent, type="orders.cancel_refused"):
    """Something has shipped: the order goes on."""

    code: Annotated[Literal["order_shipped"], Open()] = "order_shipped"


class PaymentChanged(OrderEvent, type="orders.payment_changed"):
    currency: Currency
    totals: MoneyTotals


class FulfillmentChanged(OrderEvent, type="orders.fulfillment_changed"):
    shipments_open: Counter = 0
    shipments_shipped: Counter = 0


class StepFailed(OrderEvent, type="orders.step_failed"):
    """A step was refused and waits for a person: retry or cancel."""

    process: Text
    step: Text
    code: Text
    reason: Text = ""


class Retried(OrderEvent, type="orders.retried"):
    """A step that waited for a person goes on: a person has retried it (`operation_id`), or less is left of it than was refused."""

    process: Text
    step: Text


class WaitingChanged(OrderEvent, type="orders.waiting_changed"):
    """What a process waits for has changed to or from something that no other event states."""

    process: Text
    step: Text
    waiting: Annotated[Literal["stock", "no_answer"], Open()] | None = None
    """Stock, or an answer that was asked for in vain for long; null: neither any more."""
    since: Timestamp
    """When the step began."""


class ExceptionRaised(OrderEvent, type="orders.exception_raised"):
    """A condition that a person decides about."""

    exception_id: UUID
    code: Text
    detail: Text = ""
    since: Timestamp
    difference: Annotated[tuple[Change, ...], Field(max_length=CHANGES_MAX)] = ()
    """What the marketplace states differently from the order as it runs here."""
    changes_more: Counter = 0
    """Changes beyond those listed in `difference`."""
    why_not: IfStated[Text] = None
    """Why the difference was not taken over, a code: of `EDIT_CODES`, or `out_of_stock`, `payment_declined`,
    `total_differs`, `edit_open`, `order_not_placed`, `order_completed`, `undo_running`. Null: it was not tried."""


class ExceptionResolved(OrderEvent, type="orders.exception_resolved"):
    exception_id: UUID
    code: Text
    resolution: Annotated[Resolution, Open()] | None = None
    """Null: its cause is gone, no person decided."""
    actor: Text = ""
    reason: Annotated[Text, Personal()] = ""


class Remarked(OrderEvent, type="orders.remarked"):
    """A condition of the order that needs no decision. Each code once per order."""

    code: Text
    detail: Text = ""


class Completed(OrderEvent, type="orders.completed"):
    """Approved, paid or free, fulfilled or nothing to ship, and invoiced where something was captured."""

    completed_at: Timestamp
    grand_minor: MinorUnsigned
    """What was charged: the total of the order without what was cancelled of it."""
    currency: Currency
