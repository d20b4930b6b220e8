"""The documents after captured lines were reversed: the invoice of the reversed lines is credited, and what replaces them is
invoiced. `content/rebilling.py` describes and taxes the new lines.

A line that is only there to be refunded is on no invoice. What the new lines cost more is a capture of its own, which is
invoiced when the money is there; while it is unpaid, a person decides.
"""

from __future__ import annotations

from typing import Any, Final, Literal
from uuid import UUID

from contracts import invoicing, payments
from contracts.base import Document
from contracts.payments import MoneyLine
from orders.domain.content import rebilling
from orders.domain.content.facts import CapturedLine, CaptureFact, Facts
from orders.domain.engine.process import Process, Step
from orders.domain.engine.story import Story
from orders.domain.processes import settle
from orders.domain.processes.settled import captures_of
from orders.domain.state.order import is_invoiced
from orders.domain.state.run import Run, RunData

KIND: Final = "rebill"
UNPAID: Final = "difference_unpaid"
UNDESCRIBED: Final = "line_undescribed"


class ReversedPart(Document):
    """What is credited of one invoice."""

    capture_id: UUID
    lines: tuple[invoicing.CreditLine, ...]


class RebillData(RunData):
    kind: Literal["rebill"] = "rebill"
    capture_id: UUID
    """What is invoiced: the reversal, or the capture of what the new lines cost more."""
    parts: tuple[ReversedPart, ...] = ()
    part: int = 0
    """The index of the invoice that is credited now."""
    lines: tuple[invoicing.InvoiceLineWanted, ...] = ()
    """What is invoiced. The amounts are those that `capture_id` pays."""
    charge: tuple[invoicing.InvoiceLineWanted, ...] = ()
    """How to describe what the new lines cost more, once it is captured."""


# -- the steps --------------------------------------------------------------------------------------------------------


def has_its_invoice(story: Story, run: Run) -> bool:
    part = _part(run)
    return part is None or _fact(story, part.capture_id).invoice_id is not None


def credit(story: Story, run: Run, operation: UUID) -> invoicing.Credit:
    part = _part(run)
    assert part is not None
    invoice_id = _fact(story, part.capture_id).invoice_id
    assert invoice_id is not None
    return invoicing.Credit(**story.addressed(operation), invoice_id=invoice_id, reason="reversal", lines=part.lines)


def nothing_to_credit(story: Story, run: Run) -> bool:
    return _part(run) is None


def refused(story: Story, run: Run, event: invoicing.Failed) -> None:
    story.step_failed(run, event.code, event.reason)


def issue(story: Story, run: Run, operation: UUID) -> invoicing.Issue:
    data = data_of(run)
    return settle.invoice_of(story, operation, data.capture_id, data.lines)


def nothing_to_issue(story: Story, run: Run) -> bool:
    data = data_of(run)
    return data.part + 1 < len(data.parts) or not any(line.amount_minor for line in data.lines)


def another_part(story: Story, run: Run) -> bool:
    data = data_of(run)
    if data.part + 1 >= len(data.parts):
        return False
    story.set_data(run, part=data.part + 1)
    return True


# fmt: off
REBILL = Process(KIND, RebillData, (
    #    step        command      yes                      no -> what it causes            left out when           waits for
    Step("original", ask=None,    yes=None,                                                skip=has_its_invoice,   waits="invoice"),
    Step("credit",   ask=credit,  yes=invoicing.Credited,  no={invoicing.Failed: refused}, skip=nothing_to_credit),
    Step("issue",    ask=issue,   yes=invoicing.Issued,    no={invoicing.Failed: refused}, skip=nothing_to_issue),
), again=another_part, patience=False)
# fmt: on


# -- begin, go on -----------------------------------------------------------------------------------------------------


def begin(story: Story, event: payments.Reversed) -> None:
    """A capture pays other lines than before."""
    captures = dict(story.facts.captures)
    facts = [one for one in captures.values() if one.source_id == event.capture_id]
    assert event.operation_id is not None, "a reversal is an operation"
    new = rebilling.described(_terms(story), event, event.lines)
    captures |= {str(one.capture_id): one.reversed(event.reversals) for one in facts}
    captures[str(event.operation_id)] = CaptureFact.of_reversal(event, {line.line_id for line in new})
    parts = [
        ReversedPart(capture_id=one.capture_id, lines=lines)
        for one in facts
        if _gets_an_invoice(story, one) and (lines := _to_credit(one, event))
    ]
    story.note(captures=captures)
    _state_undescribed(story)
    if is_invoiced(story.order) and story.order.status != "cancelled":
        charge = rebilling.described(_terms(story), event, event.charge)
        data = RebillData(capture_id=event.operation_id, parts=tuple(parts), lines=new, charge=charge)
        story.begin(Run(id=story.next_id(KIND), data=data, since=story.context.now))


def _gets_an_invoice(story: Story, fact: CaptureFact) -> bool:
    if fact.reversal_id is not None:
        return True
    return fact.capture_id in {one.capture_id for one in captures_of(story.runs, story.facts)}


def _to_credit(fact: CaptureFact, event: payments.Reversed) -> tuple[invoicing.CreditLine, ...]:
    billed = {line.line_id for line in fact.lines if line.billed}
    return tuple(
        invoicing.CreditLine(line_id=one.reverses, quantity=one.quantity, amount_minor=one.amount_minor)
        for one in event.reversals
        if one.reverses in billed and one.amount_minor
    )


def take_over(story: Story, fact: CaptureFact) -> CaptureFact | None:
    """A capture that pays what the lines of a reversal cost more; None if it is none. It is invoiced by itself."""
    for one in story.facts.captures.values():
        if fact.lines and all(0 < line.amount_minor <= one.unpaid.get(line.line_id, 0) for line in fact.lines):
            break
    else:
        return None
    paid = {line.line_id: line.amount_minor for line in fact.lines}
    left = {line_id: rest for line_id, minor in one.unpaid.items() if (rest := minor - paid.get(line_id, 0))}
    whole = one.model_copy(update={"unpaid": left})
    described = _terms(story) if is_invoiced(story.order) else paid
    began = {line.line_id for line in one.lines if line.quantity}  # the pieces of a line are where its money begins
    lines = tuple(
        CapturedLine.billed_if(
            line.line_id in described, line.model_copy(update={"quantity": 0}) if line.line_id in began else line
        )
        for line in fact.lines
    )
    fact = fact.model_copy(update={"reversal_id": one.capture_id, "lines": lines})
    captures = {**story.facts.captures, str(one.capture_id): whole, str(fact.capture_id): fact}
    story.note(captures=captures)
    if not any(other.unpaid and other.charge_refused for other in captures.values()):
        story.resolve_exception(UNPAID)
    return fact


def bill(story: Story, fact: CaptureFact) -> None:
    """Invoices what `take_over` has taken over."""
    lines = _described_as(story, fact)
    _state_undescribed(story)
    if lines and is_invoiced(story.order):
        data = RebillData(capture_id=fact.capture_id, lines=lines)
        story.begin(Run(id=story.next_id(KIND), data=data, since=story.context.now))


def _described_as(story: Story, fact: CaptureFact) -> tuple[invoicing.InvoiceLineWanted, ...]:
    """The lines of a capture of the difference, as the invoice of their reversal describes them."""
    terms = _terms(story)
    return tuple(rebilling.part_of(terms[line.line_id], line) for line in fact.lines if line.line_id in terms)


def proceed(story: Story) -> None:
    """After an answer: those that wait for an invoice go on if it is issued."""
    if not undescribed(story.facts):
        story.resolve_exception(UNDESCRIBED)
    for run in [one for one in story.runs.values() if isinstance(one.data, RebillData)]:
        if run.waits == "invoice" and not story.is_paused(run) and has_its_invoice(story, run):
            story.pass_step(run)


# -- what no invoice can describe -------------------------------------------------------------------------------------


def undescribed(facts: Facts) -> dict[str, int]:
    """line id -> minor units that are captured, have not gone back, and are on no invoice: the line has no title or no rate."""
    left: dict[str, int] = {}
    for line in (line for fact in facts.captures.values() for line in fact.lines if line.undescribed):
        if minor := line.to_refund.amount_minor:
            left[line.line_id] = left.get(line.line_id, 0) + minor
    return left


def _state_undescribed(story: Story) -> None:
    left = undescribed(story.facts)
    if left and is_invoiced(story.order) and story.order.status != "cancelled":
        lines = ", ".join(f"{minor} of line {line_id}" for line_id, minor in left.items())
        story.resolve_exception(UNDESCRIBED)
        story.raise_exception(UNDESCRIBED, f"{lines}: without title or rate, no invoice can have it")


# -- what the gateway declines ----------------------------------------------------------------------------------------


def refused_to_pay(story: Story, event: payments.Declined | payments.Failed) -> None:
    """What the new lines cost more is not paid: a person asks again, or leaves it."""
    authorization_id = _not_captured(story, event)
    for fact in [*story.facts.captures.values()]:
        if fact.unpaid and fact.charge_id is not None and fact.charge_id in (event.operation_id, authorization_id):
            lines = ", ".join(f"{minor} of line {line_id}" for line_id, minor in fact.unpaid.items())
            story.resolve_exception(UNPAID)
            story.raise_exception(UNPAID, f"{lines} are unpaid, {event.code}: {event.reason}")
            _set(story, fact, charge_refused=True)
            if authorization_id is not None:
                _release(story, authorization_id, expired=event.code == settle.EXPIRED)


def _release(story: Story, authorization_id: UUID, *, expired: bool) -> None:
    """Asked for again, the difference is authorized anew: nothing of it stays held beside that."""
    fact = story.facts.authorizations.get(str(authorization_id))
    left = fact.left_by_line if fact is not None else {}
    lines = tuple(MoneyLine(line_id=name, quantity=0, amount_minor=minor) for name, minor in left.items())
    if lines:
        void_id = story.context.new_id(f"void {authorization_id}")
        story.send(
            payments.Void(**story.addressed(void_id), authorization_id=authorization_id, lines=lines, expired=expired)
        )


def _not_captured(story: Story, event: payments.Declined | payments.Failed) -> UUID | None:
    """The authorization of a capture that failed, if no process has asked for the capture and no one has recorded it."""
    if not isinstance(event, payments.Failed) or event.command != "capture" or event.payment is not None:
        return None
    return None if str(event.operation_id) in story.asks else event.refers_to


def charge_again(story: Story, operation: UUID) -> None:
    """Authorizes and captures what was refused, at the gateway that was asked first."""
    content, market = story.order.content, story.order.market
    assert content is not None and market is not None
    for fact in [one for one in story.facts.captures.values() if one.unpaid and one.charge_refused]:
        charge_id = story.context.new_id(f"charge {fact.capture_id} {operation}")
        _set(story, fact, charge_id=charge_id, charge_refused=False, charged_here=True)
        lines = (MoneyLine(line_id=name, quantity=0, amount_minor=minor) for name, minor in fact.unpaid.items())
        story.send(
            payments.Authorize(
                **story.addressed(charge_id),
                gateway=fact.charge_gateway or market.gateway, account=fact.charge_account,
                payment_token=content.payment_token, currency=content.currency, reference=content.external_order_id,
                lines=tuple(lines), capture=True,
            )
        )  # fmt: skip


def capture_charge(story: Story, event: payments.Authorized) -> None:
    """A gateway has only authorized what `charge_again` has asked for. Payments captures by itself what it has asked for."""
    for fact in [*story.facts.captures.values()]:
        if event.capture_id is None and fact.charged_here and fact.charge_id == event.authorization_id:
            operation = story.context.new_id(f"capture {fact.charge_id}")
            _set(story, fact, charge_id=operation)
            asked = payments.Capture(
                **story.addressed(operation),
                authorization_id=event.authorization_id,
                currency=event.currency,
                lines=event.lines,
            )
            story.send(asked)


def _set(story: Story, fact: CaptureFact, **change: Any) -> None:
    story.note(captures={**story.facts.captures, str(fact.capture_id): fact.model_copy(update=change)})


def _terms(story: Story) -> dict[str, invoicing.InvoiceLineWanted]:
    """line id -> how a document describes it: the lines that are sold, and those of earlier reversals."""
    assert story.order.content is not None
    before = [run.data for run in story.runs.values() if isinstance(run.data, RebillData)]
    return rebilling.terms(story.order.content, [line for data in before for line in (*data.charge, *data.lines)])


def data_of(run: Run) -> RebillData:
    assert isinstance(run.data, RebillData)
    return run.data


def _part(run: Run) -> ReversedPart | None:
    data = data_of(run)
    return data.parts[data.part] if data.part < len(data.parts) else None


def _fact(story: Story, capture_id: UUID) -> CaptureFact:
    return story.facts.captures[str(capture_id)]
