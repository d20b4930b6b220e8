"""Lines of a paid order are changed by reversing them: the worked example, number by number, and what is refused.

The example is Dintero's (docs.dintero.com, "Update an order"): two pieces of line 1 at 199.00 are replaced.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from payments_play import (
    Play,
    authorize,
    call,
    capture,
    force,
    record,
    refund,
    replacing,
    report,
    reverse,
    tasks_of,
    totals,
    uid,
)

from contracts.deciding import Refusal
from contracts.payments import (
    Authorized,
    Captured,
    Declined,
    Failed,
    MoneyLine,
    Pending,
    Refunded,
    ReversalRefused,
    Reversed,
)
from payments.domain import answers, reversing, vocabularies
from payments.domain.folds import evolve
from payments.domain.reversals import capture_id_of_charge, charge_id_of, refund_id_of

WHOLE = 398_00
TAKEN = {"2": ("1", 2, WHOLE)}
"""Line 2 reverses both pieces of line 1."""


def pieces(amounts: dict[str, tuple[int, int]]) -> tuple[MoneyLine, ...]:
    return tuple(MoneyLine(line_id=name, quantity=n, amount_minor=minor) for name, (n, minor) in amounts.items())


def paid(play: Play, gateway: str = "marketplace", amounts: dict[str, tuple[int, int]] | None = None) -> None:
    """Line 1 is authorized as "a" and captured as "c"."""
    sold = pieces(amounts or {"1": (2, WHOLE)})
    for message in (authorize("a", 0, gateway), capture("c", "a", 0)):
        play.when(message.model_copy(update={"lines": sold}))
        for one in tasks_of(play.effects):
            play.when(report(one.body, "succeeded", f"g_{one.body.kind}"))  # type: ignore[arg-type]


def table(play: Play) -> dict[str, tuple[int, int, int]]:
    """Line -> authorized, captured, refunded, as the ledger is shown: those of a reversal are negative."""
    return {
        line_id: (one.direction * one.authorized_minor, one.direction * one.captured_minor, one.refunded_minor)
        for line_id, one in play.ledger.lines.items()
    }


def words(play: Play) -> tuple[str, str, str]:
    one = play.ledger
    return (
        vocabularies.dintero_payment_status(one),
        vocabularies.dintero_transaction_status(one),
        vocabularies.commercelayer_payment_status(one),
    )


def booked(play: Play) -> dict[str, dict[str, int]]:
    """Line -> account -> debits less credits."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in play.posted:
        for line in one.lines:
            found[line.line_id][one.debit] += line.amount_minor
            found[line.line_id][one.credit] -= line.amount_minor
    return {name: {account: minor for account, minor in of.items() if minor} for name, of in found.items()}


def refused(play: Play) -> ReversalRefused:
    event, refusal = play.effects
    assert isinstance(event, ReversalRefused) and isinstance(refusal, Refusal) and refusal.code == event.code
    return event


# -------------------------------------------------------------------------------------------------- the worked example


def test_6a_an_equal_line_moves_no_money(play: Play) -> None:
    paid(play)
    play.when(reverse("x", TAKEN, {"3": WHOLE}))
    [event] = play.effects
    assert isinstance(event, Reversed) and (event.refund_id, event.charge_id) == (None, None)
    assert table(play) == {"1": (WHOLE, WHOLE, 0), "2": (-WHOLE, -WHOLE, 0), "3": (WHOLE, WHOLE, 0)}
    assert play.left() == (WHOLE, WHOLE, 0, 0)
    assert words(play) == ("paid", "CAPTURED", "paid")


def test_6b_a_cheaper_line_leaves_a_refund_line_that_is_refunded(play: Play) -> None:
    paid(play)
    assert words(play) == ("paid", "CAPTURED", "paid")
    play.when(reverse("x", TAKEN, {"3": 298_00}, "4"))
    assert table(play) == {
        "1": (398_00, 398_00, 0),
        "2": (-398_00, -398_00, 0),
        "3": (298_00, 298_00, 0),
        "4": (100_00, 100_00, 100_00),
    }
    assert [sum(column) for column in zip(*table(play).values(), strict=True)] == [398_00, 398_00, 100_00]
    assert play.left() == (398_00, 398_00, 0, 100_00)
    assert words(play) == ("partially_refunded", "PARTIALLY_REFUNDED", "partially_refunded")
    assert booked(play) == {
        "1": {"marketplace_clearing": 398_00, "customer": -398_00},
        "2": {"marketplace_clearing": -398_00, "customer": 398_00},
        "3": {"marketplace_clearing": 298_00, "customer": -298_00},
        "4": {},
    }


def test_6b_is_refunded_by_the_gateway_from_the_capture_that_took_the_money(play: Play) -> None:
    paid(play, "test")
    play.when(reverse("x", TAKEN, {"3": 298_00}, "4"))
    back = refund_id_of(uid("x"))
    [task] = tasks_of(play.effects)
    assert (task.task_id, task.body) == (back, call("", "refund", 100_00, "c").model_copy(
        update={"operation_id": back, "source": "g_capture"}))  # fmt: skip
    assert play.ledger.refundable(uid("c")) == {"1": 0, "3": 298_00, "4": 0}, "held until the gateway answers"
    assert words(play) == ("paid", "CAPTURED", "paid")
    play.when(report(task.body, "succeeded", "g_r"))  # type: ignore[arg-type]
    [event] = play.effects
    assert isinstance(event, Refunded) and (event.lines, event.totals) == (
        pieces({"4": (0, 100_00)}), totals(398_00, 398_00, 0, 100_00),
    )  # fmt: skip
    assert words(play) == ("partially_refunded", "PARTIALLY_REFUNDED", "partially_refunded")


def test_6c_a_dearer_line_is_paid_by_a_second_authorization_and_its_capture(play: Play) -> None:
    paid(play)
    play.when(reverse("x", TAKEN, {"3": 498_00}, reference="A-1"))
    _, charged = play.effects
    assert isinstance(charged, Authorized) and charged.capture_id is not None and charged.amount_minor == 100_00
    assert table(play) == {
        "1": (398_00, 398_00, 0),
        "2": (-398_00, -398_00, 0),
        "3": (498_00, 498_00, 0),
    }
    assert play.left() == (498_00, 498_00, 0, 0)
    assert words(play) == ("paid", "CAPTURED", "paid")
    assert play.ledger.refundable(uid("c")) == {"1": 0, "3": 398_00}
    assert play.ledger.refundable(charged.capture_id) == {"3": 100_00}
    assert booked(play)["3"] == {"marketplace_clearing": 498_00, "customer": -498_00}


@pytest.mark.parametrize("at_once", [True, False])
def test_6c_is_charged_by_a_gateway_that_captures_in_the_same_call_or_after_it(play: Play, at_once: bool) -> None:
    paid(play, "test")
    play.when(reverse("x", TAKEN, {"3": 498_00}, reference="A-1", payment_token="pm_1"))
    assert table(play)["3"] == (398_00, 398_00, 0)
    [task] = tasks_of(play.effects)
    more = charge_id_of(uid("x"))
    wanted = call("", "authorize", 100_00, capture=True)
    assert task.body == wanted.model_copy(update={"operation_id": more, "payment_token": "pm_1"})
    play.when(report(task.body, "succeeded", "g_a2", captured=at_once))  # type: ignore[arg-type]
    assert isinstance(play.effects[0], Authorized)
    if not at_once:
        assert words(play) == ("partially_paid", "PARTIALLY_CAPTURED", "partially_paid")
        [task] = tasks_of(play.effects)
        assert task.task_id == capture_id_of_charge(more)
        play.when(report(task.body, "succeeded", "g_c2"))  # type: ignore[arg-type]
        assert isinstance(play.effects[0], Captured)
    assert table(play)["3"] == (498_00, 498_00, 0) and play.left() == (498_00, 498_00, 0, 0)
    assert words(play) == ("paid", "CAPTURED", "paid")


def test_a_difference_is_charged_at_the_account_that_has_captured_or_at_one_that_is_named(play: Play) -> None:
    sold = {"lines": pieces({"1": (2, WHOLE)}), "account": "second"}
    play.when(authorize("a", 0, "test", capture=True).model_copy(update=sold))
    play.when(report(tasks_of(play.effects)[0].body, "succeeded", captured=True))  # type: ignore[arg-type]
    play.when(reverse("x", {"2": ("1", 1, 199_00)}, {"3": 200_00}))
    play.when(reverse("y", {"4": ("1", 1, 199_00)}, {"5": 200_00}, gateway="test", account="third"), "m2")
    charged = [charge_id_of(uid(name)) for name in "xy"]
    assert [play.ledger.operations[one].account for one in charged] == ["second", "third"]


def test_a_difference_that_is_declined_leaves_the_reversal_and_what_the_capture_pays(play: Play) -> None:
    paid(play, "test")
    play.when(reverse("x", TAKEN, {"3": 498_00}))
    [task] = tasks_of(play.effects)
    play.when(report(task.body, "refused", code="card_declined"))  # type: ignore[arg-type]
    assert isinstance(play.effects[0], Declined) and not tasks_of(play.effects)
    assert table(play)["3"] == (398_00, 398_00, 0) and play.left() == (398_00, 398_00, 0, 0)
    play.when(authorize("b", {"3": 100_00}, "marketplace", capture=True))
    assert table(play)["3"] == (498_00, 498_00, 0)


def test_a_refund_of_the_difference_that_fails_may_be_repeated(play: Play) -> None:
    paid(play, "test")
    play.when(reverse("x", TAKEN, {"3": 298_00}, "4"))
    [task] = tasks_of(play.effects)
    play.when(report(task.body, "refused", code="account_closed"))  # type: ignore[arg-type]
    assert isinstance(play.effects[0], Failed) and play.ledger.refundable(uid("c"))["4"] == 100_00
    play.when(refund("r", "c", {"4": 100_00}, recorded=True))
    assert play.left() == (398_00, 398_00, 0, 100_00)


# ------------------------------------------------------------------------------------------------------ moved elsewhere


@pytest.mark.parametrize(("new", "left"), [(298_00, (398_00, 398_00, 0, 100_00)), (498_00, (498_00, 498_00, 0, 0))])
def test_a_difference_that_was_moved_elsewhere_is_booked_and_no_gateway_is_asked(
    play: Play, new: int, left: tuple[int, ...]
) -> None:
    paid(play, "test")
    play.when(reverse("x", TAKEN, {"3": new}, "4", recorded=True, reference="PID_124"))
    _, moved = play.effects
    assert isinstance(moved, (Refunded, Authorized)) and moved.recorded and moved.gateway_reference == "PID_124"
    assert play.left() == left


@pytest.mark.parametrize("new", [298_00, 498_00])
def test_a_restored_ledger_asks_no_gateway_to_move_what_was_moved_elsewhere(play: Play, new: int) -> None:
    """The request, sent again, books it."""
    command = reverse("x", TAKEN, {"3": new}, "4", recorded=True, reference="PID_124")
    paid(play, "test")
    changed, moved = play.when(command)
    restored = Play()
    paid(restored, "test")
    restored.given(changed)  # type: ignore[arg-type]
    assert answers.resumed(uid("o1"), "st_1", restored.ledger) == []
    assert restored.when(command) == [moved] and restored.ledger == play.ledger
    assert restored.when(command) == [] == play.when(command)


def test_the_difference_of_a_recorded_payment_waits_to_be_recorded(play: Play) -> None:
    play.when(record("authorize", "A", {"1": 398_00}, capture=True))
    play.when(reverse("x", {"2": ("1", 1, 398_00)}, {"3": 298_00}, "4"))
    assert isinstance(play.effects[1], Pending)
    play.when(record("refund", "R", {"4": 100_00}))
    assert [type(one) for one in play.effects] == [Refunded] and play.left() == (398_00, 398_00, 0, 100_00)
    assert not any(one.is_open for one in play.ledger.operations.values())


def test_a_recorded_authorization_of_the_difference_is_captured_when_that_is_recorded_too(play: Play) -> None:
    play.when(record("authorize", "A", {"1": 398_00}, capture=True))
    play.when(reverse("x", {"2": ("1", 1, 398_00)}, {"3": 498_00}))
    play.when(record("authorize", "B", {"3": 100_00}))
    assert [type(one) for one in play.effects] == [Authorized, Pending]
    play.when(record("capture", "C", {"3": 100_00}, of=charge_id_of(uid("x"))))
    assert play.left() == (498_00, 498_00, 0, 0)
    assert not any(one.is_open for one in play.ledger.operations.values())


def test_a_person_states_the_outcome_of_a_difference(play: Play) -> None:
    play.when(record("authorize", "A", {"1": 398_00}, capture=True))
    play.when(reverse("x", {"2": ("1", 1, 398_00)}, {"3": 498_00}))
    more = charge_id_of(uid("x"))
    play.when(force("f", "?", "succeeded").model_copy(update={"target_operation_id": more}))
    assert play.left() == (498_00, 498_00, 0, 0)


# ---------------------------------------------------------------------------------------------------------------- once


def test_a_repeated_reversal_changes_nothing(play: Play) -> None:
    paid(play)
    play.when(reverse("x", TAKEN, {"3": 298_00}, "4"))
    before = play.ledger
    play.when(reverse("x", TAKEN, {"3": 298_00}, "4"))
    play.then()
    play.when(reverse("y", TAKEN, {"3": 298_00}, "4"))  # as another operation
    assert refused(play).code == "exceeds_reversible" and play.ledger == before


@pytest.mark.parametrize("new", [298_00, 498_00])
def test_a_restored_ledger_that_has_only_the_published_event_moves_the_difference(play: Play, new: int) -> None:
    paid(play, "test")
    asked = play.when(reverse("x", TAKEN, {"3": new}, "4"))
    restored = Play()
    paid(restored, "test")
    again = evolve(restored.ledger, asked[0])  # type: ignore[arg-type]
    [task] = answers.resumed(asked[0].order_id, "st_1", again)  # type: ignore[union-attr]
    [first] = tasks_of(asked)
    assert task.task_id == first.task_id and task.body == first.body.model_copy(update={"reference": None})


def test_a_restored_ledger_captures_what_was_authorized_of_a_difference(play: Play) -> None:
    paid(play, "test")
    [changed, _, _] = play.when(reverse("x", TAKEN, {"3": 498_00}))
    [task] = tasks_of(play.effects)
    [granted, _, capturing] = play.when(report(task.body, "succeeded", "g_2"))  # type: ignore[arg-type]
    restored = Play()
    paid(restored, "test")
    restored.given(changed, granted)  # type: ignore[arg-type]
    assert answers.resumed(granted.order_id, "st_1", restored.ledger) == [capturing]  # type: ignore[union-attr]


# -------------------------------------------------------------------------------------------------------------- guards


def test_a_reversal_is_never_reversed(play: Play) -> None:
    paid(play)
    play.when(reverse("x", TAKEN, {"3": WHOLE}))
    for of in (None, uid("c")):
        play.when(reverse("y", {"5": ("2", 2, WHOLE)}, {"6": WHOLE}, capture_id=of))
        assert (refused(play).code, refused(play).line) == ("reversal_final", "2")
    play.when(reverse("z", {"5": ("3", 1, WHOLE)}, {"6": WHOLE}))  # its replacement is a line like any other
    assert table(play)["6"] == (WHOLE, WHOLE, 0)


def test_a_line_is_reversed_at_most_by_the_pieces_and_the_money_that_are_left(play: Play) -> None:
    paid(play)
    play.when(refund("r", "c", {"1": 199_00}))
    play.when(reverse("x", TAKEN, {"3": WHOLE}))
    no = refused(play)
    assert (no.code, no.line, no.allowed_quantity, no.allowed_minor) == ("exceeds_reversible", "1", 1, 199_00)
    play.when(reverse("x", {"2": ("1", 1, 199_00), "3": ("1", 1, 199_00)}, {"4": WHOLE}))
    assert (refused(play).line, refused(play).allowed_quantity) == ("1", 0)
    play.when(reverse("x", {"2": ("1", 1, 199_00)}, {"4": 199_00}))
    assert play.left() == (WHOLE, WHOLE, 0, 199_00) and play.ledger.refundable(uid("c")) == {"1": 0, "4": 199_00}


def test_what_an_open_refund_holds_is_not_left(play: Play) -> None:
    paid(play, "test")
    play.when(refund("r", "c", {"1": 199_00}))
    play.when(reverse("x", TAKEN, {"3": WHOLE}))
    assert (refused(play).allowed_quantity, refused(play).allowed_minor) == (1, 199_00)


@pytest.mark.parametrize("amount", [198_99, 199_01, WHOLE, 0])
def test_a_reversal_has_the_unit_price_of_its_line(play: Play, amount: int) -> None:
    paid(play)
    play.when(reverse("x", {"2": ("1", 1, amount)}, {"3": amount}))
    assert (refused(play).code, refused(play).allowed_minor) == ("price_differs", 199_00)


def test_a_line_without_pieces_is_reversed_by_its_amount(play: Play) -> None:
    paid(play, amounts={"shipping": (0, 5_00)})
    play.when(reverse("x", {"2": ("shipping", 1, 5_00)}, {"3": 5_00}))
    assert refused(play).code == "exceeds_reversible"
    play.when(reverse("x", {"2": ("shipping", 0, 5_01)}, {"3": 5_01}))
    assert refused(play).allowed_minor == 5_00
    play.when(reverse("x", {"2": ("shipping", 0, 4_00)}, {"3": 4_00}))
    assert play.ledger.refundable(uid("c")) == {"shipping": 1_00, "3": 4_00}


@settings(deadline=None)
@given(cost=st.integers(0, 10**6), parts=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_the_pieces_of_a_line_cost_together_what_was_captured(cost: int, parts: list[int]) -> None:
    """However they are split, no minor unit is created or lost: the price of each part is the one that is not refused."""
    play = Play()
    paid(play, amounts={"1": (sum(parts), cost)})
    for n, part in enumerate(parts):
        play.when(reverse(f"x{n}", {f"r{n}": ("1", part, cost + 1)}, {f"n{n}": 0}, "back"))
        price = refused(play).allowed_minor
        assert price is not None and abs(price * sum(parts) - cost * part) <= sum(parts)
        play.when(reverse(f"x{n}", {f"r{n}": ("1", part, price)}, {f"n{n}": price}))
        assert isinstance(play.effects[0], Reversed)
    assert play.ledger.lines["1"].reversed_minor == cost and play.ledger.refundable(uid("c"))["1"] == 0


TWICE = reverse("x", TAKEN).model_copy(update={"lines": replacing({"3": 10**15}) * 2})
"""Together more than an amount may be."""


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        (reverse("x", TAKEN, {"3": WHOLE}, currency="NOK"), "currency_differs", None),
        (reverse("x", TAKEN, {"3": WHOLE}, capture_id=uid("?")), "capture_unknown", None),
        (reverse("x", {"2": ("9", 2, WHOLE)}, {"3": WHOLE}), "line_unknown", "9"),
        (reverse("x", {"2": ("9", 2, WHOLE)}, {"3": WHOLE}, capture_id=uid("c")), "line_unknown", "9"),
        (reverse("x", {"1": ("1", 2, WHOLE)}, {"3": WHOLE}), "line_taken", "1"),
        (reverse("x", TAKEN, {"2": WHOLE}), "line_taken", "2"),
        (reverse("x", TAKEN, {"1": WHOLE}), "line_taken", "1"),
        (reverse("x", TAKEN, {"3": 1_00}, "3"), "line_taken", "3"),
        (reverse("x", TAKEN, {"3": 1_00}), "refund_line_missing", None),
        (reverse("x", TAKEN, {"3": 10**15, "4": 1}), "exceeds_authorizable", None),
        (reverse("x", TAKEN, {"3": 498_00}, payment_token="4242424242424242"), "payment_token_refused", None),
        (TWICE, "exceeds_authorizable", None),
    ],
)
def test_a_reversal_that_does_not_fit_changes_nothing(play: Play, command: Any, code: str, line: str | None) -> None:
    paid(play)
    before = play.ledger
    play.when(command)
    assert (refused(play).code, refused(play).line) == (code, line) and play.ledger == before


def test_the_capture_is_named_if_several_have_the_line(play: Play) -> None:
    play.when(authorize("a", {"1": 30}))
    play.when(capture("c", "a", {"1": 10}))
    play.when(capture("d", "a", {"1": 20}))
    play.when(reverse("x", {"2": ("1", 1, 10)}, {"3": 10}))
    assert refused(play).code == "reference_ambiguous"
    play.when(reverse("x", {"2": ("1", 1, 10)}, {"3": 10}, capture_id=uid("c")))
    play.when(reverse("y", {"4": ("1", 1, 20)}, {"3": 20}, capture_id=uid("d")))
    assert table(play) == {"1": (30, 30, 0), "2": (-10, -10, 0), "3": (30, 30, 0), "4": (-20, -20, 0)}


def test_nothing_is_authorized_under_the_id_of_a_reversal(play: Play) -> None:
    paid(play)
    play.when(reverse("x", TAKEN, {"3": WHOLE}))
    play.when(authorize("b", {"2": 5}))
    [no] = play.effects
    assert isinstance(no, Declined) and no.code == "line_taken"
    play.when(record("authorize", "B", {"2": 5}))
    assert play.effects[0].code == "line_taken"  # type: ignore[union-attr]
    play.when(force("f", "b", "succeeded"))
    assert play.left() == (WHOLE, WHOLE, 0, 0)


def test_a_reversal_does_not_take_the_id_of_a_line_that_may_still_be_authorized(play: Play) -> None:
    paid(play)
    play.when(authorize("b", {"2": 5}, "test"))
    play.when(reverse("x", TAKEN, {"3": WHOLE}))
    assert (refused(play).code, refused(play).line) == ("line_taken", "2")


def test_a_ledger_has_at_most_so_many_lines(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reversing, "EDITED_LINES_MAX", 4)
    paid(play)
    play.when(reverse("x", TAKEN, {"3": 1_00}, "4"))
    play.when(reverse("y", {"5": ("3", 1, 1_00)}, {"6": 1_00}))
    assert refused(play).code == "lines_exceeded" and len(play.ledger.lines) == 4
