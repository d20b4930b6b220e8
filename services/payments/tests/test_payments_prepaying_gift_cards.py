"""An order that gift cards pay in part, and its buyer in a session before it: the cards come first."""

from __future__ import annotations

from typing import Any

import pytest
from gift_cards_play import Shop
from payments_play import STORE, capture, refund, uid, void

from contracts.deciding import Task, Wake
from contracts.payments import Authorized, CancelSession, Captured, Declined, OpenSession, Pending, PrepaymentReturned
from payments.domain.operation import total
from payments.domain.prepayment_folds import part_id

LINES = {"1": 30_00, "2": 40_00}


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.issue("g1", 30_00)
    return shop


def opens(shop: Shop, amount: int, state: str = "succeeded") -> list[Any]:
    """A session of the order, and what its gateway answers at once."""
    command = OpenSession(
        order_id=uid("o1"), store_id=STORE, operation_id=uid("s1"), actor="shop", currency="EUR", amount_minor=amount,
        return_url="https://shop.example/thanks", gateway="test",
    )  # fmt: skip
    return shop.answer(shop.order("o1", command), state)


def of(effects: list[Any], kind: type) -> Any:
    [found] = [effect for effect in effects if isinstance(effect, kind)]
    return found


def due(shop: Shop) -> dict[str, int]:
    return {name: balance for name, balance in shop.accounts.items() if balance}


@pytest.mark.parametrize("paid", [40_00, 55_00])
def test_the_session_pays_what_the_cards_leave(shop: Shop, paid: int) -> None:
    opens(shop, paid)
    effects = shop.pay("a1", LINES, "g1")
    event = of(effects, Authorized)
    assert event.session_id == uid("s1") and event.amount_minor == 70_00 and shop.has("g1") == 0
    if paid > 40_00:
        assert of(shop.answer(effects, "succeeded"), PrepaymentReturned).amount_minor == 15_00
    captured = shop.answer(shop.order("o1", capture("c1", "a1", LINES)), "succeeded")
    assert of(captured, Captured).amount_minor == 70_00
    back = shop.order("o1", refund("r1", "c1", LINES))
    assert of(back, Task).body.amount_minor == 40_00, "the gateway had the session's money"
    shop.answer(back, "succeeded")
    assert shop.has("g1") == 30_00 and due(shop) == {"gift_cards_issued": 30_00, "gift_card_liability": -30_00}
    shop.check()


@pytest.mark.parametrize("outcome", ["succeeded", "refused"])
def test_less_than_the_cards_leave_is_an_authorization_of_its_own(shop: Shop, outcome: str) -> None:
    opens(shop, 25_00)
    effects = shop.pay("a1", LINES, "g1")
    part, call = of(effects, Authorized), of(effects, Task).body
    assert part.operation_id == part_id(uid("a1"), uid("s1")) and not part.gift_cards
    assert (total(part.lines), call.amount_minor) == (25_00, 15_00)
    effects = shop.answer(effects, outcome)
    if outcome == "refused":
        assert of(effects, Declined).code == "gateway_refused" and shop.has("g1") == 30_00
        shop.answer(shop.order("o1", void("v1", part.operation_id)), "succeeded")
        assert due(shop) == {"gift_cards_issued": 30_00, "gift_card_liability": -30_00}
    else:
        whole = dict.fromkeys(LINES, 0)
        for event in (part, of(effects, Authorized)):
            for line in event.lines:
                whole[line.line_id] += line.amount_minor
        assert whole == LINES and shop.has("g1") == 0
    shop.check()


def test_cards_that_pay_all_leave_nothing_to_the_session_and_its_money_goes_back(shop: Shop) -> None:
    opens(shop, 30_00)
    assert of(shop.pay("a1", {"1": 30_00}, "g1"), Authorized).session_id is None
    back = shop.order("o1", Wake(shop.now))
    assert of(shop.answer(back, "succeeded"), PrepaymentReturned).amount_minor == 30_00
    assert shop.accounts["prepayments"] == 0
    shop.check()


def test_cards_get_back_what_they_have_paid_when_the_session_ends_without_a_payment(shop: Shop) -> None:
    waiting = opens(shop, 40_00, "pending")
    assert of(shop.pay("a1", LINES, "g1"), Pending).session_id == uid("s1") and shop.has("g1") == 0
    cancel = CancelSession(
        order_id=uid("o1"), store_id=STORE, operation_id=uid("x1"), actor="shop", session_id=uid("s1")
    )
    effects = shop.answer(shop.order("o1", cancel), "refused")
    assert of(effects, Declined).code == "payment_abandoned" and shop.has("g1") == 30_00
    assert waiting and due(shop) == {"gift_cards_issued": 30_00, "gift_card_liability": -30_00}
    shop.check()
