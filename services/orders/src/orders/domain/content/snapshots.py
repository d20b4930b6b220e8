"""What a newer snapshot means for an existing order: nothing, an edit, a cancel, or an exception for a person."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from contracts.orders import SURCHARGE_LINE, FulfillmentStatus, MarketTerms, Status
from contracts.payments import TOKEN_REFUSED
from contracts.personal import is_personal
from contracts.snapshot import SHIPPABLE, Address, Buyer, Line, OrderContent, Source
from orders.domain.content import methods
from orders.domain.content.amounts import addresses, amounts, grand_minor, is_ours, ships, ships_anything

CARRIED = frozenset({"shipped", "delivered", "closed"})
"""The marketplace carried the order through without us: it is recorded, and no process begins."""
CANCELLED = frozenset({"cancelled", "refused"})
HERE: Final = "order"
"""`cancellation.executed_by` of a line that was cancelled here."""
REFUNDED: Final = frozenset({"refunded", "partially_refunded"})
"""Values of `payment_state`."""


WIPED: Final = (
    "buyer_note", "delivery_note", "seller_note", "tax_registrations", "attributes", "payment_method", "payment_token",
)  # fmt: skip
LINE_WIPED: Final = ("gift", "attributes")
"""Personal fields that marketplaces wipe after some weeks, besides buyer and addresses; and how the order is paid, which need not
be stated again."""
AHEAD_MAX: Final = timedelta(minutes=10)
"""A marketplace's clock may differ from the database's by as much."""


def timed(told: Source, now: datetime) -> Source:
    """The source with its `updated_at` refused as an instant if that is too far ahead of `now`, the database's clock."""
    return told.model_copy(update={"untimed": True}) if told.updated_at - now > AHEAD_MAX else told


def is_newer(known: Source, told: Source) -> bool:
    """Older, or the same time with the same content: stale. At the same time, or where one of them has no comparable time,
    the marketplace's sequence decides, then arrival."""
    if told.updated_at != known.updated_at and not (known.untimed or told.untimed):
        return told.updated_at > known.updated_at
    if told.sequence < known.sequence:
        return False
    return told.content_hash != known.content_hash


def merged(known: OrderContent, told: OrderContent, stated: OrderContent | None = None) -> OrderContent:
    """The content `told`, with the personal data that it lacks: marketplaces wipe them after some weeks. They are taken from
    what was `stated` last, which a person may not have accepted yet, else from what is `known`. A line that was cancelled
    here at the buyer's request stays cancelled until the request is withdrawn."""
    last = stated or known
    change: dict[str, object] = {
        "buyer": _buyer(last.buyer, told.buyer),
        "ship_to": _address(last.ship_to, told.ship_to),
        "bill_to": _address(last.bill_to, told.bill_to),
        "tax_address": _address(last.tax_address, told.tax_address),
        **{name: getattr(told, name) or getattr(last, name) for name in WIPED},
    }
    before = {line.external_line_id: line for line in last.lines}
    wiped = told.ship_to is None or not any(value for _, value in told.ship_to)
    lines = tuple(_line(before.get(line.external_line_id), line, wiped) for line in told.lines)
    ours = {line.external_line_id: line.cancellation for line in known.lines if line.cancellation.executed_by == HERE}
    if ours:
        lines = tuple(
            line.model_copy(update={"cancellation": ours[line.external_line_id], "cancelled_minor": None})
            if line.external_line_id in ours and line.cancellation.requested and not line.cancellation.executed
            else line
            for line in lines
        )
    return told.model_copy(update={**change, "lines": lines})


def _address(old: Address | None, new: Address | None) -> Address | None:
    """The new address whole, or the old one whole if the new one states nothing that the old one does not."""
    if old is None or new is None:
        return old or new
    states_nothing_new = all(not value or value == getattr(old, name) for name, value in new)
    return old if states_nothing_new else new


def _line(old: Line | None, new: Line, addresses_wiped: bool) -> Line:
    """The line with the personal fields of the old one that the new one leaves empty."""
    if old is None:
        return new
    last: dict[str, object] = {
        name: before for name in LINE_WIPED if not getattr(new, name) and (before := getattr(old, name))
    }
    if addresses_wiped and new.ship_to is None and old.ship_to is not None:
        last["ship_to"] = old.ship_to
    return new.model_copy(update=last) if last else new


def _buyer(old: Buyer, new: Buyer) -> Buyer:
    """Personal fields that the new one leaves empty stay, unless it is about another person."""
    for name in ("external_id", "name"):
        before, after = getattr(old, name), getattr(new, name)
        if before and after and before != after:
            return new
    kept = {
        name: before
        for name, field in Buyer.model_fields.items()
        if is_personal(field.metadata, field.annotation) and not getattr(new, name) and (before := getattr(old, name))
    }
    return new.model_copy(update=kept) if kept else new


Obstacle = tuple[str, str]
"""code and detail of the exception that gives the reason why an order does not start."""
OBSTACLES: Final = (
    "partly_shipped_elsewhere", "currency_differs", "not_priced", "sku_missing", "tax_missing", "payment_method_unknown",
    "payment_method_refused", "payment_token_refused", "cancel_requested", "refund_made", "addresses_differ",
)  # fmt: skip


class Standing(NamedTuple):
    status: Status
    fulfillment: FulfillmentStatus
    obstacle: Obstacle | None


def standing(content: OrderContent, market: MarketTerms, waived: Mapping[str, str]) -> Standing:
    """The status of an order without processes: `placing` if it may start, else what it is or waits for.

    market: the terms that the order has, as `methods.chosen` returns them.
    """
    fulfillment: FulfillmentStatus = "unfulfilled" if ships_anything(content) else "not_required"
    if wholly_cancelled(content):
        return Standing("cancelled", fulfillment, None)
    obstacle = next((one for one in _obstacles(content, market) if waived.get(one[0]) != one[1]), None)
    if content.lifecycle in CARRIED:
        return Standing("approved", "fulfilled" if fulfillment == "unfulfilled" else fulfillment, obstacle)
    if content.test:
        return Standing("pending", fulfillment, None)
    ready = content.lifecycle in ("ready_to_fulfill", "partially_shipped") and is_paid(content)
    return Standing("placing" if ready and obstacle is None else "pending", fulfillment, obstacle)


def is_paid(content: OrderContent) -> bool:
    """Whether the buyer's money is there as far as the marketplace states, or was before a refund, or none is needed."""
    return content.payment_secured or content.payment_state in REFUNDED or grand_minor(content) == 0


def _obstacles(content: OrderContent, market: MarketTerms) -> Iterator[Obstacle]:
    """Why an order that is ready upstream does not start."""
    if asked := requested(content):
        yield "cancel_requested", f"the buyer asks to cancel line {', '.join(asked)}"[:500]
    if partly_shipped(content):
        yield "partly_shipped_elsewhere", "first seen when something had shipped already"
    elif content.lifecycle not in ("ready_to_fulfill", "partially_shipped"):
        return
    if not is_paid(content):
        return  # that comes first
    if market.currency not in (None, content.currency):
        detail = f"the market {market.code} sells in {market.currency}, the order is in {content.currency}"
        yield "currency_differs", detail
    if not content.priced:
        yield "not_priced", "the marketplace has not stated every price yet; a later snapshot will"
        return
    if not all(line.sku for line in content.lines if ships(content, line)):
        yield "sku_missing", "a line that ships has no sku; a snapshot or a request that names it lets the order start"
    if untaxed := amounts(content).untaxed:
        yield "tax_missing", f"no tax rate or amount is stated of line {', '.join(untaxed)}"[:500]
    if (refused := methods.why_not(content, market)) is not None:
        yield refused
    if content.payment_token == TOKEN_REFUSED:
        yield "payment_token_refused", "a card number came in place of a token; it was not stored"
    if content.refunds or content.payment_state in REFUNDED or any(line.quantity.refunded for line in content.lines):
        yield "refund_made", "the marketplace has refunded money before the order started"
    if len(addresses(content)) > 1:
        apart = [line.external_line_id for line in content.lines if ships(content, line) and line.ship_to is not None]
        yield "addresses_differ", f"delivery addresses of their own have line {', '.join(apart)}"[:500]


def partly_shipped(content: OrderContent) -> bool:
    """Whether goods of ours have shipped. If the marketplace fulfills other lines, only a shipped piece of ours counts."""
    if content.lifecycle != "partially_shipped":
        return False
    ours = [line for line in content.lines if is_ours(content, line)]
    goods = sum(line.requires_shipping and line.kind in SHIPPABLE for line in content.lines)
    return len(ours) == goods or any(line.quantity.shipped for line in ours)


def wholly_cancelled(content: OrderContent) -> bool:
    """The surcharge of a payment method alone is no order."""
    left = any(line.pieces for line in content.lines if line.external_line_id != SURCHARGE_LINE)
    return content.lifecycle in CANCELLED or (bool(content.lines) and not left)


def requested(content: OrderContent) -> list[str]:
    """Lines whose cancellation is asked for and not executed."""
    return [
        line.external_line_id
        for line in content.lines
        if line.cancellation.requested and not line.cancellation.executed and line.pieces > 0
    ]


def with_requested_cancelled(content: OrderContent, of: Collection[str] | None = None) -> OrderContent:
    """The content with every requested cancellation executed, or with those of some lines."""
    asked, executed = frozenset(requested(content) if of is None else of), {"executed": True, "executed_by": HERE}
    lines = tuple(
        line.model_copy(update={"cancellation": line.cancellation.model_copy(update=executed), "cancelled_minor": None})
        if line.external_line_id in asked
        else line
        for line in content.lines
    )
    return content.model_copy(update={"lines": lines})
