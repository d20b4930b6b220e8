"""What an action is: a command, the scope it needs, its guard, and every reason why it may not be possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from contracts.base import Command
from orders.domain.state.order import Order

Answer = Literal["refused", "done", "tried"]
"""The answer to a request that is sent all the same: a refusal with the code; success, and nothing changes; or it is tried,
because what prevents it may have been corrected."""


class WhyNot(NamedTuple):
    answer: Answer
    detail: str
    of_request: Callable[[Order, Any], str] = lambda order, request: ""
    """What the refusal of one request adds to `detail`."""
    more: Callable[[Order, Any], Mapping[str, Any]] = lambda order, request: {}
    """Further members of the problem that refuses one request."""


@dataclass(frozen=True)
class Action:
    name: str
    message: type[Command]
    """The command, on the topic and over HTTP."""
    scope: str
    """What the API key needs."""
    guard: Callable[[Order, Any], str | None]
    """(order, request) -> why the action is not possible; null: it is. Without a request: why no request of it is. Called for
    orders that exist."""
    why_not: Mapping[str, WhyNot]
    """Every code that the guard returns."""
    moves: bool = True
    """Whether it can change a status or a process. A request that attaches something to an order changes neither."""
