"""What a person may do with an order: one table for the API, for messages, and for `docs/actions.md`.

A guard returns why an action is not possible now, one of the closed codes of the action. Decisions ask the same guards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from contracts.base import Command
from contracts.deciding import Context, Refusal
from contracts.orders import Approve, Cancel, Resolve, Retry
from orders.domain import exceptions
from orders.domain.order import Order, has_shipped, retryable

Answer = Literal["refused", "done", "tried"]
"""The answer to a request that is sent all the same: a refusal with the code; success, and nothing changes; or it is tried,
because what prevents it may have been corrected."""


class WhyNot(NamedTuple):
    answer: Answer
    detail: str


@dataclass(frozen=True)
class Action:
    name: str
    message: type[Command]
    """The command, on the topic and over HTTP."""
    scope: str
    """What the API key needs."""
    guard: Callable[[Order], str | None]
    """Why the action is not possible; null: it is. Called for orders that exist."""
    why_not: Mapping[str, WhyNot]
    """Every code that the guard returns."""


class Legal(NamedTuple):
    action: str
    allowed: bool
    why_not: str | None


def _approve(order: Order) -> str | None:
    if order.approved_at is not None and order.status != "cancelled":
        return "order_approved"
    place = order.runs.get("place")
    waits = place is not None and place.waits == "approval" and order.undo is None
    return None if waits else "order_not_awaiting_approval"


def _cancel(order: Order) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    return "order_shipped" if has_shipped(order) else None


def _retry(order: Order) -> str | None:
    if exceptions.obstacle(order) is not None:
        return "obstacle_remains"
    return None if retryable(order) else "step_not_failed"


def _resolve(order: Order) -> str | None:
    if not order.exceptions:
        return "exception_unknown"
    return None if any(exceptions.is_resolvable(order, code) for code in order.exceptions) else "resolution_unsupported"


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action("approve", Approve, "orders.edit", _approve, {
            "order_approved": WhyNot("done", "it is approved"),
            "order_not_awaiting_approval": WhyNot("refused", "only an order that is placed and waits for approval is approved"),
        }),
        Action("cancel", Cancel, "orders.cancel", _cancel, {
            "order_cancelled": WhyNot("done", "it is cancelled, or is being cancelled"),
            "order_shipped": WhyNot("refused", "something has shipped; a return is the way back"),
        }),
        Action("retry", Retry, "orders.edit", _retry, {
            "obstacle_remains": WhyNot("tried", "an exception keeps the order from starting"),
            "step_not_failed": WhyNot("refused", "no step of the order waits for a person"),
        }),
        Action("resolve", Resolve, "orders.edit", _resolve, {
            "exception_unknown": WhyNot("refused", "the order has no open exception"),
            "resolution_unsupported": WhyNot("refused", "no resolution ends the open exceptions now"),
        }),
    )
}  # fmt: skip


def legal(order: Order) -> list[Legal]:
    """Every action, and why it is not possible now."""
    whys = {name: action.guard(order) for name, action in ACTIONS.items()}
    return [Legal(name, why is None, why) for name, why in whys.items()]


def allowed(order: Order) -> list[str]:
    """The actions that are possible now."""
    return [one.action for one in legal(order) if one.allowed] if order.known else []


def check(name: str, order: Order, context: Context) -> list[Refusal] | None:
    """The answer to a request that is not possible: a refusal, or nothing if it is done; null: it is carried out."""
    if not order.known:
        return [Refusal("order_unknown", f"no order {context.key} in this store")]
    action = ACTIONS[name]
    if (code := action.guard(order)) is None or action.why_not[code].answer == "tried":
        return None
    answer, detail = action.why_not[code]
    return [] if answer == "done" else [Refusal(code, f"the order is {order.status}: {detail}")]
