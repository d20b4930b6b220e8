"""What goes wrong on request, the same words at every gateway.

`declined` (refused for good), `late` (pending, then it succeeds), `timed_out` (done, but the answer is held back once),
`lost` (held back once without having been done), `broken` (done, but answered 500 once), `down` (an error once, nothing
done), `silent` (done, and every answer about it is held back until the trouble is taken back). With the rule `demo` the
first 8 hex digits of the order id modulo 100 decide it: 0-3 the authorization is declined, 4-7 the capture is late, 8-11 it
times out.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

KINDS: Final = ("authorize", "capture", "void", "refund")
TROUBLES: Final = ("declined", "late", "timed_out", "lost", "broken", "down", "silent")


def demo_trouble(order_id: str, kind: str) -> str | None:
    """The demo's rule: what goes wrong follows from the order's id alone."""
    n = int(order_id.replace("-", "")[:8], 16) % 100
    if kind == "authorize" and n <= 3:
        return "declined"
    if kind == "capture" and 4 <= n <= 11:
        return "late" if n <= 7 else "timed_out"
    return None


@dataclass(frozen=True)
class Times:
    """Durations in milliseconds and seconds; defaults suit a demo."""

    latency_ms: float = 20
    """Mean; each answer takes half to one and a half of it."""
    late_ms: float = 1000
    """Until a late operation succeeds."""
    hold_ms: float = 30_000
    """How long a held answer is held, then it is a 504. Above the client's time limit: the client gives up first."""
    key_seconds: float = 24 * 3600
    """How long an idempotency key is honoured; afterwards the same key is a new operation, as with real gateways."""


class Faults:
    def __init__(self, times: Times, rule: Literal["none", "demo"] = "none", seed: int = 1) -> None:
        self.times, self._rule = times, rule
        self._random = random.Random(seed)
        self._told: dict[str, dict[str, str | None]] = defaultdict(dict)
        self._tried: set[str] = set()

    def tell(self, order_id: UUID, troubles: Mapping[str, str | None]) -> None:
        """Sets what goes wrong for an order, by kind of operation; null takes it back. Raises ValueError for other words."""
        if not all(kind in KINDS and trouble in (*TROUBLES, None) for kind, trouble in troubles.items()):
            raise ValueError(f"kinds {KINDS}, troubles {TROUBLES}")
        self._told[str(order_id)].update(troubles)

    def of(self, order_id: str, kind: str) -> str | None:
        told = self._told.get(order_id, {})
        if kind in told:
            return told[kind]
        return demo_trouble(order_id, kind) if self._rule == "demo" else None

    def is_first(self, key: str) -> bool:
        """Whether a call with this idempotency key comes for the first time."""
        is_first = key not in self._tried
        self._tried.add(key)
        return is_first

    async def latency(self) -> None:
        if self.times.latency_ms:
            await asyncio.sleep(self.times.latency_ms / 1000 * self._random.uniform(0.5, 1.5))

    async def hold(self) -> None:
        """The answer comes too late, or as an error that states nothing."""
        await asyncio.sleep(self.times.hold_ms / 1000)
