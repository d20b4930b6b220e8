"""What is stored of an endpoint's deliveries, and what of them begins: the values that `lanes` takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Waiting(NamedTuple):
    """An event whose delivery has failed."""

    position: int
    lane: UUID | None
    """All later events of it wait behind this one; null: none does."""
    tries: int
    """That counted. 0: the event waited behind another one of its lane."""
    next_at: datetime
    exhausted: bool = False
    last: str = ""
    """How the last attempt failed."""
    batch: int | None = None
    """The first position of its batch; null: it is delivered alone."""
    delivered: bool = False
    """It needs no more, and what comes later in its lane has to be read."""


class Delivery(NamedTuple):
    """A delivery that begins."""

    positions: tuple[int, ...]
    """The events, ascending."""
    number: int
    """The attempt, from 1."""
    is_probe: bool
    """Begun while the breaker was open: its failure costs the event no attempt."""

    @property
    def position(self) -> int:
        """The position of its first event, which identifies the delivery."""
        return self.positions[0]


class Progress(NamedTuple):
    """What an endpoint has been sent: stored with each flush."""

    cursor: int
    open: tuple[int, ...] = ()
    """Positions up to the cursor whose first delivery has not ended."""
    batches: tuple[tuple[int, ...], ...] = ()
    """Which of them are delivered together."""


class Changes(NamedTuple):
    """What a flush writes."""

    progress: Progress
    written: Sequence[Waiting]
    deleted: Sequence[int]
    recorded: Sequence[int]
    """The batches that may begin once this is written."""


class Follow(NamedTuple):
    """A lane whose row is delivered: the events of it behind `after`, up to `until`, are to be read."""

    lane: UUID
    after: int
    until: int
