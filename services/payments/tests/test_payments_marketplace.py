"""The gateway `marketplace`: the money lies with the marketplace, so what is asked is done at once, without a task."""

from __future__ import annotations

import pytest
from payments_play import (
    Play,
    authorize,
    authorized,
    capture,
    captured,
    declined,
    failed,
    refund,
    refunded,
    totals,
    uid,
    void,
    voided,
)

from contracts.limits import MINOR_MAX
from contracts.payments import MoneyLine

# ------------------------------------------------------------------------------------------------- an order unknown


def test_an_authorization_stands_at_once(play: Play) -> None:
    play.when(authorize("a1", {"1": 30_00, "shipping": 5_00}))
    play.then(authorized("a1", {"1": 30_00, "shipping": 5_00}, totals(a=35_00)))


def test_an_authorization_of_nothing_is_an_authorization(play: Play) -> None:
    play.when(authorize("a1", {"1": 0}))
    play.then(authorized("a1", {"1": 0}, totals()))


def test_an_authorization_without_lines_is_one_of_nothing(play: Play) -> None:
    play.when(authorize("a1", {}))
    play.then(authorized("a1", {}, totals()))


def test_a_line_named_twice_is_one_line(play: Play) -> None:
    twice = (
        MoneyLine(line_id="1", quantity=1, amount_minor=10),
        MoneyLine(line_id="2", quantity=1, amount_minor=5),
        MoneyLine(line_id="1", quantity=2, amount_minor=20),
    )
    (event,) = play.when(authorize("a1", {}).model_copy(update={"lines": twice}))
    assert event.lines == (  # type: ignore[union-attr]
        MoneyLine(line_id="1", quantity=3, amount_minor=30),
        MoneyLine(line_id="2", quantity=1, amount_minor=5),
    )
    assert play.left() == (35, 0, 0, 0)


def test_more_than_can_be_counted_exactly_is_declined(play: Play) -> None:
    play.when(authorize("a1", {"1": MINOR_MAX, "2": 1}))
    reason = f"an order holds at most {MINOR_MAX} minor units"
    play.then(declined("a1", MINOR_MAX, "amount_too_large", reason, totals()))


def test_one_line_told_twice_cannot_hide_what_is_too_much(play: Play) -> None:
    huge = MoneyLine(line_id="1", quantity=10**9, amount_minor=MINOR_MAX)
    (event,) = play.when(authorize("a1", {}).model_copy(update={"lines": (huge, huge)}))
    assert event.code == "amount_too_large"  # type: ignore[union-attr]


@pytest.mark.parametrize("message", [capture("c1", "a1", 1), void("v1", "a1"), refund("r1", "c0", 1)])
def test_nothing_is_done_to_an_order_without_a_ledger(play: Play, message: object) -> None:
    (event,) = play.when(message)
    assert event.code in ("authorization_unknown", "capture_unknown")  # type: ignore[union-attr]
    assert play.left() == (0, 0, 0, 0)


def test_a_void_of_an_order_without_a_ledger_fails_without_a_currency(play: Play) -> None:
    play.when(void("v1", "a1"))
    play.then(failed("v1", "void", "authorization_unknown", totals(), of="a1", currency=None))


# ------------------------------------------------------------------------------------------- authorized: 30 + 5 euros


@pytest.fixture
def paid(play: Play) -> Play:
    play.given(authorized("a1", {"1": 30_00, "shipping": 5_00}, totals(a=35_00)))
    return play


def test_a_capture_stands_at_once(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"1": 30_00, "shipping": 5_00}))
    paid.then(captured("c1", "a1", {"1": 30_00, "shipping": 5_00}, totals(a=35_00, c=35_00)))


def test_a_capture_may_take_part_of_a_line(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"1": 10_00}))
    paid.then(captured("c1", "a1", {"1": 10_00}, totals(a=35_00, c=10_00)))
    paid.when(capture("c2", "a1", {"1": 20_00}))
    paid.then(captured("c2", "a1", {"1": 20_00}, totals(a=35_00, c=30_00)))


def test_a_line_is_not_captured_beyond_its_authorization_though_others_have_more(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"shipping": 5_01}))
    paid.then(
        failed(
            "c1", "capture", "authorization_exceeded", totals(a=35_00), of="a1", amount_minor=5_01, allowed_minor=5_00
        )
    )


def test_a_capture_happens_whole_or_not_at_all(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"1": 30_00, "shipping": 6_00}))
    paid.then(
        failed(
            "c1", "capture", "authorization_exceeded", totals(a=35_00), of="a1", amount_minor=36_00, allowed_minor=35_00
        )
    )


def test_a_capture_in_another_currency_fails(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"1": 30_00}, currency="GBP"))
    paid.then(
        failed("c1", "capture", "currency_differs", totals(a=35_00), of="a1",
               currency="GBP", reason="paid in EUR", amount_minor=30_00)
    )  # fmt: skip


def test_a_capture_of_a_line_that_was_not_authorized_fails(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"2": 1}))
    paid.then(failed("c1", "capture", "line_unknown", totals(a=35_00), of="a1", reason="no line 2", amount_minor=1))


def test_a_capture_of_another_authorization_fails(paid: Play) -> None:
    paid.when(capture("c1", "a9", {"1": 1}))
    paid.then(failed("c1", "capture", "authorization_unknown", totals(a=35_00), of="a9", amount_minor=1))


def test_of_several_reasons_the_first_in_order_is_told(paid: Play) -> None:
    paid.when(capture("c1", "a1", {"2": 99_00}, currency="GBP"))
    (event,) = paid.effects
    assert event.code == "currency_differs"  # type: ignore[union-attr]
    paid.when(capture("c2", "a1", {"2": 99_00, "1": 99_00}))
    (event,) = paid.effects
    assert event.code == "line_unknown"  # type: ignore[union-attr]


def test_a_second_authorization_adds_to_the_first(paid: Play) -> None:
    paid.when(authorize("a2", {"1": 1_00, "2": 2_00}))
    paid.then(authorized("a2", {"1": 1_00, "2": 2_00}, totals(a=38_00)))
    assert paid.ledger.lines["1"].authorized_minor == 31_00
    paid.when(capture("c1", "a2", {"1": 1_01}))
    assert paid.effects[0].code == "authorization_exceeded"  # type: ignore[union-attr]


def test_a_second_authorization_in_another_currency_is_declined(paid: Play) -> None:
    paid.when(authorize("a2", {"1": 1_00}, currency="GBP"))
    paid.then(declined("a2", 1_00, "currency_differs", "the order is paid in EUR", totals(a=35_00), currency="GBP"))


def test_a_void_releases_all(paid: Play) -> None:
    paid.when(void("v1", "a1"))
    paid.then(voided("v1", "a1", {"1": 30_00, "shipping": 5_00}, totals(a=35_00, v=35_00)))


@pytest.mark.parametrize(
    "message",
    [
        authorize("a1", {"1": 30_00, "shipping": 5_00}),
        authorize("a1", {"9": 1}),
        capture("a1", "a1", 1),
        void("a1", "a1"),
    ],
)
def test_an_operation_that_is_known_changes_nothing_whatever_it_says_now(paid: Play, message: object) -> None:
    before = paid.ledger
    paid.when(message)
    paid.then()
    assert paid.ledger == before


# ----------------------------------------------------------------------------------------- captured: 20 of 30 euros


@pytest.fixture
def captured_part(paid: Play) -> Play:
    paid.given(captured("c1", "a1", {"1": 20_00}, totals(a=35_00, c=20_00)))
    return paid


def test_a_void_releases_what_is_not_captured(captured_part: Play) -> None:
    captured_part.when(void("v1", "a1"))
    (event,) = captured_part.effects
    assert [(line.line_id, line.quantity, line.amount_minor) for line in event.lines] == [  # type: ignore[union-attr]
        ("1", 0, 10_00),  # its one piece was captured
        ("shipping", 1, 5_00),
    ]
    assert captured_part.left() == (35_00, 20_00, 15_00, 0)


def test_a_second_void_releases_nothing_and_is_a_yes(captured_part: Play) -> None:
    captured_part.when(void("v1", "a1"))
    captured_part.when(void("v2", "a1"))
    captured_part.then(voided("v2", "a1", {}, totals(a=35_00, c=20_00, v=15_00)))


def test_a_void_after_everything_was_captured_is_a_yes_of_nothing(paid: Play) -> None:
    paid.given(captured("c1", "a1", {"1": 30_00, "shipping": 5_00}, totals(a=35_00, c=35_00)))
    paid.when(void("v1", "a1"))
    paid.then(voided("v1", "a1", {}, totals(a=35_00, c=35_00)))


def test_what_was_voided_cannot_be_captured(captured_part: Play) -> None:
    captured_part.when(void("v1", "a1"))
    captured_part.when(capture("c2", "a1", {"1": 1}))
    captured_part.then(
        failed("c2", "capture", "authorization_exceeded", totals(a=35_00, c=20_00, v=15_00), of="a1",
               amount_minor=1, allowed_minor=0)
    )  # fmt: skip


def test_a_refund_stands_at_once(captured_part: Play) -> None:
    captured_part.when(refund("r1", "c1", {"1": 5_00}))
    captured_part.then(refunded("r1", "c1", {"1": 5_00}, totals(a=35_00, c=20_00, r=5_00)))


def test_no_more_is_refunded_than_was_captured(captured_part: Play) -> None:
    captured_part.when(refund("r1", "c1", {"1": 15_00}))
    captured_part.when(refund("r2", "c1", {"1": 5_01}))
    captured_part.then(
        failed("r2", "refund", "capture_exceeded", totals(a=35_00, c=20_00, r=15_00), of="c1",
               amount_minor=5_01, allowed_minor=5_00)
    )  # fmt: skip


def test_a_refund_is_of_one_capture_not_of_the_line(captured_part: Play) -> None:
    captured_part.given(captured("c2", "a1", {"1": 10_00}, totals(a=35_00, c=30_00)))
    captured_part.when(refund("r1", "c2", {"1": 10_01}))
    assert captured_part.effects[0].code == "capture_exceeded"  # type: ignore[union-attr]
    assert captured_part.effects[0].allowed_minor == 10_00  # type: ignore[union-attr]


def test_a_refund_of_a_line_that_was_not_captured_fails(captured_part: Play) -> None:
    captured_part.when(refund("r1", "c1", {"shipping": 1}))
    captured_part.then(
        failed(
            "r1", "refund", "line_unknown", totals(a=35_00, c=20_00), of="c1", reason="no line shipping", amount_minor=1
        )
    )


def test_a_refund_of_an_unknown_capture_fails(captured_part: Play) -> None:
    captured_part.when(refund("r1", "a1", {"1": 1}))
    captured_part.then(failed("r1", "refund", "capture_unknown", totals(a=35_00, c=20_00), of="a1", amount_minor=1))


def test_a_refund_in_another_currency_fails(captured_part: Play) -> None:
    captured_part.when(refund("r1", "c1", {"1": 1}, currency="USD"))
    captured_part.then(
        failed("r1", "refund", "currency_differs", totals(a=35_00, c=20_00), of="c1",
               currency="USD", reason="paid in EUR", amount_minor=1)
    )  # fmt: skip


def test_what_was_refunded_cannot_be_captured_again(captured_part: Play) -> None:
    captured_part.given(refunded("r1", "c1", {"1": 20_00}, totals(a=35_00, c=20_00, r=20_00)))
    captured_part.when(capture("c2", "a1", {"1": 10_01}))
    assert captured_part.effects[0].allowed_minor == 10_00  # type: ignore[union-attr]


def test_a_failed_attempt_stays_in_the_ledger(captured_part: Play) -> None:
    captured_part.when(refund("r1", "c1", {"1": 99_00}))
    operation = captured_part.ledger.operations[uid("r1")]
    assert (operation.kind, operation.state, operation.code, operation.amount_minor, operation.refers_to) == (
        "refund", "failed", "capture_exceeded", 99_00, uid("c1"),
    )  # fmt: skip


def test_a_void_names_an_authorization_and_nothing_else(captured_part: Play) -> None:
    captured_part.when(void("v1", "c1"))
    captured_part.then(failed("v1", "void", "authorization_unknown", totals(a=35_00, c=20_00), of="c1"))
