"""How an order is undone: goals, in reverse. Each is good when nothing of it is left; one is asked for at a time.

The point of no return is shipping, and only fulfillment knows it: once `fulfillment.start` is asked, a cancel first asks
`fulfillment.cancel`. `too_late` refuses the cancel and the order goes on; money moves only after `cancelled`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts import fulfillment, invoicing, payments
from contracts.base import Command
from contracts.orders import CancelCause, Cancelled, CancelRefused
from orders.domain.order import CaptureFact, Run
from orders.domain.story import Process, Step, Story


@dataclass(frozen=True)
class Goal:
    """`left` says whether something of it is left to undo."""

    name: str
    """The step that asks for it; "outcomes" asks nobody."""
    left: Callable[[Story], bool]


def stop(story: Story, run: Run, operation: UUID) -> Command:
    return fulfillment.CancelShipments(**_to(story, operation))


def credit(story: Story, run: Run, operation: UUID) -> Command:
    invoice = _uncredited(story)[0].invoice_id
    assert invoice is not None
    return invoicing.Credit(**_to(story, operation), invoice_id=invoice, reason=run.cause or "")


def refund(story: Story, run: Run, operation: UUID) -> Command:
    assert story.order.content is not None
    capture = _unrefunded(story)[0]
    return payments.Refund(
        **_to(story, operation),
        capture_id=capture.capture_id,
        currency=story.order.content.currency,
        lines=capture.lines,
    )


def void(story: Story, run: Run, operation: UUID) -> Command:
    assert story.facts.authorization_id is not None
    return payments.Void(**_to(story, operation), authorization_id=story.facts.authorization_id)


def release(story: Story, run: Run, operation: UUID) -> Command:
    return fulfillment.Release(**_to(story, operation))


def _to(story: Story, operation: UUID) -> dict[str, Any]:
    return {
        "order_id": story.context.key,
        "store_id": story.order.store_id,
        "operation_id": operation,
        "actor": "orders",
    }


def too_late(story: Story, run: Run, event: fulfillment.TooLate) -> None:
    story.set(run, end="refused", waits="", operation_id=None, due_at=None)
    story.state(CancelRefused, answers=run.cancel_operation_id)
    if run.cause == "marketplace" and "order_reinstated" not in story.order.exceptions:
        story.raise_exception("cancelled_too_late", "the marketplace cancelled what has shipped")
    story.resolve_exception("order_reinstated")  # it was never cancelled
    story.go_on()


def refused(story: Story, run: Run, event: Any) -> None:
    """A final no to an undo: a person has to look, and resumes when the cause is mended."""
    story.hold(run, getattr(event, "code", "refused"), getattr(event, "reason", ""))


def stopped(story: Story, run: Run) -> None:
    if story.order.fulfillment_status == "in_progress":
        story.fulfillment_changed("unfulfilled")
    _cancelled(story, run)


# fmt: off
UNDO = Process("undo", (
    #    step        we ask         yes                                 no -> then
    Step("stop",    ask=stop,    yes=fulfillment.ShipmentsCancelled, no={fulfillment.TooLate: too_late}, then=stopped),
    Step("credit",  ask=credit,  yes=invoicing.Credited,             no={invoicing.Rejected: refused}),
    Step("refund",  ask=refund,  yes=payments.Refunded,              no={payments.Failed: refused}),
    Step("void",    ask=void,    yes=payments.Voided,                no={payments.Failed: refused}),
    Step("release", ask=release, yes=fulfillment.Released),
), onward=lambda story: proceed(story))
GOALS = (  # in this order; "outcomes" waits for what was under way when the order was cancelled
    Goal("stop",     lambda story: story.facts.start_asked and story.order.status != "cancelled"),
    Goal("outcomes", lambda story: bool(_open(story))),
    Goal("credit",   lambda story: bool(_uncredited(story))),
    Goal("refund",   lambda story: bool(_unrefunded(story))),
    Goal("void",     lambda story: _unvoided(story) > 0),
    Goal("release",  lambda story: story.facts.reserved),
)
# fmt: on


def begin(story: Story, cause: CancelCause, operation: UUID | None = None) -> None:
    """Accept a cancel. Until it can no longer be refused, the order's status stays.

    What was asked is asked on until its outcome is known; a start is answered by what becomes of the shipments.
    """
    for other in [one for one in story.runs.values() if not one.end and one.due_at is not None]:
        ask = story.asks.get(str(other.operation_id))
        if other.step == "fulfill":
            story.set(other, waits="warehouse", due_at=None)
        elif ask is None or ask.answer:
            story.set(other, due_at=None)
    run = Run(id="undo", kind="undo", since=story.context.now, cause=cause, cancel_operation_id=operation)
    story.runs["undo"] = run
    if not story.facts.start_asked:
        _cancelled(story, run)
    proceed(story)


def proceed(story: Story) -> None:
    """Ask for the first goal of which something is left; done when nothing is. Called after every message of an undo."""
    run = story.runs["undo"]
    if (
        run.end
        or run.waits == "person"
        or (run.operation_id is not None and not story.asks[str(run.operation_id)].answer)
    ):
        return
    for goal in GOALS:
        if goal.left(story):
            if goal.name == "outcomes":
                if run.step != "outcomes":
                    story.set(
                        run, step="outcomes", waits="outcomes", since=story.context.now, operation_id=None, due_at=None
                    )
                return
            if goal.name == run.step and goal.name in ("void", "release"):
                story.hold(run, "still_left", f"{goal.name} was answered, and yet something is left")
                return  # asking for ever would change nothing
            run = story.set(run, step=goal.name, since=story.context.now, detail="")
            story.ask(run, UNDO.step(goal.name))
            return
    story.set(run, end="done", step="", waits="", operation_id=None, due_at=None)
    for other in [one for one in story.runs.values() if not one.end]:
        story.set(other, end="undone", waits="", operation_id=None, due_at=None)
    for code in story.order.exceptions:
        if code != "order_reinstated":  # every other one is about an order of which nothing is left
            story.resolve_exception(code)


def _cancelled(story: Story, run: Run) -> None:
    if story.order.status != "cancelled":
        assert run.cause is not None
        story.state(
            Cancelled,
            status="cancelled",
            cause=run.cause,
            cancelled_at=story.context.now,
            answers=run.cancel_operation_id,
        )


def _open(story: Story) -> list[UUID]:
    """Operations of the stopped processes that are not answered; a start is answered by what became of the shipments."""
    return [
        ask.operation_id
        for ask in story.asks.values()
        if not ask.answer and ask.run != "undo" and ask.step != "fulfill"
    ]


def _uncredited(story: Story) -> list[CaptureFact]:
    return [capture for capture in story.facts.captures.values() if capture.invoice_id and not capture.credited]


def _unrefunded(story: Story) -> list[CaptureFact]:
    return [capture for capture in story.facts.captures.values() if capture.refunded_minor < capture.amount_minor]


def _unvoided(story: Story) -> int:
    money = story.facts.money
    return money.authorized_minor - money.captured_minor - money.voided_minor
