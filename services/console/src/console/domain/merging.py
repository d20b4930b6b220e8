"""Records of many partitions in the order of their times, forwards or backwards, read only as far as they are taken.

A partition keeps its own order; of two partitions the earlier record comes first. Whoever continues at `positions` misses none and
is given none twice: what was read and not taken is read again.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

BACK_RECORDS: Final = 50
"""How many offsets of a partition are read at a time, going backwards."""


class Placed(Protocol):
    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int:
        """When the broker appended it."""


P = TypeVar("P", bound=Hashable)
R = TypeVar("R", bound=Placed)


class Piece(NamedTuple, Generic[R]):
    """Consecutive records of a partition."""

    records: Sequence[R]
    behind: int
    """Where to read on. Offsets without a record may precede it."""


Read = Callable[[Mapping[P, int]], Awaitable[Mapping[P, Piece[R]]]]
"""Returns what follows an offset of each partition; of one that is read with others it may return nothing for lack of room."""


class _Merged(ABC, Generic[P, R]):
    def __init__(self, read: Read[P, R], positions: Mapping[P, int], bounds: Mapping[P, int]) -> None:
        self._read, self._bounds = read, bounds
        self._reached = dict(positions)
        """How far each partition was read."""
        self._waiting: dict[P, deque[R]] = {part: deque() for part in positions}
        self._ranks = {part: rank for rank, part in enumerate(positions)}
        self._heads: list[tuple[int, int, P]] = []
        """A heap of the partitions whose next record waits, by its time."""
        self._dry = {part for part in positions if self._is_open(part)}
        """Partitions of which nothing waits although they have more."""

    async def take(self) -> R | None:
        """Returns the next record; None: there is none any more."""
        while self._dry:
            dry, self._dry = self._dry, set()
            await self._fill(sorted(dry, key=self._ranks.__getitem__))
            for part in dry:
                self._line_up(part)
        if not self._heads:
            return None
        _, _, part = heapq.heappop(self._heads)
        record = self._waiting[part].popleft()
        self._line_up(part)
        return record

    def _line_up(self, part: P) -> None:
        if self._waiting[part]:
            heapq.heappush(self._heads, (*self._place(part), part))
        elif self._is_open(part):
            self._dry.add(part)

    @abstractmethod
    def _is_open(self, part: P) -> bool:
        """Returns whether a partition has records that were not read."""

    @abstractmethod
    def _place(self, part: P) -> tuple[int, int]:
        """Returns the place of a partition's next record among those of the others."""

    @abstractmethod
    async def _fill(self, parts: Collection[P]) -> None:
        """Reads the next records of partitions."""


class Forward(_Merged[P, R]):
    """From `positions` up to the ends of the partitions."""

    @property
    def positions(self) -> dict[P, int]:
        """Returns the offset of the first record of each partition that was not taken."""
        return {part: found[0].offset if found else self._reached[part] for part, found in self._waiting.items()}

    def _is_open(self, part: P) -> bool:
        return self._reached[part] < self._bounds[part]

    def _place(self, part: P) -> tuple[int, int]:
        return self._waiting[part][0].timestamp, self._ranks[part]

    async def _fill(self, parts: Collection[P]) -> None:
        for part, piece in (
            await _pieces(self._read, {part: self._reached[part] for part in parts}, self._bounds)
        ).items():
            self._waiting[part] += piece.records
            self._reached[part] = piece.behind


class Backward(_Merged[P, R]):
    """From before `positions` down to the starts of the partitions."""

    @property
    def positions(self) -> dict[P, int]:
        """Returns the offset behind the last record of each partition that was not taken."""
        return {part: found[0].offset + 1 if found else self._reached[part] for part, found in self._waiting.items()}

    def _is_open(self, part: P) -> bool:
        return self._reached[part] > self._bounds[part]

    def _place(self, part: P) -> tuple[int, int]:
        return -self._waiting[part][0].timestamp, -self._ranks[part]

    async def _fill(self, parts: Collection[P]) -> None:
        begins = {part: max(self._reached[part] - BACK_RECORDS, self._bounds[part]) for part in parts}
        at = dict(begins)
        while at:
            for part, piece in (await _pieces(self._read, at, self._reached)).items():
                self._waiting[part].extendleft(piece.records)
                at[part] = piece.behind
            at = {part: offset for part, offset in at.items() if offset < self._reached[part]}
        self._reached |= begins


async def _pieces(read: Read[P, R], positions: Mapping[P, int], ends: Mapping[P, int]) -> dict[P, Piece[R]]:
    """Returns a piece of each partition, cut off at its end. A partition that has nothing to read any more has reached it."""
    found = await read(positions)
    pieces: dict[P, Piece[R]] = {}
    for part, at in positions.items():
        piece = found.get(part)
        if piece is None or piece.behind == at:  # there was no room for it
            piece = (await read({part: at})).get(part)
        end = ends[part]
        if piece is None or piece.behind == at:
            pieces[part] = Piece([], end)
        else:
            pieces[part] = Piece([one for one in piece.records if one.offset < end], min(piece.behind, end))
    return pieces
