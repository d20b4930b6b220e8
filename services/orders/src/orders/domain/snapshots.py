"""What a newer snapshot means for an order that is known: nothing, an edit, a cancel, or an exception for a person."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from contracts.base import Personal
from contracts.orders import FulfillmentStatus, MarketTerms, Status
from contracts.snapshot import Address, OrderContent, Source
from orders.domain.amounts import payable, ships, ships_anything

B = TypeVar("B", bound=BaseModel)

CARRIED = frozenset({"shipped", "delivered", "closed"})
"""The marketplace carried the order through without us: it is recorded, and no process begins."""
CANCELLED = frozenset({"cancelled", "refused"})


def is_newer(known: Source, told: Source) -> bool:
    """Older, or the same time with the same content: stale. The same time with another content: the later one counts,
    by the marketplace's sequence where it counts, else as they came."""
    if told.updated_at != known.updated_at:
        return told.updated_at > known.updated_at
    if told.sequence < known.sequence:
        return False
    return told.content_hash != known.content_hash


def merged(known: OrderContent, told: OrderContent) -> OrderContent:
    """The told content; personal fields and whole addresses that it leaves empty keep what was filled (marketplaces wipe
    them later)."""
    change: dict[str, object] = {"buyer": _filled(known.buyer, told.buyer)}
    for name in ("ship_to", "bill_to"):
        old: Address | None = getattr(known, name)
        new: Address | None = getattr(told, name)
        change[name] = old if new is None else new if old is None else _filled(old, new)
    return told.model_copy(update=change)


def _filled(old: B, new: B) -> B:
    empty = {
        name: kept
        for name, field in type(new).model_fields.items()
        if (isinstance(new, Address) or _is_personal(field.metadata, field.annotation))
        and not getattr(new, name)
        and (kept := getattr(old, name))
    }
    return new.model_copy(update=empty) if empty else new


def _is_personal(metadata: list[object], annotation: object) -> bool:
    nested = [one for part in getattr(annotation, "__args__", ()) for one in getattr(part, "__metadata__", ())]
    return any(isinstance(one, Personal) for one in [*metadata, *nested])


Obstacle = tuple[str, str]
"""code and detail of the exception that says why an order does not start."""
OBSTACLES = ("partly_shipped_elsewhere", "currency_differs", "not_priced", "sku_missing", "nothing_sold")


def standing(content: OrderContent, market: MarketTerms) -> tuple[Status, FulfillmentStatus, Obstacle | None]:
    """How an order stands that no process carries yet: `placing` if it may start, else what it is or waits for."""
    fulfillment: FulfillmentStatus = "unfulfilled" if ships_anything(content) else "not_required"
    if wholly_cancelled(content):
        return "cancelled", fulfillment, None
    if content.lifecycle in CARRIED:
        return "approved", "fulfilled" if fulfillment == "unfulfilled" else fulfillment, None
    obstacle = _obstacle(content, market)
    starts = content.lifecycle == "ready_to_fulfil" and obstacle is None
    return "placing" if starts else "pending", fulfillment, obstacle


def _obstacle(content: OrderContent, market: MarketTerms) -> Obstacle | None:
    """Nothing hangs unseen: why an order that is ready upstream does not start."""
    if content.lifecycle == "partially_shipped":
        return "partly_shipped_elsewhere", "first seen when something had shipped already"
    if content.lifecycle != "ready_to_fulfil":
        return None
    if market.currency not in (None, content.currency):
        told = f"the market {market.code} sells in {market.currency}, the order is in {content.currency}"
        return "currency_differs", told
    if not content.priced:
        return "not_priced", "the marketplace has not told every price yet; a later snapshot will"
    if not all(line.sku for line in content.lines if ships(content, line)):
        return "sku_missing", "a line that ships has no sku; a snapshot that names it lets the order go on"
    if not payable(content) and content.totals.grand_minor:
        return "nothing_sold", "there is something to pay and no line that it is paid for"
    return None


def substance(content: OrderContent) -> tuple[object, ...]:
    """What a person must hear of when it changes after placement: goods, money, and where they go."""
    return (
        content.currency, content.price_basis, content.fulfilled_by, content.totals,
        tuple(
            (line.external_line_id, line.sku, line.quantity.ordered, line.quantity.cancelled, line.line_total_minor,
             line.discount_minor, line.tax, line.requires_shipping)
            for line in content.lines
        ),
        _where(content.ship_to),
    )  # fmt: skip


def _where(address: Address | None) -> Address | None:
    return address if address is not None and any(address.model_dump().values()) else None


def wholly_cancelled(content: OrderContent) -> bool:
    return content.lifecycle in CANCELLED or (
        bool(content.lines)
        and all(
            line.cancellation.executed or (line.quantity.ordered > 0 and line.pieces == 0) for line in content.lines
        )
    )


def newly_requested(known: OrderContent, told: OrderContent) -> list[str]:
    """Lines whose cancel was asked for since; a request is not a cancellation."""
    before = {line.external_line_id for line in known.lines if line.cancellation.requested}
    return [
        line.external_line_id
        for line in told.lines
        if line.cancellation.requested and not line.cancellation.executed and line.external_line_id not in before
    ]
