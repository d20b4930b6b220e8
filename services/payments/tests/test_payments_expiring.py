"""Authorizations that their issuers hold for some days: a day before the end what is left is published, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_gateways import Paying, shaped
from payments_play import NOW, Play, authorize, call, capture, report, uid, void

from contracts.payments import Authorized, ExpiryAnnounced
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.domain.waking import wake_at

DAY = 86_400.0
HELD = NOW + timedelta(days=7)
AUTHORIZE = call("a1", "authorize", 50_00)


@pytest.fixture
def held(play: Play) -> Play:
    """50.00 is held for seven days."""
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(report(AUTHORIZE, "succeeded", held_until=HELD))
    return play


def taken(play: Play, kind: str, amount: int, name: str) -> None:
    asked: Any = capture(name, "a1", amount) if kind == "capture" else void(name, "a1")
    play.when(asked)
    play.when(report(call(name, kind, amount, of="a1"), "succeeded", f"tg_{name}"))  # type: ignore[arg-type]


def test_a_day_before_its_end_what_is_left_is_published_once(held: Play) -> None:
    [event] = held.effects
    assert isinstance(event, Authorized) and event.held_until == HELD
    assert wake_at(held.ledger) == HELD - timedelta(days=1)
    assert held.wakes(6 * DAY - 1) == []
    [expiring] = held.wakes(6 * DAY)
    assert isinstance(expiring, ExpiryAnnounced)
    assert (expiring.authorization_id, expiring.held_until, expiring.amount_minor) == (uid("a1"), HELD, 50_00)
    assert wake_at(held.ledger) is None and held.wakes(7 * DAY) == []


def test_a_ledger_without_a_stated_end_has_no_timer(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(report(AUTHORIZE, "succeeded"))
    assert wake_at(play.ledger) is None


def test_only_what_is_left_expires(held: Play) -> None:
    taken(held, "capture", 20_00, "c1")
    [expiring] = held.wakes(6 * DAY)
    assert isinstance(expiring, ExpiryAnnounced) and expiring.amount_minor == 30_00


@pytest.mark.parametrize("kind", ["capture", "void"])
def test_what_is_captured_or_voided_does_not_expire(held: Play, kind: str) -> None:
    taken(held, kind, 50_00, "x1")
    assert wake_at(held.ledger) is None and held.wakes(6 * DAY) == []


def test_the_published_events_alone_are_enough_for_a_restored_ledger(held: Play) -> None:
    [authorized] = held.effects
    [expiring] = held.wakes(6 * DAY)
    assert isinstance(authorized, Authorized)
    restored = evolve(Ledger(), authorized)
    assert wake_at(restored) == HELD - timedelta(days=1)
    assert wake_at(evolve(restored, expiring)) is None  # type: ignore[arg-type]


@given(parts=st.lists(st.integers(1, 20_00), max_size=6), days=st.integers(0, 8))
def test_it_is_published_if_and_only_if_something_is_left_that_near_to_the_end(parts: list[int], days: int) -> None:
    play = Play()
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(report(AUTHORIZE, "succeeded", held_until=HELD))
    for n, part in enumerate(parts):
        if play.left()[0] - play.left()[1] >= part:
            taken(play, "capture", part, f"c{n}")
    left = play.left()[0] - play.left()[1]
    found = [one.amount_minor for one in play.wakes(days * DAY) if isinstance(one, ExpiryAnnounced)]
    assert found == ([left] if left and days >= 6 else [])


async def test_stripe_states_until_when_it_holds_an_authorization() -> None:
    async with shaped("stripe") as shape:
        order = Paying(shape)
        authorized = await order.authorize(10_00)
        assert isinstance(authorized, Authorized) and authorized.held_until is not None
        await order.void()
        captured = await order.ask(order.authorizing(10_00, capture=True))
        assert isinstance(captured, Authorized) and captured.held_until is None
