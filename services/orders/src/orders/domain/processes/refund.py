"""How money goes back: refund a capture, credit its invoice by exactly that, restock. One round of the steps per capture.

A refund that is refused waits for a person: retry, or give it up; nothing is credited before the money went. When all that
was captured has come back, the order is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from contracts import fulfillment, invoicing, payments
from contracts.orders import GiveUpRefund, RefundCause, RefundGivenUp, RefundOpened, RefundPart, RefundSettled
from orders.domain.content.facts import CaptureFact
from orders.domain.content.refunds import Part
from orders.domain.engine.process import Closed, Past, Process, Step
from orders.domain.engine.story import Story
from orders.domain.processes import settled, undo
from orders.domain.processes.refunded import KIND, CapturePart, RefundData, data_of, of_order, state_of, unstated
from orders.domain.state.order import is_invoiced
from orders.domain.state.run import Run

# -- the steps --------------------------------------------------------------------------------------------------------


def pay_back(story: Story, run: Run, operation: UUID) -> payments.Refund:
    assert story.order.content is not None
    data, part = data_of(run), _part(run)
    return payments.Refund(
        **story.addressed(operation),
        capture_id=_capture(story, part).source_id, currency=story.order.content.currency, lines=part.lines,
        recorded=data.recorded, reference=data.reference if data.recorded else None,
    )  # fmt: skip


def refused(story: Story, run: Run, event: payments.Failed | invoicing.Failed) -> None:
    story.step_failed(run, event.code, event.reason)


def is_paid_back(story: Story, run: Run) -> bool:
    return _part(run).refund_id is not None


def has_gone(story: Story, run: Run, event: payments.Refunded | Past | None) -> None:
    if event is not None:
        _set_part(story, run, refund_id=event.operation_id)


def is_invoiced_or_never(story: Story, run: Run) -> bool:
    """What is on no invoice waits for none."""
    part = _part(run)
    billed = any(line.amount_minor for line in _to_credit(story, part))
    return not billed or not is_invoiced(story.order) or _capture(story, part).invoice_id is not None


def credit(story: Story, run: Run, operation: UUID) -> invoicing.Credit:
    data, part = data_of(run), _part(run)
    invoice_id = _capture(story, part).invoice_id
    assert invoice_id is not None
    return invoicing.Credit(
        **story.addressed(operation), invoice_id=invoice_id, reason=data.cause, lines=_to_credit(story, part)
    )


def nothing_to_credit(story: Story, run: Run) -> bool:
    part = _part(run)
    return _capture(story, part).invoice_id is None or not any(line.amount_minor for line in _to_credit(story, part))


def _to_credit(story: Story, part: CapturePart) -> tuple[invoicing.CreditLine, ...]:
    """The lines of a part, each at most what is left of it on the invoice: a person may have credited a line elsewhere, and
    refunds that were made elsewhere name pieces that an open refund names, too."""
    left = {line.line_id: line.to_credit for line in _capture(story, part).lines if line.billed}
    return tuple(
        invoicing.CreditLine(
            line_id=line.line_id, quantity=min(line.quantity, pieces), amount_minor=min(line.amount_minor, minor)
        )
        for line in part.lines
        for pieces, minor in ([left[line.line_id]] if line.line_id in left else [])
    )


def was_credited(story: Story, run: Run, event: invoicing.Credited | Past | None) -> None:
    if event is not None:
        _set_part(story, run, credit_note_id=event.operation_id)


def put_back(story: Story, run: Run, operation: UUID) -> fulfillment.Restock:
    return fulfillment.Restock(**story.addressed(operation), lines=_shipped(story, run))


def nothing_to_put_back(story: Story, run: Run) -> bool:
    return not data_of(run).restock or not _shipped(story, run)


def _shipped(story: Story, run: Run) -> tuple[fulfillment.LinePieces, ...]:
    """The refunded pieces of lines of which something has shipped. Fulfillment puts back at most what has."""
    shipped = {
        line_id
        for shipment in story.facts.shipments.values()
        if shipment.status in ("shipped", "delivered")
        for line_id in shipment.lines
    }
    return tuple(
        fulfillment.LinePieces(line_id=line.line_id, quantity=line.quantity)
        for line in _part(run).lines
        if line.quantity and line.line_id in shipped
    )


def another_part(story: Story, run: Run) -> bool:
    data = data_of(run)
    if data.part + 1 == len(data.parts):
        return False
    story.set_data(run, part=data.part + 1)
    return True


def ended(story: Story, run: Run) -> None:
    data = data_of(run)
    if not data.given_up:
        story.state(RefundSettled, refund_id=data.refund_id, number=run.number, amount_minor=data.amount_minor)
    cancel_if_all_is_back(story, data)


def cancel_if_all_is_back(story: Story, last: RefundData | None = None) -> None:
    """An order that an edit has made free stays: what comes back is all that was captured, whichever refund is the last.
    last: None if payments has refunded it by itself, after a reversal."""
    by_edit = last is not None and last.cause == "edit"
    if story.order.grand_minor and _all_is_back(story) and (not by_edit or _is_all_paid(story)):
        undo.begin(story, "refunded", certain=True)


def _is_all_paid(story: Story) -> bool:
    """Whether what the order costs after an edit was captured before: then nothing more is."""
    kept = sum(amount for _, amount in settled.captured(story.runs, story.facts).values())
    return (story.order.grand_minor or 0) <= kept


def _all_is_back(story: Story) -> bool:
    """All that was captured has come back, and nothing is being captured. A capture that is refused waits for a person."""
    if story.order.status not in ("placing", "placed", "approved", "editing") or undo.is_running(story):
        return False
    capturing = any(
        run.kind == "settle"
        and run.step in settled.TAKING
        and not run.end
        and run.waits != "person"
        and not settled.is_captured(run, story.facts)
        for run in story.runs.values()
    )
    return not capturing and not any(capture.unrefunded_minor for capture in story.facts.captures.values())


def leaves(story: Story, run: Run) -> Closed:
    data, market = data_of(run), story.order.market
    assert market is not None
    left = sum(unstated(data).values()) if market.gateway == "marketplace" else 0
    return Closed(data.refund_id, state_of(run), left or None)


# fmt: off
REFUND = Process(KIND, RefundData, (
    #    step       command        yes                         no -> what it causes            left out when              waits for           its end
    Step("refund",  ask=pay_back,  yes=payments.Refunded,      no={payments.Failed: refused},  skip=is_paid_back,                             then=has_gone),
    Step("invoice", ask=None,      yes=None,                                                   skip=is_invoiced_or_never, waits="invoice"),
    Step("credit",  ask=credit,    yes=invoicing.Credited,     no={invoicing.Failed: refused}, skip=nothing_to_credit,                        then=was_credited),
    Step("restock", ask=put_back,  yes=fulfillment.Restocked,                                  skip=nothing_to_put_back),
), again=another_part, ended=ended, leaves=leaves, patience=False, delays_completion=False)
# fmt: on


# -- begin, go on, give up --------------------------------------------------------------------------------------------


def begin(
    story: Story, parts: Iterable[Part], refund_id: UUID, cause: RefundCause, *, actor: str, note: str = "",
    restock: bool = False, reference: str | None = None, recorded: bool = False, answers: UUID | None = None,
) -> None:  # fmt: skip
    """Opens a refund. recorded, or with the marketplace's reference: it is made there, is booked here and moves no money."""
    data = RefundData(
        refund_id=refund_id, cause=cause, note=note, actor=actor, requested_at=story.context.now, restock=restock,
        parts=tuple(CapturePart(capture_id=part.capture_id, lines=part.lines) for part in parts),
        reference=reference, recorded=recorded or reference is not None,
    )  # fmt: skip
    open_with(story, data, answers)


def open_with(story: Story, data: RefundData, answers: UUID | None = None) -> None:
    assert story.order.content is not None
    run = Run(id=story.next_id(KIND), data=data, since=story.context.now)
    story.state(
        RefundOpened, answers=answers, refund_id=data.refund_id, number=run.number, reason=data.cause, note=data.note,
        actor=data.actor, currency=story.order.content.currency, amount_minor=data.amount_minor, restock=data.restock,
        reference=data.reference,
        parts=tuple(RefundPart(capture_id=part.capture_id, lines=part.lines) for part in data.parts),
    )  # fmt: skip
    story.begin(run)


def proceed(story: Story) -> None:
    """After an answer: refunds that wait for an invoice go on if it is issued. If what was being captured when the last refund
    ended has been refused, all the money is back."""
    refunds_before = of_order(story.runs)
    for run in refunds_before:
        if run.waits == "invoice" and not story.is_paused(run) and is_invoiced_or_never(story, run):
            story.pass_step(run)
    if refunds_before and refunds_before[-1].end == "done":
        cancel_if_all_is_back(story, data_of(refunds_before[-1]))


def give_up(story: Story, run: Run, message: GiveUpRefund) -> None:
    """Ends a refused refund. Its money that has gone back is credited already: a refund is refused before it is credited."""
    data = data_of(run)
    story.state(
        RefundGivenUp, answers=message.operation_id, refund_id=data.refund_id, number=run.number,
        amount_minor=data.refunded_minor,
        given_up_minor=data.amount_minor - data.refunded_minor, actor=message.actor, reason=message.reason,
    )  # fmt: skip
    story.end(story.set_data(run, given_up=True))


def _part(run: Run) -> CapturePart:
    data = data_of(run)
    return data.parts[data.part]


def _set_part(story: Story, run: Run, **change: Any) -> None:
    data = data_of(run)
    part = data.parts[data.part].model_copy(update=change)
    story.set_data(run, parts=(*data.parts[: data.part], part, *data.parts[data.part + 1 :]))


def _capture(story: Story, part: CapturePart) -> CaptureFact:
    return story.facts.captures[str(part.capture_id)]
