"""The events of an order: requests that changed it, what services state, and the steps that orders has recorded.

Source: docs.dintero.com/api-reference/orderevents and orderlist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from contracts.base import Text
from contracts.orders import json_object
from dintero_compat.domain.shapes import Sent

State = Literal["error", "failure", "success", "pending"]
Include = Literal["true", "false", "api-event", "service-event"]
OWN: Final = "orders."
"""Steps of a timeline that are events of orders; the others are commands that it sent."""
FAILURES: Final = frozenset({"exception_raised", "cancel_refused", "step_failed"})
"""Words of steps for which a person is needed, or which were refused."""


class ServiceEvent(Sent):
    """What a service states about an order."""

    state: State = "success"
    service: Text = Field(min_length=1)
    service_status: Text = Field(min_length=1)
    description: Text = ""
    metadata: dict[str, Any] = {}

    @field_validator("metadata")
    @classmethod
    def _metadata_can_be_stored(cls, value: dict[str, Any]) -> dict[str, Any]:
        json_object(value)
        return value


OURS: Final = frozenset({"id", "created_at", "created_by", "version", "request", "draft_id"})
"""Fields of an event that a client does not state."""


def of_timeline(steps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the events of orders as events of the service `orders`."""
    found = []
    for step in steps:
        if not step["type"].startswith(OWN):
            continue
        word = step["type"].removeprefix(OWN)
        found.append(
            {"id": step["message_id"], "created_at": step["at"], "created_by": step["caused_by"]["actor"], "version": step["version"],
             "state": "failure" if word in FAILURES else "success", "service": "orders", "service_status": word,
             "description": step.get("detail") or step.get("reason") or ""}
        )  # fmt: skip
    return found


def together(
    steps: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]], include: Include
) -> dict[str, Any]:
    """Returns the events, the oldest first, and their state.

    stored: `ApiEvent`s, which have a `request`, and events that services stated. include: which of the two kinds.
    """
    api = [one for one in stored if "request" in one] if include in ("true", "api-event") else []
    service = [one for one in stored if "request" not in one] + of_timeline(steps)
    events = sorted(
        api + (service if include in ("true", "service-event") else []), key=lambda one: str(one["created_at"])
    )
    return {"events": events, "state": state(sorted(service, key=lambda one: str(one["created_at"])))}


def state(events: Sequence[Mapping[str, Any]]) -> State:
    """Returns `failure` if any event reports one; `pending` if there is no event, or the latest one of a service is pending."""
    if any(one["state"] in ("failure", "error") for one in events):
        return "failure"
    latest = {one["service"]: one["state"] for one in events}
    return "pending" if not latest or "pending" in latest.values() else "success"
