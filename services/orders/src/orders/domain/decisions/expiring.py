"""A payment whose issuer releases the amount soon. With a token the capture authorizes anew; else a person has a day to act."""

from __future__ import annotations

from contracts import payments
from contracts.deciding import Context, Decision
from orders.domain.content.facts import AuthorizationFact
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order

EXPIRING = "authorization_expiring"


def expiring(order: Order, event: payments.ExpiryAnnounced, context: Context) -> Decision:
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    name = str(event.authorization_id)
    fact = story.facts.authorizations.get(name)
    is_renewed_by_itself = order.content is not None and order.content.payment_token is not None
    if is_renewed_by_itself or fact is None or not fact.left_minor or fact.held_until == event.held_until:
        return []
    fact = fact.model_copy(update={"held_until": event.held_until})
    story.note(authorizations={**story.facts.authorizations, name: fact})
    held = "; ".join(
        f"{one.left_minor} {event.currency} minor units until {one.held_until.isoformat()}"
        for one in _held(story)
        if one.held_until is not None
    )
    story.resolve_exception(EXPIRING)
    story.raise_exception(EXPIRING, f"{event.gateway} holds {held}")
    return story.decision()


def drawn(story: Story) -> None:
    """After a capture or a void: nothing is left of what was announced. Other authorizations may still hold money."""
    if not _held(story):
        story.resolve_exception(EXPIRING)


def _held(story: Story) -> list[AuthorizationFact]:
    return [one for one in story.facts.authorizations.values() if one.held_until is not None and one.left_minor]
