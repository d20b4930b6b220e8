"""Values over time: where a value is stored, and how many become few for a plot.

A row has the values of one series over a span, so that a plot of any window reads some rows and not thousands. Values are
stored at three distances: 2 s for a day, a minute and an hour for 30 days.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

Values = Sequence[float | None]
"""At equal distances; null: no service has answered then."""


@dataclass(frozen=True, slots=True)
class Step:
    """A distance between two values."""

    seconds: int
    row_values: int
    """How many a row has."""
    kept: timedelta

    @property
    def row_seconds(self) -> int:
        return self.seconds * self.row_values

    def place(self, at: datetime) -> tuple[datetime, int]:
        """Returns the begin of the row that has the value of a time, and its index there."""
        row, rest = divmod(int(at.timestamp()), self.row_seconds)
        return datetime.fromtimestamp(row * self.row_seconds, UTC), rest // self.seconds

    def floor(self, at: datetime) -> datetime:
        """Returns the time of the value that covers a moment."""
        return datetime.fromtimestamp(int(at.timestamp()) // self.seconds * self.seconds, UTC)


POLL: Final = Step(2, 300, timedelta(hours=24))
MINUTE: Final = Step(60, 360, timedelta(days=30))
HOUR: Final = Step(3_600, 240, timedelta(days=30))
STEPS: Final = (POLL, MINUTE, HOUR)


class Point(NamedTuple):
    series: str
    step: Step
    at: datetime
    value: float


class Row(NamedTuple):
    """A row of `series_rows`."""

    series: str
    step_seconds: int
    begins_at: datetime
    values: list[float | None]


def rows(points: Iterable[Point]) -> list[Row]:
    """Returns the rows of some values, null where another value is; of two for one place the later one counts."""
    found: dict[tuple[str, Step, datetime], list[float | None]] = {}
    for point in points:
        begins_at, index = point.step.place(point.at)
        values = found.setdefault((point.series, point.step, begins_at), [None] * point.step.row_values)
        values[index] = point.value
    return [Row(series, step.seconds, begins_at, found[series, step, begins_at]) for series, step, begins_at in sorted(
        found, key=lambda key: (key[0], key[1].seconds, key[2]))]  # fmt: skip


def window(found: Mapping[datetime, Values], step: Step, begins_at: datetime, count: int) -> list[float | None]:
    """Returns the values of a window, from the rows of one series by their begins."""
    values: list[float | None] = []
    for n in range(count):
        row_begins, index = step.place(begins_at + timedelta(seconds=n * step.seconds))
        row = found.get(row_begins)
        values.append(row[index] if row is not None else None)
    return values


Many = Callable[[Sequence[float]], float]
"""Makes one value of several."""


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


MEANS: Final = ("orders.", "invoiced.p50", "topic.")
"""Series of which several values become their mean. All others keep the largest: a peak stays visible in a plot of a month."""


def one_of_many(series: str) -> Many:
    return mean if series.startswith(MEANS) else max


def downsampled(values: Values, count: int, many: Many) -> list[float | None]:
    """Returns at most `count` values, each of as many neighbours; null where all of them are."""
    size = max(math.ceil(len(values) / count), 1)
    found: list[float | None] = []
    for start in range(0, len(values), size):
        known = [value for value in values[start : start + size] if value is not None]
        found.append(many(known) if known else None)
    return found


def percentile(values: Sequence[float], share: float) -> float | None:
    """Returns the smallest value that at least `share` of all do not exceed (nearest rank); null of nothing.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
    (2, 4)
    """
    if not values:
        return None
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
