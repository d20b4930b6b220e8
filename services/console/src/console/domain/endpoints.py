"""What a person can request for an endpoint from its pages, and the state of an endpoint in one word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, get_args
from uuid import UUID

from console.domain.wanted import Fields, Wanted, reason_of
from contracts.base import Event
from contracts.registry import MESSAGES

SCOPE: Final = "webhooks.edit"
State = Literal["pending", "enabled", "failing", "held_back", "paused", "disabled"]
Only = Literal["all", "failed", "missing"]
ONLY: Final[tuple[Only, ...]] = get_args(Only)
EVENT_TYPES: Final[tuple[str, ...]] = tuple(sorted(name for name, one in MESSAGES.items() if issubclass(one, Event)))
FROM: Final = ("cursor", "now", "time")
"""Where the deliveries of a disabled endpoint can go on."""
OVERLAP_HOURS: Final = (24, 0, 72, 168)
"""For how long the present secrets can sign beside a new one; the first is what webhooks itself would take."""


def state_of(endpoint: Mapping[str, Any]) -> State:
    """endpoint: as `GET /v1/endpoints` of webhooks shows it."""
    if endpoint["status"] == "disabled":
        return "paused" if endpoint["disabled_because"] == "request" else "disabled"
    if endpoint["status"] != "enabled":
        return "pending"
    breaker = endpoint["breaker"]
    if breaker is None:
        return "failing" if endpoint["failing_since"] else "enabled"
    return "failing" if breaker["because"] == "failures" else "held_back"


class Action(NamedTuple):
    title: str
    method: str
    path: str
    """Below `/v1/endpoints/{endpoint_id}`."""
    does: str
    """What follows, for the button's description."""
    states: frozenset[State]
    """The endpoints in these states have it."""
    reasoned: bool = False
    """Whether a reason has to be given."""
    body: Callable[[Fields], Mapping[str, Any] | None] = lambda fields: None


_ANY: Final = frozenset[State](get_args(State))
_ENABLED: Final = frozenset[State](("enabled", "failing", "held_back"))
ACTIONS: Final[Mapping[str, Action]] = {
    "test": Action("Test", "POST", "/test", "An example is sent now; the answer of the receiver is shown here.", _ANY,
        body=lambda fields: {"type": _type(fields)}),
    "verify": Action("Verify", "POST", "/verify", "The receiver is asked; if it answers, the endpoint is enabled.", frozenset(("pending",))),
    "pause": Action("Pause", "POST", "/disable", "Nothing is sent until the endpoint is resumed; its events wait for 30 days.",
        _ENABLED | {"pending"}, reasoned=True),
    "resume": Action("Resume", "POST", "/enable", "Events are sent again, from the chosen place on.", frozenset(("paused", "disabled")),
        body=lambda fields: {"from": _begin(fields)}),
    "rotate": Action("Rotate the secret", "POST", "/rotate",
        "A new secret signs, and is shown once. The present ones sign beside it for the chosen time.", _ANY, reasoned=True,
        body=lambda fields: {"overlap_hours": _hours(fields)}),
}  # fmt: skip


def wanted_of(name: str, endpoint_id: UUID, fields: Fields) -> Wanted:
    """Returns the request of a form. Raises ValueError with what is missing."""
    action, reason = ACTIONS[name], reason_of(fields)
    if action.reasoned and not reason:
        raise ValueError("give a reason")
    return Wanted("webhooks", action.method, f"/v1/endpoints/{endpoint_id}{action.path}", action.body(fields), reason)


def counted_before_resuming(endpoint_id: UUID, fields: Fields) -> Wanted:
    """Returns the request that counts what `resume` would send. Raises ValueError."""
    body = {"from": _begin(fields), "dry_run": True}
    return Wanted("webhooks", "POST", f"/v1/endpoints/{endpoint_id}/enable", body, "")


def utc(text: str) -> datetime:
    """Returns the moment of a field `datetime-local`, which states no time zone: it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _type(fields: Fields) -> str:
    if (type := fields.get("type", "")) not in EVENT_TYPES:
        raise ValueError("choose a type of events")
    return type


def _hours(fields: Fields) -> int:
    if (hours := fields.get("overlap_hours", "")) not in map(str, OVERLAP_HOURS):
        raise ValueError("choose for how long the present secrets sign, too")
    return int(hours)


def _begin(fields: Fields) -> str:
    match fields.get("from", ""):
        case "cursor" | "now" as place:
            return place
        case "time":
            try:
                return utc(fields.get("time", "")).isoformat()
            except ValueError:
                raise ValueError("state the time from which events are sent, as 2026-11-28T14:00") from None
        case _:
            raise ValueError("choose where deliveries go on")
