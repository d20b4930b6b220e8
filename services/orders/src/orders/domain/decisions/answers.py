"""What an order does with what the other services state: it takes the fact over, and hands the answer to its process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from contracts import fulfillment, invoicing, payments
from contracts.base import Event
from contracts.deciding import Context, Decision, Unasked
from orders.domain.content.facts import AuthorizationFact, CaptureFact, ShipmentFact
from orders.domain.decisions import expiring
from orders.domain.engine.story import Story
from orders.domain.processes import (
    changes,
    differences,
    edit,
    place,
    rebill,
    refund,
    refund_elsewhere,
    repay,
    settling,
    undo,
)
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order, capture_option

PENDING_SECONDS: Final = 900
"""A gateway that answered `pending` is asked again after this time."""


def _hear(order: Order, event: Event, context: Context) -> Story | None:
    """The story of an answer; None if the order does not exist here (a restored database)."""
    return Story(order, context, PROCESSES) if order.known else None


def _close(story: Story, event: Event, code: str = "") -> Decision:
    """Hand the answer to its process; while an undo runs, see what is left to undo."""
    story.answered(event, code=code)
    return _closed(story, event)


def _closed(story: Story, event: Event) -> Decision:
    undo.proceed(story)
    refund.proceed(story)
    rebill.proceed(story)
    repay.proceed(story)
    edit.proceed(story)
    changes.proceed(story)
    return _counted(story, event)


def _counted(story: Story, event: Event) -> Decision:
    """What was decided; an answer that no operation waits for has to count again when it is asked for."""
    asked = str(event.operation_id) in story.asks
    return story.decision() if asked else story.decision(Unasked())


def _money(story: Story, event: payments.PaymentEvent | payments.Failed, **facts: Any) -> None:
    if event.version > story.facts.money_version:
        facts |= {"money": event.totals, "money_version": event.version}
    if facts:
        story.note(**facts)
        story.payment_changed()


def authorized(order: Order, event: payments.Authorized, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    known, name = story.facts.authorizations, str(event.authorization_id)
    if name in known:
        _money(story, event)
        return _close(story, event)
    fact = AuthorizationFact(
        authorization_id=event.authorization_id,
        authorized={line.line_id: line.amount_minor for line in event.lines},
    )
    captures = story.facts.captures
    if event.capture_id is not None:
        fact = fact.with_captured(event.lines)
        captures = {**captures, str(event.capture_id): CaptureFact.of(event.capture_id, event)}
    _money(story, event, authorizations={**known, name: fact}, captures=captures)
    place.follow(story, event)
    edit.follow(story, event)
    rebill.capture_charge(story, event)
    return _settle(story, event)


def pending(order: Order, event: payments.Pending, context: Context) -> Decision:
    """The gateway's clock starts: it is asked again, but its operation counts as answered."""
    if (story := _hear(order, event, context)) is None:
        return []
    ask = story.asks.get(str(event.operation_id))
    if ask is not None and not ask.answer and (run := story.runs[ask.run]).operation_id == ask.operation_id:
        story.set(run, asks=1, interim=True, due_at=story.due(run, PENDING_SECONDS))
    return story.decision()


def payment_refused(order: Order, event: payments.Declined | payments.Failed, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    _money(story, event)
    rebill.refused_to_pay(story, event)
    if isinstance(event, payments.Failed) and event.command == "refund":
        repay.find_late(story)
        refund_elsewhere.take_over_difference(story, event)
    if isinstance(event, payments.Failed) and event.command == "void":
        repay.void_refused(story, event)
    return _close(story, event, event.code if isinstance(event, payments.Failed) else place.decline_code(story, event))


def captured(order: Order, event: payments.Captured, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    captures, name = story.facts.captures, str(event.capture_id)
    if name in captures:
        _money(story, event)
        return _close(story, event)
    fact = CaptureFact.of(event.capture_id, event)
    authorizations, authorization = story.facts.authorizations, str(event.authorization_id)
    if (drawn := authorizations.get(authorization)) is not None:
        authorizations = {**authorizations, authorization: drawn.with_captured(event.lines)}
    _money(story, event, captures={**captures, name: fact}, authorizations=authorizations)
    expiring.drawn(story, event.currency)
    return _settle(story, event)


def _settle(story: Story, event: payments.Authorized | payments.Captured) -> Decision:
    """What no process has asked for was captured elsewhere: it is invoiced as if it had been."""
    story.answered(event)
    fact = story.facts.captures.get(str(event.capture_id))
    if fact is not None and (pays := rebill.take_over(story, fact)) is not None:
        if story.order.status != "cancelled":
            rebill.bill(story, pays)
        else:
            repay.find_late(story)
    elif story.order.status in ("placed", "approved", "editing") and not undo.is_running(story):
        settling.begin_captured(story)
    elif fact is not None:
        repay.find_late(story)
    else:
        repay.find_held(story, event.authorization_id)
    return _closed(story, event)


def voided(order: Order, event: payments.Voided, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    known = story.facts.authorizations
    fact = known.get(str(event.authorization_id))
    if fact is not None and event.version > story.facts.money_version:
        known = {**known, str(event.authorization_id): fact.with_voided(event.lines)}
    _money(story, event, authorizations=known)
    expiring.drawn(story, event.currency)
    return _close(story, event)


def refunded(order: Order, event: payments.Refunded, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    captures = story.facts.captures
    facts = {name: one for name, one in captures.items() if one.source_id == event.capture_id}
    is_news = bool(facts) and event.version > story.facts.money_version  # else it was counted before
    if is_news:
        captures = {**captures, **{name: one.refunded(event.lines) for name, one in facts.items()}}
    _money(story, event, captures=captures)
    if is_news and str(event.operation_id) not in story.asks:
        refund_elsewhere.follow(story, event)
    return _close(story, event)


def reversed_lines(order: Order, event: payments.Reversed, context: Context) -> Decision:
    """A capture pays other lines than the order sells: its refunds and its documents follow them."""
    if (story := _hear(order, event, context)) is None:
        return []
    is_news = str(event.capture_id) in story.facts.captures and event.version > story.facts.money_version
    _money(story, event)
    if is_news:  # else it was counted before
        story.add_remark("lines_reversed", f"capture {event.capture_id} pays other lines than the order has")
        rebill.begin(story, event)
    return _closed(story, event)


def reserved(order: Order, event: fulfillment.Reserved, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    story.note(reserved=bool(event.lines))
    return _close(story, event)


def out_of_stock(order: Order, event: fulfillment.OutOfStock, context: Context) -> Decision:
    return [] if (story := _hear(order, event, context)) is None else _close(story, event)


def released(order: Order, event: fulfillment.Released, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    story.note(reserved=False)
    return _close(story, event)


def started(order: Order, event: fulfillment.Started, context: Context) -> Decision:
    """The warehouse has the order: nothing is asked again until fulfilled or cancelled arrives."""
    if (story := _hear(order, event, context)) is None:
        return []
    known = story.facts.shipments
    planned = {
        str(plan.shipment_id): ShipmentFact(
            shipment_id=plan.shipment_id, location=plan.location, lines=_pieces(plan.lines)
        )
        for plan in event.shipments
        if str(plan.shipment_id) not in known
    }
    story.note(shipments={**known, **planned})
    story.accepted(event)
    if order.fulfillment_status == "unfulfilled":
        story.fulfillment_changed("in_progress")
    return _counted(story, event)


def _pieces(lines: Iterable[fulfillment.PlacedLine]) -> dict[str, int]:
    pieces: dict[str, int] = {}
    for line in lines:
        pieces[line.line_id] = pieces.get(line.line_id, 0) + line.quantity
    return pieces


def shipped(order: Order, event: fulfillment.Shipped, context: Context) -> Decision:
    known = order.facts.shipments.get(str(event.shipment_id))
    if (known and known.status != "picking") or (story := _hear(order, event, context)) is None:
        return []
    pieces = _pieces(event.lines)
    fact = ShipmentFact(shipment_id=event.shipment_id, location=event.location, status="shipped", lines=pieces)
    story.note(shipments={**story.facts.shipments, str(event.shipment_id): fact})
    if order.status == "cancelled":  # all its money had come back before the parcel left: it is not charged anew
        return story.decision()
    story.fulfillment_changed("in_progress")
    _shipped_here_too(story)
    if capture_option(order) == "per_shipment":
        settling.begin_shipment(story, pieces)
    return story.decision()


def delivered(order: Order, event: fulfillment.Delivered, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    fact = story.facts.shipments.get(str(event.shipment_id))
    if fact is not None:
        fact = fact.model_copy(update={"status": "delivered"})
        story.note(shipments={**story.facts.shipments, str(event.shipment_id): fact})
    return story.decision()


def fulfilled(order: Order, event: fulfillment.Fulfilled, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    story.answered(event)
    _shipped_here_too(story)
    undo.proceed(story)
    return story.decision()


def _shipped_here_too(story: Story) -> None:
    """A shipment that the marketplace reported before us is no difference any more."""
    if "shipment_reported" in story.order.exceptions:
        assert story.order.stated is not None
        order = story.order.model_copy(update={"facts": story.facts})
        if "shipment_reported" not in differences.find(order, story.order.stated):
            story.resolve_exception("shipment_reported")


def shipments_cancelled(order: Order, event: fulfillment.ShipmentsCancelled, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    gone = {
        name: shipment.model_copy(update={"status": "cancelled"}) for name, shipment in story.facts.shipments.items()
    }
    story.note(reserved=False, shipments=gone)
    return _close(story, event)


def suspended(order: Order, event: fulfillment.Suspended, context: Context) -> Decision:
    return [] if (story := _hear(order, event, context)) is None else _close(story, event)


def resumed(order: Order, event: fulfillment.Resumed, context: Context) -> Decision:
    return [] if (story := _hear(order, event, context)) is None else _close(story, event)


def extended(order: Order, event: fulfillment.Extended, context: Context) -> Decision:
    """More pieces are reserved, or have joined shipments."""
    if (story := _hear(order, event, context)) is None:
        return []
    if event.shipments:
        _replan(story, event.shipments)
    else:
        story.note(reserved=True)
    return _close(story, event)


def reduced(order: Order, event: fulfillment.Reduced, context: Context) -> Decision:
    """Pieces that had not shipped went back: a shipment has the pieces that are left, or is cancelled."""
    if (story := _hear(order, event, context)) is None:
        return []
    _replan(story, event.shipments)
    return _close(story, event)


def _replan(story: Story, plans: Iterable[fulfillment.ShipmentPlan]) -> None:
    """The pieces of shipments that have not shipped."""
    shipments = {**story.facts.shipments}
    for plan in plans:
        known = shipments.get(str(plan.shipment_id))
        if known is None or known.status == "picking":
            shipments[str(plan.shipment_id)] = ShipmentFact(
                shipment_id=plan.shipment_id, location=plan.location, lines=_pieces(plan.lines),
                status="picking" if plan.lines else "cancelled",
            )  # fmt: skip
    story.note(shipments=shipments)


def restocked(order: Order, event: fulfillment.Restocked, context: Context) -> Decision:
    return [] if (story := _hear(order, event, context)) is None else _close(story, event)


def too_late(order: Order, event: fulfillment.TooLate, context: Context) -> Decision:
    return [] if (story := _hear(order, event, context)) is None else _close(story, event)


def issued(order: Order, event: invoicing.Issued, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    fact = story.facts.captures.get(str(event.capture_id))
    if fact is not None:
        fact = fact.model_copy(update={"invoice_id": event.invoice_id, "invoice_number": event.number})
        story.note(captures={**story.facts.captures, str(event.capture_id): fact})
    return _close(story, event)


def credited(order: Order, event: invoicing.Credited, context: Context) -> Decision:
    if (story := _hear(order, event, context)) is None:
        return []
    captures = {
        name: fact.credited(event) if fact.invoice_id == event.invoice_id else fact
        for name, fact in story.facts.captures.items()
    }
    story.note(captures=captures)
    return _close(story, event)


def rejected(order: Order, event: invoicing.Failed, context: Context) -> Decision:
    return [] if (story := _hear(order, event, context)) is None else _close(story, event, event.code)
