"""Refunds that no process has asked for: made at the marketplace, or by payments after a reversal.

`follow` credits what went back elsewhere. `adopt` finds the refund of ours that the marketplace states under an id of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from contracts import payments
from contracts.payments import MoneyLine
from orders.domain.content.facts import CapturedLine
from orders.domain.content.refunds import Part
from orders.domain.engine.story import Story
from orders.domain.processes.refund import begin, cancel_if_all_is_back, open_with
from orders.domain.processes.refunded import CapturePart, RefundData, data_of, of_order, still_left, unstated
from orders.domain.state.order import RefundAdopted
from orders.domain.state.run import Run


def follow(story: Story, event: payments.Refunded) -> None:
    """Money went back that no process asked for: it is credited as if it had been. What payments has refunded of a reversal is
    on no invoice."""
    if story.order.status == "cancelled":
        return  # an undo credits what has gone back
    if event.payment is None:
        if any(fact.refund_id == event.operation_id for fact in story.facts.captures.values()):
            cancel_if_all_is_back(story)
        return
    parts = []
    for fact in story.facts.captures.values():
        captured = {line.line_id: line for line in fact.lines} if fact.source_id == event.capture_id else {}
        lines = [_at_most_captured(line, captured[line.line_id]) for line in event.lines if line.line_id in captured]
        if lines:
            parts.append(CapturePart(capture_id=fact.capture_id, lines=tuple(lines), refund_id=event.refund_id))
    data = RefundData(
        refund_id=story.context.new_id("refund elsewhere"), cause="marketplace", actor=event.payment.system,
        requested_at=story.context.now, parts=tuple(parts), reference=event.payment.payment_id, recorded=True,
    )  # fmt: skip
    open_with(story, data)


def take_over_difference(story: Story, event: payments.Failed) -> None:
    """What payments could not refund of a reversal, a refund of the order asks for: it waits for a person if it is refused, too."""
    for fact in story.facts.captures.values():
        refund_id = fact.refund_id
        if refund_id is not None and refund_id == event.operation_id and story.order.status != "cancelled":
            lines = tuple(line.to_refund for line in fact.lines if line.unbilled and not line.undescribed)
            if parts := still_left(story, [Part(fact.capture_id, lines)]):
                begin(story, parts, refund_id, "reversal", actor=story.context.actor)


def _at_most_captured(gone: MoneyLine, captured: CapturedLine) -> MoneyLine:
    """What went back of a line, whose fact includes it: at most the pieces that were captured and had not gone back."""
    left = captured.quantity - (captured.gone_quantity - gone.quantity)
    return gone.model_copy(update={"quantity": max(min(gone.quantity, left), 0)})


def adopt(story: Story, reference: str, amount_minor: int, by_line: Mapping[str, int]) -> bool:
    """Finds the refund that the marketplace states under `reference` among those that were made here: one of which exactly
    this is not stated yet, or these lines are not. Returns whether there is one.

    by_line: line id -> minor units, if every part of the stated refund names its line; else empty.
    """
    for refund_id, minor in story.order.unstated.items():
        if minor == amount_minor:
            story.record(
                RefundAdopted(
                    order_id=story.context.key,
                    store_id=story.order.store_id,
                    operation_id=UUID(refund_id),
                    refund_id=UUID(refund_id),
                    reference=reference,
                )
            )
            return True
    for run in of_order(story.runs):
        left = unstated(data_of(run))
        if amount_minor == sum(left.values()):
            story.set_data(run, reference=reference)
            return True
        if by_line and all(left.get(line_id) == amount for line_id, amount in by_line.items()):
            story.set_data(run, stated={**data_of(run).stated, **by_line})
            return True
    return False


def is_awaited(runs: Mapping[str, Run], lines: Collection[str]) -> bool:
    """Whether the marketplace has still to state a refund that it makes for its own cancel: of one of these lines, or of
    any line if none is given."""
    for run in of_order(runs):
        left = unstated(data_of(run)) if data_of(run).recorded else {}
        if left and (not lines or not left.keys().isdisjoint(lines)):
            return True
    return False
