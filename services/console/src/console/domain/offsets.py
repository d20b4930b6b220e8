"""How far the groups of consumers are behind the topics: lag, rates, and the time until the lag is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

Offsets = Mapping[int, int]
"""Partition -> offset."""
WINDOW: Final = timedelta(seconds=30)
"""Rates are those of this time: groups commit about once a second."""
CLEAR_SECONDS_MAX: Final = 365 * 86_400.0
"""A lag that would be gone later does not shrink: its rate is an error of the measurement."""


@dataclass(frozen=True, slots=True)
class Positions:
    """What the broker has answered at one moment."""

    at: datetime
    ends: Mapping[str, Offsets]
    """By topic, the offset behind the last record of each partition."""
    committed: Mapping[str, Mapping[str, Offsets]]
    """By group and topic, the offset before which all is handled; a topic is here if the group has committed any of it."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A group at one topic, or at all that it reads together."""

    lag: int
    """Records that are not handled."""
    produced: float | None
    """Records per second; null: not measured yet."""
    consumed: float | None

    @property
    def clear_seconds(self) -> float | None:
        """The time until the lag is gone if both rates stay; null: it does not shrink, or a rate is missing."""
        return time_to_clear(self.lag, self.produced, self.consumed)


def time_to_clear(lag: int, produced: float | None, consumed: float | None) -> float | None:
    """Returns seconds. A lag of nothing is clear.

    >>> time_to_clear(100, 5.0, 15.0), time_to_clear(100, 15.0, 15.0), time_to_clear(0, 9.0, 0.0)
    (10.0, None, 0.0)
    """
    if lag == 0:
        return 0.0
    if produced is None or consumed is None or consumed <= produced:
        return None
    seconds = lag / (consumed - produced)
    return seconds if seconds <= CLEAR_SECONDS_MAX else None


def rate(before: Offsets, after: Offsets, seconds: float) -> float | None:
    """Returns records per second; null: no partition is in both, or the topic was made anew, so that an offset went back."""
    moved = [after[partition] - offset for partition, offset in before.items() if partition in after]
    if not moved or seconds <= 0 or min(moved) < 0:
        return None
    return sum(moved) / seconds


def lag(ends: Offsets, committed: Offsets) -> int:
    """A partition of which a group has committed nothing is behind as a whole. A commit may be newer than the end that was read."""
    return sum(max(end - committed.get(partition, 0), 0) for partition, end in ends.items())


def with_newest(history: Sequence[Positions], newest: Positions) -> list[Positions]:
    """Returns the positions that rates are made of: the newest, and those before it within WINDOW."""
    return [*(one for one in history if newest.at - WINDOW <= one.at < newest.at), newest]


def topic_rates(history: Sequence[Positions]) -> dict[str, float | None]:
    """Returns the records per second that each topic receives."""
    first, last, seconds = _span(history)
    return {topic: rate(first.ends.get(topic, {}), ends, seconds) for topic, ends in last.ends.items()}


def flows(history: Sequence[Positions]) -> dict[str, dict[str, Flow]]:
    """Returns by group how far it is behind each topic that it reads."""
    first, last, seconds = _span(history)
    produced = topic_rates(history)
    return {
        group: {
            topic: Flow(
                lag(last.ends[topic], offsets), produced[topic],
                rate(first.committed.get(group, {}).get(topic, {}), offsets, seconds),
            )
            for topic, offsets in topics.items()
            if topic in last.ends
        }
        for group, topics in last.committed.items()
    }  # fmt: skip


def together(flows: Sequence[Flow]) -> Flow:
    """Returns the flow of several topics; a rate is null if one of theirs is."""
    return Flow(
        sum(flow.lag for flow in flows),
        _total([flow.produced for flow in flows]),
        _total([flow.consumed for flow in flows]),
    )


def _total(rates: Sequence[float | None]) -> float | None:
    known = [one for one in rates if one is not None]
    return sum(known) if len(known) == len(rates) else None


def _span(history: Sequence[Positions]) -> tuple[Positions, Positions, float]:
    first, last = history[0], history[-1]
    return first, last, (last.at - first.at).total_seconds()
