"""Pauses between attempts, the breaker that stops them, and the ids of attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.attempts import PRECISION, RETRY_SECONDS, attempt_id, pause_before_next, retry_after, time_of
from webhooks.domain.breaker import Breaker

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@given(st.integers(1, len(RETRY_SECONDS)), st.floats(0, 1))
def test_a_pause_is_that_of_the_schedule_give_or_take_a_fifth(attempts: int, chance: float) -> None:
    pause = pause_before_next(attempts, chance)
    assert pause is not None
    assert 0.8 * RETRY_SECONDS[attempts - 1] <= pause.total_seconds() <= 1.2 * RETRY_SECONDS[attempts - 1]


def test_after_the_last_attempt_a_delivery_is_exhausted() -> None:
    assert pause_before_next(len(RETRY_SECONDS) + 1, 0.5) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30), ("0", 0), ("999999", 3_600), ("Sat, 21 Nov 2026 12:00:40 GMT", 40), ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
     (None, None), ("soon", None), ("-5", None), ("1.5", None), ("9" * 400, None)],
)  # fmt: skip
def test_a_receiver_that_asks_for_a_pause_gets_it_up_to_an_hour(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == (None if seconds is None else timedelta(seconds=seconds))


def test_five_failures_in_a_row_open_the_breaker_and_a_probe_closes_it() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(NOW)
    breaker.succeeded()
    for _ in range(4):
        breaker.failed(NOW)
    assert not breaker.is_open
    breaker.failed(NOW)
    assert breaker.is_open and not breaker.allows(NOW) and breaker.allows(NOW + timedelta(seconds=5))
    breaker.succeeded()
    assert not breaker.is_open and breaker.allows(NOW)


def test_probes_become_rarer_up_to_five_minutes() -> None:
    breaker, now, pauses = Breaker(), NOW, []
    for _ in range(5):
        breaker.failed(now)
    for _ in range(8):
        assert breaker.probe_at is not None
        pauses.append((breaker.probe_at - now).total_seconds())
        now = breaker.probe_at
        breaker.failed(now)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]


def test_half_of_the_last_hundred_open_it_too() -> None:
    breaker = Breaker()
    for _ in range(49):
        breaker.failed(NOW)
        breaker.succeeded()
    breaker.succeeded()
    assert not breaker.is_open
    breaker.failed(NOW)
    assert breaker.is_open


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)), st.uuids(version=4))
def test_the_id_of_an_attempt_has_its_time_to_the_millisecond(at: datetime, random: UUID) -> None:
    found = time_of(made := attempt_id(at, random))
    assert found is not None and found <= at < found + PRECISION
    assert (made.version, made.variant) == (7, random.variant)


@pytest.mark.parametrize("other", [uuid4(), UUID(int=(2**48 - 1) << 80 | 7 << 76 | 2 << 62)])
def test_an_id_that_no_attempt_has_has_no_time(other: UUID) -> None:
    assert time_of(other) is None
