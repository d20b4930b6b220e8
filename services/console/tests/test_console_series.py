"""Values over time: where they are stored, what a plot makes of them, and how far groups are behind."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.domain import offsets, series
from console.domain.offsets import (
    CLEAR_SECONDS_MAX,
    Flow,
    Positions,
    flows,
    lag,
    rate,
    time_to_clear,
    together,
    topic_rates,
    with_newest,
)
from console.domain.overview import PLOTS, WINDOWS, drawn, step_of
from console.domain.series import HOUR, MINUTE, POLL, STEPS, Point, Step, downsampled, mean, percentile, rows, window
from console.throughput import whole_minutes

NOW = datetime(2026, 11, 21, 9, 30, 10, tzinfo=UTC)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
VALUES = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=200)
OFFSETS = st.dictionaries(st.integers(0, 11), st.integers(0, 10**9), max_size=12)


@pytest.mark.parametrize("module", [offsets, series])
def test_examples_in_the_docstrings_hold(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


# -- places -----------------------------------------------------------------------------------------------------------


@given(step=st.sampled_from(STEPS), at=TIMES)
def test_each_time_has_one_place_and_the_next_value_the_next(step: Step, at: datetime) -> None:
    begins_at, index = step.place(at)
    assert 0 <= index < step.row_values
    covers = begins_at + timedelta(seconds=index * step.seconds)
    assert covers == step.floor(at) and covers <= at < covers + timedelta(seconds=step.seconds)
    following = step.place(covers + timedelta(seconds=step.seconds))
    assert following == ((begins_at, index + 1) if index + 1 < step.row_values else (following[0], 0))


@given(step=st.sampled_from(STEPS), begins_at=TIMES, values=VALUES)
def test_what_is_written_into_rows_is_read_from_them_whatever_rows_it_spans(
    step: Step, begins_at: datetime, values: Sequence[float | None]
) -> None:
    begins_at = step.floor(begins_at)
    points = [
        Point("lag.orders", step, begins_at + timedelta(seconds=n * step.seconds), value)
        for n, value in enumerate(values)
        if value is not None
    ]
    written = rows(points)
    assert all(len(row.values) == step.row_values for row in written)
    assert window({row.begins_at: row.values for row in written}, step, begins_at, len(values)) == list(values)


def test_a_plot_of_a_month_reads_few_rows() -> None:
    for shown in WINDOWS.values():
        for plot in PLOTS:
            step, count = step_of(plot, shown)
            assert count // step.row_values + 2 <= 8
            assert step.kept >= timedelta(seconds=count * step.seconds)


# -- few of many ------------------------------------------------------------------------------------------------------


@given(values=VALUES, count=st.integers(1, 60))
def test_few_values_keep_the_peak_and_the_gaps_and_add_nothing(values: Sequence[float | None], count: int) -> None:
    found = downsampled(values, count, max)
    known = [value for value in values if value is not None]
    assert 1 <= len(found) <= count
    assert max((value for value in found if value is not None), default=None) == max(known, default=None)
    assert set(found) <= {*known, None}
    size = -(-len(values) // count)
    assert [value is None for value in found] == [
        all(value is None for value in values[n : n + size]) for n in range(0, len(values), size)
    ]


@given(values=VALUES, count=st.integers(1, 60))
def test_means_stay_between_the_values_that_they_are_made_of(values: Sequence[float | None], count: int) -> None:
    known = [value for value in values if value is not None]
    for value in downsampled(values, count, mean):
        assert value is None or min(known) * 0.999999 <= value <= max(known) * 1.000001


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=100), share=st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.5) is None


def test_one_plot_of_a_page_ends_where_the_others_do() -> None:
    for shown in WINDOWS.values():
        step, count = step_of(PLOTS[0], shown)
        values = [*[None] * (count - 1), 4.0]
        one = drawn(PLOTS[0], shown, NOW, dict.fromkeys(PLOTS[0].series, values))
        assert len(one.times) == len(one.lines["received"]) <= shown.points
        assert one.times[0] == NOW - timedelta(seconds=count * step.seconds) and one.times[-1] < NOW
        assert [place for place, _ in one.marks] == [0, 0.25, 0.5, 0.75, 1]
        assert one.summary.startswith("received: 4, at most 4") and not one.is_empty
    nothing = drawn(PLOTS[0], WINDOWS["24h"], NOW, {series: [None] * 1_440 for series in PLOTS[0].series})
    assert nothing.is_empty and nothing.summary == "received: nothing; completed: nothing"


# -- rates and lag ----------------------------------------------------------------------------------------------------


def test_a_rate_is_known_once_two_moments_are_and_unknown_when_offsets_went_back() -> None:
    assert rate({0: 10, 1: 5}, {0: 30, 1: 5, 2: 99}, 4) == 5.0
    assert rate({0: 30}, {0: 10}, 4) is None, "the topic was made anew"
    assert rate({}, {0: 10}, 4) is None and rate({0: 1}, {0: 1}, 0) is None


@given(ends=OFFSETS, committed=OFFSETS)
def test_a_lag_is_never_negative_and_counts_each_partition(ends: dict[int, int], committed: dict[int, int]) -> None:
    found = lag(ends, committed)
    assert found == sum(lag({partition: end}, committed) for partition, end in ends.items()) >= 0
    assert lag(ends, ends) == 0


RATES = st.one_of(
    st.integers(0, 10**7).map(lambda thousandths: thousandths / 1000), st.sampled_from([5e-324, 1e-308, 0.1 + 0.2, 0.3])
)
"""Messages per second, as counts over seconds make them; and what sums of such rates differ by."""


@given(behind=st.integers(1, 10**6), produced=RATES, consumed=RATES)
@example(behind=1, produced=0.0, consumed=1e-308)
def test_after_the_time_to_clear_the_lag_is_gone(behind: int, produced: float, consumed: float) -> None:
    seconds = time_to_clear(behind, produced, consumed)
    if consumed <= produced or behind > (consumed - produced) * CLEAR_SECONDS_MAX:
        assert seconds is None
    else:
        assert seconds is not None and isfinite(seconds)
        assert behind + produced * seconds - consumed * seconds == pytest.approx(
            0, abs=1e-3 * max(behind, produced * seconds)
        )


def positions(seconds: int, end: int, committed: int) -> Positions:
    ends = {"orders.events.v1": {0: end, 1: 7}, "payments.events.v1": {0: 3}}
    return Positions(NOW + timedelta(seconds=seconds), ends, {"payments": {"orders.events.v1": {0: committed, 1: 7}}})


def test_flows_are_those_of_the_last_half_minute() -> None:
    history: list[Positions] = []
    for n in range(60):  # 10 records a second in, 8 handled, then 20
        handled = 16 * n if n < 40 else 640 + 40 * (n - 40)
        history = with_newest(history, positions(2 * n, 1_000 + 20 * n, handled))
    assert len(history) == 16 and history[-1].at - history[0].at == timedelta(seconds=30)
    [found] = flows(history)["payments"].values()
    assert found == Flow(1_000 + 20 * 59 - (640 + 40 * 19), produced=10.0, consumed=20.0)
    assert found.clear_seconds == pytest.approx(found.lag / 10)
    assert topic_rates(history)["payments.events.v1"] == 0.0
    assert set(flows(history)["payments"]) == {"orders.events.v1"}, "it has committed nothing of the other topic"


def test_several_topics_together_have_no_rate_until_each_has_one() -> None:
    assert together([Flow(3, 1.0, 2.0), Flow(4, 0.5, 0.5)]) == Flow(7, 1.5, 2.5)
    assert together([Flow(3, 1.0, 2.0), Flow(4, None, 0.5)]) == Flow(7, None, 2.5)
    assert together([]) == Flow(0, 0, 0) and together([]).clear_seconds == 0


# -- which minutes are counted ----------------------------------------------------------------------------------------


def test_minutes_are_counted_once_they_are_over_and_at_most_an_hour_back() -> None:
    minute = MINUTE.floor(NOW)
    assert whole_minutes(None, NOW) == (minute - timedelta(hours=1), minute)
    assert whole_minutes(minute - timedelta(minutes=2), NOW) == (minute - timedelta(minutes=2), minute)
    assert whole_minutes(minute, NOW) == (minute, minute)
    assert whole_minutes(minute - timedelta(days=2), NOW) == (minute - timedelta(hours=1), minute)
    assert whole_minutes(minute + timedelta(minutes=3), NOW) == (minute, minute), "the lists went back"


def test_an_hour_is_made_of_minutes_and_a_minute_of_polls() -> None:
    assert HOUR.seconds % MINUTE.seconds == MINUTE.seconds % POLL.seconds == 0
    assert all(step.row_seconds % 60 == 0 for step in STEPS)
