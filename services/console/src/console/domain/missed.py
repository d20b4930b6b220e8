"""When a key of a parked message that no order of the lists has is looked up again.

Its order may come into the lists a moment later, or never: the parked message may be the first of the order. So a key is looked up
again once it has been missed for twice as long as at the last time, and at least every AGAIN_SECONDS_MAX.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final, NamedTuple
from uuid import UUID

AGAIN_SECONDS_MAX: Final = 300.0


class _Miss(NamedTuple):
    first_at: float
    due_at: float


class Missed:
    """Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._keys: dict[UUID, _Miss] = {}

    def due(self, now: float) -> Set[UUID]:
        return {key for key, miss in self._keys.items() if miss.due_at <= now}

    def rests(self, key: UUID, now: float) -> bool:
        """Whether it was missed and is not looked up yet."""
        return key in self._keys and self._keys[key].due_at > now

    def note(self, looked_up: Collection[UUID], missing: Collection[UUID], now: float) -> None:
        """missing: those that were looked up in vain."""
        for key in looked_up:
            before = self._keys.pop(key, None)
            if key in missing:
                first_at = now if before is None else before.first_at
                self._keys[key] = _Miss(first_at, now + min(now - first_at, AGAIN_SECONDS_MAX))

    def keep(self, keys: Collection[UUID]) -> None:
        """Evicts all others: nothing of them is parked any more."""
        self._keys = {key: miss for key, miss in self._keys.items() if key in keys}
