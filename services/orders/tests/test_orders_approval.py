"""Who approves a placed order: a rule of its market, or a person."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_play import Play, content, line, market
from pydantic import ValidationError

from contracts.fulfillment import Start
from contracts.orders import Approved, MarketTerms, PaymentChanged, Placed
from contracts.payments import Capture
from orders.domain.shown.views import waiting

BELOW: dict[str, Any] = {"approval": "manual", "currency": "EUR", "approve_below_minor": 10_00}


@pytest.mark.parametrize(("terms", "grand_minor", "by_rule"), [
    ({"approval": "automatic"}, 10_00, True),
    ({"approval": "manual"}, 1, False),
    (BELOW, 9_99, True),
    (BELOW, 10_00, False),
    ({"approval": "manual", "approve_gateways": ("test", "marketplace")}, 99_99, True),
    ({"approval": "manual", "approve_gateways": ("test",)}, 1, False),
    ({**BELOW, "approve_gateways": ("marketplace",)}, 9_99, True),
    ({**BELOW, "approve_gateways": ("marketplace",)}, 10_00, False),
    ({**BELOW, "approve_gateways": ("test",)}, 9_99, False),
    ({**BELOW, "approval": "automatic"}, 99_99, True),
])  # fmt: skip
def test_a_rule_approves_an_order_that_meets_every_stated_condition(
    play: Play, terms: dict[str, Any], grand_minor: int, by_rule: bool
) -> None:
    play.receives(content(line("1", grand_minor)), market(**terms)).reserved().authorized()
    if by_rule:
        play.then(PaymentChanged, Placed, Approved, asks=[Capture, Start])
        assert play.event(Approved).actor == "rule:approval"
    else:
        play.then(PaymentChanged, Placed)
        assert waiting(play.order) == "approval"
        assert play.approves().event(Approved).actor == "person:ann"


@given(limit=st.integers(0, 10**6), grand_minor=st.integers(0, 10**6))
def test_an_order_of_the_limit_or_more_waits_for_a_person(limit: int, grand_minor: int) -> None:
    play = Play()
    terms = market(approval="manual", currency="EUR", approve_below_minor=limit)
    play.receives(content(line("1", grand_minor, requires_shipping=False)), terms)
    if grand_minor:
        play.authorized()
    assert (play.order.approved_at is None) == (waiting(play.order) == "approval") == (grand_minor >= limit)


def test_a_limit_is_an_amount_of_the_currency_of_the_market() -> None:
    with pytest.raises(ValidationError, match="state it"):
        MarketTerms(code="m", approve_below_minor=10_00)
