"""An endpoint gets no more requests than it allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.rate import Bucket

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@given(st.integers(1, 50), st.integers(1, 20), st.lists(st.integers(0, 3_000), min_size=1, max_size=200))
def test_in_no_second_begin_more_than_the_rate_and_the_burst(per_second: int, burst: int, pauses: list[int]) -> None:
    bucket, now, begun = Bucket(per_second, burst), NOW, list[datetime]()
    for milliseconds in pauses:
        now += timedelta(milliseconds=milliseconds)
        while bucket.allows(now):
            bucket.take(now)
            begun.append(now)
        assert bucket.allowed_at > now
    for first in begun:
        within = [at for at in begun if first <= at < first + timedelta(seconds=1)]
        assert len(within) <= per_second + burst


def test_a_burst_begins_at_once_and_then_one_each_interval() -> None:
    bucket, begun = Bucket(10, 5), 0
    while bucket.allows(NOW):
        bucket.take(NOW)
        begun += 1
    assert begun == 5
    assert abs(bucket.allowed_at - (NOW + timedelta(seconds=0.1))) < timedelta(milliseconds=1)
