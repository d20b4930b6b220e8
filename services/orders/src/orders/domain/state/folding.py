"""How the service's own events change an order: one fold each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from contracts.base import Event
from contracts.orders import (
    Approved,
    Cancelled,
    CancelRefused,
    CaptureRequested,
    Completed,
    DetailsChanged,
    EditChanged,
    EditConfirmed,
    EditDiscarded,
    Edited,
    EditOpened,
    ExceptionRaised,
    ExceptionResolved,
    Forced,
    ForceRefused,
    FulfillmentChanged,
    Held,
    OrderEvent,
    PaymentChanged,
    Placed,
    Received,
    RefundGivenUp,
    RefundOpened,
    RefundSettled,
    Reinstated,
    Released,
    Remarked,
    Retried,
    StepFailed,
    WaitingChanged,
)
from contracts.snapshot import OrderContent
from orders.domain.content.facts import with_learnt
from orders.domain.content.merging import merged
from orders.domain.state.annotations import FOLDED, folded
from orders.domain.state.order import (
    RELEASED_KEPT,
    WAIVABLE,
    Merged,
    OnHold,
    OpenException,
    Order,
    ProcessClosed,
    Progressed,
    RefundAdopted,
    Stated,
    sold,
)
from orders.domain.state.run import Ask, Run


def evolve(order: Order, event: Event) -> Order:
    """The order after one of the service's own events. Statuses are those that the published event states."""
    fold = _FOLDS.get(type(event))
    if fold is None:
        raise TypeError(f"{type(event).__name__} is no event of an order")
    change = fold(order, event)
    if isinstance(event, OrderEvent):
        change |= {
            "status": event.status,
            "payment_status": event.payment_status,
            "fulfillment_status": event.fulfillment_status,
        }
    return order.model_copy(update=change)


def _received(order: Order, event: Received) -> dict[str, object]:
    placed_here = event.operation_id is not None
    change = {
        "number": event.number, "source": event.source, "market": event.market, "placed_here": placed_here,
        **sold(event.order),
    }  # fmt: skip
    return change | ({"cancel_cause": "marketplace"} if event.status == "cancelled" else {})


def _edited(order: Order, event: Edited) -> dict[str, object]:
    change = {"source": event.source, "market": event.market or order.market, **sold(event.order)}
    if event.edit_id is None:
        return change
    stated = {row.line_id: row.row for row in event.lines if row.kind in ("original", "replacement", "added")}
    rows = {"line_rows": {**order.line_rows, **stated}, "rows_count": order.rows_count + len(event.lines)}
    return {**change, **rows, "base": _base_after(order, event.order), "carried": None, "wanted": None}


def _base_after(order: Order, now: OrderContent) -> OrderContent | None:
    """What the marketplace's undecided changes are counted from after an edit: a person's leaves it as it is, what was taken
    over of the marketplace is no change of it any more."""
    assert order.content is not None
    if order.carried is None:
        return order.base or order.content
    try:
        return merged(order.base, order.content, now, lambda rule: True) if order.base is not None else None
    except ValueError:  # amounts of both do not add up
        return order.carried


def _merged(order: Order, event: Merged | DetailsChanged) -> dict[str, object]:
    """An edit that is being carried out was computed before it: what it makes of the order gets the same change."""
    change: dict[str, object] = {"source": event.source, "content": event.order}
    if order.wanted is not None:
        assert order.content is not None
        change["wanted"] = merged(order.wanted, order.content, event.order, lambda rule: True)
    return change


def _stated(order: Order, event: Stated) -> dict[str, object]:
    base = {"": None, "stated": order.stated, "kept": order.base}[event.base]
    return {"source": event.source, "stated": event.order, "base": base}


def _reinstated(order: Order, event: Reinstated) -> dict[str, object]:
    """Processes begin anew; captures and shipments of before stay on record, and nothing of them is left to undo."""
    facts = order.facts.model_copy(
        update={
            "undone": order.facts.money,
            "authorizations": {},
            "captures": {name: capture.of_the_past for name, capture in order.facts.captures.items()},
            "reserved": False,
            "start_asked": False,
            "fulfilled": False,
        }
    )
    names = ("placed_at", "approved_at", "cancelled_at", "completed_at", "cancel_cause", "stated", "base", "carried")
    ended = dict.fromkeys(names)
    return {
        **ended,
        "source": event.source,
        "facts": facts,
        "runs": {},
        "asks": {},
        "closed": {},
        "unstated": {},
        "wanted": None,
        "line_rows": {},
        **sold(event.order),
    }


def _cancelled(order: Order, event: Cancelled) -> dict[str, object]:
    return {"cancelled_at": event.cancelled_at, "cancel_cause": event.cause, "completed_at": None}


def _payment_changed(order: Order, event: PaymentChanged) -> dict[str, object]:
    return {"facts": order.facts.model_copy(update={"money": event.totals})}


def _raised(order: Order, event: ExceptionRaised) -> dict[str, object]:
    raised = OpenException(
        exception_id=event.exception_id,
        since=event.since,
        detail=event.detail,
        difference=event.difference,
        changes_more=event.changes_more,
        why_not=event.why_not,
    )
    return {"exceptions": {**order.exceptions, event.code: raised}}


def _resolved(order: Order, event: ExceptionResolved) -> dict[str, object]:
    change: dict[str, object] = {
        "exceptions": {code: one for code, one in order.exceptions.items() if code != event.code}
    }
    if event.resolution is not None and event.code in WAIVABLE:
        change["waived"] = {**order.waived, event.code: order.exceptions[event.code].detail}
    return change


def _held(order: Order, event: Held) -> dict[str, object]:
    hold = OnHold(
        hold_id=event.hold_id, reason=event.reason, note=event.note, placed_by=event.placed_by, since=event.since,
        until=event.until, operation_id=event.operation_id,
    )  # fmt: skip
    return {"holds": {**order.holds, str(hold.hold_id): hold}}


def _released(order: Order, event: Released) -> dict[str, object]:
    holds = {name: hold for name, hold in order.holds.items() if name != str(event.hold_id)}
    return {"holds": holds, "released": (*order.released, event.hold_id)[-RELEASED_KEPT:]}


def _only_statuses(order: Order, event: Event) -> dict[str, object]:
    return {}


def _progressed(order: Order, event: Progressed) -> dict[str, object]:
    change: dict[str, object] = {}
    runs = {**order.runs, **{run.id: run for run in event.runs}}
    if event.runs:
        change["runs"] = runs
    if event.runs or event.asks:
        asks = {**order.asks, **{str(ask.operation_id): ask for ask in event.asks}}
        change["asks"] = {name: ask for name, ask in asks.items() if _matters(ask, runs)}
    if event.learnt is not None:
        change["facts"] = with_learnt(order.facts, event.learnt)
    if event.source is not None:
        change["source"] = event.source
    return change


def _process_closed(order: Order, event: ProcessClosed) -> dict[str, object]:
    change: dict[str, object] = {
        "runs": {name: run for name, run in order.runs.items() if name != event.run.id},
        "asks": {name: ask for name, ask in order.asks.items() if ask.run != event.run.id},
    }
    if event.operation_id is not None:
        change["closed"] = {**order.closed, f"{event.run.kind}:{event.operation_id}": event.outcome}
    if event.operation_id is not None and event.unstated_minor is not None:
        change["unstated"] = {**order.unstated, str(event.operation_id): event.unstated_minor}
    return change


def _refund_adopted(order: Order, event: RefundAdopted) -> dict[str, object]:
    return {"unstated": {name: minor for name, minor in order.unstated.items() if name != str(event.refund_id)}}


def _matters(ask: Ask, runs: Mapping[str, Run]) -> bool:
    """Whether an ask is open, or its process still waits at it: for what it means, or for a person who decides about its
    refusal. The answer to another one changes nothing any more."""
    run = runs[ask.run]
    return not ask.answer or run.operation_id == ask.operation_id or (run.waits == "person" and run.step == ask.step)


# By type: folded a dozen times on an order's way, a chain of `case`s would ask fifteen questions for the commonest of them.
_FOLDS: Final[Mapping[type[Event], Callable[[Order, Any], dict[str, object]]]] = {
    Received: _received,
    Edited: _edited,
    Merged: _merged,
    DetailsChanged: _merged,
    Stated: _stated,
    Reinstated: _reinstated,
    Remarked: lambda order, event: {"remarks": {**order.remarks, event.code: event.detail}},
    Placed: lambda order, event: {"placed_at": event.placed_at},
    Approved: lambda order, event: {"approved_at": event.approved_at},
    Cancelled: _cancelled,
    Completed: lambda order, event: {"completed_at": event.completed_at},
    PaymentChanged: _payment_changed,
    ExceptionRaised: _raised,
    ExceptionResolved: _resolved,
    Held: _held,
    Released: _released,
    Progressed: _progressed,
    ProcessClosed: _process_closed,
    RefundAdopted: _refund_adopted,
    EditOpened: lambda order, event: {"carried": order.stated} if event.cause == "marketplace" else {},
    EditConfirmed: lambda order, event: {"wanted": event.order},
    EditDiscarded: lambda order, event: {"wanted": None, "carried": None},
    **dict.fromkeys(
        (
            CancelRefused,
            CaptureRequested,
            FulfillmentChanged,
            StepFailed,
            Retried,
            WaitingChanged,
            RefundOpened,
            RefundSettled,
            RefundGivenUp,
            EditChanged,
            Forced,
            ForceRefused,
        ),
        _only_statuses,
    ),
    **dict.fromkeys(FOLDED, lambda order, event: folded(order.annotations, event)),
}
