"""When keys that no order of the lists has are looked up again."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from console.domain.missed import AGAIN_SECONDS_MAX, Missed

POLL_SECONDS = 2.0


def lookups(rounds: int) -> list[float]:
    """Returns when a key is looked up that never appears."""
    missed, key, found = Missed(), uuid4(), [0.0]
    missed.note([key], [key], 0.0)
    for n in range(1, rounds):
        now = n * POLL_SECONDS
        assert (key in missed.due(now)) is not missed.rests(key, now)
        if missed.due(now):
            found.append(now)
            missed.note([key], [key], now)
    return found


def test_a_key_that_never_appears_is_looked_up_ever_more_rarely() -> None:
    assert lookups(rounds=70) == [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    day = lookups(rounds=43_200)
    assert len(day) < 86_400 / AGAIN_SECONDS_MAX + 12
    assert max(b - a for a, b in pairwise(day)) <= AGAIN_SECONDS_MAX + POLL_SECONDS


@given(appears_at=st.floats(min_value=0, max_value=10_000))
def test_an_order_that_appears_is_found_within_twice_its_age_and_five_minutes(appears_at: float) -> None:
    found_at = next(at for at in lookups(rounds=6_000) if at >= appears_at)
    assert found_at - appears_at <= min(appears_at, AGAIN_SECONDS_MAX) + POLL_SECONDS


def test_a_key_that_is_found_or_no_longer_parked_is_not_looked_up_again() -> None:
    missed, first, second = Missed(), uuid4(), uuid4()
    missed.note([first, second], [first, second], 0.0)
    missed.note([first], [], 2.0)
    assert missed.due(1_000.0) == {second}
    missed.keep([first])
    assert missed.due(1_000.0) == set()
