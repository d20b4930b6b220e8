"""What of an order is in refunds: those that are open, how each has ended, and what may still be refunded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, cast
from uuid import UUID

from contracts.base import SHIPPING_LINE, Document, LongText, Open, Personal, Timestamp
from contracts.deciding import Refusal
from contracts.limits import REFUND_LINES_MAX, REFUNDS_MAX
from contracts.orders import RefundCause, RefundWanted
from contracts.payments import MoneyLine
from orders.domain.content import refunds
from orders.domain.content.facts import CaptureFact, Facts
from orders.domain.content.refunds import Part, Wanted
from orders.domain.engine.story import Story
from orders.domain.state.order import Order
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


def data_of(run: Run) -> RefundData:
    assert isinstance(run.data, RefundData)
    return run.data


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


State = Literal["open", "refused", "settled", "given_up", "cancelled"]
"""`refused`: it waits for a person. `cancelled`: a cancel of the order has refunded the rest."""


def state_of(run: Run) -> State:
    if run.end == "undone":
        return "cancelled"
    if run.end:
        return "given_up" if data_of(run).given_up else "settled"
    return "refused" if is_refused(run) else "open"


def was_given_up(order: Order, refund_id: UUID) -> bool:
    run = find(order, refund_id)
    return data_of(run).given_up if run is not None else outcome_of(order, refund_id) == "given_up"


def is_refused(run: Run) -> bool:
    """It waits for a person."""
    return not run.end and run.waits == "person"


def can_be_given_up(run: Run) -> bool:
    """The refund itself is refused. Once its money has gone back, it has to be credited."""
    return is_refused(run) and run.step == "refund"


# -- what is left, and what a request takes of it ---------------------------------------------------------------------


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


def _taken(runs: Mapping[str, Run]) -> refunds.Taken:
    """What open refunds are going to take: their parts that have not gone back."""
    taken: dict[tuple[UUID, str], tuple[int, int]] = {}
    for run in of_order(runs):
        for part in data_of(run).parts if not run.end else ():
            for line in part.lines if part.refund_id is None else ():
                pieces, minor = taken.get((part.capture_id, line.line_id), (0, 0))
                taken[part.capture_id, line.line_id] = (pieces + line.quantity, minor + line.amount_minor)
    return taken


def unstated(data: RefundData) -> dict[str, int]:
    """line id -> minor units of a refund that was made here and that the marketplace may still state."""
    left: dict[str, int] = {}
    if data.reference is None and not data.given_up:
        for part in data.parts:
            for line in part.lines:
                left[line.line_id] = left.get(line.line_id, 0) + line.amount_minor
    return {name: rest for name, minor in left.items() if (rest := minor - data.stated.get(name, 0)) > 0}
