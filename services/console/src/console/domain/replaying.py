"""What a person can request for replays: count one, begin exactly what was counted, pause it, go on, end it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from console.domain.endpoints import ONLY
from console.domain.wanted import Fields, Wanted, reason_of

COUNT_SECONDS_MAX: Final = 8
"""Webhooks ends a count after 5 s, and answers how far it has come."""


class Action(NamedTuple):
    title: str
    does: str
    statuses: tuple[str, ...]
    """The replays with these statuses have it."""


ACTIONS: Final[Mapping[str, Action]] = {
    "pause": Action("Pause", "No more requests begin.", ("running",)),
    "resume": Action("Go on", "It goes on where it was paused.", ("paused",)),
    "cancel": Action("Cancel", "It ends. What was sent stays sent.", ("running", "paused")),
}


def counted(endpoint_id: UUID, begin: datetime, end: datetime | None, type: str, only: str, as_new: bool) -> Wanted:
    """Returns the request that counts the events of a replay; it sends none."""
    body = {
        "from": begin.isoformat(), "to": end and end.isoformat(), "types": [type] if type else [], "only": only,
        "as_new": as_new, "dry_run": True,
    }  # fmt: skip
    return Wanted("webhooks", "POST", f"/v1/endpoints/{endpoint_id}/replay", body, "", seconds_max=COUNT_SECONDS_MAX)


def begun(endpoint_id: UUID, fields: Fields) -> Wanted:
    """Returns the request for what was counted: both ends are cursors, so later events change nothing. Raises ValueError."""
    begin, end, only = fields.get("from", ""), fields.get("to", ""), fields.get("only", "")
    if not begin or not end or only not in ONLY:
        raise ValueError("count the events first")
    body: dict[str, Any] = {
        "from": begin, "to": end, "types": fields.get("types", "").split(), "only": only,
        "as_new": fields.get("as_new") == "true",
    }  # fmt: skip
    return Wanted("webhooks", "POST", f"/v1/endpoints/{endpoint_id}/replay", body, reason_of(fields))


def changed(action: str, replay_id: UUID, fields: Fields) -> Wanted:
    return Wanted("webhooks", "POST", f"/v1/replays/{replay_id}/{action}", None, reason_of(fields))
