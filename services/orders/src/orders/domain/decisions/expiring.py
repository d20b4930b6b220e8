"""A payment whose issuer releases the amount soon. With a token the capture authorizes anew; else a person has a day to act."""

from __future__ import annotations

from contracts import payments
from contracts.deciding import Context, Decision
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order

EXPIRING = "authorization_expiring"


def expiring(order: Order, event: payments.ExpiryAnnounced, context: Context) -> Decision:
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    fact = story.facts.authorizations.get(str(event.authorization_id))
    is_renewed_by_itself = order.content is not None and order.content.payment_token is not None
    if is_renewed_by_itself or (fact is not None and not fact.left_minor):
        return []
    amount = f"{event.amount_minor} {event.currency} minor units"
    story.raise_exception(EXPIRING, f"{event.gateway} holds {amount} until {event.held_until.isoformat()}")
    return story.decision()


def drawn(story: Story) -> None:
    """After a capture or a void: nothing is left that could expire."""
    if not any(one.left_minor for one in story.facts.authorizations.values()):
        story.resolve_exception(EXPIRING)
