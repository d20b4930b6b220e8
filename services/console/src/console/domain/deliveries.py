"""What became of events at endpoints: the attempts of one event at one endpoint are a delivery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Attempt = Mapping[str, Any]
"""As `GET /v1/attempts` of webhooks lists it."""
State = Literal["delivered", "failed", "exhausted"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event at an endpoint."""

    attempts: Sequence[Attempt]
    """Newest first, one at least."""

    @property
    def latest(self) -> Attempt:
        return self.attempts[0]

    @property
    def state(self) -> State:
        """`failed`: it is tried again. What has arrived once has arrived, also if it is sent once more in vain."""
        outcomes = {one["outcome"] for one in self.attempts}
        return "delivered" if "delivered" in outcomes else "exhausted" if "exhausted" in outcomes else "failed"

    @property
    def decisive(self) -> Attempt:
        """The newest attempt that has arrived, if one has; else the newest."""
        return next((one for one in self.attempts if one["outcome"] == "delivered"), self.latest)

    @property
    def is_missed(self) -> bool:
        return self.state != "delivered"


def deliveries(attempts: Iterable[Attempt]) -> Sequence[Delivery]:
    """Returns the deliveries that attempts belong to, the one with the newest attempt first. attempts: newest first.

    What was sent to the `notify_url` of an endpoint is another delivery than what was sent to the endpoint.
    """
    found: dict[tuple[str, str, bool], list[Attempt]] = {}
    for one in attempts:
        found.setdefault((one["endpoint_id"], one["event_id"], bool(one["notice"])), []).append(one)
    return [Delivery(attempts) for attempts in found.values()]
