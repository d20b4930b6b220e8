"""Records of many partitions are taken in the order of their times, each once, in both directions and over any pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from console.domain import merging
from console.domain.merging import Backward, Forward, Piece


class Record(NamedTuple):
    part: int
    offset: int
    timestamp: int


class Log:
    """Partitions with gaps between offsets, of which a read returns a few records, and of all but one sometimes none."""

    def __init__(self, partitions: list[list[tuple[int, int]]], records_max: int, room: int) -> None:
        """partitions: of each record how many offsets and how much time is before it."""
        self.parts: dict[int, list[Record]] = {}
        self.ends: dict[int, int] = {}
        for part, steps in enumerate(partitions):
            offset = timestamp = 0
            self.parts[part] = []
            for gap, delay in steps:
                offset, timestamp = offset + gap, timestamp + delay
                self.parts[part].append(Record(part, offset, timestamp))
                offset += 1
            self.ends[part] = offset
        self.starts = dict.fromkeys(self.parts, 0)
        self._records_max, self._room = records_max, room
        self.reads = 0

    @property
    def ordered(self) -> list[Record]:
        return sorted(
            (one for records in self.parts.values() for one in records), key=lambda one: (one.timestamp, one.part)
        )

    async def read(self, positions: Mapping[int, int]) -> dict[int, Piece[Record]]:
        self.reads += 1
        pieces = {}
        for n, (part, at) in enumerate(positions.items()):
            found = [one for one in self.parts[part] if one.offset >= at][: self._records_max]
            has_room = len(positions) == 1 or n < self._room
            behind = found[-1].offset + 1 if found else self.ends[part]
            pieces[part] = Piece(found, behind) if has_room else Piece([], at)
        return pieces


logs = st.builds(
    Log,
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12), min_size=1, max_size=4),
    st.integers(1, 5), st.integers(0, 4),
)  # fmt: skip
pages = st.integers(1, 7)


@given(logs, pages)
async def test_going_forwards_every_record_comes_once_over_all_pages(log: Log, page: int) -> None:
    taken: list[Record] = []
    positions, full = log.starts, True
    while full:
        records = Forward(log.read, positions, log.ends)
        found = [one for _ in range(page) if (one := await records.take()) is not None]
        taken += found
        positions, full = records.positions, len(found) == page
    assert taken == log.ordered and positions == log.ends


@given(logs, pages, st.integers(1, 4))
async def test_going_backwards_every_record_comes_once_over_all_pages(log: Log, page: int, back: int) -> None:
    merging.BACK_RECORDS, usual = back, merging.BACK_RECORDS
    try:
        taken: list[Record] = []
        positions, full = log.ends, True
        while full:
            records = Backward(log.read, positions, log.starts)
            found = [one for _ in range(page) if (one := await records.take()) is not None]
            taken += found
            positions, full = records.positions, len(found) == page
        assert taken[::-1] == log.ordered and positions == log.starts
    finally:
        merging.BACK_RECORDS = usual


async def test_records_behind_the_end_are_left_to_a_later_page() -> None:
    log = Log([[(0, 0)] * 9], 100, 1)
    records = Forward(log.read, {0: 3}, {0: 5})
    assert [(await records.take()).offset for _ in range(2)] == [3, 4]  # type: ignore[union-attr]
    assert await records.take() is None and records.positions == {0: 5}


async def test_partitions_that_are_not_needed_yet_are_not_read_again() -> None:
    log = Log([[(0, n == 0)] * 20 for n in range(2)], 10, 2)
    records = Forward(log.read, log.starts, log.ends)
    for _ in range(10):
        await records.take()
    assert log.reads == 1
