"""Refunds that the marketplace made: each is booked once, by its id, and credited. No money is moved for it here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.base import SHIPPING_LINE
from contracts.deciding import Refusal
from contracts.snapshot import OrderContent, UpstreamRefund
from orders.domain import differences, refund
from orders.domain.refunds import Wanted
from orders.domain.snapshots import REFUNDED
from orders.domain.story import Story

NOT_MADE: Final = frozenset(
    {
        "pending",
        "requested",
        "processing",
        "failed",
        "declined",
        "rejected",
        "refused",
        "cancelled",
        "canceled",
        "voided",
    }
)
"""Values of `refunds[].state`: the money has not gone back, or not yet."""


def book(story: Story, told: OrderContent) -> None:
    """Books the refunds that `told` states and the order does not have, as far as they are within what was captured here.
    Those that are not stay a difference, which raises `refund_made`."""
    content = story.order.content
    assert content is not None
    if len(told.refunds) <= len(content.refunds) or story.order.undo is not None:
        return
    known = {one.external_refund_id for one in content.refunds}
    new: dict[str, list[UpstreamRefund]] = {}
    for one in told.refunds:
        if one.external_refund_id not in known:
            new.setdefault(one.external_refund_id, []).append(one)
    booked = {name for name, entries in new.items() if _book(story, name, entries)}
    if not booked:
        return
    entries = [one for one in told.refunds if one.external_refund_id in booked]
    ours = content.model_copy(update={"refunds": (*content.refunds, *entries)})
    if len(booked) == len(new) and told.payment_state in REFUNDED:  # what else states the same refunds
        ours = differences.refunded(ours, told).model_copy(update={"refunds": ours.refunds})
    story.take_over(ours)
    if "refund_made" not in differences.find(story.order, told):
        story.resolve_exception("refund_made")


def _book(story: Story, external_id: str, entries: Sequence[UpstreamRefund]) -> bool:
    """Books one refund, or finds it among those that were made here. Returns whether it is booked."""
    order, total = story.order, sum(one.amount_minor for one in entries)
    assert order.content is not None and order.market is not None
    if any((one.state or "").lower() in NOT_MADE for one in entries):
        return False
    if any(one.currency not in (None, order.content.currency) or one.amount_minor <= 0 for one in entries):
        return False
    if order.market.gateway == "marketplace" and refund.adopt(story, external_id, total):
        return True
    wanted, goodwill = [], 0
    for one in entries:
        shipping = min(max(one.shipping_minor or 0, 0), one.amount_minor)
        if shipping:
            wanted.append(Wanted(SHIPPING_LINE, amount_minor=shipping))
        if one.external_line_id is None:
            goodwill += one.amount_minor - shipping
        else:
            wanted.append(Wanted(one.external_line_id, one.quantity, one.amount_minor - shipping))
    parts = refund.plan(order, story.facts, story.runs, wanted, goodwill)
    if isinstance(parts, Refusal) and parts.more.get("of") == "quantity":
        amounts = [
            one._replace(quantity=None) for one in wanted
        ]  # the marketplace counts pieces otherwise: the money counts
        parts = refund.plan(order, story.facts, story.runs, amounts, goodwill)
    if isinstance(parts, Refusal):
        return False
    refund.begin(
        story, parts, story.context.new_id(f"refund {external_id}"), "marketplace", actor=story.context.actor,
        reference=external_id,
    )  # fmt: skip
    return True
