"""When it is worth a notice that an endpoint fails, is given up, or has exhausted deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from webhooks.domain.endpoint import Exhausted

FAILING_AFTER: Final = timedelta(minutes=10)
"""How long only probes are sent, or the receiver asks for pauses, before the endpoint is reported."""
GIVEN_UP_AFTER: Final = timedelta(days=5)
"""From the first failure behind the last success."""
GIVEN_UP_FAILURES: Final = 20
EXHAUSTED_EVERY: Final = timedelta(hours=1)
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def verdict(
    failing_since: datetime, failures: int, opened_at: datetime | None, now: datetime, *, pauses: bool = False
) -> Literal["failing", "given_up"] | None:
    """Returns what a failure makes of its endpoint.

    failing_since, failures: since the last success. opened_at: when the breaker opened; null: it is closed. pauses: the receiver
    asked for a pause (429, 503), which leaves the breaker closed.
    """
    if now - failing_since >= GIVEN_UP_AFTER and failures >= GIVEN_UP_FAILURES:
        return "given_up"
    down_since = failing_since if pauses else opened_at
    return "failing" if down_since is not None and now - down_since >= FAILING_AFTER else None


@dataclass(slots=True)
class Exhaustions:
    """Counts the exhausted deliveries of an endpoint between two notices."""

    count: int = 0
    event_id: str = ""
    event_type: str = ""
    last: str = ""
    noticed_at: datetime = LONG_AGO

    def add(self, count: int, event_id: str, event_type: str, last: str) -> None:
        """event_id, event_type: of the latest."""
        self.count += count
        self.event_id, self.event_type, self.last = event_id, event_type, last

    def notice(self, now: datetime) -> Exhausted | None:
        """Returns what is to be reported now: the first at once, then all of an hour together. The latest is named."""
        if not self.count or now - self.noticed_at < EXHAUSTED_EVERY:
            return None
        notice = Exhausted(count=self.count, event_id=self.event_id, event_type=self.event_type, last=self.last)
        self.count, self.noticed_at = 0, now
        return notice

    def is_over(self, now: datetime) -> bool:
        """Returns whether nothing is left to report, and the next one would be reported at once."""
        return not self.count and now - self.noticed_at >= EXHAUSTED_EVERY
