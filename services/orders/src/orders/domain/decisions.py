"""What an order does with snapshots, requests, and its own timers; what others answer it stands in `answers`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from contracts.deciding import Context, Effect, Refusal, Wake
from contracts.orders import Approve, Cancel, Edited, MarketTerms, Place, Received, Resume
from contracts.snapshot import OrderContent, Snapshot, Source
from orders.domain import snapshots, undo
from orders.domain.order import Merged, Order, Run, has_shipped, resumable
from orders.domain.place import PLACE
from orders.domain.processes import KINDS
from orders.domain.story import Story


class MarketKey(NamedTuple):
    store_id: str
    channel: str
    account: str


def needs_market(order: Order, message: object) -> Iterable[MarketKey]:
    """The market's terms are looked up once, when the order is first seen."""
    if not order.known and isinstance(message, Snapshot):
        yield MarketKey(order.store_id, message.source.channel, message.source.account)
    elif not order.known and isinstance(message, Place):
        yield MarketKey(order.store_id, message.channel, message.account)


# -- snapshots and requests -------------------------------------------------------------------------------------------


def snapshot(order: Order, message: Snapshot, context: Context) -> list[Effect]:
    if not order.known:
        return _receive(order, message.source, message.order, context)
    assert order.source is not None and order.content is not None
    if not snapshots.is_newer(order.source, message.source):
        return []
    return _update(order, message.source, snapshots.merged(order.content, message.order), context)


def place(order: Order, message: Place, context: Context) -> list[Effect]:
    if order.known:
        if order.content == message.order:
            return []
        return [Refusal("order_exists", f"order {message.order.external_order_id!r} exists with another content")]
    digest = hashlib.sha256(message.order.model_dump_json().encode()).hexdigest()
    source = Source(
        channel=message.channel, account=message.account, updated_at=context.now, content_hash=f"sha256:{digest}"
    )
    return _receive(order, source, message.order, context, message.operation_id)


def _receive(
    order: Order, source: Source, content: OrderContent, context: Context, answers: UUID | None = None
) -> list[Effect]:
    story = Story(order, context, KINDS)
    market: MarketTerms = context.shares.get(MarketKey(order.store_id, source.channel, source.account)) or MarketTerms(
        code="default"
    )
    status, fulfillment, obstacle = snapshots.standing(content, market)
    story.order = story.order.model_copy(update={"content": content})  # a free order is free at once
    story.state(
        Received, status=status, fulfillment=fulfillment, answers=answers, number=content.external_order_id,
        source=source, order=content, market=market,
    )  # fmt: skip
    _start(story, obstacle)
    return story.effects()


def _start(story: Story, obstacle: snapshots.Obstacle | None) -> None:
    """Start placing, or say why an order that is ready upstream does not start."""
    for code in snapshots.OBSTACLES:
        if obstacle is None or code != obstacle[0]:
            story.resolve_exception(code)
    if obstacle is not None:
        story.raise_exception(*obstacle)
    elif story.order.status == "placing":
        story.begin(Run(id="place", kind="place", since=story.context.now))


def _update(order: Order, source: Source, content: OrderContent, context: Context) -> list[Effect]:
    story = Story(order, context, KINDS)
    assert order.content is not None and order.market is not None
    story.source = source
    if order.status == "cancelled" or content == order.content:
        return _told_again(story, content)
    if snapshots.wholly_cancelled(content):
        if order.undo is None:
            _cancel(story, "marketplace")
        return story.effects()
    if order.status == "pending":
        return _edit(story, content)
    if asked := snapshots.newly_requested(order.content, content):
        story.raise_exception("cancel_requested", f"the buyer asks to cancel line {', '.join(asked)[:300]}")
    if snapshots.substance(content) != snapshots.substance(order.content):
        told = "the marketplace changed the order after it was placed; nothing was applied"
        story.raise_exception("snapshot_changed", told)
    return _told_again(story, content)


def _edit(story: Story, content: OrderContent) -> list[Effect]:
    """Nothing has begun: what the marketplace says now is the order."""
    assert story.order.market is not None and story.source is not None
    status, fulfillment, obstacle = snapshots.standing(content, story.order.market)
    if status == "placing" and "partly_shipped_elsewhere" in story.order.exceptions:
        status, obstacle = "pending", ("partly_shipped_elsewhere", "")  # what is left to ship, only a person knows
    story.order = story.order.model_copy(update={"content": content})
    story.state(Edited, status=status, fulfillment=fulfillment, source=story.source, order=content)
    story.source = None
    _start(story, obstacle)
    return story.effects()


def _told_again(story: Story, content: OrderContent) -> list[Effect]:
    """Of an order that goes its way only personal fields are taken over, if nothing else was changed with them."""
    order = story.order
    assert order.content is not None and story.source is not None
    personal = order.content.model_copy(
        update={"buyer": content.buyer, "ship_to": content.ship_to, "bill_to": content.bill_to}
    )
    if personal != order.content and snapshots.substance(content) == snapshots.substance(order.content):
        merged = Merged(order_id=story.context.key, store_id=order.store_id, source=story.source, order=personal)
        story.source = None
        return [*story.effects(), merged]
    return story.effects()


def approve(order: Order, message: Approve, context: Context) -> list[Effect]:
    if not order.known:
        return [_unknown(context)]
    if order.approved_at is not None and order.status != "cancelled":
        return []
    run = order.runs.get("place")
    if run is None or run.waits != "approval" or order.undo is not None:
        return [Refusal("not_waiting_for_approval", f"the order is {order.status}; only a placed order is approved")]
    story = Story(order, context, KINDS)
    story.approving = message.operation_id
    PLACE.step("approve").then(story, run)
    story.advance("place")
    return story.effects()


def cancel(order: Order, message: Cancel, context: Context) -> list[Effect]:
    if not order.known:
        return [_unknown(context)]
    if order.status == "cancelled" or order.undo is not None:
        return []
    story = Story(order, context, KINDS)
    refusal = _cancel(story, message.cause, message)
    return [refusal] if refusal else story.effects()


def _cancel(story: Story, cause: Any, message: Cancel | None = None) -> Refusal | None:
    """Begin the undo, unless something has shipped."""
    order = story.order
    if has_shipped(order):
        if message is None:
            story.raise_exception("cancelled_too_late", "the marketplace cancelled what has shipped")
        return Refusal("too_late", "something has shipped; a return is the way back")
    undo.begin(story, cause, message.operation_id if message else None)
    return None


def resume(order: Order, message: Resume, context: Context) -> list[Effect]:
    if not order.known:
        return [_unknown(context)]
    story = Story(order, context, KINDS)
    if not (held := resumable(order)):
        return [Refusal("nothing_to_resume", "no step of the order waits for a person")]
    for run in held:
        story.resume(run, message.operation_id)
    return story.effects()


def _unknown(context: Context) -> Refusal:
    return Refusal("order_unknown", f"no order {context.key} in this store")


# -- timers -----------------------------------------------------------------------------------------------------------


def wake(order: Order, message: Wake, context: Context) -> list[Effect]:
    """Ask again what had no answer; try stock again; give up only where the market says so."""
    if not order.known:
        return []
    story = Story(order, context, KINDS)
    for run in order.open_runs:
        if run.due_at is None or run.due_at > context.now or story.runs[run.id] != run:
            continue
        patience_ends = story.patience_ends(run)
        if patience_ends is not None and context.now >= patience_ends:
            undo.begin(story, "gave_up")
        if run.waits == "stock":
            if not story.halted:
                story.ask(run, KINDS[run.kind].step(run.step))
        elif story.runs[run.id] == run and not run.end:
            story.ask_again(run)
    return story.effects()
