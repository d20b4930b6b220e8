"""How many requests of an endpoint begin at most: a bucket of tokens that fills at a steady rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Bucket:
    """`burst` requests may begin at once, then `per_second`. Its state is the time when it is full again (GCRA)."""

    per_second: int
    burst: int
    full_at: datetime = LONG_AGO

    @property
    def allowed_at(self) -> datetime:
        """When the next request may begin."""
        return self.full_at - timedelta(seconds=(self.burst - 1) / self.per_second)

    def allows(self, now: datetime) -> bool:
        return now >= self.allowed_at

    def take(self, now: datetime) -> None:
        self.full_at = max(self.full_at, now) + timedelta(seconds=1 / self.per_second)
