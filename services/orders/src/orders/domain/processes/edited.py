"""What of an order is in edits: the one that is open, how each has ended, and what an edit would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, cast
from uuid import UUID

from contracts.base import Document, Open, Personal, Text, Timestamp
from contracts.orders import EditCause, EditChanges
from contracts.payments import MoneyLine
from contracts.snapshot import OrderContent
from orders.domain.content import previews
from orders.domain.content.edits import Reason, applied
from orders.domain.content.facts import Facts
from orders.domain.content.previews import Difference, Money, Preview, difference, money
from orders.domain.content.snapshots import wholly_cancelled
from orders.domain.processes import settled
from orders.domain.state.order import Order
from orders.domain.state.run import Run, RunData

KIND: Final = "edit"
NO_CHANGES: Final = EditChanges()


class Returned(Document):
    """What goes back of one capture."""

    capture_id: UUID
    lines: tuple[MoneyLine, ...]


class EditData(RunData):
    kind: Literal["edit"] = "edit"
    edit_id: UUID
    cause: Annotated[EditCause, Open()]
    actor: str
    reason: Annotated[Text, Personal()] = ""
    opened_at: Timestamp
    expires_at: Timestamp
    changes: EditChanges = NO_CHANGES
    """Those of a request, until it ends."""
    accepted: tuple[str, ...] = ()
    """The exceptions whose difference it takes over, of one that the marketplace caused."""
    outcome: Literal["", "edited", "discarded"] = ""
    code: str = ""
    """Why it was discarded."""
    explanation: str = ""
    suspension_id: UUID | None = None
    """The suspension of the warehouse, until it is resumed."""
    release: Mapping[str, int] = {}
    """line id -> pieces to give back: those that were added, or once it is true those that the order has too many."""
    refund: tuple[Returned, ...] = ()
    """What goes back of captures."""
    readdressed: bool = False
    """Whether what has not shipped goes elsewhere."""


def data_of(run: Run) -> EditData:
    assert isinstance(run.data, EditData)
    return run.data


def of_order(order: Order) -> list[Run]:
    """The edits in an order's document, the oldest first: the open one, and the latest."""
    return [run for run in order.runs.values() if run.kind == KIND]


def find(order: Order, edit_id: UUID) -> Run | None:
    return next((run for run in of_order(order) if data_of(run).edit_id == edit_id), None)


def outcome_of(order: Order, edit_id: UUID) -> State | None:
    """How an edit ended that is no longer in the order's document; None: it is none."""
    outcome = order.closed.get(f"{KIND}:{edit_id}")
    return cast("State | None", outcome)


def exists(order: Order, edit_id: UUID) -> bool:
    return find(order, edit_id) is not None or outcome_of(order, edit_id) is not None


def the_open(order: Order) -> Run | None:
    return next((run for run in of_order(order) if not run.end), None)


def going_back(runs: Iterable[Run]) -> dict[str, MoneyLine]:
    """line id -> what a marketplace's edit that has become true is going to give back."""
    found: dict[str, MoneyLine] = {}
    for run in runs:
        if isinstance(run.data, EditData) and run.data.cause == "marketplace":
            found |= {line.line_id: line for part in run.data.refund for line in part.lines}
    return found


def is_draft(run: Run) -> bool:
    """Whether it waits for its confirmation."""
    return run.step == "draft" and not run.end


State = Literal["draft", "confirmed", "edited", "discarded"]


def state_of(run: Run) -> State:
    if (outcome := data_of(run).outcome) != "":
        return outcome
    return "draft" if is_draft(run) else "discarded" if run.end else "confirmed"


def cancels(content: OrderContent) -> bool:
    """Whether an edit that leaves this content cancels the order."""
    return wholly_cancelled(content)


def preview(order: Order, run: Run) -> Preview:
    """What the edit would do now, or is doing; nothing any more once it has ended."""
    assert order.content is not None
    if is_draft(run):
        after, reasons = applied(order.content, data_of(run).changes)
    else:
        after, reasons = target(order), ()
    reasons = reasons or (tuple(why_not(order, after)) if is_draft(run) else ())
    change = difference(order.content, after) if after.priced else difference(order.content, order.content)
    plan = plan_of(change, order.runs, order.facts)
    return Preview(after, change, plan, reasons)


def why_not(order: Order, after: OrderContent) -> list[Reason]:
    """Why a placed order cannot be changed to this content."""
    assert order.content is not None
    placing = order.runs.get("place")
    fulfilled = placing is None or bool(placing.end) or (placing.step == "fulfill" and _is_answered(order, placing))
    shipments = order.facts.shipments.values()
    return [*previews.obstacles(order.content, after, shipments, ships_more=not fulfilled)]


def _is_answered(order: Order, run: Run) -> bool:
    """Whether the step that a suspended process is in has its answer."""
    ask = order.asks.get(str(run.operation_id))
    return ask is not None and bool(ask.answer)


def target(order: Order) -> OrderContent:
    """What is sold after the edit that is carried out; what is sold now once it has become true or is discarded."""
    content = order.wanted or order.content
    assert content is not None
    return content


def plan_of(change: Difference, runs: Mapping[str, Run], facts: Facts) -> Money:
    return money(change, settled.captured(runs, facts), facts.unspent, settled.renewing(runs, facts))
