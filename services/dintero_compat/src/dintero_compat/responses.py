"""Response models: the fields that are always there, and those that a client is likely to read. What else a draft had is shown, too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dintero_compat.domain.showing import PaymentStatus, Status


class Shown(BaseModel):
    model_config = ConfigDict(extra="allow")


class TaxLineShown(Shown):
    amount: int
    percentage: float


class ItemShown(Shown):
    id: str
    line_id: int
    quantity: int = 1
    gross_amount: int
    description: str = ""
    tax_lines: list[TaxLineShown] = []


class PaidItem(Shown):
    line_id: int | None
    """Null: the order no longer has the line."""
    amount: int


class OperationShown(Shown):
    """An authorization, a capture, a refund or a cancellation."""

    id: str | None
    """Null for a repetition that is no longer among the latest operations."""
    created_at: str
    amount: int
    items: list[PaidItem]
    success: bool
    payment_details: dict[str, Any]
    """As the client has stated them; of an operation of another client the `payment_id`."""
    authorization_id: str | None = None
    created_by: str | None = None
    processed_at: str | None = None
    processed_by: str | None = None
    metadata: Any = None


class Authorizations(BaseModel):
    authorizations: list[OperationShown]


class Captures(BaseModel):
    captures: list[OperationShown]


class Refunds(BaseModel):
    refunds: list[OperationShown]


class Cancellations(BaseModel):
    cancellations: list[OperationShown]


class CommentShown(Shown):
    id: str
    comment: str
    created_by: str
    created_at: str | None = None


class EventShown(Shown):
    """A request that changed the order has `request`, an event of a service `state`, `service` and `service_status`."""

    id: str
    created_at: str
    created_by: str | None
    version: int | None = None
    request: dict[str, Any] | None = None
    draft_id: str | None = None
    state: str | None = None
    service: str | None = None
    service_status: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class EventsShown(BaseModel):
    events: list[EventShown]
    state: Literal["failure", "pending", "success"]


class OrderShown(Shown):
    """Amounts are minor units of `currency`."""

    id: str
    order_id: str
    version: int
    status: Status
    payment_status: PaymentStatus
    currency: str
    gross_amount: int
    net_amount: int
    created_at: str
    updated_at: str
    items: list[ItemShown]
    authorizations: list[OperationShown]
    captures: list[OperationShown]
    refunds: list[OperationShown]
    cancellations: list[OperationShown]
    comments: list[CommentShown]
    events: list[EventShown] | None = None
    """With `include_events`."""
    state: str | None = None
    """The combined state of the events, with `include_events`."""


class Completed(BaseModel):
    orders: list[OrderShown]


class EvaluatedKey(BaseModel):
    """Where the next page begins: `starting_after_id` and `starting_after_date`."""

    id: str
    created_at: str


class Orders(Completed):
    last_evaluated_key: EvaluatedKey | None = None
    """Left out on the last page."""


class DraftOrderShown(Shown):
    order_id: str | None = None
    currency: str
    items: list[ItemShown]
    gross_amount: int
    net_amount: int


class DraftShown(BaseModel):
    id: str
    status: Literal["open", "completed", "deleted"]
    version: int
    created_at: str
    created_by: str
    updated_at: str
    options: dict[str, Any]
    order: DraftOrderShown


class Drafts(BaseModel):
    draft_orders: list[DraftShown]
    last_evaluated_key: EvaluatedKey | None = None


class DraftDeleted(BaseModel):
    id: str
    status: Literal["deleted"]


class Token(BaseModel):
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    """Seconds."""
