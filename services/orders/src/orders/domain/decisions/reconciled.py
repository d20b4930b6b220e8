"""A reconciliation of payments finds that the order's ledger and a gateway differ: a person sees it, and decides at payments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.deciding import Context, Decision
from contracts.differences import DifferencesChanged, OpenDifference
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order

BOOKS_DIFFER: Final = "books_differ"
SHOWN_MAX: Final = 3


def changed(order: Order, event: DifferencesChanged, context: Context) -> Decision:
    """One exception for all of them. It is raised anew if another one opens, and ends with the last one."""
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    detail = _detail(event.open)
    raised = order.exceptions.get(BOOKS_DIFFER)
    if raised is not None and raised.detail == detail:
        return []
    story.resolve_exception(BOOKS_DIFFER)
    if event.open:
        story.raise_exception(BOOKS_DIFFER, detail)
    return story.decision()


def _detail(open_ones: Sequence[OpenDifference]) -> str:
    shown = [
        f"{one.gateway} {one.kind} {one.amount_minor} {one.currency} minor units, proposal {one.proposal}"
        for one in open_ones[:SHOWN_MAX]
    ]
    more = len(open_ones) - len(shown)
    return "; ".join([*shown, *([f"{more} more"] if more else [])])
