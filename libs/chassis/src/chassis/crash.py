"""Crash points for the crash tests: `CRASH_AT=<service>.<point>[:<n>]` ends the process with status 137 at the n-th pass,
`CRASH_ON=<id of a message>` whenever that message is decided on. `CRASH_FILE=<path>` lets a running process be armed: on
SIGUSR1 it reads the file as `CRASH_AT` and deletes it once that is in force.

Exit is immediate (`os._exit`): no finally, no flush, as with kill -9. Without the variable a point costs a dict lookup.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Final
from uuid import UUID

OF_DELIVERIES: Final = ("after_send", "before_flush", "after_flush")
"""Points that only webhooks passes, when it delivers."""
OF_MESSAGES: Final = (
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
OF_CORRECTIONS: Final = ("after_correction",)
"""Points that only payments passes, when it applies a difference: the money is moved, the difference is open."""
POINTS: Final = (*OF_MESSAGES, *OF_DELIVERIES, *OF_CORRECTIONS)

_service = ""
_left: dict[str, int] = {}
_deadly: set[UUID] = set()


def arm(service: str) -> None:
    """Read `CRASH_AT`, `CRASH_ON` and `CRASH_FILE` for this process."""
    global _service
    _service = service
    _left.clear()
    _deadly.clear()
    _deadly.update(UUID(wish) for wish in filter(None, os.environ.get("CRASH_ON", "").split(",")))
    _arm_points(os.environ.get("CRASH_AT", ""))
    if path := os.environ.get("CRASH_FILE"):
        file = Path(path)

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            _arm_points(file.read_text(encoding="utf-8"))
            file.unlink()

        signal.signal(signal.SIGUSR1, on_signal)


def _arm_points(wishes: str) -> None:
    for wish in filter(None, wishes.split(",")):
        name, _, nth = wish.partition(":")
        owner, _, at = name.partition(".")
        if owner == _service:
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
