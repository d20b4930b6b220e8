"""A payment whose issuer releases the amount soon. With a token the capture authorizes anew; else a person has a day to act."""

from __future__ import annotations

from contracts import payments
from contracts.deciding import Context, Decision
from orders.domain.content.facts import AuthorizationFact
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order

EXPIRING = "authorization_expiring"
DETAIL_MAX = 500
"""Characters of an exception's detail."""


def expiring(order: Order, event: payments.ExpiryAnnounced, context: Context) -> Decision:
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    name = str(event.authorization_id)
    fact = story.facts.authorizations.get(name)
    is_renewed_by_itself = order.content is not None and order.content.payment_token is not None
    if is_renewed_by_itself or fact is None or not fact.left_minor or fact.held_until == event.held_until:
        return []
    fact = fact.model_copy(update={"held_until": event.held_until, "held_by": event.gateway})
    story.note(authorizations={**story.facts.authorizations, name: fact})
    story.resolve_exception(EXPIRING)
    story.raise_exception(EXPIRING, _detail(story, event.currency))
    return story.decision()


def drawn(story: Story, currency: str) -> None:
    """After a capture or a void: shows what is still held of what was announced, or that nothing is."""
    if (known := story.order.exceptions.get(EXPIRING)) is None:
        return
    detail = _detail(story, currency)
    if detail != known.detail:
        story.resolve_exception(EXPIRING)
        if detail:
            story.raise_exception(EXPIRING, detail)


def _detail(story: Story, currency: str) -> str:
    """Returns who holds how much until when; empty: nothing of what was announced is left."""
    return "; ".join(
        f"{one.held_by} holds {one.left_minor} {currency} minor units until {one.held_until.isoformat()}"
        for one in _held(story)
        if one.held_until is not None
    )[:DETAIL_MAX]


def _held(story: Story) -> list[AuthorizationFact]:
    return [one for one in story.facts.authorizations.values() if one.held_until is not None and one.left_minor]
