"""When a delivery that failed is tried again, and the id of an attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from uuid import UUID

RETRY_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Before the second attempt, the third and so on; then the delivery is exhausted."""
JITTER: Final = 0.2
"""Part by which a pause is shorter or longer, so that deliveries that failed together do not come together again."""
RETRY_AFTER_SECONDS_MAX: Final = 3_600
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PRECISION: Final = timedelta(milliseconds=1)
"""How exact the time in an id is."""


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


def attempt_id(at: datetime, random: UUID) -> UUID:
    """Returns the id of an attempt: a UUID of version 7 (RFC 9562). Its time names the partition that has the attempt.

    random: a UUID of version 4.
    """
    return UUID(int=((at - EPOCH) // PRECISION) << 80 | 7 << 76 | random.int & ((1 << 76) - 1))


def time_of(attempt_id: UUID) -> datetime | None:
    """Returns the time of an attempt, to the millisecond; None: no attempt has this id."""
    try:
        return EPOCH + (attempt_id.int >> 80) * PRECISION if attempt_id.version == 7 else None
    except OverflowError:
        return None
