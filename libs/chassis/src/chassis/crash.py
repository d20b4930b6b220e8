"""Crash points for the crash tests: `CRASH_AT=<service>.<point>[:<n>]` ends the process with status 137 at the n-th pass,
`CRASH_ON=<id of a message>` whenever that message is decided on.

Exit is immediate (`os._exit`): no finally, no flush, as with kill -9. Without the variable a point costs a dict lookup.
"""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

POINTS: Final = (
    "before_commit",
    "after_commit",
    "mid_batch",
    "after_handling_before_ack",
    "before_produce",
    "after_produce_before_delete",
    "before_gateway_call",
    "after_gateway_call",
    "before_report",
)

_service = ""
_left: dict[str, int] = {}
_deadly: set[UUID] = set()


def arm(service: str) -> None:
    """Read `CRASH_AT` and `CRASH_ON` for this process."""
    global _service
    _service = service
    _left.clear()
    _deadly.clear()
    _deadly.update(UUID(wish) for wish in filter(None, os.environ.get("CRASH_ON", "").split(",")))
    for wish in filter(None, os.environ.get("CRASH_AT", "").split(",")):
        name, _, nth = wish.partition(":")
        owner, _, at = name.partition(".")
        if owner == service:
            if at not in POINTS:
                raise ValueError(f"CRASH_AT names {at!r}; the points are {', '.join(POINTS)}")
            _left[at] = int(nth or 1)


def point(name: str) -> None:
    """Die here if this is the armed point and its turn."""
    if name in _left:
        _left[name] -= 1
        if _left[name] == 0:
            os._exit(137)


def deciding(message_id: UUID) -> None:
    """Die here if this is a message that kills."""
    if _deadly and message_id in _deadly:
        os._exit(137)
