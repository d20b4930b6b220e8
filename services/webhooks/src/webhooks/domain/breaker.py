"""The circuit breaker of an endpoint: while it is open, only probes are sent, and the cursor does not move."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

IN_A_ROW: Final = 5
LAST: Final = 100
SHARE: Final = 0.5
PROBE_SECONDS_FIRST: Final = 5
PROBE_SECONDS_MAX: Final = 300


@dataclass(slots=True)
class Breaker:
    """Opens after 5 failures in a row, or when half of the last 100 attempts have failed. A probe that succeeds closes it."""

    failures: int = 0
    """In a row."""
    last: deque[bool] = field(default_factory=lambda: deque(maxlen=LAST))
    """Whether the latest attempts succeeded, oldest first."""
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    _probes: int = 0

    @classmethod
    def resumed(cls, failures: int, failing_since: datetime | None, now: datetime) -> Breaker:
        """Returns the breaker of an endpoint that has failed `failures` times in a row; it probes at once."""
        if failures < IN_A_ROW or failing_since is None:
            return cls(failures)
        return cls(failures, opened_at=failing_since, probe_at=now)

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def allows(self, now: datetime) -> bool:
        """Returns whether an attempt may begin: any while it is closed, a probe when one is due."""
        return self.probe_at is None or now >= self.probe_at

    def succeeded(self) -> None:
        self.failures, self._probes = 0, 0
        self.opened_at = self.probe_at = None
        self.last.append(True)

    def failed(self, now: datetime) -> None:
        self.failures += 1
        self.last.append(False)
        if self.is_open:
            self._probes += 1
        elif self.failures < IN_A_ROW and not (len(self.last) == LAST and self.last.count(False) >= SHARE * LAST):
            return
        else:
            self.opened_at = now
            self.last.clear()
        pause = min(PROBE_SECONDS_FIRST * 2**self._probes, PROBE_SECONDS_MAX)
        self.probe_at = now + timedelta(seconds=pause)
