"""Why something cannot be attached to an order."""

from __future__ import annotations

from contracts.base import Command
from contracts.limits import TAGS_MAX
from contracts.orders import (
    Archive,
    ChangeTags,
    SetMetadata,
    SetReference,
    Unarchive,
)
from orders.domain.state.annotations import NONE, metadata_after, tags_after
from orders.domain.state.order import Order


def archive(order: Order, request: Archive | None) -> str | None:
    return "order_archived" if (order.annotations or NONE).archived_at is not None else None


def unarchive(order: Order, request: Unarchive | None) -> str | None:
    return "order_not_archived" if (order.annotations or NONE).archived_at is None else None


def change_tags(order: Order, request: ChangeTags | None) -> str | None:
    if request is None:
        return None
    before = (order.annotations or NONE).tags
    after = tags_after(before, request.add, request.remove)
    return "tags_unchanged" if after == before else "tags_exceeded" if len(after) > TAGS_MAX else None


def set_metadata(order: Order, request: SetMetadata | None) -> str | None:
    if request is None:
        return None
    try:
        after = metadata_after(order.metadata, request.metadata, request.mode)
    except ValueError:
        return "metadata_exceeded"
    return "metadata_unchanged" if after == (order.metadata or "{}") else None


def set_reference(order: Order, request: SetReference | None) -> str | None:
    unchanged = request is not None and request.reference == (order.annotations or NONE).reference
    return "reference_unchanged" if unchanged else None


def always(order: Order, request: Command | None) -> str | None:
    return None
