"""Money that a gateway goes on holding for nothing: it refuses a void that no process waits for.

Payments asks for one by itself when a buyer has paid after the time for it was over, `rebill` when a difference is authorized anew.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from contracts import payments
from orders.domain.content.facts import AuthorizationFact
from orders.domain.engine.story import Story

REFUSED: Final = "void_refused"


def refused(story: Story, event: payments.Failed) -> None:
    """A void that a process has asked for is that process' own."""
    name = str(event.refers_to)
    fact = story.facts.authorizations.get(name)
    if str(event.operation_id) in story.asks or fact is None or not fact.left_minor:
        return
    fact = fact.model_copy(update={"void_refused": True})
    story.note(authorizations={**story.facts.authorizations, name: fact})
    _state(story, f"{event.code}: {event.reason}")


def again(story: Story, answers: UUID) -> None:
    """No process waits for the answers: the exception does, open again until nothing is held."""
    for fact in _held(story):
        void_id = story.context.new_id(f"void {fact.authorization_id} {answers}")
        story.send(payments.Void(**story.addressed(void_id), authorization_id=fact.authorization_id))
    _state(story, "the void is asked for, and is not done yet")


def drawn(story: Story) -> None:
    """After a capture or a void."""
    if not _held(story):
        story.resolve_exception(REFUSED)


def _held(story: Story) -> list[AuthorizationFact]:
    return [one for one in story.facts.authorizations.values() if one.void_refused and one.left_minor]


def _state(story: Story, why: str) -> None:
    if held := sum(one.left_minor for one in _held(story)):
        story.resolve_exception(REFUSED)
        story.raise_exception(REFUSED, f"{held} minor units are held, {why}")
