"""Gift cards: their life, what orders take and give back, and what their gateway and the books see of it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from gift_cards_play import Shop, refusals
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from payments_play import capture, force, refund, uid, void

from contracts.deciding import Refusal, Task, Wake
from contracts.limits import MINOR_MAX
from contracts.payments import Authorized, Declined, Failed, ForceRefused, GiftCardsRedeemed, Pending, Refunded, Voided
from payments.domain import vocabularies
from payments.domain.gateway import GatewayCall
from payments.domain.gift_cards import Activate, Adjust, Deactivate, Extend
from payments.domain.operation import card_operation_id


@pytest.fixture
def shop() -> Shop:
    return Shop()


def of(effects: list[Any], kind: type) -> Any:
    [found] = [effect for effect in effects if isinstance(effect, kind)]
    return found


def parts(event: Any) -> dict[str, dict[str, int]]:
    names = {uid(name): name for name in ("g1", "g2")}
    return {
        names[one.gift_card_id]: {line.line_id: line.amount_minor for line in one.lines} for one in event.gift_cards
    }


# -- a card pays all ----------------------------------------------------------------------------------------------------


def test_a_card_pays_a_whole_order_without_its_gateway_and_gets_back_what_is_refunded(shop: Shop) -> None:
    shop.issue("g1", 50_00)
    effects = shop.pay("a1", {"1": 20_00, "shipping": 5_00}, "g1", capture=True)
    assert not any(isinstance(effect, Task) for effect in effects)
    assert [type(effect) for effect in effects] == [GiftCardsRedeemed, Authorized]
    assert effects[1].capture_id is not None and effects[1].amount_minor == 25_00
    assert parts(effects[1]) == {"g1": {"1": 20_00, "shipping": 5_00}}
    assert shop.has("g1") == 25_00
    back = of(shop.order("o1", refund("r1", effects[1].capture_id, {"1": 7_00})), Refunded)
    assert parts(back) == {"g1": {"1": 7_00}}
    assert shop.has("g1") == 32_00
    assert dict(shop.accounts) == {
        "gift_cards_issued": 50_00, "gift_card_liability": -32_00, "authorized": 0, "customer": -18_00,
    }  # fmt: skip
    shop.check()


def test_the_ledger_has_an_operation_of_the_card_for_each_of_the_order(shop: Shop) -> None:
    shop.issue("g1", 50_00)
    shop.pay("a1", 20_00, "g1")
    shop.order("o1", capture("c1", "a1", 12_00))
    shop.order("o1", void("v1", "a1"))
    shop.order("o1", refund("r1", "c1", 2_00))
    ledger = shop.ledgers[uid("o1")]
    found = [(o.kind, o.state, o.amount_minor) for o in ledger.operations.values() if o.gateway == "gift_card"]
    assert found == [("authorize", "succeeded", 20_00), ("capture", "succeeded", 12_00), ("void", "succeeded", 8_00),
                     ("refund", "succeeded", 2_00)]  # fmt: skip
    assert {o.amount_minor for o in ledger.operations.values() if o.gateway != "gift_card"} == {0}
    assert {o.gateway_reference for o in ledger.operations.values() if o.gateway == "gift_card"} == {str(uid("g1"))}
    assert vocabularies.commercelayer_payment_status(ledger) == "partially_refunded"
    assert shop.has("g1") == 40_00
    shop.check()


# -- cards, then the gateway ------------------------------------------------------------------------------------------


def test_cards_are_taken_in_their_sequence_and_the_gateway_is_asked_for_the_rest(shop: Shop) -> None:
    shop.issue("g1", 15_00)
    shop.issue("g2", 10_00)
    effects = shop.pay("a1", {"1": 20_00, "2": 10_00}, "g1", "g2")
    assert of(effects, Task).body.amount_minor == 5_00
    assert (shop.has("g1"), shop.has("g2")) == (0, 0)
    shop.check()
    done = of(shop.answer(effects, "succeeded"), Authorized)
    assert parts(done) == {"g1": {"1": 10_00, "2": 5_00}, "g2": {"1": 6_67, "2": 3_33}} and done.amount_minor == 30_00
    call = of(shop.order("o1", capture("c1", "a1", {"1": 20_00, "2": 6_00})), Task).body
    assert (call.amount_minor, call.left_minor) == (3_33, 1_67)
    assert shop.accounts["gateway_clearing"] == 0


def test_what_is_stated_of_a_card_is_taken_and_not_more(shop: Shop) -> None:
    shop.issue("g1", 15_00)
    assert of(shop.pay("a1", 20_00, ("g1", 4_00)), Task).body.amount_minor == 16_00
    assert shop.has("g1") == 11_00
    effects = shop.pay("a2", 3_00, ("g1", 9_00), order="o2")
    assert of(effects, Authorized).amount_minor == 3_00 and shop.has("g1") == 8_00


def test_a_declined_rest_gives_everything_back(shop: Shop) -> None:
    shop.issue("g1", 15_00)
    effects = shop.pay("a1", 20_00, "g1")
    no = of(shop.answer(effects, "refused", code="card_declined"), Declined)
    assert (no.code, no.amount_minor, parts(no)) == ("card_declined", 20_00, {"g1": {"1": 15_00}})
    assert shop.has("g1") == 15_00
    ledger = shop.ledgers[uid("o1")]
    assert {o.state for o in ledger.operations.values()} == {"declined"} and not ledger.authorizations
    assert vocabularies.dintero_transaction_status(ledger) == "DECLINED"
    shop.check()


@pytest.mark.parametrize(
    ("second", "code"),
    [({"activate": False}, "gift_card_inactive"), ({"amount_minor": 0}, "gift_card_insufficient"),
     ({"currency": "SEK"}, "currency_differs"), (None, "gift_card_unknown")],
)  # fmt: skip
def test_one_card_that_cannot_be_redeemed_leaves_the_other_as_it_is(
    shop: Shop, second: dict[str, Any] | None, code: str
) -> None:
    shop.issue("g1", 15_00)
    if second is not None:
        shop.issue("g2", second.pop("amount_minor", 5_00), **second)
    effects = shop.pay("a1", 20_00, "g1", "g2")
    assert [type(effect) for effect in effects] == [Declined] and effects[0].code == code
    assert shop.has("g1") == 15_00
    assert vocabularies.dintero_transaction_status(shop.ledgers[uid("o1")]) == "FAILED"
    shop.check()


def test_a_stated_amount_that_the_card_does_not_have_is_declined(shop: Shop) -> None:
    shop.issue("g1", 15_00)
    assert of(shop.pay("a1", 20_00, ("g1", 15_01)), Declined).code == "gift_card_insufficient"
    assert shop.has("g1") == 15_00


def test_asked_again_a_card_is_redeemed_once(shop: Shop) -> None:
    shop.issue("g1", 15_00)
    shop.pay("a1", 20_00, "g1")
    assert shop.pay("a1", 20_00, "g1") == []
    assert shop.has("g1") == 0


def test_a_restored_ledger_that_has_lost_what_it_asked_does_not_redeem_again(shop: Shop) -> None:
    """The redemption is published, so a restored database has it; the call of the gateway may be lost."""
    shop.issue("g1", 15_00)
    effects = shop.pay("a1", 20_00, "g1")
    ledger = shop.ledgers[uid("o1")]
    lost = {key: one for key, one in ledger.operations.items() if key != uid("a1")}
    shop.ledgers[uid("o1")] = ledger.model_copy(update={"operations": lost})
    again = shop.pay("a1", 20_00, "g1")
    assert not any(isinstance(effect, GiftCardsRedeemed) for effect in again)
    assert of(again, Task) == of(effects, Task) and shop.has("g1") == 0
    assert parts(of(shop.answer(again, "succeeded"), Authorized)) == {"g1": {"1": 15_00}}
    shop.check()


# -- which tender moves -----------------------------------------------------------------------------------------------


def paid(shop: Shop, *lines: Any) -> None:
    """15.00 by the first card (10.00 + 5.00 of the lines), 10.00 by the second (6.67 + 3.33), 5.00 by the gateway (3.33 + 1.67)."""
    shop.issue("g1", 15_00)
    shop.issue("g2", 10_00)
    shop.answer(shop.pay("a1", {"1": 20_00, "2": 10_00}, "g1", "g2"), "succeeded")


def test_a_refund_goes_back_to_the_gateway_first_then_to_the_last_card_of_each_line_what_it_paid(shop: Shop) -> None:
    paid(shop)
    shop.answer(shop.order("o1", capture("c1", "a1", {"1": 20_00, "2": 10_00})), "succeeded")
    effects = shop.order("o1", refund("r1", "c1", {"2": 7_00}))
    assert of(effects, Task).body.amount_minor == 1_67 and shop.has("g2") == 0, "back with the gateway's answer"
    assert parts(of(shop.answer(effects, "succeeded"), Refunded)) == {"g1": {"2": 2_00}, "g2": {"2": 3_33}}
    assert (shop.has("g1"), shop.has("g2")) == (2_00, 3_33)
    back = of(shop.answer(shop.order("o1", refund("r2", "c1", {"1": 6_00})), "succeeded"), Refunded)
    assert parts(back) == {"g2": {"1": 2_67}}
    assert of(shop.order("o1", refund("r3", "c1", {"1": 14_01})), Failed).code == "capture_exceeded"
    shop.order("o1", refund("r4", "c1", {"1": 14_00, "2": 3_00}))
    assert (shop.has("g1"), shop.has("g2")) == (15_00, 10_00)
    assert shop.accounts["gateway_clearing"] == shop.accounts["customer"] == 0
    shop.check()


def test_a_card_and_a_gateway_pay_each_line_by_largest_remainder(shop: Shop) -> None:
    """Some shops gave back 1.00 of a whole card, or gave it back twice (Setono/SyliusGiftCardPlugin#284, mollie/magento2#873)."""
    shop.issue("g1", 50_00)
    effects = shop.pay("a1", {"1": 30_01, "2": 49_99}, "g1")
    call = of(effects, Task).body
    assert call.amount_minor == 30_00 and parts(of(effects, GiftCardsRedeemed)) == {"g1": {"1": 18_76, "2": 31_24}}
    shop.answer(effects, "succeeded")
    shop.answer(shop.order("o1", capture("c1", "a1", {"1": 30_01, "2": 49_99})), "succeeded")
    first = shop.answer(shop.order("o1", refund("r1", "c1", {"1": 15_01, "2": 24_99})), "succeeded")
    assert shop.has("g1") == 10_00 and of(first, Refunded).amount_minor == 40_00
    assert of(shop.order("o1", refund("r2", "c1", {"1": 15_00, "2": 25_00})), Refunded).amount_minor == 40_00
    assert shop.has("g1") == 50_00
    no = of(shop.order("o1", refund("r3", "c1", {"2": 1})), Failed)
    assert (no.code, no.allowed_minor) == ("capture_exceeded", 0)
    shop.check()


def test_a_cancel_that_is_stated_twice_gives_a_card_back_once(shop: Shop) -> None:
    shop.issue("g1", 50_00)
    shop.answer(shop.pay("a1", {"1": 30_01, "2": 49_99}, "g1"), "succeeded")
    voiding = shop.order("o1", void("v1", "a1"))
    assert of(voiding, Task).body.amount_minor == 30_00
    shop.order("o1", void("v2", "a1"))
    shop.answer(voiding, "succeeded")
    assert shop.has("g1") == 50_00
    ledger = shop.ledgers[uid("o1")]
    restored = [o.amount_minor for o in ledger.operations.values() if o.gateway == "gift_card" and o.kind == "void"]
    assert [amount for amount in restored if amount] == [50_00]
    shop.check()


def test_a_refused_capture_leaves_the_cards_as_they_are(shop: Shop) -> None:
    paid(shop)
    effects = shop.order("o1", capture("c1", "a1", {"1": 20_00, "2": 10_00}))
    assert of(shop.order("o1", capture("c2", "a1", {"1": 1})), Failed).allowed_minor == 0, "it is held"
    no = of(shop.answer(effects, "refused"), Failed)
    assert no.amount_minor == 30_00 and not shop.ledgers[uid("o1")].captures
    assert shop.ledgers[uid("o1")].capturable(uid("a1")) == {"1": 20_00, "2": 10_00}
    shop.check()


def test_a_void_gives_back_all_that_is_left_once_the_gateway_has_released_its_part(shop: Shop) -> None:
    paid(shop)
    shop.answer(shop.order("o1", capture("c1", "a1", {"2": 10_00})), "succeeded")
    back = of(shop.answer(shop.order("o1", void("v1", "a1")), "succeeded"), Voided)
    assert parts(back) == {"g1": {"1": 10_00}, "g2": {"1": 6_67}} and back.amount_minor == 20_00
    assert (shop.has("g1"), shop.has("g2")) == (10_00, 6_67)
    shop.check()


def test_a_void_of_amounts_is_the_gateways_first(shop: Shop) -> None:
    paid(shop)
    effects = shop.order("o1", void("v1", "a1", {"2": 6_00}))
    assert of(effects, Task).body.amount_minor == 1_67
    assert parts(of(shop.answer(effects, "succeeded"), Voided)) == {"g1": {"2": 1_00}, "g2": {"2": 3_33}}
    shop.check()


def test_a_refund_that_the_gateway_makes_later_owes_its_part_alone(shop: Shop) -> None:
    paid(shop)
    shop.answer(shop.order("o1", capture("c1", "a1", {"1": 20_00, "2": 10_00})), "succeeded")
    effects = shop.order("o1", refund("r1", "c1", {"2": 7_00}))
    later = shop.answer(effects, "pending")
    assert of(later, Pending).amount_minor == 7_00 and shop.accounts["refunds_payable"] == -1_67
    shop.check()
    shop.answer(later, "succeeded")
    assert shop.accounts["refunds_payable"] == 0 and shop.has("g2") == 3_33
    shop.check()


def test_a_person_who_states_that_a_refused_capture_succeeded_states_the_gateways_part(shop: Shop) -> None:
    paid(shop)
    shop.answer(shop.order("o1", capture("c1", "a1", {"1": 20_00, "2": 10_00})), "refused")
    shop.order("o1", force("f1", "c1", "succeeded"))
    assert shop.ledgers[uid("o1")].captured_minor == 5_00 and shop.accounts["gateway_clearing"] == 5_00
    shop.check()


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_what_a_card_pays_has_the_outcome_of_its_authorization_and_none_that_a_person_states(
    shop: Shop, outcome: Literal["succeeded", "failed"]
) -> None:
    """Stated, it would be an authorization of its own: the books and the card would differ by its amount for ever."""
    shop.issue("g1", 15_00, expires_at=shop.now.replace(hour=4))
    effects = shop.pay("a1", 20_00, "g1")
    part = card_operation_id(uid("a1"), uid("g1"))
    state = force("f1", "?", outcome).model_copy(update={"target_operation_id": part})
    [no] = shop.order("o1", state)
    assert isinstance(no, ForceRefused) and (no.code, no.gateway) == ("not_forceable", "gift_card")
    shop.check()
    shop.answer(effects, "succeeded")
    [no] = shop.order("o1", state.model_copy(update={"operation_id": uid("f2")}))
    assert isinstance(no, ForceRefused) and no.code == "not_forceable"
    assert shop.ledgers[uid("o1")].authorized_minor == 20_00
    shop.check()


# -- the life of a card -------------------------------------------------------------------------------------------------


def test_a_card_is_a_liability_from_its_first_activation(shop: Shop) -> None:
    shop.issue("g1", 15_00, activate=False)
    shop.card("g1", Adjust, amount_minor=5_00, reason="a present")
    assert not shop.accounts
    shop.card("g1", Activate)
    assert shop.accounts["gift_card_liability"] == -20_00
    shop.card("g1", Deactivate)
    shop.card("g1", Activate)
    assert shop.card("g1", Activate) == []
    shop.card("g1", Adjust, amount_minor=-6_00, reason="counted twice")
    assert shop.accounts["gift_card_liability"] == -14_00 == -shop.accounts["gift_cards_issued"]
    shop.check()


def test_a_balance_is_never_adjusted_below_zero_nor_raised_where_it_is_fixed(shop: Shop) -> None:
    shop.issue("g1", 15_00, rechargeable=False)
    assert refusals(shop.card("g1", Adjust, amount_minor=-15_01, reason="r")) == ["gift_card_insufficient"]
    assert refusals(shop.card("g1", Adjust, amount_minor=1, reason="r")) == ["gift_card_fixed"]
    assert refusals(shop.card("g2", Adjust, amount_minor=1, reason="r")) == ["gift_card_unknown"]


def test_a_card_holds_at_most_what_an_order_does(shop: Shop) -> None:
    shop.issue("g1", 15_00)
    [full] = shop.card("g1", Adjust, amount_minor=MINOR_MAX, reason="r")
    assert isinstance(full, Refusal)
    assert (full.code, full.more) == ("gift_card_full", {"allowed_minor": MINOR_MAX - 15_00})
    assert shop.has("g1") == 15_00


def test_an_expired_card_is_refused_before_and_after_its_timer(shop: Shop) -> None:
    shop.issue("g1", 15_00, expires_at=shop.now.replace(hour=4))
    assert shop.card("g1", Wake) == [], "too early"
    shop.later(hours=1)
    assert of(shop.pay("a1", 20_00, "g1"), Declined).code == "gift_card_expired"
    shop.card("g1", Wake)
    assert shop.has("g1") == 0 and shop.accounts["gift_cards_expired"] == -15_00
    assert shop.card("g1", Wake) == []
    assert of(shop.pay("a2", 20_00, "g1"), Declined).code == "gift_card_expired"
    assert refusals(shop.card("g1", Activate)) == ["gift_card_expired"]
    shop.check()


def test_what_an_order_gives_back_after_the_expiry_stays_and_an_extension_makes_it_usable(shop: Shop) -> None:
    shop.issue("g1", 15_00, expires_at=shop.now.replace(hour=4))
    shop.pay("a1", 5_00, "g1")
    shop.later(hours=1)
    shop.card("g1", Wake)
    shop.order("o1", void("v1", "a1"))
    assert shop.has("g1") == 5_00
    assert of(shop.pay("a2", 5_00, "g1", order="o2"), Declined).code == "gift_card_expired"
    assert refusals(shop.card("g1", Extend, expires_at=shop.now)) == ["expiry_past"]
    shop.card("g1", Extend, expires_at=None)
    assert of(shop.pay("a3", 5_00, "g1", order="o2"), Authorized).amount_minor == 5_00
    shop.check()


def test_a_card_for_one_order_is_free_again_when_that_order_gives_all_back(shop: Shop) -> None:
    shop.issue("g1", 15_00, single_use=True)
    shop.pay("a1", 5_00, "g1")
    assert of(shop.pay("a2", 5_00, "g1", order="o2"), Declined).code == "gift_card_redeemed"
    shop.order("o1", void("v1", "a1"))
    assert of(shop.pay("a3", 5_00, "g1", order="o2"), Authorized).amount_minor == 5_00


# -- any sequence -------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["g1", "g2"])
ORDERS = st.sampled_from(["o1", "o2"])
AMOUNTS = st.dictionaries(st.sampled_from(["1", "2", "shipping"]), st.integers(0, 60), min_size=1, max_size=3)


class AnySequence(RuleBasedStateMachine):
    """Balance = issued + adjusted - redeemed + restored - expired >= 0; the liability is what cards and orders have of it."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.open: list[tuple[str, GatewayCall]] = []
        self.sent: list[tuple[str, Any]] = []
        self.n = 0

    def name(self, kind: str) -> str:
        self.n += 1
        return f"{kind}{self.n}"

    def absorb(self, order: str, effects: list[Any]) -> None:
        self.open += [
            (order, one.body) for one in effects if isinstance(one, Task) and isinstance(one.body, GatewayCall)
        ]

    @rule(name=NAMES, amount=st.integers(0, 120), activate=st.booleans(), single=st.booleans(), hours=st.integers(1, 5))
    def issues(self, name: str, amount: int, activate: bool, single: bool, hours: int) -> None:
        expires_at = None if hours == 5 else self.shop.now.replace(hour=min(self.shop.now.hour + hours, 23), minute=59)
        self.shop.issue(name, amount, activate, single_use=single, expires_at=expires_at)

    @rule(name=NAMES, what=st.sampled_from([Activate, Deactivate, Wake]))
    def acts(self, name: str, what: type) -> None:
        self.shop.card(name, what)

    @rule(name=NAMES, amount=st.integers(-80, 80))
    def adjusts(self, name: str, amount: int) -> None:
        self.shop.card(name, Adjust, amount_minor=amount, reason="r")

    @rule(name=NAMES)
    def extends(self, name: str) -> None:
        self.shop.card(name, Extend, expires_at=None)

    @rule(minutes=st.integers(1, 60))
    def time_passes(self, minutes: int) -> None:
        if self.shop.now.hour < 22:
            self.shop.later(minutes=minutes)

    @rule(order=ORDERS, amounts=AMOUNTS, gateway=st.sampled_from(["test", "marketplace"]), with_capture=st.booleans(),
          cards=st.lists(st.tuples(NAMES, st.none() | st.integers(0, 60)), max_size=2, unique_by=lambda one: one[0]))  # fmt: skip
    def authorizes(self, order: str, amounts: dict[str, int], gateway: str, with_capture: bool, cards: Any) -> None:
        name = self.name("a")
        named = [one if one[1] is not None else one[0] for one in cards]
        before = {key: balance.balance_minor for key, balance in self.shop.balances.items()}
        effects = self.shop.pay(name, amounts, *named, order=order, gateway=gateway, capture=with_capture)
        if isinstance(effects[0], Declined):
            assert before == {key: balance.balance_minor for key, balance in self.shop.balances.items()}
        assert self.shop.pay(name, amounts, *named, order=order, gateway=gateway, capture=with_capture) == []
        self.absorb(order, effects)

    @rule(
        order=ORDERS,
        amounts=AMOUNTS,
        data=st.data(),
        kind=st.sampled_from([capture, void, refund]),
        whole=st.booleans(),
    )
    def draws(self, order: str, amounts: dict[str, int], data: st.DataObject, kind: Any, whole: bool) -> None:
        ledger = self.shop.ledgers[uid(order)]
        those = ledger.captures if kind is refund else ledger.authorizations
        if mains := [key for key, one in those.items() if one.gift_card_id is None]:
            drawn = data.draw(st.sampled_from(mains))
            left = ledger.refundable(drawn) if kind is refund else ledger.capturable(drawn)
            some = left if whole else amounts
            self.absorb(order, self.shop.order(order, kind(self.name("d"), drawn, some)))

    @rule(order=ORDERS, data=st.data())
    def voids_all(self, order: str, data: st.DataObject) -> None:
        asked = [key for key, one in self.shop.ledgers[uid(order)].operations.items()
                 if one.kind == "authorize" and one.gateway != "gift_card"]  # fmt: skip
        if asked:
            self.absorb(order, self.shop.order(order, void(self.name("v"), data.draw(st.sampled_from(asked)))))

    @rule(data=st.data(), state=st.sampled_from(["succeeded", "refused", "pending"]), takes=st.booleans())
    def reports(self, data: st.DataObject, state: str, takes: bool) -> None:
        if self.open:
            order, call = data.draw(st.sampled_from(self.open))
            if state != "pending":
                self.open.remove((order, call))
            captured = takes and call.capture and state == "succeeded"
            task = Task(task_id=call.operation_id, kind="gateway", body=call)
            effects = self.shop.answer([task], state, order, captured=captured)
            if state != "pending":
                self.absorb(order, effects)
                assert self.shop.answer([task], state, order, captured=captured) == [], "reported twice"

    @rule(order=ORDERS, data=st.data(), outcome=st.sampled_from(["succeeded", "failed"]))
    def a_person_states(self, order: str, data: st.DataObject, outcome: str) -> None:
        if operations := [*self.shop.ledgers[uid(order)].operations]:
            target = data.draw(st.sampled_from(operations))
            command = force(self.name("f"), "?", outcome).model_copy(update={"target_operation_id": target})
            self.shop.order(order, command)
            self.open = [one for one in self.open if one[1].operation_id != target]

    @invariant()
    def it_holds(self) -> None:
        self.shop.check()
        for ledger in self.shop.ledgers.values():
            for one in ledger.lines.values():
                assert one.refunded_minor <= one.captured_minor <= one.authorized_minor - one.voided_minor
            for key, authorization in ledger.authorizations.items():
                assert all(line.left_minor >= 0 for line in authorization.lines.values())
                for card in authorization.cards:
                    granted = ledger.authorizations[card]
                    assert granted.gift_card_id and card == card_operation_id(key, granted.gift_card_id)


AnySequence.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnySequence = AnySequence.TestCase
