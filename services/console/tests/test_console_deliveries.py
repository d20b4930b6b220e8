"""Attempts become deliveries, forms become requests; without a database."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from console_owners import attempt, endpoint
from hypothesis import given
from hypothesis import strategies as st

from console.api.webhooks import Outcome
from console.domain import endpoints, replaying, resending
from console.domain.deliveries import deliveries
from console.domain.endpoints import EVENT_TYPES, state_of, wanted_of
from console.remembered import Remembered
from webhooks import types as webhooks_types
from webhooks.api import attempts as webhooks_attempts
from webhooks.api.bodies import EnableGiven, RotateGiven
from webhooks.api.replays import ReplayGiven
from webhooks.domain.endpoint import OVERLAP_HOURS, OVERLAP_HOURS_MAX

KEY = uuid4()
ATTEMPTS = st.lists(
    st.builds(
        lambda endpoint, event, outcome, notice: attempt(
            endpoint_id=UUID(int=endpoint), event_id=f"event-{event}", outcome=outcome, notice=notice
        ),
        st.integers(1, 2), st.integers(1, 3), st.sampled_from(get_args(Outcome)), st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@given(ATTEMPTS)
def test_every_attempt_is_in_one_delivery_in_its_order(tried: list[dict[str, Any]]) -> None:
    found = deliveries(tried)
    assert sorted(one["id"] for delivery in found for one in delivery.attempts) == sorted(one["id"] for one in tried)
    places = {one["id"]: place for place, one in enumerate(tried)}
    for delivery in found:
        of_delivery = [places[one["id"]] for one in delivery.attempts]
        assert of_delivery == sorted(of_delivery)
        assert len({(one["endpoint_id"], one["event_id"], one["notice"]) for one in delivery.attempts}) == 1
        assert delivery.is_missed == all(one["outcome"] != "delivered" for one in delivery.attempts)
    latest = [places[one.latest["id"]] for one in found]
    assert latest == sorted(latest)
    assert len(found) == len({(one["endpoint_id"], one["event_id"], one["notice"]) for one in tried})


def test_what_arrived_once_is_not_missed_although_a_replay_failed() -> None:
    tried = [attempt(outcome="exhausted"), attempt(outcome="delivered"), attempt(outcome="failed")]
    [found] = deliveries(tried)
    assert (found.state, found.is_missed, found.latest, found.decisive) == ("delivered", False, tried[0], tried[1])


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "enabled"),
        ({"status": "pending"}, "pending"),
        ({"status": "disabled", "disabled_because": "request"}, "paused"),
        ({"status": "disabled", "disabled_because": "gone"}, "disabled"),
        ({"breaker": {"because": "failures", "since": "2026-11-21T09:30:00Z"}}, "failing"),
        ({"breaker": {"because": "waiting", "since": "2026-11-21T09:30:00Z"}}, "held_back"),
        ({"failing_since": "2026-11-21T09:30:00Z"}, "failing"),
    ],
)
def test_an_endpoint_has_one_state(changed: dict[str, Any], state: str) -> None:
    assert state_of(endpoint(**changed)) == state


def test_the_types_and_outcomes_are_those_of_webhooks() -> None:
    assert set(EVENT_TYPES) == {model.TYPE for model in webhooks_types.included(())}
    assert get_args(Outcome) == get_args(webhooks_attempts.Outcome)
    assert endpoints.OVERLAP_HOURS[0] == OVERLAP_HOURS and max(endpoints.OVERLAP_HOURS) == OVERLAP_HOURS_MAX


def test_the_bodies_are_ones_that_webhooks_takes() -> None:
    webhooks_attempts.TestGiven.model_validate(wanted_of("test", KEY, {"type": "orders.placed"}).body)
    RotateGiven.model_validate(wanted_of("rotate", KEY, {"overlap_hours": "0", "reason": "x"}).body)
    for place in ({"from": "cursor"}, {"from": "now"}, {"from": "time", "time": "2026-11-28T14:00"}):
        EnableGiven.model_validate(wanted_of("resume", KEY, place).body)
    begun = replaying.begun(KEY, {"from": "a", "to": "b", "only": "missing", "types": "orders.placed orders.*"}).body
    assert ReplayGiven.model_validate(begun).types == ("orders.placed", "orders.*")


@pytest.mark.parametrize(
    ("name", "fields", "missing"),
    [
        ("pause", {}, "reason"),
        ("rotate", {"overlap_hours": "24"}, "reason"),
        ("rotate", {"overlap_hours": "9000", "reason": "x"}, "for how long"),
        ("test", {"type": "orders.nonsense"}, "type"),
        ("resume", {}, "where"),
        ("resume", {"from": "time", "time": "yesterday"}, "time"),
    ],
)
def test_a_form_that_is_not_complete_names_what_is_missing(name: str, fields: dict[str, str], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        wanted_of(name, KEY, fields)


def test_a_form_that_is_sent_again_has_the_same_nonce_for_each_attempt() -> None:
    nonce, attempts = uuid4(), [str(uuid4()) for _ in range(3)]
    first, second = [[resending.nonce_of_each(nonce, one) for one in attempts] for _ in range(2)]
    assert first == second and len(set(first)) == 3
    assert resending.nonce_of_each(uuid4(), attempts[0]) != first[0]


@pytest.mark.asyncio
async def test_a_remembered_value_is_asked_once_at_a_time_and_outlives_a_failure() -> None:
    asked, answers = list[str](), [1, None, OSError("away"), 2, 2]

    async def ask(key: str) -> int | None:
        asked.append(key)
        answer = answers[len(asked) - 1]
        if isinstance(answer, OSError):
            raise answer
        return answer

    remembered = Remembered(ask, seconds=0)
    assert [remembered.get("a"), remembered.get("a")] == [None, None]
    await remembered.settled()
    assert asked == ["a"]
    shown = list[int | None]()
    for _ in answers[1:4]:
        shown.append(remembered.get("a"))
        await remembered.settled()
    assert (shown, len(asked)) == ([1, 1, 1], 4), "neither nothing learned nor an error changes it"
    assert remembered.get("a") == 2
    await remembered.close()
