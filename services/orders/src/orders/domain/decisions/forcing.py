"""A person states the outcome of an operation that its owner does not give.

Payments owns the operations that can be forced: their outcome is a gateway's, who may be silent for ever. It decides, and
answers with the ordinary event of the operation, so that the process that waits goes on as always. An operation that was
refused and waits for a person may be stated to have succeeded.

No other operation is forced. Fulfillment and invoicing answer for themselves and are asked again with the same operation
until they do; an outcome that orders alone believes would make stock and documents differ from it. What a warehouse did is
stated by fulfillment's own routes.
"""

from __future__ import annotations

from uuid import UUID

from contracts import payments
from contracts.deciding import Context, Decision
from contracts.orders import Change, Force, Forced, ForceRefused
from orders.domain.decisions import actions
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order

CONTRADICTED = "outcome_contradicted"


def force(order: Order, message: Force, context: Context) -> Decision:
    if (answer := actions.check("force", order, context, message)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    target = message.target_operation_id
    story.state(
        Forced, answers=message.operation_id, target_operation_id=target, outcome=message.outcome,
        reference=message.reference, actor=message.actor, reason=message.reason,
    )  # fmt: skip
    if story.asks[str(target)].answer:
        _open_again(story, target)
    story.send(
        payments.Force(
            **story.addressed(message.operation_id) | {"actor": message.actor},
            target_operation_id=target,
            outcome=message.outcome,
            reference=message.reference,
            reason=message.reason,
        )
    )
    return story.decision()


def _open_again(story: Story, target: UUID) -> None:
    """A refused operation waits for its answer once more. It is not asked again: the refusal would be repeated."""
    ask = story.asks[str(target)]
    story.asks[str(target)] = ask.model_copy(update={"answer": "", "code": ""})
    story.set(
        story.runs[ask.run],
        operation_id=target,
        waits="answer",
        since=story.context.now,
        asks=1,
        interim=True,
        due_at=None,
    )


def refused(order: Order, event: payments.ForceRefused, context: Context) -> Decision:
    """Nothing is booked: an operation whose refusal was to be overruled waits for a person again."""
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    target = event.refers_to
    story.state(
        ForceRefused, answers=event.operation_id, target_operation_id=target, code=event.code, detail=event.reason,
        gateway=event.gateway, since=event.since, tries=event.tries, allowed_minor=event.allowed_minor,
    )  # fmt: skip
    ask = story.asks.get(str(target))
    if ask is not None and not ask.answer and (run := story.runs[ask.run]).operation_id == target and run.detail:
        no = next(iter(PROCESSES.step_of(run).no))
        story.asks[str(target)] = ask.model_copy(update={"answer": no.TYPE, "code": run.detail})
        story.step_failed(run, run.detail, event.reason)
    return story.decision()


def contradicted(order: Order, event: payments.Contradicted, context: Context) -> Decision:
    """The gateway reports another outcome than the recorded one: a person compares both sides. Every one stays listed."""
    if not order.known:
        return []
    story = Story(order, context, PROCESSES)
    known = order.exceptions.get(CONTRADICTED)
    change = Change(
        path=f"operations[{event.target_operation_id}].outcome",
        change="changed",
        before=event.recorded_outcome,
        after=event.reported_outcome,
    )
    moved = event.amount_minor if event.reported_minor is None else event.reported_minor
    detail = (
        f"{event.command} of {event.amount_minor} {event.currency} minor units is recorded as {event.recorded_outcome};"
        f" {event.gateway} reports {event.reported_outcome} of {moved} ({event.gateway_reference})"
    )
    story.resolve_exception(CONTRADICTED)
    story.raise_exception(CONTRADICTED, detail, (*(known.difference if known is not None else ()), change))
    return story.decision()
