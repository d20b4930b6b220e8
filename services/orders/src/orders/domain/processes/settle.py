"""How money is taken: capture, then invoice exactly what was captured. One settle per capture; `settling` begins them.

What is captured already, in the same call as its authorization, is only invoiced. A capture whose authorization has expired is
made on another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from contracts import invoicing, payments
from contracts.base import SHIPPING_LINE
from contracts.money import split
from contracts.payments import MoneyLine
from orders.domain.content.amounts import Payable, payable
from orders.domain.content.facts import CaptureFact
from orders.domain.engine.process import Closed, Past, Process, Step, Undo
from orders.domain.engine.story import Story
from orders.domain.processes import undo
from orders.domain.processes.settled import KIND, RENEW, SettleData, capture_of, data_of, share_of, taken_by_settles
from orders.domain.state.order import is_invoiced
from orders.domain.state.run import Run

EXPIRED: Final = "authorization_expired"
SELLER_AGAIN_SECONDS_MIN, SELLER_AGAIN_SECONDS_MAX = 30, 900


def capture(story: Story, run: Run, operation: UUID) -> payments.Capture:
    data, content = data_of(run), story.order.content
    assert content is not None and data.authorization_id is not None
    return payments.Capture(
        **story.addressed(operation),
        authorization_id=data.authorization_id,
        currency=content.currency,
        lines=data.lines,
    )


def issue(story: Story, run: Run, operation: UUID) -> invoicing.Issue:
    capture_id = data_of(run).capture_id
    assert capture_id is not None
    return invoice_of(story, operation, capture_id, data_of(run).to_invoice or lines_to_invoice(story, run))


def invoice_of(
    story: Story, operation: UUID, capture_id: UUID, lines: tuple[invoicing.InvoiceLineWanted, ...]
) -> invoicing.Issue:
    """An invoice to the buyer of the order."""
    order = story.order
    content = order.content
    assert content is not None and order.market is not None
    return invoicing.Issue(
        **story.addressed(operation),
        capture_id=capture_id, seller=order.market.seller, order_number=order.number, order_placed_at=content.placed_at,
        currency=content.currency, price_basis=content.price_basis, buyer=content.buyer, bill_to=content.bill_to,
        ship_to=content.ship_to, lines=lines,
    )  # fmt: skip


def lines_to_invoice(story: Story, run: Run) -> tuple[invoicing.InvoiceLineWanted, ...]:
    assert story.order.content is not None
    by_id = {line.line_id: line for line in payable(story.order.content)}
    before = taken_by_settles(story.runs, story.facts, before=run)
    return tuple(_invoiced(by_id[line.line_id], line, before) for line in data_of(run).lines)


def _invoiced(whole: Payable, line: MoneyLine, before: Mapping[str, tuple[int, int]]) -> invoicing.InvoiceLineWanted:
    """A captured line with its tax. If a line is captured in parts, the parts of a stated tax add up to it."""
    vat, taxes = whole.vat_minor, whole.taxes
    if vat is not None and line.amount_minor != whole.amount_minor:
        _, amount_before = before.get(line.line_id, (0, 0))
        vat = share_of(vat, amount_before + line.amount_minor, whole.amount_minor) - share_of(
            vat, amount_before, whole.amount_minor
        )
        shares = split(vat, [tax.vat_minor for tax in taxes]) if taxes and vat else [0] * len(taxes)
        taxes = tuple(tax.model_copy(update={"vat_minor": share}) for tax, share in zip(taxes, shares, strict=True))
    return invoicing.InvoiceLineWanted(
        line_id=line.line_id, sku=whole.sku, title=whole.title, quantity=1 if line.line_id == SHIPPING_LINE else line.quantity,
        amount_minor=line.amount_minor, rate=whole.rate, vat_minor=vat, taxes=taxes,
    )  # fmt: skip


def capture_failed(story: Story, run: Run, event: payments.Failed | Past) -> None:
    """An issuer holds an amount for some days only. Where the order has a token of its means of payment, that is authorized anew;
    else a person decides: `retry` asks for an authorization that waits for the buyer."""
    if event.code != EXPIRED:
        story.step_failed(run, event.code, event.reason)
        return
    data = data_of(run)
    assert story.order.content is not None and data.authorization_id is not None
    # Nothing is held any more: until a payment of it is renewed, the order is not authorized. Its other amounts stay for their
    # own captures, which renew them.
    gone = story.context.new_id(f"expired {run.id}")
    story.send(
        payments.Void(**story.addressed(gone), authorization_id=data.authorization_id, lines=data.lines, expired=True)
    )
    run = story.set_data(run, renews=True)
    if story.order.content.payment_token is not None:
        story.enter_first(run)
    else:
        story.step_failed(story.set(run, step=RENEW), event.code, event.reason)


def renew(story: Story, run: Run, operation: UUID) -> payments.Authorize:
    """Exactly what the capture is to take."""
    order = story.order
    assert order.content is not None and order.market is not None
    return payments.Authorize(
        **story.addressed(operation),
        gateway=order.market.gateway, account=order.market.account, payment_token=order.content.payment_token,
        currency=order.content.currency, reference=order.content.external_order_id, lines=data_of(run).lines,
    )  # fmt: skip


def renewal_declined(story: Story, run: Run, event: payments.Declined | Past) -> None:
    story.step_failed(run, event.code, event.reason)


def was_renewed(story: Story, run: Run, event: payments.Authorized | Past | None) -> None:
    """An authorization has the id of the operation that asked for it."""
    if event is not None:
        story.set_data(run, authorization_id=event.operation_id, renews=False)


def not_expired(story: Story, run: Run) -> bool:
    return not data_of(run).renews or data_of(run).capture_id is not None


def invoice_failed(story: Story, run: Run, event: invoicing.Failed) -> None:
    """A person corrects the cause and retries. A seller that is unknown or incomplete is asked for again by itself: at first
    after 30 seconds, then each time after as long as it has lasted, at most 15 minutes."""
    due_at = None
    if event.code in ("seller_unknown", "seller_incomplete"):
        lasted = (story.context.now - run.since).total_seconds()
        pause = min(max(lasted, SELLER_AGAIN_SECONDS_MIN), SELLER_AGAIN_SECONDS_MAX)
        due_at = story.context.now + timedelta(seconds=pause)
    story.set(run, waits="person", operation_id=None, due_at=due_at, detail=event.code)
    story.raise_exception("invoice_failed", f"{event.code}: {event.reason}")


def nothing_to_take(story: Story, run: Run) -> bool:
    return sum(line.amount_minor for line in data_of(run).lines) == 0


def no_capture(story: Story, run: Run) -> bool:
    return data_of(run).capture_id is not None or nothing_to_take(story, run)


def no_invoice(story: Story, run: Run) -> bool:
    return nothing_to_take(story, run) or not is_invoiced(story.order)


def was_captured(story: Story, run: Run, event: payments.Captured | Past | None) -> None:
    if event is not None:
        captures = story.facts.captures.values()
        capture_id = next(one.capture_id for one in captures if one.operation_id == event.operation_id)
        story.set_data(run, capture_id=capture_id)


def was_invoiced(story: Story, run: Run, event: invoicing.Issued | Past | None) -> None:
    if not any(one.step == "invoice" and one.waits == "person" for one in story.runs.values()):
        story.resolve_exception("invoice_failed")


# -- the undo ---------------------------------------------------------------------------------------------------------


def refund(story: Story, run: Run, operation: UUID) -> payments.Refund:
    return refund_of(story, unrefunded_captures(story)[0], operation)


def refund_of(story: Story, capture: CaptureFact, operation: UUID) -> payments.Refund:
    """What is left of one capture."""
    assert story.order.content is not None
    return payments.Refund(
        **story.addressed(operation),
        capture_id=capture.source_id,
        currency=story.order.content.currency,
        lines=tuple(line.to_refund for line in capture.lines if line.to_refund.amount_minor),
    )


def unrefunded_captures(story: Story) -> list[CaptureFact]:
    return [capture for capture in story.facts.captures.values() if capture.unrefunded_minor]


def unrefunded(story: Story) -> int:
    return sum(capture.unrefunded_minor for capture in unrefunded_captures(story))


def credit(story: Story, run: Run, operation: UUID) -> invoicing.Credit:
    """What is left of one invoice."""
    invoice = _uncredited(story)[0].invoice_id
    assert invoice is not None
    return invoicing.Credit(**story.addressed(operation), invoice_id=invoice, reason=undo.data_of(run).cause)


def _uncredited(story: Story) -> list[CaptureFact]:
    return [capture for capture in story.facts.captures.values() if capture.uncredited_minor]


def uncredited(story: Story) -> int:
    return sum(capture.uncredited_minor for capture in _uncredited(story))


def leaves(story: Story, run: Run) -> Closed | None:
    """What it took is computed from its capture. The tax of a later one depends on what was taken before it, so that none
    leaves before those that began earlier have ended."""
    for earlier in story.runs.values():
        if earlier.id == run.id:
            break
        if earlier.kind == KIND and not earlier.end:
            return None
    if (capture := capture_of(run, story.facts)) is not None:
        capture = capture.model_copy(update={"settled": True})
        story.note(captures={**story.facts.captures, str(capture.capture_id): capture})
        return Closed()
    return None if data_of(run).lines else Closed()  # a free line that is settled is not settled anew


# fmt: off
REFUND = Undo("refund", ask=refund, yes=payments.Refunded,  no={payments.Failed: undo.step_refused},     left=unrefunded)
CREDIT = Undo("credit", ask=credit, yes=invoicing.Credited, no={invoicing.Failed: undo.step_refused},  left=uncredited)

SETTLE = Process(KIND, SettleData, (
    #    step       command      yes                     no -> what it causes                         left out when         its end            undo
    Step(RENEW,     ask=renew,   yes=payments.Authorized, no={payments.Declined: renewal_declined},  skip=not_expired,     then=was_renewed),
    Step("capture", ask=capture, yes=payments.Captured,  no={payments.Failed: capture_failed},       skip=no_capture,      then=was_captured, undo=REFUND),
    Step("invoice", ask=issue,   yes=invoicing.Issued,   no={invoicing.Failed: invoice_failed},  skip=no_invoice,      then=was_invoiced, undo=CREDIT),
), leaves=leaves)
# fmt: on
