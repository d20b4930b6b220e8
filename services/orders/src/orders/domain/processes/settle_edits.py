"""What an edit means for settles: what is no longer to be paid goes back, or is not captured."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from contracts.payments import MoneyLine
from orders.domain.content.amounts import payable
from orders.domain.content.facts import CaptureFact
from orders.domain.engine.story import Story
from orders.domain.processes.settle import lines_to_invoice
from orders.domain.processes.settled import (
    add,
    amounts_of,
    captured,
    captures_of,
    data_of,
    is_captured,
    is_to_be_renewed,
    money_line,
    of_order,
    share_of,
)
from orders.domain.state.run import Run


def before_edit(story: Story) -> None:
    """What is captured and not invoiced will be invoiced as it was sold."""
    for run in of_order(story):
        if not run.end and is_captured(run, story.facts) and not data_of(run).to_invoice:
            story.set_data(run, to_invoice=lines_to_invoice(story, run))


def after_edit(story: Story, returned: Iterable[MoneyLine]) -> list[tuple[UUID, tuple[MoneyLine, ...]]]:
    """Takes off the settles what is no longer to be paid. Returns what goes back of each capture, the newest first."""
    back = {line.line_id: line for line in returned}
    parts = [
        (capture.capture_id, lines)
        for capture in reversed(captures_of(story.runs, story.facts))
        if back and (lines := _give_back(story, capture, back))
    ]
    assert story.order.content is not None
    kept = captured(story.runs, story.facts)
    left = {
        line.line_id: line.amount_minor - kept.get(line.line_id, (0, 0))[1] for line in payable(story.order.content)
    }
    open_ones = [run for run in of_order(story) if not run.end and not is_captured(run, story.facts)]
    for run in sorted(open_ones, key=lambda one: is_to_be_renewed(one, story.facts)):  # what is held is taken first
        _trim(story, run, left)
    return parts


def _give_back(story: Story, capture: CaptureFact, back: dict[str, MoneyLine]) -> tuple[MoneyLine, ...]:
    """What of `back` this capture has, which is taken from it. What a refund has given back before does not go back twice."""
    sold, returned, refund = capture.sold, {**capture.returned}, list[MoneyLine]()
    for line in capture.lines:
        pieces, amount = sold[line.line_id]
        if (wanted := back.get(line.line_id)) is None or amount <= 0:
            continue
        now = money_line(line.line_id, min(wanted.quantity, max(pieces, 0)), min(wanted.amount_minor, amount))
        add(returned, amounts_of([now]))
        rest = money_line(line.line_id, wanted.quantity - now.quantity, wanted.amount_minor - now.amount_minor)
        back.pop(line.line_id)
        if rest.amount_minor:
            back[line.line_id] = rest
        left = line.to_refund
        if left.amount_minor:
            amount = min(now.amount_minor, left.amount_minor)
            refund.append(money_line(line.line_id, min(now.quantity, left.quantity), amount))
    if returned != capture.returned:
        capture = capture.model_copy(update={"returned": returned})
        story.note(captures={**story.facts.captures, str(capture.capture_id): capture})
    return tuple(refund)


def _trim(story: Story, run: Run, left: dict[str, int]) -> None:
    """A settle that has captured nothing takes at most what is left of each line; it ends if that is nothing."""
    lines = []
    for line in data_of(run).lines:
        if line.line_id not in left:
            continue  # nothing of it is sold any more
        amount = min(line.amount_minor, max(left[line.line_id], 0))
        left[line.line_id] -= amount
        if amount == line.amount_minor:
            lines.append(line)
        elif amount:
            lines.append(money_line(line.line_id, share_of(line.quantity, amount, line.amount_minor), amount))
    if tuple(lines) != data_of(run).lines:
        run = story.set_data(run, lines=tuple(lines))
        if not lines:
            story.set(run, end="undone", waits="", operation_id=None, due_at=None, detail="")
