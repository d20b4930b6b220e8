"""How money goes back: refund a capture, credit its invoice by exactly that, restock. One round of the steps per capture.

What a request means is in `refunds`. A refund that is refused waits for a person: retry, or give it up; nothing is
credited before the money went. When all that was captured has come back, the order is cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, cast
from uuid import UUID

from contracts import fulfillment, invoicing, payments
from contracts.base import SHIPPING_LINE, Document, LongText, Open, Personal, Timestamp
from contracts.deciding import Refusal
from contracts.limits import REFUND_LINES_MAX, REFUNDS_MAX
from contracts.orders import (
    GiveUpRefund,
    RefundCause,
    RefundGivenUp,
    RefundOpened,
    RefundPart,
    RefundSettled,
    RefundWanted,
)
from contracts.payments import MoneyLine
from orders.domain.content import refunds
from orders.domain.content.facts import CapturedLine, CaptureFact, Facts
from orders.domain.content.refunds import Part, Wanted
from orders.domain.engine.process import Closed, Past, Process, Step
from orders.domain.engine.story import Story
from orders.domain.processes import settled, undo
from orders.domain.state.order import Order, RefundAdopted, is_invoiced
from orders.domain.state.run import Run, RunData, last_number

KIND: Final = "refund"


class CapturePart(Document):
    """What goes back of one capture, and how far it is."""

    capture_id: UUID
    lines: tuple[MoneyLine, ...]
    refund_id: UUID | None = None
    """The refund in payments; null until the money has gone back."""
    credit_note_id: UUID | None = None

    @property
    def amount_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


class RefundData(RunData):
    kind: Literal["refund"] = "refund"
    refund_id: UUID
    cause: Annotated[RefundCause, Open()]
    note: Annotated[LongText, Personal()] = ""
    actor: str
    requested_at: Timestamp
    parts: tuple[CapturePart, ...]
    part: int = 0
    """The index of the part that goes back now."""
    restock: bool = False
    reference: str | None = None
    """The marketplace's id of the refund, where it has one."""
    recorded: bool = False
    """The money went back at the marketplace: payments only books it. Without a reference it is still to be stated."""
    stated: Mapping[str, int] = {}
    """line id -> minor units of one that was made here and that the marketplace has stated in part."""
    given_up: bool = False

    @property
    def amount_minor(self) -> int:
        return sum(part.amount_minor for part in self.parts)

    @property
    def refunded_minor(self) -> int:
        """What has gone back."""
        return sum(part.amount_minor for part in self.parts if part.refund_id is not None)


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
    _cancel_if_all_is_back(story, data)


def _cancel_if_all_is_back(story: Story, last: RefundData | None = None) -> None:
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
    unstated = sum(_unstated(data).values()) if market.gateway == "marketplace" else 0
    return Closed(data.refund_id, state_of(run), unstated or None)


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


def planned(order: Order, wanted: RefundWanted) -> tuple[Part, ...] | Refusal:
    """The parts that a request means now; or why it is refused."""
    lines = [Wanted(line.line_id, line.quantity, line.amount_minor) for line in wanted.lines]
    if wanted.shipping_minor:
        lines.append(Wanted(SHIPPING_LINE, amount_minor=wanted.shipping_minor))
    return plan(order, order.facts, order.runs, lines, wanted.goodwill_minor)


def plan(
    order: Order, facts: Facts, runs: Mapping[str, Run], wanted: Iterable[Wanted], goodwill_minor: int
) -> tuple[Part, ...] | Refusal:
    """As `refunds.plan`; what open refunds are going to take is not left."""
    assert order.content is not None
    ids = {line.external_line_id for line in order.content.lines}
    parts = refunds.plan(facts.captures.values(), _taken(runs), ids, wanted, goodwill_minor)
    if isinstance(parts, Refusal):
        return parts
    lines = sum(len(part.lines) for run in of_order(runs) if not run.end for part in data_of(run).parts)
    lines += sum(len(part.lines) for part in parts)
    if last_number(runs.values(), KIND) >= REFUNDS_MAX or lines > REFUND_LINES_MAX:
        detail = f"an order has at most {REFUNDS_MAX} refunds, and {REFUND_LINES_MAX} lines in those that are open"
        return Refusal("refund_limit_reached", detail)
    return parts


def left_minor(order: Order) -> int:
    """What may still be refunded."""
    return refunds.left_minor(order.facts.captures.values(), _taken(order.runs))


def gone_of(order: Order, capture: CaptureFact) -> Mapping[str, int]:
    """line id -> what of a capture is refunded, or taken by open refunds: it is credited before a further refund is."""
    taken = _taken(order.runs)
    return {
        line.line_id: line.gone_minor + taken.get((capture.capture_id, line.line_id), (0, 0))[1]
        for line in capture.lines
    }


def left_by_line(story: Story) -> dict[str, MoneyLine]:
    """line id -> what may still be refunded of it."""
    return refunds.left_by_line(story.facts.captures.values(), _taken(story.runs))


def _taken(runs: Mapping[str, Run]) -> refunds.Taken:
    """What open refunds are going to take: their parts that have not gone back."""
    taken: dict[tuple[UUID, str], tuple[int, int]] = {}
    for run in of_order(runs):
        for part in data_of(run).parts if not run.end else ():
            for line in part.lines if part.refund_id is None else ():
                pieces, minor = taken.get((part.capture_id, line.line_id), (0, 0))
                taken[part.capture_id, line.line_id] = (pieces + line.quantity, minor + line.amount_minor)
    return taken


def still_left(story: Story, parts: Iterable[Part]) -> list[Part]:
    """The parts without what has gone back or is taken by open refunds."""
    taken, left = _taken(story.runs), []
    for capture_id, lines in parts:
        rests = {line.line_id: line.to_refund for line in story.facts.captures[str(capture_id)].lines}
        kept = []
        for line in lines:
            pieces, minor = taken.get((capture_id, line.line_id), (0, 0))
            rest = rests[line.line_id]
            amount = min(line.amount_minor, rest.amount_minor - minor)
            if amount > 0:
                quantity = max(min(line.quantity, rest.quantity - pieces), 0)
                kept.append(MoneyLine(line_id=line.line_id, quantity=quantity, amount_minor=amount))
        if kept:
            left.append(Part(capture_id, tuple(kept)))
    return left


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
    _open(story, data, answers)


def follow(story: Story, event: payments.Refunded) -> None:
    """Money went back that no process asked for: it is credited as if it had been. What payments has refunded of a reversal is
    on no invoice."""
    if story.order.status == "cancelled":
        return  # an undo credits what has gone back
    if event.payment is None:
        if any(fact.refund_id == event.operation_id for fact in story.facts.captures.values()):
            _cancel_if_all_is_back(story)
        return
    parts = []
    for fact in story.facts.captures.values():
        captured = {line.line_id: line for line in fact.lines} if fact.source_id == event.capture_id else {}
        lines = [_at_most_captured(line, captured[line.line_id]) for line in event.lines if line.line_id in captured]
        if lines:
            parts.append(CapturePart(capture_id=fact.capture_id, lines=tuple(lines), refund_id=event.refund_id))
    data = RefundData(
        refund_id=story.context.new_id("refund elsewhere"), cause="marketplace", actor=event.payment.system,
        requested_at=story.context.now, parts=tuple(parts), reference=event.payment.payment_id, recorded=True,
    )  # fmt: skip
    _open(story, data)


def take_over_difference(story: Story, event: payments.Failed) -> None:
    """What payments could not refund of a reversal, a refund of the order asks for: it waits for a person if it is refused, too."""
    for fact in story.facts.captures.values():
        refund_id = fact.refund_id
        if refund_id is not None and refund_id == event.operation_id and story.order.status != "cancelled":
            lines = tuple(line.to_refund for line in fact.lines if line.unbilled and not line.undescribed)
            if parts := still_left(story, [Part(fact.capture_id, lines)]):
                begin(story, parts, refund_id, "reversal", actor=story.context.actor)


def _at_most_captured(gone: MoneyLine, captured: CapturedLine) -> MoneyLine:
    """What went back of a line, whose fact includes it: at most the pieces that were captured and had not gone back."""
    left = captured.quantity - (captured.gone_quantity - gone.quantity)
    return gone.model_copy(update={"quantity": max(min(gone.quantity, left), 0)})


def _open(story: Story, data: RefundData, answers: UUID | None = None) -> None:
    assert story.order.content is not None
    run = Run(id=story.next_id(KIND), data=data, since=story.context.now)
    story.state(
        RefundOpened, answers=answers, refund_id=data.refund_id, number=run.number, reason=data.cause, note=data.note,
        actor=data.actor, currency=story.order.content.currency, amount_minor=data.amount_minor, restock=data.restock,
        reference=data.reference,
        parts=tuple(RefundPart(capture_id=part.capture_id, lines=part.lines) for part in data.parts),
    )  # fmt: skip
    story.begin(run)


def adopt(story: Story, reference: str, amount_minor: int, by_line: Mapping[str, int]) -> bool:
    """Finds the refund that the marketplace states under `reference` among those that were made here: one of which exactly
    this is not stated yet, or these lines are not. Returns whether there is one.

    by_line: line id -> minor units, if every part of the stated refund names its line; else empty.
    """
    for refund_id, minor in story.order.unstated.items():
        if minor == amount_minor:
            story.record(
                RefundAdopted(
                    order_id=story.context.key,
                    store_id=story.order.store_id,
                    operation_id=UUID(refund_id),
                    refund_id=UUID(refund_id),
                    reference=reference,
                )
            )
            return True
    for run in of_order(story.runs):
        left = _unstated(data_of(run))
        if amount_minor == sum(left.values()):
            story.set_data(run, reference=reference)
            return True
        if by_line and all(left.get(line_id) == amount for line_id, amount in by_line.items()):
            story.set_data(run, stated={**data_of(run).stated, **by_line})
            return True
    return False


def is_awaited(runs: Mapping[str, Run], lines: Collection[str]) -> bool:
    """Whether the marketplace has still to state a refund that it makes for its own cancel: of one of these lines, or of
    any line if none is given."""
    for run in of_order(runs):
        left = _unstated(data_of(run)) if data_of(run).recorded else {}
        if left and (not lines or not left.keys().isdisjoint(lines)):
            return True
    return False


def _unstated(data: RefundData) -> dict[str, int]:
    """line id -> minor units of a refund that was made here and that the marketplace may still state."""
    left: dict[str, int] = {}
    if data.reference is None and not data.given_up:
        for part in data.parts:
            for line in part.lines:
                left[line.line_id] = left.get(line.line_id, 0) + line.amount_minor
    return {name: rest for name, minor in left.items() if (rest := minor - data.stated.get(name, 0)) > 0}


def proceed(story: Story) -> None:
    """After an answer: refunds that wait for an invoice go on if it is issued. If what was being captured when the last refund
    ended has been refused, all the money is back."""
    refunds_before = of_order(story.runs)
    for run in refunds_before:
        if run.waits == "invoice" and not story.is_paused(run) and is_invoiced_or_never(story, run):
            story.pass_step(run)
    if refunds_before and refunds_before[-1].end == "done":
        _cancel_if_all_is_back(story, data_of(refunds_before[-1]))


def give_up(story: Story, run: Run, message: GiveUpRefund) -> None:
    """Ends a refused refund. Its money that has gone back is credited already: a refund is refused before it is credited."""
    data = data_of(run)
    story.state(
        RefundGivenUp, answers=message.operation_id, refund_id=data.refund_id, number=run.number,
        amount_minor=data.refunded_minor,
        given_up_minor=data.amount_minor - data.refunded_minor, actor=message.actor, reason=message.reason,
    )  # fmt: skip
    story.end(story.set_data(run, given_up=True))


State = Literal["open", "refused", "settled", "given_up", "cancelled"]
"""`refused`: it waits for a person. `cancelled`: a cancel of the order has refunded the rest."""


def state_of(run: Run) -> State:
    if run.end == "undone":
        return "cancelled"
    if run.end:
        return "given_up" if data_of(run).given_up else "settled"
    return "refused" if is_refused(run) else "open"


def of_order(runs: Mapping[str, Run]) -> list[Run]:
    """The refunds in an order's document, the oldest first: those that are open, and the latest."""
    return [run for run in runs.values() if isinstance(run.data, RefundData)]


def find(order: Order, refund_id: UUID) -> Run | None:
    return next((run for run in of_order(order.runs) if data_of(run).refund_id == refund_id), None)


def outcome_of(order: Order, refund_id: UUID) -> State | None:
    """How a refund ended that is no longer in the order's document; None: it is none."""
    outcome = order.closed.get(f"{KIND}:{refund_id}")
    return cast("State | None", outcome)


def exists(order: Order, refund_id: UUID) -> bool:
    return find(order, refund_id) is not None or outcome_of(order, refund_id) is not None


def was_given_up(order: Order, refund_id: UUID) -> bool:
    run = find(order, refund_id)
    return data_of(run).given_up if run is not None else outcome_of(order, refund_id) == "given_up"


def is_refused(run: Run) -> bool:
    """It waits for a person."""
    return not run.end and run.waits == "person"


def can_be_given_up(run: Run) -> bool:
    """The refund itself is refused. Once its money has gone back, it has to be credited."""
    return is_refused(run) and run.step == "refund"


def data_of(run: Run) -> RefundData:
    assert isinstance(run.data, RefundData)
    return run.data


def _part(run: Run) -> CapturePart:
    data = data_of(run)
    return data.parts[data.part]


def _set_part(story: Story, run: Run, **change: Any) -> None:
    data = data_of(run)
    part = data.parts[data.part].model_copy(update=change)
    story.set_data(run, parts=(*data.parts[: data.part], part, *data.parts[data.part + 1 :]))


def _capture(story: Story, part: CapturePart) -> CaptureFact:
    return story.facts.captures[str(part.capture_id)]
