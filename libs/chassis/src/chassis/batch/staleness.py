"""Refuses messages whose `ce_time` is too old or too far ahead, by the database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Final

STALE: Final = frozenset({"too_old", "from_the_future"})
"""Causes that depend on the time at which a message is judged."""
AHEAD_SECONDS_MAX: Final = 86_400


def judged_by_time(time: datetime, now: float, horizon_seconds: float) -> tuple[str, str] | None:
    """Cause and detail if a message of this `ce_time` is refused at `now` (the database's clock); None if it is not.

    horizon_seconds: how long the inbox stores ids; an older message could take effect twice.
    """
    age = now - time.timestamp()
    if -AHEAD_SECONDS_MAX < age < horizon_seconds:
        return None
    cause, hint = ("too_old", "older than the inbox stores ids") if age > 0 else ("from_the_future", "a day ahead")
    return cause, f"ce_time {time.isoformat()} is {hint} by the database's clock; send it anew with a new ce_id"
