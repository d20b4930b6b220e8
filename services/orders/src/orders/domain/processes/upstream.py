"""Refunds that the marketplace made: each is booked once, by its id, and credited. No money is moved for it here.

Lines that the marketplace has cancelled are what it refunds first: a refund that names no line is of them, a refund that was
booked here for them is the same one, and money of them that was never captured here is not refunded but voided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.base import SHIPPING_LINE
from contracts.deciding import Refusal
from contracts.payments import MoneyLine
from contracts.snapshot import OrderContent, UpstreamRefund
from orders.domain.content import previews
from orders.domain.content.refunds import Wanted
from orders.domain.content.snapshots import REFUNDED
from orders.domain.engine.story import Story
from orders.domain.processes import differences, edited, refund, refund_elsewhere, refunded, settled
from orders.domain.state.order import Order

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


def book(story: Story, told: OrderContent, *, accepted: bool = False) -> None:
    """Books the refunds that `told` states and the order does not have, as far as they are within what was captured here.
    Those that are not stay a difference, which raises `refund_made`. accepted: a person decides that each is one of its own."""
    content = story.order.content
    assert content is not None
    if len(told.refunds) <= len(content.refunds) or story.order.undo is not None:
        return
    new = _new(content, told)
    cancelled = _cancelled(story, told)
    booked = {
        name
        for name, entries in new.items()
        if _adopt(story, name, entries)
        or ((accepted or not _may_be_awaited(story, entries)) and _book(story, name, entries, cancelled))
    }
    if booked:
        story.take_over(_with_refunds(content, told, booked, whole=len(booked) == len(new)))
        if "refund_made" not in differences.find(story.order, told):
            story.resolve_exception("refund_made")


def with_refunds_of_cancelled(order: Order, after: OrderContent, told: OrderContent) -> OrderContent:
    """The content with the stated refunds, if money that was not captured here covers them: it is voided.

    after: what is sold once the cancel that they belong to is taken over.
    """
    assert order.content is not None
    new = _new(order.content, told)
    entries = [one for parts in new.values() for one in parts]
    if not entries or not all(_is_made(order.content, one) for one in entries):
        return after
    authorizations = [*order.facts.authorizations.values()]
    change = previews.difference(order.content, after)
    void = previews.money(change, settled.captured(order.runs, order.facts), authorizations).void
    lines = {line.line_id for _, part in void for line in part}
    named = {one.external_line_id for one in entries if one.external_line_id is not None}
    covered = named <= lines and sum(one.amount_minor for one in entries) <= sum(
        previews.total(part) for _, part in void
    )
    return _with_refunds(after, told, set(new), whole=True) if covered else after


def _new(content: OrderContent, told: OrderContent) -> dict[str, list[UpstreamRefund]]:
    """By id: the entries of the refunds that the order does not have."""
    known = {one.external_refund_id for one in content.refunds}
    new: dict[str, list[UpstreamRefund]] = {}
    for one in told.refunds:
        if one.external_refund_id not in known:
            new.setdefault(one.external_refund_id, []).append(one)
    return new


def _with_refunds(content: OrderContent, told: OrderContent, names: set[str], *, whole: bool) -> OrderContent:
    """whole: these are all that are new, so what else states refunds is of them, too."""
    entries = [one for one in told.refunds if one.external_refund_id in names]
    ours = content.model_copy(update={"refunds": (*content.refunds, *entries)})
    if whole and told.payment_state in REFUNDED:
        ours = differences.refunded(ours, told).model_copy(update={"refunds": ours.refunds})
    return ours


def _cancelled(story: Story, told: OrderContent) -> dict[str, MoneyLine]:
    """line id -> pieces and amount that the marketplace has cancelled, as far as they were captured and have not gone back."""
    base = differences.base_of(story.order)
    gone = edited.going_back(story.runs.values())
    if base.priced and told.priced and base.currency == told.currency:
        for one in previews.difference(base, told).lines:
            pieces, minor = one.pieces_before - one.pieces_after, one.amount_before - one.amount_after
            if pieces > 0 and minor > 0:
                gone[one.line_id] = MoneyLine(line_id=one.line_id, quantity=pieces, amount_minor=minor)
    left, cancelled = refunded.left_by_line(story) if gone else {}, {}
    for line_id, line in gone.items():
        rest = left.get(line_id)
        if rest is not None and rest.amount_minor:
            pieces, minor = min(line.quantity, rest.quantity), min(line.amount_minor, rest.amount_minor)
            cancelled[line_id] = MoneyLine(line_id=line_id, quantity=pieces, amount_minor=minor)
    return cancelled


def _is_made(content: OrderContent, entry: UpstreamRefund) -> bool:
    if (entry.state or "").lower() in NOT_MADE:
        return False
    return entry.currency in (None, content.currency) and entry.amount_minor > 0


def _adopt(story: Story, external_id: str, entries: Sequence[UpstreamRefund]) -> bool:
    """Finds a refund among those that were made here by a marketplace that takes the money."""
    order = story.order
    assert order.content is not None and order.market is not None
    if order.market.gateway != "marketplace" or not all(_is_made(order.content, one) for one in entries):
        return False
    return refund_elsewhere.adopt(story, external_id, sum(one.amount_minor for one in entries), _by_line(entries))


def _may_be_awaited(story: Story, entries: Sequence[UpstreamRefund]) -> bool:
    """Whether it may be the refund of a cancel that was booked here with another amount."""
    return refund_elsewhere.is_awaited(story.runs, _by_line(entries))


def _book(story: Story, external_id: str, entries: Sequence[UpstreamRefund], cancelled: dict[str, MoneyLine]) -> bool:
    """Books one refund. Returns whether it is booked.

    cancelled: what refunds without a line are of; what this one takes is taken off.
    """
    order = story.order
    assert order.content is not None
    if not all(_is_made(order.content, one) for one in entries):
        return False
    wanted, goodwill = [], 0
    for one in entries:
        shipping = min(max(one.shipping_minor or 0, 0), one.amount_minor)
        if shipping:
            wanted.append(Wanted(SHIPPING_LINE, amount_minor=shipping))
        if one.external_line_id is None:
            goodwill += one.amount_minor - shipping
        else:
            wanted.append(Wanted(one.external_line_id, one.quantity, one.amount_minor - shipping))
    of_cancelled, goodwill = _of_cancelled(goodwill, cancelled)
    wanted += of_cancelled
    parts = refunded.plan(order, story.facts, story.runs, wanted, goodwill)
    if isinstance(parts, Refusal) and parts.more.get("of") == "quantity":
        # the marketplace counts pieces otherwise: the money counts
        amounts = [one._replace(quantity=None) for one in wanted]
        parts = refunded.plan(order, story.facts, story.runs, amounts, goodwill)
    if isinstance(parts, Refusal):
        return False
    refund.begin(
        story, parts, story.context.new_id(f"refund {external_id}"), "marketplace", actor=story.context.actor,
        reference=external_id,
    )  # fmt: skip
    for taken in wanted:
        cancelled.pop(taken.line_id, None)
    return True


def _by_line(entries: Sequence[UpstreamRefund]) -> dict[str, int]:
    """line id -> minor units; empty if an entry names no line, or has a part of the shipping charge."""
    if any(one.external_line_id is None or one.shipping_minor for one in entries):
        return {}
    by_line: dict[str, int] = {}
    for one in entries:
        assert one.external_line_id is not None
        by_line[one.external_line_id] = by_line.get(one.external_line_id, 0) + one.amount_minor
    return by_line


def _of_cancelled(amount_minor: int, cancelled: dict[str, MoneyLine]) -> tuple[list[Wanted], int]:
    """An amount without a line as amounts of cancelled lines; and what is left of it."""
    wanted = []
    for line in cancelled.values():
        now = min(amount_minor, line.amount_minor)
        if now:
            wanted.append(Wanted(line.line_id, line.quantity if now == line.amount_minor else None, now))
            amount_minor -= now
    return wanted, amount_minor
