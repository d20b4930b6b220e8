"""What processes of services state about themselves, for tests of the overview."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.process.operations import Operations
from console.domain.operations import Report


def body(service: str = "orders", **more: Any) -> dict[str, Any]:
    """What a process answers."""
    now = datetime.now(UTC).isoformat()
    shown: dict[str, Any] = {
        "service": service, "role": "all", "process": f"{service}:1", "started_at": now, "at": now, "ready": True,
        "versions": {"tradewind": "0.1.0", "python": "3.11", "postgresql": "16"}, "clock_skew_seconds": 0.0,
        "outbox": {"rows": 0, "oldest_since": None, "set_aside": 0}, "parked": {"waiting": 0, "keys": 0, "oldest_since": None},
        "tasks_open": 0, "timers_overdue": 0, "processes": {"counted_at": now, "items": []}, "consumer": None,
        "pools": [{"name": "batch", "connections_max": 8, "connections": 4, "in_use": 2}], "gauges": {},
    }  # fmt: skip
    return Operations.model_validate(shown | more).model_dump(mode="json")


def report(service: str = "orders", address: str = "10.0.0.1:80", *, silent_seconds: int = 0, **more: Any) -> Report:
    now = datetime.now(UTC)
    answered_at = now - timedelta(seconds=silent_seconds)
    return Report(
        service, address, now, answered_at, "no answer within 1.5 s" if silent_seconds else "", body(service, **more)
    )
