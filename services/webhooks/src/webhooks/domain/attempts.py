"""When a delivery that failed is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Before the second attempt, the third and so on; then the delivery is exhausted."""
JITTER: Final = 0.2
"""Part by which a pause is shorter or longer, so that deliveries that failed together do not come together again."""
RETRY_AFTER_SECONDS_MAX: Final = 3_600


def pause_before_next(attempts: int, chance: float) -> timedelta | None:
    """Returns the pause after `attempts` failures; None: the delivery is exhausted. chance: 0 to 1, chosen at random."""
    if attempts > len(RETRY_SECONDS):
        return None
    return timedelta(seconds=RETRY_SECONDS[attempts - 1] * (1 + JITTER * (2 * chance - 1)))


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """Returns the pause that a receiver requests with 429 or 503, at most an hour (RFC 9110, 10.2.3); None if it states none."""
    if header is None:
        return None
    try:
        seconds = (
            float(int(header)) if header.strip().isdecimal() else (parsedate_to_datetime(header) - now).total_seconds()
        )
    except (ValueError, TypeError, OverflowError):
        return None
    return timedelta(seconds=min(max(seconds, 0), RETRY_AFTER_SECONDS_MAX))
