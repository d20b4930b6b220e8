"""The database's clock: it decides what is too old or from the future, because hosts' clocks can be wrong and differ.

It is read every few seconds and extrapolated by the monotonic clock in between, so asking for the time costs nothing per message.
"""

from __future__ import annotations

import time
from typing import NamedTuple

DIFFERENCE_SECONDS_MAX = 5.0
"""A host whose clock differs by more is not ready: its logs, leases and certificates cannot be trusted."""


class Reading(NamedTuple):
    database: float
    """Seconds since the epoch, by the database."""
    host: float
    """The same instant by the host's clock, give or take `error`."""
    monotonic: float
    error: float
    """Half of the round trip, in seconds."""


class Clock:
    def __init__(self) -> None:
        self._reading: Reading | None = None

    @property
    def was_read(self) -> bool:
        return self._reading is not None

    def read(self, database: float, sent_at: float, received_at: float, host: float) -> None:
        """Record a reading: `sent_at` and `received_at` are monotonic, `host` is the host's clock at `received_at`."""
        error = (received_at - sent_at) / 2
        self._reading = Reading(database, host - error, received_at - error, error)

    def now(self) -> float:
        """Seconds since the epoch by the database's clock. Raises LookupError before the first reading."""
        if self._reading is None:
            raise LookupError("the database's clock was not read yet")
        return self._reading.database + time.monotonic() - self._reading.monotonic

    def now_or_host(self) -> float:
        """As `now`; by the host's clock before the first reading."""
        return self.now() if self.was_read else time.time()

    @property
    def skew(self) -> float:
        """Host's clock minus database's clock, in seconds; 0 before the first reading."""
        return self._reading.host - self._reading.database if self._reading is not None else 0.0

    @property
    def differs(self) -> bool:
        """Whether the host's clock surely differs by more than is allowed."""
        return self._reading is not None and abs(self.skew) - self._reading.error > DIFFERENCE_SECONDS_MAX

    def explained(self) -> str:
        """What is wrong with the host's clock, and how to fix it."""
        direction = "ahead of" if self.skew > 0 else "behind"
        return f"the host's clock is {abs(self.skew):.1f} s {direction} the database's: synchronise both (NTP)"
