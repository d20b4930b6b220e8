"""Why a step that waits cannot be retried, asked again or given up, and why its outcome cannot be stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from contracts.orders import (
    AskAgain,
    Force,
    GiveUp,
    Retry,
)
from orders.domain.decisions import exceptions
from orders.domain.decisions.guards import orders
from orders.domain.processes import edited, refunded
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.order import Order, retryable, unanswered
from orders.domain.state.run import Ask


def retry(order: Order, request: Retry | None) -> str | None:
    if order.held:
        return "order_held"
    if exceptions.obstacle(order) is not None:
        return "obstacle_remains"
    return None if retryable(order) else "step_not_failed"


def ask(order: Order, request: AskAgain | None) -> str | None:
    return None if unanswered(order) else "step_not_asked"


def give_up(order: Order, request: GiveUp | None) -> str | None:
    """As the market's patience: it ends no step of an order that has shipped, nor one that is suspended. A hold and an edit have
    an end of their own, a refund may have moved money, and an undo has no undo."""
    if (why := orders.cancel(order, None)) is not None:
        return why
    if order.held:
        return "order_held"
    if (editing := edited.the_open(order)) is not None:
        return "edit_open" if edited.is_draft(editing) else "edit_confirmed"
    waiting = [run for run in order.open_runs if run.waits in ("answer", "stock", "person")]
    if any(PROCESSES[run.kind].patience for run in waiting):
        return None
    return "refund_running" if any(run.kind == refunded.KIND for run in waiting) else "step_not_waiting"


def force(order: Order, request: Force | None) -> str | None:
    if request is None:
        whys = [_forcible(order, ask, "succeeded") for ask in order.asks.values()]
        return None if None in whys else next(iter(whys), "operation_unknown")
    ask = order.asks.get(str(request.target_operation_id))
    if ask is not None:
        return _forcible(order, ask, request.outcome)
    target, facts = str(request.target_operation_id), order.facts
    if target not in facts.captures and target not in facts.authorizations:
        return "operation_unknown"
    return "outcome_recorded" if request.outcome == "succeeded" else "not_forceable"


def _forcible(order: Order, ask: Ask, outcome: str) -> str | None:
    """Why the outcome of this operation cannot be stated now; null: it can, and payments decides."""
    run = order.runs[ask.run]
    yes = PROCESSES[run.kind].step(ask.step).yes
    if yes is None or yes.owner() != "payments":
        return "not_forceable"
    if ask.answer:
        was_refused = ask.answer != yes.TYPE and run.waits == "person"
        return None if outcome == "succeeded" and was_refused else "not_forceable"
    is_new = run.operation_id == ask.operation_id and run.asks < 2 and not run.interim
    return "not_forceable" if is_new else None


def forcible(order: Order) -> dict[str, UUID]:
    """Process -> the operation whose outcome a person may state now."""
    return {ask.run: ask.operation_id for ask in order.asks.values() if _forcible(order, ask, "succeeded") is None}


def who_answers(order: Order, request: Force) -> str:
    ask = order.asks.get(str(request.target_operation_id))
    if ask is None:
        return ": it has succeeded"
    owner = _owner_of(order, ask)
    if owner != "payments":
        return f": {owner} has been asked since {ask.asked_at.isoformat()} and answers for itself"
    if ask.answer:
        return f": payments has answered {ask.code or ask.answer}"
    return f": payments has been asked since {ask.asked_at.isoformat()} and may still answer"


def _owner_of(order: Order, ask: Ask) -> str:
    """The service that is asked."""
    yes = PROCESSES[order.runs[ask.run].kind].step(ask.step).yes
    return yes.owner() if yes is not None else "nobody"


def asked_since(order: Order, request: Force) -> Mapping[str, Any]:
    """Who is asked, and since when; nothing if the operation has its outcome."""
    ask = order.asks.get(str(request.target_operation_id))
    if ask is None or ask.answer:
        return {}
    return {"owner": _owner_of(order, ask), "since": ask.asked_at.isoformat()}
