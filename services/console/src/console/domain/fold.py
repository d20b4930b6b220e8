"""What an event makes of the row of its order. An event counts only if it is newer than its service's version in the row, so
that repeated deliveries change nothing; each service has columns of its own, so that the order between services changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from console.domain import words
from console.domain.row import Memory, OrderRow
from console.domain.waits import undone, waits
from contracts import fulfillment, invoicing, orders, payments
from contracts.base import Event
from contracts.orders.event import OrderEvent
from contracts.snapshot import OrderContent


class Stated(NamedTuple):
    """An event about an order."""

    order_id: UUID
    store_id: str
    service: str
    version: int
    at: datetime
    """When it happened, UTC."""
    body: Event | Mapping[str, Any]
    """Fields alone: of a type of a newer release."""


def fold(row: OrderRow, event: Stated) -> OrderRow:
    """Returns the row after an event."""
    if event.version <= row.versions.get(event.service, 0):
        return row
    changed_at = event.at if row.changed_at is None else max(row.changed_at, event.at)
    row = row._replace(versions={**row.versions, event.service: event.version}, changed_at=changed_at)
    if isinstance(event.body, Event):
        if isinstance(event.body, OrderEvent):
            return _of_orders(row, event.body, event.at)
        if (change := CHANGES.get(type(event.body))) is not None:
            row = change(row, event.body)
        for kind, general in GENERAL:
            if isinstance(event.body, kind):
                row = general(row, event.body)
    return row


def _of_orders(row: OrderRow, event: OrderEvent, at: datetime) -> OrderRow:
    row = row._replace(
        status=str(event.status), payment_status=str(event.payment_status),
        fulfillment_status=str(event.fulfillment_status),
    )  # fmt: skip
    if (change := CHANGES.get(type(event))) is not None:
        row = change(row, event)
    if isinstance(event, orders.Received):
        row = row._replace(received_at=at)
    if row.memory.failed and row.status == "cancelled" and undone(row):  # its money came back without the refused step
        row = _remember(row, failed=())
    waiting, step = waits(row)
    if (waiting, step) == (row.waiting, row.step):
        return row
    if isinstance(event, orders.WaitingChanged) and event.waiting:
        at = event.since
    return row._replace(waiting=waiting, step=step, since=at if waiting else None)


# -- orders -----------------------------------------------------------------------------------------------------------


def _received(row: OrderRow, event: orders.Received) -> OrderRow:
    market = event.market
    row = sold(row, event.order, event.grand_minor)
    memory = row.memory._replace(capture=market.capture, capture_up_to_minor=market.capture_up_to_minor)
    cause = "marketplace" if event.status == "cancelled" else None
    return row._replace(
        number=event.number, channel=event.source.channel, account=event.source.account, market=market.code,
        memory=memory, cancel_cause=cause,
    )  # fmt: skip


def _edited(row: OrderRow, event: orders.Edited) -> OrderRow:
    row = sold(row, event.order, event.grand_minor)
    memory = row.memory
    if event.market is not None:
        market = event.market
        memory = memory._replace(capture=market.capture, capture_up_to_minor=market.capture_up_to_minor)
        row = row._replace(market=market.code)
    if event.edit_id is not None:
        memory = memory._replace(edit="")
    return row._replace(memory=memory)


def _details_changed(row: OrderRow, event: orders.DetailsChanged) -> OrderRow:
    return sold(row, event.order, row.grand_minor)


def _reinstated(row: OrderRow, event: orders.Reinstated) -> OrderRow:
    row = sold(row, event.order, event.grand_minor)
    kept = row.memory
    memory = Memory(capture=kept.capture, capture_up_to_minor=kept.capture_up_to_minor, paid=kept.paid,
                    exceptions=kept.exceptions, holds=kept.holds, parked=kept.parked)  # fmt: skip
    return row._replace(memory=memory, cancel_cause=None, placed_at=None, completed_at=None)


def sold(row: OrderRow, content: OrderContent, grand_minor: int | None) -> OrderRow:
    countries = [one.country for one in (content.ship_to, content.bill_to) if one is not None and one.country]
    buyer, ship_to, bill_to = content.buyer, content.ship_to, content.bill_to
    names = [buyer.name, buyer.company, *(one for to in (ship_to, bill_to) if to for one in (to.name, to.company))]
    plain = [
        content.external_order_id, content.external_number, content.purchase_order_number,
        *(line.sku for line in content.lines),
    ]  # fmt: skip
    found = row.words._replace(
        orders=words.whole(plain), buyer=(*words.whole([buyer.email, buyer.phone]), *words.parts(names))
    )
    paid = content.lifecycle != "awaiting_payment" and (content.payment_secured or grand_minor == 0)
    return row._replace(
        currency=content.currency, grand_minor=grand_minor, test=content.test, ordered_at=content.placed_at,
        country=countries[0] if countries else None, words=found, memory=row.memory._replace(paid=paid),
    )  # fmt: skip


def _placed(row: OrderRow, event: orders.Placed) -> OrderRow:
    return row._replace(placed_at=event.placed_at, memory=row.memory._replace(started=True))


def _cancelled(row: OrderRow, event: orders.Cancelled) -> OrderRow:
    """Its cancel ends every process but its own, and its holds. An order of which all is refunded is no longer completed."""
    unanswered = {step: word for step, word in row.memory.stuck.items() if word == "no_answer"}  # is still awaited
    memory = row.memory._replace(failed=(), stuck=unanswered, refunds=(), edit="", holds=())
    return row._replace(cancel_cause=str(event.cause), completed_at=None, memory=memory)


def _completed(row: OrderRow, event: orders.Completed) -> OrderRow:
    return row._replace(completed_at=event.completed_at, grand_minor=event.grand_minor)


def _held(row: OrderRow, event: orders.Held) -> OrderRow:
    return _remember(row, holds=tuple(sorted(_with(row.memory.holds, str(event.hold_id)))))


def _released(row: OrderRow, event: orders.Released) -> OrderRow:
    return _remember(row, holds=_without(row.memory.holds, str(event.hold_id)))


def _raised(row: OrderRow, event: orders.ExceptionRaised) -> OrderRow:
    return _remember(row, exceptions=tuple(sorted(_with(row.memory.exceptions, event.code))))


def _resolved(row: OrderRow, event: orders.ExceptionResolved) -> OrderRow:
    return _remember(row, exceptions=_without(row.memory.exceptions, event.code))


def _step_failed(row: OrderRow, event: orders.StepFailed) -> OrderRow:
    return _remember(row, failed=tuple(sorted(_with(row.memory.failed, _step(event.process, event.step)))))


def _retried(row: OrderRow, event: orders.Retried) -> OrderRow:
    return _remember(row, failed=_without(row.memory.failed, _step(event.process, event.step)))


def _waiting_changed(row: OrderRow, event: orders.WaitingChanged) -> OrderRow:
    others = {step: word for step, word in row.memory.stuck.items() if step.rpartition(".")[0] != event.process}
    now = {_step(event.process, event.step): str(event.waiting)} if event.waiting else {}
    return _remember(row, stuck={**others, **now})


def _edit_opened(row: OrderRow, event: orders.EditOpened) -> OrderRow:
    return _remember(row, edit="draft")


def _edit_confirmed(row: OrderRow, event: orders.EditConfirmed) -> OrderRow:
    return _remember(row, edit="confirmed")


def _edit_discarded(row: OrderRow, event: orders.EditDiscarded) -> OrderRow:
    return _remember(row, edit="")


def _refund_opened(row: OrderRow, event: orders.RefundOpened) -> OrderRow:
    return _remember(row, refunds=_with(row.memory.refunds, str(event.refund_id)))


def _refund_ended(row: OrderRow, event: orders.RefundSettled | orders.RefundGivenUp) -> OrderRow:
    """Another refund may still wait for a person."""
    process = "refund:" if event.number is None else f"refund:{event.number}."
    failed = tuple(step for step in row.memory.failed if not step.startswith(process))
    return _remember(row, refunds=_without(row.memory.refunds, str(event.refund_id)), failed=failed)


def _archived(row: OrderRow, event: orders.Archived) -> OrderRow:
    return row._replace(archived_at=event.archived_at)


def _unarchived(row: OrderRow, event: orders.Unarchived) -> OrderRow:
    return row._replace(archived_at=None)


def _tags_changed(row: OrderRow, event: orders.TagsChanged) -> OrderRow:
    return row._replace(tags=event.tags)


def _reference_changed(row: OrderRow, event: orders.ReferenceChanged) -> OrderRow:
    return row._replace(words=row.words._replace(reference=words.whole([event.reference])))


def _remember(row: OrderRow, **change: Any) -> OrderRow:
    return row._replace(memory=row.memory._replace(**change))


def _step(process: str, step: str) -> str:
    return f"{process}.{step}"


def _with(known: tuple[str, ...], one: str) -> tuple[str, ...]:
    return known if one in known else (*known, one)


def _without(known: tuple[str, ...], one: str) -> tuple[str, ...]:
    return tuple(other for other in known if other != one)


# -- the other services -----------------------------------------------------------------------------------------------


def _money(row: OrderRow, event: Any) -> OrderRow:
    totals: payments.MoneyTotals = event.totals
    return row._replace(
        authorized_minor=totals.authorized_minor, captured_minor=totals.captured_minor,
        voided_minor=totals.voided_minor, refunded_minor=totals.refunded_minor,
    )  # fmt: skip


def _pieces(row: OrderRow, event: fulfillment.FulfillmentEvent) -> OrderRow:
    return row._replace(reserved=event.totals.reserved, shipped=event.totals.shipped)


def _shipped(row: OrderRow, event: fulfillment.Shipped) -> OrderRow:
    numbers = words.whole([event.tracking_number])
    return row._replace(words=row.words._replace(tracking=words.joined(row.words.tracking, numbers)))


def _issued(row: OrderRow, event: invoicing.Issued) -> OrderRow:
    invoiced_at = row.invoiced_at or event.issued_at
    return _documented(row, event)._replace(
        invoiced_at=invoiced_at, invoiced_minor=row.invoiced_minor + event.total_minor
    )


def _credited(row: OrderRow, event: invoicing.Credited) -> OrderRow:
    return _documented(row, event)._replace(credited_minor=row.credited_minor + event.total_minor)


def _documented(row: OrderRow, event: invoicing.DocumentEvent) -> OrderRow:
    documents = words.joined(row.words.documents, words.whole([event.number]))
    return row._replace(words=row.words._replace(documents=documents))


CHANGES: Final[Mapping[type[Event], Callable[[OrderRow, Any], OrderRow]]] = {
    orders.Received: _received,
    orders.Edited: _edited,
    orders.DetailsChanged: _details_changed,
    orders.Reinstated: _reinstated,
    orders.Placed: _placed,
    orders.Cancelled: _cancelled,
    orders.Completed: _completed,
    orders.Held: _held,
    orders.Released: _released,
    orders.ExceptionRaised: _raised,
    orders.ExceptionResolved: _resolved,
    orders.StepFailed: _step_failed,
    orders.Retried: _retried,
    orders.WaitingChanged: _waiting_changed,
    orders.EditOpened: _edit_opened,
    orders.EditConfirmed: _edit_confirmed,
    orders.EditDiscarded: _edit_discarded,
    orders.RefundOpened: _refund_opened,
    orders.RefundSettled: _refund_ended,
    orders.RefundGivenUp: _refund_ended,
    orders.Archived: _archived,
    orders.Unarchived: _unarchived,
    orders.TagsChanged: _tags_changed,
    orders.ReferenceChanged: _reference_changed,
    fulfillment.Shipped: _shipped,
    invoicing.Issued: _issued,
    invoicing.Credited: _credited,
}
GENERAL: Final[Sequence[tuple[type[Event] | tuple[type[Event], ...], Callable[[OrderRow, Any], OrderRow]]]] = (
    ((payments.PaymentEvent, payments.Failed, payments.ForceRefused), _money),
    (fulfillment.FulfillmentEvent, _pieces),
)
"""What every event of a service states."""
