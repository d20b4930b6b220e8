"""When an endpoint is reported as failing, given up, back, and how often exhausted deliveries are. The clock is the test's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.attempts import pause_before_next
from webhooks.domain.breaker import IN_A_ROW, PROBE_SECONDS_MAX, Breaker
from webhooks.domain.notices import (
    EXHAUSTED_EVERY,
    FAILING_AFTER,
    GIVEN_UP_AFTER,
    GIVEN_UP_FAILURES,
    Exhaustions,
    verdict,
)

BEGAN = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def attempts_of_a_dead_endpoint() -> Iterator[tuple[datetime, int, Breaker]]:
    """The failures of an endpoint that always has events: when, how many, and the breaker after each."""
    breaker, now, failures = Breaker(), BEGAN, 0
    while True:
        failures += 1
        breaker.failed(now)
        yield now, failures, breaker
        now = max(now + timedelta(seconds=1), breaker.probe_at or now)


def test_a_dead_endpoint_is_failing_after_ten_minutes_of_probes_and_given_up_after_five_days() -> None:
    verdicts: dict[str | None, datetime] = {}
    for now, failures, breaker in attempts_of_a_dead_endpoint():
        verdicts.setdefault(found := verdict(BEGAN, failures, breaker.opened_at, now), now)
        if found == "given_up":
            break
    probe = timedelta(seconds=PROBE_SECONDS_MAX)
    opened_at = BEGAN + timedelta(seconds=IN_A_ROW - 1)
    assert opened_at + FAILING_AFTER <= verdicts["failing"] < opened_at + FAILING_AFTER + probe
    assert BEGAN + GIVEN_UP_AFTER <= verdicts["given_up"] < BEGAN + GIVEN_UP_AFTER + probe


def test_a_single_event_that_fails_in_every_attempt_does_not_disable_its_endpoint() -> None:
    """Ten attempts within three days and a half: the endpoint may be well, and the event the fault."""
    now = BEGAN
    for attempt in range(1, 10):
        pause = pause_before_next(attempt, 0.5)
        assert pause is not None
        now += pause
    assert timedelta(days=3) < now - BEGAN < timedelta(days=4)
    assert verdict(BEGAN, 10, None, now) is None
    assert verdict(BEGAN, GIVEN_UP_FAILURES - 1, None, BEGAN + 30 * DAY) is None


@pytest.mark.parametrize(("opened", "now", "found"), [
    (None, 9 * DAY, None),  # closed: others succeed, or there were few attempts
    (MINUTE, 10 * MINUTE, None),  # failing for ten minutes, open for nine
    (MINUTE, 11 * MINUTE, "failing"),
    (MINUTE, 5 * DAY - MINUTE, "failing"),
    (MINUTE, 5 * DAY, "given_up"),
])  # fmt: skip
def test_the_times_of_a_verdict(opened: timedelta | None, now: timedelta, found: str | None) -> None:
    failures = 10 if opened is None else 1_000
    assert verdict(BEGAN, failures, None if opened is None else BEGAN + opened, BEGAN + now) == found


def test_a_receiver_that_asks_for_pauses_and_for_nothing_else_fails_too() -> None:
    """Its breaker stays closed, since it states itself when the next request may come."""
    assert verdict(BEGAN, 3, None, BEGAN + 9 * MINUTE, pauses=True) is None
    assert verdict(BEGAN, 3, None, BEGAN + 10 * MINUTE, pauses=True) == "failing"
    assert verdict(BEGAN, 130, None, BEGAN + 5 * DAY, pauses=True) == "given_up"


@given(
    first=st.timedeltas(timedelta(), 20 * DAY), failures=st.integers(1, 60), opened=st.none() | st.timedeltas(timedelta(), 20 * DAY),
    pauses=st.booleans(),
)  # fmt: skip
def test_nothing_is_given_up_early_and_nothing_that_was_failing_is_well_again_by_a_failure(
    first: timedelta, failures: int, opened: timedelta | None, pauses: bool
) -> None:
    opened_at = None if opened is None else BEGAN + opened
    found = verdict(BEGAN, failures, opened_at, BEGAN + first, pauses=pauses)
    if found == "given_up":
        assert failures >= 20 and first >= 5 * DAY
    later = verdict(BEGAN, failures + 1, opened_at, BEGAN + first + HOUR, pauses=pauses)
    assert (found, later) in {(None, None), (None, "failing"), (None, "given_up"), ("failing", "failing"),
                              ("failing", "given_up"), ("given_up", "given_up")}  # fmt: skip


def test_the_first_exhausted_delivery_is_reported_at_once_and_those_of_the_next_hour_together() -> None:
    counted = Exhaustions()
    assert counted.notice(BEGAN) is None
    counted.add(1, "e1", "orders.placed", "500")
    first = counted.notice(BEGAN)
    assert first is not None and (first.count, first.event_id) == (1, "e1")
    for number in range(2, 9):
        counted.add(1, f"e{number}", "orders.approved", "404")
        assert counted.notice(BEGAN + number * MINUTE) is None
    assert counted.notice(BEGAN + EXHAUSTED_EVERY - timedelta(seconds=1)) is None
    later = counted.notice(BEGAN + EXHAUSTED_EVERY)  # although none is added then
    assert later is not None
    assert (later.count, later.event_id, later.event_type, later.last) == (7, "e8", "orders.approved", "404")
    assert counted.notice(BEGAN + 9 * HOUR) is None


@given(pauses=st.lists(st.timedeltas(timedelta(), 2 * HOUR), max_size=40))
def test_each_exhausted_delivery_is_counted_once_in_notices_that_are_an_hour_apart(pauses: list[timedelta]) -> None:
    counted, now, notices = Exhaustions(), BEGAN, []
    for pause in pauses:
        now += pause
        counted.add(1, "e", "orders.placed", "500")
        if (notice := counted.notice(now)) is not None:
            notices.append((now, notice.count))
    if (last := counted.notice(now + HOUR)) is not None:
        notices.append((now + HOUR, last.count))
    assert sum(count for _, count in notices) == len(pauses)
    assert all(later - earlier >= HOUR for (earlier, _), (later, _) in pairwise(notices))
