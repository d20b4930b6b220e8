"""Decisions on snapshots, requests and the order's own timers; `answers` has those on answers of other services."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from contracts.deciding import Context, Decision, Refusal, Wake
from contracts.orders import (
    Approve,
    ApproveAndCapture,
    AskAgain,
    Cancel,
    CaptureOrder,
    ChangeEdit,
    ConfirmEdit,
    DiscardEdit,
    GiveUp,
    GiveUpRefund,
    Hold,
    MarketTerms,
    OpenEdit,
    Place,
    Received,
    Refund,
    Release,
    Resolve,
    Retry,
    RetryRefund,
)
from contracts.snapshot import OrderContent, Snapshot, Source
from orders.domain.content import methods, snapshots
from orders.domain.decisions import actions, exceptions
from orders.domain.engine.story import Story
from orders.domain.processes import changes, differences, edit, edited, holds, refunded, settling, undo, upstream
from orders.domain.processes import refund as refunding
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import MarketKey, Order, has_shipped, retryable, sold, unanswered, waits_by_terms
from orders.domain.state.run import Run

_READS_TERMS: Final = (Snapshot, Place, Retry, Resolve, Hold, Release, Wake)


def needs_market(order: Order, message: object) -> Iterable[MarketKey]:
    """The market's terms are read when the order is first seen, and again as long as it waits because of them."""
    if not isinstance(message, _READS_TERMS):
        return
    if order.source is not None:
        if order.status in ("pending", "cancelled") or isinstance(message, Hold) or waits_by_terms(order):
            yield MarketKey(order.store_id, order.source.channel, order.source.account)
    elif isinstance(message, Snapshot):
        yield MarketKey(order.store_id, message.source.channel, message.source.account)
    elif isinstance(message, Place):
        yield MarketKey(order.store_id, message.channel, message.account)


# -- snapshots and requests -------------------------------------------------------------------------------------------


def snapshot(order: Order, message: Snapshot, context: Context) -> Decision:
    source = snapshots.timed(message.source, context.now)
    if not order.known:
        terms = context.shares.get(MarketKey(order.store_id, source.channel, source.account))
        return _receive(order, source, _before_its_start(message.order, terms), context)
    assert order.source is not None and order.content is not None
    if not snapshots.is_newer(order.source, source):
        return []
    story = Story(order, context, PROCESSES)
    told = snapshots.merged(order.content, message.order, order.stated)
    _update(story, source, _before_its_start(told, story.terms) if order.status == "pending" else told)
    return story.decision()


def _before_its_start(told: OrderContent, terms: MarketTerms | None) -> OrderContent:
    """The content of an order that has not started: by the rule of its market, what the buyer asks to cancel is cancelled."""
    by_rule = terms is not None and terms.on_change == "apply"
    return snapshots.with_requested_cancelled(told) if by_rule and snapshots.requested(told) else told


def place(order: Order, message: Place, context: Context) -> Decision:
    """A new order. The same request again changes nothing, but for an order that has not started: its content is replaced,
    and it is judged anew."""
    digest = hashlib.sha256(message.order.model_dump_json().encode()).hexdigest()
    source = Source(
        channel=message.channel, account=message.account, updated_at=context.now, content_hash=f"sha256:{digest}"
    )
    if not order.known:
        return _receive(order, source, message.order, context, message.operation_id)
    assert order.content is not None
    is_same = methods.is_placed_as(message.order, order.content)
    if order.status == "pending" and order.undo is None:
        story = Story(order, context, PROCESSES)
        if not is_same:
            story.source = source
        if snapshots.wholly_cancelled(message.order):
            undo.begin(story, "customer", message.operation_id)
        else:
            exceptions.edit(story, order.content if is_same else message.order, message.operation_id)
        return story.decision()
    if is_same:
        return []
    return [Refusal("order_exists", f"order {message.order.external_order_id!r} exists with another content")]


def _receive(
    order: Order, source: Source, content: OrderContent, context: Context, answers: UUID | None = None
) -> Decision:
    story = Story(order, context, PROCESSES)
    terms: MarketTerms = context.shares.get(MarketKey(order.store_id, source.channel, source.account)) or MarketTerms(
        code="default"
    )
    content, market = methods.chosen(content, terms, placed_here=answers is not None)
    status, fulfillment, obstacle = snapshots.standing(content, market, order.waived)
    story.order = story.order.model_copy(update=sold(content))  # a free order is free at once
    story.state(
        Received, status=status, fulfillment=fulfillment, answers=answers, number=content.external_order_id,
        source=source, order=content, market=market, grand_minor=story.order.grand_minor,
    )  # fmt: skip
    _remark_a_clock_ahead(story, source)
    exceptions.start(story, obstacle)
    return story.decision()


def _remark_a_clock_ahead(story: Story, source: Source) -> None:
    if source.untimed:
        detail = f"updated_at {source.updated_at.isoformat()} is ahead of {story.context.now.isoformat()}: not compared"
        story.add_remark("updated_at_ahead", detail)


def _update(story: Story, source: Source, told: OrderContent) -> None:
    """What a newer snapshot means: nothing, an edit, a cancel, or exceptions that name what differs."""
    order = story.order
    assert order.content is not None
    story.source = source
    _remark_a_clock_ahead(story, source)
    if snapshots.wholly_cancelled(told):
        _cancelled_upstream(story, told)
    elif order.status == "cancelled" or order.undo is not None:
        _alive_after_a_cancel(story, told)
    elif order.status == "pending":
        exceptions.edit(story, told)
    else:
        story.resolve_exception("cancelled_too_late")
        upstream.book(story, told)
        order = story.order
        if told != order.content or order.stated is not None:
            changes.compare(story, told)


def _cancelled_upstream(story: Story, told: OrderContent) -> None:
    order = story.order
    assert order.content is not None
    was_cancelled, before = snapshots.wholly_cancelled(order.stated or order.content), differences.stated_before(order)
    story.record_stated(told if told != order.content else None)
    if order.status == "cancelled" or order.undo is not None:
        story.resolve_exception("order_reinstated")
    elif was_cancelled:
        upstream.book(story, told)
        differences.compare_refunds(story, told, before)
    elif has_shipped(order):
        upstream.book(story, told)
        differences.compare_late_cancel(story, told, before)
    else:
        undo.begin(story, "marketplace")


def _alive_after_a_cancel(story: Story, told: OrderContent) -> None:
    """A marketplace that has not received our cancel states what it stated before: no difference."""
    order = story.order
    assert order.content is not None
    changes = differences.reinstating(order.stated or order.content, told)
    if order.cancel_cause == "refunded":  # what has shipped may still arrive
        changes = tuple(raw for raw in changes if raw.rule != "lifecycle" or raw.before in snapshots.CANCELLED)
    if not changes:
        return
    story.record_stated(told)
    undo_run = order.undo
    cause = order.cancel_cause or (undo.data_of(undo_run).cause if undo_run is not None else None)
    if cause != "marketplace" and not differences.reinstating(order.content, told):
        story.resolve_exception("order_reinstated")  # it states again what it stated when we cancelled
    else:
        differences.raise_anew(story, "order_reinstated", changes)


def approve(order: Order, message: Approve, context: Context) -> Decision:
    if (answer := actions.check("approve", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    story.approving = message.operation_id
    story.pass_step(order.runs["place"])
    return story.decision()


def capture(order: Order, message: CaptureOrder, context: Context) -> Decision:
    if (answer := actions.check("capture", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    settling.begin_by_hand(story, message.lines, message.operation_id)
    return story.decision()


def approve_and_capture(order: Order, message: ApproveAndCapture, context: Context) -> Decision:
    if (answer := actions.check("approve_and_capture", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    if order.status != "approved":
        story.approving = message.operation_id
        story.pass_step(order.runs["place"])
    if actions.check("capture", story.order, context, CaptureOrder(**dict(message))) is None:
        settling.begin_by_hand(story, (), message.operation_id)
    return story.decision()


def cancel(order: Order, message: Cancel, context: Context) -> Decision:
    if (answer := actions.check("cancel", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    undo.begin(story, message.cause, message.operation_id)
    return story.decision()


def open_edit(order: Order, message: OpenEdit, context: Context) -> Decision:
    if (answer := actions.check("open_edit", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    edit.open_edit(
        story, message.operation_id, "request", actor=message.actor, changes=message.changes, reason=message.reason,
        answers=message.operation_id,
    )  # fmt: skip
    return story.decision()


def change_edit(order: Order, message: ChangeEdit, context: Context) -> Decision:
    if (answer := actions.check("change_edit", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    edit.change(story, _edit(order, message.edit_id), message.changes, message.operation_id)
    return story.decision()


def confirm_edit(order: Order, message: ConfirmEdit, context: Context) -> Decision:
    if (answer := actions.check("confirm_edit", order, context, message)) is not None:
        return [*answer]
    story, run = Story(order, context, PROCESSES), _edit(order, message.edit_id)
    edit.confirm(story, run, edited.preview(order, run).content, actor=message.actor, answers=message.operation_id)
    return story.decision()


def discard_edit(order: Order, message: DiscardEdit, context: Context) -> Decision:
    if (answer := actions.check("discard_edit", order, context, message)) is not None:
        return [*answer]
    story, run = Story(order, context, PROCESSES), _edit(order, message.edit_id)
    edit.discard(story, run, "discarded", message.reason, actor=message.actor, answers=message.operation_id)
    changes.proceed(story)
    return story.decision()


def _edit(order: Order, edit_id: UUID) -> Run:
    run = edited.find(order, edit_id)
    assert run is not None, "the guard has found it"
    return run


def retry(order: Order, message: Retry, context: Context) -> Decision:
    if (answer := actions.check("retry", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    if exceptions.obstacle(order) is not None:
        refusal = exceptions.check_again(story, message)
        return [refusal] if refusal else story.decision()
    if waits_by_terms(order):
        story.take_over_terms()
    for run in retryable(order):
        story.retry(run, message.operation_id)
    return story.decision()


def ask(order: Order, message: AskAgain, context: Context) -> Decision:
    """Leaves timers and counts of the processes as they are: only the time of no answer decides what follows from it."""
    if (answer := actions.check("ask", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    for run in unanswered(order):
        story.repeat(run)
    return story.decision()


def give_up(order: Order, message: GiveUp, context: Context) -> Decision:
    if (answer := actions.check("give_up", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    undo.begin(story, "gave_up", message.operation_id)
    return story.decision()


def refund(order: Order, message: Refund, context: Context) -> Decision:
    if (answer := actions.check("refund", order, context, message)) is not None:
        return [*answer]
    parts = refunded.planned(order, message)
    assert not isinstance(parts, Refusal), "the guard has planned it"
    story = Story(order, context, PROCESSES)
    refunding.begin(
        story, parts, message.operation_id, message.reason, actor=message.actor, note=message.note, restock=message.restock,
        answers=message.operation_id,
    )  # fmt: skip
    return story.decision()


def retry_refund(order: Order, message: RetryRefund, context: Context) -> Decision:
    if (answer := actions.check("retry_refund", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    run = refunded.find(order, message.refund_id)
    assert run is not None, "the guard has found it"
    story.retry(run, message.operation_id)
    return story.decision()


def give_up_refund(order: Order, message: GiveUpRefund, context: Context) -> Decision:
    if (answer := actions.check("give_up_refund", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    run = refunded.find(order, message.refund_id)
    assert run is not None, "the guard has found it"
    refunding.give_up(story, run, message)
    return story.decision()


def resolve(order: Order, message: Resolve, context: Context) -> Decision:
    """Ends an exception as a person decides. What the kinds are and what a resolution does: `exceptions.KINDS`."""
    if (answer := actions.check("resolve", order, context, message)) is not None:
        return [*answer]
    code = exceptions.open_code(order, message.exception_id)
    choice = exceptions.KINDS[code].choice(message.resolution) if code is not None else None
    assert code is not None and choice is not None, "the guard has found both"
    story = Story(order, context, PROCESSES)
    story.resolve_exception(code, message)
    refusal = choice.apply(story, message)
    return [refusal] if refusal else story.decision()


def hold(order: Order, message: Hold, context: Context) -> Decision:
    """By the present terms of the market: a reason of the store's own may be younger than the order."""
    story = Story(order, context, PROCESSES)
    known = order.model_copy(update={"market": story.terms}) if order.known else order
    if (answer := actions.check("hold", known, context, message)) is not None:
        return [*answer]
    holds.place(
        story, message.reason, context.actor, note=message.note, until=message.until, answers=message.operation_id
    )
    return story.decision()


def release(order: Order, message: Release, context: Context) -> Decision:
    if (answer := actions.check("release", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    holds.release(story, message.hold_id, context.actor, message.operation_id)
    if order.status == "pending":
        exceptions.start_if_ready(story)
    return story.decision()


# -- timers -----------------------------------------------------------------------------------------------------------


def wake(order: Order, message: Wake, context: Context) -> Decision:
    """Ask again what had no answer; try stock again; give up only if the market's terms have a patience."""
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    if order.status == "pending":
        holds.release_due(story)
        exceptions.start_if_ready(story)
        return story.decision()
    waiting = [run for run in waits_by_terms(order) if not story.is_paused(run)]
    if waiting and story.take_over_terms():
        for run in waiting:
            story.ask(run, PROCESSES.step_of(run))
        return story.decision()
    for run in order.open_runs:
        if run.due_at is None or run.due_at > context.now or story.runs.get(run.id) != run:
            continue
        if run.waits != "answer" and story.is_paused(run):
            continue
        step = PROCESSES.step_of(run)
        if step.ask is None:
            step.expired(story, run)
            continue
        if run.waits == "person":  # refused for a cause that may be corrected by now
            story.ask(run, step)
            continue
        patience_ends = story.patience_ends(run)
        if patience_ends is not None and context.now >= patience_ends:
            undo.begin(story, "gave_up")
        if run.waits == "stock":
            if not story.is_paused(run):
                story.ask(run, step)
        elif story.runs.get(run.id) == run and not run.end:
            story.ask_again(run)
    changes.proceed(story)
    return story.decision()
