"""A buyer disputes a payment: a person sees it, answers at the gateway, and decides about the goods. No process is changed by it."""

from __future__ import annotations

from contracts import payments
from contracts.deciding import Context, Decision
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order

DISPUTED = "payment_disputed"


def opened(order: Order, event: payments.DisputeOpened, context: Context) -> Decision:
    """Raised once; with the amount and the time of the last statement."""
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    until = f", evidence until {event.due_at.isoformat()}" if event.due_at else ""
    _raise(
        story,
        event,
        f"the buyer disputes {event.amount_minor} {event.currency} minor units ({event.reason or 'no reason'}){until}",
    )
    return story.decision()


def closed(order: Order, event: payments.DisputeClosed, context: Context) -> Decision:
    """What is won needs no decision any more; what is lost stays listed until a person has seen it."""
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    if event.outcome == "won":
        story.resolve_exception(DISPUTED)
    else:
        _raise(
            story, event, f"the dispute of {event.amount_minor} {event.currency} minor units is lost: the money is gone"
        )
    return story.decision()


def _raise(story: Story, event: payments.DisputeOpened | payments.DisputeClosed, detail: str) -> None:
    story.resolve_exception(DISPUTED)
    story.raise_exception(DISPUTED, f"{event.gateway} {event.reference}: {detail}")
