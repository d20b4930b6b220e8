"""Reversals of lines that gift cards have paid a part of: each tender pays with what was taken off it, and no more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest
from gift_cards_play import Shop
from hypothesis import given, settings
from hypothesis import strategies as st
from payments_gateways import FIRST, NoAccounts
from payments_gateways import settings as of_service
from payments_play import STORE, refund, reverse, uid

from chassis.declare.service import Attempt
from contracts.base import OrderKeyed, PrivateEvent
from contracts.deciding import Reported, Task
from contracts.payments import Authorized, Failed, GiftCardPart, MoneyLine, Refunded, ReversalRefused, Reversed
from payments.domain import answers, books
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of, card_operation_id
from payments.domain.reversals import refund_id_of
from payments.gateways.registry import Gateways


@pytest.fixture
def shop() -> Shop:
    return Shop()


def bought(shop: Shop, cards: dict[str, int], pieces: int = 1, cost: int = 50, gateway: str = "marketplace") -> None:
    """Line 1 is paid by the cards in turn, and by the gateway."""
    for name, has in cards.items():
        shop.issue(name, has)
    made = shop.pay(
        "a", (MoneyLine(line_id="1", quantity=pieces, amount_minor=cost),), *cards, gateway=gateway, capture=True
    )
    if any(isinstance(one, Task) for one in made):
        shop.answer(made, "succeeded", captured=True)


def parts(found: tuple[GiftCardPart, ...]) -> dict[Any, dict[str, int]]:
    return {one.gift_card_id: {line.line_id: line.amount_minor for line in one.lines} for one in found}


def left(shop: Shop) -> dict[Any, dict[str, int]]:
    """Tender -> line -> what may still be refunded of the capture."""
    ledger = shop.ledgers[uid("o1")]
    return {
        tender: {line: minor for line, minor in of.items() if minor}
        for tender, of in ledger.left_by_tender(ledger.captures, capture_id_of(uid("a"))).items()
    }


# ---------------------------------------------------------------------------------------------------- the worked example


def test_6a_an_equal_line_is_paid_by_the_tenders_that_have_paid_the_first(shop: Shop) -> None:
    bought(shop, {"card": 30})
    [event] = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 50}))
    assert isinstance(event, Reversed)
    assert parts(event.taken_off_gift_cards) == {uid("card"): {"2": 30}}
    assert parts(event.gift_cards) == {uid("card"): {"3": 30}}
    assert left(shop) == {None: {"3": 20}, uid("card"): {"3": 30}} and shop.has("card") == 0
    assert shop.ledgers[uid("o1")].operations[card_operation_id(uid("x"), uid("card"))].amount_minor == 30


@pytest.mark.parametrize(
    ("new", "of_card", "of_gateway"),
    [
        (35, 0, 15),  # the gateway has paid 20: it gets all of the difference back
        (25, 5, 20),  # the card gets what is more than that
        (0, 30, 20),
    ],
)
def test_6b_what_a_cheaper_line_leaves_goes_back_to_the_gateway_first(
    shop: Shop, new: int, of_card: int, of_gateway: int
) -> None:
    bought(shop, {"card": 30})
    event, back = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": new} if new else None, "4"))
    assert isinstance(event, Reversed) and isinstance(back, Refunded) and back.amount_minor == 50 - new
    assert parts(back.gift_cards) == ({uid("card"): {"4": of_card}} if of_card else {})
    assert shop.has("card") == of_card
    refunded = shop.ledgers[uid("o1")].operations[refund_id_of(uid("x"))]
    assert (refunded.state, refunded.amount_minor) == ("succeeded", of_gateway)
    shop.check()


def test_6b_the_card_that_was_redeemed_last_is_restored_first(shop: Shop) -> None:
    bought(shop, {"first": 20, "last": 30})
    shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 10}, "4"))
    assert (shop.has("first"), shop.has("last")) == (10, 30)
    assert left(shop) == {None: {}, uid("first"): {"3": 10}, uid("last"): {}}
    shop.check()


def test_6c_what_a_dearer_line_costs_more_is_charged_by_the_gateway(shop: Shop) -> None:
    bought(shop, {"card": 30})
    event, charged = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 70}))
    assert isinstance(event, Reversed) and parts(event.gift_cards) == {uid("card"): {"3": 30}}
    assert isinstance(charged, Authorized) and (charged.amount_minor, charged.gift_cards) == (20, ())
    assert left(shop) == {None: {"3": 20}, uid("card"): {"3": 30}} and shop.has("card") == 0
    shop.check()


def test_one_piece_of_two_is_taken_off_the_gateway_first(shop: Shop) -> None:
    bought(shop, {"card": 30}, pieces=2)
    event, *_ = shop.order("o1", reverse("x", {"2": ("1", 1, 25)}, {"3": 25}))
    assert isinstance(event, Reversed) and parts(event.taken_off_gift_cards) == {uid("card"): {"2": 5}}
    assert left(shop) == {None: {"3": 20}, uid("card"): {"1": 25, "3": 5}}


def test_a_capture_of_a_card_is_none_that_can_be_named(shop: Shop) -> None:
    bought(shop, {"card": 30})
    named = card_operation_id(capture_id_of(uid("a")), uid("card"))
    event, _ = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 50}, capture_id=named))
    assert isinstance(event, ReversalRefused) and event.code == "capture_unknown"


# ------------------------------------------------------------------------------------------ a gateway that is asked first


def test_a_card_gets_its_part_of_the_difference_when_the_gateway_has_refunded_its_own(shop: Shop) -> None:
    bought(shop, {"card": 30}, gateway="test")
    asked = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 25}, "4"))
    [task] = [one for one in asked if isinstance(one, Task)]
    assert task.body.amount_minor == 20 and shop.has("card") == 0  # type: ignore[attr-defined]
    assert left(shop) == {None: {}, uid("card"): {"3": 25}}  # the open refund holds both parts
    [back] = shop.answer(asked, "succeeded")
    assert isinstance(back, Refunded) and shop.has("card") == 5
    shop.check()


def test_a_refused_refund_of_the_difference_is_repeated_as_a_refund_of_its_line(shop: Shop) -> None:
    bought(shop, {"card": 30}, gateway="test")
    asked = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 25}, "4"))
    [failed] = shop.answer(asked, "refused", code="account_closed")
    assert isinstance(failed, Failed) and shop.has("card") == 0
    again = refund("r", "c", {"4": 25}).model_copy(update={"capture_id": capture_id_of(uid("a"))})
    shop.answer(shop.order("o1", again), "succeeded")
    assert shop.has("card") == 5 and left(shop) == {None: {}, uid("card"): {"3": 25}}
    shop.check()


def test_a_restored_ledger_that_has_only_the_published_event_refunds_the_same_of_each_tender(shop: Shop) -> None:
    bought(shop, {"card": 30}, gateway="test")
    before = shop.ledgers[uid("o1")]
    event, _, asked = shop.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": 25}, "4"))
    restored = evolve(before, event)  # type: ignore[arg-type]
    [task] = answers.resumed(uid("o1"), "st_1", restored)
    assert isinstance(asked, Task) and task.body == asked.body
    assert parts(restored.operations[refund_id_of(uid("x"))].gift_cards) == {uid("card"): {"4": 5}}


@pytest.mark.parametrize(
    ("cards", "gateway", "new"),
    [({}, "marketplace", 20), ({"card": 45}, "marketplace", 20), ({"card": 50}, "test", 20), ({}, "marketplace", 70)],
    ids=["refund", "refund, in part to a card", "refund to a card alone", "charge"],
)
async def test_a_restored_ledger_moves_a_difference_that_needs_no_gateway_and_calls_none(
    cards: dict[str, int], gateway: str, new: int
) -> None:
    """It ends as the ledger that has lost nothing."""
    whole, restored = Shop(), Shop()
    for one in (whole, restored):
        bought(one, cards, gateway=gateway)
    changed, moved = whole.order("o1", reverse("x", {"2": ("1", 1, 50)}, {"3": new}, "4"))
    restored.ledgers[uid("o1")] = evolve(restored.ledgers[uid("o1")], changed)  # type: ignore[arg-type]
    [task] = answers.resumed(uid("o1"), STORE, restored.ledgers[uid("o1")])
    call: Any = task.body
    gateways = Gateways({}, NoAccounts(), of_service())
    outcome = await gateways.run(call, Attempt(task.task_id, uid("o1"), 1, FIRST, FIRST))
    report = Reported(task_id=task.task_id, kind=task.kind, asked=call, outcome=outcome)
    assert restored.order("o1", report) == [moved]
    assert (restored.ledgers, restored.balances) == (whole.ledgers, whole.balances)
    assert restored.order("o1", report) == [] == answers.resumed(uid("o1"), STORE, restored.ledgers[uid("o1")])


# ----------------------------------------------------------------------------------------------------------- properties


@settings(deadline=None, max_examples=150)
@given(
    data=st.data(), cost=st.integers(1, 400), pieces=st.integers(1, 4), gateway=st.sampled_from(["marketplace", "test"])
)
def test_no_sequence_of_reversals_and_refunds_moves_money_between_tenders(
    data: st.DataObject, cost: int, pieces: int, gateway: str
) -> None:
    """Each tender gets back at most what it has paid; books and cards agree; in the end everything goes back to where it came from."""
    shop = Shop()
    has = data.draw(st.lists(st.integers(1, 150), min_size=1, max_size=3), "cards")
    bought(shop, {f"card{n}": minor for n, minor in enumerate(has) if sum(has[:n]) < cost}, pieces, cost, gateway)
    capture_id = capture_id_of(uid("a"))
    paid = {tender: sum(of.values()) for tender, of in left(shop).items()}
    assert sum(paid.values()) == cost

    for n in range(data.draw(st.integers(1, 4), "steps")):
        ledger = shop.ledgers[uid("o1")]
        open_lines = [one for one, minor in ledger.refundable(capture_id).items() if minor]
        if not open_lines:
            break
        line = data.draw(st.sampled_from(open_lines), "line")
        if data.draw(st.booleans(), "refund instead"):
            amount = data.draw(st.integers(1, ledger.refundable(capture_id)[line]), "refund")
            command = refund(f"r{n}", "c", {line: amount}).model_copy(update={"capture_id": capture_id})
        else:
            quantity = data.draw(st.integers(0, pieces), "pieces")
            taken = _priced(shop, f"x{n}", line, quantity)
            new = data.draw(st.integers(0, taken + 40), "new")
            rows = {f"r{n}": (line, quantity, taken)}
            command = reverse(f"x{n}", rows, {f"n{n}": new}, f"b{n}", capture_id=capture_id)  # type: ignore[assignment]
        made = shop.order("o1", command)
        for _ in range(2):  # the difference, and the capture of what was only authorized
            if any(isinstance(one, Task) for one in made):
                made = shop.answer(made, data.draw(st.sampled_from(["succeeded", "refused"]), "answer"))
        shop.check()
        now = {tender: sum(of.values()) for tender, of in left(shop).items()}
        restored = {uid(f"card{k}"): shop.has(f"card{k}") for k in range(len(paid) - 1)}
        first = {uid(f"card{k}"): has[k] for k in range(len(paid) - 1)}
        for card, minor in restored.items():
            assert minor == first[card] - now[card], "what a card does not pay any more is on the card"
        assert 0 <= now[None] <= paid[None]

    ledger = shop.ledgers[uid("o1")]
    for k, capture in enumerate([one for one in ledger.captures if ledger.captures[one].gift_card_id is None]):
        rest = {line: minor for line, minor in shop.ledgers[uid("o1")].refundable(capture).items() if minor}
        if rest:
            back = refund(f"end{k}", "c", rest).model_copy(update={"capture_id": capture})
            made = shop.order("o1", back)
            if any(isinstance(one, Task) for one in made):
                shop.answer(made, "succeeded")
    assert {f"card{k}": shop.has(f"card{k}") for k in range(len(paid) - 1)} == {
        f"card{k}": has[k] for k in range(len(paid) - 1)
    }
    assert shop.ledgers[uid("o1")].captured_minor == shop.ledgers[uid("o1")].refunded_minor
    shop.check()
    the_published_events_make_the_same_rows(shop)


def the_published_events_make_the_same_rows(shop: Shop) -> None:
    """In one piece, without the private ones: lines and tenders of the ledger, its operations, and each entry of the books by hash."""
    mine = [one for one in shop.published if isinstance(one, OrderKeyed) and not isinstance(one, PrivateEvent)]
    again = Ledger()
    for event in mine:
        again = evolve(again, event)  # type: ignore[arg-type]
    ledger = shop.ledgers[uid("o1")]
    for name in ("lines", "authorizations", "captures"):
        assert getattr(again, name) == getattr(ledger, name), name
    assert again.totals() == ledger.totals()
    done = {name: one for name, one in ledger.operations.items() if one.state == "succeeded"}
    assert {name: again.operations[name] for name in done} == done
    assert hashed(books.postings(Ledger(), again, mine)) == hashed(shop.posted)


def hashed(posted: Iterable[books.Posting]) -> str:
    rows = [(one.operation_id, one.debit, one.credit, [*one.lines]) for one in posted]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _priced(shop: Shop, name: str, line: str, quantity: int) -> int:
    """What the pieces cost: what a reversal of another amount is refused with; 0 if they are not left."""
    before = shop.ledgers[uid("o1")]
    asked = reverse(name, {"?": (line, quantity, 10**6)}, None, "?b", capture_id=capture_id_of(uid("a")))
    [refused, _] = shop.order("o1", asked)
    assert isinstance(refused, ReversalRefused) and shop.ledgers[uid("o1")] == before
    return refused.allowed_minor or 0 if refused.code == "price_differs" else 0
