"""How money is taken: capture, then invoice exactly what was captured. One settle per capture, started by the market's option."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from contracts import invoicing, payments
from contracts.base import SHIPPING_LINE
from contracts.money import split
from contracts.payments import MoneyLine
from orders.domain.amounts import payable
from orders.domain.order import Run
from orders.domain.story import Process, Step, Story


def capture(story: Story, run: Run, operation: UUID) -> payments.Capture:
    order, facts = story.order, story.facts
    assert order.content is not None and facts.authorization_id is not None
    return payments.Capture(
        order_id=story.context.key, store_id=order.store_id, operation_id=operation, actor="orders",
        authorization_id=facts.authorization_id, currency=order.content.currency, lines=run.lines,
    )  # fmt: skip


def issue(story: Story, run: Run, operation: UUID) -> invoicing.Issue:
    order = story.order
    assert order.content is not None and order.market is not None and run.capture_id is not None
    content, by_id = order.content, {line.line_id: line for line in payable(order.content)}
    return invoicing.Issue(
        order_id=story.context.key, store_id=order.store_id, operation_id=operation, actor="orders",
        capture_id=run.capture_id, seller=order.market.seller, order_number=order.number, order_placed_at=content.placed_at,
        currency=content.currency, price_basis=content.price_basis, buyer=content.buyer, bill_to=content.bill_to,
        ship_to=content.ship_to,
        lines=tuple(
            invoicing.InvoiceLineWanted(
                line_id=line.line_id, sku=by_id[line.line_id].sku, title=by_id[line.line_id].title,
                quantity=1 if line.line_id == SHIPPING_LINE else line.quantity,
                amount_minor=line.amount_minor, net_minor=_net(by_id[line.line_id].net_minor, by_id[line.line_id].amount_minor, line),
                rate=by_id[line.line_id].rate,
            )
            for line in run.lines
        ),
    )  # fmt: skip


def _net(net_minor: int | None, of_minor: int, line: MoneyLine) -> int | None:
    """The net part of a captured amount, which may be less than the line's whole."""
    if net_minor is None or line.amount_minor == of_minor:
        return net_minor
    return split(line.amount_minor, [net_minor, of_minor - net_minor])[0] if of_minor else 0


def capture_failed(story: Story, run: Run, event: payments.Failed) -> None:
    story.hold(run, event.code, event.reason)


SELLER_AGAIN_SECONDS_MIN, SELLER_AGAIN_SECONDS_MAX = 30, 900


def invoice_rejected(story: Story, run: Run, event: invoicing.Rejected) -> None:
    """A person corrects the cause and resumes. A seller that is unknown or incomplete is asked for again by itself: at first
    after 30 seconds, then each time after as long as it has lasted, at most 15 minutes."""
    due_at = None
    if event.code in ("seller_unknown", "seller_incomplete"):
        lasted = (story.context.now - run.since).total_seconds()
        pause = min(max(lasted, SELLER_AGAIN_SECONDS_MIN), SELLER_AGAIN_SECONDS_MAX)
        due_at = story.context.now + timedelta(seconds=pause)
    story.set(run, waits="person", operation_id=None, due_at=due_at, detail=event.code)
    story.raise_exception("invoice_rejected", f"{event.code}: {event.reason}")


def nothing_to_take(story: Story, run: Run) -> bool:
    return sum(line.amount_minor for line in run.lines) == 0


def was_captured(story: Story, run: Run) -> None:
    if not nothing_to_take(story, run):
        story.set(run, capture_id=run.operation_id)


def was_invoiced(story: Story, run: Run) -> None:
    if not any(one.step == "invoice" and one.waits == "person" for one in story.runs.values()):
        story.resolve_exception("invoice_rejected")


# fmt: off
SETTLE = Process("settle", (
    #    step        we ask         yes                        no -> then                                   left out when         and then
    Step("capture", ask=capture, yes=payments.Captured,  no={payments.Failed: capture_failed},       skip=nothing_to_take, then=was_captured),
    Step("invoice", ask=issue,   yes=invoicing.Issued,   no={invoicing.Rejected: invoice_rejected},  skip=nothing_to_take, then=was_invoiced),
))
# fmt: on


def begin_rest(story: Story) -> None:
    """Settle everything that no settle has taken up yet."""
    assert story.order.content is not None
    taken = _taken(story)
    _begin(story, tuple(line.money for line in payable(story.order.content) if line.line_id not in taken))


def begin_shipment(story: Story, pieces: Mapping[str, int]) -> None:
    """Settle what a shipment carried; with the first one also what does not ship: digital lines and the shipping charge.

    A line that ships in parts is taken in parts that add up to it: each time the share of all pieces so far, less what
    was taken.
    """
    assert story.order.content is not None
    taken = _taken(story)
    lines = []
    for line in payable(story.order.content):
        before, amount_before = taken.get(line.line_id, (0, 0))
        if line.ships:
            now = pieces.get(line.line_id, 0)
            if not now:
                continue
            so_far = before + now
            amount = (
                line.amount_minor
                if so_far >= line.quantity
                else split(line.amount_minor, [so_far, line.quantity - so_far])[0]
            )
            lines.append(MoneyLine(line_id=line.line_id, quantity=now, amount_minor=amount - amount_before))
        elif line.line_id not in taken:
            lines.append(line.money)
    _begin(story, tuple(lines))


def _taken(story: Story) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, amount) that settles have taken up."""
    taken: dict[str, tuple[int, int]] = {}
    for run in story.runs.values():
        if run.kind == "settle":
            for line in run.lines:
                quantity, amount = taken.get(line.line_id, (0, 0))
                taken[line.line_id] = (quantity + line.quantity, amount + line.amount_minor)
    return taken


def _begin(story: Story, lines: tuple[MoneyLine, ...]) -> None:
    if lines:
        number = sum(run.kind == "settle" for run in story.runs.values()) + 1
        story.begin(Run(id=f"settle:{number}", kind="settle", since=story.context.now, lines=lines))
